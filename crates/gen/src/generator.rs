//! Event after event from a seed.

use event::Micros;

use crate::render::{self, EventId, Facts};
use crate::rng::{Rng, mix, mix2};
use crate::world;
use crate::zipf::Zipf;

#[derive(Clone, Debug)]
pub struct GenConfig {
    pub seed: u64,
    /// How many visitors there are; the k-th comes with weight 1/k. From 1 to 2^32 - 1.
    pub visitors: u32,
    /// The time of the first event; the others follow it at 36 us in the mean, the rate of the peak hour.
    pub start: Micros,
    /// Bytes of an event in the mean. Below about 950 events have what they must have, and no more.
    pub mean_bytes: usize,
}

impl Default for GenConfig {
    fn default() -> GenConfig {
        // 2026-11-22T00:00:00Z.
        GenConfig { seed: 1, visitors: 100_000, start: Micros(1_795_305_600 * Micros::SECOND), mean_bytes: 1200 }
    }
}

/// What is so about an event, for whoever checks what became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truth {
    pub id: EventId,
    /// See [`render::visitor_text`] for the text.
    pub visitor: u64,
    /// Minor units of the currency.
    pub amount: u64,
    pub time: Micros,
}

pub struct Generator {
    config: GenConfig,
    rng: Rng,
    visitors: Zipf,
    /// The agent of each visitor: an index into `agents`, the common ones drawn more often.
    agent_of: Zipf,
    agents: Vec<String>,
    run: u64,
    number: u64,
    time: Micros,
}

impl Generator {
    pub fn new(config: GenConfig) -> Generator {
        Generator {
            rng: Rng::new(config.seed),
            visitors: Zipf::new(config.visitors),
            agent_of: Zipf::new(world::AGENTS),
            agents: world::agents(config.seed),
            run: mix(config.seed ^ 0x6f75_7a65_6c21),
            number: 0,
            time: config.start,
            config,
        }
    }

    /// The part of the identity that all events of this generator share.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Moves the time of the next event, for a sender that lives by the real clock.
    pub fn set_time(&mut self, time: Micros) {
        self.time = time;
    }

    /// Appends the next event to `out`. Its `sentAt` is its `timestamp`.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Truth {
        let visitor = u64::from(self.visitors.draw(&mut self.rng));
        let agent = self.agent_of.draw(&mut Rng::new(mix2(self.config.seed, visitor))) as usize;
        let amount = 100 + self.rng.below(1000) * self.rng.below(500);
        let quarter = (self.config.mean_bytes / 4) as u64;
        // Words end where they end: half a word of 7 bytes more in the mean.
        let bytes = self.config.mean_bytes - quarter as usize + self.rng.below(2 * quarter + 1) as usize;
        let id = EventId { run: self.run, number: self.number };
        let facts = Facts {
            seed: self.config.seed,
            id,
            time: self.time,
            visitor,
            agent: &self.agents[agent],
            amount,
            bytes: bytes.saturating_sub(3),
        };
        let truth = Truth { id, visitor, amount, time: self.time };
        render::event(&facts, &mut self.rng, out);
        self.number += 1;
        self.time.0 += self.rng.below(73) as i64;
        truth
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn render(seed: u64, n: usize) -> (Vec<Vec<u8>>, Vec<Truth>) {
        let mut g = Generator::new(GenConfig { seed, ..GenConfig::default() });
        (0..n)
            .map(|_| {
                let mut out = Vec::new();
                let truth = g.next(&mut out);
                (out, truth)
            })
            .unzip()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        assert_eq!(render(5, 200), render(5, 200));
        assert_ne!(render(5, 2).0, render(6, 2).0);
    }

    #[test]
    fn the_mean_is_what_was_asked_for_and_every_event_differs() {
        let (events, _) = render(1, 4000);
        let mean = events.iter().map(Vec::len).sum::<usize>() / events.len();
        assert!((1170..=1230).contains(&mean), "mean {mean}");
        assert_eq!(events.iter().collect::<BTreeSet<_>>().len(), events.len());
        let agents: BTreeSet<_> = events.iter().map(|e| text_after(e, "\"userAgent\":\"")).collect();
        let addresses: BTreeSet<_> = events.iter().map(|e| text_after(e, "\"ip\":\"")).collect();
        assert!(agents.len() > 500 && addresses.len() > 1000, "{} agents, {} addresses", agents.len(), addresses.len());
    }

    fn text_after(event: &[u8], mark: &str) -> String {
        let text = std::str::from_utf8(event).expect("UTF-8");
        let from = text.find(mark).expect("the member") + mark.len();
        text[from..].split('"').next().unwrap_or_default().to_owned()
    }

    #[test]
    fn identity_and_times_stand_where_they_are_said_to() {
        let (mut events, truths) = render(2, 1);
        let event = &mut events[0];
        assert_eq!(EventId::of(event), Some(truths[0].id));
        assert_eq!(EventId::parse(&truths[0].id.text()), Some(truths[0].id));
        let time_at = |e: &[u8], at| Micros::parse_rfc3339(&e[at..at + render::TIME_LEN]);
        assert_eq!(time_at(event, render::TIME_AT), Some(truths[0].time));
        let (later, sent) = (Micros(truths[0].time.0 + 5), Micros(truths[0].time.0 + 9));
        render::stamp_time(event, later);
        render::stamp_sent_at(event, sent);
        assert_eq!((time_at(event, render::TIME_AT), time_at(event, render::SENT_AT_AT)), (Some(later), Some(sent)));
    }
}
