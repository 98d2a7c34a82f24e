//! The marketplace at work: record after record, in the order of their arrival.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use event::Micros;

use crate::disorder::{self, Disorder, Fate, Kind, Malformation};
use crate::id::EventId;
use crate::person::Person;
use crate::population::{Arrival, PEOPLE_MAX, PEOPLE_MIN, Population, Rate};
use crate::render::{Renderer, Scratch};
use crate::rng::mix;
use crate::session::{Happening, Live, Shop};
use crate::truth::{Introduction, Truth};
use crate::world::{Catalogue, World};

/// What a generator makes. The same configuration makes the same bytes, wherever and however often.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GenConfig {
    pub seed: u64,
    /// From [`PEOPLE_MIN`] to [`PEOPLE_MAX`]. Memory does not depend on it, only on how many are there at a time.
    pub people: u64,
    /// The time of the first event, or a moment before.
    pub start: Micros,
    pub pace: Pace,
    pub disorder: Disorder,
}

/// What times events have, and how many there are of them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// As people live: by the hour of their day. So many events a second in the busiest quarter of an hour of the week.
    Daily { peak_per_s: f64 },
    /// So many records a second, each exactly when it is due: the n-th at `start` + n / `per_s`. Nights are like days.
    Even { per_s: f64 },
    /// The caller says what time it is, with [`Generator::set_time`].
    Given,
}

/// The marketplace this one is a part of: 80 million people, 27,800 events a second in its peak hour.
pub const PEOPLE_OF_ALL: f64 = 80e6;
pub const PEAK_OF_ALL: f64 = 27_800.0;

/// Events a second that so many people make at their peak.
pub fn peak_of(people: u64) -> f64 {
    people as f64 / PEOPLE_OF_ALL * PEAK_OF_ALL
}

/// People who make so many events a second at their peak.
pub fn people_for(per_s: f64) -> u64 {
    ((per_s / PEAK_OF_ALL * PEOPLE_OF_ALL) as u64).clamp(DEFAULT_PEOPLE, PEOPLE_MAX)
}

pub const DEFAULT_PEOPLE: u64 = 100_000;

impl Default for GenConfig {
    /// 100,000 people as they live, on Sunday, 2026-11-22, from noon (UTC); nothing goes wrong.
    fn default() -> GenConfig {
        GenConfig::of(DEFAULT_PEOPLE)
    }
}

impl GenConfig {
    /// The default for another number of people.
    pub fn of(people: u64) -> GenConfig {
        GenConfig {
            seed: 1,
            people,
            start: Micros(1_795_348_800 * Micros::SECOND),
            pace: Pace::Daily { peak_per_s: peak_of(people) },
            disorder: Disorder::NONE,
        }
    }

    /// For whoever stamps events with times and numbers of their own: so many people that thousands of events in a row are
    /// of thousands of visitors.
    pub fn crowd(seed: u64) -> GenConfig {
        GenConfig { seed, pace: Pace::Given, ..GenConfig::of(8_000_000) }
    }

    /// # Errors
    /// What makes it impossible.
    pub fn build(self) -> Result<Generator, GenError> {
        Generator::new(self)
    }
}

/// Why there can be no such marketplace; always the configuration's to fix.
#[derive(Clone, PartialEq, Debug)]
pub enum GenError {
    People,
    Rate,
    /// That many events of so few people would be no visits any more.
    TooFewPeople {
        people: u64,
        per_s: f64,
        least: u64,
    },
    Disorder(&'static str),
}

impl std::fmt::Display for GenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            GenError::People => write!(f, "there are from {PEOPLE_MIN} to {PEOPLE_MAX} people"),
            GenError::Rate => f.write_str("a rate is a number of events a second, above 0 and at most 10 million"),
            GenError::TooFewPeople { people, per_s, least } => {
                write!(f, "{people} people do not make {per_s} events a second: it takes {least} of them")
            }
            GenError::Disorder(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for GenError {}

pub struct Generator {
    config: GenConfig,
    run: u64,
    world: World,
    catalogue: Catalogue,
    population: Population,
    /// Visits that go on, and when the next event of each is due.
    live: Vec<Live>,
    free: Vec<u32>,
    due: BinaryHeap<Reverse<(Micros, u32)>>,
    /// People who were here at the start.
    present: Vec<u64>,
    /// Records that arrive later than they happened.
    held: Vec<Record>,
    held_free: Vec<u32>,
    arriving: BinaryHeap<Reverse<(Micros, u64, u32)>>,
    events: u64,
    records: u64,
    /// Events before the start that were looked at.
    before: u64,
    given: Micros,
    /// How much later than configured it all is.
    shift_us: i64,
    /// A record that was looked at and not yet taken.
    ahead: Option<Record>,
    coming: Vec<Introduction>,
    introduced: Vec<Introduction>,
    scratch: Scratch,
}

/// Something that arrives.
#[derive(Clone, Copy)]
struct Record {
    happening: Happening,
    number: u64,
    kind: Kind,
    /// How far ahead its timestamp is, the same in all records of an event.
    ahead_us: i64,
    time: Micros,
    arrival: Micros,
}

impl Record {
    fn new(happening: Happening, number: u64, fate: &Fate, time: Micros) -> Record {
        let ahead_us = if fate.kind == Kind::Future { disorder::ahead_us(happening.salt) } else { 0 };
        Record { happening, number, kind: fate.kind, ahead_us, time, arrival: time }
    }
}

/// How long before the start the first visits begin, so that the marketplace is as full at the start as later: longer
/// than all but a few visits, shorter than the time between two of one person.
const WARM_US: i64 = 40 * 60 * Micros::SECOND;
/// Numbers from here on are of events before the start.
pub const BEFORE: u64 = 900_000_000_000_000;
/// No more events a second: ten times what one core renders.
const PER_S_MAX: f64 = 1e7;

impl Generator {
    fn new(config: GenConfig) -> Result<Generator, GenError> {
        if !(PEOPLE_MIN..=PEOPLE_MAX).contains(&config.people) {
            return Err(GenError::People);
        }
        config.disorder.check().map_err(GenError::Disorder)?;
        let (per_s, daily) = match config.pace {
            Pace::Daily { peak_per_s } => (peak_per_s, true),
            Pace::Even { per_s } => (per_s, false),
            Pace::Given => (peak_of(config.people), false),
        };
        if !(per_s > 0.0 && per_s <= PER_S_MAX) {
            return Err(GenError::Rate);
        }
        // In a steady stream what is sent twice counts, too.
        let of_events = if daily { per_s } else { per_s / config.disorder.records_per_event() };
        let begin = Micros(config.start.0 - WARM_US);
        let population = Population::new(config.seed, config.people, Rate { per_s: of_events, daily }, begin)
            .map_err(|least| GenError::TooFewPeople { people: config.people, per_s, least })?;
        let mut generator = Generator {
            run: mix(config.seed ^ 0x6f75_7a65_6c21),
            world: World::new(),
            catalogue: Catalogue::new(config.seed, config.people),
            population,
            live: Vec::new(),
            free: Vec::new(),
            due: BinaryHeap::new(),
            present: Vec::new(),
            held: Vec::new(),
            held_free: Vec::new(),
            arriving: BinaryHeap::new(),
            events: 0,
            records: 0,
            before: 0,
            given: config.start,
            shift_us: 0,
            ahead: None,
            coming: Vec::new(),
            introduced: Vec::new(),
            scratch: Scratch::default(),
            config,
        };
        generator.warm_up();
        Ok(generator)
    }

    /// Those who came before the start and are still there, and what happened then and is still on its way.
    fn warm_up(&mut self) {
        let start = self.config.start;
        let underway = Micros(start.0 - self.config.disorder.delay_max_us());
        while self.population.next_at() < start {
            let arrival = self.population.arrive();
            let mut live = Live::open(&arrival, &self.world, self.config.disorder.skewed);
            let mut goes_on = true;
            let held = self.arriving.len();
            while goes_on && live.due < start {
                let at = live.due;
                let shop = Shop { catalogue: &self.catalogue, population: &self.population };
                let happening;
                (happening, goes_on) = live.step(&shop);
                if at >= underway {
                    self.happened_before(happening, at);
                }
            }
            if goes_on || self.arriving.len() > held {
                self.present.push(arrival.person.number);
                self.coming.push(Introduction { person: arrival.person.number, visit: arrival.visit, is_new: true });
            }
            if goes_on {
                self.admit(live);
            }
        }
        self.present.sort_unstable();
        self.population.mark();
    }

    /// What happened before the start arrives if its news comes later. Its number is of a range of its own: the first
    /// event after the start has number 0 whatever goes wrong.
    fn happened_before(&mut self, happening: Happening, at: Micros) {
        let number = BEFORE + self.before;
        self.before += 1;
        let fate = self.config.disorder.fate(self.config.seed, number, &happening);
        let after = Micros(at.0 + fate.delay_us);
        if after >= self.config.start {
            let record = Record::new(happening, number, &fate, at);
            self.hold(record, after);
            self.hold_again(&record, &fate, after);
        }
    }

    fn hold_again(&mut self, record: &Record, fate: &Fate, after: Micros) {
        for (kind, delay_us) in [(Kind::Duplicate, fate.again_us), (Kind::Conflict, fate.changed_us)] {
            if let Some(delay_us) = delay_us {
                self.hold(Record { kind, ..*record }, Micros(after.0 + delay_us));
            }
        }
    }

    pub fn config(&self) -> &GenConfig {
        &self.config
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    pub fn person(&self, number: u64) -> Option<Person> {
        self.population.person(number)
    }

    /// The part of the identity that all events of this generator share.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Visits that are going on.
    pub fn live(&self) -> usize {
        self.live.len() - self.free.len()
    }

    /// Before the first record: it is to be sent then, and all others as much later or earlier. For a sender that knows
    /// when it begins only once everything is there.
    pub fn begin_at(&mut self, time: Micros) {
        let shift_us = time.0 - self.config.start.0;
        for record in &mut self.held {
            record.time.0 += shift_us - self.shift_us;
        }
        self.shift_us = shift_us;
    }

    /// What time it is, for [`Pace::Given`].
    pub fn set_time(&mut self, time: Micros) {
        self.given = time;
    }

    /// Appends the next record to `out`, as it is sent, without an end of line.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Truth {
        let record = match self.ahead.take() {
            Some(record) => record,
            None => self.advance(),
        };
        self.introduced.clear();
        std::mem::swap(&mut self.introduced, &mut self.coming);
        self.render(&record, out)
    }

    /// When the next record is sent. Not for [`Pace::Given`], where the caller decides.
    pub fn next_arrival(&mut self) -> Micros {
        let record = match self.ahead {
            Some(record) => record,
            None => self.advance(),
        };
        self.ahead = Some(record);
        record.arrival
    }

    /// Who appeared with the record that was taken last: everybody is introduced before, or with, the first record that
    /// is theirs.
    pub fn introductions(&self) -> &[Introduction] {
        &self.introduced
    }

    /// Lets the marketplace go on until something arrives.
    fn advance(&mut self) -> Record {
        loop {
            let arrives = self.arriving.peek().map_or(Micros(i64::MAX), |Reverse((at, ..))| *at);
            let happens = self.due.peek().map_or(Micros(i64::MAX), |Reverse((at, _))| *at);
            let comes = self.population.next_at();
            if arrives <= happens && arrives <= comes {
                let Some(Reverse((at, _, slot))) = self.arriving.pop() else { continue };
                self.held_free.push(slot);
                return self.arrive(self.held[slot as usize], at);
            }
            if comes <= happens {
                self.welcome();
                continue;
            }
            if let Some(record) = self.happen(happens) {
                return record;
            }
        }
    }

    /// Somebody comes.
    fn welcome(&mut self) {
        let arrival = self.population.arrive();
        let Arrival { person, visit, past, .. } = arrival;
        let is_new = visit == past && (past == 0 || self.present.binary_search(&person.number).is_err());
        if is_new || !person.keeps_devices() {
            self.coming.push(Introduction { person: person.number, visit, is_new });
        }
        let live = Live::open(&arrival, &self.world, self.config.disorder.skewed);
        self.admit(live);
    }

    fn admit(&mut self, live: Live) {
        let due = live.due;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.live[slot as usize] = live;
                slot
            }
            None => {
                self.live.push(live);
                self.live.len() as u32 - 1
            }
        };
        self.due.push(Reverse((due, slot)));
    }

    /// The event that is due happens; a record, if the news of it arrives at once.
    fn happen(&mut self, now: Micros) -> Option<Record> {
        let mut top = self.due.peek_mut()?;
        let slot = top.0.1;
        let shop = Shop { catalogue: &self.catalogue, population: &self.population };
        let live = &mut self.live[slot as usize];
        let (happening, goes_on) = live.step(&shop);
        if goes_on {
            top.0.0 = live.due;
            drop(top);
        } else {
            std::collections::binary_heap::PeekMut::pop(top);
            self.free.push(slot);
        }
        let number = self.events;
        self.events += 1;
        let fate = self.config.disorder.fate(self.config.seed, number, &happening);
        let time = self.published(now);
        let record = Record::new(happening, number, &fate, time);
        let after = Micros(now.0 + fate.delay_us);
        self.hold_again(&record, &fate, after);
        if fate.delay_us > 0 {
            self.hold(record, after);
            return None;
        }
        Some(self.arrive(record, now))
    }

    fn hold(&mut self, record: Record, until: Micros) {
        let slot = match self.held_free.pop() {
            Some(slot) => {
                self.held[slot as usize] = record;
                slot
            }
            None => {
                self.held.push(record);
                self.held.len() as u32 - 1
            }
        };
        self.arriving.push(Reverse((until, record.number, slot)));
    }

    fn arrive(&mut self, record: Record, now: Micros) -> Record {
        let arrival = self.published(now);
        self.records += 1;
        Record { arrival, ..record }
    }

    /// A moment of the marketplace as events tell it.
    fn published(&self, now: Micros) -> Micros {
        match self.config.pace {
            Pace::Daily { .. } => Micros(now.0 + self.shift_us),
            Pace::Even { per_s } => {
                Micros(self.config.start.0 + self.shift_us + (self.records as f64 * 1e6 / per_s) as i64)
            }
            Pace::Given => self.given,
        }
    }

    fn render(&mut self, record: &Record, out: &mut Vec<u8>) -> Truth {
        let Record { happening: h, number, kind, ahead_us, time, arrival } = record;
        let begin = out.len();
        let id = EventId { run: self.run, number: *number };
        let tables = (&self.world, &self.catalogue, &self.population);
        let skew_us = if h.action.is_server() { 0 } else { h.client.skew_us };
        let timestamp = Micros(time.0 + skew_us + ahead_us);
        Renderer::new(self.config.seed, tables, h, &mut self.scratch).write(
            h,
            id,
            timestamp,
            Micros(arrival.0 + skew_us),
            out,
        );
        let mut truth = Truth {
            id,
            kind: *kind,
            code: None,
            person: h.client.person,
            role: h.client.role,
            visitor: if h.action.is_server() { h.client.user } else { h.client.device },
            session: h.session,
            time: *time,
            arrival: *arrival,
            action: h.action,
            amount: h.amount,
            currency: h.client.country().currency,
        };
        match kind {
            Kind::Malformed => {
                let malformation = Malformation::of(h.salt);
                malformation.apply(out, begin, h.salt);
                truth.code = Some(malformation.code());
            }
            Kind::Conflict => {
                let claimed = disorder::change(&mut out[begin..]);
                truth.amount = claimed.or(truth.amount);
            }
            Kind::Good | Kind::Duplicate | Kind::Late | Kind::Future => {}
        }
        truth
    }
}
