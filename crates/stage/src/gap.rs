//! Positions at the end of a partition that hold nothing, as the marks of transactions do.

use std::time::Duration;

use event::Offset;

/// How long such positions stand at the end before they are stepped over by themselves. Each commit leaves some on Kafka, and
/// a commit that did nothing else would double the number of commits; what is read next steps over them anyhow.
const REST: Duration = Duration::from_millis(200);

/// Since when there is nothing but such positions.
#[derive(Default)]
pub(crate) struct Gap(Option<(Offset, Duration)>);

impl Gap {
    /// Whether there is nothing to be done about what was read from `from` on, at `now`. `replaying`: nothing is committed, so
    /// nothing is to be spared.
    pub fn is_nothing(&mut self, fetch: &log::Fetch, from: Offset, now: Duration, replaying: bool) -> bool {
        if !fetch.chunks.is_empty() || fetch.next <= from {
            self.0 = None;
            return fetch.chunks.is_empty();
        }
        // More is behind them, which is read when they are stepped over.
        if fetch.next < fetch.end || replaying {
            return false;
        }
        let (next, since) = *self.0.get_or_insert((fetch.next, now));
        let rests = next == fetch.next && now.saturating_sub(since) >= REST;
        if next != fetch.next {
            self.0 = Some((fetch.next, now));
        } else if rests {
            self.0 = None;
        }
        !rests
    }
}

#[cfg(test)]
mod tests {
    use event::record::Chunk;
    use log::Fetch;

    use super::*;

    #[test]
    fn a_gap_at_the_end_is_stepped_over_once_it_rests() {
        let at = |next, end| Fetch { chunks: Vec::new(), next, end };
        let ms = Duration::from_millis;
        let mut gap = Gap::default();
        assert!(gap.is_nothing(&at(5, 5), 5, ms(0), false), "no gap");
        assert!(gap.is_nothing(&at(6, 6), 5, ms(0), false));
        assert!(gap.is_nothing(&at(6, 6), 5, ms(199), false));
        assert!(gap.is_nothing(&at(7, 7), 5, ms(200), false), "it grew");
        assert!(!gap.is_nothing(&at(7, 7), 5, ms(400), false));
        assert!(!gap.is_nothing(&at(8, 8), 7, ms(401), true), "nothing is committed by it");
        assert!(gap.is_nothing(&at(8, 8), 7, ms(401), false), "another");
        assert!(!gap.is_nothing(&at(8, 9), 7, ms(402), false), "there is more behind it");
        let record = Chunk { base: 8, count: 1, bytes: Default::default() };
        assert!(!gap.is_nothing(&Fetch { chunks: vec![record], next: 9, end: 9 }, 7, ms(403), false));
    }
}
