//! Certificates that are good and those that are not. They are files, good for a hundred years; the authority's key is
//! gone, so nobody can make more.

use std::sync::Arc;
use std::time::Duration;

use ouzel_lookup::remote::{Failure, Found, HttpConfig, Key, Kind, Remote};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::stub::{json, serve};

const CA: &[u8] = include_bytes!("../certificates/ca.pem");
const KEY: &[u8] = include_bytes!("../certificates/server.pk8");

/// A server with this certificate; its port.
async fn start(certificate: &[u8]) -> u16 {
    let chain = vec![CertificateDer::from_pem_slice(certificate).expect("a certificate")];
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::try_from(KEY).expect("a key"))
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(tls) = acceptor.accept(tcp).await {
                    serve(tls, &|_| json("1")).await;
                }
            });
        }
    });
    port
}

async fn ask(port: u16, ca: Option<&[u8]>) -> Result<Vec<Found>, Failure> {
    let config = HttpConfig {
        url: format!("https://localhost:{port}/{{key}}"),
        allow_private: vec!["localhost".into()],
        ca: ca.map(<[u8]>::to_vec),
        ..HttpConfig::default()
    };
    config.build().expect("a source").call(&[Key::of("a")], Duration::from_secs(10)).await
}

#[tokio::test]
async fn a_certificate_is_trusted_for_its_name_and_time() {
    let good = start(include_bytes!("../certificates/good.pem")).await;
    assert_eq!(ask(good, Some(CA)).await, Ok(vec![Found::Value(b"1".to_vec())]));
    for (certificate, ca, says) in [
        (&include_bytes!("../certificates/good.pem")[..], None, "UnknownIssuer"),
        (include_bytes!("../certificates/self_signed.pem"), Some(CA), ""),
        (include_bytes!("../certificates/expired.pem"), Some(CA), "expired"),
        (include_bytes!("../certificates/other_name.pem"), Some(CA), "not valid for name"),
    ] {
        let failure = ask(start(certificate).await, ca).await.expect_err(says);
        assert_eq!(failure.kind, Kind::Tls, "{failure}");
        assert!(failure.message.contains(says), "{failure}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_named() {
    let stub = crate::stub::Stub::start(|_| json("1")).await;
    // It waits for a head that never ends, and so do we.
    let config = HttpConfig {
        url: format!("https://localhost:{}/{{key}}", stub.address.port()),
        allow_private: vec!["localhost".into()],
        connect_timeout: Duration::from_millis(200),
        ca: Some(CA.to_vec()),
        ..HttpConfig::default()
    };
    let failure = config.build().expect("a source").call(&[Key::of("a")], Duration::from_secs(10)).await;
    assert_eq!(failure.expect_err("no TLS").kind, Kind::Timeout);
}
