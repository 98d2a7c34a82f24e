//! What `ouzel check` says: the configuration in a few lines, or everything that is wrong with it.

use std::fmt::Write as _;

use seam::Fs;
use serde_json::{Value, json};

use super::model::{ClientAddress, Config, Durability, Source, SourceKind};
use super::problem::{ConfigErrors, Problem, ProblemKind};
use super::units::{show_duration, show_size, show_space};
use super::{Loaded, NamedFile};

/// Whether the files that the configuration names are there. Those the run cannot start without are problems; the others
/// are warnings.
pub fn files(loaded: &Loaded, fs: &dyn Fs) -> (Vec<Problem>, Vec<Problem>) {
    let missing = |file: &&NamedFile| !fs.exists(&file.path);
    let problem = |file: &NamedFile| Problem {
        kind: ProblemKind::Unreadable,
        message: format!("`{}`: there is no file {}", file.key, file.path.display()),
        place: file.place.clone(),
        help: match file.key {
            "geo.database" if !file.needed => {
                vec!["the run goes on without: `status.geo` is \"skipped\"".into()]
            }
            _ => Vec::new(),
        },
    };
    let (needed, others): (Vec<_>, Vec<_>) = loaded.files.iter().filter(missing).partition(|f| f.needed);
    (needed.into_iter().map(problem).collect(), others.into_iter().map(problem).collect())
}

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
                let _ = writeln!(out, "  {name:<8} {value}");
            }
            for warning in &loaded.warnings {
                out.push('\n');
                let _ = warning.show(&mut out, "warning");
            }
            out
        }
    }
}

/// For machines: one object, `{"ok", "origin", "problems": [...], "warnings": [...]}`.
pub fn json(result: &Result<Loaded, ConfigErrors>) -> Value {
    let list = |problems: &[Problem]| problems.iter().map(problem).collect::<Vec<_>>();
    match result {
        Ok(loaded) => {
            json!({"ok": true, "origin": loaded.origin, "problems": [], "warnings": list(&loaded.warnings)})
        }
        Err(errors) => json!({"ok": false, "problems": list(&errors.problems), "warnings": []}),
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
    let mut lines = vec![
        ("data", format!("{}, {} partitions per topic, {durability}", data.dir.display(), data.partitions)),
        (
            "keep",
            format!(
                "raw {}, enriched {}, dlq {}; at most {} per topic, {} of the disk stays free",
                show_duration(data.keep.raw),
                show_duration(data.keep.enriched),
                show_duration(data.keep.dlq),
                show_size(data.max_bytes),
                show_space(data.min_free),
            ),
        ),
    ];
    lines.push(match config.http.listen {
        Some(address) => ("http", format!("http://{address}")),
        None => ("http", "no port (--listen opens one)".into()),
    });
    lines.extend(config.sources.iter().map(|s| ("source", source(s))));
    lines.push(match config.geo.databases.as_slice() {
        [] => ("geo", "no database: `status.geo` will be \"skipped\"".into()),
        files => ("geo", files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", then ")),
    });
    lines.extend(
        config.lookups.iter().map(|l| {
            ("lookup", format!("{}.{} from {}, by {}", config.enrich.member, l.name, l.path.display(), l.key))
        }),
    );
    lines
}

fn source(source: &Source) -> String {
    let from = match &source.kind {
        SourceKind::Http => "requests to /v1/events".to_owned(),
        SourceKind::Stdin => "the standard input".to_owned(),
        SourceKind::File { path, follow: false } => path.display().to_string(),
        SourceKind::File { path, follow: true } => format!("{}, followed", path.display()),
    };
    let address = match source.client_address {
        ClientAddress::Connection => ", addresses from the connection",
        ClientAddress::None => "",
    };
    format!("{}: {from}, preset {}{address}", source.name, source.preset.name())
}
