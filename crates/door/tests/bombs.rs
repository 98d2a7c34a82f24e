//! Small bodies that inflate to a gigabyte cost their sender a 413 and us no memory. In a process of its own, because it
//! looks at the process's memory.

#![allow(clippy::disallowed_methods)] // looks at the process it runs in

#[path = "http/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "http/fake.rs"]
#[allow(dead_code)]
mod fake;

use std::io::Write;

use client::Client;
use fake::World;

const GIB: usize = 1 << 30;
const MIB: usize = 1 << 20;

/// A deflate stream that is cut into independent pieces may repeat one of them: 1,024 times a MiB of spaces.
fn gzip_bomb() -> Vec<u8> {
    let spaces = vec![b' '; MIB];
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&spaces).unwrap();
    encoder.flush().unwrap();
    let piece = encoder.get_ref().clone();
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    for _ in 0..GIB / MIB {
        bomb.extend_from_slice(&piece);
    }
    bomb
}

/// RFC 8878: a frame of blocks that each repeat one byte 128 KiB times, four bytes a block.
fn zstd_bomb() -> Vec<u8> {
    const BLOCK: usize = 128 << 10;
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 7 << 3];
    for n in (0..GIB / BLOCK).rev() {
        let header = (BLOCK << 3 | 1 << 1 | usize::from(n == 0)) as u32;
        bomb.extend_from_slice(&header.to_le_bytes()[..3]);
        bomb.push(b' ');
    }
    bomb
}

/// The most memory this process ever had, in KiB.
fn peak_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

#[test]
fn bombs_are_refused_before_they_take_memory() {
    let world = World::new();
    let (gzip, zstd) = (gzip_bomb(), zstd_bomb());
    assert!(gzip.len() <= MIB + MIB / 8 && zstd.len() <= 33 << 10, "{} {}", gzip.len(), zstd.len());
    assert_eq!(Client::new(world.addr).post("{\"type\":\"a\"}").status, 200);
    let before = peak_kib();
    let bodies = [("gzip", &gzip[..gzip.len().min(MIB)]), ("zstd", &zstd[..])];
    std::thread::scope(|s| {
        for (encoding, body) in bodies.iter().cycle().take(16) {
            let world = &world;
            s.spawn(move || {
                let mut client = Client::new(world.addr);
                let answer = client.request("POST", "/v1/events", &[("content-encoding", encoding)], body);
                assert_eq!((answer.status, &answer.json()["code"]), (413, &"batch_too_large".into()), "{encoding}");
                assert!(answer.text().contains("decompressed"), "{}", answer.text());
            });
        }
    });
    let rise_kib = peak_kib() - before;
    assert!(rise_kib < 32 << 10, "memory rose by {rise_kib} KiB");
    assert!(world.raw().is_empty() || world.raw().len() == 1);
}
