//! How an entry lies in a segment.
//!
//! ```text
//! hash 8 | fetched_at 8 | fresh_until 8 | stale_until 8 | key_len 4 | value_len 4 | room 4 | kind, code, reads, flags 4
//! key | value | unused, up to `room`
//! ```

use crate::cache::Known;
use crate::{Code, Entry, Value};

const HEADER: usize = 48;

const FETCHED_AT: usize = 8;
const KEY_LEN: usize = 32;
const VALUE_LEN: usize = 36;
const ROOM: usize = 40;
const KIND: usize = 44;
const CODE: usize = 45;
const READS: usize = 46;
const FLAGS: usize = 47;

const DEAD: u8 = 1;
const REFRESHED: u8 = 2;

/// Bytes it takes: a multiple of 8, so that places are counted in eights.
pub fn len(key: &[u8], entry: &Entry) -> usize {
    let value = if let Value::Found(json) = &entry.value { json.len() } else { 0 };
    (HEADER + key.len() + value).next_multiple_of(8)
}

/// Writes it into exactly [`len`] bytes.
pub fn write(bytes: &mut [u8], hash: u64, key: &[u8], entry: &Entry) {
    let room = bytes.len() as u32;
    bytes[..8].copy_from_slice(&hash.to_le_bytes());
    bytes[ROOM..KIND].copy_from_slice(&room.to_le_bytes());
    bytes[READS] = 0;
    fill(bytes, key, entry);
}

/// All but what stays when a record is written anew: hash, room and reads.
fn fill(bytes: &mut [u8], key: &[u8], entry: &Entry) {
    for (n, time) in [entry.fetched_at, entry.fresh_until, entry.stale_until].into_iter().enumerate() {
        bytes[FETCHED_AT + n * 8..][..8].copy_from_slice(&time.to_le_bytes());
    }
    let (kind, code, value): (u8, u8, &[u8]) = match &entry.value {
        Value::Found(json) => (0, 0, json),
        Value::NotFound => (1, 0, &[]),
        Value::Failed(code) => (2, *code as u8, &[]),
    };
    bytes[KEY_LEN..VALUE_LEN].copy_from_slice(&(key.len() as u32).to_le_bytes());
    bytes[VALUE_LEN..ROOM].copy_from_slice(&(value.len() as u32).to_le_bytes());
    (bytes[KIND], bytes[CODE], bytes[FLAGS]) = (kind, code, 0);
    bytes[HEADER..][..key.len()].copy_from_slice(key);
    bytes[HEADER + key.len()..][..value.len()].copy_from_slice(value);
}

/// The records of a segment, dead ones too.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        (offset < bytes.len()).then(|| {
            let record = Record::at(&bytes[offset..]);
            offset += record.room();
            record
        })
    })
}

/// Begins at the record; what follows it may be there too.
#[derive(Clone, Copy)]
pub struct Record<'a>(&'a [u8]);

impl<'a> Record<'a> {
    pub fn at(bytes: &'a [u8]) -> Record<'a> {
        Record(bytes)
    }

    pub fn bytes(self) -> &'a [u8] {
        &self.0[..self.room()]
    }

    pub fn hash(self) -> u64 {
        self.long(0)
    }

    /// When it was fetched, until when it is fresh, and until when it may be given stale.
    pub fn times(self) -> (i64, i64, i64) {
        let [fetched, fresh, stale] = [0, 1, 2].map(|n| self.long(FETCHED_AT + n * 8) as i64);
        (fetched, fresh, stale)
    }

    pub fn room(self) -> usize {
        self.int(ROOM)
    }

    pub fn key(self) -> &'a [u8] {
        &self.0[HEADER..][..self.int(KEY_LEN)]
    }

    pub fn known(self) -> Known<'a> {
        match self.0[KIND] {
            0 => Known::Found(&self.0[HEADER + self.int(KEY_LEN)..][..self.int(VALUE_LEN)]),
            1 => Known::NotFound,
            _ => Known::Failed(Code::of(self.0[CODE]).expect("a code that was written")),
        }
    }

    pub fn entry(self) -> Entry {
        let (fetched_at, fresh_until, stale_until) = self.times();
        let value = match self.known() {
            Known::Found(json) => Value::Found(json.into()),
            Known::NotFound => Value::NotFound,
            Known::Failed(code) => Value::Failed(code),
        };
        Entry { value, fetched_at, fresh_until, stale_until }
    }

    pub fn is_value(self) -> bool {
        self.0[KIND] == 0
    }

    pub fn is_dead(self) -> bool {
        self.0[FLAGS] & DEAD != 0
    }

    pub fn reads(self) -> u8 {
        self.0[READS]
    }

    fn int(self, at: usize) -> usize {
        u32::from_le_bytes(self.0[at..at + 4].try_into().expect("four bytes")) as usize
    }

    fn long(self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().expect("eight bytes"))
    }
}

pub struct RecordMut<'a>(&'a mut [u8]);

impl<'a> RecordMut<'a> {
    pub fn at(bytes: &'a mut [u8]) -> RecordMut<'a> {
        RecordMut(bytes)
    }

    /// Counts a read. A count that is full is not written again: the line stays clean.
    pub fn read(&mut self, max: u8) {
        if self.0[READS] < max {
            self.0[READS] += 1;
        }
    }

    pub fn set_reads(&mut self, reads: u8) {
        self.0[READS] = reads;
    }

    /// Whether it is the first time that this is asked.
    pub fn refresh_once(&mut self) -> bool {
        let first = self.0[FLAGS] & REFRESHED == 0;
        self.0[FLAGS] |= REFRESHED;
        first
    }

    pub fn bury(&mut self) {
        self.0[FLAGS] |= DEAD;
    }

    /// Writes what is known of the same key now in its place, if it fits.
    pub fn rewrite(&mut self, key: &[u8], entry: &Entry) -> bool {
        let fits = len(key, entry) <= Record(self.0).room();
        if fits {
            fill(self.0, key, entry);
        }
        fits
    }
}
