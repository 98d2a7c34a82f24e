//! The HTTP front line: one port, HTTP/1.1, and limits on everything a stranger may take.
//!
//! * [`listen`]: the accept loop, connections and their end
//! * [`limits`]: every limit with the reason for its number
//! * [`guard`]: the clocks on a socket
//! * [`body`]: a request's body on its way in
//! * [`events`]: `POST /v1/events`
//! * [`lookup`]: `POST /v1/lookup/{name}`
//! * [`topics`]: reading the log
//! * [`page`]: the status page
//! * [`answer`]: answers and errors
//! * [`counters`]: what is counted
//!
//! It does not know what runs behind the log: readiness, metrics, status and administration come from a [`Site`].

mod answer;
mod body;
mod counters;
mod events;
mod guard;
mod limits;
mod listen;
mod lookup;
mod page;
mod topics;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use log::Log;
use seam::{Clock, Rng};
use serde_json::{Value, json};
use tokio::sync::watch;

pub use counters::{Count, Counters, Histogram};
pub use events::{Delivery, TooManyEvents, take_body};
pub use limits::{Hosts, Limits};
pub use listen::{NotLoopback, Server, Stage, check_address};
pub use topics::{is_shown, overview, write_record};

use crate::collect::Collector;
use answer::Answer;
use body::{Gauge, Reader};

/// What the rest of the program tells the front line. Called from any thread; must not block for longer than a lock.
pub trait Site: Send + Sync + 'static {
    /// Why no events should be sent here now, one sentence each; empty = ready.
    fn ready(&self) -> Vec<String>;

    /// What is not as it should be although events are taken and enriched, one sentence each.
    fn degraded(&self) -> Vec<String> {
        Vec::new()
    }

    /// Appends all metrics in Prometheus' text format; [`Counters::write_metrics`] has those of the front line.
    fn metrics(&self, out: &mut String);

    /// What may be asked for by name, over `/v1/lookup/{name}`. Its deadlines are times of the front line's clock.
    fn lookups(&self) -> Option<&dyn ::lookup::Directory> {
        None
    }

    /// An object for `/status.json` and the status page; see [`page`] for the members the page knows. `ready`, `http`
    /// and `topics` are added where it does not have them.
    fn status(&self) -> Value;

    /// Answers a question that the log alone cannot: what is below [`LOOKS`], with a status and JSON. `name` is what stands
    /// behind it in the path, decoded; `query` is as it came. Called on a thread that may block.
    fn look(&self, _at: &str, _name: &[u8], _query: &str) -> Option<(u16, String)> {
        None
    }

    /// Answers a request below `/admin/` with a status and JSON; `None` when there is no such thing. `token` is what the
    /// `Authorization: Bearer` header gave. Called on a thread that may block.
    fn admin(&self, method: &str, path: &str, query: &str, token: Option<&str>, body: &[u8]) -> Option<(u16, String)>;
}

/// What the site is asked for by name ([`Site::look`]).
pub const LOOKS: [&str; 2] = ["/v1/sessions/", "/v1/explain/"];

/// Whether a connection's address and agent say something about the events in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientAddress {
    /// Clients send for themselves: events that name no address or agent have the connection's.
    Connection,
    /// Servers and log shippers send for others.
    None,
}

/// What a front line is made of.
pub struct Parts {
    pub log: Arc<dyn Log>,
    pub site: Arc<dyn Site>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    /// Of the source that HTTP is.
    pub decoder: Arc<wire::Decoder>,
    pub client_address: ClientAddress,
    pub limits: Limits,
    pub counters: Arc<Counters>,
}

/// The front line; [`Server::start`] serves it.
pub struct Front {
    /// There where events are taken and read.
    events: Option<Events>,
    site: Arc<dyn Site>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    limits: Limits,
    counters: Arc<Counters>,
    reading: Gauge,
    in_flight: Arc<Gauge>,
    /// Keys that lookups are asked for.
    asking: Gauge,
    bodies: Pool<Vec<u8>>,
    collectors: Pool<Collector>,
    stage: watch::Sender<Stage>,
    /// Only requests that name this machine are served; the listener decides.
    local_hosts: AtomicBool,
}

/// What events need.
struct Events {
    log: Arc<dyn Log>,
    decoder: Arc<wire::Decoder>,
    client_address: ClientAddress,
    /// Partitions of `raw` and `dlq`.
    partitions: u32,
}

impl Front {
    pub fn new(parts: Parts) -> Front {
        let Parts { log, site, clock, rng, decoder, client_address, limits, counters } = parts;
        let partitions = log.partitions(event::topic::RAW);
        let events = Some(Events { log, decoder, client_address, partitions });
        Front { events, ..Front::of_lookups(site, clock, rng, limits, counters) }
    }

    /// A front line that takes no events and has no topics: it answers lookups, and says how it is.
    pub fn of_lookups(
        site: Arc<dyn Site>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        limits: Limits,
        counters: Arc<Counters>,
    ) -> Front {
        Front {
            events: None,
            reading: Gauge::new(limits.reading_bytes),
            in_flight: Arc::new(Gauge::new(limits.in_flight_bytes)),
            asking: Gauge::new(limits.lookup_keys),
            bodies: Pool::default(),
            collectors: Pool::default(),
            stage: watch::Sender::new(Stage::Open),
            local_hosts: AtomicBool::new(false),
            site,
            clock,
            rng,
            limits,
            counters,
        }
    }

    /// Of a route that is only there where events are ([`Route::needs_events`]).
    fn events(&self) -> &Events {
        self.events.as_ref().expect("this route is not served without")
    }

    fn reader(&self) -> Reader<'_> {
        Reader { limits: &self.limits, clock: &*self.clock, counters: &self.counters, reading: &self.reading }
    }

    async fn handle(self: &Arc<Front>, request: Request<Incoming>, peer: IpAddr) -> Answer {
        if self.local_hosts.load(Relaxed) && !is_local(request.headers().get(header::HOST)) {
            let answer = answer::error(StatusCode::MISDIRECTED_REQUEST, "foreign_host", limits::HOST_REASON);
            return turn_away(request, answer).await;
        }
        let path = request.uri().path();
        if path.starts_with("/admin/") {
            return self.admin(request).await;
        }
        let Some(route) = Route::of(path) else {
            let answer = not_found(path);
            return turn_away(request, answer).await;
        };
        let allowed = route.allowed();
        if !allowed.split(", ").any(|m| m == request.method().as_str()) {
            let message = format!("{path} takes {allowed}");
            let mut answer = answer::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message);
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
            return turn_away(request, answer).await;
        }
        if route.needs_events() && self.events.is_none() {
            let message =
                format!("{path} is not here: this process takes no events in, and shows no topics (`--roles`)");
            return turn_away(request, answer::error(StatusCode::NOT_FOUND, "not_here", &message)).await;
        }
        match route {
            Route::Events => events::post(self, request, peer).await,
            Route::Lookup(name) => {
                let name = name.to_owned();
                lookup::post(self, &name, request).await
            }
            Route::Look(at, name) => {
                let query = request.uri().query().unwrap_or("").to_owned();
                self.look(at, percent_decoded(name), query).await
            }
            Route::Records(topic) => topics::records(self, topic, request.uri().query().unwrap_or("")).await,
            Route::Topics => topics::list(self).await,
            Route::Health => answer::whole(StatusCode::OK, answer::TEXT, "ok\n"),
            Route::Ready => self.ready(),
            Route::Metrics => {
                let mut out = String::new();
                self.site.metrics(&mut out);
                answer::whole(StatusCode::OK, answer::METRICS, out)
            }
            Route::Page => page::html(self),
            Route::Status => page::status(self).await,
        }
    }

    fn ready(&self) -> Answer {
        let mut reasons = self.site.ready();
        if *self.stage.borrow() != Stage::Open {
            reasons.push("shutting down".to_owned());
        }
        let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = json!({ "ready": reasons.is_empty(), "reasons": reasons, "degraded": self.site.degraded() });
        let body = body.to_string() + "\n";
        answer::whole(status, answer::JSON, body)
    }

    async fn look(self: &Arc<Front>, at: &'static str, name: Vec<u8>, query: String) -> Answer {
        let site = Arc::clone(&self.site);
        match tokio::task::spawn_blocking(move || site.look(at, &name, &query)).await {
            Ok(Some((status, body))) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                answer::whole(status, answer::JSON, body)
            }
            Ok(None) => not_found(at),
            Err(_) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, "bug", "the request failed; see the log"),
        }
    }

    async fn admin(self: &Arc<Front>, request: Request<Incoming>) -> Answer {
        let (head, mut body) = request.into_parts();
        let mut bytes = Vec::new();
        if let Err(e) = self.reader().read(&mut body, None, &mut bytes).await {
            return events::refused_body(&e);
        }
        let site = Arc::clone(&self.site);
        let uri = head.uri.clone();
        let answered = tokio::task::spawn_blocking(move || {
            let token = head.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
            let token = token.and_then(|v| v.strip_prefix("Bearer "));
            let (path, query) = (head.uri.path(), head.uri.query().unwrap_or(""));
            site.admin(head.method.as_str(), path, query, token, &bytes)
        });
        match answered.await {
            Ok(Some((status, body))) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                answer::whole(status, answer::JSON, body)
            }
            Ok(None) => not_found(uri.path()),
            Err(_) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, "bug", "the request failed; see the log"),
        }
    }
}

/// Where requests go.
#[derive(Clone, Copy)]
enum Route<'a> {
    Events,
    Lookup(&'a str),
    /// One of [`LOOKS`], and the name behind it.
    Look(&'static str, &'a str),
    Topics,
    Records(&'a str),
    Health,
    Ready,
    Metrics,
    Page,
    Status,
}

/// As shown to who asks for something else.
const ROUTES: [&str; 11] = [
    "POST /v1/events",
    "POST /v1/lookup/{name}",
    "GET /v1/topics",
    "GET /v1/topics/{topic}/records",
    "GET /v1/sessions/{visitor}",
    "GET /v1/explain/{event id}",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /status.json",
    "GET /",
];

impl Route<'_> {
    fn of(path: &str) -> Option<Route<'_>> {
        Some(match path {
            "/v1/events" => Route::Events,
            "/v1/topics" => Route::Topics,
            "/healthz" => Route::Health,
            "/readyz" => Route::Ready,
            "/metrics" => Route::Metrics,
            "/" => Route::Page,
            "/status.json" => Route::Status,
            _ => {
                let look = |at: &&'static str| Some((*at, path.strip_prefix(*at)?));
                if let Some((at, name)) = LOOKS.iter().find_map(look).filter(|(_, name)| !name.is_empty()) {
                    return Some(Route::Look(at, name));
                }
                if let Some(name) = path.strip_prefix("/v1/lookup/").filter(|name| !name.is_empty()) {
                    return Some(Route::Lookup(name));
                }
                let topic = path.strip_prefix("/v1/topics/")?.strip_suffix("/records")?;
                (!topic.contains('/')).then_some(Route::Records(topic))?
            }
        })
    }

    fn needs_events(self) -> bool {
        matches!(self, Route::Events | Route::Topics | Route::Records(_))
    }

    fn allowed(self) -> &'static str {
        match self {
            Route::Events | Route::Lookup(_) => "POST",
            _ => "GET, HEAD",
        }
    }
}

/// A name in a path as it is meant. What is no escape stands for itself.
pub fn percent_decoded(name: &str) -> Vec<u8> {
    let bytes = name.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16)).map(|d| d as u8);
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            (other, ..) => {
                out.push(other);
                at += 1;
            }
        }
    }
    out
}

fn not_found(path: &str) -> Answer {
    let mut more = serde_json::Map::new();
    more.insert("routes".to_owned(), json!(ROUTES));
    // A path may hold what a caller would not want to see logged; the first part is enough to find a typing error.
    let shown: String = path.chars().take(80).collect();
    answer::error_with(StatusCode::NOT_FOUND, "not_found", &format!("there is no {shown} here"), more)
}

/// Answers without use for the body, but reads it, so that its sender reads the answer. Not from a sender that waits to
/// be told to go on: it sends nothing once it has the answer.
async fn turn_away(request: Request<Incoming>, answer: Answer) -> Answer {
    let waits = request.headers().contains_key(header::EXPECT);
    let mut body = request.into_body();
    if !waits && !body.is_end_stream() {
        body::drain(&mut body).await;
    }
    answer
}

/// Whether a `Host` header names this machine. HTTP/1.0 has none.
fn is_local(host: Option<&HeaderValue>) -> bool {
    let Some(host) = host else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

/// Things that are costly to make, kept for the next request.
struct Pool<T>(Mutex<Vec<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Pool<T> {
        Pool(Mutex::default())
    }
}

impl<T> Pool<T> {
    fn take(&self) -> Option<T> {
        self.0.lock().expect("no panic holds it").pop()
    }

    fn give(&self, thing: T) {
        let mut kept = self.0.lock().expect("no panic holds it");
        if kept.len() < limits::BUFFERS_KEPT {
            kept.push(thing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_path_is_decoded() {
        for (name, means) in [("v-81", "v-81"), ("user%3aU%201", "user:U 1"), ("100%", "100%"), ("%zz%4", "%zz%4")] {
            assert_eq!(percent_decoded(name), means.as_bytes());
        }
    }

    #[test]
    fn a_host_is_local_when_it_is_an_address_or_localhost() {
        for (host, local) in [
            ("127.0.0.1:7070", true),
            ("[::1]:7070", true),
            ("localhost", true),
            ("LOCALHOST:7070", true),
            ("evil.example", false),
            ("evil.example:7070", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:80", false),
        ] {
            assert_eq!(is_local(Some(&HeaderValue::from_static(host))), local, "{host}");
        }
        assert!(is_local(None));
    }
}
