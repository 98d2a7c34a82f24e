//! The configuration: read from a file, the environment and flags, checked in one go, and given on as types that are
//! always valid.
//!
//! ```text
//!  ouzel.toml ─► OUZEL__HTTP__LISTEN=… ─► --input, --listen, … ─► --set key=value
//!      └────────────── layers ──────────────┘   one tree; every value knows where it was written
//!                        │
//!                      read ── the table of keys (schema): kinds, bounds, defaults, suggestions
//!                        │
//!                      build ─► Config            or all problems, each with line, column and help
//! ```
//!
//! * [`model`]: what the rest of the program sees
//! * [`schema`]: every key, described once
//! * [`problem`]: what is wrong, shown where it stands
//! * [`reference`](mod@reference): the table of keys as a page
//! * [`json_schema`]: the table of keys for editors
//! * [`effective`], [`show`]: what holds, and where each value came from
//! * [`change`]: what a change of a key costs
//! * [`check`]: what `ouzel check` says
//! * [`init`]: what `ouzel init` writes
//! * [`remote`]: lookups that are asked over a connection
//! * [`secret`]: secrets, which are never in a configuration itself
//! * [`units`]: durations and sizes
//!
//! It opens no database, binds no port and makes no directory: a configuration can be right on a machine that is not.

mod build;
pub mod change;
pub mod check;
pub mod effective;
pub mod init;
pub mod json_schema;
mod kafka;
mod layers;
mod lookup;
mod map;
mod mask;
pub mod model;
pub mod problem;
mod read;
pub mod reference;
pub mod remote;
pub mod schema;
pub mod secret;
mod sessions;
pub mod show;
pub(crate) mod suggest;
pub(crate) mod text;
pub(crate) mod tree;
pub mod units;

use std::io;
use std::path::{Path, PathBuf};

use seam::Fs;

use crate::assets;

pub use ::lookup::Secret;
pub use effective::Effective;
pub use model::{
    Assets, Bot, Bucket, Campaign, ClientAddress, Config, Data, Dedup, Device, Durability, Enrich, Geo, Http, Kafka,
    Keep, Lookup, LookupKind, NETWORK_LISTS, Network, OnMany, Referrer, Source, SourceKind, Status, Store, TableFormat,
    Time,
};
pub use problem::{ConfigErrors, Place, Problem, ProblemKind};
pub use reference::reference;
pub use remote::Remote;
pub use secret::{MaybeSecret, SecretRef};
pub use units::Space;
pub use wire::ClockMode as Clock;

use build::Circumstances;
use layers::Layers;
use map::MapFlag;
use problem::{Found, render};
use read::{At, Reader};
use text::{Spot, Texts};
use tree::{Node, Table, Value};

/// The file that is read when none is named, in the working directory.
pub const FILE: &str = "ouzel.toml";

/// Largest configuration file, in bytes. Thousands of keys fit; what is larger is some other file.
pub const FILE_MAX: u64 = 1 << 20;

/// Name of the source that `--input` makes.
pub const INPUT_SOURCE: &str = "input";

/// Name of the source that takes events by HTTP when none is configured.
pub const HTTP_SOURCE: &str = "http";

/// What a configuration is made from.
#[derive(Clone, Debug, Default)]
pub struct LoadArgs {
    /// `-c FILE`. Without it [`FILE`] is read, if it is there.
    pub file: Option<PathBuf>,
    /// The environment; only names that begin with `OUZEL__` are looked at, and where a user's caches are.
    pub env: Vec<(String, String)>,
    /// `--set key=value`, each.
    pub set: Vec<String>,
    /// What relative paths of flags and the environment are relative to. May be empty: then they stay as they are.
    pub cwd: PathBuf,
    /// The directory that relative paths of the file are relative to, if it is not the one the file is in: a file of
    /// earlier is read as if it stood where the one of today does.
    pub stands_in: Option<PathBuf>,
    /// `--insecure`.
    pub insecure: bool,
    pub run: RunArgs,
}

/// Flags of `run` that stand for keys.
#[derive(Clone, Debug, Default)]
pub struct RunArgs {
    /// `--input FILE|-`: read this and nothing else, as the source [`INPUT_SOURCE`]. No port is opened unless one is
    /// asked for by a flag or the environment.
    pub input: Option<String>,
    /// `--follow`.
    pub follow: bool,
    /// `--preset NAME`, for the input or, without one, for the HTTP source.
    pub preset: Option<String>,
    /// `--map FIELD=ENTRY`, each; for the same source.
    pub map: Vec<String>,
    /// `--listen ADDRESS`.
    pub listen: Option<String>,
    /// `--data DIR`.
    pub data: Option<String>,
}

/// A configuration, and what is to be said about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// The file as it was named, or "built-in defaults".
    pub origin: String,
    pub warnings: Vec<Problem>,
    /// Files the configuration names; nobody has looked whether they are there.
    pub files: Vec<NamedFile>,
    /// Secrets the configuration says the place of; nobody has looked there.
    pub secrets: Vec<NamedSecret>,
}

/// A secret that the configuration says the place of.
#[derive(Clone, Debug)]
pub struct NamedSecret {
    /// As in the schema, without `[]`: `lookup.url`.
    pub key: &'static str,
    pub secret: SecretRef,
    pub place: Option<Place>,
}

/// A file that the configuration names.
#[derive(Clone, Debug)]
pub struct NamedFile {
    /// As in the schema, without `[]`: `source.path`, `network.proxy`.
    pub key: &'static str,
    pub path: PathBuf,
    pub place: Option<Place>,
    /// Whether the run cannot start without it.
    pub needed: bool,
}

impl Config {
    /// Reads, checks and builds a configuration.
    ///
    /// # Errors
    /// All problems there are, in the order of the file; a file that is no TOML or of another version is the only one.
    pub fn load(args: &LoadArgs, fs: &dyn Fs) -> Result<Loaded, ConfigErrors> {
        Config::load_with(args, |path| read_file(fs, path))
    }

    /// [`Config::load`] with files from elsewhere. `read` answers `NotFound` for a file that is not there.
    pub fn load_with(args: &LoadArgs, read: impl FnOnce(&Path) -> io::Result<String>) -> Result<Loaded, ConfigErrors> {
        Config::load_whole(args, read).map(|whole| whole.loaded)
    }

    /// [`Config::load`], and every key with its value and where that came from.
    pub fn explain(args: &LoadArgs, fs: &dyn Fs) -> Result<(Loaded, Effective), ConfigErrors> {
        Config::explain_with(args, |path| read_file(fs, path))
    }

    /// [`Config::explain`] with files from elsewhere.
    pub fn explain_with(
        args: &LoadArgs,
        read: impl FnOnce(&Path) -> io::Result<String>,
    ) -> Result<(Loaded, Effective), ConfigErrors> {
        let Whole { loaded, root, mut texts } = Config::load_whole(args, read)?;
        let effective = Effective::of(&loaded.config, &root, &mut texts);
        Ok((loaded, effective))
    }

    fn load_whole(args: &LoadArgs, read: impl FnOnce(&Path) -> io::Result<String>) -> Result<Whole, ConfigErrors> {
        let mut layers = Layers::new(schema::SCHEMA);
        let (origin, file) = read_layer(&mut layers, args, read)?;
        let maps = flags(&mut layers, args);
        for assignment in &args.set {
            layers.set(assignment, &args.cwd);
        }
        let open_port = args.run.input.is_none() || asked_for_port(args);
        let (mut reader, root) = Reader::new(layers);
        let variable = |name: &str| args.env.iter().find(|(n, _)| n == name).map(|(_, value)| value.into());
        let cache = assets::default_dir(variable);
        let circumstances = Circumstances { insecure: args.insecure, open_port, file, maps, cache };
        let built = build::build(&mut reader, &At::top(&root), &circumstances);
        let Reader { texts, found, .. } = reader;
        if !found.is_empty() {
            return Err(ConfigErrors { problems: render(found, &texts) });
        }
        let files = built.files.into_iter().map(|f| NamedFile {
            key: f.key,
            place: problem::place_of(f.spot, &texts),
            path: f.path,
            needed: f.needed,
        });
        let files = files.collect();
        let secrets = built.secrets.into_iter().map(|s| NamedSecret {
            key: s.key,
            place: problem::place_of(s.spot, &texts),
            secret: s.secret,
        });
        let secrets = secrets.collect();
        let loaded = Loaded { config: built.config, origin, warnings: render(built.warnings, &texts), files, secrets };
        Ok(Whole { loaded, root, texts })
    }

    /// What runs when nothing is configured.
    pub fn defaults() -> Config {
        let nothing = |_: &Path| Err(io::ErrorKind::NotFound.into());
        Config::load_with(&LoadArgs::default(), nothing).expect("the defaults are valid").config
    }
}

/// A configuration with what it was made from.
struct Whole {
    loaded: Loaded,
    root: Table,
    texts: Texts,
}

/// The file as the lowest layer: its name for people, and its text if there is one.
fn read_layer(
    layers: &mut Layers,
    args: &LoadArgs,
    read: impl FnOnce(&Path) -> io::Result<String>,
) -> Result<(String, Option<usize>), ConfigErrors> {
    let named = args.file.clone().unwrap_or_else(|| FILE.into());
    let path = args.cwd.join(&named);
    let name = named.display().to_string();
    match read(&path) {
        Ok(content) => {
            let base = args.stands_in.clone().or_else(|| path.parent().map(Path::to_owned)).unwrap_or_default();
            let (text, readable) = layers.file(&name, content, base);
            let newer = version_problem(layers, text);
            if !readable || newer.is_some() {
                let found = newer.map_or_else(|| std::mem::take(&mut layers.found), |f| vec![f]);
                return Err(ConfigErrors { problems: render(found, &layers.texts) });
            }
            Ok((name, Some(text)))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound && args.file.is_none() => {
            Ok(("built-in defaults".to_owned(), None))
        }
        Err(e) => {
            let why = match e.kind() {
                io::ErrorKind::NotFound => "there is no such file".to_owned(),
                io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
                io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
                _ => e.to_string(),
            };
            let found =
                Found::new(ProblemKind::Unreadable, None, format!("cannot read the configuration {name}: {why}"));
            Err(ConfigErrors { problems: render(vec![found], &layers.texts) })
        }
    }
}

/// A file of a later version is refused by that alone: what else this program does not know in it may be right.
fn version_problem(layers: &Layers, text: usize) -> Option<Found> {
    let version = &layers.root.get("version")?.node;
    match version.value {
        Value::Integer(found) if found > i128::from(schema::VERSION) => {
            let source = layers.texts.get(text).source();
            let message = format!("{source} is of version {found}, and this program reads version {}", schema::VERSION);
            Some(
                Found::new(ProblemKind::Version, Some(version.spot), message)
                    .help("use a newer Ouzel, or write the file for this one (`ouzel version` says which it is)"),
            )
        }
        _ => None,
    }
}

/// Sources that flags or nothing at all stand for, then the environment, then flags that are keys. Gives the `--map`
/// flags and the source they are for.
fn flags(layers: &mut Layers, args: &LoadArgs) -> (String, Vec<MapFlag>) {
    let run = &args.run;
    let built_in = layers.texts.add(text::Origin::BuiltIn, String::new(), args.cwd.clone());
    let nowhere = Spot { text: built_in, start: 0, end: 0 };
    let source = |name: &str, kind: &str| {
        let mut table = Table::default();
        table.put("name", nowhere, Node::text(name, nowhere));
        table.put("kind", nowhere, Node::text(kind, nowhere));
        table
    };
    let mut added = Vec::new();
    if let Some(input) = &run.input {
        // Only this is read; the HTTP source of the file stays, for when a port is asked for.
        if let Some(Value::List(sources)) = layers.root.members.get_mut("source").map(|m| &mut m.node.value) {
            let by_http = |n: &Node| matches!(&n.value, Value::Table(t) if t.text_at("kind") == Some("http"));
            sources.retain(|n| by_http(n) && asked_for_port(args));
        }
        let spot = layers.flag("--input", input, &args.cwd);
        let mut table = source(INPUT_SOURCE, if input == "-" { "stdin" } else { "file" });
        if input != "-" {
            table.put("path", spot, Node::text(input, spot));
        }
        added.push(Node::new(Value::Table(table), spot));
    }
    let has_sources = layers.root.get("source").is_some_and(|m| match &m.node.value {
        Value::List(sources) => !sources.is_empty(),
        _ => true,
    });
    if !has_sources && (run.input.is_none() || asked_for_port(args)) {
        added.push(Node::new(Value::Table(source(HTTP_SOURCE, "http")), nowhere));
    }
    match layers.root.members.get_mut("source").map(|m| &mut m.node.value) {
        Some(Value::List(sources)) => sources.extend(added),
        Some(_) => {}
        None => layers.root.put("source", nowhere, Node::new(Value::List(added), nowhere)),
    }

    layers.env(&args.env, &args.cwd);

    let target = target(layers, args);
    if let Some(listen) = &run.listen {
        let spot = layers.flag("--listen", listen, &args.cwd);
        put(&mut layers.root, "http", "listen", Node::text(listen, spot));
    }
    if let Some(dir) = &run.data {
        let spot = layers.flag("--data", dir, &args.cwd);
        put(&mut layers.root, "data", "dir", Node::text(dir, spot));
    }
    let mut of_source = Vec::new();
    if run.follow {
        let spot = layers.flag("--follow", "", &args.cwd);
        let spot = Spot { start: 0, end: "--follow".len(), ..spot };
        of_source.push(("follow", Node::new(Value::Switch(true), spot)));
    }
    if let Some(preset) = &run.preset {
        let spot = layers.flag("--preset", preset, &args.cwd);
        of_source.push(("preset", Node::text(preset, spot)));
    }
    let maps: Vec<MapFlag> = run
        .map
        .iter()
        .map(|text| MapFlag { text: text.clone(), spot: layers.flag("--map", text, &args.cwd) })
        .collect();
    match target {
        Some(name) => {
            for (key, node) in of_source {
                put_in_source(&mut layers.root, &name, key, node);
            }
            (name, maps)
        }
        None => {
            let spots = of_source.iter().map(|(_, node)| node.spot).chain(maps.iter().map(|m| m.spot));
            for spot in spots {
                let message = "this goes with `--input`, or with one source by HTTP, and there is neither";
                layers.found.push(Found::new(ProblemKind::Conflict, Some(spot), message));
            }
            (String::new(), Vec::new())
        }
    }
}

/// The source that `--preset` and `--map` are for: the input, else the HTTP source.
fn target(layers: &Layers, args: &LoadArgs) -> Option<String> {
    if args.run.input.is_some() {
        return Some(INPUT_SOURCE.into());
    }
    let Value::List(sources) = &layers.root.get("source")?.node.value else {
        return None;
    };
    let mut by_http = sources.iter().filter_map(|n| match &n.value {
        Value::Table(t) if t.text_at("kind") == Some("http") => t.text_at("name"),
        _ => None,
    });
    by_http.next().map(str::to_owned)
}

/// Whether a flag or the environment names where to listen; a file in the working directory does not ask.
fn asked_for_port(args: &LoadArgs) -> bool {
    let by_env = args.env.iter().any(|(name, _)| name == "OUZEL__HTTP__LISTEN");
    let by_set = args.set.iter().any(|s| s.split_once('=').is_some_and(|(key, _)| key.trim() == "http.listen"));
    args.run.listen.is_some() || by_env || by_set
}

fn put(root: &mut Table, section: &str, key: &str, node: Node) {
    let spot = node.spot;
    let is_table = root.get(section).is_some_and(|m| matches!(m.node.value, Value::Table(_)));
    if !is_table {
        root.put(section, spot, Node::new(Value::Table(Table::default()), spot));
    }
    if let Some(Value::Table(table)) = root.members.get_mut(section).map(|m| &mut m.node.value) {
        table.put(key, spot, node);
    }
}

fn put_in_source(root: &mut Table, name: &str, key: &str, node: Node) {
    let Some(Value::List(sources)) = root.members.get_mut("source").map(|m| &mut m.node.value) else {
        return;
    };
    for source in sources {
        if let Value::Table(table) = &mut source.value
            && table.text_at("name") == Some(name)
        {
            table.put(key, node.spot, node.clone());
        }
    }
}

/// The text of a file, if it is no larger than [`FILE_MAX`].
pub fn read_file(fs: &dyn Fs, path: &Path) -> io::Result<String> {
    let file = fs.open_read(path)?;
    let len = file.len()?;
    if len > FILE_MAX {
        return Err(io::Error::other(format!("it has {len} bytes, and a configuration has at most {FILE_MAX}")));
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0)?;
    String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        io::Error::other(format!("line {line} is not valid UTF-8"))
    })
}

#[cfg(test)]
mod tests;
