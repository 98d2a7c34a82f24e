//! The plan for people: drawn from top to bottom, within [`WIDTH`] columns whatever the names are.

use event::topic::{ENRICHED, RAW};

use super::{DataState, Enricher, Expect, File, Plan, Remote, Sessions, Source, Topic};
use crate::config::units::{show_duration, show_size};
use crate::paragraph::{WIDTH, plain, wrap};

/// Longest name that others are aligned to; longer ones have a line of their own.
const NAME_MAX: usize = 18;

const STEM: &str = "    │";

/// Ends with a newline.
pub fn text(plan: &Plan) -> String {
    let names = plan.sources.iter().map(|s| &s.name).chain(plan.stage.enrichers.iter().map(|e| &e.name));
    let longest = names.map(|n| n.chars().count()).filter(|n| *n <= NAME_MAX).max().unwrap_or(0);
    let mut draw = Draw { out: String::new(), column: longest.max("enriched".len()) + 2 };
    draw.line("", &format!("what runs with {}", plan.origin));
    draw.line("", &data(plan));
    draw.out.push('\n');
    for source in &plan.sources {
        draw.named("  ", "", &source.name, &of_source(source, plan));
    }
    draw.arrow("refused ─► dlq");
    draw.topic(plan.topic(RAW.name()));
    draw.arrow("");
    draw.named("  ", "", "enrich", &[stage(plan)]);
    draw.out.push_str(STEM);
    draw.out.push('\n');
    for enricher in &plan.stage.enrichers {
        let round = match enricher.round {
            _ if plan.stage.rounds < 2 => String::new(),
            Some(round) => format!("{round} "),
            None => "- ".to_owned(),
        };
        draw.named(&format!("{STEM}  "), &round, &enricher.name, &of_enricher(enricher));
    }
    draw.arrow("set aside ─► dlq");
    draw.topic(plan.topic(ENRICHED.name()));
    draw.arrow("");
    draw.named("  ", "", "readers", &readers(plan));
    if let Some(sessions) = &plan.sessions {
        draw.out.push('\n');
        draw.named("  ", "", "sessions", &of_sessions(sessions));
    }
    for topic in plan.topics.iter().filter(|t| ![RAW.name(), ENRICHED.name()].contains(&t.name)) {
        draw.out.push('\n');
        draw.topic(Some(topic));
    }
    for warning in &plan.warnings {
        draw.out.push('\n');
        draw.line("", &format!("warning: {warning}"));
    }
    draw.out
}

struct Draw {
    out: String,
    /// Width of the column of names.
    column: usize,
}

impl Draw {
    /// One paragraph, wrapped, every line of it behind `prefix`.
    fn line(&mut self, prefix: &str, text: &str) {
        self.wrapped(prefix, prefix, text);
    }

    fn wrapped(&mut self, first: &str, rest: &str, text: &str) {
        let room = WIDTH.saturating_sub(rest.chars().count().max(first.chars().count()));
        for (n, line) in wrap(text, room).into_iter().enumerate() {
            let prefix = if n == 0 { first } else { rest };
            self.out.push_str(format!("{prefix}{line}").trim_end());
            self.out.push('\n');
        }
    }

    /// A name, and beside it what is said of it, a paragraph each.
    fn named(&mut self, prefix: &str, mark: &str, name: &str, said: &[String]) {
        let name = plain(name);
        let blank = " ".repeat(mark.chars().count() + self.column);
        let long = name.chars().count() + 2 > self.column;
        let mut first = format!("{prefix}{mark}{name:<width$}", width = self.column);
        if long {
            self.line(&format!("{prefix}{mark}"), &name);
            first = format!("{prefix}{blank}");
        }
        let rest = format!("{prefix}{blank}");
        for (n, said) in said.iter().enumerate() {
            self.wrapped(if n == 0 { &first } else { &rest }, &rest, said);
        }
    }

    fn arrow(&mut self, beside: &str) {
        self.out.push_str(STEM);
        if !beside.is_empty() {
            self.out.push_str("  ");
            self.out.push_str(beside);
        }
        self.out.push_str("\n    ▼\n");
    }

    fn topic(&mut self, topic: Option<&Topic>) {
        let Some(topic) = topic else { return };
        let kept = format!(
            "{} partitions, kept {}, at most {}",
            topic.partitions,
            show_duration(topic.keep),
            show_size(topic.max_bytes),
        );
        self.named("  ", "", topic.name, &[kept, topic.holds.to_owned()]);
    }
}

fn data(plan: &Plan) -> String {
    let dir = plan.data.dir.display();
    let state = match &plan.data.state {
        DataState::New => "new, made at the start".to_owned(),
        DataState::There => "there".to_owned(),
        DataState::OtherPartitions(n) => format!("REFUSED at the start: it has {n} partitions per topic, for good"),
        DataState::Refused(why) => format!("REFUSED at the start: {why}"),
    };
    let answer = if plan.data.fsync {
        "an answer means that the disk has it"
    } else {
        "an answer does NOT mean that the disk has it (durability = \"os\")"
    };
    format!("data in {dir}: {state}; {answer}")
}

fn of_source(source: &Source, plan: &Plan) -> Vec<String> {
    let mut what = format!("{}, preset {}", source.kind, source.preset);
    if source.connection_address {
        what += ", addresses from the connection";
    }
    if source.follow {
        what += ", followed";
    }
    let mut said = vec![what];
    said.extend(source.file.as_ref().map(of_file));
    if let (Some(port), "http") = (&plan.port, source.kind) {
        said.push(format!("POST http://{port}/v1/events"));
    }
    said
}

fn stage(plan: &Plan) -> String {
    let stage = &plan.stage;
    let rounds =
        if stage.rounds == 1 { "1 round of asks".to_owned() } else { format!("{} rounds of asks", stage.rounds) };
    let workers = match stage.workers {
        0 => "half of the cores".to_owned(),
        1 => "1 thread".to_owned(),
        n => format!("{n} threads"),
    };
    let deadline = stage.deadline.map(|d| format!(", an event waits {} at most", show_duration(d)));
    format!("{rounds}{}, {workers}, duplicates told in {}", deadline.unwrap_or_default(), show_size(stage.dedup))
}

fn of_sessions(sessions: &Sessions) -> Vec<String> {
    vec![
        "enriched ─► sessions; what is too late ─► late".to_owned(),
        format!("a session ends with {}", sessions.rules.join(", or ")),
        format!(
            "late events are taken for {} more; state at most {}, snapshot every {}",
            show_duration(sessions.allowed_lateness),
            show_size(sessions.memory),
            show_duration(sessions.snapshot_every),
        ),
    ]
}

fn of_enricher(enricher: &Enricher) -> Vec<String> {
    let reads = if enricher.reads.is_empty() { "the event".to_owned() } else { enricher.reads.join(", ") };
    let mut what = format!("{reads} -> {}", enricher.writes);
    if let Some(lookup) = &enricher.lookup {
        what += &format!("  (lookup, {})", lookup.kind);
    }
    let mut said = vec![what];
    if let Some(when) = enricher.lookup.as_ref().and_then(|l| l.when.as_ref()) {
        said.push(format!("when {when}"));
    }
    said.extend(enricher.lookup.as_ref().and_then(|l| l.remote.as_ref()).into_iter().flat_map(of_remote));
    said.extend(enricher.files.iter().map(of_file));
    if let Some(opened) = &enricher.opened {
        if !opened.versions.is_empty() {
            said.push(format!("in use: {}", opened.versions.join(", ")));
            said.extend((!opened.lacks.is_empty()).then(|| format!("without {}", opened.lacks.join(", "))));
        }
        // Of a file that is not there it is said already.
        let absent = |why: &String| {
            let begins = |f: &File| why.starts_with(&f.path.display().to_string());
            enricher.files.iter().any(|f| !f.there && begins(f))
        };
        said.extend(opened.refused.iter().filter(|why| !absent(why)).map(|why| format!("NOT IN USE: {why}")));
    }
    said.extend(enricher.expect.iter().map(Expect::to_string));
    said
}

fn of_remote(remote: &Remote) -> Vec<String> {
    let count = |n: usize, what: &str| if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") };
    let cache = &remote.cache;
    let shared = cache.shared.as_ref().map(|place| format!(", then {place}")).unwrap_or_default();
    vec![
        format!("{}: {}, {} a call", remote.place, count(remote.connections, "connection"), count(remote.bulk, "key")),
        format!(
            "cached in {}{shared}: values {}, what is missing {}, {} longer if it fails",
            show_size(cache.size),
            show_duration(cache.ttl),
            show_duration(cache.ttl_missing),
            show_duration(cache.max_stale),
        ),
    ]
}

fn of_file(file: &File) -> String {
    let path = match file.fetched {
        true => format!("{} (of `ouzel assets`)", file.path.display()),
        false => file.path.display().to_string(),
    };
    match (file.there, file.needed, file.bytes) {
        (false, true, _) => format!("{path}: NOT THERE, and the run does not start without it"),
        (false, false, _) => format!("{path}: NOT THERE"),
        (true, _, Some(bytes)) => format!("{path}: {}", about(bytes)),
        (true, _, None) => path,
    }
}

fn readers(plan: &Plan) -> Vec<String> {
    let mut readers: Vec<String> = plan
        .output
        .iter()
        .map(|o| match o.as_str() {
            "-" => "standard output".to_owned(),
            file => file.to_owned(),
        })
        .collect();
    if let Some(port) = &plan.port {
        readers.push(format!("GET http://{port}/v1/topics/enriched/records"));
    }
    readers.push("ouzel tail".to_owned());
    readers
}

/// `65536000` -> `62.5 MiB`.
fn about(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        for (bytes, shown) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (65_536_000, "62.5 MiB"), (5 << 40, "5.0 TiB")]
        {
            assert_eq!(about(bytes), shown);
        }
    }
}
