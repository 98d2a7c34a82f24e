//! What is committed beside a position: the counts that must add up, the watermark and the rolling output hash.

use event::{Micros, Offset};

use crate::clocks::Clocks;
use crate::finished::Finished;
use crate::operator::Version;

/// Totals of one input partition since its beginning, as of a committed position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Records passed on.
    pub processed: u64,
    pub quarantined: u64,
    pub deduplicated: u64,
    /// Control records.
    pub control: u64,
    /// Positions at which there is no record: what a log leaves out, or what a repair could not save.
    pub lost: u64,
    pub watermark: Micros,
    /// Over every output of the stage for this input.
    pub output_hash: u64,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            processed: 0,
            quarantined: 0,
            deduplicated: 0,
            control: 0,
            lost: 0,
            watermark: Micros::MIN,
            output_hash: 0,
        }
    }
}

const VERSION: u8 = 1;
const LEN: usize = 1 + 7 * 8;

impl Progress {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LEN);
        out.push(VERSION);
        for v in [
            self.processed,
            self.quarantined,
            self.deduplicated,
            self.control,
            self.lost,
            self.watermark.0 as u64,
            self.output_hash,
        ] {
            out.extend_from_slice(&v.to_le_bytes());
        }
        out
    }

    /// Reads the totals; what a deterministic stage writes behind them is [`Metadata`]'s, what a recording one does is
    /// [`Finished`]. `None` for metadata of another
    /// version.
    pub fn decode(bytes: &[u8]) -> Option<Progress> {
        if bytes.len() < LEN || bytes[0] != VERSION {
            return None;
        }
        let v = |n: usize| u64::from_le_bytes(bytes[1 + n * 8..9 + n * 8].try_into().expect("eight bytes"));
        Some(Progress {
            processed: v(0),
            quarantined: v(1),
            deduplicated: v(2),
            control: v(3),
            lost: v(4),
            watermark: Micros(v(5) as i64),
            output_hash: v(6),
        })
    }

    /// What a recording stage commits beside its position: the totals, with those of what is finished above it.
    pub fn encode_with(&self, finished: &Finished) -> Vec<u8> {
        let mut out = self.encode();
        finished.encode(&mut out);
        out
    }

    /// Reads what [`Progress::encode_with`] wrote beside the position `next`. `None` for metadata of another version.
    pub fn decode_with(next: Offset, bytes: &[u8]) -> Option<(Progress, Finished)> {
        let progress = Progress::decode(bytes)?;
        Some((progress, Finished::decode(next, &bytes[LEN..])?))
    }

    /// Records done, of all kinds.
    pub fn total(&self) -> u64 {
        self.processed + self.quarantined + self.deduplicated + self.control
    }
}

/// What a deterministic stage commits beside its position, and keeps in a snapshot's manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    pub progress: Progress,
    /// In a snapshot's manifest; a commit has no room for those of a thousand partitions, and they are made again with the
    /// state.
    pub clocks: Option<Clocks>,
    /// Of the operator that wrote it.
    pub version: Version,
    /// Positions that were quarantined since the last snapshot: a replay sets them aside without running them.
    pub guilty: Vec<Offset>,
}

/// Most positions quarantined between two snapshots; with more the stage stops. They must fit the metadata of a commit.
pub const GUILTY_MAX: usize = 64;

impl Metadata {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.progress.encode();
        out.push(u8::from(self.clocks.is_some()));
        if let Some(clocks) = &self.clocks {
            clocks.encode(&mut out);
        }
        out.extend_from_slice(&self.version.number.to_le_bytes());
        out.extend_from_slice(&self.version.configuration.to_le_bytes());
        out.push(self.guilty.len() as u8);
        for offset in &self.guilty {
            out.extend_from_slice(&offset.to_le_bytes());
        }
        out
    }

    /// `None` for metadata of another version.
    pub fn decode(bytes: &[u8]) -> Option<Metadata> {
        let progress = Progress::decode(bytes)?;
        let (clocks, rest) = match bytes[LEN..].split_first()? {
            (0, rest) => (None, rest),
            (_, rest) => {
                let (clocks, rest) = Clocks::decode(rest)?;
                (Some(clocks), rest)
            }
        };
        let (head, list) = rest.split_at_checked(13)?;
        let number = u32::from_le_bytes(head[..4].try_into().expect("four bytes"));
        let configuration = u64::from_le_bytes(head[4..12].try_into().expect("eight bytes"));
        if list.len() != head[12] as usize * 8 {
            return None;
        }
        let guilty = list.chunks_exact(8).map(|c| u64::from_le_bytes(c.try_into().expect("eight bytes"))).collect();
        Some(Metadata { progress, clocks, version: Version { number, configuration }, guilty })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_reads_back_and_totals_can_be_read_alone() {
        let progress = Progress { processed: 5, ..Progress::default() };
        let version = Version { number: 3, configuration: 77 };
        for clocks in [None, Some(Clocks::new(2))] {
            let m = Metadata { progress, clocks, version, guilty: vec![1, u64::MAX] };
            let bytes = m.encode();
            assert_eq!(Progress::decode(&bytes), Some(progress));
            assert_eq!(Metadata::decode(&bytes), Some(m));
            assert_eq!(Metadata::decode(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(Metadata::decode(&progress.encode()), None);
    }

    #[test]
    fn it_reads_back_and_refuses_other_bytes() {
        let p = Progress {
            processed: 1,
            quarantined: 2,
            deduplicated: 3,
            control: 4,
            lost: 7,
            watermark: Micros(-5),
            output_hash: 6,
        };
        let bytes = p.encode();
        assert_eq!(Progress::decode(&bytes), Some(p));
        assert_eq!(Progress::decode(&bytes[..LEN - 1]), None);
        assert_eq!(Progress::decode(b""), None);
    }
}
