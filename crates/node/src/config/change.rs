//! What a change of the configuration costs: a rule for every key, and two configurations compared by them.
//!
//! The configuration is read at the start. So nothing of this holds before a restart, and a restart alone loses nothing:
//! what is told here is what it costs beside.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::effective::{Effective, EffectiveTable, Holding, Origin};
use super::json_schema::value_of;
use super::schema::{Absent, Kind};
use super::units;
use crate::paragraph::{WIDTH, wrap};

/// What a change costs, from nothing to most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cost {
    /// Nothing: nobody but the process itself notices.
    Free,
    /// Senders or readers notice once it has been restarted.
    Restart,
    /// What comes from then on is different; what is stored stays as it is.
    FromNowOn,
    /// Stored records are removed.
    DeletesData,
    /// It is not done in place: another directory is needed, or is meant.
    NewDirectory,
}

impl Cost {
    pub const ALL: [Cost; 5] = [Cost::NewDirectory, Cost::DeletesData, Cost::FromNowOn, Cost::Restart, Cost::Free];

    /// For machines.
    pub fn name(self) -> &'static str {
        match self {
            Cost::Free => "free",
            Cost::Restart => "restart",
            Cost::FromNowOn => "from_now_on",
            Cost::DeletesData => "deletes_data",
            Cost::NewDirectory => "new_directory",
        }
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Cost::Free => "costs nothing",
            Cost::Restart => "senders and readers notice",
            Cost::FromNowOn => "holds for events from then on",
            Cost::DeletesData => "removes stored records",
            Cost::NewDirectory => "needs another directory",
        }
    }
}

/// What it costs to change a key, and why in one sentence, with `{old}` and `{new}` for the values.
pub type Said = (Cost, &'static str);

/// The rule of one key.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Of the schema; a list (`lookup[]`) for elements that come and go: raised is added, lowered is removed.
    pub path: &'static str,
    /// When its value grows; for values without an order when it changes at all.
    pub raised: Said,
    pub lowered: Said,
}

const fn any(path: &'static str, said: Said) -> Rule {
    Rule { path, raised: said, lowered: said }
}

const fn either(path: &'static str, raised: Said, lowered: Said) -> Rule {
    Rule { path, raised, lowered }
}

use Cost::{DeletesData, Free, FromNowOn, NewDirectory, Restart};

/// For places and lists that enrichers read.
const REFERENCE: Said = (FromNowOn, "events that are enriched already stay as they are");
const REQUIRED: Said = (Restart, "it decides whether a missing or bad file stops the start");
const LONGER: Said = (Free, "kept longer from now on; what is gone does not come back");
const SLOWER: Said = (Free, "slower callers are waited for");
const CUT_OFF: Said = (Restart, "slower callers are cut off");
const LOOKUP: Said = (FromNowOn, "events that are enriched already keep what was looked up before");
const LOGIN: Said = (FromNowOn, "the source is asked as somebody else, or in another way");
const LOAD: Said = (Free, "it decides how the source is asked, not what comes of it");
const FRESH: Said = (FromNowOn, "it decides how old a fact may be");
const BREAKER: Said = (FromNowOn, "it decides when a source that is unwell is left alone");
const SHARED: Said = (Free, "it decides what of other processes' answers is used; sources are asked for the rest");
const WAITS: &str = "keys may wait longer for the source, and time out sooner";

/// One for each key of the schema and each list, in its order.
pub static RULES: &[Rule] = &[
    any("version", (Free, "it is the form of the file, not what is in it")),
    any(
        "data.dir",
        (
            NewDirectory,
            "another directory is opened, as it is: what the old one holds stays there, ids it knows are not told as duplicates, and files are read from their beginning",
        ),
    ),
    any(
        "data.durability",
        (FromNowOn, "\"fsync\" promises that acknowledged events survive a power cut, \"os\" does not"),
    ),
    any(
        "data.partitions",
        (
            NewDirectory,
            "refused in place: the number is fixed when the directory is made. Name a new one (`data.dir`); the old one can still be read with --data",
        ),
    ),
    either("data.keep.raw", LONGER, (DeletesData, "records of `raw` older than {new} are removed")),
    either("data.keep.enriched", LONGER, (DeletesData, "records of `enriched` older than {new} are removed")),
    either("data.keep.dlq", LONGER, (DeletesData, "dead letters older than {new} are removed")),
    either("data.keep.sessions", LONGER, (DeletesData, "records of `sessions` older than {new} are removed")),
    either("data.keep.late", LONGER, (DeletesData, "records of `late` older than {new} are removed")),
    either(
        "data.max_bytes",
        (Free, "more is kept from now on"),
        (DeletesData, "of a topic with more than {new} the oldest records are removed"),
    ),
    any("data.min_free", (Restart, "events are refused (503) when less of the disk is free than that")),
    any("data.segment", (Free, "files of the journal that are begun from now on have the new size")),
    any("data.cache", (Free, "it is memory of the process")),
    any(
        "kafka.brokers",
        (
            NewDirectory,
            "another log is read and written: what the old one holds stays there, and ids that it knows are not told as duplicates",
        ),
    ),
    any(
        "kafka.prefix",
        (NewDirectory, "other topics are read and written, and other groups work on them: they begin anew"),
    ),
    any("kafka.replication", (Free, "topics that are there keep their copies; it holds for those that are made")),
    either(
        "kafka.commit_age",
        (Free, "readers see events later, and the brokers have less to do"),
        (Free, "readers see events sooner, and the brokers have more to do"),
    ),
    any("kafka.session_timeout", (Free, "it decides how soon the partitions of a worker that died go to others")),
    any("kafka.transaction_timeout", (Free, "it decides how long readers wait for a worker that died")),
    any("kafka.properties", (Restart, "it decides how the brokers are spoken with")),
    any("http.listen", (Restart, "senders and readers have to use the new address")),
    either("http.connections", (Free, "more callers at once"), (Restart, "callers above it wait")),
    either(
        "http.connections_per_address",
        (Free, "more connections at once from one address"),
        (Restart, "connections above it are closed"),
    ),
    either("http.header_timeout", SLOWER, CUT_OFF),
    either("http.idle_timeout", SLOWER, (Restart, "connections that are silent for longer are closed")),
    either("http.min_body_rate", CUT_OFF, SLOWER),
    either("http.batch", (Free, "larger bodies are taken"), (Restart, "larger bodies are refused (413)")),
    either("http.in_flight", (Free, "more is taken in at once"), (Restart, "callers get 503 sooner")),
    either(
        "limits.event",
        (FromNowOn, "larger events are taken, and readers get them"),
        (FromNowOn, "events above {new} are refused, and copied to `dlq`"),
    ),
    either(
        "limits.depth",
        (FromNowOn, "events with deeper nesting are taken"),
        (FromNowOn, "events with deeper nesting are refused, and copied to `dlq`"),
    ),
    either(
        "limits.members",
        (FromNowOn, "events with more members are taken"),
        (FromNowOn, "events with more members are refused, and copied to `dlq`"),
    ),
    either(
        "source[]",
        (
            Restart,
            "its events are taken in. Ids are unique within a source: what came under another name before is not told as a duplicate",
        ),
        (Restart, "no more events come in by it; those that are stored stay"),
    ),
    any("source[].name", (Restart, "it is another source: ids are unique within a source")),
    any("source[].kind", (Restart, "its events come in another way")),
    any("source[].path", (Restart, "the new file is read from its beginning, unless it is one that was read before")),
    any("source[].topic", (Restart, "the new topic is read from `from`, unless this source has read it before")),
    any("source[].from", (Restart, "it counts for a topic that was never read")),
    any("source[].follow", (Restart, "it decides whether the run waits for more at the end of the file")),
    any(
        "source[].preset",
        (FromNowOn, "its events are read in another form; fields that are found elsewhere are told beside"),
    ),
    any(
        "source[].client_address",
        (
            FromNowOn,
            "events without an address and user agent get others, and so does the visitor of those without one",
        ),
    ),
    any("source[].clock", (FromNowOn, "event times are corrected in another way")),
    any("source[].map", (FromNowOn, "the field is taken from elsewhere")),
    any("geo.database", REFERENCE),
    any("geo.required", REQUIRED),
    any("network.asn", REFERENCE),
    any("network.hosting", REFERENCE),
    any("network.proxy", REFERENCE),
    any("network.vpn", REFERENCE),
    any("network.tor", REFERENCE),
    any("network.mobile", REFERENCE),
    any("network.satellite", REFERENCE),
    any("network.hostile", REFERENCE),
    any("network.anycast", REFERENCE),
    any("device.rules", REFERENCE),
    any("bot.crawlers", REFERENCE),
    any("referrer.file", REFERENCE),
    any("referrer.internal", REFERENCE),
    any("campaign.source", REFERENCE),
    any("campaign.medium", REFERENCE),
    any("campaign.name", REFERENCE),
    any("campaign.term", REFERENCE),
    any("campaign.content", REFERENCE),
    any("campaign.click_ids", REFERENCE),
    either(
        "lookup[]",
        (FromNowOn, "events that are enriched already do not get it"),
        (FromNowOn, "events that are enriched already keep it"),
    ),
    any("lookup[].name", (FromNowOn, "it is another lookup")),
    any("lookup[].kind", LOOKUP),
    any("lookup[].path", LOOKUP),
    any("lookup[].url", LOOKUP),
    any("lookup[].user", LOGIN),
    any("lookup[].password", LOGIN),
    any("lookup[].tls", LOGIN),
    any("lookup[].ca", LOGIN),
    any("lookup[].query", LOOKUP),
    any("lookup[].template", LOOKUP),
    any("lookup[].value", LOOKUP),
    any("lookup[].body", LOOKUP),
    any("lookup[].answer", LOOKUP),
    any("lookup[].at", LOOKUP),
    any("lookup[].headers", LOOKUP),
    any("lookup[].bearer", LOGIN),
    any("lookup[].allow_private", (FromNowOn, "it decides whether hosts with private addresses are asked")),
    any("lookup[].key", LOOKUP),
    any("lookup[].when", LOOKUP),
    any("lookup[].format", LOOKUP),
    any("lookup[].key_column", LOOKUP),
    any("lookup[].key_columns", LOOKUP),
    any("lookup[].columns", LOOKUP),
    any("lookup[].on_many", LOOKUP),
    any("lookup[].required", REQUIRED),
    either(
        "lookup[].pool",
        (Free, "the source gets more connections"),
        (FromNowOn, "keys may wait longer for a connection, and time out sooner"),
    ),
    any("lookup[].connect_timeout", LOAD),
    either("lookup[].in_flight", (Free, "the source gets more calls at once"), (FromNowOn, WAITS)),
    either(
        "lookup[].queue",
        (Free, "more may wait for the source"),
        (FromNowOn, "more is refused while the source is slow"),
    ),
    either("lookup[].rate", (Free, "the source gets more calls"), (FromNowOn, WAITS)),
    either("lookup[].burst", (Free, "the source gets more calls at once"), (FromNowOn, WAITS)),
    any("lookup[].bulk", LOAD),
    any("lookup[].bulk_wait", LOAD),
    either(
        "lookup[].attempts",
        (Free, "a source that fails gets more calls"),
        (FromNowOn, "a lookup fails by what might have passed"),
    ),
    any("lookup[].back_off", LOAD),
    any("lookup[].late", LOAD),
    any("lookup[].shared", (Free, "it decides how often the source is asked")),
    either(
        "lookup[].cache.size",
        (Free, "it is memory of the process"),
        (Free, "less is remembered, and the source is asked more often"),
    ),
    any("lookup[].cache.ttl", FRESH),
    any("lookup[].cache.ttl_missing", FRESH),
    any("lookup[].cache.ttl_error", FRESH),
    any("lookup[].cache.max_stale", FRESH),
    any("lookup[].breaker.window", BREAKER),
    any("lookup[].breaker.calls", BREAKER),
    any("lookup[].breaker.failures", BREAKER),
    any("lookup[].breaker.slow", BREAKER),
    any("lookup[].breaker.slow_calls", BREAKER),
    any("lookup[].breaker.open", BREAKER),
    any("lookup[].breaker.probes", BREAKER),
    any("cache.warm", (Free, "it decides what a process knows when it starts")),
    any("cache.shared.kind", SHARED),
    any("cache.shared.url", SHARED),
    any("cache.shared.user", SHARED),
    any("cache.shared.password", SHARED),
    any("cache.shared.ca", SHARED),
    any("cache.shared.pool", SHARED),
    any("cache.shared.connect_timeout", SHARED),
    any("cache.shared.timeout", SHARED),
    any("cache.shared.lease", SHARED),
    any("cache.shared.look", SHARED),
    any(
        "assets.dir",
        (
            FromNowOn,
            "what is not configured is taken from the files that are there; events that are enriched already stay as they are",
        ),
    ),
    any("assets.use", REFERENCE),
    either(
        "enrich.deadline",
        (FromNowOn, "fewer lookups time out, and events wait longer for those that are slow"),
        (FromNowOn, "events wait less, and more lookups time out"),
    ),
    any("enrich.status", REFERENCE),
    any(
        "enrich.member",
        (
            FromNowOn,
            "readers have to look for both names until the old events are gone; events that bring a member of the new name are refused",
        ),
    ),
    any("enrich.max_future", (FromNowOn, "it decides which events are flagged `future`")),
    any("enrich.reload", (Free, "it is how often files are looked at")),
    any("enrich.workers", (Free, "it is threads of the process")),
    either(
        "dedup.memory",
        (Free, "duplicates are told over a longer time, as new ids come"),
        (FromNowOn, "duplicates are told over a shorter time: an old event that is sent again may count twice"),
    ),
    either(
        "dedup.disk",
        (Free, "duplicates are told over a longer time, as new ids come"),
        (FromNowOn, "duplicates are told over a shorter time: an old event that is sent again may count twice"),
    ),
    either(
        "dedup.horizon",
        (Free, "duplicates are told over a longer time; the next start may read more of raw"),
        (FromNowOn, "duplicates are told over a shorter time: an old event that is sent again may count twice"),
    ),
    any("time.out_of_order", (FromNowOn, "it decides which events are late")),
    any("time.idle_after", (FromNowOn, "it decides how soon the sessions of a quiet stream end")),
    any("sessions.enabled", (FromNowOn, "sessions are made, or are no more")),
    any("sessions.preset", SESSIONS),
    any("sessions.gap", SESSIONS),
    any("sessions.max_length", SESSIONS),
    any("sessions.max_events", SESSIONS),
    any("sessions.midnight", SESSIONS),
    any("sessions.campaign_change", SESSIONS),
    any("sessions.user_change", SESSIONS),
    any("sessions.start_events", SESSIONS),
    any("sessions.end_events", SESSIONS),
    any("sessions.key_events", SESSIONS),
    any("sessions.allowed_lateness", SESSIONS),
    any("sessions.update_every", SESSIONS),
    any("sessions.buffer", SESSIONS),
    any("sessions.remember", SESSIONS),
    any("sessions.links", (Free, "it is memory for who was last seen with which user")),
    any("state.snapshot_every", (Free, "it is how much is read again after a crash")),
    any("state.memory", (Free, "it is a bound of memory")),
    any("state.store", STORE),
    any("state.endpoint", STORE),
    any("state.region", STORE),
    any("state.path_style", STORE),
    any("state.access_key", (Free, "it decides who asks for snapshots")),
    any("state.secret_key", (Free, "it decides who asks for snapshots")),
];

const STORE: Said = (
    FromNowOn,
    "snapshots are looked for elsewhere: copy those that are there first, or state is made again from the beginning of its topic, where that is still kept",
);

const SESSIONS: Said = (
    FromNowOn,
    "sessions are made by other rules; a run that crashed must first be started and stopped with the old ones, since its state is rebuilt by them",
);

/// What is said of the fields of the envelope that other things hang on, instead of the rule of `source[].map`.
const FIELDS: &[(&str, &str)] = &[
    ("id", "ids may be different: an event that came before and is sent again is not told as a duplicate"),
    ("visitor", "events are keyed by another visitor: those of one visitor may be in two partitions, before and after"),
    ("user", "it names the visitor of events that have no other: those of one visitor may be in two partitions"),
    ("ip", "what is known of an address changes, and the visitor of events that have no other"),
    ("user_agent", "what is known of a device changes, and the visitor of events that have no other"),
    ("time", "event times may be different, and with them what is late"),
    ("sent_at", "event times may be corrected in another way"),
];

/// The rule of a key, or of a list.
pub fn rule(path: &str) -> Option<&'static Rule> {
    RULES.iter().find(|r| r.path == path)
}

/// One difference between two configurations.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// As `--set` takes it, or `lookup.company` for one that came or went.
    pub key: String,
    /// As TOML; `None`: not there, or not set.
    pub old: Option<String>,
    pub new: Option<String>,
    pub kind: ChangeKind,
    pub cost: Cost,
    /// One sentence.
    pub why: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeKind {
    Added,
    Removed,
    Changed,
}

/// What is different, in the order of the schema. `version` is none: both are read.
pub fn compare(old: &Effective, new: &Effective) -> Vec<Change> {
    let mut changes = Vec::new();
    for table in old.tables.iter().filter(|t| t.element.is_none()) {
        let same = |t: &&EffectiveTable| t.section == table.section && t.element.is_none();
        if let Some(other) = new.tables.iter().find(same) {
            values(table, other, &mut changes);
        }
    }
    // A table within an element that the other has not is of another kind, which is told.
    for table in old.tables.iter().filter(|t| t.element.is_some()) {
        match twin(table, new) {
            Some(other) => values(table, other, &mut changes),
            None if table.section.ends_with("[]") => changes.push(element(table, ChangeKind::Removed)),
            None => {}
        }
    }
    let is_new = |t: &&EffectiveTable| t.section.ends_with("[]") && twin(t, old).is_none();
    for table in new.tables.iter().filter(is_new) {
        changes.push(element(table, ChangeKind::Added));
    }
    let order = |c: &Change| RULES.iter().position(|r| r.path == schema_path(&c.key)).unwrap_or(usize::MAX);
    changes.sort_by_key(order);
    changes
}

/// For people: by cost, the greatest first. Ends with a newline.
pub fn human(changes: &[Change], old: &str, new: &str) -> String {
    if changes.is_empty() {
        return format!("nothing changes between {old} and {new}\n");
    }
    let mut out = String::new();
    let mut line = |indent: usize, text: &str| {
        const FURTHER: usize = 4;
        for (n, line) in wrap(text, WIDTH - indent - FURTHER).into_iter().enumerate() {
            let indent = if n == 0 { indent } else { indent + FURTHER };
            let _ = writeln!(out, "{:indent$}{line}", "");
        }
    };
    line(0, &format!("from {old} to {new}, once it is started again:"));
    for cost in Cost::ALL {
        let mut of_cost = changes.iter().filter(|c| c.cost == cost).peekable();
        if of_cost.peek().is_some() {
            line(0, "");
            line(0, cost.words());
        }
        for change in of_cost {
            let show = |v: &Option<String>| v.clone().unwrap_or_else(|| "not set".into());
            match change.kind {
                ChangeKind::Added => line(2, &format!("+ {}", change.key)),
                ChangeKind::Removed => line(2, &format!("- {}", change.key)),
                ChangeKind::Changed => {
                    line(2, &format!("~ {}: {} -> {}", change.key, show(&change.old), show(&change.new)));
                }
            }
            line(6, &change.why);
        }
    }
    out
}

/// For machines: one object, `{"old", "new", "cost", "changes": [{"key", "change", "old", "new", "cost", "why"}]}`. The cost
/// is the greatest of all; null: nothing changes.
pub fn json(changes: &[Change], old: &str, new: &str) -> Value {
    let value = |v: &Option<String>| v.as_deref().and_then(value_of);
    let change = |c: &Change| {
        let kind = match c.kind {
            ChangeKind::Added => "added",
            ChangeKind::Removed => "removed",
            ChangeKind::Changed => "changed",
        };
        json!({"key": c.key, "change": kind, "old": value(&c.old), "new": value(&c.new), "cost": c.cost.name(), "why": c.why})
    };
    json!({
        "old": old,
        "new": new,
        "cost": changes.iter().map(|c| c.cost).max().map(Cost::name),
        "changes": changes.iter().map(change).collect::<Vec<_>>(),
    })
}

fn twin<'e>(table: &EffectiveTable, of: &'e Effective) -> Option<&'e EffectiveTable> {
    of.tables.iter().find(|t| t.section == table.section && t.element == table.element)
}

fn element(table: &EffectiveTable, kind: ChangeKind) -> Change {
    let list = table.section.trim_end_matches("[]");
    let key = format!("{list}.{}", table.element.as_deref().unwrap_or_default());
    let rule = rule(table.section).expect("every list has a rule");
    let (cost, why) = if kind == ChangeKind::Added { rule.raised } else { rule.lowered };
    Change { key, old: None, new: None, kind, cost, why: why.into() }
}

fn values(old: &EffectiveTable, new: &EffectiveTable, changes: &mut Vec<Change>) {
    let same = |a: &Holding, b: &Holding| a.path == b.path;
    for holding in &old.values {
        match new.values.iter().find(|n| same(holding, n)) {
            // What stands for a kind that it does not go with says nothing, before or after.
            Some(other) if other.value != holding.value && !beside_its_kind(holding, other) => {
                changes.extend(changed(holding, holding.value.as_deref(), other.value.as_deref()));
            }
            Some(_) => {}
            None => changes.extend(changed(holding, holding.value.as_deref(), None)),
        }
    }
    for holding in new.values.iter().filter(|n| !old.values.iter().any(|o| same(o, n))) {
        changes.extend(changed(holding, None, holding.value.as_deref()));
    }
}

fn beside_its_kind(a: &Holding, b: &Holding) -> bool {
    let other = |h: &Holding| matches!(h.origin, Origin::OtherKinds(_)) || h.origin == Origin::Default;
    let by_kind = |h: &Holding| matches!(h.origin, Origin::OtherKinds(_));
    (by_kind(a) && other(b)) || (by_kind(b) && other(a))
}

fn changed(holding: &Holding, old: Option<&str>, new: Option<&str>) -> Option<Change> {
    if holding.key.kind == Kind::Version {
        return None;
    }
    let rule = rule(holding.key.path).expect("every key has a rule");
    let lowered = matches!((number(holding.key.kind, old), number(holding.key.kind, new)), (Some(o), Some(n)) if n < o);
    let (cost, why) = if lowered { rule.lowered } else { rule.raised };
    let why = match FIELDS.iter().find(|(field, _)| Some(*field) == holding.field.as_deref()) {
        Some((_, why)) => why,
        None => why,
    };
    let absent = match holding.key.absent {
        Absent::Means(words) => words,
        _ => "not set",
    };
    let plain = |v: Option<&str>| v.map_or(absent, |v| v.trim_matches('"')).to_owned();
    let why = why.replace("{old}", &plain(old)).replace("{new}", &plain(new));
    let owned = |v: Option<&str>| v.map(str::to_owned);
    Some(Change { key: holding.path.clone(), old: owned(old), new: owned(new), kind: ChangeKind::Changed, cost, why })
}

/// For values that have an order: what they are compared by.
fn number(kind: Kind, value: Option<&str>) -> Option<u128> {
    let text = value?.trim_matches('"');
    match kind {
        Kind::Count { .. } => text.parse().ok(),
        Kind::Duration { .. } => units::duration(text).ok().map(|d| d.as_micros()),
        Kind::Size { .. } => units::size(text).ok().map(u128::from),
        _ => None,
    }
}

/// `source.web.map.id` -> `source[].map`, `lookup.company` -> `lookup[]`, `lookup.user.cache.ttl` -> `lookup[].cache.ttl`.
fn schema_path(key: &str) -> String {
    let mut parts = key.split('.');
    let first = parts.next().unwrap_or_default();
    let list = format!("{first}[]");
    if rule(&list).is_none() {
        return key.to_owned();
    }
    let Some(name) = parts.nth(1) else { return list };
    match parts.next().map(|inner| format!("{list}.{name}.{inner}")) {
        Some(inner) if rule(&inner).is_some() => inner,
        _ => format!("{list}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::{KEYS, SECTIONS};
    use super::super::{Config, LoadArgs};
    use super::*;

    /// A new key has no rule until somebody has thought about what it costs to change it.
    #[test]
    fn every_key_has_its_rule() {
        let lists = SECTIONS.iter().map(|s| s.path).filter(|p| p.ends_with("[]"));
        let wanted: Vec<&str> = KEYS.iter().map(|k| k.path).chain(lists).collect();
        for path in &wanted {
            let count = RULES.iter().filter(|r| r.path == *path).count();
            assert_eq!(count, 1, "RULES has {path} {count} times: what does it cost to change it?");
        }
        for rule in RULES {
            assert!(wanted.contains(&rule.path), "there is no key {}", rule.path);
            for (_, why) in [rule.raised, rule.lowered] {
                assert!(!why.is_empty() && !why.ends_with('.'), "{}: {why}", rule.path);
            }
        }
    }

    #[test]
    fn what_deletes_or_is_refused_is_told_so() {
        let deletes = |r: &&Rule| r.lowered.0 == DeletesData;
        let deleting: Vec<&str> = RULES.iter().filter(deletes).map(|r| r.path).collect();
        assert_eq!(
            deleting,
            [
                "data.keep.raw",
                "data.keep.enriched",
                "data.keep.dlq",
                "data.keep.sessions",
                "data.keep.late",
                "data.max_bytes"
            ]
        );
        let elsewhere: Vec<&str> = RULES.iter().filter(|r| r.raised.0 == NewDirectory).map(|r| r.path).collect();
        assert_eq!(elsewhere, ["data.dir", "data.partitions", "kafka.brokers", "kafka.prefix"]);
    }

    fn holds(file: &str) -> Effective {
        let file = format!("version = 1\n{file}");
        Config::explain_with(&LoadArgs::default(), |_| Ok(file)).unwrap_or_else(|e| panic!("{e}")).1
    }

    #[test]
    fn a_change_has_its_cost() {
        const WEB: &str = "[[source]]\nname = \"web\"\nkind = \"http\"\n";
        const PLAN: &str = "[[lookup]]\nname = \"plan\"\nkind = \"mmdb\"\npath = \"a\"\n";
        let web = |more: &str| format!("{WEB}{more}");
        let plan = |more: &str| format!("{PLAN}{more}");
        for (old, new, expected) in [
            ("", "", &[][..]),
            ("data.partitions = 8", "", &[]),
            ("[data]\nkeep.raw = \"24h\"", "[data]\nkeep.raw = \"1d\"", &[]),
            ("", "data.partitions = 4", &[("data.partitions", NewDirectory, "refused in place")]),
            ("", "data.partitions = 16", &[("data.partitions", NewDirectory, "refused in place")]),
            ("", "data.dir = \"d\"", &[("data.dir", NewDirectory, "another directory")]),
            ("", "data.keep.raw = \"1d\"", &[("data.keep.raw", DeletesData, "older than 1d are removed")]),
            ("", "data.keep.raw = \"8d\"", &[("data.keep.raw", Free, "kept longer")]),
            ("", "data.max_bytes = \"900MiB\"", &[("data.max_bytes", DeletesData, "more than 900MiB")]),
            ("", "data.max_bytes = \"1TiB\"", &[("data.max_bytes", Free, "more is kept")]),
            ("", "dedup.memory = \"1MiB\"", &[("dedup.memory", FromNowOn, "shorter time")]),
            ("", "dedup.memory = \"1GiB\"", &[("dedup.memory", Free, "longer time")]),
            ("", "dedup.disk = \"1GiB\"", &[("dedup.disk", FromNowOn, "shorter time")]),
            ("", "dedup.disk = \"8GiB\"", &[("dedup.disk", Free, "longer time")]),
            ("", "dedup.horizon = \"10m\"", &[("dedup.horizon", FromNowOn, "shorter time")]),
            ("", "dedup.horizon = \"2h\"", &[("dedup.horizon", Free, "longer time")]),
            ("", "limits.event = \"512B\"", &[("limits.event", FromNowOn, "above 512B are refused")]),
            ("", "http.listen = \"127.0.0.1:1\"", &[("http.listen", Restart, "new address")]),
            ("", "geo.database = \"a\"", &[("geo.database", FromNowOn, "stay as they are")]),
            ("", PLAN, &[("lookup.plan", FromNowOn, "do not get it")]),
            (PLAN, "", &[("lookup.plan", FromNowOn, "keep it")]),
            (PLAN, &plan("when = \"event.user != null\""), &[("lookup.plan.when", FromNowOn, "looked up before")]),
            (PLAN, &plan("key = \"event.ip\""), &[]),
            (
                &web("map.id = \"/a\""),
                &web("map.id = \"/b\""),
                &[("source.web.map.id", FromNowOn, "not told as a duplicate")],
            ),
            (WEB, &web("map.plan = \"/b\""), &[("source.web.map.plan", FromNowOn, "taken from elsewhere")]),
            (WEB, &web("map.visitor = \"/b\""), &[("source.web.map.visitor", FromNowOn, "two partitions")]),
            (WEB, &web("client_address = \"connection\""), &[]),
            (
                WEB,
                &WEB.replace("web", "shop"),
                &[("source.web", Restart, "no more events"), ("source.shop", Restart, "not told as a duplicate")],
            ),
        ] {
            let changes = compare(&holds(old), &holds(new));
            let found: Vec<_> = changes.iter().map(|c| (c.key.as_str(), c.cost)).collect();
            let wanted: Vec<_> = expected.iter().map(|(key, cost, _)| (*key, *cost)).collect();
            assert_eq!(found, wanted, "{old} -> {new}");
            for (change, (.., why)) in changes.iter().zip(expected) {
                assert!(change.why.contains(why), "{}: {}", change.key, change.why);
            }
        }
    }

    /// Another preset moves fields; each is told with what hangs on it.
    #[test]
    fn another_preset_tells_the_fields() {
        let source = |preset: &str| format!("[[source]]\nname = \"w\"\nkind = \"http\"\npreset = \"{preset}\"\n");
        let changes = compare(&holds(&source("segment")), &holds(&source("ouzel")));
        let keys: Vec<&str> = changes.iter().map(|c| c.key.as_str()).collect();
        assert_eq!(keys[..2], ["source.w.preset", "source.w.map.id"]);
        let session = changes.iter().find(|c| c.key == "source.w.map.session").expect("only one of them has it");
        assert_eq!((session.old.as_deref(), session.new.as_deref()), (None, Some("\"/session\"")));
    }

    #[test]
    fn people_and_machines_are_told_the_same() {
        let (old, new) = (holds(""), holds("data.keep.raw = \"1d\"\ndata.partitions = 4\nhttp.batch = \"2MiB\""));
        let changes = compare(&old, &new);
        let said = human(&changes, "old.toml", "new.toml");
        assert_eq!(
            said,
            "from old.toml to new.toml, once it is started again:\n\
             \nneeds another directory\n  ~ data.partitions: 8 -> 4\n      refused in place: the number is fixed when the \
             directory is made. Name a new one\n          (`data.dir`); the old one can still be read with --data\n\
             \nremoves stored records\n  ~ data.keep.raw: \"7d\" -> \"1d\"\n      records of `raw` older than 1d are removed\n\
             \ncosts nothing\n  ~ http.batch: \"1MiB\" -> \"2MiB\"\n      larger bodies are taken\n"
        );
        let told = json(&changes, "old.toml", "new.toml");
        assert_eq!(told["cost"], "new_directory");
        assert_eq!(told["changes"][0]["old"], 8);
        assert_eq!(told["changes"].as_array().map(Vec::len), Some(3));
        assert_eq!(human(&[], "a", "b"), "nothing changes between a and b\n");
        assert_eq!(json(&[], "a", "b"), json!({"old": "a", "new": "b", "cost": null, "changes": []}));
    }
}
