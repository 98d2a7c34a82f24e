//! The records of the ledger: 88 bytes each, little-endian.

use event::{Code, Micros};
use ouzel_gen::EventId;

/// Bytes of every record, intents and marks.
pub const RECORD: usize = 88;
const WORDS: usize = RECORD / 8;

/// Why an event is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    New,
    /// Its time is an hour before it is sent, or a second or two.
    Late,
    /// Its time is two hours ahead, or as far as its sender's clock is fast: beyond the five minutes that are let pass.
    Future,
    /// Of the type that the sessions stage is made to fail on.
    Poison,
    /// The same bytes once more.
    Resend,
    /// The same event once more with a new `sentAt`, as SDKs do.
    ResendLater,
    /// An id that is taken, with another payload.
    Conflict,
    /// To be refused with this code.
    Malformed(Code),
}

impl Kind {
    fn code(self) -> (u8, u8) {
        match self {
            Kind::New => (0, 0),
            Kind::Late => (1, 0),
            Kind::Future => (2, 0),
            Kind::Resend => (3, 0),
            Kind::ResendLater => (4, 0),
            Kind::Conflict => (5, 0),
            Kind::Malformed(code) => (6, code as u8),
            Kind::Poison => (7, 0),
        }
    }

    fn of(kind: u8, code: u8) -> Option<Kind> {
        Some(match kind {
            0 => Kind::New,
            1 => Kind::Late,
            2 => Kind::Future,
            3 => Kind::Resend,
            4 => Kind::ResendLater,
            5 => Kind::Conflict,
            6 => Kind::Malformed(*Code::ALL.iter().find(|c| **c as u8 == code)?),
            7 => Kind::Poison,
            _ => return None,
        })
    }
}

/// One event of one batch, before it is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Intent {
    /// The run of the producer's generator: who sends it.
    pub producer: u64,
    /// Place in everything this producer sends, from 0, without a hole.
    pub sequence: u64,
    pub batch: u64,
    /// Place in the batch.
    pub index: u16,
    pub kind: Kind,
    pub id: EventId,
    pub visitor: u64,
    /// The event's own time and its `sentAt`, as its sender's clock has them.
    pub time: Micros,
    pub sent_at: Micros,
    /// Minor units of the currency.
    pub amount: u64,
    /// Hash of the bytes as they are sent.
    pub bytes: u64,
    /// Hash of the bytes without `sentAt`: two sendings of one event have the same.
    pub payload: u64,
}

impl Intent {
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, code) = self.kind.code();
        for word in [
            self.producer,
            self.sequence,
            self.batch,
            self.id.run,
            self.id.number,
            self.visitor,
            self.time.0 as u64,
            self.amount << 32 | u64::from(self.index) << 16 | u64::from(kind) << 8 | u64::from(code),
            self.bytes,
            self.payload,
            self.sent_at.0 as u64,
        ] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    pub fn decode(record: &[u8; RECORD]) -> Option<Intent> {
        let word = words(record);
        Some(Intent {
            producer: word[0],
            sequence: word[1],
            batch: word[2],
            id: EventId { run: word[3], number: word[4] },
            visitor: word[5],
            time: Micros(word[6] as i64),
            amount: word[7] >> 32,
            index: (word[7] >> 16) as u16,
            kind: Kind::of((word[7] >> 8) as u8, word[7] as u8)?,
            bytes: word[8],
            payload: word[9],
            sent_at: Micros(word[10] as i64),
        })
    }
}

/// What the answer to a batch said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack {
    pub accepted: u32,
    pub refused: u32,
}

/// A record of what came of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// The batch is about to be sent once more: its last answer is unknown.
    Again {
        producer: u64,
        batch: u64,
    },
    Acked {
        producer: u64,
        batch: u64,
        ack: Ack,
    },
}

impl Mark {
    pub fn encode(&self, out: &mut Vec<u8>) {
        let words = match *self {
            Mark::Again { producer, batch } => [1, producer, batch, 0, 0],
            Mark::Acked { producer, batch, ack } => [2, producer, batch, ack.accepted.into(), ack.refused.into()],
        };
        let begin = out.len();
        words.iter().for_each(|w| out.extend_from_slice(&w.to_le_bytes()));
        out.resize(begin + RECORD, 0);
    }

    pub fn decode(record: &[u8; RECORD]) -> Option<Mark> {
        let word = words(record);
        let (producer, batch) = (word[1], word[2]);
        match word[0] {
            1 => Some(Mark::Again { producer, batch }),
            2 => Some(Mark::Acked { producer, batch, ack: Ack { accepted: word[3] as u32, refused: word[4] as u32 } }),
            _ => None,
        }
    }
}

fn words(record: &[u8; RECORD]) -> [u64; WORDS] {
    let (chunks, _) = record.as_chunks::<8>();
    std::array::from_fn(|i| u64::from_le_bytes(chunks[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_as_written() {
        for kind in [Kind::New, Kind::Conflict, Kind::Poison, Kind::Malformed(Code::BadTime)] {
            let intent = Intent {
                producer: 1,
                sequence: 2,
                batch: 3,
                index: 65_535,
                kind,
                id: EventId { run: 4, number: 5 },
                visitor: 6,
                time: Micros(-7),
                sent_at: Micros(11),
                amount: 8,
                bytes: 9,
                payload: 10,
            };
            let mut bytes = Vec::new();
            intent.encode(&mut bytes);
            assert_eq!(Intent::decode(bytes.first_chunk().expect("a record")), Some(intent));
        }
        for mark in [
            Mark::Again { producer: 1, batch: 2 },
            Mark::Acked { producer: 1, batch: 2, ack: Ack { accepted: 3, refused: 4 } },
        ] {
            let mut bytes = Vec::new();
            mark.encode(&mut bytes);
            assert_eq!((bytes.len(), Mark::decode(bytes.first_chunk().expect("a record"))), (RECORD, Some(mark)));
        }
    }
}
