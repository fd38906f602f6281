//! Certificates, keys and authorities as files have them.

use std::path::Path;

use der::{
    AnyRef, Decode as _, ErrorKind, Reader as _, SliceReader, Tag, Tagged as _,
    asn1::{GeneralizedTime, UtcTime},
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::{TlsError, read};

/// Between which moments a certificate holds, in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub from: i64,
    /// Not after.
    pub until: i64,
}

impl Validity {
    /// When both hold.
    fn and(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), until: self.until.min(other.until) }
    }

    /// Seconds until it ends; negative once it has.
    #[must_use]
    pub const fn left(&self, now: i64) -> i64 {
        self.until.saturating_sub(now)
    }
}

/// Certificates of a file, the first one's holder first; at least one.
pub fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let not_pem = |why: String| TlsError::NotPem { what, path: path.to_owned(), why };
    let bytes = read(what, path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|e| not_pem(e.to_string()))?;
    if all.is_empty() { Err(not_pem("nothing of the kind is in it".into())) } else { Ok(all) }
}

/// The private key of a file.
pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = zeroize::Zeroizing::new(read("key", path)?);
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|e| TlsError::NotPem {
        what: "private key",
        path: path.to_owned(),
        // The library's text may quote what is between the markers.
        why: if matches!(e, rustls::pki_types::pem::Error::NoItemsFound) {
            "nothing of the kind is in it".into()
        } else {
            "it is damaged".into()
        },
    })
}

/// The authorities of a file.
pub fn authorities(path: &Path) -> Result<(RootCertStore, Validity), TlsError> {
    let all = certificates("authority's certificate", path)?;
    let holds = validity(path, &all)?;
    let mut roots = RootCertStore::empty();
    for certificate in all {
        let damaged = |e: rustls::Error| TlsError::Damaged { path: path.to_owned(), why: e.to_string() };
        roots.add(certificate).map_err(damaged)?;
    }
    Ok((roots, holds))
}

/// When all of these certificates hold.
pub fn validity(path: &Path, certificates: &[CertificateDer<'_>]) -> Result<Validity, TlsError> {
    let mut all = Validity { from: i64::MIN, until: i64::MAX };
    for der in certificates {
        let damaged = |e: der::Error| TlsError::Damaged { path: path.to_owned(), why: e.to_string() };
        all = all.and(validity_of(der).map_err(damaged)?);
    }
    Ok(all)
}

/// When a certificate holds. The rest of it is rustls' business: before this field stand version, serial number, signature
/// algorithm and issuer (RFC 5280, section 4.1).
fn validity_of(certificate: &[u8]) -> der::Result<Validity> {
    let certificate = AnyRef::from_der(certificate)?;
    let to_be_signed: AnyRef<'_> = SliceReader::new(certificate.value())?.decode()?;
    let mut fields = SliceReader::new(to_be_signed.value())?;
    let first: AnyRef<'_> = fields.decode()?;
    // The version is left out where it is the first.
    let before = if first.tag().is_context_specific() { 3 } else { 2 };
    for _ in 0..before {
        fields.decode::<AnyRef<'_>>()?;
    }
    let holds: AnyRef<'_> = fields.decode()?;
    holds.tag().assert_eq(Tag::Sequence)?;
    let mut times = SliceReader::new(holds.value())?;
    Ok(Validity { from: time(times.decode()?)?, until: time(times.decode()?)? })
}

/// Seconds since the Unix epoch.
fn time(any: AnyRef<'_>) -> der::Result<i64> {
    let since = match any.tag() {
        Tag::UtcTime => any.decode_as::<UtcTime>()?.to_unix_duration(),
        Tag::GeneralizedTime => any.decode_as::<GeneralizedTime>()?.to_unix_duration(),
        other => return Err(ErrorKind::TagUnexpected { expected: Some(Tag::UtcTime), actual: other }.into()),
    };
    Ok(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
