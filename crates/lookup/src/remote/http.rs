//! A service that answers with JSON: a GET for each key, or one POST for many. HTTP/1.1 over connections that are kept;
//! redirects are not followed, and nothing is asked but the host that the configuration names.
//!
//! | answer | one key | many in one body |
//! |---|---|---|
//! | 2xx with JSON | its value | the values in it |
//! | 204, 404, 410 | not found | a failure (204: not found, all of them) |
//! | 429, 5xx, other | a failure, with the time to wait if one is named | the same |
//! | empty, not JSON, longer than a value may be | bad | a failure |

mod answer;
mod body;
mod url;

use std::time::Duration;

use bytes::Bytes;
use event::json::write_string;
use futures_util::future::join_all;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use super::found::{assert_parameters, within};
use super::pool::{Connect, Lent, Pool};
use super::resolver::Reach;
use super::socket::Host;
use super::tls::Tls;
use super::{BoxFuture, ConfigError, Failure, Found, Key, Kind, Remote, Secret, VALUE_MAX};
use body::Once;
use url::Url;

pub use answer::BatchAnswer;

/// Longest head of an answer, in bytes, and longest request line.
const HEAD_MAX: usize = 16 << 10;
/// The place for the keys in a body.
const KEYS: &str = "{keys}";

/// What a service is asked, and how.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// `https://host/path/{key}?x={key}`. Parameters fill the path and the query, percent-encoded, never the host.
    pub url: String,
    /// Names of the parameters of a key, in its order.
    pub parameters: Vec<String>,
    /// Many keys in one POST; `None`: a GET for each.
    pub batch: Option<Batch>,
    /// Sent with every request. Never printed, for tokens are among them.
    pub headers: Vec<(String, Secret)>,
    /// Sent as `authorization: Bearer ...`.
    pub bearer: Option<Secret>,
    /// Hosts that may have private addresses.
    pub allow_private: Vec<String>,
    /// Connections, and with them requests at the same time.
    pub connections: usize,
    /// From the name to a connection, TLS included.
    pub connect_timeout: Duration,
    /// Certificates as PEM that are trusted instead of the machine's.
    pub ca: Option<Vec<u8>>,
}

/// Many keys in one request.
#[derive(Clone, Debug)]
pub struct Batch {
    /// JSON with `{keys}` where the array of keys goes: texts, or arrays of texts if a key has several parameters.
    pub body: String,
    pub answer: BatchAnswer,
    /// Members that lead from the answer to the values.
    pub at: Vec<String>,
}

impl Default for HttpConfig {
    fn default() -> HttpConfig {
        HttpConfig {
            url: String::new(),
            parameters: vec!["key".into()],
            batch: None,
            headers: Vec::new(),
            bearer: None,
            allow_private: Vec::new(),
            connections: 8,
            connect_timeout: Duration::from_secs(2),
            ca: None,
        }
    }
}

impl Default for Batch {
    fn default() -> Batch {
        Batch { body: format!("{{\"keys\":{KEYS}}}"), answer: BatchAnswer::ByKey, at: Vec::new() }
    }
}

impl HttpConfig {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The member that is wrong.
    pub fn build(self) -> Result<HttpSource, ConfigError> {
        ConfigError::connections(self.connections)?;
        let url = Url::parse(&self.url, &self.parameters)?;
        let parameters = self.parameters.len();
        let unused = (0..parameters).find(|p| self.batch.is_none() && !url.parameters().any(|q| q == *p));
        if let Some(unused) = unused {
            let name = &self.parameters[unused];
            return Err(ConfigError::new(
                "url",
                format!("every key would be asked for alike: {{{name}}} is not in it"),
            ));
        }
        if let Some(batch) = &self.batch {
            if url.parameters().next().is_some() {
                return Err(ConfigError::new("url", "a key has no place in it, for one request asks for many"));
            }
            if batch.body.matches(KEYS).count() != 1
                || super::json::checked(batch.body.replace(KEYS, "[]").as_bytes()).is_none()
            {
                return Err(ConfigError::new("body", "write JSON with {keys} in it once"));
            }
            batch.answer.check(parameters)?;
        }
        let tls = if url.tls { Some(Tls::new(&url.host, self.ca.as_deref())?) } else { None };
        let allowed = self.allow_private.iter().any(|host| host.eq_ignore_ascii_case(&url.host));
        let host = Host {
            name: url.host.clone(),
            port: url.port,
            reach: if allowed { Reach::Anywhere } else { Reach::Public },
            tls,
            connect_timeout: self.connect_timeout,
        };
        Ok(HttpSource {
            headers: headers(&url, self.headers, self.bearer)?,
            url,
            parameters,
            batch: self.batch,
            pool: Pool::new(Door(host), self.connections),
        })
    }
}

/// What goes with every request.
fn headers(url: &Url, configured: Vec<(String, Secret)>, bearer: Option<Secret>) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_str(&url.authority()).expect("a host that was parsed"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("ouzel"));
    let bearer = bearer.map(|token| ("authorization".to_owned(), Secret::new(format!("Bearer {}", token.reveal()))));
    for (name, text) in configured.into_iter().chain(bearer) {
        let wrong = |what: &str| ConfigError::new("headers", format!("{name}: {what}"));
        let header = HeaderName::try_from(&name).map_err(|_| wrong("it is no name of a header"))?;
        if FRAMING.contains(&header) {
            return Err(wrong("it is set from what is sent"));
        }
        let mut value = HeaderValue::from_str(text.reveal()).map_err(|_| wrong("its text cannot stand in a header"))?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}

/// Headers that say where a request ends or whom it is for, or have us read what we cannot.
const FRAMING: [HeaderName; 7] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::ACCEPT_ENCODING,
];

/// A service over HTTP.
pub struct HttpSource {
    url: Url,
    parameters: usize,
    batch: Option<Batch>,
    headers: HeaderMap,
    pool: Pool<Door>,
}

impl Remote for HttpSource {
    fn call<'a>(&'a self, keys: &'a [Key], give_up_after: Duration) -> BoxFuture<'a, Result<Vec<Found>, Failure>> {
        assert_parameters(keys, self.parameters);
        Box::pin(async move {
            match &self.batch {
                _ if keys.is_empty() => Ok(Vec::new()),
                Some(batch) => within(give_up_after, self.many(batch, keys)).await,
                None => each(join_all(keys.iter().map(|key| within(give_up_after, self.one(key)))).await),
            }
        })
    }
}

/// Answers of requests of their own: if there is none among them, the call as a whole failed.
fn each(answers: Vec<Result<Found, Failure>>) -> Result<Vec<Found>, Failure> {
    if answers.iter().all(Result::is_err) {
        return Err(answers.into_iter().find_map(Result::err).expect("there are keys"));
    }
    Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(Found::Failed)).collect())
}

impl HttpSource {
    async fn one(&self, key: &Key) -> Result<Found, Failure> {
        let target = match self.url.fill(key) {
            Ok(target) => target,
            Err(bad) => return Ok(bad),
        };
        let exchange = self.exchange(Method::GET, &target, Bytes::new(), VALUE_MAX).await?;
        Ok(match exchange {
            Exchange::Body(body) => super::json::value(&body),
            Exchange::TooLarge => Found::Bad("too_large"),
            Exchange::Undecodable => Found::Bad("not_json"),
            Exchange::Nothing | Exchange::NotFound => Found::NotFound,
        })
    }

    async fn many(&self, batch: &Batch, keys: &[Key]) -> Result<Vec<Found>, Failure> {
        let body = batch.body.replacen(KEYS, &array(keys), 1);
        let answer_max = VALUE_MAX.saturating_mul(keys.len());
        match self.exchange(Method::POST, self.url.plain(), body.into(), answer_max).await? {
            Exchange::Body(body) => batch.answer.read(&body, &batch.at, keys),
            Exchange::Nothing => Ok(vec![Found::NotFound; keys.len()]),
            Exchange::NotFound => Err(Failure::new(Kind::Status(404), "the service answered 404 to a whole batch")),
            Exchange::TooLarge => {
                Err(Failure::new(Kind::TooLarge, format!("the answer has more than {answer_max} bytes")))
            }
            Exchange::Undecodable => Err(Failure::new(Kind::Malformed, "the answer cannot be decompressed")),
        }
    }

    /// One request and its answer, on a connection that is kept unless something is left to be read on it.
    async fn exchange(
        &self,
        method: Method,
        target: &Uri,
        body: Bytes,
        answer_max: usize,
    ) -> Result<Exchange, Failure> {
        let mut lent = self.pool.lend().await?;
        let response = match self.send(&mut lent, &method, target, &body).await {
            Err(lost) if lost.kind == Kind::Connection => match lent.renew().await? {
                true => self.send(&mut lent, &method, target, &body).await?,
                false => return Err(lost),
            },
            sent => sent?,
        };
        let (head, body) = response.into_parts();
        let nothing_left = |lent: Lent<'_, Door>| lent.give_back();
        if !head.status.is_success() {
            let failure = answer::refused(&head);
            // Its body says nothing to us; read to its end, the connection can be kept.
            let told = body::read(body, VALUE_MAX).await.is_ok_and(|told| told.is_some());
            if told {
                nothing_left(lent);
            }
            return match head.status {
                StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Exchange::NotFound),
                _ => Err(failure),
            };
        }
        let Some(body) = body::read(body, answer_max).await? else { return Ok(Exchange::TooLarge) };
        nothing_left(lent);
        if head.status == StatusCode::NO_CONTENT {
            return Ok(Exchange::Nothing);
        }
        Ok(body::decode(&head.headers, body, answer_max))
    }

    async fn send(
        &self,
        lent: &mut Lent<'_, Door>,
        method: &Method,
        target: &Uri,
        body: &Bytes,
    ) -> Result<Response<hyper::body::Incoming>, Failure> {
        let mut request = Request::new(Once::new(body.clone()));
        *request.method_mut() = method.clone();
        *request.uri_mut() = target.clone();
        *request.headers_mut() = self.headers.clone();
        if !body.is_empty() {
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        lent.sender.ready().await.map_err(|e| answer::broken(&e))?;
        lent.sender.send_request(request).await.map_err(|e| answer::broken(&e))
    }
}

/// What became of a request.
enum Exchange {
    Body(Bytes),
    TooLarge,
    /// An encoding that was not asked for, or a body that does not keep to it.
    Undecodable,
    /// 204.
    Nothing,
    /// 404, 410.
    NotFound,
}

/// Keys as a JSON array.
fn array(keys: &[Key]) -> String {
    let mut out = vec![b'['];
    for (n, key) in keys.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        match key.parameters() {
            [only] => write_string(only.as_bytes(), &mut out),
            several => {
                for (n, parameter) in several.iter().enumerate() {
                    out.push(if n == 0 { b'[' } else { b',' });
                    write_string(parameter.as_bytes(), &mut out);
                }
                out.push(b']');
            }
        }
    }
    out.push(b']');
    String::from_utf8(out).expect("keys are texts")
}

/// Makes connections to the service.
struct Door(Host);

/// A connection, and the task that drives it.
struct Connection {
    sender: SendRequest<Once>,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connect for Door {
    type Connection = Connection;

    async fn connect(&self) -> Result<Connection, Failure> {
        let io = self.0.in_time(self.0.connect()).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_MAX);
        let (sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(|e| answer::broken(&e))?;
        let driver = tokio::spawn(async move {
            // What goes wrong is said to whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(Connection { sender, driver: driver.abort_handle() })
    }

    fn is_open(connection: &Connection) -> bool {
        !connection.sender.is_closed()
    }
}
