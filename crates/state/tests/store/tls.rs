//! A bucket behind TLS. The certificates are those of lookups' tests, good for a hundred years.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ouzel_state::place::{PlaceConfig, probe};
use seam::{RealClock, RealFs, RealRng};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::bucket::{Service, open};

const CA: &[u8] = include_bytes!("../../../lookup/tests/certificates/ca.pem");
const KEY: &[u8] = include_bytes!("../../../lookup/tests/certificates/server.pk8");

/// TLS with this certificate in front of the service; its port.
fn start(runtime: &Runtime, certificate: &[u8], service: SocketAddr) -> u16 {
    let chain = vec![CertificateDer::from_pem_slice(certificate).expect("a certificate")];
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::try_from(KEY).expect("a key"))
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    runtime.spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                let mut plain = TcpStream::connect(service).await.expect("the service");
                let _ = copy_bidirectional(&mut tls, &mut plain).await;
            });
        }
    });
    port
}

#[test]
fn a_certificate_is_trusted_for_its_name_and_time() {
    let Some(service) = Service::find() else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let config = |certificate: &[u8], ca: Option<&[u8]>| {
        let port = start(&runtime, certificate, service.address());
        PlaceConfig {
            endpoint: Some(format!("https://localhost:{port}")),
            ca: ca.map(<[u8]>::to_vec),
            ..service.config(&service.place())
        }
    };
    let good = include_bytes!("../../../lookup/tests/certificates/good.pem");
    probe(&*open(config(good, Some(CA))), &RealRng).expect("it does what is asked of it");
    for (certificate, ca, says) in [
        (&good[..], None, "UnknownIssuer"),
        (include_bytes!("../../../lookup/tests/certificates/self_signed.pem"), Some(CA), "there is no TLS"),
        (include_bytes!("../../../lookup/tests/certificates/expired.pem"), Some(CA), "expired"),
        (include_bytes!("../../../lookup/tests/certificates/other_name.pem"), Some(CA), "not valid for name"),
    ] {
        let why = open(config(certificate, ca)).get("x").expect_err(says);
        assert_eq!(why.kind(), ErrorKind::Other, "it is not tried again: {why}");
        assert!(why.to_string().contains(says) && why.to_string().contains("there is no TLS with localhost"), "{why}");
    }
    let plain = PlaceConfig {
        endpoint: Some(service.endpoint.replace("http://", "https://")),
        deadline: Duration::from_secs(3),
        ..service.config(&service.place())
    };
    open(plain).get("x").expect_err("it speaks no TLS");
}

#[test]
fn what_is_no_certificate_is_said_before_anything_is_asked() {
    for (pem, says) in [("", "there is no certificate in it"), ("-----BEGIN CERTIFICATE-----\n!", "not PEM")] {
        let config = PlaceConfig { ca: Some(pem.into()), ..PlaceConfig::new("s3://bucket") };
        let place = config.build().expect("a place");
        let opened = place.open(Arc::new(RealFs), Arc::new(RealClock::new()), Arc::new(RealRng));
        let said = opened.err().map(|e| e.to_string()).expect("no store");
        assert!(said.contains("s3://bucket/: ca:") && said.contains(says), "{said}");
    }
}
