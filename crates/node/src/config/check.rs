//! What `ouzel check` says: the configuration in a few lines, or everything that is wrong with it.

use std::fmt::Write as _;
use std::path::PathBuf;

use seam::Fs;
use serde_json::{Value, json};

use super::model::{
    Assets, Campaign, ClientAddress, Config, Durability, Lookup, LookupKind, NETWORK_LISTS, Network, Referrer, Source,
    SourceKind, Store,
};
use super::problem::{ConfigErrors, Problem, ProblemKind};
use super::units::{show_duration, show_size, show_space};
use super::{Loaded, NamedFile};
use crate::paragraph::{WIDTH, wrap};
use crate::sessions::STATE_DIR;

/// Whether the files that the configuration names are there. Those the run cannot start without are problems; the others
/// are warnings.
pub fn files(loaded: &Loaded, fs: &dyn Fs) -> (Vec<Problem>, Vec<Problem>) {
    let missing = |file: &&NamedFile| !fs.exists(&file.path);
    let problem = |file: &NamedFile| Problem {
        kind: ProblemKind::Unreadable,
        message: format!("`{}`: there is no file {}", file.key, file.path.display()),
        place: file.place.clone(),
        help: without(file),
    };
    let (needed, others): (Vec<_>, Vec<_>) = loaded.files.iter().filter(missing).partition(|f| f.needed);
    (needed.into_iter().map(problem).collect(), others.into_iter().map(problem).collect())
}

/// What a file that is not there means, and where to get one.
fn without(file: &NamedFile) -> Vec<String> {
    if file.needed {
        return vec!["the run does not start without it".into()];
    }
    let section = file.key.split('.').next().unwrap_or_default();
    let means = match section {
        "geo" => "the run goes on without: `status.geo` is \"skipped\" unless another database is there",
        "network" => "the run goes on without: less is known of networks",
        "device" => "the run goes on without: only the kind of device is told",
        "bot" => "the run goes on without: agents are judged by the program's own rules alone",
        "referrer" => "the run goes on without: the program's own table is asked alone",
        _ => "the run goes on without: its status is \"skipped\"",
    };
    let mut help = vec![means.to_owned()];
    if FETCHED.contains(&file.key) {
        help.push("`ouzel assets fetch` gets one".into());
    }
    help
}

/// Keys whose files `ouzel assets fetch` can stand in for.
const FETCHED: [&str; 4] = ["geo.database", "network.asn", "device.rules", "bot.crawlers"];

/// For people. Ends with a newline.
pub fn human(result: &Result<Loaded, ConfigErrors>) -> String {
    match result {
        Err(errors) => errors.to_string(),
        Ok(loaded) => {
            let mut out = format!("{} is right\n", loaded.origin);
            if loaded.origin == "built-in defaults" {
                out = "no ouzel.toml here: built-in defaults\n".into();
            }
            for (name, value) in summary(&loaded.config) {
                for (n, line) in wrap(&value, WIDTH - INDENT).into_iter().enumerate() {
                    let name = if n == 0 { name } else { "" };
                    let _ = writeln!(out, "  {name:<width$}{line}", width = INDENT - 2);
                }
            }
            for warning in &loaded.warnings {
                out.push('\n');
                let _ = warning.show(&mut out, "warning");
            }
            out.push('\n');
            if wants_assets(&loaded.config) {
                out += "`ouzel assets fetch` gets what is missing: places, networks, rules for agents, crawlers\n";
            }
            out += "`ouzel plan` draws what will run, `ouzel config show --origin` every key with where it came from\n";
            out
        }
    }
}

/// Columns before the values of the summary.
const INDENT: usize = 12;

/// Whether something is not configured that could be fetched.
fn wants_assets(config: &Config) -> bool {
    config.geo.databases.is_empty()
        || config.network.asn.is_empty()
        || config.device.rules.is_none()
        || config.bot.crawlers.is_none()
}

/// For machines: one object, `{"ok", "origin", "problems": [...], "warnings": [...], "files": [...]}`. Without a
/// configuration that is right there is no origin, and there are no files.
pub fn json(result: &Result<Loaded, ConfigErrors>, fs: &dyn Fs) -> Value {
    let list = |problems: &[Problem]| problems.iter().map(problem).collect::<Vec<_>>();
    let file = |f: &NamedFile| {
        json!({
            "key": f.key,
            "path": f.path.display().to_string(),
            "there": fs.exists(&f.path),
            "needed": f.needed,
        })
    };
    match result {
        Ok(loaded) => json!({
            "ok": true,
            "origin": loaded.origin,
            "problems": [],
            "warnings": list(&loaded.warnings),
            "files": loaded.files.iter().map(file).collect::<Vec<_>>(),
        }),
        Err(errors) => {
            json!({"ok": false, "origin": null, "problems": list(&errors.problems), "warnings": [], "files": []})
        }
    }
}

fn problem(p: &Problem) -> Value {
    let place = p.place.as_ref();
    json!({
        "code": p.kind.name(),
        "message": p.message,
        "source": place.map(|p| &p.source),
        "line": place.and_then(|p| p.line),
        "column": place.and_then(|p| p.column),
        "text": place.map(|p| &p.text),
        "help": p.help,
    })
}

fn summary(config: &Config) -> Vec<(&'static str, String)> {
    let data = &config.data;
    let durability = match data.durability {
        Durability::Fsync => "fsync before every answer",
        Durability::Os => "NO fsync (durability = \"os\")",
    };
    let keep = format!(
        "raw {}, enriched {}, dlq {}, sessions {}",
        show_duration(data.keep.raw),
        show_duration(data.keep.enriched),
        show_duration(data.keep.dlq),
        show_duration(data.keep.sessions),
    );
    let mut lines = match &config.kafka {
        None => {
            let (most, free) = (show_size(data.max_bytes), show_space(data.min_free));
            vec![
                ("data", format!("{}, {} partitions per topic, {durability}", data.dir.display(), data.partitions)),
                ("keep", format!("{keep}; at most {most} per topic, {free} of the disk stays free")),
            ]
        }
        Some(kafka) => vec![
            (
                "kafka",
                format!(
                    "{}, topics {}raw and so on, {} partitions each, copies: {}",
                    kafka.brokers, kafka.prefix, data.partitions, kafka.replication
                ),
            ),
            ("keep", keep),
            ("state", snapshots(config)),
            ("data", format!("{}, for what each process keeps for itself", data.dir.display())),
        ],
    };
    lines.push(match config.http.listen {
        Some(address) => ("http", format!("http://{address}")),
        None => ("http", "no port (--listen opens one)".into()),
    });
    lines.extend(config.sources.iter().map(|s| ("source", source(s))));
    lines.push(match config.geo.databases.as_slice() {
        [] => ("geo", "no database: `status.geo` will be \"skipped\"".into()),
        files => ("geo", paths(files, ", then ")),
    });
    lines.push(("network", network(&config.network)));
    lines.push(match &config.device.rules {
        None => ("device", "no rules: only the kind of device is told".into()),
        Some(file) => ("device", file.display().to_string()),
    });
    lines.push(match &config.bot.crawlers {
        None => ("bot", "no list of crawlers: agents are judged by the program's own rules alone".into()),
        Some(file) => ("bot", file.display().to_string()),
    });
    lines.push(("referrer", referrer(&config.referrer)));
    lines.push(("campaign", campaign(&config.campaign)));
    lines.extend(config.lookups.iter().map(|l| ("lookup", lookup(l, &config.enrich.member))));
    lines.push(match &config.assets {
        Assets { in_use: false, .. } => ("assets", "not used".into()),
        Assets { dir: None, .. } => ("assets", "no directory: neither the configuration nor $HOME says where".into()),
        Assets { dir: Some(dir), .. } => ("assets", format!("those in {}", dir.display())),
    });
    lines
}

/// Where snapshots lie.
fn snapshots(config: &Config) -> String {
    match &config.state.store {
        None => format!("snapshots in {}, on this machine", config.data.dir.join(STATE_DIR).display()),
        Some(Store::Directory(dir)) => format!("snapshots in {}", dir.display()),
        Some(Store::Bucket(bucket)) => format!("snapshots in {}", bucket.url),
    }
}

fn paths(files: &[PathBuf], between: &str) -> String {
    files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(between)
}

fn network(network: &Network) -> String {
    let mut parts = vec![match network.asn.as_slice() {
        [] => "nothing says who announces an address".to_owned(),
        files => format!("announced by: {}", paths(files, ", ")),
    }];
    for kind in NETWORK_LISTS {
        let files: Vec<PathBuf> = network.lists.iter().filter(|(k, _)| *k == kind).map(|(_, f)| f.clone()).collect();
        if !files.is_empty() {
            parts.push(format!("{kind}: {}", paths(&files, ", ")));
        }
    }
    parts.join("; ")
}

fn referrer(referrer: &Referrer) -> String {
    let table = match &referrer.file {
        None => "the program's own table".to_owned(),
        Some(file) => format!("{}, then the program's own table", file.display()),
    };
    match referrer.internal.as_slice() {
        [] => table,
        hosts => format!("{table}; own hosts: {}", hosts.join(", ")),
    }
}

fn campaign(campaign: &Campaign) -> String {
    let parameters = [&campaign.source, &campaign.medium, &campaign.name, &campaign.term, &campaign.content];
    let parameters: Vec<&str> = parameters.into_iter().flatten().map(String::as_str).collect();
    let clicks = match campaign.click_ids.len() {
        0 => "no ids of clicks".to_owned(),
        1 => "1 parameter for ids of clicks".to_owned(),
        n => format!("{n} parameters for ids of clicks"),
    };
    match parameters.as_slice() {
        [] => clicks,
        names => format!("{}; {clicks}", names.join(", ")),
    }
}

fn lookup(lookup: &Lookup, member: &str) -> String {
    let when = lookup.when.as_ref().map(|when| format!(", when {}", when.text())).unwrap_or_default();
    let from = match &lookup.kind {
        LookupKind::Mmdb { path } | LookupKind::File { path, .. } => path.display().to_string(),
        LookupKind::Remote(remote) => format!("{} ({})", remote.place(), remote.client.kind()),
    };
    format!("{member}.{} from {from}, by {}{when}", lookup.name, lookup.shown_key())
}

fn source(source: &Source) -> String {
    let from = match &source.kind {
        SourceKind::Http => "requests to /v1/events".to_owned(),
        SourceKind::Stdin => "the standard input".to_owned(),
        SourceKind::File { path, follow: false } => path.display().to_string(),
        SourceKind::File { path, follow: true } => format!("{}, followed", path.display()),
        SourceKind::Kafka { topic, .. } => format!("the topic {topic} of Kafka"),
    };
    let address = match source.client_address {
        ClientAddress::Connection => ", addresses from the connection",
        ClientAddress::None => "",
    };
    format!("{}: {from}, preset {}{address}", source.name, source.preset.name())
}
