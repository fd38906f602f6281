//! Certificates of a test's own authority. Also used by the unit tests of `node/src/tls`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

/// A day, in seconds.
pub const DAY: i64 = 86_400;

/// An authority.
pub struct Authority {
    certificate: Certificate,
    key: KeyPair,
}

/// A certificate and its key, as PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, "an authority of the test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { certificate: params.self_signed(&key).expect("signs"), key }
    }

    /// Its own certificate, as PEM.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate of loopback, for servers and clients, that ends in so many seconds.
    pub fn issue(&self, ends_in_s: i64) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let names = ["localhost", "127.0.0.1"].map(str::to_owned).to_vec();
        let mut params = CertificateParams::new(names).expect("parameters");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let at = |s: u64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(s);
        params.not_before = at(now - 400 * DAY.unsigned_abs());
        params.not_after = at(now.checked_add_signed(ends_in_s).expect("a date"));
        let certificate = params.signed_by(&key, &self.certificate, &self.key).expect("signs");
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}
