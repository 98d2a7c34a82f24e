//! Events as the enrich stage writes them, and a stand-in for what drives the stage: it moves the watermark, calls
//! `advance` when a visitor's timer is due, and keeps what comes out.

#![allow(dead_code, reason = "each test uses a part of it")]

pub mod edge;

use std::collections::BTreeMap;

use event::key::hash64;
use event::{Field, Flags, Header, HeaderRef, Micros, Source, Span};
use ouzel_session::{Clocks, Event, Kind, Sessions, Sink};
use serde_json::Value;

/// An event to be sent. Empty texts: it does not have them.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    pub visitor: String,
    pub id: u128,
    pub at: i64,
    pub received: i64,
    pub future: bool,
    pub kind: String,
    pub page: String,
    pub user: String,
    pub session: String,
    pub campaign: String,
    pub amount: Option<u64>,
    /// Members of `properties` beside the amount, and of `enriched` beside the campaign; each begins with a comma.
    pub properties: String,
    pub enriched: String,
}

impl Sent {
    /// The record's header and value.
    pub fn record(&self) -> (Vec<u8>, Vec<u8>) {
        let mut value = b"{\"v\":1".to_vec();
        let mut spans = Vec::new();
        for (field, name, text) in [
            (Field::TYPE, "type", &self.kind),
            (Field::URL, "url", &self.page),
            (Field::USER, "user", &self.user),
            (Field::SESSION, "session", &self.session),
        ] {
            if !text.is_empty() {
                value.extend_from_slice(format!(",\"{name}\":").as_bytes());
                let start = value.len();
                event::json::write_string(text.as_bytes(), &mut value);
                spans.push(Span { field, start: start as u32, len: (value.len() - start) as u32 });
            }
        }
        let amount = self.amount.map_or(String::new(), |a| format!(",\"amount\":{a}"));
        let campaign = match &self.campaign[..] {
            "" => String::new(),
            name => format!(",\"campaign\":{{\"source\":\"mail\",\"name\":\"{name}\"}}"),
        };
        value.extend_from_slice(
            format!(
                ",\"properties\":{{\"p\":{{\"enriched\":{{\"v\":1}}}}{amount}{}}},\"enriched\":{{\"v\":1,\"at\":\"x\"{campaign}{}}}}}",
                self.properties, self.enriched
            )
            .as_bytes(),
        );
        let mut flags = Flags::default();
        if self.future {
            flags.set(Flags::FUTURE);
        }
        let header = Header {
            flags,
            event_time: Micros(self.at),
            received_time: Micros(self.received),
            id_hash: self.id,
            type_hash: hash64(self.kind.as_bytes()),
            spans,
            ..Header::default()
        };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        (bytes, value)
    }
}

/// Something that came out.
#[derive(Clone, Debug)]
pub struct Said {
    pub id: u128,
    /// `None`: the event was late.
    pub kind: Option<Kind>,
    pub revision: u32,
    pub at: i64,
    pub log_time: i64,
    pub visitor: String,
    pub json: Vec<u8>,
}

impl Said {
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.json).expect("JSON")
    }
}

#[derive(Default)]
struct Heard {
    visitor: String,
    log_time: i64,
    all: Vec<Said>,
}

impl Sink for Heard {
    fn session(&mut self, id: u128, kind: Kind, revision: u32, at: Micros, json: &[u8]) {
        let (visitor, log_time) = (self.visitor.clone(), self.log_time);
        self.all.push(Said { id, kind: Some(kind), revision, at: at.0, log_time, visitor, json: json.to_vec() });
    }
    fn late(&mut self, json: &[u8]) {
        let (visitor, log_time) = (self.visitor.clone(), self.log_time);
        self.all.push(Said { id: 0, kind: None, revision: 0, at: 0, log_time, visitor, json: json.to_vec() });
    }
}

pub struct Drive {
    pub sessions: Sessions,
    pub clocks: Clocks,
    pub out_of_order: i64,
    /// State and timer.
    pub visitors: BTreeMap<String, (Vec<u8>, i64)>,
    heard: Heard,
    offset: u64,
}

impl Drive {
    pub fn new(sessions: Sessions, out_of_order: i64) -> Drive {
        Drive {
            sessions,
            clocks: Clocks { watermark: Micros::MIN, log_time: Micros::MIN, closing: false },
            out_of_order,
            visitors: BTreeMap::new(),
            heard: Heard::default(),
            offset: 0,
        }
    }

    /// Sends an event and moves the watermark after it, as the stage before would have it.
    pub fn send(&mut self, event: &Sent) {
        self.place(event);
        let counts = event.at.min(event.received);
        self.watermark(counts - self.out_of_order);
    }

    /// Sends an event and leaves the watermark where it is.
    pub fn place(&mut self, event: &Sent) {
        self.clocks.log_time = self.clocks.log_time.max(Micros(event.received));
        self.hear(&event.visitor);
        let (header, value) = event.record();
        let header = HeaderRef::new(&header).expect("a header");
        let at = Source { topic: 3, partition: 7, offset: self.offset };
        self.offset += 1;
        let state = self.visitors.get(&event.visitor).map(|v| v.0.as_slice());
        let next = self.sessions.apply(
            event.visitor.as_bytes(),
            state,
            &Event::new(header, &value, at),
            &self.clocks,
            &mut self.heard,
        );
        self.keep(event.visitor.clone(), next);
        self.due();
    }

    pub fn watermark(&mut self, to: i64) {
        self.clocks.watermark = self.clocks.watermark.max(Micros(to));
        self.due();
    }

    pub fn close(&mut self) {
        self.clocks.closing = true;
        self.due();
    }

    /// Calls `advance` out of turn: nothing may come of it.
    pub fn nudge(&mut self, visitor: &str) {
        let Some((state, timer)) = self.visitors.get(visitor).cloned() else { return };
        self.hear(visitor);
        let before = self.heard.all.len();
        let next = self.sessions.advance(visitor.as_bytes(), &state, &self.clocks, &mut self.heard);
        assert_eq!(self.heard.all.len(), before, "advance before its time said something");
        assert_eq!((next.value, next.timer), (Some(state), Some(Micros(timer))), "advance before its time changed it");
    }

    pub fn take(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.heard.all)
    }

    pub fn show(&self, visitor: &str) -> Value {
        let mut out = Vec::new();
        self.sessions.show(visitor.as_bytes(), &self.visitors[visitor].0, &self.clocks, &mut out);
        serde_json::from_slice(&out).expect("JSON")
    }

    fn due(&mut self) {
        loop {
            let due = |(_, (_, timer)): &(&String, &(Vec<u8>, i64))| {
                self.clocks.closing || Micros(*timer) <= self.clocks.watermark
            };
            let Some(visitor) = self.visitors.iter().filter(due).min_by_key(|v| v.1.1).map(|v| v.0.clone()) else {
                return;
            };
            let (state, timer) = self.visitors.remove(&visitor).expect("it was found");
            self.hear(&visitor);
            let next = self.sessions.advance(visitor.as_bytes(), &state, &self.clocks, &mut self.heard);
            assert!(next.timer.is_none_or(|t| t > Micros(timer)), "a timer that stays where it is fires for ever");
            self.keep(visitor, next);
        }
    }

    fn hear(&mut self, visitor: &str) {
        self.heard.visitor = visitor.to_owned();
        self.heard.log_time = self.clocks.log_time.0;
    }

    fn keep(&mut self, visitor: String, next: ouzel_session::Next) {
        match (next.value, next.timer) {
            (Some(state), Some(timer)) => {
                self.visitors.insert(visitor, (state, timer.0));
            }
            (None, None) => {
                self.visitors.remove(&visitor);
            }
            other => panic!("a value and a timer go together: {other:?}"),
        }
    }
}

/// Chance from a seed (xorshift64*).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub fn below(&mut self, n: i64) -> i64 {
        (self.next() % n.max(1) as u64) as i64
    }

    pub fn one_in(&mut self, n: i64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len() as i64) as usize]
    }
}
