//! A source that a test has in its hands, and how it is asked.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ask::{DeskConfig, Ttls};
use event::Micros;
use flow::Status;
use ouzel_lookup::remote::{self, BoxFuture, Found, Kind, Remote, SharedCache};
use ouzel_lookup::service::{CacheConfig, Service, key};
use ouzel_lookup::{Asked, Key, Origin, Told};
use seam::{Clock, RealClock};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::sleep;

pub const MS: u64 = 1_000;
pub const SECOND: u64 = 1_000 * MS;
pub const CACHE: CacheConfig = CacheConfig { bytes: 1 << 20, shards: 4 };

/// A source that answers with the number of the call, as it is told.
#[derive(Default)]
pub struct Stub {
    pub takes: Duration,
    pub fails: AtomicBool,
    pub hangs: bool,
    pub panics: AtomicBool,
    pub calls: AtomicUsize,
    /// Calls that hang and were not dropped.
    pub open: AtomicUsize,
}

impl Stub {
    pub fn that_takes(ms: u64) -> Arc<Stub> {
        Arc::new(Stub { takes: Duration::from_millis(ms), ..Stub::default() })
    }

    pub fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }
}

impl Remote for Stub {
    fn call<'a>(
        &'a self,
        keys: &'a [remote::Key],
        give_up_after: Duration,
    ) -> BoxFuture<'a, Result<Vec<Found>, remote::Failure>> {
        let call = self.calls.fetch_add(1, SeqCst) + 1;
        assert!(!self.panics.load(SeqCst), "a bug of a client");
        let found = keys.iter().map(|key| match &*key.parameters()[0] {
            "nobody" => Found::NotFound,
            "twice" => Found::Bad("many_rows"),
            _ => Found::Value(call.to_string().into_bytes()),
        });
        let found: Vec<Found> = found.collect();
        Box::pin(async move {
            let failure = |kind| remote::Failure { kind, retry_after: None, message: String::new() };
            if self.hangs {
                self.open.fetch_add(1, SeqCst);
                let _open = Open(&self.open);
                return pending().await;
            }
            if self.takes > give_up_after {
                sleep(give_up_after).await;
                return Err(failure(Kind::Timeout));
            }
            sleep(self.takes).await;
            if self.fails.load(SeqCst) { Err(failure(Kind::Connection)) } else { Ok(found) }
        })
    }
}

struct Open<'a>(&'a AtomicUsize);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

pub fn config() -> DeskConfig {
    let ttls = Ttls { hit: 60 * SECOND, not_found: 60 * SECOND, error: 60 * SECOND, max_stale: 600 * SECOND };
    DeskConfig::new(1, ttls)
}

pub fn service(config: DeskConfig, stub: &Arc<Stub>) -> Service {
    start(config, stub, None, Arc::new(RealClock::new()))
}

pub fn start(config: DeskConfig, stub: &Arc<Stub>, shared: Option<SharedCache>, clock: Arc<dyn Clock>) -> Service {
    let remote: Arc<dyn Remote> = Arc::clone(stub) as _;
    Service::start("test", config, CACHE, remote, shared.map(Arc::new), &Handle::current(), clock)
}

/// What came of an ask: a status and JSON.
pub type Heard = (Status, String);

pub fn ok(json: &str) -> Heard {
    (Status::Ok, json.to_owned())
}

pub fn no(status: Status) -> Heard {
    (status, String::new())
}

pub fn k(text: &str) -> Key {
    key::of([text])
}

/// Asks for one key at once; whoever waits for it hears how it ended, and from whom.
pub fn asked(service: &Service, key: Key, deadline: u64) -> impl Future<Output = (Heard, Option<Origin>)> + use<> {
    let (say, heard) = oneshot::channel();
    let say = Mutex::new(Some(say));
    let hear = move |_, told: Told<'_>| {
        let say = say.lock().expect("nobody panics with it").take().expect("it is said once");
        // Whoever went away does not hear it.
        let _ = say.send(((told.status, text(told.json)), told.origin));
    };
    let asking = service.ask(vec![key], deadline, Box::new(hear));
    async move {
        let _asking = asking;
        heard.await.expect("something is said")
    }
}

pub fn text(json: &[u8]) -> String {
    String::from_utf8(json.to_vec()).expect("JSON")
}

pub async fn ask(service: &Service, text: &str, ms: u64) -> Heard {
    asked(service, k(text), service.now() + ms * MS).await.0
}

pub fn known(service: &Service, name: &str) -> Option<Heard> {
    let mut json = Vec::new();
    service.known(&k(name), &mut json).map(|(status, _)| (status, text(&json)))
}

/// The real clocks, later by so many microseconds.
#[derive(Default)]
pub struct Later {
    real: RealClock,
    pub wall: AtomicU64,
    pub elapsed: AtomicU64,
}

impl Later {
    pub fn by(secs: u64) -> Arc<Later> {
        Arc::new(Later { wall: AtomicU64::new(secs * SECOND), ..Later::default() })
    }
}

impl Clock for Later {
    fn now(&self) -> Micros {
        Micros(self.real.now().0 + self.wall.load(SeqCst) as i64)
    }

    fn elapsed(&self) -> Duration {
        self.real.elapsed() + Duration::from_micros(self.elapsed.load(SeqCst))
    }
}

/// Until it holds; fails when that takes ten seconds.
pub async fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "it never came to hold");
        sleep(Duration::from_millis(1)).await;
    }
}
