//! Without descriptors the front line waits and then goes on. In a process of its own, because it takes them all.

#![allow(clippy::disallowed_methods)] // looks at the process it runs in

#[path = "http/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "http/fake.rs"]
#[allow(dead_code)]
mod fake;

use client::Client;
use fake::World;

#[test]
fn connections_wait_while_there_are_no_descriptors_and_are_served_afterwards() {
    let world = World::new();
    let mut known = Client::new(world.addr);
    assert_eq!(known.get("/healthz").status, 200);
    let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
    // SAFETY: the pointer is to a live struct; this process is this test's own.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    // The socket of the next client is made before the last descriptors are gone.
    let (mut taken, mut spare) = (Vec::new(), std::fs::File::open("/dev/null").ok());
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    drop(spare.take());
    let mut next = Client::new(world.addr);
    next.send(client::request("GET", "/healthz", &[], b""));
    world.until("the accept loop waits", || world.counters.accept_backoffs.value() > 0);
    assert_eq!(known.get("/healthz").status, 200, "those that are in are served");
    taken.clear();
    assert_eq!(next.read().expect("an answer").status, 200);
}
