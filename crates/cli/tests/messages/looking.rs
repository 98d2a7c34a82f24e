//! Cases of commands that look into state and keep it: `sessions`, `explain`, `savepoint`, `restore`.

use super::case::Case;
use super::support::text;
use super::{JSON, events, lines, read};

pub fn sessions_of_nobody(case: &mut Case) {
    events(case, "events.ndjson", 0..3);
    read(case, "events.ndjson");
    assert_eq!(case.run(&["sessions", "nobody", "--data", "$DIR/data"]).status.code(), Some(1));
    assert_eq!(case.run(&["sessions", "nobody", "--json", "--data", "$DIR/data"]).status.code(), Some(1));
    case.note("Nothing has ended yet.");
    assert_eq!(case.run(&["sessions", "--data", "$DIR/data"]).status.code(), Some(0));
}

pub fn explain_of_nothing(case: &mut Case) {
    events(case, "events.ndjson", 0..3);
    read(case, "events.ndjson");
    assert_eq!(case.run(&["explain", "nothing", "--data", "$DIR/data"]).status.code(), Some(1));
    assert_eq!(case.run(&["explain", "--data", "$DIR/data"]).status.code(), Some(2));
    let divergence = ["explain", "divergence", "--partition", "9", "--data", "$DIR/data"];
    assert_eq!(case.run(&divergence).status.code(), Some(2));
    let running = case.start(&[]);
    assert_eq!(case.run(&["explain", "divergence", "--data", "$DIR/data"]).status.code(), Some(4));
    assert_eq!(case.run(&["explain", "nothing", "--data", "$DIR/data"]).status.code(), Some(1));
    assert_eq!(running.end("-TERM").0, 0);
}

pub fn savepoint_refused(case: &mut Case) {
    assert_eq!(case.run(&["savepoint", "--data", "$DIR/nowhere"]).status.code(), Some(2));
    let running = case.start(&["--set", "state.snapshot_every=1h"]);
    assert_eq!(case.run(&["savepoint", "../up", "--data", "$DIR/data"]).status.code(), Some(2));
    assert_eq!(case.post(&running, JSON, lines(10..20).as_bytes(), "(10 events)").0, 200);
    running.quiet();
    // Until the stage has committed, too.
    std::thread::sleep(std::time::Duration::from_millis(500));
    super::support::fine(super::ouzel().args(["savepoint", "first", "--data"]).arg(case.path("data")));
    assert_eq!(case.run(&["savepoint", "first", "--data", "$DIR/data"]).status.code(), Some(2));
    assert_eq!(case.run(&["savepoint", "first", "--stop", "--data", "$DIR/data"]).status.code(), Some(2));
    assert_eq!(case.post(&running, JSON, lines(0..10).as_bytes(), "(10 events)").0, 200);
    running.quiet();
    std::thread::sleep(std::time::Duration::from_millis(500));
    case.note("kill -9");
    assert_eq!(running.end("-KILL").1, "");
    let out = case.run(&["savepoint", "second", "--data", "$DIR/data"]);
    assert_eq!(out.status.code(), Some(1));
    // How many control records there were is a matter of time.
    let said = text(&out.stderr);
    for (before, placeholder) in
        [("read up to ", "read up to $COMMITTED"), ("its state is of ", "its state is of $SNAPSHOT")]
    {
        let at = said.find(before).expect("it is said") + before.len();
        let number: String = said[at..].chars().take_while(char::is_ascii_digit).collect();
        case.hide(format!("{before}{number}"), placeholder);
    }
    case.note("Another one without sessions.");
    let off = case.start_on("off", &["--set", "sessions.enabled=false"]);
    assert_eq!(case.run(&["savepoint", "--data", "$DIR/off"]).status.code(), Some(1));
    assert_eq!(off.end("-TERM").0, 0);
}

pub fn restore_refused(case: &mut Case) {
    events(case, "events.ndjson", 0..3);
    read(case, "events.ndjson");
    super::support::fine(super::ouzel().args(["savepoint", "s", "--data"]).arg(case.path("data")));
    assert_eq!(case.run(&["restore", "$DIR/data", "--to", "$DIR/new"]).status.code(), Some(3));
    assert_eq!(case.run(&["restore", "$DIR/data/savepoints/s", "--to", "$DIR/data"]).status.code(), Some(2));
    case.note("The savepoint is of another version.");
    let said = std::fs::read_to_string(case.path("data/savepoints/s/SAVEPOINT")).expect("there");
    case.file("data/savepoints/s/SAVEPOINT", said.replace("\"format\": 1", "\"format\": 2"));
    assert_eq!(case.run(&["restore", "$DIR/data/savepoints/s", "--to", "$DIR/new"]).status.code(), Some(3));
    case.note("A manifest is cut off.");
    case.file("data/savepoints/s/SAVEPOINT", &said);
    let dir = case.path("data/savepoints/s/sessions/0");
    let manifest = std::fs::read_dir(dir)
        .expect("there")
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "manifest"));
    let manifest = manifest.expect("there");
    let name = manifest.file_name().expect("a name").to_str().expect("text").to_owned();
    case.hide(name, "$MANIFEST");
    std::fs::write(&manifest, "{").expect("written");
    let out = case.run(&["restore", "$DIR/data/savepoints/s", "--to", "$DIR/new"]);
    assert_eq!(out.status.code(), Some(3), "{}", text(&out.stderr));
    assert!(!case.path("new").exists());
}
