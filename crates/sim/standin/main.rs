//! A stand-in for the program under test: the public HTTP contract over a small journal of its own, right as it stands and
//! wrong in one way when `STANDIN_FAULT` names a [`Fault`]. Each fault must be found by the loop named beside it.
//!
//! `standin run --data DIR --listen ADDR`

#![allow(clippy::disallowed_methods, clippy::disallowed_macros)] // a program, not a part of the product

mod decode;
mod serve;
mod store;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use store::Store;

macro_rules! faults {
    ($($variant:ident = $name:literal, $what:literal;)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Fault { $(#[doc = $what] $variant,)* }
        impl Fault {
            fn named(name: &str) -> Option<Fault> { match name { $($name => Some(Fault::$variant),)* _ => None } }
        }
    };
}

faults! {
    AckFirst = "ack_first", "Answers before the frame is written (kill loop).";
    DirtyReads = "dirty_reads", "Readers see records before their frame is written (kill loop).";
    NoSync = "no_sync", "Answers before the frame is synced (power loss only).";
    NoDirSync = "no_dir_sync", "Does not sync the directory after making a segment (power loss only).";
    LostTail = "lost_tail", "Cuts off the last good frame at start (kill loop).";
    TornTail = "torn_tail", "Takes a torn last frame for a good one (kill loop).";
    PositionLast = "position_last", "Commits the position after the outputs (kill loop).";
    PositionFirst = "position_first", "Commits the position before the outputs (kill loop).";
    DedupForgets = "dedup_forgets", "Starts with an empty dedup table (kill loop).";
    LastWins = "last_wins", "Passes on the second payload of an id (any run).";
    TornSplice = "torn_splice", "Loses a byte of the event now and then (any run).";
    DropsOne = "drops_one", "Accepts an event and forgets it now and then (any run).";
    NoDeadLetter = "no_dead_letter", "Refuses without a dead letter (any run).";
    StoresTwice = "stores_twice", "Stores a batch twice now and then (any run).";
    WrongSums = "wrong_sums", "Its metrics leave duplicates out (any run).";
    WrongAnswer = "wrong_answer", "Counts a refused event as accepted (any run).";
    WrongKey = "wrong_key", "Stores an event under another visitor now and then (any run).";
}

pub struct Standin {
    pub store: Mutex<Store>,
    pub fault: Option<Fault>,
}

impl Standin {
    pub fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let after = |name: &str| args.iter().position(|a| a == name).map(|at| args[at + 1].clone());
    let data = PathBuf::from(after("--data").expect("--data"));
    let listen = after("--listen").expect("--listen");
    let fault = std::env::var("STANDIN_FAULT")
        .ok()
        .map(|name| Fault::named(&name).unwrap_or_else(|| panic!("no fault {name}")));
    let store = Mutex::new(Store::open(&data, fault));
    let standin = Arc::new(Standin { store, fault });
    let enricher = Arc::clone(&standin);
    std::thread::spawn(move || {
        loop {
            if !store::enrich(&enricher) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    if fault == Some(Fault::AckFirst) || fault == Some(Fault::DirtyReads) {
        let writer = Arc::clone(&standin);
        std::thread::spawn(move || {
            loop {
                // Dirty for most of the time: a reader must look in between, however busy the machine is.
                let pause = if fault == Some(Fault::DirtyReads) { 20 } else { 5 };
                std::thread::sleep(Duration::from_millis(pause));
                writer.store.lock().expect("no panic").write_delayed();
            }
        });
    }
    let listener = TcpListener::bind(listen).expect("the address is free");
    for stream in listener.incoming() {
        let (stream, standin) = (stream.expect("a connection"), Arc::clone(&standin));
        std::thread::spawn(move || serve::connection(&standin, stream));
    }
}

/// Dies when told to by `OUZEL_KILL_AT=name:n`, as the real program does.
pub fn point(name: &str) {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    static PASSED: AtomicU64 = AtomicU64::new(0);
    if let Ok(at) = std::env::var("OUZEL_KILL_AT")
        && let Some((at, n)) = at.split_once(':')
        && at == name
        && PASSED.fetch_add(1, SeqCst) + 1 == n.parse::<u64>().expect("a number")
    {
        // SAFETY: kill has no memory effects; SIGKILL ends this process.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}
