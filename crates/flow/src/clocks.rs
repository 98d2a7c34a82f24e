//! The two clocks a deterministic stage knows, both in the log: the watermark and log time.
//!
//! ```text
//! source 0 (partition one hop up)  watermark 12:00:07 ─┐
//! source 1                         watermark 12:00:05 ─┼─► W = the lowest of those that are active, never backwards
//! source 2                         idle, floor 12:00:01 ┘    (none active: the lowest floor)
//! ```

use event::topic::RAW;
use event::{Control, HeaderRef, Micros, Says};

/// What a stage has read about time, up to a position.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Clocks {
    /// By partition of the topic one hop up; `None` until it was heard of.
    sources: Vec<Option<Says>>,
    watermark: Micros,
    log_time: Micros,
    /// `close` was read: until an event comes, every timer is due.
    closing: bool,
}

impl Clocks {
    /// Clocks that have heard of nobody yet. `sources`: partitions of the topic one hop up.
    pub fn new(sources: u32) -> Clocks {
        Clocks { sources: vec![None; sources as usize], watermark: Micros::MIN, log_time: Micros::MIN, closing: false }
    }

    /// No event with a time at or below this is expected; [`Micros::MIN`] while some source was not heard of.
    pub fn watermark(&self) -> Micros {
        self.watermark
    }

    /// The highest received time seen.
    pub fn log_time(&self) -> Micros {
        self.log_time
    }

    /// Whether every timer is due because nothing more will come.
    pub fn closing(&self) -> bool {
        self.closing
    }

    /// An event is about to be applied: log time moves before it, its header's watermark counts after it
    /// ([`Clocks::after`]).
    pub fn before(&mut self, header: HeaderRef<'_>) {
        self.log_time = self.log_time.max(header.received_time());
        self.closing = false;
    }

    /// An event was applied.
    pub fn after(&mut self, header: HeaderRef<'_>) {
        let source = header.source();
        if source.topic == RAW.0 {
            self.hear(source.partition, Says::Watermark(header.watermark()));
            self.settle();
        }
    }

    /// A control record was read.
    pub fn control(&mut self, control: &Control) {
        self.log_time = self.log_time.max(control.received_time);
        for assertion in &control.assertions {
            self.hear(assertion.partition, assertion.says);
        }
        self.closing |= control.close;
        self.settle();
    }

    fn hear(&mut self, partition: u32, says: Says) {
        let at = partition as usize;
        if at >= self.sources.len() {
            return;
        }
        self.sources[at] = Some(says);
    }

    fn settle(&mut self) {
        if self.sources.iter().any(Option::is_none) {
            return;
        }
        let said = || self.sources.iter().flatten();
        let active = said().filter_map(|s| match s {
            Says::Watermark(at) => Some(*at),
            _ => None,
        });
        let floors = said().filter_map(|s| match s {
            Says::Idle(at) | Says::Ended(at) => Some(*at),
            _ => None,
        });
        let now = active.min().or(floors.min()).unwrap_or(Micros::MIN);
        self.watermark = self.watermark.max(now);
    }

    /// `| watermark | log time | closing | count | state, time; ... |`: what stands in commit metadata.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.watermark.0.to_le_bytes());
        out.extend_from_slice(&self.log_time.0.to_le_bytes());
        out.push(u8::from(self.closing));
        out.extend_from_slice(&(self.sources.len() as u16).to_le_bytes());
        for says in &self.sources {
            let (state, at) = says.map_or((0, Micros(0)), Says::parts);
            out.push(state);
            out.extend_from_slice(&at.0.to_le_bytes());
        }
    }

    /// Reads back what [`Clocks::encode`] wrote, and gives what follows it.
    pub fn decode(bytes: &[u8]) -> Option<(Clocks, &[u8])> {
        let (head, rest) = bytes.split_at_checked(19)?;
        let time = |b: &[u8]| Micros(i64::from_le_bytes(b.try_into().expect("eight bytes")));
        let count = u16::from_le_bytes([head[17], head[18]]) as usize;
        let (list, rest) = rest.split_at_checked(count * 9)?;
        let sources = list
            .chunks_exact(9)
            .map(|c| match c[0] {
                0 => Some(None),
                state => Says::of(state, time(&c[1..])).map(Some),
            })
            .collect::<Option<_>>()?;
        let clocks =
            Clocks { sources, watermark: time(&head[..8]), log_time: time(&head[8..16]), closing: head[16] != 0 };
        Some((clocks, rest))
    }
}

#[cfg(test)]
mod tests {
    use event::{Assertion, Header, Source};

    use super::*;

    fn record(partition: u32, received: i64, watermark: i64) -> Vec<u8> {
        let header = Header {
            received_time: Micros(received),
            watermark: Micros(watermark),
            source: Source::of(RAW, partition, 0),
            ..Header::default()
        };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        bytes
    }

    fn apply(clocks: &mut Clocks, bytes: &[u8]) {
        let header = HeaderRef::new(bytes).expect("a header");
        clocks.before(header);
        clocks.after(header);
    }

    fn says(clocks: &mut Clocks, partition: u32, says: Says) {
        let assertions = vec![Assertion { partition, says }];
        clocks.control(&Control { topic: RAW, sources: 3, assertions, close: false, received_time: Micros(0) });
    }

    #[test]
    fn the_watermark_is_the_lowest_of_the_active_and_never_goes_back() {
        let mut c = Clocks::new(3);
        apply(&mut c, &record(0, 100, 50));
        says(&mut c, 1, Says::Empty);
        assert_eq!(c.watermark(), Micros::MIN, "source 2 was not heard of");
        says(&mut c, 2, Says::Watermark(Micros::MIN));
        assert_eq!(c.watermark(), Micros::MIN, "source 2 knows no time yet");
        apply(&mut c, &record(2, 90, 30));
        assert_eq!((c.watermark(), c.log_time()), (Micros(30), Micros(100)));
        says(&mut c, 2, Says::Idle(Micros(20)));
        assert_eq!(c.watermark(), Micros(50), "who is idle holds nobody");
        says(&mut c, 2, Says::Watermark(Micros(30)));
        assert_eq!(c.watermark(), Micros(50), "it came back; the watermark stays");
        says(&mut c, 0, Says::Idle(Micros(80)));
        says(&mut c, 2, Says::Ended(Micros(70)));
        assert_eq!(c.watermark(), Micros(70), "none is active: the lowest floor");
    }

    #[test]
    fn it_is_closing_until_an_event_comes() {
        let mut c = Clocks::new(1);
        apply(&mut c, &record(0, 5, 3));
        c.control(&Control { topic: RAW, sources: 1, assertions: vec![], close: true, received_time: Micros(6) });
        assert_eq!((c.closing(), c.watermark()), (true, Micros(3)));
        apply(&mut c, &record(0, 7, 4));
        assert_eq!((c.closing(), c.watermark()), (false, Micros(4)));
    }

    #[test]
    fn clocks_read_back() {
        let mut c = Clocks::new(3);
        says(&mut c, 1, Says::Ended(Micros(-4)));
        let mut bytes = Vec::new();
        c.encode(&mut bytes);
        bytes.push(9);
        assert_eq!(Clocks::decode(&bytes), Some((c, &[9][..])));
        assert_eq!(Clocks::decode(&bytes[..20]), None);
    }
}
