//! Buckets of a real server for S3's protocol.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use ouzel_state::place::{PlaceConfig, probe};
use ouzel_state::{Credentials, Store};
use seam::{RealClock, RealFs, RealRng, Rng};

use crate::conformance::{Reach, STORIES};
use crate::snapshots::{a_zombie_and_its_successor_write_side_by_side, base_and_increments_are_restored};

/// A server for tests, from `OUZEL_TEST_S3`: `http://KEY:SECRET@HOST:PORT/BUCKET`.
#[derive(Clone)]
pub struct Service {
    pub key_id: String,
    pub secret: String,
    pub endpoint: String,
    pub bucket: String,
}

impl Service {
    /// Without one, the test says so and has nothing to do; in CI it fails.
    pub fn find() -> Option<Service> {
        let url = match std::env::var("OUZEL_TEST_S3") {
            Ok(url) if !url.is_empty() => url,
            _ if std::env::var_os("CI").is_some() => panic!("OUZEL_TEST_S3 is not set"),
            _ => {
                eprintln!("SKIPPED: OUZEL_TEST_S3 is not set, so there is no server to ask");
                return None;
            }
        };
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let (login, place) = rest.split_once('@').expect("a key");
        let (key_id, secret) = login.split_once(':').expect("a secret");
        let (host, bucket) = place.split_once('/').expect("a bucket");
        Some(Service {
            key_id: key_id.to_owned(),
            secret: secret.to_owned(),
            endpoint: format!("{scheme}://{host}"),
            bucket: bucket.to_owned(),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.endpoint.strip_prefix("http://").expect("no TLS").parse().expect("an address")
    }

    /// A prefix that no other test has.
    pub fn place(&self) -> String {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        format!("s3://{}/{:016x}/{}", self.bucket, RealRng.next_u128() as u64, SERIAL.fetch_add(1, SeqCst))
    }

    pub fn config(&self, place: &str) -> PlaceConfig {
        PlaceConfig {
            endpoint: Some(self.endpoint.clone()),
            credentials: Some(Credentials::new(&self.key_id, &self.secret, None)),
            // For servers on machines that have others to serve.
            deadline: Duration::from_secs(60),
            ..PlaceConfig::new(place)
        }
    }
}

pub fn open(config: PlaceConfig) -> Arc<dyn Store> {
    let place = config.build().expect("a place");
    place.open(Arc::new(RealFs), Arc::new(RealClock::new()), Arc::new(RealRng)).expect("a store")
}

fn each_in_a_place_of_its_own(stories: impl IntoIterator<Item = (&'static str, fn(Reach<'_>))>) {
    let Some(service) = Service::find() else { return };
    for (name, story) in stories {
        let place = service.place();
        eprintln!("{name}: {place}");
        story(&|| open(service.config(&place)));
    }
}

#[test]
fn a_bucket_conforms() {
    each_in_a_place_of_its_own(STORIES);
}

#[test]
fn snapshots_are_restored() {
    each_in_a_place_of_its_own([("restored", base_and_increments_are_restored as fn(Reach<'_>))]);
}

#[test]
fn two_owners_of_one_partition_write_side_by_side() {
    each_in_a_place_of_its_own([("side by side", a_zombie_and_its_successor_write_side_by_side as fn(Reach<'_>))]);
}

#[test]
fn what_others_put_into_the_bucket_is_passed_over() {
    let Some(service) = Service::find() else { return };
    let place = service.place();
    let store = open(service.config(&place));
    // In a store whose prefix is further up, these are names; in ours they are somebody else's.
    let above = open(service.config(&format!("s3://{}", service.bucket)));
    let prefix = place.strip_prefix(&format!("s3://{}/", service.bucket)).expect("in it");
    assert!(crate::conformance::put(&*above, &format!("{prefix}/sessions/0/x"), b"ours"));
    assert!(crate::conformance::put(&*above, &format!("{prefix}x/sessions/0/x"), b"beside"));
    assert_eq!(store.list("sessions/0/").expect("listed"), ["sessions/0/x"]);
    assert_eq!(store.get("sessions/0/x").expect("read").as_deref(), Some(&b"ours"[..]));
    assert_eq!(store.list("").expect("listed"), Vec::<String>::new());
}

#[test]
fn it_may_be_called_and_dropped_inside_of_another_runtime() {
    let Some(service) = Service::find() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store = open(service.config(&service.place()));
        probe(&*store, &RealRng).expect("it does what is asked of it");
    });
}
