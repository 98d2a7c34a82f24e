//! Nanoseconds a lookup: `cargo run --release -p ouzel-lookup --example geo -- FILE.mmdb...`
//!
//! 50,000 addresses that each database knows, asked evenly (every lookup is cold) and by Zipf (s = 1, as visitors come), and
//! what it takes to open, check and look whether the file changed.

#![allow(clippy::disallowed_methods)] // it measures

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ouzel_lookup::{Extent, GeoSource, Mmdb};

const ADDRESSES: usize = 50_000;
const LOOKUPS: usize = 1_000_000;
const ROUNDS: usize = 5;

struct XorShift(u64);

impl XorShift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn main() {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    assert!(!paths.is_empty(), "name one or more MMDB files");
    for path in &paths {
        let (mmdb, open) = timed(|| Mmdb::open(path).expect("opens"));
        let (_, sample) = timed(|| mmdb.check(Extent::Sample).expect("is whole"));
        let (found, whole) = timed(|| mmdb.check(Extent::Whole).expect("is whole"));
        println!("{} ({} bytes, {} networks, {} records)", mmdb.version(), mmdb.bytes(), found.networks, found.records);
        println!("  open {open:.1?}, check of a sample {sample:.1?}, of the whole {whole:.1?}");

        let mut rng = XorShift(0x9e37_79b9_7f4a_7c15);
        let mut out = Vec::with_capacity(4096);
        let mut known = Vec::with_capacity(ADDRESSES);
        for _ in 0..ADDRESSES * 100 {
            let ip = IpAddr::V4(Ipv4Addr::from(rng.next() as u32));
            if known.len() < ADDRESSES && mmdb.geo(ip, &mut out).expect("no error") {
                known.push(ip);
            }
            out.clear();
        }
        if known.is_empty() {
            println!("  knows no IPv4 address");
            continue;
        }
        let evenly: Vec<IpAddr> = (0..LOOKUPS).map(|i| known[i % known.len()]).collect();
        // The inverse of the continuous Zipf distribution with s = 1: rank n^u.
        let zipf: Vec<IpAddr> =
            (0..LOOKUPS).map(|_| known[(known.len() as f64).powf(rng.unit()) as usize % known.len()]).collect();
        for (order, addresses) in [("evenly", &evenly), ("Zipf", &zipf)] {
            let geo = best(addresses, |ip, out| mmdb.geo(ip, out).expect("no error"));
            let record = best(addresses, |ip, out| mmdb.record(ip, out).expect("no error"));
            println!("  {order:>6}: geo {geo:.0} ns, record {record:.0} ns a lookup");
        }
    }
    let source = GeoSource::open(&paths).expect("opens");
    let (_, looks) = timed(|| (0..1_000).for_each(|_| drop(black_box(source.reload_if_changed()))));
    let (_, pins) = timed(|| (0..1_000).for_each(|_| drop(black_box(source.pin()))));
    println!("a look at {} files {:.1?}, a pin {:.0?}", paths.len(), looks / 1_000, pins / 1_000);
}

/// Nanoseconds a lookup in the best of some rounds.
fn best(addresses: &[IpAddr], mut lookup: impl FnMut(IpAddr, &mut Vec<u8>) -> bool) -> f64 {
    let mut out = Vec::with_capacity(4096);
    let round = |_| {
        let started = Instant::now();
        for ip in addresses {
            out.clear();
            black_box(lookup(*ip, &mut out));
        }
        started.elapsed().as_nanos() as f64 / addresses.len() as f64
    };
    (0..ROUNDS).map(round).fold(f64::MAX, f64::min)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = work();
    (result, started.elapsed())
}
