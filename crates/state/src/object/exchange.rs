//! One request and its whole answer: HTTP/1.1 over connections that are kept, TLS by rustls. Redirects are not followed and
//! proxies are not asked, as everywhere here.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue};
use hyper::{Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::OBJECT_MAX;
use super::answer::{self, Asked};
use super::trouble::{Trouble, sentence};

/// Connections that are kept: as many as partitions write at the same time, about.
const IDLE_MAX: usize = 8;
/// The longest head of an answer, in bytes; beside S3's own, metadata has 2 KB.
const HEAD_MAX: usize = 64 << 10;
/// The longest answer that is no object: a page of 1,000 names of the longest kind has 2 MB.
const TEXT_MAX: usize = 8 << 20;
/// From the name to a connection, TLS included: a share of a call's deadline, so that another address can be tried.
const CONNECT_SHARE: u32 = 3;
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Gives the library its client.
#[derive(Debug)]
pub(super) struct Connector(Arc<Client>);

impl Connector {
    /// `deadline`: of a call. `ca`: certificates as PEM that are trusted instead of the machine's.
    pub(super) fn new(deadline: Duration, ca: Option<&[u8]>) -> Result<Connector, String> {
        let mut roots = RootCertStore::empty();
        match ca {
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let certificate = certificate.map_err(|_| "ca: it is not PEM".to_owned())?;
                    roots.add(certificate).map_err(|e| format!("ca: {e}"))?;
                }
                if roots.is_empty() {
                    return Err("ca: there is no certificate in it".to_owned());
                }
            }
            // What cannot be read of them is left out, as other programs do.
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the suites of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = TlsConnector::from(Arc::new(config));
        let connect_timeout = (deadline / CONNECT_SHARE).min(CONNECT_MAX);
        Ok(Connector(Arc::new(Client { tls, connect_timeout, idle: Mutex::default() })))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Shared(Arc::clone(&self.0))))
    }
}

/// The client as the library has it: several times.
#[derive(Debug)]
struct Shared(Arc<Client>);

struct Client {
    tls: TlsConnector,
    connect_timeout: Duration,
    /// With the place that each leads to; the one used last is last.
    idle: Mutex<Vec<(Place, SendRequest<HttpRequestBody>)>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// Where a connection leads.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    is_tls: bool,
    host: String,
    port: u16,
}

impl HttpService for Shared {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            // The kind decides whether the library tries again, which it is told never to do.
            self.0.call(request).await.map_err(|trouble| HttpError::new(HttpErrorKind::Unknown, trouble))
        })
    }
}

impl Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, Trouble> {
        let asked = Asked::of(&request);
        let place = Place::of(request.uri())?;
        let mut sender = match self.kept(&place).await {
            Some(sender) => sender,
            None => self.connect(&place).await?,
        };
        let (head, body) = sender.send_request(as_sent(request)?).await.map_err(lost)?.into_parts();
        let is_object = asked == Asked::Get && head.status == StatusCode::OK;
        let body = read(body, if is_object { OBJECT_MAX } else { TEXT_MAX }).await?;
        self.keep(place, sender);
        answer::check(asked, head.status, &head.headers, &body)?;
        Ok(Response::from_parts(head, HttpResponseBody::from(Bytes::from(body))))
    }

    /// One that is still open. Whether it stays so shows only when something is sent; then another try finds another.
    async fn kept(&self, place: &Place) -> Option<SendRequest<HttpRequestBody>> {
        loop {
            let mut sender = {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.retain(|(_, sender)| !sender.is_closed());
                let at = idle.iter().rposition(|(of, _)| of == place)?;
                idle.remove(at).1
            };
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    fn keep(&self, place: Place, sender: SendRequest<HttpRequestBody>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !sender.is_closed() {
            idle.push((place, sender));
        }
        if idle.len() > IDLE_MAX {
            idle.remove(0);
        }
    }

    async fn connect(&self, place: &Place) -> Result<SendRequest<HttpRequestBody>, Trouble> {
        let no_connection =
            |why: &dyn fmt::Display| Trouble::NoConnection { to: place.to_string(), why: system(&why.to_string()) };
        let connected = tokio::time::timeout(self.connect_timeout, async {
            let stream = TcpStream::connect((place.host.as_str(), place.port)).await.map_err(|e| no_connection(&e))?;
            // An answer that waits for another segment's acknowledgement is 40 ms late.
            stream.set_nodelay(true).map_err(|e| no_connection(&e))?;
            if !place.is_tls {
                return handshake(stream).await;
            }
            let no_tls = |why: String| Trouble::NoTls { to: place.to_string(), why };
            let name = ServerName::try_from(place.host.clone()).map_err(|e| no_tls(e.to_string()))?;
            let stream = self.tls.connect(name, stream).await.map_err(|e| match e.get_ref() {
                Some(tls) => no_tls(sentence(&tls.to_string())),
                None => no_connection(&e),
            })?;
            handshake(stream).await
        });
        let late = || format!("there is none after {} s", self.connect_timeout.as_secs_f64());
        connected.await.unwrap_or_else(|_| Err(no_connection(&late())))
    }
}

impl Place {
    fn of(uri: &Uri) -> Result<Place, Trouble> {
        let is_tls = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(Trouble::NoConnection { to: uri.to_string(), why: "it is no URL with a host".to_owned() });
        }
        Ok(Place { is_tls, host, port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }) })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The target without scheme and host, which go into a header.
fn as_sent(mut request: HttpRequest) -> Result<HttpRequest, Trouble> {
    let uri = request.uri();
    let unusable = |_| Trouble::Unusable { what: "it is no URL that can be asked".to_owned() };
    let host = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let host = HeaderValue::from_str(host).map_err(|_| Trouble::Unusable { what: "it has no host".to_owned() })?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str()).parse().map_err(unusable)?;
    request.headers_mut().insert(HOST, host);
    *request.uri_mut() = target;
    Ok(request)
}

async fn handshake<S>(stream: S) -> Result<SendRequest<HttpRequestBody>, Trouble>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_MAX);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(lost)?;
    tokio::spawn(async move {
        // It ends with the sender, and what goes wrong is said to whoever waits for an answer.
        let _ = connection.await;
    });
    Ok(sender)
}

async fn read(mut body: Incoming, max: usize) -> Result<Vec<u8>, Trouble> {
    let mut whole = Vec::with_capacity((body.size_hint().lower() as usize).min(TEXT_MAX));
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(lost)?.into_data() else { continue };
        if whole.len() + data.len() > max {
            return Err(Trouble::Unusable { what: format!("it has more than {max} bytes") });
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

fn lost(e: hyper::Error) -> Trouble {
    Trouble::Lost { why: system(&super::trouble::chain(&e)) }
}

/// Without the system's number, which says nothing that the words before it do not.
fn system(text: &str) -> String {
    sentence(text.split_once(" (os error").map_or(text, |(words, _)| words))
}
