//! What goes wrong on the way: late, twice, changed, broken, by a wrong clock, out of order. Each at a rate of its own, and
//! decided from an event's number alone, so that what happened is the same whatever became of the news of it.

use event::{Code, Micros};

use crate::id::EventId;
use crate::render::{SENT_AT_AT, TIME_AT, TIME_LEN};
use crate::rng::{Draws, mix2, pick};
use crate::session::Happening;

/// Rates, in millionths.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Disorder {
    /// Events that arrive seconds to minutes after they happened, as from a phone without a network.
    pub late: u32,
    /// Events that are sent once more: the same but for `sentAt`.
    pub doubled: u32,
    /// Events after which another with the same id and another payload comes.
    pub conflicting: u32,
    /// Events that arrive broken; at most [`MALFORMED_MAX`].
    pub malformed: u32,
    /// Events whose `timestamp`, and nothing else, is hours ahead.
    pub future: u32,
    /// Devices whose clock, in `timestamp` and `sentAt`, is off by up to four minutes.
    pub skewed: u32,
    /// Everything arrives up to this much later, in microseconds: neighbours change places.
    pub shuffled_us: i64,
}

/// Every second event of a visit arrives whole, so that a visit does not fall apart.
pub const MALFORMED_MAX: u32 = 500_000;
/// The longest a shuffle may hold an event: what is held is in memory.
pub const SHUFFLED_MAX_US: i64 = 600 * Micros::SECOND;

/// Late: from five seconds to ten minutes and forty seconds.
const LATE_LEAST_US: u64 = 5_000_000;
const LATE_DOUBLINGS: u64 = 7;
/// Once more, as SDKs try: from one second to sixteen.
const AGAIN_LEAST_US: u64 = 1_000_000;
const AGAIN_DOUBLINGS: u64 = 4;

impl Disorder {
    /// None at all.
    pub const NONE: Disorder =
        Disorder { late: 0, doubled: 0, conflicting: 0, malformed: 0, future: 0, skewed: 0, shuffled_us: 0 };

    /// What the ledger of the proofs uses too; clocks beside it.
    pub const USUAL: Disorder = Disorder {
        late: 20_000,
        doubled: 50_000,
        conflicting: 1_000,
        malformed: 10_000,
        future: 1_000,
        skewed: 20_000,
        shuffled_us: 0,
    };

    /// # Errors
    /// What is out of its range.
    pub fn check(&self) -> Result<(), &'static str> {
        let shares = [self.late, self.doubled, self.conflicting, self.malformed, self.future, self.skewed];
        if shares.iter().any(|s| *s > 1_000_000) {
            return Err("a rate is more than all");
        }
        if self.malformed > MALFORMED_MAX {
            return Err("at most half of all events can be malformed");
        }
        if self.late + self.future > 1_000_000 - 2 * self.malformed {
            return Err("late, future and malformed events are more than all together");
        }
        if !(0..=SHUFFLED_MAX_US).contains(&self.shuffled_us) {
            return Err("events are shuffled within ten minutes at most");
        }
        Ok(())
    }

    /// How much later than it happens an event's first record may arrive.
    pub(crate) fn delay_max_us(&self) -> i64 {
        let late = if self.late > 0 { (LATE_LEAST_US << LATE_DOUBLINGS) as i64 } else { 0 };
        late + self.shuffled_us
    }

    /// How many records an event makes, in the mean.
    pub fn records_per_event(&self) -> f64 {
        1.0 + f64::from(self.doubled + self.conflicting) / 1e6
    }

    /// What becomes of the event with that number.
    pub(crate) fn fate(&self, seed: u64, number: u64, h: &Happening) -> Fate {
        let mut fate = Fate { kind: Kind::Good, delay_us: 0, again_us: None, changed_us: None };
        if *self == Disorder::NONE {
            return fate;
        }
        let mut draws = Draws::new(mix2(seed ^ 0x6469_736f, number));
        let mut of_all = draws.below(1_000_000) as u32;
        let mut falls = |share: u32| {
            let yes = of_all < share;
            of_all = of_all.wrapping_sub(share);
            yes
        };
        let breakable = h.action.is_server() || h.nth.is_multiple_of(2);
        let twice = if h.action.is_server() { 1 } else { 2 };
        if falls(if breakable { twice * self.malformed } else { 0 }) {
            fate.kind = Kind::Malformed;
        } else if falls(self.late) {
            fate.kind = Kind::Late;
            fate.delay_us = draws.spread(LATE_LEAST_US, LATE_DOUBLINGS) as i64;
        } else if falls(self.future) {
            fate.kind = Kind::Future;
        }
        if self.shuffled_us > 0 {
            fate.delay_us += draws.below(self.shuffled_us as u64) as i64;
        }
        if fate.kind != Kind::Malformed {
            let mut later = |share: u32| {
                let comes = draws.below(1_000_000) < u64::from(share);
                comes.then(|| draws.spread(AGAIN_LEAST_US, AGAIN_DOUBLINGS) as i64)
            };
            fate.again_us = later(self.doubled);
            fate.changed_us = later(self.conflicting);
        }
        fate
    }
}

/// What a record is, beside the event it is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    Good,
    /// The same once more, sent later.
    Duplicate,
    /// The same id with another payload.
    Conflict,
    Malformed,
    Late,
    Future,
}

impl Kind {
    pub const ALL: [Kind; 6] = [Kind::Good, Kind::Duplicate, Kind::Conflict, Kind::Malformed, Kind::Late, Kind::Future];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Good => "good",
            Kind::Duplicate => "duplicate",
            Kind::Conflict => "conflict",
            Kind::Malformed => "malformed",
            Kind::Late => "late",
            Kind::Future => "future",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fate {
    /// Of the first record.
    pub kind: Kind,
    pub delay_us: i64,
    /// Further records: how long after the first.
    pub again_us: Option<i64>,
    pub changed_us: Option<i64>,
}

/// How far ahead a wrong clock is.
pub(crate) fn ahead_us(salt: u64) -> i64 {
    (1 + (salt >> 8) as i64 % 12) * 3600 * Micros::SECOND
}

/// A way to break an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformation {
    Truncated,
    /// A byte that no UTF-8 text has.
    NotUtf8,
    NoType,
    /// An object where an id must be.
    WrongKind,
    /// A time that is none.
    NoTime,
    /// A time in the year 9999.
    FarTime,
    DuplicateMember,
    ReservedMember,
    /// A JSON text that is no object.
    NotObject,
}

impl Malformation {
    pub const ALL: [Malformation; 9] = [
        Malformation::Truncated,
        Malformation::NotUtf8,
        Malformation::NoType,
        Malformation::WrongKind,
        Malformation::NoTime,
        Malformation::FarTime,
        Malformation::DuplicateMember,
        Malformation::ReservedMember,
        Malformation::NotObject,
    ];

    /// What real senders do.
    pub(crate) fn of(salt: u64) -> Malformation {
        use Malformation::{NoTime, NoType, NotUtf8, Truncated, WrongKind};
        pick(&[Truncated, Truncated, NotUtf8, NoType, WrongKind, NoTime], salt >> 16)
    }

    /// The code with which a door refuses it.
    pub fn code(self) -> Code {
        match self {
            Malformation::Truncated => Code::NotJson,
            Malformation::NotUtf8 => Code::NotUtf8,
            Malformation::NoType => Code::MissingField,
            Malformation::WrongKind => Code::BadField,
            Malformation::NoTime | Malformation::FarTime => Code::BadTime,
            Malformation::DuplicateMember => Code::DuplicateMember,
            Malformation::ReservedMember => Code::ReservedMember,
            Malformation::NotObject => Code::NotObject,
        }
    }

    /// Whether the text is not JSON any more, or no text: in a list it would take its neighbours with it.
    pub fn breaks_text(self) -> bool {
        matches!(self, Malformation::Truncated | Malformation::NotUtf8)
    }

    /// Breaks a rendered event that ends `out` and begins at `begin`.
    pub fn apply(self, out: &mut Vec<u8>, begin: usize, salt: u64) {
        match self {
            Malformation::Truncated => {
                let length = (out.len() - begin) as u64;
                out.truncate(begin + (length / 8 + (salt >> 24) % (length * 3 / 4)) as usize);
                // Not in the middle of a character: that would be another failure.
                while out.last().is_some_and(|b| !b.is_ascii()) {
                    out.pop();
                }
            }
            Malformation::NotUtf8 => {
                // Within the library's name, which every event has.
                let at = find(out, begin, b"\"library\":{\"name\":\"");
                out[at + 20] = 0xff;
            }
            Malformation::NoType => {
                for name in [&b"\"type\":\""[..], b"\"event\":\""] {
                    if let Some(at) = position(out, begin, name) {
                        out[at + 1] = b'_';
                    }
                }
            }
            Malformation::WrongKind => {
                let name: &[u8] = b"\"messageId\":";
                let at = begin + 1 + name.len();
                let end = at + EventId::LEN + 2;
                let id = out[at..end].to_vec();
                out.splice(at..end, [b"{\"id\":".as_slice(), &id, b"}"].concat());
            }
            Malformation::NoTime => {
                out[begin + TIME_AT..begin + TIME_AT + TIME_LEN].copy_from_slice(b"22/Nov/2026 at half past 12");
            }
            Malformation::FarTime => out[begin + TIME_AT..begin + TIME_AT + 4].copy_from_slice(b"9999"),
            Malformation::DuplicateMember => before_end(out, b",\"type\":\"track\""),
            Malformation::ReservedMember => before_end(out, b",\"enriched\":{\"geo\":{}}"),
            Malformation::NotObject => {
                out.truncate(begin);
                out.extend_from_slice(format!("\"only a text, {salt}\"").as_bytes());
            }
        }
    }
}

/// Changes a rendered event's payload, and neither its identity nor its times: the last digit of its amount, where it has
/// one. Gives the new amount.
pub fn change(event: &mut [u8]) -> Option<u64> {
    const AMOUNT: &[u8] = b"\"properties\":{\"amount\":";
    const LIBRARY: &[u8] = b"\"library\":{\"name\":\"";
    let from = SENT_AT_AT + TIME_LEN;
    if let Some(at) = position(event, from, AMOUNT) {
        let digits = event[at + AMOUNT.len()..].iter().take_while(|b| b.is_ascii_digit()).count();
        let number = &mut event[at + AMOUNT.len()..][..digits];
        let last = number.last_mut()?;
        *last = if *last == b'9' { b'8' } else { *last + 1 };
        return std::str::from_utf8(number).ok()?.parse().ok();
    }
    let at = find(event, from, LIBRARY);
    event[at + LIBRARY.len()] = b'A';
    None
}

fn before_end(out: &mut Vec<u8>, text: &[u8]) {
    out.pop();
    out.extend_from_slice(text);
    out.push(b'}');
}

fn position(event: &[u8], from: usize, text: &[u8]) -> Option<usize> {
    event[from..].windows(text.len()).position(|w| w == text).map(|at| from + at)
}

fn find(event: &[u8], from: usize, text: &[u8]) -> usize {
    position(event, from, text).expect("every event has it")
}
