//! Basalt's protobuf formats, on the wire and on disk, and the checked way between them and the domain types.
//!
//! Bytes come in from peers and disks; what goes out are domain types whose lengths, counts and ranges have been checked.
//! Three rules hold for every decoder:
//!
//! 1. Size and counts are checked before anything is allocated ([`Codec::decode`] scans the bytes first).
//! 2. Only the canonical encoding is accepted: what is decoded would encode to the very same bytes. So no bit of a
//!    stored or received block is free to change. (Hello alone skips what it does not know.)
//! 3. Byte strings are slices of the input, not copies, unless a type says otherwise.
//!
//! Nothing here is hashed or signed: hashes and signatures are over the fixed layouts of `basalt-primitives`.

pub mod block;
mod codec;
pub mod consensus;
mod error;
pub mod pow;
mod scan;
pub mod status;
pub mod storage;
pub mod tx;
pub mod wire;

pub use block::CertifiedBlock;
pub use codec::Codec;
pub use error::DecodeError;
pub use storage::BlockReceipts;

/// The generated types. Private: outside, only checked domain types exist.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
mod pb {
    include!(concat!(env!("OUT_DIR"), "/basalt.v1.rs"));
}
