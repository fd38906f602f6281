//! TLS files as they are and as they should not be, and connections that behave badly.

use std::{fs, io::ErrorKind, time::Duration};

use proptest::prelude::*;
use rustls::pki_types::pem::PemObject as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

#[path = "../../../tests/e2e/authority.rs"]
mod authority;

use self::authority::{Authority, DAY, Issued};
use super::{
    server::{Refresh, now_s},
    *,
};
use crate::monitor::{Metrics, NodeLabels};

/// A folder with the files of a server.
struct Place {
    dir: tempfile::TempDir,
    files: TlsFiles,
}

impl Place {
    fn new(issued: &Issued) -> Self {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = |name: &str| dir.path().join(name);
        let files = TlsFiles { certificate: path("tls.crt"), key: path("tls.key"), client_ca: None };
        let place = Self { dir, files };
        place.write(issued);
        place
    }

    fn write(&self, issued: &Issued) {
        fs::write(&self.files.certificate, &issued.certificate).expect("writes");
        fs::write(&self.files.key, &issued.key).expect("writes");
    }

    fn open(&self) -> Result<TlsServer, TlsError> {
        TlsServer::open("rpc", self.files.clone())
    }

    fn refused(&self) -> String {
        self.open().expect_err("refused").to_string()
    }
}

#[test]
fn files_that_cannot_be_used_are_refused_with_a_mend() {
    let authority = Authority::new();
    let (one, other) = (authority.issue(90 * DAY), authority.issue(90 * DAY));
    let place = Place::new(&one);
    assert!(place.open().expect("good").check(now_s()).is_ok());

    place.write(&Issued { key: other.key, certificate: one.certificate.clone() });
    assert!(place.refused().contains("name the pair that was issued together"), "{}", place.refused());
    place.write(&Issued { key: one.certificate.clone(), certificate: one.key.clone() });
    assert!(place.refused().contains("see whether the files are swapped"), "{}", place.refused());
    let broken = one.certificate.replacen('M', "A", 3);
    place.write(&Issued { key: one.key.clone(), certificate: broken });
    assert!(place.refused().contains("damaged"), "{}", place.refused());
    let secret: String = one.key.lines().nth(1).expect("a line").chars().take(20).collect();
    place.write(&Issued { key: one.key.replacen('M', "!", 1), certificate: one.certificate.clone() });
    assert!(place.refused().contains("private key in PEM form") && !place.refused().contains(&secret));
    fs::remove_file(&place.files.key).expect("removed");
    assert!(place.refused().contains("tls.key") && place.refused().contains("check the path"), "{}", place.refused());

    place.write(&one);
    let client_ca = place.dir.path().join("ca.crt");
    let files = TlsFiles { client_ca: Some(client_ca.clone()), ..place.files.clone() };
    let error = TlsServer::open("rpc", files.clone()).expect_err("refused").to_string();
    assert!(error.contains("cannot read the TLS authority's certificate"), "{error}");
    fs::write(client_ca, authority.pem()).expect("writes");
    let names: Vec<_> =
        TlsServer::open("rpc", files).expect("good").certificates().into_iter().map(|(n, _)| n).collect();
    assert_eq!(names, ["of rpc", "of the client CA of rpc"]);
}

proptest! {
    /// What stands in a file is the operator's, but a broken one must not end a node that reads it anew.
    #[test]
    fn a_changed_byte_of_a_certificate_is_no_panic(at: proptest::sample::Index, byte: u8) {
        static ISSUED: std::sync::LazyLock<Issued> = std::sync::LazyLock::new(|| Authority::new().issue(DAY));
        let der = rustls::pki_types::CertificateDer::from_pem_slice(ISSUED.certificate.as_bytes()).expect("PEM");
        let mut changed = der.to_vec();
        let at = at.index(changed.len());
        changed[at] = byte;
        let _ = material::validity(Path::new("x"), &[changed.into()]);
    }
}

#[test]
fn a_certificate_that_has_ended_is_told_of_and_shown() {
    let server = Place::new(&Authority::new().issue(-3 * DAY)).open().expect("shown all the same");
    let error = server.check(now_s()).expect_err("told of").to_string();
    assert!(error.contains("ended 3 days ago") && error.contains("without a restart"), "{error}");
    let left = server.certificates()[0].1.left(now_s());
    assert!((-3 * DAY - 60..=-3 * DAY).contains(&left), "{left}");
}

#[test]
fn renewed_files_come_into_force_and_bad_ones_do_not() {
    let authority = Authority::new();
    let place = Place::new(&authority.issue(DAY));
    let server = place.open().expect("good");
    let left = || server.certificates()[0].1.left(now_s());
    assert!(matches!(server.refresh(now_s()), Refresh::Same));
    let before = server.config();

    // The certificate is written before the key: for a moment they do not fit together.
    let renewed = authority.issue(90 * DAY);
    fs::write(&place.files.certificate, &renewed.certificate).expect("writes");
    assert!(matches!(server.refresh(now_s()), Refresh::Same), "told only when it stays so");
    fs::write(&place.files.key, &renewed.key).expect("writes");
    assert!(matches!(server.refresh(now_s()), Refresh::Renewed));
    assert!(left() > 89 * DAY && !Arc::ptr_eq(&before, &server.config()));

    // What is worse than what is in force does not replace it, and is told of once.
    place.write(&authority.issue(-DAY));
    assert!(matches!(server.refresh(now_s()), Refresh::Same));
    let Refresh::Refused(error) = server.refresh(now_s()) else { panic!("it stays so") };
    assert!(error.to_string().contains("ended 24.0 hours ago"), "{error}");
    assert!(matches!(server.refresh(now_s()), Refresh::Same), "once");
    fs::remove_file(&place.files.key).expect("removed");
    assert!(matches!(server.refresh(now_s()), Refresh::Same));
    assert!(matches!(server.refresh(now_s()), Refresh::Refused(TlsError::Read { .. })));
    assert!(left() > 89 * DAY, "the good one is still in force");
    place.write(&renewed);
    assert!(matches!(server.refresh(now_s()), Refresh::Same), "back to what is in force");
}

/// A server that answers every request, with TLS.
async fn serve(place: &Place, max: usize) -> (std::net::SocketAddr, Arc<Metrics>) {
    let labels = NodeLabels { version: "0".into(), name: "n".into(), chain: "c".into(), chain_id: "1".into() };
    let metrics = Arc::new(Metrics::new(labels));
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = tcp.local_addr().expect("bound");
    let tls = Some(Arc::new(place.open().expect("good")));
    let listener = listener::Bounded::new(tcp, max, tls, &metrics);
    let router = axum::Router::new().route("/", axum::routing::get(|| async { "hello" }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, metrics)
}

fn client(authority: &Authority, place: &Place) -> reqwest::Client {
    let ca = place.dir.path().join("trusted.crt");
    fs::write(&ca, authority.pem()).expect("writes");
    let config = super::client::config(Some(&ca), None).expect("good");
    reqwest::Client::builder().tls_backend_preconfigured(config).no_proxy().build().expect("a client")
}

#[tokio::test]
async fn whoever_does_not_shake_hands_keeps_nobody_else_waiting() {
    let authority = Authority::new();
    let place = Place::new(&authority.issue(DAY));
    let (address, metrics) = serve(&place, 50).await;
    // Silent, and half of a greeting.
    let mut idle = Vec::new();
    for n in 0..20 {
        let mut stream = TcpStream::connect(address).await.expect("accepted");
        if n % 2 == 0 {
            stream.write_all(&[0x16, 3, 1, 2, 0, 1]).await.expect("written");
        }
        idle.push(stream);
    }
    // No TLS at all: closed at once.
    let mut plain = TcpStream::connect(address).await.expect("accepted");
    plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("written");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), plain.read_to_end(&mut answer)).await.expect("closed");
    assert!(read.is_ok() || read.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionReset), "{read:?}");
    assert!(!answer.windows(5).any(|w| w == b"hello"), "{answer:?}");

    let text = client(&authority, &place).get(format!("https://localhost:{}/", address.port())).send().await;
    assert_eq!(text.expect("an answer").text().await.expect("text"), "hello");
    let text = metrics.encode();
    for line in ["basalt_tls_handshakes_total{result=\"ok\"} 1", "basalt_tls_handshakes_total{result=\"failed\"} 1"] {
        assert!(text.contains(line), "{text}");
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_trusted() {
    let place = Place::new(&Authority::new().issue(DAY));
    let (address, _) = serve(&place, 50).await;
    let stranger = client(&Authority::new(), &place);
    let error = stranger.get(format!("https://127.0.0.1:{}/", address.port())).send().await.expect_err("refused");
    // Of the same name and with another key.
    assert!(format!("{error:?}").contains("InvalidCertificate"), "{error:?}");
    // Nor is it by the system's authorities.
    let error = super::client::get(format!("https://127.0.0.1:{}/", address.port())).await.expect_err("refused");
    assert!(
        ["UnknownIssuer", "no certificate authorities"].iter().any(|w| format!("{error:?}").contains(w)),
        "{error:?}"
    );
}
