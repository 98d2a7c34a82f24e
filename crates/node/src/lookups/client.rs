//! The client of a source, from its configuration and its secrets.

use std::sync::Arc;

use lookup::OnMany;
use lookup::remote::{
    Batch, BatchAnswer, ConfigError, HttpConfig, RedisConfig, RedisValue, Remote, Secret, SharedCache, SqlConfig,
};

use super::{Outside, Wrong};
use crate::config;
use crate::config::remote::{Client, Http, Login, Redis, Sql};

/// A source's client, and what tells what it is asked apart from what others are.
pub struct Made {
    pub remote: Arc<dyn Remote>,
    /// Of the URL without login and of all that decides what comes of a key, never of a secret: caches of one name and mark
    /// hold the same.
    pub mark: String,
}

/// Makes the client; connects to nothing.
///
/// # Errors
/// The key that is wrong.
pub fn build(remote: &config::Remote, parameters: usize, outside: Outside<'_>) -> Result<Made, Wrong> {
    let url = outside.text("url", &remote.url)?;
    let given = Given {
        url: url.reveal(),
        password: |login: &Login| login.password.as_ref().map(|p| outside.secret("password", p)).transpose(),
        ca: outside.pem(remote.ca.as_deref())?,
        text: |key, text: &config::MaybeSecret| outside.text(key, text),
        tls: true,
    };
    let mark = mark(remote, &without_login(url.reveal()).0);
    Ok(Made { remote: given.client(remote, parameters)?, mark })
}

/// Makes the client as far as that goes without secrets, certificates and TLS, to see what is wrong with the rest.
///
/// # Errors
/// The key that is wrong.
pub fn try_out(remote: &config::Remote, parameters: usize) -> Result<(), Wrong> {
    let url = match (remote.url.text(), &remote.client) {
        (Some(url), _) => url,
        (None, Client::Redis(_)) => "redis://localhost",
        (None, Client::Http(Http { batch: Some(_), .. })) => "http://localhost",
        // Only the URL says what the rest has to be like.
        (None, _) => return Ok(()),
    };
    let given = Given {
        url,
        // A URL that is a secret may have one in it.
        password: |login: &Login| {
            Ok((login.password.is_some() || remote.url.text().is_none()).then(|| Secret::new("secret")))
        },
        ca: None,
        text: |_, text: &config::MaybeSecret| Ok(Secret::new(text.text().unwrap_or("secret"))),
        tls: false,
    };
    given.client(remote, parameters).map(drop)
}

/// Makes the client of the cache that processes share.
///
/// # Errors
/// The key that is wrong.
pub fn shared(shared: &config::remote::SharedCache, outside: Outside<'_>) -> Result<SharedCache, Wrong> {
    let url = outside.text("url", &shared.url)?;
    let (url, user, password) = without_login(url.reveal());
    let own = shared.login.password.as_ref().map(|p| outside.secret("password", p)).transpose()?;
    let config = RedisConfig {
        url,
        user: shared.login.user.clone().or(user),
        password: own.or(password),
        connections: shared.connections,
        connect_timeout: shared.connect_timeout,
        ca: outside.pem(shared.ca.as_deref())?,
        ..RedisConfig::default()
    };
    config.build_shared().map_err(wrong)
}

/// What a client is made with beside its configuration.
struct Given<'u, P, T> {
    url: &'u str,
    password: P,
    ca: Option<Vec<u8>>,
    text: T,
    tls: bool,
}

impl<P, T> Given<'_, P, T>
where
    P: Fn(&Login) -> Result<Option<Secret>, Wrong>,
    T: Fn(&'static str, &config::MaybeSecret) -> Result<Secret, Wrong>,
{
    fn client(self, remote: &config::Remote, parameters: usize) -> Result<Arc<dyn Remote>, Wrong> {
        match &remote.client {
            Client::Sql(sql) => self.sql(remote, sql),
            Client::Redis(redis) => self.redis(remote, redis, parameters),
            Client::Http(http) => self.http(remote, http, parameters),
        }
    }

    fn sql(self, remote: &config::Remote, sql: &Sql) -> Result<Arc<dyn Remote>, Wrong> {
        let (url, user, password) = without_login(self.url);
        let config = SqlConfig {
            url,
            user: sql.login.user.clone().or(user),
            password: (self.password)(&sql.login)?.or(password),
            tls: sql.tls && self.tls,
            ca: self.ca,
            statement: sql.query.clone(),
            key_columns: sql.key_columns.clone(),
            on_many: match sql.on_many {
                config::OnMany::Error => OnMany::Refuse,
                config::OnMany::First => OnMany::First,
            },
            connections: remote.connections,
            connect_timeout: remote.connect_timeout,
        };
        Ok(Arc::new(config.build().map_err(wrong)?))
    }

    fn redis(self, remote: &config::Remote, redis: &Redis, parameters: usize) -> Result<Arc<dyn Remote>, Wrong> {
        let (url, user, password) = without_login(self.url);
        let config = RedisConfig {
            url: if self.tls { url } else { url.replacen("rediss://", "redis://", 1) },
            user: redis.login.user.clone().or(user),
            password: (self.password)(&redis.login)?.or(password),
            key: redis.template.clone(),
            parameters: names(parameters),
            value: match redis.value {
                config::remote::RedisValue::Json => RedisValue::Json,
                config::remote::RedisValue::String => RedisValue::String,
                config::remote::RedisValue::Hash => RedisValue::Hash,
                config::remote::RedisValue::Document => RedisValue::Document,
            },
            connections: remote.connections,
            connect_timeout: remote.connect_timeout,
            ca: self.ca,
        };
        Ok(Arc::new(config.build().map_err(wrong)?))
    }

    fn http(self, remote: &config::Remote, http: &Http, parameters: usize) -> Result<Arc<dyn Remote>, Wrong> {
        let header = |(name, text): &(String, config::MaybeSecret)| Ok((name.clone(), (self.text)("headers", text)?));
        let bearer = http.bearer.clone().map(config::MaybeSecret::Secret);
        let config = HttpConfig {
            url: if self.tls { self.url.to_owned() } else { self.url.replacen("https://", "http://", 1) },
            parameters: names(parameters),
            batch: http.batch.as_ref().map(|batch| Batch {
                body: batch.body.clone(),
                answer: match &batch.answer {
                    config::remote::BatchAnswer::ByKey => BatchAnswer::ByKey,
                    config::remote::BatchAnswer::InOrder => BatchAnswer::InOrder,
                    config::remote::BatchAnswer::Rows(members) => BatchAnswer::Rows { key_members: members.clone() },
                },
                at: batch.at.clone(),
            }),
            headers: http.headers.iter().map(header).collect::<Result<_, Wrong>>()?,
            bearer: bearer.map(|bearer| (self.text)("bearer", &bearer)).transpose()?,
            allow_private: http.allow_private.clone(),
            connections: remote.connections,
            connect_timeout: remote.connect_timeout,
            ca: self.ca,
        };
        Ok(Arc::new(config.build().map_err(wrong)?))
    }
}

/// What templates call the parameters of a key.
fn names(parameters: usize) -> Vec<String> {
    match parameters {
        1 => vec!["key".into()],
        n => (1..=n).map(|n| n.to_string()).collect(),
    }
}

/// A URL without `user:password@`, and both: clients take them apart, so that no text of theirs has them.
fn without_login(url: &str) -> (String, Option<String>, Option<Secret>) {
    let plain = || (url.to_owned(), None, None);
    let Some((scheme, rest)) = url.split_once("://") else { return plain() };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let Some((login, _)) = authority.rsplit_once('@') else { return plain() };
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let some = |text: &str| (!text.is_empty()).then(|| decoded(text));
    (format!("{scheme}://{}", &rest[login.len() + 1..]), some(user), some(password).map(Secret::new))
}

/// A part of a URL, percent-decoded; what is not encoded as it should be stays as it is.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |digit: u8| char::from(digit).to_digit(16);
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                out.push((hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0)) as u8);
                after
            }
            _ => {
                out.push(*first);
                after
            }
        };
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// An error of a client's by the names that the configuration has.
fn wrong(e: ConfigError) -> Wrong {
    let key = match e.member {
        "statement" => "query",
        "connections" => "pool",
        "key" => "template",
        member => member,
    };
    Wrong { key, what: e.what }
}

fn mark(remote: &config::Remote, url: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let asked = match &remote.client {
        Client::Sql(Sql { query, key_columns, on_many, .. }) => format!("{query:?}{key_columns:?}{on_many:?}"),
        Client::Redis(Redis { template, value, .. }) => format!("{template:?}{value:?}"),
        Client::Http(Http { batch, headers, .. }) => format!("{batch:?}{headers:?}"),
    };
    let digest = Sha256::digest(format!("{url:?}{asked}"));
    digest[..8].iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_taken_out_of_a_url() {
        for (url, plain, user, password) in [
            ("postgres://me:p%40ss%3A@db:5432/users", "postgres://db:5432/users", Some("me"), Some("p@ss:")),
            ("postgres://me@db/users", "postgres://db/users", Some("me"), None),
            ("redis://:secret@cache/0", "redis://cache/0", None, Some("secret")),
            ("redis://a:b@c:d@cache", "redis://cache", Some("a"), Some("b@c:d")),
            ("redis://cache/0", "redis://cache/0", None, None),
            ("postgres://db/a@b", "postgres://db/a@b", None, None),
            ("sqlite:a@b.db", "sqlite:a@b.db", None, None),
            ("mysql://u:100%@h/d", "mysql://h/d", Some("u"), Some("100%")),
            ("mysql://u:%ff@h/d", "mysql://h/d", Some("u"), Some("%ff")),
            ("mysql://u:%zz%4@h/d", "mysql://h/d", Some("u"), Some("%zz%4")),
        ] {
            let (found, by, with) = without_login(url);
            assert_eq!((found.as_str(), by.as_deref()), (plain, user), "{url}");
            assert_eq!(with.as_ref().map(Secret::reveal), password, "{url}");
        }
    }

    /// What decides over an answer is in the mark; who asks, and how often, is not.
    #[test]
    fn caches_are_shared_by_those_who_ask_the_same() {
        let marked = |more: &str, url: &str| {
            let file = format!(
                "version = 1\n[[lookup]]\nname = \"x\"\nkind = \"sql\"\nurl = {{ env = \"DB\" }}\nkey = \"event.user\"\n\
                 query = \"SELECT id, plan FROM t WHERE id = ANY($1)\"\n{more}"
            );
            let args = config::LoadArgs::default();
            let loaded = config::Config::load_with(&args, |_| Ok(file)).unwrap_or_else(|e| panic!("{e}"));
            let env = [("DB".to_owned(), url.to_owned()), ("PW".to_owned(), "p".to_owned())];
            let lookup = &loaded.config.lookups[0];
            let remote = lookup.kind.remote().expect("it is one");
            let made = build(remote, lookup.key.len(), Outside { env: &env, fs: &seam::RealFs });
            made.map(|made| made.mark).unwrap_or_else(|e| panic!("{e:?}"))
        };
        let url = "postgres://me:secret@db/users";
        let mark = marked("", url);
        for (more, url) in [
            ("", "postgres://you:other@db/users"),
            ("pool = 2\nattempts = 1\nbulk = 7\n", url),
            ("password = { env = \"PW\" }\n", url),
            ("cache = { ttl = \"1s\" }\n", url),
        ] {
            assert_eq!(marked(more, url), mark, "{more}{url}");
        }
        for (more, url) in [
            ("", "postgres://me:secret@db/orders"),
            ("", "postgres://me:secret@other/users"),
            ("on_many = \"first\"\n", url),
            ("key_columns = \"plan\"\n", url),
        ] {
            assert_ne!(marked(more, url), mark, "{more}{url}");
        }
    }
}
