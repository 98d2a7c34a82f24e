//! Partitioning and the hashes identity rests on.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The partition of a key: `murmur2(key) & 0x7fffffff mod partitions`, as Kafka's Java client does, so that other
/// people's producers and joins agree with ours.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// Kafka's murmur2 (seed 0x9747b28c), from `org.apache.kafka.common.utils.Utils`.
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut h: u32 = 0x9747_b28c ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for c in &mut chunks {
        let mut k = u32::from_le_bytes([c[0], c[1], c[2], c[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> R;
        k = k.wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    if rest.len() == 3 {
        h ^= u32::from(rest[2]) << 16;
    }
    if rest.len() >= 2 {
        h ^= u32::from(rest[1]) << 8;
    }
    if !rest.is_empty() {
        h ^= u32::from(rest[0]);
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// A 64-bit hash for headers (type, visitor). Stable across versions: it is stored.
pub fn hash64(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// The dedup identity of an event: 128 bits of (source, id). 64 would collide once in some months at a billion events
/// a day and quarantine an innocent event; 128 never does.
pub fn id_hash(source: &[u8], id: &[u8]) -> u128 {
    let mut h = Xxh3::new();
    h.update(&(source.len() as u32).to_le_bytes());
    h.update(source);
    h.update(id);
    h.digest128()
}

/// Hash of an event's bytes without what a transport changes between honest retries (`skip` is the span of `sent_at`).
pub fn payload_hash(event: &[u8], skip: Option<std::ops::Range<usize>>) -> u64 {
    match skip {
        None => xxh3_64(event),
        Some(s) => {
            let mut h = Xxh3::new();
            h.update(&event[..s.start]);
            h.update(&event[s.end..]);
            h.digest()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors from Kafka's own UtilsTest.
    #[test]
    fn murmur2_agrees_with_the_java_client() {
        for (key, hash) in [
            (&b"21"[..], -973932308i32),
            (b"foobar", -790332482),
            (b"a-little-bit-long-string", -985981536),
            (b"a-little-bit-longer-string", -1486304829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            (b"abc", 479470107),
        ] {
            assert_eq!(murmur2(key) as i32, hash, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn the_source_and_the_id_cannot_trade_bytes() {
        assert_ne!(id_hash(b"ab", b"c"), id_hash(b"a", b"bc"));
    }
}
