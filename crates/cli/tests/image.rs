//! The Dockerfile, read as text: what it runs exists in this program. Whether it builds, only an engine can tell.

#![allow(clippy::disallowed_methods)] // tests look at real files and processes

mod support;

use std::path::Path;

use support::{Running, fine, output, ouzel, text};

/// Instructions with their words, lines that go on joined, comments out.
fn instructions() -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Dockerfile");
    let file = std::fs::read_to_string(path).expect("the Dockerfile");
    let lines: Vec<&str> = file.lines().filter(|l| !l.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let split = |line: &str| {
        let (name, rest) = line.trim().split_once(' ')?;
        Some((name.to_owned(), rest.trim().to_owned()))
    };
    joined.lines().filter_map(split).collect()
}

/// The words of `["ouzel", "run"]`, which may stand behind options.
fn exec_form(text: &str) -> Vec<String> {
    let at = text.find('[').unwrap_or_else(|| panic!("not in the form that needs no shell: {text}"));
    serde_json::from_str(&text[at..]).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn all(name: &str) -> Vec<String> {
    instructions().into_iter().filter(|(n, _)| n == name).map(|(_, rest)| rest).collect()
}

/// A command of the program with flags that it has.
fn exists(command: &[String]) {
    let mut flags = Vec::new();
    let mut words = Vec::new();
    for word in command {
        if word.starts_with('-') {
            flags.push(word.as_str())
        } else if flags.is_empty() {
            words.push(word.as_str())
        }
    }
    assert!(!words.is_empty(), "{command:?} is no command");
    let help = text(&fine(ouzel().args(&words).arg("--help")).stdout);
    for flag in flags {
        let has = |line: &str| line.split([' ', ',']).any(|w| w.split(['=', '[']).next() == Some(flag));
        assert!(help.lines().any(has), "`ouzel {}` has no {flag}:\n{help}", words.join(" "));
    }
}

#[test]
fn what_the_image_runs_exists() {
    let [entry] = all("ENTRYPOINT").try_into().expect("one");
    assert_eq!(exec_form(&entry), ["ouzel"]);
    let [start] = all("CMD").try_into().expect("one");
    let start = exec_form(&start);
    exists(&start);
    assert!(!start.contains(&"--insecure".to_owned()), "whoever starts it says so, not the image");
    let [health] = all("HEALTHCHECK").try_into().expect("one");
    let health = exec_form(health.split_once("CMD ").expect("a command").1);
    assert_eq!(health[0], "ouzel");
    exists(&health[1..]);

    // The program is copied to where the search finds it.
    let copied = all("COPY").into_iter().any(|c| c.ends_with("/release/ouzel /usr/local/bin/ouzel"));
    assert!(copied, "{:?}", all("COPY"));
    let [user] = all("USER").try_into().expect("one");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user} is root, or may be");
}

/// A key that is not there would end every command with 2.
#[test]
fn its_variables_are_keys() {
    let mut command = ouzel();
    command.arg("check");
    let mut dirs = Vec::new();
    for variable in all("ENV") {
        let (name, value) = variable.split_once('=').expect("NAME=value");
        command.env(name, value);
        dirs.push(value.to_owned());
    }
    let tmp = tempfile::tempdir().expect("a directory");
    fine(command.current_dir(tmp.path()));
    let [volume] = all("VOLUME").try_into().expect("one");
    assert!(!dirs.is_empty() && dirs.iter().all(|d| d.starts_with(&format!("{volume}/"))), "{dirs:?}");
}

/// What the documents tell people to run in it.
#[test]
fn what_the_documents_run_in_it_exists() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let mut count = 0;
    for line in page.lines().filter(|l| l.contains("docker run ")) {
        // Behind the image's name.
        let Some((_, command)) = line.rsplit_once(" ouzel ") else { continue };
        let words: Vec<String> = command.trim_end_matches('`').split(' ').map(str::to_owned).collect();
        let known: Vec<String> = words.into_iter().filter(|w| !w.contains(['/', ':'])).collect();
        exists(&known);
        count += 1;
    }
    assert!(count >= 2, "the page has moved");
}

#[test]
fn the_health_check_tells_running_from_not() {
    let tmp = tempfile::tempdir().expect("a directory");
    let dir = tmp.path().join("data");
    let check = || output(ouzel().args(["doctor", "--running", "--data"]).arg(&dir));
    let none = check();
    assert_eq!(none.status.code(), Some(1), "{}", text(&none.stderr));
    assert!(text(&none.stderr).contains("nobody runs on"), "{}", text(&none.stderr));

    // As in the container: it listens to all, and is asked through what it wrote down.
    let running = Running::start(&dir, &["--set", "http.listen=0.0.0.0:0", "--insecure"]);
    let well = check();
    assert_eq!(well.status.code(), Some(0), "{}", text(&well.stderr));
    assert_eq!(text(&well.stdout), format!("process {} runs and is ready\n", running.child.id()));

    // It is there and answers nobody.
    support::signal(&running.child, "-STOP");
    let ill = check();
    support::signal(&running.child, "-CONT");
    assert_eq!(ill.status.code(), Some(1), "{}", text(&ill.stdout));
    assert!(text(&ill.stderr).contains("does not answer"), "{}", text(&ill.stderr));
    assert_eq!(running.stop(), 0);
    assert_eq!(check().status.code(), Some(1));
}
