//! The release's promise, tried on the real binary: killed at random and at every named point, and with the power cut.
//! The long forms run with `OUZEL_PROVE=1` (`cargo xtask prove`).

#![cfg(feature = "faults")]

mod support;

use seam::fault::{Bug, POINTS};
use sim::laws::sessions::SessionRules;
use sim::storm::{KillLoopConfig, Report, find_planted, kill_loop};

/// Points that need an input, an output file or many events to be passed; they have tests of their own below.
const ELSEWHERE: [&str; 4] = ["input.", "output.", "dedup.", "journal.segment.retired"];

fn long() -> bool {
    std::env::var_os("OUZEL_PROVE").is_some()
}

fn config(dir: &tempfile::TempDir) -> KillLoopConfig {
    let mut config = KillLoopConfig::new(env!("CARGO_BIN_EXE_ouzel"), dir.path().join("storm"));
    let settings = [
        // Small segments, so that every cycle crosses some.
        "data.segment=16MiB",
        "data.partitions=4",
        // Sessions that end, are told again and merged within a loop, and snapshots and replays in every cycle of it.
        "sessions.gap=1s",
        "sessions.allowed_lateness=10s",
        "sessions.update_every=1s",
        "time.out_of_order=1s",
        "time.idle_after=500ms",
        "state.snapshot_every=200ms",
    ];
    config.args = settings.iter().flat_map(|s| ["--set".to_owned(), (*s).to_owned()]).collect();
    config.sessions = Some(SessionRules { gap_us: 1_000_000, allowed_lateness_us: 10_000_000 });
    config.seed = std::env::var("OUZEL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    config
}

fn temp() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("ouzel-storm").tempdir().expect("a directory")
}

fn clean(report: &Report) {
    eprintln!("{report}");
    assert!(report.is_clean(), "{report}");
    assert!(!report.gave_up, "{report}");
}

#[test]
fn killed_at_named_points_and_at_random() {
    let dir = temp();
    let mut config = config(&dir);
    config.points =
        POINTS.iter().filter(|p| !ELSEWHERE.iter().any(|e| p.starts_with(e))).map(|p| (*p).to_owned()).collect();
    config.cycles = if long() { 200 } else { 14 };
    let report = kill_loop(config).expect("the harness works");
    clean(&report);
    assert!(report.points_missed.is_empty() && report.points_fired.len() >= 12, "{report}");
    // What was not there was not tried.
    let Report { sessions, merges, late, linked, .. } = report;
    assert!(sessions > 1000 && merges > 0 && late > 100 && linked > 100, "{report}");
}

/// Every event asks a source that takes its time, so that it dies with events above the committed position that are finished.
#[test]
fn killed_while_events_wait_for_facts() {
    let addr = support::stub::serve(|path, stream| {
        // By the key, so that some are slow and some never come.
        let n = path.bytes().map(u64::from).sum::<u64>() % 50;
        std::thread::sleep(std::time::Duration::from_millis(if n == 0 { 400 } else { n / 2 }));
        support::stub::say(stream, "200 OK", "", format!("{{\"n\":{n}}}").as_bytes())
    });
    let dir = temp();
    let file = dir.path().join("lookups.toml");
    let text = format!(
        "version = 1\n[[lookup]]\nname = \"fact\"\nkind = \"http\"\nurl = \"http://{addr}/{{key}}\"\n\
         key = \"event.visitor\"\nallow_private = [\"127.0.0.1\"]\ncache = {{ ttl = \"500ms\" }}\n"
    );
    std::fs::write(&file, text).expect("written");
    let mut config = config(&dir);
    config.args.extend(["-c".to_owned(), file.display().to_string()]);
    config.points =
        ["enrich.fetched", "enrich.applied", "enrich.submitted", "enrich.committed", "journal.frame.half_written"]
            .map(str::to_owned)
            .to_vec();
    config.cycles = if long() { 100 } else { 7 };
    let report = kill_loop(config).expect("the harness works");
    clean(&report);
    assert!(report.points_missed.is_empty(), "{report}");
}

#[test]
fn the_power_goes() {
    let dir = temp();
    let mut config = config(&dir);
    config.power_loss = true;
    config.cycles = if long() { 50 } else { 3 };
    clean(&kill_loop(config).expect("the harness works"));
}

/// Points on the way of a file: the run is killed there, and the next one goes on as if nothing had been.
#[test]
fn a_file_is_read_and_written_once_wherever_it_dies() {
    let log = std::fs::read_to_string(support::data("weblogs/apache_logs")).expect("the log");
    let lines: Vec<&str> = log.lines().collect();
    let dir = temp();
    let input = dir.path().join("input.log");
    // Four times the log: more than a generation of dedup in the one partition.
    std::fs::write(&input, [&log[..]; 4].concat()).expect("written");
    for (n, (point, count)) in [
        ("input.submitted", 1),
        ("input.submitted", 7),
        ("input.committed", 3),
        ("output.written", 1),
        ("output.written", 4),
        ("output.synced", 2),
        ("dedup.run.written", 1),
        ("dedup.run.renamed", 1),
    ]
    .into_iter()
    .enumerate()
    {
        let (data, output) = (dir.path().join(format!("data{n}")), dir.path().join(format!("out{n}")));
        let run = |kill: Option<String>| {
            let mut command = support::ouzel();
            command.args([
                "run",
                "--preset",
                "access-log",
                "--set",
                "data.partitions=1",
                "--until-idle",
                "--json",
                "--input",
            ]);
            command.arg(&input).arg("--output").arg(&output).arg("--data").arg(&data);
            if let Some(kill) = kill {
                command.env("OUZEL_KILL_AT", kill);
            }
            support::output(&mut command)
        };
        let killed = run(Some(format!("{point}:{count}")));
        assert!(!killed.status.success(), "{point}:{count} was never passed");
        let again = run(None);
        assert!(again.status.success(), "{point}:{count}: {}", support::text(&again.stderr));
        let said = support::text(&again.stderr);
        let summary = support::json(said.lines().last().expect("a summary").as_bytes());
        let total = &summary["total"];
        assert_eq!(
            (&total["processed"], &total["deduplicated"]),
            (&40_000.into(), &0.into()),
            "{point}:{count}: {total}"
        );
        let written = std::fs::read_to_string(&output).expect("the output");
        // One partition: the order of the file is the order of the output.
        let mut seen = 0;
        for (line, original) in written.lines().zip(lines.iter().cycle()) {
            let event = support::json(line.as_bytes());
            assert!(original.starts_with(event["ip"].as_str().expect("an address")), "{point}:{count}: line {seen}");
            seen += 1;
        }
        assert_eq!(seen, 40_000, "{point}:{count}");
    }
}

/// Runs of dedup are merged while events come in; it dies before and after the merged one has its name, and what was passed on
/// before is still told.
#[test]
fn a_merge_dies_and_every_event_is_still_told() {
    let log = std::fs::read_to_string(support::data("weblogs/apache_logs")).expect("the log");
    let dir = temp();
    // Twenty generations in the one partition: eight are merged long before the end.
    let copies = 64;
    let input = dir.path().join("input.log");
    std::fs::write(&input, log.repeat(copies)).expect("written");
    let points: &[&str] =
        if long() { &["dedup.merge.written", "dedup.merge.renamed"] } else { &["dedup.merge.renamed"] };
    for point in points {
        let data = dir.path().join(point);
        let run = |kill: Option<&str>| {
            let mut command = support::ouzel();
            command.args(["run", "--preset", "access-log", "--set", "data.partitions=1", "--until-idle", "--json"]);
            command.arg("--input").arg(&input).arg("--data").arg(&data);
            if let Some(kill) = kill {
                command.env("OUZEL_KILL_AT", format!("{kill}:1"));
            }
            support::output(&mut command)
        };
        assert!(!run(Some(point)).status.success(), "{point} was never passed");
        let again = run(None);
        assert!(again.status.success(), "{point}: {}", support::text(&again.stderr));
        let total = &support::json(&again.stdout)["total"];
        let expected = (&(10_000 * copies).into(), &0.into(), &true.into());
        assert_eq!((&total["processed"], &total["deduplicated"], &total["adds_up"]), expected, "{point}: {total}");
        let runs: Vec<_> = std::fs::read_dir(data.join("dedup/0"))
            .expect("runs")
            .map(|f| f.expect("a file").file_name().to_string_lossy().into_owned())
            .collect();
        assert!(runs.iter().any(|r| r == "00000000000000000000-00000000000000262144.run"), "{runs:?}");
        assert!(runs.iter().all(|r| r.ends_with(".run")), "{runs:?}");
    }
}

/// Retention removes segments while events come in; it dies in the middle of that, and the sums still hold.
#[test]
fn retention_dies_and_nothing_is_missing() {
    let log = std::fs::read_to_string(support::data("weblogs/apache_logs")).expect("the log");
    let dir = temp();
    let (input, data) = (dir.path().join("input.log"), dir.path().join("data"));
    std::fs::write(&input, [&log[..]; 8].concat()).expect("written");
    let run = |kill: Option<&str>| {
        let mut command = support::ouzel();
        command.args(["run", "--preset", "access-log", "--set", "data.partitions=1", "--until-idle", "--json"]);
        command.args(["--set", "data.segment=2MiB", "--set", "data.max_bytes=4MiB"]);
        command.arg("--input").arg(&input).arg("--data").arg(&data);
        if let Some(kill) = kill {
            command.env("OUZEL_KILL_AT", kill);
        }
        support::output(&mut command)
    };
    assert!(!run(Some("journal.segment.retired:2")).status.success(), "retention never removed a segment");
    let again = run(None);
    assert!(again.status.success(), "{}", support::text(&again.stderr));
    let total = &support::json(&again.stdout)["total"];
    assert_eq!((&total["processed"], &total["adds_up"]), (&80_000.into(), &true.into()), "{total}");
    let verify = support::fine(support::ouzel().args(["data", "verify", "--data"]).arg(&data)).stdout;
    assert!(support::text(&verify).contains("every checksum is right"));
}

/// A planted bug must be found, or the loop proves nothing.
fn found(bug: Bug, power_loss: bool, budget: u32) {
    let dir = temp();
    let mut config = config(&dir);
    config.power_loss = power_loss;
    let report = find_planted(bug, budget, config).expect("the harness works");
    assert!(!report.is_clean(), "{} was not found in {} cycles:\n{report}", bug.name(), report.cycles);
    eprintln!(
        "{} found after {} starts, {} cycles: {}",
        bug.name(),
        report.starts,
        report.cycles,
        report.violations[0]
    );
}

#[test]
fn ack_before_fsync_is_found() {
    found(Bug::AckBeforeFsync, true, 10);
}

#[test]
fn directory_sync_skipped_is_found() {
    found(Bug::DirectorySyncSkipped, true, 10);
}

#[test]
fn position_apart_is_found() {
    // It shows only where the kill falls between two frames of one commit: of 24 runs 20 took 5 to 12 starts, one took 36.
    found(Bug::PositionApart, false, 60);
}

#[test]
fn lost_tail_is_found() {
    found(Bug::LostTail, false, 10);
}

#[test]
fn dedup_off_by_one_is_found() {
    found(Bug::DedupOffByOne, false, 20);
}

/// The same for a bug of the sessions stage: it dies around the commits and snapshots of that stage.
fn found_in_sessions(bug: Bug, budget: u32) {
    let dir = temp();
    let mut config = config(&dir);
    config.points = ["sessions.submitted", "sessions.committed", "snapshot.taken"].map(str::to_owned).to_vec();
    let report = find_planted(bug, budget, config).expect("the harness works");
    assert!(!report.is_clean(), "{} was not found in {} cycles:\n{report}", bug.name(), report.cycles);
    eprintln!(
        "{} found after {} starts, {} cycles: {}",
        bug.name(),
        report.starts,
        report.cycles,
        report.violations[0]
    );
}

#[test]
fn replay_sent_twice_is_found() {
    found_in_sessions(Bug::ReplaySentTwice, 10);
}

#[test]
fn snapshot_without_position_is_found() {
    found_in_sessions(Bug::SnapshotWithoutPosition, 20);
}

/// A replay from such a snapshot seldom makes what was made before, and then its hash says so first.
#[test]
fn timers_lost_is_found() {
    found_in_sessions(Bug::TimersLost, 20);
}

// The following three show when every session is over: at the end of a loop, however many cycles it has.

#[test]
fn late_forgotten_is_found() {
    found_in_sessions(Bug::LateForgotten, 3);
}

#[test]
fn merge_keeps_both_is_found() {
    found_in_sessions(Bug::MergeKeepsBoth, 12);
}

#[test]
fn idle_holds_watermark_is_found() {
    found_in_sessions(Bug::IdleHoldsWatermark, 1);
}
