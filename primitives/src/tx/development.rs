//! Transactions that nobody signed: edits of the state, and what an impersonated account sends. Only a chain whose genesis
//! says `"engine": "dev"` has them (ADR-0022); for every other chain they are no transactions at all, because the only
//! decoder that reads them is asked for by name (`basalt_proto::tx::decode_on_devnet`).
//!
//! Encoding: [`TX_TYPE`], then one byte of kind. 0, sent: the sender (20 bytes), then the Ethereum transaction as EIP-2718
//! has it, with a placeholder for its signature. 1, edit: chain id 8, sequence 8, address 20, and the change: one byte of
//! kind, then balance 32 | nonce 8 | code | slot 32 and value 32. Integers are big-endian; every length is exact, so one
//! transaction has one encoding.

use alloy_consensus::TxEnvelope;
use alloy_primitives::{Address, Bytes, U256};

use super::{Payload, TxError, Unverified, ethereum};

/// First byte of a development transaction ('D').
pub const TX_TYPE: u8 = 0x44;

const SENT: u8 = 0;
const EDIT: u8 = 1;

/// What an edit sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The balance, in wei.
    Balance(U256),
    /// The nonce.
    Nonce(u64),
    /// The code; empty takes it away.
    Code(Bytes),
    /// One storage slot; zero clears it.
    Slot(U256, U256),
}

/// A change of one account that no transaction could make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEdit {
    chain_id: u64,
    sequence: u64,
    address: Address,
    change: Change,
    /// The change as it is encoded.
    bytes: Bytes,
}

impl StateEdit {
    /// An edit. `sequence` tells equal edits of one chain apart: the height of the block it is for.
    #[must_use]
    pub fn new(chain_id: u64, sequence: u64, address: Address, change: Change) -> Self {
        let bytes = change.encode();
        Self { chain_id, sequence, address, change, bytes }
    }

    /// EIP-155 chain id.
    #[must_use]
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// What tells it from an equal edit.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The account.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// What becomes of it.
    #[must_use]
    pub const fn change(&self) -> &Change {
        &self.change
    }

    /// The change as it is encoded.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The transaction that carries it.
    #[must_use]
    pub fn into_unverified(self) -> Unverified {
        let mut raw = vec![TX_TYPE, EDIT];
        raw.extend_from_slice(&self.chain_id.to_be_bytes());
        raw.extend_from_slice(&self.sequence.to_be_bytes());
        raw.extend_from_slice(self.address.as_slice());
        raw.extend_from_slice(&self.bytes);
        Unverified::unsigned(raw.into(), Payload::Edit(Box::new(self)), Address::ZERO)
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let (chain_id, body) = body.split_first_chunk::<8>()?;
        let (sequence, body) = body.split_first_chunk::<8>()?;
        let (address, body) = body.split_first_chunk::<20>()?;
        let change = Change::decode(body)?;
        Some(Self::new(u64::from_be_bytes(*chain_id), u64::from_be_bytes(*sequence), address.into(), change))
    }
}

impl Change {
    fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Balance(wei) => {
                out.push(0);
                out.extend_from_slice(&wei.to_be_bytes::<32>());
            }
            Self::Nonce(nonce) => {
                out.push(1);
                out.extend_from_slice(&nonce.to_be_bytes());
            }
            Self::Code(code) => {
                out.push(2);
                out.extend_from_slice(code);
            }
            Self::Slot(slot, value) => {
                out.push(3);
                out.extend_from_slice(&slot.to_be_bytes::<32>());
                out.extend_from_slice(&value.to_be_bytes::<32>());
            }
        }
        out.into()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, body) = bytes.split_first()?;
        Some(match kind {
            0 => Self::Balance(U256::from_be_bytes::<32>(body.try_into().ok()?)),
            1 => Self::Nonce(u64::from_be_bytes(body.try_into().ok()?)),
            2 => Self::Code(Bytes::copy_from_slice(body)),
            3 if body.len() == 64 => Self::Slot(U256::from_be_slice(&body[..32]), U256::from_be_slice(&body[32..])),
            _ => return None,
        })
    }
}

/// The transaction that an impersonated account sends: `tx` with a placeholder for its signature.
#[must_use]
pub fn sent(from: Address, tx: TxEnvelope) -> Unverified {
    use alloy_eips::eip2718::Encodable2718 as _;
    let mut raw = vec![TX_TYPE, SENT];
    raw.extend_from_slice(from.as_slice());
    tx.encode_2718(&mut raw);
    Unverified::unsigned(raw.into(), Payload::Ethereum(Box::new(tx)), from)
}

/// Decodes a development transaction. Size and chain id are for the caller to check.
pub fn decode(raw: &Bytes) -> Result<Unverified, TxError> {
    let malformed = |what: &str| TxError::Malformed(format!("development transaction: {what}"));
    match raw.get(1).copied() {
        Some(SENT) => {
            let (from, tx) = raw[2..].split_first_chunk::<20>().ok_or_else(|| malformed("no sender"))?;
            Ok(Unverified::unsigned(raw.clone(), Payload::Ethereum(Box::new(ethereum::decode(tx)?)), from.into()))
        }
        Some(EDIT) => {
            let edit = StateEdit::decode(&raw[2..]).ok_or_else(|| malformed("not an edit of an account"))?;
            Ok(Unverified::unsigned(raw.clone(), Payload::Edit(Box::new(edit)), Address::ZERO))
        }
        _ => Err(malformed("of an unknown kind")),
    }
}
