//! `[sessions]` and `[state]`.

use session::{Preset, SessionsConfig};

use super::model::{Bucket, Config, Sessions, State, Store};
use super::problem::{Found, ProblemKind};
use super::read::{At, Reader, S3};
use super::remote::Named;

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

pub(super) fn state(r: &mut Reader, at: &At<'_>, named: Named<'_>) -> State {
    State {
        snapshot_every: r.duration(at, "snapshot_every").expect(DEFAULT),
        memory: r.size(at, "memory").expect(DEFAULT),
        store: store(r, at, named),
    }
}

fn store(r: &mut Reader, at: &At<'_>, mut named: Named<'_>) -> Option<Store> {
    let place = r.store(at, "store");
    let (endpoint, region) = (r.text(at, "endpoint"), r.text(at, "region"));
    let path_style = r.switch(at, "path_style");
    let mut secret = |r: &mut Reader, key: &'static str, name: &str| {
        let secret = r.secret(at, name)?;
        named.secret(key, &secret, at, name, None);
        Some(secret)
    };
    let id = secret(r, "state.access_key", "access_key");
    let key = secret(r, "state.secret_key", "secret_key");
    let is_bucket = place.as_deref().is_some_and(|place| place.starts_with(S3));
    for name in ["endpoint", "region", "path_style", "access_key", "secret_key"] {
        if at.member(name).is_some() && !is_bucket {
            let message = format!("`state.{name}` is for object storage, and `state.store` names none");
            let found = Found::new(ProblemKind::Conflict, at.key_spot(name), message);
            r.found.push(found.help("for example: store = \"s3://snapshots/ouzel\""));
        }
    }
    for (given, other, name) in [(&id, &key, "access_key"), (&key, &id, "secret_key")] {
        if is_bucket && given.is_some() && other.is_none() {
            let message = "`state.access_key` and `state.secret_key` go together, and one is missing";
            r.found.push(Found::new(ProblemKind::Conflict, at.key_spot(name), message));
        }
    }
    let place = place?;
    if !is_bucket {
        return Some(Store::Directory(place.into()));
    }
    let bucket = Bucket { url: place, endpoint, region, path_style, keys: id.zip(key) };
    if let Err(e) = bucket.place().build() {
        let name = if matches!(e, state::PlaceError::Endpoint { .. }) { "endpoint" } else { "store" };
        let message = format!("`state.{name}` cannot be used: {e}");
        r.found.push(Found::new(ProblemKind::BadValue, at.spot_of(name), message));
    }
    Some(Store::Bucket(Box::new(bucket)))
}

impl Config {
    /// The rules of sessions, with what they need to know of the rest.
    pub fn session_rules(&self) -> SessionsConfig {
        SessionsConfig { member: self.enrich.member.clone(), ..self.sessions.rules.clone() }
    }
}
