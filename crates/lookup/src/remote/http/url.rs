//! Where a service is: a fixed host, and a path and a query with places for parameters.

use hyper::Uri;

use super::super::template::{Template, percent, plain};
use super::super::{ConfigError, Found, Key};

/// Longest target of a request, in bytes: what common servers take as a request line.
const TARGET_MAX: usize = 8 << 10;

#[derive(Clone, Debug)]
pub(super) struct Url {
    pub(super) tls: bool,
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    path: Template,
    query: Option<Template>,
    /// The target, if it has no places.
    plain: Option<Uri>,
}

impl Url {
    pub(super) fn parse(text: &str, parameters: &[String]) -> Result<Url, ConfigError> {
        let wrong = |what: &str| ConfigError::new("url", what);
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(wrong("it begins with https:// or http://")),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
        if authority.contains(['{', '}']) {
            return Err(wrong("a parameter fills the path or the query, never the host"));
        }
        if authority.contains('@') {
            return Err(wrong("a name or password has no place in it: use headers or bearer"));
        }
        if target.contains(['#', '\\']) {
            return Err(wrong("there is # or \\ in it"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong("its port is no number up to 65535"))?)
            }
            _ => (authority, if tls { 443 } else { 80 }),
        };
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let in_host = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
        if host.is_empty() || !host.bytes().all(in_host) {
            return Err(wrong("there is no host in it"));
        }
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let path = if path.is_empty() { "/" } else { path };
        let template = |text| Template::parse(text, parameters).map_err(|what| ConfigError::new("url", what));
        let mut url = Url {
            tls,
            host: host.to_owned(),
            port,
            path: template(path)?,
            query: query.map(template).transpose()?,
            plain: None,
        };
        let any = Key::new(vec!["x"; parameters.len()]);
        let target = url.fill(&any).map_err(|_| wrong("there is . or .. in its path"))?;
        if url.parameters().next().is_none() {
            url.plain = Some(target);
        }
        Ok(url)
    }

    /// The places of parameters.
    pub(super) fn parameters(&self) -> impl Iterator<Item = usize> + '_ {
        self.path.parameters().chain(self.query.iter().flat_map(Template::parameters))
    }

    /// As the header `host` has it.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// The target when there is no place in it.
    pub(super) fn plain(&self) -> &Uri {
        self.plain.as_ref().expect("a batch has no places in its URL")
    }

    /// The target of a request for a key. Servers and those before them decode a path and resolve its dots, some of them in
    /// that order: a key that could climb, or leave nothing of its place, is not asked for, however it is encoded.
    pub(super) fn fill(&self, key: &Key) -> Result<Uri, Found> {
        let in_path = |p: usize| key.parameters()[p].is_empty();
        let climbs = self.path.fill(key, plain).split(['/', '\\']).any(|segment| segment == "." || segment == "..");
        if climbs || self.path.parameters().any(in_path) {
            return Err(Found::Bad("unsafe_key"));
        }
        let mut target = self.path.fill(key, percent);
        if let Some(query) = &self.query {
            target.push('?');
            target.push_str(&query.fill(key, percent));
        }
        if target.len() > TARGET_MAX {
            return Err(Found::Bad("too_large"));
        }
        Uri::try_from(target).map_err(|_| Found::Bad("unsafe_key"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<Url, ConfigError> {
        Url::parse(text, &["key".to_owned()])
    }

    #[test]
    fn hosts_ports_and_targets() {
        for (text, tls, host, port, authority, target) in [
            ("https://a.example/u/{key}", true, "a.example", 443, "a.example", "/u/k%2F%3F"),
            ("http://a.example:8080?x={key}&y=1", false, "a.example", 8080, "a.example:8080", "/?x=k%2F%3F&y=1"),
            ("http://[::1]:80/{key}", false, "::1", 80, "[::1]", "/k%2F%3F"),
            ("https://[2001:db8::1]/{key}", true, "2001:db8::1", 443, "[2001:db8::1]", "/k%2F%3F"),
        ] {
            let url = url(text).expect(text);
            assert_eq!((url.tls, url.host.as_str(), url.port), (tls, host, port), "{text}");
            assert_eq!(url.authority(), authority);
            assert_eq!(url.fill(&Key::of("k/?")).expect("safe").to_string(), target, "{text}");
        }
    }

    #[test]
    fn the_host_is_nobodys_to_fill() {
        for bad in [
            "ftp://a/{key}",
            "https://{key}.example/",
            "https://a.example:{key}/",
            "https:///{key}",
            "https://me:secret@a.example/{key}",
            "https://a.example/../{key}",
            "https://a.example/{key}#x",
            "https://a.example\\{key}",
            "https://a.example:99999/{key}",
            "https://a b/{key}",
        ] {
            let refused = url(bad).expect_err(bad).to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
        // Where the host ends, nothing of a key can move it.
        let url = url("https://a.example{key}");
        assert!(url.is_err());
    }

    #[test]
    fn keys_that_climb_are_not_asked_for() {
        let url = url("https://a.example/users/{key}/orders?id={key}").expect("a url");
        for bad in ["", ".", "..", "/../", "../admin", "a/../../b", "..\\admin", "a/."] {
            assert_eq!(url.fill(&Key::of(bad)), Err(Found::Bad("unsafe_key")), "{bad}");
        }
        for good in ["...", "a..b", ".a", "%2e%2e", "a/b", "{key}", "' OR 1=1 --", "\0\r\nHost: b", "é"] {
            let target = url.fill(&Key::of(good)).expect(good).to_string();
            assert_eq!(target.matches('/').count(), 3, "{target}");
            assert!(target.is_ascii() && !target.contains(['\r', '\n', ' ', '{']), "{target}");
        }
        assert_eq!(url.fill(&Key::of("x".repeat(1 << 20))), Err(Found::Bad("too_large")));
    }
}
