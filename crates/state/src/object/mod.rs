//! Objects in S3, or whatever speaks its protocol: each object is one key, written by a conditional put.
//!
//! * `exchange`: one request and its whole answer, over HTTP and TLS
//! * `answer`: what an answer says, and whether it is S3's at all
//! * `trouble`: what went wrong, whether it passes, and what to do
//!
//! ```text
//! caller ──blocks──► a thread of the store's own: request ─► answer ─┬─► done
//!                                 ▲                                  │
//!                                 └── waits, longer each time ◄── it passes      until the deadline
//! ```
//!
//! **Whose object it is.** A put whose answer is lost may have happened, and the next try then finds its own object. So every
//! put sends a random number along, which S3 keeps with the object: one that is there under our number is the one that we
//! wrote. Its checksum is kept there too, and what is read is compared with it.

mod answer;
mod exchange;
mod trouble;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential, S3ConditionalPut};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, BackoffConfig, Error, GetOptions, GetResult, ObjectStore, PutMode, PutOptions, RetryConfig,
    StaticCredentialProvider,
};
use seam::Rng;
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};

use crate::name;
use crate::place::{BucketConfig, PlaceError};
use crate::store::Store;
use exchange::Connector;
use trouble::Trouble;

/// Larger ones are neither written nor read: a part has about 8 MiB, and an object is held in memory whole.
pub const OBJECT_MAX: usize = 1 << 30;

/// Keys in one request, as S3 has it.
const DELETE_MAX: usize = 1000;
/// Names of one list: a partition has hundreds of objects, and a list of more is of something else.
const LIST_MAX: usize = 1_000_000;

/// The first wait before a request is sent again, the longest, and a share of it that chance decides, so that many who failed
/// together do not come back together.
const WAIT_MIN: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);

/// So many times in a row something between us and the bucket may change a byte; then it is the bucket's.
const DAMAGED_MAX: u32 = 3;

/// Metadata of an object: the number of the put that wrote it, and the checksum of its bytes, both in hexadecimal.
const PUT: &str = "ouzel-put";
const CRC: &str = "ouzel-crc32c";

/// Where the environment names an endpoint, the first that is set.
const ENDPOINTS: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];

/// A bucket, or what is in it below a prefix.
pub struct Bucket {
    inner: Arc<Inner>,
    /// Closed to end the thread. There are no more jobs in it than threads that wait.
    jobs: Option<UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// Made into what is done on the thread itself.
type Job = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

struct Inner {
    s3: AmazonS3,
    /// `s3://bucket/prefix/`, for errors.
    url: String,
    endpoint: String,
    /// With the slash at its end, if there is any.
    prefix: String,
    deadline: Duration,
    rng: Arc<dyn Rng>,
}

impl Bucket {
    /// Asks nothing yet; see [`crate::place::probe`].
    pub(crate) fn open(config: &BucketConfig, rng: Arc<dyn Rng>) -> Result<Bucket, PlaceError> {
        let wrong = |what: String| PlaceError::Open { url: config.url(), what };
        // What the caller does not say comes from AWS's own variables, and credentials from where programs on AWS have them.
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(&config.bucket);
        if let Some(region) = &config.region {
            builder = builder.with_region(region);
        }
        if let Some(credentials) = &config.credentials {
            let (key_id, secret_key, token) = credentials.reveal();
            let credential = AwsCredential { key_id, secret_key, token };
            builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(credential)));
        }
        let named = || ENDPOINTS.into_iter().find_map(environment);
        let endpoint = config.endpoint.clone().or_else(named).map(|e| e.trim_end_matches('/').to_owned());
        // With a dot in its name, a bucket's host is none that Amazon's certificate covers.
        let path_style = config.path_style.unwrap_or(endpoint.is_some() || config.bucket.contains('.'));
        builder = builder.with_virtual_hosted_style_request(!path_style);
        if let Some(endpoint) = &endpoint {
            let whole = if path_style { endpoint.clone() } else { with_bucket(endpoint, &config.bucket) };
            builder = builder.with_config(object_store::aws::AmazonS3ConfigKey::S3Endpoint, whole);
        }
        // Trying again is ours, because only here is it known what a put that was not heard of means.
        let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, retry_timeout: Duration::ZERO };
        let connector = Connector::new(config.deadline, config.ca.as_deref()).map_err(wrong)?;
        let s3 = builder
            .with_retry(retry)
            // IMPORTANT: what is signed is what is looked at; see `answer`.
            .with_skip_signature(false)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_http_connector(connector)
            .build()
            .map_err(|e| wrong(e.to_string()))?;
        let inner = Inner {
            s3,
            url: config.url(),
            endpoint: endpoint.unwrap_or_else(|| "Amazon".to_owned()),
            prefix: config.prefix.clone(),
            deadline: config.deadline,
            rng,
        };
        Bucket::start(inner).map_err(|e| wrong(format!("there is no thread for it: {e}")))
    }

    fn start(inner: Inner) -> io::Result<Bucket> {
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (jobs, mut queue) = unbounded_channel::<Job>();
        let thread = std::thread::Builder::new().name("ouzel-objects".to_owned()).spawn(move || {
            LocalSet::new().block_on(&runtime, async move {
                while let Some(job) = queue.recv().await {
                    spawn_local(job());
                }
            });
        })?;
        Ok(Bucket { inner: Arc::new(inner), jobs: Some(jobs), thread: Some(thread) })
    }

    /// Waits for what the thread does, whatever thread or runtime this one is of.
    fn wait<T, W>(&self, work: impl FnOnce(Arc<Inner>) -> W + Send + 'static) -> io::Result<T>
    where
        T: Send + 'static,
        W: Future<Output = io::Result<T>> + 'static,
    {
        let (said, heard) = mpsc::sync_channel(1);
        let inner = Arc::clone(&self.inner);
        let job = move || -> Pin<Box<dyn Future<Output = ()>>> {
            Box::pin(async move {
                // Whoever asked waits.
                let _ = said.send(work(inner).await);
            })
        };
        let gone =
            || io::Error::other(format!("{}: an answer made no sense at all, and is in the log", self.inner.url));
        self.jobs.as_ref().expect("open until it is dropped").send(Box::new(job)).map_err(|_| gone())?;
        // It panicked, in a library that takes some answers for granted.
        heard.recv().unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Store for Bucket {
    /// There is no need to hurry: others' commits do not wait for this.
    fn put_if_absent(&self, name: &str, bytes: &[u8], _hurry: &AtomicBool) -> io::Result<bool> {
        let key = self.inner.key(name)?;
        if bytes.len() > OBJECT_MAX {
            let what = format!("it has {} bytes, and an object has {OBJECT_MAX} at the most", bytes.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let bytes = Bytes::copy_from_slice(bytes);
        self.wait(|inner| async move { inner.put(&key, bytes).await })
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let key = self.inner.key(name)?;
        self.wait(|inner| async move {
            let read = inner.retried(key.as_ref(), async |_| inner.read(&key).await).await?;
            Ok(read.map(|object| Vec::from(object.bytes)))
        })
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<String>> {
        name::check_prefix(prefix)?;
        let (whole, prefix) = (format!("{}{prefix}", self.inner.prefix), prefix.to_owned());
        self.wait(|inner| async move { inner.list(&whole, &prefix).await })
    }

    fn delete(&self, names: &[String]) -> io::Result<()> {
        let keys = names.iter().map(|name| self.inner.key(name)).collect::<io::Result<Vec<Path>>>()?;
        self.wait(|inner| async move {
            for keys in keys.chunks(DELETE_MAX) {
                inner.retried(keys[0].as_ref(), async |_| inner.delete(keys).await).await?;
            }
            Ok(())
        })
    }
}

/// An object as it was read.
struct Object {
    bytes: Bytes,
    /// The number of the put that wrote it; none, if somebody copied it here, or the service keeps no metadata.
    put: Option<String>,
}

impl Inner {
    fn key(&self, name: &str) -> io::Result<Path> {
        name::check(name)?;
        let key = format!("{}{name}", self.prefix);
        Path::parse(&key).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e.to_string()))
    }

    /// Until it succeeds, fails for good, or the deadline has come. `once` is told whether an earlier try may have happened.
    async fn retried<T>(&self, key: &str, once: impl AsyncFn(bool) -> Result<T, Trouble>) -> io::Result<T> {
        let (mut tries, mut last) = (0, None);
        let tried = tokio::time::timeout(self.deadline, async {
            let (mut wait, mut unknown, mut damaged) = (WAIT_MIN, false, 0);
            loop {
                tries += 1;
                let trouble = match self.credentials().await {
                    Err(trouble) => trouble,
                    Ok(()) => match once(unknown).await {
                        Ok(done) => return Ok(done),
                        Err(trouble) => trouble,
                    },
                };
                damaged += u32::from(matches!(trouble, Trouble::Damaged));
                if !trouble.passes() || damaged == DAMAGED_MAX {
                    return Err(trouble);
                }
                unknown |= trouble.may_have_happened();
                last = Some(trouble);
                tokio::time::sleep(self.jittered(wait)).await;
                wait = (wait * 2).min(WAIT_MAX);
            }
        });
        let result = tried.await;
        match result {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(trouble)) => Err(trouble.error(&self.endpoint, &self.object(key), tries)),
            Err(_deadline) => {
                let last = last.unwrap_or(Trouble::Silent);
                Err(last.deadline(&self.endpoint, &self.object(key), tries, self.deadline))
            }
        }
    }

    /// Asks for them beforehand, so that what is wrong with them is told from what is wrong with the bucket. They are kept
    /// until shortly before they expire.
    async fn credentials(&self) -> Result<(), Trouble> {
        match self.s3.credentials().get_credential().await {
            Ok(_) => Ok(()),
            Err(e) => Err(Trouble::Credentials { why: trouble::chain(&e) }),
        }
    }

    async fn put(&self, key: &Path, bytes: Bytes) -> io::Result<bool> {
        let number = format!("{:032x}", self.rng.next_u128());
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::Metadata(PUT.into()), number.clone().into());
        attributes.insert(Attribute::Metadata(CRC.into()), format!("{:08x}", crc32c::crc32c(&bytes)).into());
        let once = async |unknown: bool| {
            let options = PutOptions { mode: PutMode::Create, attributes: attributes.clone(), ..PutOptions::default() };
            match self.s3.put_opts(key, bytes.clone().into(), options).await {
                Ok(_) => Ok(true),
                Err(Error::AlreadyExists { .. }) => match self.read(key).await? {
                    // It went in between, as nothing of ours does.
                    None => Err(Trouble::Unusable { what: "the object that was in the way is gone".to_owned() }),
                    Some(there) => Ok(match there.put {
                        Some(put) => put == number,
                        None => unknown && there.bytes == bytes,
                    }),
                },
                Err(e) => Err(Trouble::of(&e)),
            }
        };
        self.retried(key.as_ref(), once).await
    }

    async fn read(&self, key: &Path) -> Result<Option<Object>, Trouble> {
        let found = match self.s3.get_opts(key, GetOptions::default()).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(Trouble::of(&e)),
        };
        let kept = |name: &'static str, of: &GetResult| {
            of.attributes.get(&Attribute::Metadata(name.into())).map(|value| value.to_string())
        };
        let (put, crc, length) = (kept(PUT, &found), kept(CRC, &found), found.meta.size);
        let bytes = found.bytes().await.map_err(|e| Trouble::of(&e))?;
        if bytes.len() as u64 != length {
            return Err(Trouble::Unusable { what: format!("{} bytes came of {length}", bytes.len()) });
        }
        if crc.is_some_and(|crc| crc != format!("{:08x}", crc32c::crc32c(&bytes))) {
            return Err(Trouble::Damaged);
        }
        Ok(Some(Object { bytes, put }))
    }

    /// Page by page: what was read is not asked for again when the next one fails.
    async fn list(&self, whole: &str, prefix: &str) -> io::Result<Vec<String>> {
        let (mut names, mut token) = (Vec::new(), None);
        loop {
            let page = self.retried(whole, async |_| {
                let options = PaginatedListOptions {
                    delimiter: Some("/".into()),
                    page_token: token.clone(),
                    ..PaginatedListOptions::default()
                };
                let prefix = Some(whole).filter(|whole| !whole.is_empty());
                self.s3.list_paginated(prefix, options).await.map_err(|e| Trouble::of(&e))
            });
            let page = page.await?;
            // Somebody else's objects may be called what no object of ours is.
            let ours = page.result.objects.iter().filter_map(|object| object.location.as_ref().strip_prefix(whole));
            names.extend(ours.filter(|part| name::is_part(part)).map(|part| format!("{prefix}{part}")));
            if names.len() > LIST_MAX {
                let what = format!("{} has more than {LIST_MAX} objects", self.object(whole));
                return Err(io::Error::other(what));
            }
            token = page.page_token;
            if token.is_none() {
                names.sort_unstable();
                return Ok(names);
            }
        }
    }

    async fn delete(&self, keys: &[Path]) -> Result<(), Trouble> {
        let keys: Vec<_> = keys.iter().cloned().map(Ok).collect();
        let gone = self.s3.delete_stream(stream::iter(keys).boxed());
        gone.try_for_each(async |_| Ok(())).await.map_err(|e| Trouble::of(&e))
    }

    /// Between half of it and all.
    fn jittered(&self, wait: Duration) -> Duration {
        wait / 2 + wait.mul_f64((self.rng.next_u128() as u32) as f64 / u32::MAX as f64 / 2.0)
    }

    fn object(&self, key: &str) -> String {
        format!("{}{}", self.url, key.strip_prefix(&self.prefix).unwrap_or(key))
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// `https://host` as `https://bucket.host`.
fn with_bucket(endpoint: &str, bucket: &str) -> String {
    endpoint.replacen("://", &format!("://{bucket}."), 1)
}
