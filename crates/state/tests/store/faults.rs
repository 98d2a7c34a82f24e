//! A service, or a network, that does not do what it should. What was written is there once, and nothing else is ever said to be
//! there.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use ouzel_state::place::{PlaceConfig, probe};
use ouzel_state::{Credentials, Snapshots, StateError, Store};
use seam::RealRng;

use crate::bucket::{Service, open};
use crate::conformance::{bytes, put};
use crate::proxy::{Act, Proxy};

/// The same place, with the proxy in between and without it.
struct Stage {
    proxy: Proxy,
    store: Arc<dyn Store>,
    beside: Arc<dyn Store>,
}

/// For what must fail by it.
const SOON: Duration = Duration::from_millis(700);

fn stage(deadline: Duration) -> Option<Stage> {
    let service = Service::find()?;
    let place = service.place();
    let proxy = Proxy::new(service.address());
    let config = PlaceConfig { endpoint: Some(proxy.url()), deadline, ..service.config(&place) };
    Some(Stage { proxy, store: open(config), beside: open(service.config(&place)) })
}

fn patient() -> Option<Stage> {
    stage(Duration::from_secs(60))
}

/// On a machine that has others to serve, a call may find its deadline too short.
fn soon(done: impl Fn() -> bool) -> bool {
    (0..50).any(|_| done())
}

fn put_or_error(store: &dyn Store, name: &str, bytes: &[u8]) -> io::Result<bool> {
    store.put_if_absent(name, bytes, &AtomicBool::new(false))
}

const BUSY: Act =
    Act::Answer(503, "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>");
const BROKEN: Act = Act::Answer(500, "<Error><Code>InternalError</Code></Error>");

#[test]
fn what_passes_is_tried_again() {
    let Some(stage) = patient() else { return };
    let name = "sessions/0/x".to_owned();
    let passing = [
        BUSY,
        BROKEN,
        Act::Answer(429, ""),
        Act::CutBefore,
        Act::Answer(409, "<Error><Code>ConditionalRequestConflict</Code></Error>"),
        Act::Answer(400, "<Error><Code>RequestTimeout</Code></Error>"),
    ];
    stage.proxy.next(passing.clone());
    assert!(put(&*stage.store, &name, b"x"), "it was written");
    assert_eq!(stage.proxy.seen().len(), passing.len() + 1);
    assert_eq!(stage.beside.get(&name).expect("read").as_deref(), Some(&b"x"[..]));
    for act in passing.iter().chain(&[Act::CutAfter]) {
        stage.proxy.next([act.clone()]);
        assert_eq!(stage.store.get(&name).expect("read").as_deref(), Some(&b"x"[..]), "{act:?}");
        stage.proxy.next([act.clone()]);
        assert_eq!(stage.store.list("sessions/0/").expect("listed"), std::slice::from_ref(&name), "{act:?}");
        stage.proxy.next([act.clone()]);
        stage.store.delete(&["sessions/0/never".to_owned()]).expect("none to delete");
        assert_eq!(stage.proxy.seen().len(), 2, "{act:?}");
    }
}

#[test]
fn a_put_that_nobody_heard_of_is_known_again() {
    let Some(stage) = patient() else { return };
    let cases: [(&str, Vec<Act>); 5] = [
        ("once", vec![Act::CutAfter]),
        ("twice", vec![Act::CutAfter, Act::CutAfter, Act::CutAfter]),
        ("half an answer", vec![Act::CutBefore, Act::CutAfter, Act::CutBefore]),
        // Looking whose it is fails too.
        ("not found out", vec![Act::CutAfter, Act::Pass, BROKEN, Act::CutAfter]),
        ("truncated", vec![Act::CutAfter, Act::Pass, Act::Truncate]),
    ];
    for (n, (what, acts)) in cases.into_iter().enumerate() {
        let (name, bytes) = (format!("sessions/0/{n}"), bytes(n as u64, 100_000));
        stage.proxy.next(acts);
        assert!(put(&*stage.store, &name, &bytes), "{what}: it is ours");
        assert!(stage.beside.get(&name).expect("read") == Some(bytes), "{what}");
        assert!(!put(&*stage.store, &name, b"x"), "{what}: another is not");
    }
    assert_eq!(stage.beside.list("sessions/0/").expect("listed").len(), 5, "each is there once");
}

#[test]
fn an_object_of_another_writer_is_not_taken_for_ours() {
    let Some(stage) = patient() else { return };
    for (n, theirs) in [&b"theirs"[..], b"the same"].into_iter().enumerate() {
        let name = format!("sessions/0/{n}");
        assert!(put(&*stage.beside, &name, theirs));
        // It never arrived, so the one that is found by the second try is somebody else's, whatever is in it.
        stage.proxy.next([Act::CutBefore]);
        assert!(!put(&*stage.store, &name, b"the same"), "{}", String::from_utf8_lossy(theirs));
        assert_eq!(stage.beside.get(&name).expect("read").as_deref(), Some(theirs));
    }
}

#[test]
fn bytes_that_are_not_those_that_were_written_are_never_given() {
    let Some(stage) = patient() else { return };
    let (name, written) = ("sessions/0/x", bytes(3, 200_000));
    assert!(put(&*stage.beside, name, &written));
    for act in [Act::Truncate, Act::Garble, Act::CutBefore] {
        stage.proxy.next([act.clone(), act.clone()]);
        assert!(stage.store.get(name).expect("read").as_ref() == Some(&written), "{act:?}");
    }
    // What is damaged is damaged, however often it is read; a start does not wait for the deadline to find out.
    stage.proxy.always(Act::Garble);
    let why = stage.store.get(name).expect_err("not what was written");
    assert_eq!((why.kind(), stage.proxy.seen().len()), (ErrorKind::InvalidData, 3), "{why}");
    for page in ["<html>Log in, please</html>", ""] {
        // What has no checksum was not written by us; whoever reads it knows what should be in it.
        stage.proxy.always(Act::Answer(200, page));
        assert_eq!(stage.store.get(name).expect("a page").as_deref(), Some(page.as_bytes()));
    }
    let hasty = self::stage(SOON).expect("a server");
    assert!(put(&*hasty.beside, name, &written));
    hasty.proxy.always(Act::Truncate);
    // Not `InvalidData`: another may be whole, and an older snapshot is not taken for the newest.
    assert_eq!(hasty.store.get(name).expect_err("half of it").kind(), ErrorKind::TimedOut);
}

#[test]
fn a_list_that_is_not_whole_is_an_error_and_not_a_shorter_one() {
    let Some(stage) = stage(SOON) else { return };
    for n in 0..20 {
        assert!(put(&*stage.beside, &format!("sessions/0/{n}"), b"x"));
    }
    let others = [
        Act::Truncate,
        Act::Answer(200, ""),
        Act::Answer(200, "<html><body>Log in, please</body></html>"),
        Act::Answer(200, "<ListBucketResult><Contents><Key>no end"),
        Act::Answer(200, "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"),
        Act::Answer(200, "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>"),
        Act::Answer(404, "<html>not here</html>"),
    ];
    for act in others {
        stage.proxy.always(act.clone());
        let why = stage.store.list("sessions/0/").expect_err("it is no list");
        assert!(why.to_string().contains("; check "), "{act:?}: {why}");
    }
    // To a start it is a store that does not answer, and never one without snapshots.
    let newest = Snapshots::new(Arc::clone(&stage.store), "sessions", 0).restore(u64::MAX);
    assert!(matches!(newest, Err(StateError::Store { .. })));
    stage.proxy.next([]);
    assert!(soon(|| stage.store.list("sessions/0/").is_ok_and(|names| names.len() == 20)));
}

#[test]
fn a_delete_that_is_not_answered_as_one_is_an_error() {
    let Some(stage) = stage(SOON) else { return };
    let name = "sessions/0/x".to_owned();
    let denied =
        "<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code><Message>No</Message></Error></DeleteResult>";
    for (answer, expected) in [("<html/>", "another document"), (denied, "200 AccessDenied: No")] {
        stage.proxy.always(Act::Answer(200, answer));
        let why = stage.store.delete(std::slice::from_ref(&name)).expect_err("not deleted");
        assert!(why.to_string().contains(expected), "{why}");
    }
}

#[test]
fn a_service_that_is_silent_or_slow_is_given_up() {
    let Some(stage) = stage(SOON) else { return };
    assert!(put(&*stage.beside, "sessions/0/x", &bytes(1, 100_000)));
    for act in [Act::Hang, Act::Drip, BUSY, Act::CutBefore] {
        stage.proxy.always(act.clone());
        let errors = [
            stage.store.get("sessions/0/x").map(drop),
            stage.store.list("sessions/0/").map(drop),
            put_or_error(&*stage.store, "sessions/0/y", b"y").map(drop),
            stage.store.delete(&["sessions/0/z".to_owned()]),
        ];
        for error in errors {
            let why = error.expect_err("it did not answer");
            assert_eq!(why.kind(), ErrorKind::TimedOut, "{act:?}: {why}");
            assert!(why.to_string().contains("given up after 0.7 s"), "{act:?}: {why}");
        }
    }
    // The next call begins anew.
    stage.proxy.next([]);
    assert!(soon(|| stage.store.get("sessions/0/x").is_ok_and(|found| found.is_some())));
}

#[test]
fn what_does_not_pass_is_said_at_once_and_what_to_do() {
    let Some(service) = Service::find() else { return };
    let proxy = Proxy::new(service.address());
    let config = PlaceConfig { endpoint: Some(proxy.url()), ..service.config("s3://ouzel/faults") };
    let wrong = |key_id: &str, secret: &str| PlaceConfig {
        credentials: Some(Credentials::new(key_id, secret, Some("a-session-token"))),
        ..config.clone()
    };
    let nobodys = PlaceConfig { url: "s3://nobodys-bucket/a".to_owned(), ..config.clone() };
    let redirect =
        "<Error><Code>PermanentRedirect</Code><Message>Elsewhere.</Message><Region>eu-west-1</Region></Error>";
    let conditional = "<Error><Code>NotImplemented</Code></Error>";
    let cases: [(PlaceConfig, Act, &[&str]); 6] = [
        (wrong(&service.key_id, "guessed-secret"), Act::Pass, &["403 ", "check the credentials"]),
        (wrong("somebody", "guessed-secret"), Act::Pass, &["403 InvalidAccessKeyId", "check the credentials"]),
        (nobodys, Act::Pass, &["404 NoSuchBucket", "make the bucket", "s3://nobodys-bucket/a/sessions/0/"]),
        (
            config.clone(),
            Act::Answer(403, "<Error><Code>AccessDenied</Code></Error>"),
            &["s3:PutObject", "s3:ListBucket"],
        ),
        (config.clone(), Act::Answer(301, redirect), &["301 PermanentRedirect: Elsewhere", "region eu-west-1"]),
        (config.clone(), Act::Answer(501, conditional), &["501 NotImplemented", "If-None-Match"]),
    ];
    for (config, act, expected) in cases {
        let store = open(config);
        let calls: [(&str, &dyn Fn() -> io::Result<()>); 4] = [
            ("get", &|| store.get("sessions/0/x").map(drop)),
            ("list", &|| store.list("sessions/0/").map(drop)),
            ("put", &|| put_or_error(&*store, "sessions/0/x", b"x").map(drop)),
            ("delete", &|| store.delete(&["sessions/0/x".to_owned()])),
        ];
        for (what, call) in calls {
            proxy.always(act.clone());
            let why = call().expect_err("refused");
            let said = why.to_string();
            for expected in expected {
                assert!(said.contains(expected), "{what}: {said}");
            }
            assert!(said.contains(&proxy.url()) && said.contains("s3://"), "{said}");
            assert!(!said.contains("guessed-secret") && !said.contains("a-session-token"), "{said}");
            assert!(!matches!(why.kind(), ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof));
            assert_eq!(proxy.seen().len(), 1, "{what} is not tried again: {said}");
        }
    }
}

#[test]
fn nobody_at_the_endpoint() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let credentials = Some(Credentials::new("key", "geheim", None));
    for (endpoint, expected) in [
        (endpoint, "there is no connection to 127.0.0.1"),
        ("http://no-such-host.invalid".to_owned(), "there is no connection to no-such-host.invalid:80"),
    ] {
        let config = PlaceConfig {
            endpoint: Some(endpoint),
            credentials: credentials.clone(),
            deadline: Duration::from_millis(300),
            ..PlaceConfig::new("s3://bucket")
        };
        let said = open(config).get("x").expect_err("nobody is there").to_string();
        assert!(said.contains(expected) && said.contains("check the endpoint"), "{said}");
    }
}

#[test]
fn a_service_that_overwrites_is_found_out() {
    let Some(stage) = patient() else { return };
    stage.proxy.always(Act::Answer(200, "<DeleteResult><Deleted><Key>k</Key></Deleted></DeleteResult>"));
    let why = probe(&*stage.store, &RealRng).expect_err("it overwrites").to_string();
    assert!(why.contains("If-None-Match"), "{why}");
}

#[test]
fn connections_are_kept_and_one_that_was_closed_costs_a_try() {
    const EACH: usize = 3;
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let accepted = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&accepted);
    std::thread::spawn(move || {
        let absent = "<Error><Code>NoSuchKey</Code></Error>";
        for mut stream in listener.incoming().flatten() {
            counted.fetch_add(1, SeqCst);
            // It ends without having said so, as one does that has been idle for long.
            for _ in 0..EACH {
                if crate::proxy::read(&mut stream).is_err() {
                    break;
                }
                let length = absent.len();
                let _ = write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: {length}\r\n\r\n{absent}");
            }
        }
    });
    let config = PlaceConfig {
        endpoint: Some(endpoint),
        credentials: Some(Credentials::new("key", "geheim", None)),
        deadline: Duration::from_secs(60),
        ..PlaceConfig::new("s3://bucket")
    };
    let store = open(config);
    for _ in 0..4 * EACH {
        assert_eq!(store.get("x").expect("absent"), None);
    }
    assert_eq!(accepted.load(SeqCst), 4);
}
