//! The generator's truth against what the real binary makes of its events: browsers and servers tell of the same people,
//! the servers by user alone. The sessions are the model's, and what servers say is put to the right browser.
//!
//! With `OUZEL_PROVE=1` it is ten million events; what is kept in memory is some tens of bytes for each of them.

#![allow(clippy::disallowed_methods)] // it pipes one process into another and reads what a third prints

mod support;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use event::Micros;
use event::key::hash64;
use ouzel_gen::render::{TIME_AT, TIME_LEN};
use ouzel_gen::{EventId, stamp_time};
use serde::Deserialize;
use sim::outputs::{Row, parse_line};
use sim::sessions::{compare, cut};
use sim::told::{Ends, Told};
use support::{Running, fine, json, ouzel, text};

const GAP_US: i64 = 30 * 60 * Micros::SECOND;
/// A link is older than this, in event time, where it must be known.
const SETTLED_US: i64 = Micros::SECOND;
/// Every so many records, one is told hours too late for any session.
const MOVED_EVERY: u64 = 1000;
const MOVED_BY_US: i64 = 3 * 3600 * Micros::SECOND;

struct Case {
    events: &'static str,
    /// So that the events are those of an hour, or of some hours.
    people: &'static str,
    partitions: u32,
}

fn is_long() -> bool {
    std::env::var_os("OUZEL_PROVE").is_some()
}

fn case(partitions: u32) -> Case {
    match is_long() {
        true => Case { events: "10000000", people: "1600000", partitions },
        false => Case { events: "150000", people: "160000", partitions },
    }
}

#[test]
fn sessions_equal_the_model_and_servers_join_browsers_over_eight_partitions() {
    let figures = measure(&case(8));
    let share = figures.right as f64 / figures.asked as f64;
    assert!(share >= 0.999, "{share}: {figures:?}");
}

#[test]
fn sessions_equal_the_model_and_servers_join_browsers_in_one_partition() {
    let figures = measure(&case(1));
    assert_eq!(figures.right, figures.asked, "{figures:?}");
}

/// The same while it happens: links and those who ask for them race each other over eight connections.
#[test]
fn sessions_equal_the_model_and_servers_join_browsers_over_http() {
    let case = Case { events: "", people: "", partitions: 8 };
    let tmp = tempfile::tempdir().expect("a directory");
    let (data, truth) = (tmp.path().join("data"), tmp.path().join("truth"));
    let settings = ["--set", "data.partitions=8", "--set", "sessions.allowed_lateness=20m"];
    let running = Running::start(&data, &settings);
    let to = format!("http://{}", running.addr);
    let span = if is_long() { "120s" } else { "15s" };
    fine(ouzel().args(["gen", "--rate", "2000", "--for", span, "--to", &to, "--truth"]).arg(&truth));
    running.quiet();
    assert_eq!(running.stop(), 0);
    let empty = tmp.path().join("empty");
    std::fs::write(&empty, "").expect("written");
    fine(ouzel().args(["run", "--close", "--data"]).arg(&data).arg("--input").arg(&empty).args(settings));
    let figures = judge(&case, &data, &truth, &HashMap::new());
    let Figures { asked, right, young, young_right, .. } = figures;
    assert!(asked >= 10 && right as f64 >= 0.999 * asked as f64, "{figures:?}");
    // Most servers speak within the second.
    assert!(young > 100 && young_right as f64 >= 0.97 * young as f64, "{figures:?}");
}

/// What is counted of events that name a user alone.
#[derive(Default, Debug)]
struct Figures {
    /// Their link is older than [`SETTLED_US`] and holds; of these, recorded under the visitor that the truth names.
    asked: u64,
    right: u64,
    /// Of those that are not: recorded under no visitor at all.
    unlinked: u64,
    /// Their link is younger; of these, right ones.
    young: u64,
    young_right: u64,
    /// Nobody was seen with their user within the gap before.
    without: u64,
    /// The latest earlier event is of another visitor than the truth names: two browsers at a time.
    elsewhere: u64,
}

fn measure(case: &Case) -> Figures {
    let tmp = tempfile::tempdir().expect("a directory");
    let (data, truth) = (tmp.path().join("data"), tmp.path().join("truth"));
    let moved = run(case, &data, &truth);
    let figures = judge(case, &data, &truth, &moved);
    assert!(moved.len() > 100 && figures.asked > 500, "{} moved, {figures:?}", moved.len());
    figures
}

/// Holds what was made of the events against the model and the truth. `moved`: the events that were told hours too late,
/// with the times they were told.
fn judge(case: &Case, data: &Path, truth: &Path, moved: &HashMap<u64, Micros>) -> Figures {
    let late = late(case, data);
    let servers = Servers::read(&truth.join("events.ndjson"));
    let mut events = Vec::new();
    let mut links = Links::default();
    let (mut moved_late, mut moved_taken) = (0, 0);
    for_each(case, data, "enriched", |partition, row| {
        let id = row.id.expect("an id of the generator's");
        let at = row.counts_at().expect("a time");
        let is_moved = moved.get(&id.number) == row.time.as_ref();
        if late.contains(&(partition, row.offset)) {
            assert!(is_moved, "{id} is in late, and was not told late");
            moved_late += 1;
        } else {
            events.push((row.key, at));
            moved_taken += u64::from(is_moved);
        }
        links.note(&servers, id.number, &row);
    });
    assert_eq!(moved_late, late.len(), "each late event is in enriched, once");
    assert!(moved_late as u64 >= 9 * moved_taken, "{moved_late} late, {moved_taken} taken although hours late");
    let total = events.len();
    let model = cut(&mut events, GAP_US);
    drop(events);
    let mut ends = Ends::default();
    for_each(case, data, "sessions", |_, row| {
        let told = row.told.expect("it tells of a session");
        if let Err(why) = ends.hear(row.key, &told) {
            panic!("{told:?}: {why}");
        }
    });
    let told = ends.sessions();
    let differences = compare(&model, &told);
    let first = (differences.missing.first(), differences.extra.first(), differences.other.first());
    let counts = (differences.missing.len(), differences.extra.len(), differences.other.len());
    assert!(differences.is_empty(), "missing, extra, other: {counts:?} of {} sessions; {first:?}", model.len());
    let figures = links.judge();
    eprintln!(
        "{} partitions: {total} events in {} sessions ({} merges), as the model has them; {moved_late} late, one by one; {figures:?}",
        case.partitions,
        told.len(),
        ends.merges()
    );
    figures
}

/// Pipes the generator into a run, and tells some events hours too late on the way. Gives their numbers and times.
fn run(case: &Case, data: &Path, truth: &Path) -> HashMap<u64, Micros> {
    let mut from = ouzel();
    // What comes from a clock that is hours ahead would make all that follows it late: this file is of the past.
    from.args(["gen", "--events", case.events, "--people", case.people, "--future", "0%", "--output", "-", "--truth"]);
    let mut from = from.arg(truth).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut to = ouzel();
    to.args(["run", "--input", "-", "--close", "--json", "--data"]).arg(data);
    let partitions = format!("data.partitions={}", case.partitions);
    // Events are late by up to eleven minutes, and clocks are off by four, either way.
    to.args(["--set", &partitions, "--set", "sessions.allowed_lateness=20m"]);
    let mut to = to.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::with_capacity(1 << 20, from.stdout.take().expect("piped"));
    let mut out = BufWriter::with_capacity(1 << 20, to.stdin.take().expect("piped"));
    let mut moved = HashMap::new();
    let mut line = Vec::new();
    for n in 1.. {
        line.clear();
        if lines.read_until(b'\n', &mut line).expect("a line") == 0 {
            break;
        }
        if n % MOVED_EVERY == 0
            && let Some((id, time)) = id_and_time(&line)
        {
            let time = Micros(time.0 - MOVED_BY_US);
            stamp_time(&mut line, time);
            moved.insert(id.number, time);
        }
        out.write_all(&line).expect("taken");
    }
    drop(out);
    assert!(from.wait().expect("it ends").success());
    let (mut said, mut summary) = (String::new(), Vec::new());
    to.stdout.take().expect("piped").read_to_end(&mut summary).expect("a summary");
    to.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    assert!(to.wait().expect("it ends").success(), "{said}");
    let summary = json(text(&summary).lines().last().expect("a summary").as_bytes());
    assert_eq!((&summary["adds_up"], &summary["in_flight"]), (&true.into(), &0.into()), "{summary}");
    eprintln!("{} events/s", summary["events_per_second"]);
    moved
}

fn id_and_time(line: &[u8]) -> Option<(EventId, Micros)> {
    const ID_AT: usize = 14;
    let id = EventId::parse(line.get(ID_AT..ID_AT + EventId::LEN)?)?;
    Some((id, Micros::parse_rfc3339(line.get(TIME_AT..TIME_AT + TIME_LEN)?)?))
}

/// Every record of a topic, by partition and offset, through the public reader.
fn for_each(case: &Case, data: &Path, topic: &str, mut see: impl FnMut(u32, Row)) {
    let mut tail = ouzel();
    tail.args(["tail", topic, "--from", "start", "--json", "--data"]).arg(data);
    let mut tail = tail.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::with_capacity(1 << 20, tail.stdout.take().expect("piped"));
    let (mut line, mut scratch) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).expect("a line") == 0 {
            break;
        }
        let (partition, row) = parse_line(topic, &line, case.partitions, &mut scratch).expect("a record");
        see(partition, row);
    }
    assert!(tail.wait().expect("it ends").success());
}

/// Where the events are that no session took.
fn late(case: &Case, data: &Path) -> HashSet<(u32, u64)> {
    let mut all = HashSet::new();
    for_each(case, data, "late", |_, row| {
        let Some(Told::Late { at, .. }) = row.told else { panic!("{row:?}") };
        assert!(all.insert(at), "{at:?} is in late twice");
    });
    all
}

/// What the truth says of events of servers.
struct Servers {
    /// The visit, by the number of the event.
    visit: HashMap<u64, u64>,
    /// The browser of a visit, as the hash of its id.
    browser: HashMap<u64, u64>,
}

#[derive(Deserialize)]
struct TruthLine<'a> {
    id: &'a str,
    device: Option<&'a str>,
    session: &'a str,
}

impl Servers {
    fn read(path: &PathBuf) -> Servers {
        let mut servers = Servers { visit: HashMap::new(), browser: HashMap::new() };
        let mut lines = BufReader::with_capacity(1 << 20, File::open(path).expect("the truth"));
        let mut line = Vec::new();
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line).expect("a line") == 0 {
                return servers;
            }
            let line: TruthLine<'_> = serde_json::from_slice(&line).expect("a line of the truth");
            let visit = hash64(line.session.as_bytes());
            match line.device {
                Some(device) => drop(servers.browser.insert(visit, hash64(device.as_bytes()))),
                None => {
                    let id = EventId::parse(line.id.as_bytes()).expect("an id");
                    servers.visit.insert(id.number, visit);
                }
            }
        }
    }
}

/// Who was seen with whom, and who asked, as recorded.
#[derive(Default)]
struct Links {
    /// User, time, visitor.
    seen: Vec<(u64, Micros, u64)>,
    asked: Vec<Asked>,
}

struct Asked {
    user: u64,
    at: Micros,
    recorded: u64,
    linked: bool,
    truth: Option<u64>,
}

impl Links {
    fn note(&mut self, servers: &Servers, number: u64, row: &Row) {
        let (Some(user), Some(at)) = (row.user, row.time) else { return };
        match servers.visit.get(&number) {
            None => self.seen.push((user, at, row.key)),
            Some(visit) => {
                let truth = servers.browser.get(visit).copied();
                self.asked.push(Asked { user, at, recorded: row.key, linked: row.linked, truth });
            }
        }
    }

    fn judge(mut self) -> Figures {
        self.seen.sort_unstable();
        let mut figures = Figures::default();
        for asked in &self.asked {
            let before = self.seen.partition_point(|(user, at, _)| (*user, *at) <= (asked.user, asked.at));
            let link = before.checked_sub(1).map(|n| self.seen[n]).filter(|(user, ..)| *user == asked.user);
            let age = |at: Micros| asked.at.0 - at.0;
            let Some((_, at, visitor)) = link.filter(|(_, at, _)| age(*at) <= GAP_US) else {
                figures.without += 1;
                continue;
            };
            let is_right = asked.truth == Some(asked.recorded);
            if age(at) <= SETTLED_US {
                figures.young += 1;
                figures.young_right += u64::from(is_right);
                continue;
            }
            figures.asked += 1;
            figures.right += u64::from(is_right);
            figures.unlinked += u64::from(!asked.linked);
            figures.elsewhere += u64::from(asked.truth != Some(visitor));
        }
        figures
    }
}
