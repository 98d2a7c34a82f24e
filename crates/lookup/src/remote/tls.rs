//! TLS by rustls. What the machine trusts is trusted, or what the configuration names instead.

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::{ConfigError, Failure, Kind};

/// How one host is spoken to.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) connector: TlsConnector,
    pub(super) name: ServerName<'static>,
}

impl Tls {
    /// `ca`: certificates as PEM that are trusted instead of the machine's.
    pub(super) fn new(host: &str, ca: Option<&[u8]>) -> Result<Tls, ConfigError> {
        let mut roots = RootCertStore::empty();
        match ca {
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let certificate = certificate.map_err(|_| ConfigError::new("ca", "it is not PEM"))?;
                    roots.add(certificate).map_err(|e| ConfigError::new("ca", e.to_string()))?;
                }
                if roots.is_empty() {
                    return Err(ConfigError::new("ca", "there is no certificate in it"));
                }
            }
            None => {
                // What cannot be read of them is left out, as other programs do.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ConfigError::new("url", format!("{host} is no name that a certificate could have")))?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the suites of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls { connector: TlsConnector::from(Arc::new(config)), name })
    }
}

/// What went wrong while the two sides agreed on a connection.
pub(super) fn failure(e: &std::io::Error) -> Failure {
    match e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            Failure::new(Kind::Tls, format!("the certificate is not trusted: {why}"))
        }
        Some(other) => Failure::new(Kind::Tls, format!("no TLS: {other}")),
        None => Failure::lost("it was closed while TLS was agreed on"),
    }
}
