//! What somebody reads when something is wrong: one file per case in `messages/`, with the command, the exit code or the
//! status, and the whole text. `UPDATE_MESSAGES=1` writes them anew; then read the difference as a user at three in the
//! morning: what is wrong, where, and what to do next?

#![allow(clippy::disallowed_methods)] // tests look at real files, processes and clocks

#[path = "messages/case.rs"]
mod case;
#[path = "messages/configuration.rs"]
mod configuration;
#[path = "messages/looking.rs"]
mod looking;
mod support;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use case::Case;
use serde_json::Value;
use support::{Running, data, json, ouzel, signal, text};

macro_rules! cases {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let mut case = Case::new(stringify!($name));
                cases::$name(&mut case);
                case.finish();
            }
        )*

        #[test]
        fn every_file_has_its_case() {
            let mut files: Vec<String> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages"))
                .expect("the directory")
                .filter_map(|e| Some(e.expect("an entry").file_name().to_str()?.strip_suffix(".txt")?.to_owned()))
                .collect();
            files.sort();
            let mut names = vec![$(stringify!($name).to_owned()),*];
            names.sort();
            assert_eq!(files, names);
        }
    };
}

cases! {
    // Configuration and usage.
    unknown_key wrong_type close_beside_a_port unknown_topic
    check_of_a_whole_file plan_drawn plan_against plan_two_ways config_shown config_reference config_schema completions
    // The first hour.
    init_from_github init_of_two_minds init_from_what_is_no_events init_would_write_over
    // A user's own cases.
    test_that_fails test_of_many_mistakes test_without_cases
    // The data directory.
    port_taken directory_not_writable data_under_a_file directory_in_use format_of_a_newer_version partitions_changed
    no_data_directory damaged_journal killed_and_started_again disk_full disk_full_while_a_file_is_read
    // Inputs.
    bad_gzip_file bomb_file event_of_10_mb_in_a_file bad_events_in_a_file empty_file file_not_there
    directory_as_input wrong_preset csv_without_zone
    // HTTP.
    bad_gzip_over_http bomb_over_http event_of_10_mb_over_http bad_events_over_http
    // What is fetched.
    assets_none_there assets_without_npm assets_without_network assets_damaged assets_from_elsewhere
    // Lookups.
    lookups_that_wait_for_one_another lookup_file_with_a_bad_row
    // Looking into state, and keeping it.
    sessions_of_nobody explain_of_nothing savepoint_refused restore_refused
    // The rest.
    no_databases_at_all geo_database_not_there geo_database_corrupt dead_letter_not_there ctrl_c_twice
    output_cut_by_somebody output_is_a_directory
}

const RULES: &str = "user_agent_parsers:\n  - regex: 'x'\nos_parsers:\ndevice_parsers:\n";

/// Commands find an npm that does what `$DIR/cache/ouzel/npm.sh` says.
fn fake_npm(case: &mut Case) {
    let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/tests/assets/bin");
    case.search(format!("{}:/usr/bin:/bin", bin.display()));
}

const JSON: &str = "Content-Type: application/json\r\n";

mod cases {
    pub use super::configuration::{
        check_of_a_whole_file, completions, config_reference, config_schema, config_shown, plan_against, plan_drawn,
        plan_two_ways,
    };
    pub use super::looking::{explain_of_nothing, restore_refused, savepoint_refused, sessions_of_nobody};
    use super::*;

    pub fn unknown_key(case: &mut Case) {
        case.file("ouzel.toml", "version = 1\n\n[data]\ndurabilty = \"fsync\"\n");
        let out = case.run(&["run", "-c", "$DIR/ouzel.toml"]);
        assert_eq!(out.status.code(), Some(2));
        assert!(text(&out.stderr).contains("did you mean `durability`?"));
        assert!(!case.path("ouzel-data").exists(), "nothing is made before the configuration is right");
    }

    pub fn wrong_type(case: &mut Case) {
        case.file("ouzel.toml", "version = 1\n\n[data]\npartitions = \"eight\"\n");
        assert_eq!(case.run(&["run", "-c", "$DIR/ouzel.toml"]).status.code(), Some(2));
        assert_eq!(case.run(&["check", "$DIR/ouzel.toml"]).status.code(), Some(2));
    }

    pub fn close_beside_a_port(case: &mut Case) {
        events(case, "events.ndjson", 0..3);
        let out = case.run(&["run", "--close", "--input", "$DIR/events.ndjson", "--listen", "127.0.0.1:0"]);
        assert_eq!(out.status.code(), Some(2));
        let follow = ["run", "--close", "--input", "$DIR/events.ndjson", "--follow"];
        assert_eq!(case.run(&follow).status.code(), Some(2));
    }

    pub fn unknown_topic(case: &mut Case) {
        events(case, "events.ndjson", 0..3);
        read(case, "events.ndjson");
        assert_eq!(case.run(&["tail", "sesions", "--data", "$DIR/data"]).status.code(), Some(2));
        assert_eq!(case.run(&["tail", "--partition", "9", "--data", "$DIR/data"]).status.code(), Some(2));
    }

    pub fn assets_none_there(case: &mut Case) {
        assert_eq!(case.run(&["assets"]).status.code(), Some(0));
        assert_eq!(case.run(&["assets", "fetch", "citty"]).status.code(), Some(2));
        assert!(!case.path("cache").exists(), "to look is not to write");
    }

    pub fn assets_without_npm(case: &mut Case) {
        case.search(case.path("empty"));
        assert_eq!(case.run(&["assets", "fetch"]).status.code(), Some(5));
        assert_eq!(case.run(&["assets", "fetch", "city", "--json"]).status.code(), Some(5));
    }

    pub fn assets_without_network(case: &mut Case) {
        fake_npm(case);
        let json = r#"{"error": {"code": "ENOTFOUND", "summary": "request to http://registry.invalid/uap-core failed, reason: getaddrinfo ENOTFOUND registry.invalid", "detail": ""}}"#;
        case.file("cache/ouzel/npm.sh", format!("echo '{json}'\necho 'npm error code ENOTFOUND' >&2\nexit 1\n"));
        assert_eq!(case.run(&["assets", "fetch", "agents", "crawlers"]).status.code(), Some(5));
        case.note("A registry that does not have one package has others.");
        let json = r#"{"error": {"code": "E404", "summary": "Not Found - GET http://registry.invalid/uap-core", "detail": ""}}"#;
        case.file("cache/ouzel/npm.sh", format!("echo '{json}'\nexit 1\n"));
        assert_eq!(case.run(&["assets", "fetch", "agents", "crawlers"]).status.code(), Some(5));
    }

    pub fn assets_damaged(case: &mut Case) {
        case.file("usb/regexes.yaml", RULES);
        case.file("usb/crawler-user-agents.json", r#"[{"pattern": "bot"}]"#);
        assert_eq!(case.run(&["assets", "--from", "$DIR/usb"]).status.code(), Some(0));
        case.note("One byte of one is changed, the other is cut off.");
        case.file("cache/ouzel/agents/regexes.yaml", RULES.replace("'x'", "'y'"));
        case.file("cache/ouzel/crawlers/crawler-user-agents.json", "[");
        assert_eq!(case.run(&["assets", "list", "--verify"]).status.code(), Some(3));
        assert_eq!(case.run(&["doctor", "--data", "$DIR/data"]).status.code(), Some(0));
        assert_eq!(case.run(&["assets", "fetch", "--from", "$DIR/usb"]).status.code(), Some(0));
        assert_eq!(case.run(&["assets", "list", "--verify"]).status.code(), Some(0));
    }

    pub fn assets_from_elsewhere(case: &mut Case) {
        assert_eq!(case.run(&["assets", "--from", "$DIR/usb"]).status.code(), Some(2));
        case.file("usb/uap-core-0.18.0.tgz", "<html>not found</html>");
        case.file("usb/letter.txt", "dear");
        assert_eq!(case.run(&["assets", "--from", "$DIR/usb"]).status.code(), Some(1));
        case.file("usb/regexes.yaml", "user_agent_parsers:\n");
        assert_eq!(case.run(&["assets", "fetch", "agents", "--from", "$DIR/usb"]).status.code(), Some(3));
        assert_eq!(case.run(&["assets", "--from", "$DIR/cache/ouzel"]).status.code(), Some(2));
    }

    pub fn init_from_github(case: &mut Case) {
        case.file("github.ndjson", std::fs::read(data("nested/github-events.ndjson")).expect("the data"));
        assert_eq!(case.run(&["init", "--from", "github.ndjson"]).status.code(), Some(0));
        case.show_file("ouzel.toml");
    }

    /// A zone that is missing, days and months, a member that could be it, events that would be refused.
    pub fn init_of_two_minds(case: &mut Case) {
        let line = |n: u32| {
            let time = format!("0{}/0{}/2024 10:21:14", 1 + n % 9, 1 + n % 7);
            format!(
                "{{\"what\":{{\"event\":\"e{}\"}},\"time\":\"{time}\",\"id\":{},\"peer\":\"10.0.0.{n}\"}}\n",
                n % 3,
                n % 5
            )
        };
        let lines: String = (0..40).map(line).collect();
        case.file("events.ndjson", lines + "{\"time\":[]}\n{\"time\":\"soon\"}\nnot json\n");
        assert_eq!(case.run(&["init", "--from", "events.ndjson"]).status.code(), Some(0));
        case.show_file("ouzel.toml");
    }

    pub fn init_from_what_is_no_events(case: &mut Case) {
        case.file("syslog", "Mar 27 13:06:56 host sshd[1291]: Server listening on 0.0.0.0 port 22.\n");
        case.file("app.log", "2024-03-13 10:21:14,123 INFO main started\n2024-03-13 10:21:15,001 WARN main x\n");
        case.file("pretty.json", "{\n  \"type\": \"view\"\n}\n{\n  \"type\": \"cart\"\n}\n");
        case.file("trail.json", "{\"Records\":[{\"eventName\":\"a\"},{\"eventName\":\"b\"}]}");
        case.file("notes.txt", "hello\nworld\n");
        case.file("empty", "");
        case.file("a.xz", b"\xfd7zXZ\x00 and so on");
        case.file("numbers.json", "[1, 2, 3]");
        for name in
            ["syslog", "app.log", "pretty.json", "trail.json", "notes.txt", "empty", "numbers.json", "sylog", "."]
        {
            assert_eq!(case.run(&["init", "--from", name]).status.code(), Some(2), "{name}");
        }
        assert_eq!(case.run(&["init", "--from", "a.xz"]).status.code(), Some(3));
        assert!(!case.path("ouzel.toml").exists());
    }

    pub fn init_would_write_over(case: &mut Case) {
        case.file("ouzel.toml", "mine");
        events(case, "events.ndjson", 0..3);
        assert_eq!(case.run(&["init"]).status.code(), Some(2));
        assert_eq!(case.run(&["init", "--from", "events.ndjson"]).status.code(), Some(2));
        assert_eq!(std::fs::read(case.path("ouzel.toml")).expect("still there"), b"mine");
        assert_eq!(case.run(&["init", "-c", "other.toml"]).status.code(), Some(2));
        assert_eq!(case.run(&["init", "--output", "no/such.toml"]).status.code(), Some(5));
    }

    pub fn test_that_fails(case: &mut Case) {
        case.file(
            "ouzel.toml",
            "version = 1\n[[lookup]]\nname = \"plan\"\nkind = \"file\"\npath = \"plans.csv\"\nkey = \"event.user\"\n",
        );
        case.file("plans.csv", "id,plan\nu-1,pro\n");
        std::fs::create_dir(case.path("tests")).expect("made");
        case.file(
            "tests/shop.toml",
            r#"
[[case]]
name = "a user of the plan pro"
input = '{"type":"page","userId":"u-1"}'
expect.enriched = { plan.plan = "free", visitor.how = "given" }

[[case]]
name = "somebody we do not know"
input = ['{"type":"page","userId":"u-1"}', '{"type":"page","userId":"u-9"}', '{"userId":"u-9"}']
expect.enriched = { plan.plan = "pro" }
"#,
        );
        assert_eq!(case.run(&["test"]).status.code(), Some(1));
        assert_eq!(case.run(&["test", "-v", "--filter", "pro"]).status.code(), Some(1));
    }

    pub fn test_of_many_mistakes(case: &mut Case) {
        case.file(
            "cases.toml",
            r#"
[[case]]
name = "typing"
inputs = '{"type":"page"}'
given.goe = { country = "DE" }
expect.enriched = '{"geo": }'

[[case]]
name = "typing"
source = "wbe"
received = "yesterday"
input = '{"type":"page"}'
expect.dlq = "mising_field"
"#,
        );
        assert_eq!(case.run(&["test", "cases.toml"]).status.code(), Some(2));
        case.file("broken.toml", "[[case]]\nname = shop\n");
        assert_eq!(case.run(&["test", "broken.toml"]).status.code(), Some(2));
        case.file("file.toml", "[[case]]\nname = \"x\"\ninput_file = \"not-there.ndjson\"\nexpect.enriched = {}\n");
        assert_eq!(case.run(&["test", "file.toml"]).status.code(), Some(2));
    }

    pub fn test_without_cases(case: &mut Case) {
        assert_eq!(case.run(&["test"]).status.code(), Some(2));
        std::fs::create_dir(case.path("empty")).expect("made");
        assert_eq!(case.run(&["test", "empty"]).status.code(), Some(2));
        assert_eq!(case.run(&["test", "not-there.toml"]).status.code(), Some(2));
        case.file("one.toml", "[[case]]\nname = \"x\"\ninput = '{\"type\":\"page\"}'\nexpect.enriched = {}\n");
        assert_eq!(case.run(&["test", "one.toml", "--filter", "y"]).status.code(), Some(2));
        assert_eq!(case.run(&["test", "one.toml"]).status.code(), Some(0));
    }

    pub fn port_taken(case: &mut Case) {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("bound").port();
        case.hide(format!(":{port}"), ":$PORT");
        let out = case.run(&["run", "--data", "$DIR/data", "--listen", &format!("127.0.0.1:{port}")]);
        assert_eq!(out.status.code(), Some(5));
    }

    pub fn directory_not_writable(case: &mut Case) {
        // A temporary directory is its owner's alone; another user must get as far as the one that is meant.
        std::fs::set_permissions(case.dir(), std::fs::Permissions::from_mode(0o755)).expect("ours");
        let theirs = case.path("theirs");
        std::fs::create_dir(&theirs).expect("made");
        // SAFETY: geteuid has no memory effects.
        let root = unsafe { libc::geteuid() } == 0;
        std::fs::set_permissions(&theirs, std::fs::Permissions::from_mode(if root { 0o755 } else { 0o555 }))
            .expect("ours");
        // The binary may lie where only its owner may look.
        let binary = case.path("ouzel");
        std::fs::copy(env!("CARGO_BIN_EXE_ouzel"), &binary).expect("a copy");
        let mut command = Command::new(&binary);
        command.current_dir(case.dir()).args(["run", "--data", theirs.join("data").to_str().expect("text")]);
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        if root {
            command.uid(65534).gid(65534);
        }
        let out = command.output().expect("it starts");
        case.show(&["run", "--data", "$DIR/theirs/data"], &out);
        assert_eq!(out.status.code(), Some(5));
    }

    pub fn data_under_a_file(case: &mut Case) {
        case.file("notes.txt", "not a directory\n");
        assert_eq!(case.run(&["run", "--data", "$DIR/notes.txt/data"]).status.code(), Some(5));
        assert_eq!(std::fs::read(case.path("notes.txt")).expect("still there"), b"not a directory\n");
    }

    pub fn directory_in_use(case: &mut Case) {
        let running = case.start(&[]);
        for args in [
            &["run", "--data", "$DIR/data", "--listen", "127.0.0.1:0"][..],
            &["data", "prune", "--data", "$DIR/data"],
            &["data", "repair", "--quarantine", "--data", "$DIR/data"],
        ] {
            let out = case.run(args);
            assert_eq!(out.status.code(), Some(4));
            assert!(text(&out.stderr).contains(&format!("process {}", running.child.id())), "{}", text(&out.stderr));
        }
        case.note("To look is not to write.");
        assert_eq!(case.run(&["data", "verify", "--data", "$DIR/data"]).status.code(), Some(0));
        assert_eq!(running.end("-TERM").0, 0);
    }

    pub fn format_of_a_newer_version(case: &mut Case) {
        events(case, "events.ndjson", 0..3);
        read(case, "events.ndjson");
        let path = case.path("data/format");
        let format = std::fs::read_to_string(&path).expect("a format");
        let newer = format.replacen("ouzel 1", "ouzel 2", 1);
        assert_ne!(format, newer);
        std::fs::write(&path, &newer).expect("written");
        for args in [&["run", "--data", "$DIR/data"][..], &["tail", "--data", "$DIR/data"]] {
            assert_eq!(case.run(args).status.code(), Some(3));
        }
        assert_eq!(case.run(&["doctor", "--data", "$DIR/data"]).status.code(), Some(1));
        assert_eq!(std::fs::read_to_string(&path).expect("a format"), newer, "nothing is changed");
    }

    pub fn partitions_changed(case: &mut Case) {
        events(case, "events.ndjson", 0..3);
        read(case, "events.ndjson");
        let out = case.run(&["run", "--data", "$DIR/data", "--set", "data.partitions=4"]);
        assert_eq!(out.status.code(), Some(2));
    }

    pub fn no_data_directory(case: &mut Case) {
        assert_eq!(case.run(&["tail", "--data", "$DIR/nowhere"]).status.code(), Some(2));
        case.file("notes.txt", "");
        assert_eq!(case.run(&["topics", "--data", "$DIR"]).status.code(), Some(2));
        assert_eq!(case.run(&["data", "verify", "--data", "$DIR"]).status.code(), Some(2));
    }

    pub fn damaged_journal(case: &mut Case) {
        // Two frames of raw, so that the damage has something good behind it.
        events(case, "events.ndjson", 0..500);
        events(case, "more.ndjson", 500..1000);
        let one = ["--set", "data.partitions=1"];
        support::fine(
            ouzel()
                .args(["run", "-q", "--input"])
                .arg(case.path("events.ndjson"))
                .args(one)
                .arg("--data")
                .arg(case.path("data")),
        );
        support::fine(
            ouzel()
                .args(["run", "-q", "--input"])
                .arg(case.path("more.ndjson"))
                .args(one)
                .arg("--data")
                .arg(case.path("data")),
        );
        let segment = case.path("data/journal/00000000000000000001.seg");
        let mut bytes = std::fs::read(&segment).expect("a segment");
        let place = b"\"messageId\":\"m-250\"";
        let at = bytes.windows(place.len()).position(|w| w == place).expect("the event is stored as it came");
        bytes[at + 14] ^= 0x01;
        std::fs::write(&segment, &bytes).expect("written");
        case.loose();
        case.note("A byte in the middle of the first segment was changed.");
        for args in
            [&["run", "--data", "$DIR/data", "--set", "data.partitions=1"][..], &["tail", "--data", "$DIR/data"]]
        {
            let out = case.run(args);
            assert_eq!(out.status.code(), Some(3));
            let said = text(&out.stderr);
            let byte =
                said.split_once("damaged at byte ").and_then(|(_, s)| s.split(':').next()?.parse::<usize>().ok());
            let byte = byte.unwrap_or_else(|| panic!("no offset: {said}"));
            assert!(
                said.contains("00000000000000000001.seg") && byte <= at && at < byte + (1 << 20),
                "{said}, not {at}"
            );
        }
        assert!(std::fs::read(&segment).expect("a segment") == bytes, "nothing is changed");
        assert_eq!(case.run(&["data", "verify", "--data", "$DIR/data"]).status.code(), Some(3));
        assert_eq!(case.run(&["data", "repair", "--data", "$DIR/data"]).status.code(), Some(2));
        let out = case.run(&["data", "repair", "--quarantine", "--data", "$DIR/data"]);
        assert_eq!(out.status.code(), Some(0));
        assert!(text(&out.stdout).contains("lost: raw/0 from 0 to 500: 500 records"), "{}", text(&out.stdout));
        assert_eq!(case.run(&["data", "verify", "--data", "$DIR/data"]).status.code(), Some(0));
        case.note("All that was enriched before is there, and it takes events again.");
        let out = support::fine(ouzel().args(["tail", "-n", "2000", "--data"]).arg(case.path("data")));
        assert_eq!(out.stdout.iter().filter(|b| **b == b'\n').count(), 1000);
        events(case, "new.ndjson", 1000..1010);
        let out = case.run(&["run", "--input", "$DIR/new.ndjson", "--data", "$DIR/data", "--set", "data.partitions=1"]);
        assert_eq!(out.status.code(), Some(0));
    }

    pub fn killed_and_started_again(case: &mut Case) {
        let running = case.start(&[]);
        let body = lines(0..50);
        let (status, _) = case.post(&running, JSON, body.as_bytes(), "(50 events)");
        assert_eq!(status, 200);
        running.quiet();
        case.note("kill -9");
        let (_, said) = running.end("-KILL");
        assert_eq!(said, "");
        let running = case.start(&[]);
        running.quiet();
        let sums = sums(&running);
        assert_eq!((&sums["accepted"], &sums["processed"], &sums["adds_up"]), (&50.into(), &50.into(), &true.into()));
        let (code, said) = running.end("-TERM");
        case.ended(code, "", &without_counts_of_the_run(&said));
    }

    pub fn disk_full(case: &mut Case) {
        let disk = Disk::mount(&case.path("disk"), "48m");
        std::fs::write(disk.0.join("filler"), vec![0; 12 << 20]).expect("room");
        case.loose();
        case.note("$DIR/disk has 48 MiB; 12 MiB of it are taken by a file that is not ours.");
        let running = case.start_on("disk/data", &[]);
        let mut accepted = 0;
        let mut batch = 0;
        // What is refused beside a large frame may fit alone a moment later: full is what stays so.
        let mut in_a_row = 0;
        let mut body = wide(batch);
        let refused = loop {
            let (status, answer) = running.post("/v1/events", JSON, &body);
            if status == 200 {
                in_a_row = 0;
                accepted += json(&answer)["accepted"].as_u64().expect("a number");
                batch += 1;
                body = wide(batch);
                assert!(batch < 1000, "never full");
                continue;
            }
            in_a_row += 1;
            if in_a_row == 5 {
                break body;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        };
        assert!(accepted > 1000, "full at once: {accepted}");
        let (status, answer) = case.post(&running, JSON, &refused, "(200 events)");
        assert_eq!((status, json(answer.as_bytes())["code"].as_str()), (503, Some("disk_full")));
        case.note("Reading goes on.");
        assert_eq!(case.get(&running, "/healthz").0, 200);
        let (status, ready) = case.get(&running, "/readyz");
        assert!(status == 503 && ready.contains("the disk is full"), "{ready}");
        let records = running.get("/v1/topics/raw/records?partition=0&from=0&limit=10");
        assert_eq!((records.0, records.1.iter().filter(|b| **b == b'\n').count()), (200, 10));
        let tail = support::fine(ouzel().args(["tail", "raw", "-n", "5", "--data"]).arg(disk.0.join("data")));
        assert_eq!(tail.stdout.iter().filter(|b| **b == b'\n').count(), 5);
        case.note("The filler is removed.");
        std::fs::remove_file(disk.0.join("filler")).expect("removed");
        until("it accepts again", || {
            let (status, answer) = running.post("/v1/events", JSON, &refused);
            let all = status == 200;
            accepted += if all { json(&answer)["accepted"].as_u64().expect("a number") } else { 0 };
            all
        });
        running.quiet();
        let sums = sums(&running);
        assert_eq!((&sums["accepted"], &sums["processed"]), (&accepted.into(), &accepted.into()), "{sums}");
        assert_eq!((&sums["deduplicated"], &sums["adds_up"]), (&0.into(), &true.into()), "{sums}");
        assert_eq!(case.get(&running, "/readyz").0, 200);
        let (code, said) = running.end("-TERM");
        case.ended(code, "", &said);
        assert_eq!(code, 0);
        let enriched = support::fine(ouzel().args(["tail", "--from", "start", "--data"]).arg(disk.0.join("data")));
        assert_eq!(enriched.stdout.iter().filter(|b| **b == b'\n').count() as u64, accepted, "nothing is lost");
        support::fine(ouzel().args(["data", "verify", "--data"]).arg(disk.0.join("data")));
    }

    pub fn disk_full_while_a_file_is_read(case: &mut Case) {
        let disk = Disk::mount(&case.path("disk"), "96m");
        std::fs::write(disk.0.join("filler"), vec![0; 62 << 20]).expect("room");
        case.loose();
        // IMPORTANT: the file alone is more than there is room for, so that reading waits even when nothing is enriched
        // meanwhile; without the filler there is room for it twice and more, in `raw` and in `enriched`.
        let file: Vec<u8> = (0..112).flat_map(wide).collect();
        let kept_free = (96 << 20) / 10;
        assert!(file.len() > ((96 - 62) << 20) - kept_free);
        case.file("events.ndjson", file);
        case.note("$DIR/disk has 96 MiB; 62 MiB of it are taken by a file that is not ours.");
        let running = case.start_on("disk/data", &["--input", "$DIR/events.ndjson", "--until-idle"]);
        // Small commits of what was read before may still find room: full is what stays so.
        let mut in_a_row = 0;
        until("reading waits", || {
            let status = json(&running.get("/status.json").1);
            let waits = status["inputs"][0]["waiting"].is_string() && running.get("/readyz").0 == 503;
            in_a_row = if waits { in_a_row + 1 } else { 0 };
            in_a_row == 20
        });
        assert_eq!(case.get(&running, "/readyz").0, 503);
        case.note("Stopped while there is no room, it does not wait for it.");
        let (code, said) = running.end("-TERM");
        // Whether the last that was accepted is enriched by then is chance; what is not is told.
        let waiting = said.contains("They are safe, and the next start goes on with them");
        assert_eq!(code, if waiting { 5 } else { 0 }, "{said}");
        assert_eq!(said.contains(" + 0 in flight"), !waiting, "{said}");
        case.note("The filler is removed; the same command goes on where it was.");
        std::fs::remove_file(disk.0.join("filler")).expect("removed");
        support::fine(
            ouzel().args(["run", "--input"]).arg(case.path("events.ndjson")).arg("--data").arg(disk.0.join("data")),
        );
        let enriched = support::fine(ouzel().args(["tail", "--from", "start", "--data"]).arg(disk.0.join("data")));
        assert_eq!(enriched.stdout.iter().filter(|b| **b == b'\n').count(), 112 * 200, "nothing is lost");
    }

    pub fn bad_gzip_file(case: &mut Case) {
        let whole = gzip(lines(0..1000).as_bytes());
        case.file("events.ndjson.gz", &whole[..whole.len() * 3 / 4]);
        case.loose();
        let args = ["run", "--input", "$DIR/events.ndjson.gz", "--data", "$DIR/data"];
        let out = case.run(&args);
        assert_eq!(out.status.code(), Some(3));
        assert!(text(&out.stderr).contains("+ 0 in flight"), "what was accepted is enriched: {}", text(&out.stderr));
        case.note("The file is whole again.");
        case.file("events.ndjson.gz", &whole);
        assert_eq!(case.run(&args).status.code(), Some(0));
        let out = support::fine(ouzel().args(["tail", "--from", "start", "--data"]).arg(case.path("data")));
        assert_eq!(out.stdout.iter().filter(|b| **b == b'\n').count(), 1000);
        case.file("magic.gz", b"\x1f\x8bno gzip behind its first two bytes");
        assert_eq!(case.run(&["run", "--input", "$DIR/magic.gz", "--data", "$DIR/data"]).status.code(), Some(3));
        case.file("header.gz", b"\x1f\x8b\x08no gzip behind its first three bytes");
        assert_eq!(case.run(&["run", "--input", "$DIR/header.gz", "--data", "$DIR/data"]).status.code(), Some(3));
    }

    pub fn bomb_file(case: &mut Case) {
        let small = events(case, "small.ndjson", 0..3);
        let before = peak_of_run(case, &small, "small").1;
        let begin = b"{\"messageId\":\"long\",\"event\":\"view\",\"x\":\"";
        let mut packed = gzip(begin);
        packed.extend(gzip(&vec![b'y'; 10_000_000]).repeat(100));
        packed.extend(gzip(b"\"}\n"));
        packed.extend(gzip(lines(0..3).as_bytes()));
        assert!((900_000..1_100_000).contains(&packed.len()), "{}", packed.len());
        let bomb = case.file("bomb.gz", packed);
        case.note("bomb.gz: 1 MB that inflates to one event of 1 GB, and three good ones behind it.");
        let (out, peak) = peak_of_run(case, &bomb, "gzip");
        case.show(&["run", "--input", "$DIR/bomb.gz", "--data", "$DIR/gzip"], &out);
        assert!(peak < before + MEMORY_MAX_KB, "{peak} kB after {before}");
        assert!(text(&out.stderr).contains("4 received = 3 accepted + 1 refused"), "{}", text(&out.stderr));
        let letter =
            json(&support::fine(ouzel().args(["dlq", "list", "--json", "--data"]).arg(case.path("gzip"))).stdout);
        assert_eq!(letter["value"]["length"], begin.len() + 1_000_000_000 + 2);
        case.note("bomb.zst: 32 KB that inflate to 1 GB.");
        let bomb = case.file("bomb.zst", zstd_bomb());
        let (out, peak) = peak_of_run(case, &bomb, "zstd");
        case.show(&["run", "--input", "$DIR/bomb.zst", "--data", "$DIR/zstd"], &out);
        assert_eq!(out.status.code(), Some(3));
        assert!(peak < before + MEMORY_MAX_KB, "{peak} kB after {before}");
    }

    pub fn event_of_10_mb_in_a_file(case: &mut Case) {
        let mut body = lines(0..3).into_bytes();
        let at = body.len();
        let long = long_event(10 << 20);
        body.extend_from_slice(&long);
        body.push(b'\n');
        body.extend_from_slice(lines(3..6).as_bytes());
        case.file("events.ndjson", body);
        let out =
            case.run(&["run", "--input", "$DIR/events.ndjson", "--data", "$DIR/data", "--set", "data.partitions=1"]);
        assert!(text(&out.stderr).contains("7 received = 6 accepted + 1 refused"));
        case.run(&["dlq", "list", "--data", "$DIR/data"]);
        let letter = json(
            &support::fine(ouzel().args(["dlq", "show", "0:0", "--json", "--data"]).arg(case.path("data"))).stdout,
        );
        cut_letter(&letter["value"], &long);
        assert!(letter["value"]["position"].as_str().expect("text").ends_with(&format!(":{at}")));
    }

    pub fn bad_events_in_a_file(case: &mut Case) {
        for (name, event) in bad_events() {
            let file = format!("{name}.ndjson");
            case.file(&file, [event.as_slice(), b"\n"].concat());
            let (input, dir) = (format!("$DIR/{file}"), format!("$DIR/{name}"));
            let args = ["run", "--input", &input, "--data", &dir, "--set", "data.partitions=1"];
            assert_eq!(case.run(&args).status.code(), Some(0));
            let out = case.run(&["dlq", "list", "--data", &dir]);
            assert!(text(&out.stdout).contains(name), "{}", text(&out.stdout));
            let shown =
                support::fine(ouzel().args(["dlq", "show", "0:0", "--original", "--data"]).arg(case.path(name)));
            assert_eq!(shown.stdout, event[..event.len().min(32 << 10)]);
        }
        case.note("A last line that is cut off costs none of its neighbours.");
        case.file("cut.ndjson", format!("{}{{\"messageId\":\"m-3\",\"event\":\"vi", lines(0..3)));
        let out = case.run(&["run", "--input", "$DIR/cut.ndjson", "--data", "$DIR/cut"]);
        assert!(text(&out.stderr).contains("4 received = 3 accepted + 1 refused"));
    }

    pub fn empty_file(case: &mut Case) {
        case.file("empty.ndjson", "");
        assert_eq!(case.run(&["run", "--input", "$DIR/empty.ndjson", "--data", "$DIR/data"]).status.code(), Some(0));
        case.file("blank.ndjson", "\n\n");
        assert_eq!(case.run(&["run", "--input", "$DIR/blank.ndjson", "--data", "$DIR/data"]).status.code(), Some(0));
        case.note("Read before.");
        events(case, "events.ndjson", 0..3);
        read(case, "events.ndjson");
        assert_eq!(case.run(&["run", "--input", "$DIR/events.ndjson", "--data", "$DIR/data"]).status.code(), Some(0));
    }

    pub fn file_not_there(case: &mut Case) {
        events(case, "events.ndjson", 0..3);
        for name in ["event.ndjson", "nothing-like-it", "nowhere/events.ndjson"] {
            let out = case.run(&["run", "--input", &format!("$DIR/{name}"), "--data", "$DIR/data"]);
            assert_eq!(out.status.code(), Some(2));
        }
    }

    pub fn directory_as_input(case: &mut Case) {
        std::fs::create_dir(case.path("logs")).expect("made");
        case.file("logs/access.log", "");
        assert_eq!(case.run(&["run", "--input", "$DIR/logs", "--data", "$DIR/data"]).status.code(), Some(2));
    }

    pub fn wrong_preset(case: &mut Case) {
        std::os::unix::fs::symlink(data("weblogs/apache_logs"), case.path("access.log")).expect("a link");
        let out = case.run(&["run", "--input", "$DIR/access.log", "--data", "$DIR/data"]);
        assert_eq!(out.status.code(), Some(2));
        assert!(text(&out.stderr).contains("line 1 looks like a combined access log; add `--preset access-log`"));
        case.note("As it says.");
        let out = case.run(&["run", "--input", "$DIR/access.log", "--preset", "access-log", "--data", "$DIR/data"]);
        assert_eq!(out.status.code(), Some(0));
        assert!(text(&out.stderr).contains("10,000 received = 10,000 accepted + 0 refused"));
    }

    pub fn csv_without_zone(case: &mut Case) {
        std::os::unix::fs::symlink(data("clicks/ecom.csv"), case.path("ecom.csv")).expect("a link");
        let args = ["run", "--input", "$DIR/ecom.csv", "--preset", "csv", "--data", "$DIR/data"];
        let out = case.run(&args);
        assert_eq!(out.status.code(), Some(2));
        assert!(text(&out.stderr).contains("--map time=/timestamp,zone=UTC"));
        case.note("As it says.");
        // The file is not in the order of its times, and how many are too late for their session is another thing.
        let more = ["--map", "time=/timestamp,zone=UTC", "--set", "sessions.enabled=false"];
        let out = case.run(&[&args[..], &more].concat());
        assert!(text(&out.stderr).contains("31,106 received = 31,106 accepted + 0 refused"));
    }

    pub fn bad_gzip_over_http(case: &mut Case) {
        let running = case.start(&[]);
        let whole = gzip(lines(0..100).as_bytes());
        let headers = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
        let cut = &whole[..whole.len() / 2];
        case.hide(cut.len(), "$N");
        assert_eq!(case.post(&running, headers, cut, "(gzip, cut in half)").0, 400);
        assert_eq!(case.post(&running, headers, b"this is no gzip", "(no gzip)").0, 400);
        let brotli = headers.replace("gzip", "br");
        assert_eq!(case.post(&running, &brotli, b"...", "(brotli)").0, 415);
        assert_eq!(case.post(&running, headers, &whole, "(gzip, whole)").0, 200);
        assert_eq!(running.end("-TERM").0, 0);
    }

    pub fn bomb_over_http(case: &mut Case) {
        let running = case.start(&[]);
        let zeros = gzip(&vec![b' '; 10_000_000]).repeat(100);
        assert!((900_000..1_048_576).contains(&zeros.len()), "{}", zeros.len());
        let before = kb(&running.child, "VmRSS");
        for (encoding, body, shown) in
            [("gzip", zeros, "(1 MB that inflates to 1 GB)"), ("zstd", zstd_bomb(), "(32 KB that inflate to 1 GB)")]
        {
            let headers = format!("{JSON}Content-Encoding: {encoding}\r\n");
            assert_eq!(case.post(&running, &headers, &body, shown).0, 413);
        }
        let peak = kb(&running.child, "VmHWM");
        assert!(peak < before + MEMORY_MAX_KB, "{peak} kB after {before}");
        assert_eq!(running.end("-TERM").0, 0);
    }

    pub fn event_of_10_mb_over_http(case: &mut Case) {
        let running = case.start(&["--set", "data.partitions=1"]);
        case.note("Larger than a batch may be.");
        assert_eq!(case.post(&running, JSON, &long_event(10 << 20), "(an event of 10 MB)").0, 413);
        case.note("Larger than an event may be, between two good ones.");
        let long = long_event(500_000);
        let body = [lines(0..1).as_bytes(), &long, b"\n", lines(1..2).as_bytes()].concat();
        let (status, answer) = case.post(&running, JSON, &body, "(an event of 1 KB, one of 500 KB, one of 1 KB)");
        assert_eq!((status, json(answer.as_bytes())["accepted"].as_u64()), (200, Some(2)));
        let letter = json(
            &support::fine(ouzel().args(["dlq", "show", "0:0", "--json", "--data"]).arg(case.path("data"))).stdout,
        );
        cut_letter(&letter["value"], &long);
        assert_eq!(running.end("-TERM").0, 0);
    }

    pub fn bad_events_over_http(case: &mut Case) {
        let running = case.start(&[]);
        for (name, event) in bad_events() {
            let shown = String::from_utf8_lossy(&event[..event.len().min(100)]).into_owned();
            let (status, answer) = case.post(&running, JSON, &event, &shown);
            assert!(status == 400 && answer.contains(name), "{answer}");
        }
        assert_eq!(case.post(&running, JSON, b"", "(nothing)").0, 400);
        assert_eq!(case.post(&running, "Content-Type: text/csv\r\n", b"a,b", "a,b").0, 415);
        assert_eq!(running.end("-TERM").0, 0);
    }

    pub fn no_databases_at_all(case: &mut Case) {
        events(case, "events.ndjson", 0..3);
        let out = case.run(&["run", "--input", "$DIR/events.ndjson", "--data", "$DIR/data"]);
        assert_eq!(out.status.code(), Some(0));
        assert!(text(&out.stderr).contains("no geo database"));
        assert_eq!(case.run(&["doctor", "--data", "$DIR/data"]).status.code(), Some(0));
    }

    pub fn lookups_that_wait_for_one_another(case: &mut Case) {
        let lookup = |name: &str, more: &str| {
            format!("\n[[lookup]]\nname = \"{name}\"\nkind = \"file\"\npath = \"{name}s.csv\"\n{more}\n")
        };
        let user = lookup("user", "key = \"event.user\"\nwhen = \"event.user != null && enriched.plan.paid\"");
        case.file("ouzel.toml", format!("version = 1\n{user}{}", lookup("plan", "key = \"enriched.user.plan\"")));
        assert_eq!(case.run(&["check", "$DIR/ouzel.toml"]).status.code(), Some(2));
        assert_eq!(case.run(&["run", "-c", "$DIR/ouzel.toml"]).status.code(), Some(2));
    }

    pub fn lookup_file_with_a_bad_row(case: &mut Case) {
        let lookup = "[[lookup]]\nname = \"user\"\nkind = \"file\"\npath = \"users.csv\"\nkey = \"event.user\"\n";
        case.file("ouzel.toml", format!("version = 1\n\n{lookup}"));
        case.file("users.csv", "id,plan\nu1,pro\nu2,\"free\n");
        case.file("events.ndjson", "{\"type\":\"a\",\"userId\":\"u1\"}\n");
        let run = ["run", "-c", "$DIR/ouzel.toml", "--input", "$DIR/events.ndjson", "--data", "$DIR/data"];
        assert_eq!(case.run(&run).status.code(), Some(0));
        case.file("ouzel.toml", format!("version = 1\n\n{lookup}required = true\n"));
        assert_eq!(case.run(&run).status.code(), Some(3));
        case.file("ouzel.toml", format!("version = 1\n\n{lookup}key_column = \"user\"\n"));
        case.file("users.csv", "id,plan\nu1,pro\nu1,free\n");
        assert_eq!(case.run(&run).status.code(), Some(0));
        assert_eq!(case.run(&["doctor", "-c", "$DIR/ouzel.toml"]).status.code(), Some(1));
        case.file("ouzel.toml", format!("version = 1\n\n{lookup}"));
        assert_eq!(case.run(&["doctor", "-c", "$DIR/ouzel.toml"]).status.code(), Some(0));
    }

    pub fn geo_database_not_there(case: &mut Case) {
        geo(case, 2);
    }

    pub fn geo_database_corrupt(case: &mut Case) {
        case.file("city.mmdb", (0..5000u32).map(|n| (n * 7 % 251) as u8).collect::<Vec<_>>());
        geo(case, 3);
    }

    fn geo(case: &mut Case, exit: i32) {
        events(case, "events.ndjson", 0..3);
        let args =
            ["run", "--input", "$DIR/events.ndjson", "--data", "$DIR/data", "--set", "geo.database=$DIR/city.mmdb"];
        let out = case.run(&args);
        assert_eq!(out.status.code(), Some(0), "events are taken in all the same");
        assert_eq!(
            case.run(&["doctor", "--data", "$DIR/data", "--set", "geo.database=$DIR/city.mmdb"]).status.code(),
            Some(1)
        );
        let out = case.run(&[&args[..], &["--set", "geo.required=true"]].concat());
        assert_eq!(out.status.code(), Some(exit));
        let running = case.start(&["--set", "geo.database=$DIR/city.mmdb"]);
        // Its events say themselves that they have no place: no reason to turn senders away.
        let (status, ready) = case.get(&running, "/readyz");
        assert!(status == 200 && ready.contains("city.mmdb"), "{ready}");
        let _ = running.end("-TERM");
    }

    pub fn dead_letter_not_there(case: &mut Case) {
        events(case, "events.ndjson", 0..3);
        read(case, "events.ndjson");
        assert_eq!(case.run(&["dlq", "list", "--data", "$DIR/data"]).status.code(), Some(0));
        assert_eq!(case.run(&["dlq", "list", "--code", "missing", "--data", "$DIR/data"]).status.code(), Some(2));
        assert_eq!(case.run(&["dlq", "show", "0:0", "--data", "$DIR/data"]).status.code(), Some(1));
    }

    pub fn ctrl_c_twice(case: &mut Case) {
        let running = case.start(&[]);
        let (status, _) = case.post(&running, JSON, lines(0..10).as_bytes(), "(10 events)");
        assert_eq!(status, 200);
        // A request that never ends holds the port open for as long as it may.
        let mut slow = std::net::TcpStream::connect(&running.addr).expect("connected");
        let head = format!("POST /v1/events HTTP/1.1\r\nHost: {}\r\n{JSON}Content-Length: 100\r\n\r\n{{", running.addr);
        slow.write_all(head.as_bytes()).expect("sent");
        std::thread::sleep(Duration::from_millis(200));
        case.note("SIGINT while a request is on its way, and another one a moment later.");
        signal(&running.child, "-INT");
        std::thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        let (code, said) = running.end("-INT");
        assert!(begun.elapsed() < Duration::from_secs(2), "it stops at once");
        case.ended(code, "", &said);
        case.note("Nothing that was answered is lost.");
        let running = case.start(&[]);
        running.quiet();
        assert_eq!(sums(&running)["processed"], 10);
        assert_eq!(running.end("-TERM").0, 0);
    }

    pub fn output_cut_by_somebody(case: &mut Case) {
        events(case, "events.ndjson", 0..30);
        let args = ["run", "--input", "$DIR/events.ndjson", "--output", "$DIR/out.ndjson", "--data", "$DIR/data"];
        assert_eq!(case.run(&args).status.code(), Some(0));
        let whole = std::fs::read(case.path("out.ndjson")).expect("the output");
        case.hide(whole.len(), "$N");
        std::fs::write(case.path("out.ndjson"), &whole[..100]).expect("cut");
        case.note("Somebody cuts $DIR/out.ndjson to 100 bytes.");
        assert_eq!(case.run(&args).status.code(), Some(3));
        case.note("As it says.");
        let other = args.map(|a| a.replace("out.ndjson", "again.ndjson"));
        assert_eq!(case.run(&other.each_ref().map(String::as_str)).status.code(), Some(0));
        let again = std::fs::read(case.path("again.ndjson")).expect("the output");
        assert_eq!(again.iter().filter(|b| **b == b'\n').count(), 30);
    }

    pub fn output_is_a_directory(case: &mut Case) {
        events(case, "events.ndjson", 0..3);
        std::fs::create_dir(case.path("out")).expect("made");
        for (output, exit) in [("$DIR/out", 2), ("$DIR/nowhere/out.ndjson", 5)] {
            let out = case.run(&["run", "--input", "$DIR/events.ndjson", "--output", output, "--data", "$DIR/data"]);
            assert_eq!(out.status.code(), Some(exit));
        }
    }
}

/// What a bomb may add to the memory of the process.
const MEMORY_MAX_KB: u64 = 32 * 1024;

/// A disk of its own; needs the right to mount.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, size: &str) -> Disk {
        std::fs::create_dir(at).expect("made");
        let out = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(at).output();
        let out = out.expect("there is a `mount`");
        let said = text(&out.stderr);
        assert!(
            out.status.success(),
            "a full disk cannot be tried: mounting a tmpfs failed: {said} (run the tests as root)"
        );
        Disk(at.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn lines(range: std::ops::Range<u32>) -> String {
    let line = |n| format!("{{\"messageId\":\"m-{n}\",\"event\":\"view\",\"anonymousId\":\"v-{}\"}}\n", n % 7);
    range.map(line).collect()
}

fn events(case: &Case, name: &str, range: std::ops::Range<u32>) -> PathBuf {
    case.file(name, lines(range))
}

/// 200 events of 1.2 KB, with ids of this batch.
fn wide(batch: u32) -> Vec<u8> {
    let pad = "y".repeat(1100);
    let line = |n| {
        format!("{{\"messageId\":\"m-{batch}-{n}\",\"event\":\"view\",\"anonymousId\":\"v-{n}\",\"pad\":\"{pad}\"}}\n")
    };
    (0..200).map(line).collect::<String>().into_bytes()
}

/// Reads a file of the case into `$DIR/data`, without a word in the case.
fn read(case: &Case, name: &str) {
    support::fine(ouzel().args(["run", "--input"]).arg(case.path(name)).arg("--data").arg(case.path("data")));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("to memory");
    encoder.finish().expect("to memory")
}

fn zstd_bomb() -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).expect("an encoder");
    std::io::copy(&mut std::io::repeat(b' ').take(1 << 30), &mut encoder).expect("to memory");
    let bomb = encoder.finish().expect("to memory");
    assert!(bomb.len() < 120_000, "{}", bomb.len());
    bomb
}

fn long_event(bytes: usize) -> Vec<u8> {
    let mut out = b"{\"messageId\":\"long\",\"event\":\"view\",\"anonymousId\":\"v\",\"x\":\"".to_vec();
    out.resize(bytes - 2, b'y');
    out.extend_from_slice(b"\"}");
    out
}

/// The dead letter of an event that is too large to keep.
fn cut_letter(letter: &Value, event: &[u8]) {
    assert_eq!(letter["code"], "too_large");
    assert_eq!(letter["length"], event.len());
    assert_eq!(letter["event"].as_str().expect("text").as_bytes(), &event[..32 << 10]);
    let mut sum = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sha256sum");
    sum.stdin.take().expect("piped").write_all(event).expect("sent");
    let sum = text(&sum.wait_with_output().expect("it ends").stdout);
    assert_eq!(letter["sha256"].as_str(), sum.split(' ').next());
}

/// (code, event)
fn bad_events() -> [(&'static str, Vec<u8>); 3] {
    let deep =
        format!("{{\"event\":\"view\",\"anonymousId\":\"v\",\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    [
        ("too_deep", deep.into_bytes()),
        ("not_json", b"{\"messageId\":\"m\",\"event\":\"vi".to_vec()),
        ("duplicate_member", b"{\"event\":\"view\",\"event\":\"click\",\"anonymousId\":\"v\"}".to_vec()),
    ]
}

fn sums(running: &Running) -> Value {
    json(&running.get("/status.json").1)["sums"].clone()
}

/// The lines that say how much a run did before it was stopped, which is chance.
fn without_counts_of_the_run(said: &str) -> String {
    let chance = [" received = ", " accepted = ", " accepted (+", " events added to "];
    said.lines().filter(|l| !chance.iter().any(|c| l.contains(c))).map(|l| format!("{l}\n")).collect()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A line of /proc/PID/status, in kB; `None` when the process has ended.
fn try_kb(child: &Child, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    status.lines().find_map(|l| l.strip_prefix(name)?.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok())
}

fn kb(child: &Child, name: &str) -> u64 {
    try_kb(child, name).unwrap_or_else(|| panic!("no {name}"))
}

/// Reads a file with `ouzel run`; also the most memory it took, in kB.
fn peak_of_run(case: &Case, input: &Path, dir: &str) -> (std::process::Output, u64) {
    let mut command = ouzel();
    command.args(["run", "--input"]).arg(input).arg("--data").arg(case.path(dir));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut peak = 0;
    while child.try_wait().expect("it runs").is_none() {
        peak = try_kb(&child, "VmHWM").unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(peak > 0);
    (child.wait_with_output().expect("it ended"), peak)
}
