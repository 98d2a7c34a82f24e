//! `[sessions]` and `[state]`.

use session::{Preset, SessionsConfig};

use super::model::{Config, Sessions, State};
use super::problem::{Found, ProblemKind};
use super::read::{At, Reader};

const DEFAULT: &str = "the key has a default";

pub(super) fn read(r: &mut Reader, at: &At<'_>) -> Sessions {
    let preset = r.word(at, "preset").and_then(|name| Preset::named(&name)).unwrap_or_default();
    let mut rules = SessionsConfig::preset(preset);
    let enabled = r.switch(at, "enabled").expect(DEFAULT);
    let us = |r: &mut Reader, name: &str| r.duration(at, name).map(|d| d.as_micros() as i64);
    rules.gap_us = us(r, "gap").expect(DEFAULT);
    rules.max_length_us = us(r, "max_length").or(rules.max_length_us);
    rules.max_events = r.count(at, "max_events").map(|n| n as u32).or(rules.max_events);
    rules.midnight = r.text(at, "midnight").or(rules.midnight);
    rules.campaign_change = r.switch(at, "campaign_change").unwrap_or(rules.campaign_change);
    rules.split_on_user_change = r.switch(at, "user_change").expect(DEFAULT);
    rules.start_events = r.texts(at, "start_events").unwrap_or_default();
    rules.end_events = r.texts(at, "end_events").unwrap_or_default();
    if let Some(types) = r.texts(at, "key_events") {
        rules.types.key_events = types;
    }
    rules.allowed_lateness_us = us(r, "allowed_lateness").expect(DEFAULT);
    rules.update_every_us = us(r, "update_every").expect(DEFAULT);
    rules.buffer = r.count(at, "buffer").expect(DEFAULT) as usize;
    rules.remember_us = us(r, "remember").expect(DEFAULT);
    let links = r.size(at, "links").expect(DEFAULT);
    if let Err(e) = rules.build() {
        // The one thing that the kinds of the keys do not say: whether there is such a zone.
        r.found.push(Found::new(ProblemKind::BadValue, at.spot_of("midnight").or(at.spot), e.to_string()));
        rules.midnight = None;
    }
    Sessions { enabled, rules, links }
}

pub(super) fn state(r: &mut Reader, at: &At<'_>) -> State {
    State {
        snapshot_every: r.duration(at, "snapshot_every").expect(DEFAULT),
        memory: r.size(at, "memory").expect(DEFAULT),
    }
}

impl Config {
    /// The rules of sessions, with what they need to know of the rest.
    pub fn session_rules(&self) -> SessionsConfig {
        SessionsConfig { member: self.enrich.member.clone(), ..self.sessions.rules.clone() }
    }
}
