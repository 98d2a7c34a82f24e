//! Lookups that are asked over a connection, and the cache that processes share: what the configuration says of them.

use std::path::PathBuf;
use std::time::Duration;

use enrich::enricher::PARAMETERS_MAX;
use wire::json::pointer;

use super::build::{NamedFile, NamedSecret};
use super::model::OnMany;
use super::problem::{Found, ProblemKind};
use super::read::{At, Reader};
use super::secret::{MaybeSecret, SecretRef};

/// A source that is asked over a connection.
#[derive(Clone, PartialEq, Debug)]
pub struct Remote {
    pub client: Client,
    pub url: MaybeSecret,
    /// Certificates (PEM) that are trusted instead of the machine's.
    pub ca: Option<PathBuf>,
    pub connections: usize,
    pub connect_timeout: Duration,
    pub limits: Limits,
    pub breaker: Breaker,
    pub cache: LookupCache,
    /// Whether it uses the shared cache, if there is one.
    pub shared: bool,
}

/// What is spoken with the source.
#[derive(Clone, PartialEq, Debug)]
pub enum Client {
    Sql(Sql),
    Redis(Redis),
    Http(Http),
}

#[derive(Clone, PartialEq, Debug)]
pub struct Sql {
    pub login: Login,
    pub tls: bool,
    pub query: String,
    /// One for each parameter of a key.
    pub key_columns: Vec<String>,
    pub on_many: OnMany,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Redis {
    pub login: Login,
    pub template: String,
    pub value: RedisValue,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Http {
    /// Many keys in one request; `None`: a request for each.
    pub batch: Option<Batch>,
    pub headers: Vec<(String, MaybeSecret)>,
    pub bearer: Option<SecretRef>,
    /// Hosts that may have private addresses.
    pub allow_private: Vec<String>,
}

/// Who asks; `None`: what the URL says.
#[derive(Clone, PartialEq, Debug)]
pub struct Login {
    pub user: Option<String>,
    pub password: Option<SecretRef>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RedisValue {
    Json,
    String,
    Hash,
    Document,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Batch {
    pub body: String,
    pub answer: BatchAnswer,
    /// Members that lead to the values.
    pub at: Vec<String>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum BatchAnswer {
    ByKey,
    InOrder,
    /// By these members, one for each parameter of a key.
    Rows(Vec<String>),
}

/// How much a source is asked.
#[derive(Clone, PartialEq, Debug)]
pub struct Limits {
    /// Calls.
    pub in_flight: usize,
    /// Asks that wait.
    pub queue: usize,
    /// Calls a second, and at once after a pause.
    pub rate: Option<(u32, u32)>,
    /// Keys in a call.
    pub bulk: usize,
    pub bulk_wait: Duration,
    /// The first among them.
    pub attempts: u32,
    pub back_off: Duration,
    pub late: Duration,
}

/// Shares are in percent.
#[derive(Clone, PartialEq, Debug)]
pub struct Breaker {
    pub window: u16,
    pub calls: u16,
    pub failures: u8,
    pub slow: Duration,
    pub slow_calls: u8,
    pub open: Duration,
    pub probes: u16,
}

#[derive(Clone, PartialEq, Debug)]
pub struct LookupCache {
    /// Bytes.
    pub size: usize,
    pub ttl: Duration,
    pub ttl_missing: Duration,
    pub ttl_error: Duration,
    pub max_stale: Duration,
}

/// `[cache]`.
#[derive(Clone, PartialEq, Debug)]
pub struct Cache {
    /// Whether it is kept from one process to the next.
    pub warm: bool,
    pub shared: Option<SharedCache>,
}

/// A Redis.
#[derive(Clone, PartialEq, Debug)]
pub struct SharedCache {
    pub url: MaybeSecret,
    pub login: Login,
    pub ca: Option<PathBuf>,
    pub connections: usize,
    pub connect_timeout: Duration,
    pub timeout: Duration,
    pub lease: Duration,
    pub look: Duration,
}

const DEFAULT: &str = "the key has a default";

/// What reading finds beside the values.
pub(super) struct Named<'b> {
    pub files: &'b mut Vec<NamedFile>,
    pub secrets: &'b mut Vec<NamedSecret>,
}

impl Remote {
    /// Where it is, for people: the URL as far as a key or a login is not in it, or where the secret stands.
    pub fn place(&self) -> String {
        shown(&self.url)
    }
}

/// A URL for people: without login and query; of a secret, where it stands.
pub fn shown(url: &MaybeSecret) -> String {
    match url {
        MaybeSecret::Secret(SecretRef::Env(name)) => format!("${name}"),
        MaybeSecret::Secret(SecretRef::File(path)) => format!("the URL in {}", path.display()),
        MaybeSecret::Text(url) => {
            let plain = url.split(['?', '#']).next().unwrap_or(url);
            match plain.split_once("://") {
                Some((scheme, rest)) => {
                    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                    format!("{scheme}://{host}{path}")
                }
                None => plain.to_owned(),
            }
        }
    }
}

impl Client {
    pub fn kind(&self) -> &'static str {
        match self {
            Client::Sql(_) => "sql",
            Client::Redis(_) => "redis",
            Client::Http(_) => "http",
        }
    }
}

/// Reads a lookup of one of these kinds, which takes keys of so many parameters.
pub(super) fn read(r: &mut Reader, at: &At<'_>, kind: &str, parameters: usize, named: &mut Named<'_>) -> Remote {
    let url = r.url(at, "url");
    if at.member("url").is_none() {
        let example = match kind {
            "sql" => "{ env = \"USERS_DB\" }",
            "redis" => "\"redis://127.0.0.1:6379\"",
            _ => "\"https://users.example/v1/{key}\"",
        };
        missing(r, at, kind, "url", example);
    }
    let client = match kind {
        "sql" => Client::Sql(sql(r, at, parameters, named)),
        "redis" => Client::Redis(redis(r, at, named)),
        _ => Client::Http(http(r, at, parameters, named)),
    };
    let url = url.unwrap_or(MaybeSecret::Text(String::new()));
    named.url("lookup.url", &url, at);
    let connections = r.count(at, "pool").expect(DEFAULT) as usize;
    let one_by_one = matches!(&client, Client::Http(Http { batch: None, .. }));
    Remote {
        url,
        ca: named.ca("lookup.ca", r, at),
        connections,
        connect_timeout: r.duration(at, "connect_timeout").expect(DEFAULT),
        limits: limits(r, at, connections, if one_by_one { 1 } else { BULK }),
        breaker: breaker(r, &at.section("breaker")),
        cache: cache(r, &at.section("cache")),
        shared: r.switch(at, "shared").expect(DEFAULT),
        client,
    }
}

/// Keys of a call where it takes many.
const BULK: u64 = 100;

fn sql(r: &mut Reader, at: &At<'_>, parameters: usize, named: &mut Named<'_>) -> Sql {
    let query = r.text(at, "query");
    if at.member("query").is_none() {
        missing(r, at, "sql", "query", "\"SELECT id, plan FROM users WHERE id = ANY($1)\"");
    }
    let query = query.unwrap_or_default();
    let unasked = (1..=parameters).find(|n| !query.is_empty() && !query.contains('?') && !has_parameter(&query, *n));
    if let Some(n) = unasked {
        let message = match n {
            1 => "`lookup.query` asks for no key: neither `$1` nor `?` is in it".to_owned(),
            n => format!("`lookup.query` asks for no `${n}`, and the key has {parameters} parameters"),
        };
        let found = Found::new(ProblemKind::BadValue, at.spot_of("query"), message);
        r.found.push(
            found.help("Postgres takes many keys as ... WHERE id = ANY($1), MySQL and SQLite as ... WHERE id IN (?)"),
        );
    }
    let on_many = r.word(at, "on_many").expect(DEFAULT);
    Sql {
        login: login(r, at, "lookup.password", named),
        tls: r.switch(at, "tls").expect(DEFAULT),
        query,
        key_columns: key_columns(r, at, parameters),
        on_many: if on_many == "first" { OnMany::First } else { OnMany::Error },
    }
}

/// Whether `$n` is in a statement.
fn has_parameter(query: &str, n: usize) -> bool {
    let name = format!("${n}");
    query.match_indices(&name).any(|(at, _)| !query[at + name.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

fn redis(r: &mut Reader, at: &At<'_>, named: &mut Named<'_>) -> Redis {
    Redis {
        login: login(r, at, "lookup.password", named),
        template: r.text(at, "template").expect(DEFAULT),
        value: match r.word(at, "value").as_deref() {
            Some("string") => RedisValue::String,
            Some("hash") => RedisValue::Hash,
            Some("document") => RedisValue::Document,
            _ => RedisValue::Json,
        },
    }
}

fn http(r: &mut Reader, at: &At<'_>, parameters: usize, named: &mut Named<'_>) -> Http {
    let body = r.text(at, "body");
    let answer = r.word(at, "answer");
    let to = r.text(at, "at").map(|text| {
        pointer::names(&text).unwrap_or_else(|e| {
            let message = format!("`lookup.at` cannot be \"{text}\": {}", e.message);
            r.found.push(Found::new(ProblemKind::BadValue, at.spot_of("at"), message));
            Vec::new()
        })
    });
    if at.member("body").is_none() {
        for key in ["answer", "at"] {
            if at.member(key).is_some() {
                let message =
                    format!("`{key}` is about the answer to many keys, and without `body` each is asked for alone");
                let found = Found::new(ProblemKind::Conflict, at.key_spot(key), message);
                r.found.push(found.help("for example: body = '{\"keys\": {keys}}'"));
            }
        }
    }
    let is_rows = answer.as_deref() == Some("rows");
    if at.member("key_columns").is_some() && !is_rows {
        let message = "`key_columns` names the members of rows, and this answer has none";
        let found = Found::new(ProblemKind::Conflict, at.key_spot("key_columns"), message);
        r.found.push(found.help("write answer = \"rows\", or leave it out"));
    }
    if body.is_some() && !is_rows && answer.as_deref() != Some("in_order") && parameters > 1 {
        let message =
            "an answer by key has one text for each: a key of several parameters is answered as `rows` or `in_order`";
        let spot = at.key_spot("answer").or(at.key_spot("body"));
        r.found.push(Found::new(ProblemKind::Conflict, spot, message));
    }
    let headers = r.secret_map(at, "headers").expect(DEFAULT);
    for (name, value) in &headers {
        if let MaybeSecret::Secret(secret) = value {
            named.secret("lookup.headers", secret, at, "headers", Some(name));
        }
    }
    let bearer = r.secret(at, "bearer");
    if let Some(secret) = &bearer {
        named.secret("lookup.bearer", secret, at, "bearer", None);
    }
    Http {
        batch: body.map(|body| Batch {
            body,
            answer: match answer.as_deref() {
                Some("in_order") => BatchAnswer::InOrder,
                Some("rows") => BatchAnswer::Rows(key_columns(r, at, parameters)),
                _ => BatchAnswer::ByKey,
            },
            at: to.unwrap_or_default(),
        }),
        headers,
        bearer,
        allow_private: r.texts(at, "allow_private").expect(DEFAULT),
    }
}

fn key_columns(r: &mut Reader, at: &At<'_>, parameters: usize) -> Vec<String> {
    let columns = r.texts(at, "key_columns");
    if at.member("key_columns").is_none() && parameters > 1 {
        let message =
            format!("the key has {parameters} parameters: name the columns that are its key in `key_columns`");
        let found = Found::new(ProblemKind::Conflict, at.key_spot("key").or(at.spot), message);
        r.found.push(found.help("for example: key_columns = [\"shop\", \"sku\"]"));
    }
    let columns = columns.unwrap_or_else(|| vec!["id".into()]);
    if at.member("key_columns").is_some() && columns.len() != parameters && parameters <= PARAMETERS_MAX {
        let count = |n: usize, what: &str| if n == 1 { format!("one {what}") } else { format!("{n} {what}s") };
        let message = format!(
            "`lookup.key_columns` names {}, and the key has {}",
            count(columns.len(), "column"),
            count(parameters, "parameter")
        );
        r.found.push(Found::new(ProblemKind::Conflict, at.spot_of("key_columns"), message));
    }
    columns
}

fn limits(r: &mut Reader, at: &At<'_>, connections: usize, bulk: u64) -> Limits {
    let rate = r.count(at, "rate").map(|n| n as u32);
    let burst = r.count(at, "burst").map(|n| n as u32);
    if at.member("burst").is_some() && at.member("rate").is_none() {
        let message = "`burst` goes with `rate`, and there is none";
        r.found.push(Found::new(ProblemKind::Conflict, at.key_spot("burst"), message));
    }
    Limits {
        in_flight: r.count(at, "in_flight").map_or(connections, |n| n as usize),
        queue: r.count(at, "queue").expect(DEFAULT) as usize,
        rate: rate.map(|rate| (rate, burst.unwrap_or(rate))),
        bulk: r.count(at, "bulk").unwrap_or(bulk) as usize,
        bulk_wait: r.duration(at, "bulk_wait").expect(DEFAULT),
        attempts: r.count(at, "attempts").expect(DEFAULT) as u32,
        back_off: r.duration(at, "back_off").expect(DEFAULT),
        late: r.duration(at, "late").expect(DEFAULT),
    }
}

fn breaker(r: &mut Reader, at: &At<'_>) -> Breaker {
    let breaker = Breaker {
        window: r.count(at, "window").expect(DEFAULT) as u16,
        calls: r.count(at, "calls").expect(DEFAULT) as u16,
        failures: r.count(at, "failures").expect(DEFAULT) as u8,
        slow: r.duration(at, "slow").expect(DEFAULT),
        slow_calls: r.count(at, "slow_calls").expect(DEFAULT) as u8,
        open: r.duration(at, "open").expect(DEFAULT),
        probes: r.count(at, "probes").expect(DEFAULT) as u16,
    };
    if breaker.calls > breaker.window {
        let message = format!(
            "`lookup.breaker.calls` ({}) is above `lookup.breaker.window` ({}): it would never open",
            breaker.calls, breaker.window
        );
        let spot = at.key_spot("calls").or(at.key_spot("window"));
        r.found.push(Found::new(ProblemKind::Conflict, spot, message));
    }
    breaker
}

fn cache(r: &mut Reader, at: &At<'_>) -> LookupCache {
    LookupCache {
        size: r.size(at, "size").expect(DEFAULT) as usize,
        ttl: r.duration(at, "ttl").expect(DEFAULT),
        ttl_missing: r.duration(at, "ttl_missing").expect(DEFAULT),
        ttl_error: r.duration(at, "ttl_error").expect(DEFAULT),
        max_stale: r.duration(at, "max_stale").expect(DEFAULT),
    }
}

fn login(r: &mut Reader, at: &At<'_>, key: &'static str, named: &mut Named<'_>) -> Login {
    let login = Login { user: r.text(at, "user"), password: r.secret(at, "password") };
    if let Some(secret) = &login.password {
        named.secret(key, secret, at, "password", None);
    }
    login
}

/// Reads `[cache]`.
pub(super) fn caches(r: &mut Reader, at: &At<'_>, mut named: Named<'_>) -> Cache {
    let warm = r.switch(at, "warm").expect(DEFAULT);
    let at = at.section("shared");
    let url = r.url(&at, "url");
    r.word(&at, "kind");
    if at.member("kind").is_some() && at.member("url").is_none() {
        let found = Found::new(ProblemKind::MissingKey, at.spot, "[cache.shared] needs `url`");
        r.found.push(found.help("for example: url = { env = \"REDIS_URL\" }"));
    }
    let timeout = r.duration(&at, "timeout").expect(DEFAULT);
    let lease = r.duration(&at, "lease").expect(DEFAULT);
    if url.is_some() && lease < timeout * LEASE_PARTS {
        let message = "`cache.shared.lease` is shorter than eight times `cache.shared.timeout`: a process could lose it while it asks";
        let spot = at.key_spot("lease").or(at.key_spot("timeout"));
        r.found.push(Found::new(ProblemKind::Conflict, spot, message));
    }
    let shared = SharedCache {
        url: url.clone().unwrap_or(MaybeSecret::Text(String::new())),
        login: login(r, &at, "cache.shared.password", &mut named),
        ca: named.ca("cache.shared.ca", r, &at),
        connections: r.count(&at, "pool").expect(DEFAULT) as usize,
        connect_timeout: r.duration(&at, "connect_timeout").expect(DEFAULT),
        timeout,
        lease,
        look: r.duration(&at, "look").expect(DEFAULT),
    };
    named.url("cache.shared.url", &shared.url, &at);
    Cache { warm, shared: url.map(|_| shared) }
}

/// A lease lasts so many times as long as an answer may take; see `ask::DeskConfig::check`.
const LEASE_PARTS: u32 = 8;

impl Named<'_> {
    fn url(&mut self, key: &'static str, url: &MaybeSecret, at: &At<'_>) {
        if let MaybeSecret::Secret(secret) = url {
            self.secret(key, secret, at, "url", None);
        }
    }

    pub fn secret(&mut self, key: &'static str, secret: &SecretRef, at: &At<'_>, name: &str, member: Option<&str>) {
        let within = at.section(name);
        let spot = member.and_then(|member| within.key_spot(member)).or(at.spot_of(name));
        self.secrets.push(NamedSecret { key, secret: secret.clone(), spot });
    }

    fn ca(&mut self, key: &'static str, r: &mut Reader, at: &At<'_>) -> Option<PathBuf> {
        let path = r.path(at, "ca")?;
        self.files.push(NamedFile { key, path: path.clone(), spot: at.spot_of("ca"), needed: true });
        Some(path)
    }
}

fn missing(r: &mut Reader, at: &At<'_>, kind: &str, key: &str, example: &str) {
    let found = Found::new(ProblemKind::MissingKey, at.spot, format!("a lookup of kind {kind} needs `{key}`"));
    r.found.push(found.help(format!("for example: {key} = {example}")));
}
