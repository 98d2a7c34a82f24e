//! Control records: what the owner of an input says about time. They have no value and no key; all is in the header.
//!
//! ```text
//! Field::CONTROL: | version u8 | close u8 | sources u32 | partition u32, state u8, time i64; ... |
//! ```
//! `sources` is how many partitions the topic one hop up has, so that a reader knows whom it still has to hear from.

use crate::field::Field;
use crate::header::{Flags, Header, HeaderRef, Source};
use crate::time::Micros;
use crate::topic::TopicId;

/// What is known of one partition of the topic one hop up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Says {
    /// Records come; none with a time at or below this is expected. [`Micros::MIN`]: nothing is known yet.
    Watermark(Micros),
    /// Nothing has come for a while; the floor is the last watermark, advanced by the time that passed.
    Idle(Micros),
    /// It has never had a record.
    Empty,
    /// Its inputs have ended. Counts as idle.
    Ended(Micros),
}

/// One partition and what its owner says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assertion {
    pub partition: u32,
    pub says: Says,
}

/// A control record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Control {
    /// The topic one hop up, and how many partitions it has.
    pub topic: TopicId,
    pub sources: u32,
    pub assertions: Vec<Assertion>,
    /// All inputs have ended for good: every timer is due, the watermark stays.
    pub close: bool,
    /// Log time.
    pub received_time: Micros,
}

const VERSION: u8 = 1;
const HEAD: usize = 6;
const ASSERTION: usize = 13;
/// What fits an inherited value of 64 KiB.
pub const ASSERTIONS_MAX: usize = (0xffff - HEAD) / ASSERTION;

impl Control {
    /// The header of the record, encoded.
    pub fn encode(&self) -> Vec<u8> {
        debug_assert!(self.assertions.len() <= ASSERTIONS_MAX);
        let mut body = Vec::with_capacity(HEAD + self.assertions.len() * ASSERTION);
        body.extend_from_slice(&[VERSION, u8::from(self.close)]);
        body.extend_from_slice(&self.sources.to_le_bytes());
        for a in &self.assertions {
            body.extend_from_slice(&a.partition.to_le_bytes());
            let (state, time) = a.says.parts();
            body.push(state);
            body.extend_from_slice(&time.0.to_le_bytes());
        }
        let header = Header {
            flags: Flags::CONTROL,
            event_time: self.received_time,
            received_time: self.received_time,
            source: Source::of(self.topic, u32::MAX, 0),
            inherited: vec![(Field::CONTROL, body)],
            ..Header::default()
        };
        let mut out = Vec::new();
        header.encode(&mut out);
        out
    }

    /// `None` for a record that is no control record of a version this program knows.
    pub fn decode(header: HeaderRef<'_>) -> Option<Control> {
        if !header.flags().has(Flags::CONTROL) {
            return None;
        }
        let body = header.inherited_value(Field::CONTROL)?;
        let (head, rest) = body.split_at_checked(HEAD)?;
        if head[0] != VERSION || rest.len() % ASSERTION != 0 {
            return None;
        }
        let assertions = rest
            .chunks_exact(ASSERTION)
            .map(|c| {
                let partition = u32::from_le_bytes(c[..4].try_into().expect("four bytes"));
                let time = Micros(i64::from_le_bytes(c[5..].try_into().expect("eight bytes")));
                Some(Assertion { partition, says: Says::of(c[4], time)? })
            })
            .collect::<Option<_>>()?;
        Some(Control {
            topic: TopicId(header.source().topic),
            sources: u32::from_le_bytes(head[2..].try_into().expect("four bytes")),
            assertions,
            close: head[1] != 0,
            received_time: header.received_time(),
        })
    }
}

impl Says {
    /// As it is stored: a number for the state, and the time.
    pub fn parts(self) -> (u8, Micros) {
        match self {
            Says::Watermark(at) => (1, at),
            Says::Idle(floor) => (2, floor),
            Says::Empty => (3, Micros::MIN),
            Says::Ended(floor) => (4, floor),
        }
    }

    /// `None` for a state nobody gave out.
    pub fn of(state: u8, time: Micros) -> Option<Says> {
        Some(match state {
            1 => Says::Watermark(time),
            2 => Says::Idle(time),
            3 => Says::Empty,
            4 => Says::Ended(time),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_record_reads_back() {
        let control = Control {
            topic: TopicId(0),
            sources: 8,
            assertions: vec![
                Assertion { partition: 3, says: Says::Watermark(Micros(-7)) },
                Assertion { partition: 4, says: Says::Idle(Micros(9)) },
                Assertion { partition: 5, says: Says::Empty },
                Assertion { partition: 6, says: Says::Ended(Micros(1)) },
            ],
            close: true,
            received_time: Micros(11),
        };
        let bytes = control.encode();
        assert_eq!(Control::decode(HeaderRef::new(&bytes).expect("a header")), Some(control));
        let mut event = Vec::new();
        Header::default().encode(&mut event);
        assert_eq!(Control::decode(HeaderRef::new(&event).expect("a header")), None);
    }
}
