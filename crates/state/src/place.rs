//! Where a store is, as a configuration names it: a directory, or a bucket in object storage.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use seam::{Clock, Fs, Rng};

use crate::directory::Directory;
use crate::name;
use crate::store::Store;

/// For one call, with all its tries. A part of 8 MiB takes a second on a slow line.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Where a store is.
#[derive(Clone, Debug)]
pub struct PlaceConfig {
    /// `s3://bucket/prefix`, `file:///path` or a path.
    pub url: String,
    /// `http://host:port` or `https://host:port` of a service other than Amazon's; `None`: AWS_ENDPOINT_URL_S3,
    /// AWS_ENDPOINT_URL, AWS_ENDPOINT, else Amazon.
    pub endpoint: Option<String>,
    /// `None`: AWS_REGION or AWS_DEFAULT_REGION, else us-east-1.
    pub region: Option<String>,
    /// `None`: AWS_ACCESS_KEY_ID and what belongs to it, else the role of the container or of the machine.
    pub credentials: Option<Credentials>,
    /// Whether the bucket's name is in the path and not in the host; `None`: with an endpoint.
    pub path_style: Option<bool>,
    /// Certificates as PEM that are trusted instead of the machine's, for a service with an authority of its own.
    pub ca: Option<Vec<u8>>,
    /// Of one call, with all its tries.
    pub deadline: Duration,
}

impl PlaceConfig {
    pub fn new(url: &str) -> PlaceConfig {
        PlaceConfig {
            url: url.to_owned(),
            endpoint: None,
            region: None,
            credentials: None,
            path_style: None,
            ca: None,
            deadline: DEADLINE,
        }
    }

    /// # Errors
    /// What is wrong, and what to write instead. Nothing is asked.
    pub fn build(self) -> Result<Place, PlaceError> {
        let wrong = |what: &str| PlaceError::Url { url: self.url.clone(), what: what.to_owned() };
        if let Some(path) = self.url.strip_prefix("file://") {
            let path = path.strip_prefix("localhost").unwrap_or(path);
            if !path.starts_with('/') {
                return Err(wrong("write file:///path, with three slashes"));
            }
            return Ok(Place::Directory(decoded(path).ok_or_else(|| wrong("a % stands before two digits"))?.into()));
        }
        let Some(rest) = self.url.strip_prefix("s3://") else {
            return match self.url.split_once("://") {
                Some((scheme, _)) => Err(wrong(&format!("there is no {scheme}; write s3://bucket/prefix or a path"))),
                None if self.url.is_empty() => Err(wrong("write s3://bucket/prefix or a path")),
                None => Ok(Place::Directory(self.url.into())),
            };
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if !is_bucket(bucket) {
            return Err(wrong("a bucket's name has 3 to 63 letters, digits, dots and hyphens"));
        }
        let prefix = prefix.trim_end_matches('/');
        if !prefix.is_empty() && (name::check(prefix).is_err() || prefix.len() > PREFIX_MAX) {
            return Err(wrong("its prefix is no name that S3 and we both take; letters, digits and hyphens are fine"));
        }
        if let Some(endpoint) = &self.endpoint {
            check_endpoint(endpoint)?;
        }
        Ok(Place::Bucket(BucketConfig {
            bucket: bucket.to_owned(),
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            endpoint: self.endpoint,
            region: self.region,
            credentials: self.credentials,
            path_style: self.path_style,
            ca: self.ca,
            deadline: self.deadline,
        }))
    }
}

/// The longest prefix in bytes: with the longest name, it is a key of S3's.
const PREFIX_MAX: usize = 1024 - name::NAME_MAX - 1;

/// Where a store is, checked.
#[derive(Clone, Debug)]
pub enum Place {
    /// Several processes may share it.
    Directory(PathBuf),
    Bucket(BucketConfig),
}

/// A bucket that has a name, at least.
#[derive(Clone, Debug)]
pub struct BucketConfig {
    pub(crate) bucket: String,
    /// With the slash at its end, if there is any.
    pub(crate) prefix: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) path_style: Option<bool>,
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) deadline: Duration,
}

impl BucketConfig {
    /// `s3://bucket/prefix/`
    pub fn url(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }
}

impl Place {
    /// The store; it is not asked yet, see [`probe`].
    pub fn open(
        &self,
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Result<Arc<dyn Store>, PlaceError> {
        match self {
            Place::Directory(root) => Ok(Arc::new(Directory::shared(fs, root, clock, rng.next_u128() as u64))),
            #[cfg(feature = "s3")]
            Place::Bucket(config) => Ok(Arc::new(crate::object::Bucket::open(config, rng)?)),
            #[cfg(not(feature = "s3"))]
            Place::Bucket(config) => Err(PlaceError::NotBuilt { url: config.url() }),
        }
    }
}

/// Whether a store does what is asked of it, for a start to find out before there is anything to lose: an object is written,
/// not overwritten, read and deleted.
pub fn probe(store: &dyn Store, rng: &dyn Rng) -> io::Result<()> {
    let name = format!("PROBE-{:032x}", rng.next_u128());
    let hurry = AtomicBool::new(true);
    let put = |bytes: &[u8]| store.put_if_absent(&name, bytes, &hurry);
    let done = put(b"first").and_then(|is_new| Ok((is_new, put(b"second")?, store.get(&name)?)));
    let deleted = store.delete(std::slice::from_ref(&name));
    match done? {
        (true, false, Some(bytes)) if bytes == b"first" => deleted,
        (_, true, _) => Err(io::Error::other(
            "the store overwrites what is there although it is told not to; a service must know If-None-Match: * in puts",
        )),
        (_, _, None) => Err(io::Error::other("the store does not have what was written a moment ago")),
        _ => Err(io::Error::other("the store gives back something else than what was written")),
    }
}

/// A key id and its secret, which is never printed.
#[derive(Clone)]
pub struct Credentials {
    key_id: String,
    secret: String,
    token: Option<String>,
}

impl Credentials {
    /// `token`: of a session, if they are temporary.
    pub fn new(key_id: &str, secret: &str, token: Option<&str>) -> Credentials {
        Credentials { key_id: key_id.to_owned(), secret: secret.to_owned(), token: token.map(str::to_owned) }
    }

    #[cfg(feature = "s3")]
    pub(crate) fn reveal(&self) -> (String, String, Option<String>) {
        (self.key_id.clone(), self.secret.clone(), self.token.clone())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Credentials { key_id, secret: _, token } = self;
        let token = token.as_ref().map(|_| "***");
        f.debug_struct("Credentials").field("key_id", key_id).field("secret", &"***").field("token", &token).finish()
    }
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("{url}: {what}")]
    Url { url: String, what: String },
    #[error("endpoint {endpoint}: {what}")]
    Endpoint { endpoint: String, what: String },
    #[error("{url}: this ouzel was built without object storage; build it with the feature s3, or name a directory")]
    NotBuilt { url: String },
    #[error("{url}: {what}")]
    Open { url: String, what: String },
}

fn is_bucket(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (3..=63).contains(&name.len()) && name.chars().all(is_plain) && !name.starts_with('.') && !name.contains("..")
}

fn check_endpoint(endpoint: &str) -> Result<(), PlaceError> {
    let wrong = |what: &str| Err(PlaceError::Endpoint { endpoint: shown(endpoint), what: what.to_owned() });
    let Some(rest) = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://")) else {
        return wrong("write http://host:port or https://host:port");
    };
    let host = rest.trim_end_matches('/');
    if host.contains('@') {
        return wrong("credentials do not stand in it; give them as key id and secret");
    }
    if host.is_empty() || host.contains(|c: char| matches!(c, '/' | '?' | '#' | '%') || c.is_whitespace()) {
        return wrong("it is a scheme, a host and a port, and nothing else");
    }
    Ok(())
}

/// Without what stands before its host, which may be a secret.
fn shown(endpoint: &str) -> String {
    match (endpoint.split_once("://"), endpoint.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        _ => endpoint.to_owned(),
    }
}

/// A path of a URL as it is on disk; `None`: a `%` that stands for nothing.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, more @ ..] = rest {
        rest = more;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |at: usize| (*more.get(at)? as char).to_digit(16);
        bytes.push((digit(0)? << 4 | digit(1)?) as u8);
        rest = &more[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, path) in [
            ("file:///var/lib/ouzel", "/var/lib/ouzel"),
            ("file://localhost/a%20b/%C3%BC", "/a b/ü"),
            ("/mnt/shared", "/mnt/shared"),
            ("state", "state"),
        ] {
            match PlaceConfig::new(url).build() {
                Ok(Place::Directory(found)) => assert_eq!(found, PathBuf::from(path)),
                other => panic!("{url}: {other:?}"),
            }
        }
        for (url, bucket, prefix) in [
            ("s3://ouzel-state", "ouzel-state", ""),
            ("s3://ouzel-state/", "ouzel-state", ""),
            ("s3://b.b/a", "b.b", "a/"),
            ("s3://bucket/a/b/", "bucket", "a/b/"),
        ] {
            match PlaceConfig::new(url).build() {
                Ok(Place::Bucket(found)) => assert_eq!((&*found.bucket, &*found.prefix), (bucket, prefix)),
                other => panic!("{url}: {other:?}"),
            }
        }
        for (url, why) in [
            ("", "write s3://bucket/prefix or a path"),
            ("gs://bucket/a", "there is no gs"),
            ("file://var/lib", "three slashes"),
            ("file:///a%2", "two digits"),
            ("s3://", "a bucket's name"),
            ("s3://a/b", "a bucket's name"),
            ("s3://user:secret@bucket/b", "a bucket's name"),
            ("s3://bucket/../b", "its prefix"),
            ("s3://bucket//b", "its prefix"),
        ] {
            let said = PlaceConfig::new(url).build().expect_err(url).to_string();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn endpoints() {
        for (endpoint, why) in [
            ("http://127.0.0.1:9000", ""),
            ("https://minio.example", ""),
            ("https://minio.example/", ""),
            ("minio:9000", "write http://host:port"),
            ("https://", "nothing else"),
            ("https://a/b", "nothing else"),
            ("http://key:secret@host", "credentials do not stand in it"),
        ] {
            let config = PlaceConfig { endpoint: Some(endpoint.to_owned()), ..PlaceConfig::new("s3://bucket") };
            let said = config.build().map_or_else(|e| e.to_string(), |_| String::new());
            assert!(said.contains(why) && said.is_empty() == why.is_empty(), "{endpoint}: {said}");
            assert!(!said.contains("secret@"), "{said}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = PlaceConfig {
            credentials: Some(Credentials::new("AKIA", "geheim", Some("vertraulich"))),
            ..PlaceConfig::new("s3://bucket")
        };
        let said = format!("{config:?} {:?}", config.clone().build());
        assert!(said.contains("AKIA") && !said.contains("geheim") && !said.contains("vertraulich"), "{said}");
    }
}
