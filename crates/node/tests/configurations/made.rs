//! Configurations of any keys: each in the file, the environment or `--set`, in any of the spellings that people have.

use std::time::Duration;

use ouzel_node::config::LoadArgs;
use ouzel_node::config::schema::{KEYS, Key, Kind, REMOTE};
use ouzel_node::config::units::{show_duration, show_size};
use proptest::prelude::*;

/// A configuration before it is loaded.
#[derive(Clone, Debug)]
pub struct Made {
    pub file: String,
    pub env: Vec<(String, String)>,
    pub set: Vec<String>,
}

impl Made {
    /// As it is loaded: the file lies in a directory of its own.
    pub fn args(&self) -> LoadArgs {
        LoadArgs {
            file: Some("conf/ouzel.toml".into()),
            env: self.env.clone(),
            set: self.set.clone(),
            ..LoadArgs::default()
        }
    }
}

/// A table that keys stand in.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Of the schema.
    section: &'static str,
    /// Name and kind, for elements of lists.
    element: Option<(&'static str, &'static str)>,
}

const PLACES: &[Place] = &[
    Place { section: "data", element: None },
    Place { section: "data.keep", element: None },
    Place { section: "kafka", element: None },
    Place { section: "http", element: None },
    Place { section: "limits", element: None },
    Place { section: "source[]", element: Some(("web-shop", "http")) },
    Place { section: "source[]", element: Some(("logs_2", "file")) },
    Place { section: "source[]", element: Some(("in", "stdin")) },
    Place { section: "geo", element: None },
    Place { section: "network", element: None },
    Place { section: "device", element: None },
    Place { section: "bot", element: None },
    Place { section: "referrer", element: None },
    Place { section: "campaign", element: None },
    Place { section: "lookup[]", element: Some(("company", "mmdb")) },
    Place { section: "lookup[]", element: Some(("plan", "file")) },
    Place { section: "lookup[]", element: Some(("user", "sql")) },
    Place { section: "lookup[].cache", element: Some(("user", "sql")) },
    Place { section: "lookup[]", element: Some(("seen-by", "redis")) },
    Place { section: "lookup[].breaker", element: Some(("seen-by", "redis")) },
    Place { section: "lookup[]", element: Some(("score_of", "http")) },
    Place { section: "cache", element: None },
    Place { section: "cache.shared", element: None },
    Place { section: "assets", element: None },
    Place { section: "enrich", element: None },
    Place { section: "dedup", element: None },
    Place { section: "time", element: None },
    Place { section: "sessions", element: None },
    Place { section: "state", element: None },
];

/// Sections that [`PLACES`] does not have: none, or a new one is not tried.
pub fn sections_left_out() -> Vec<&'static str> {
    KEYS.iter().map(|k| k.section()).filter(|s| !s.is_empty() && !PLACES.iter().any(|p| p.section == *s)).collect()
}

#[derive(Clone, Copy, Debug)]
enum Layer {
    Absent,
    File,
    Environment,
    Set,
}

/// A configuration; most are accepted, some have rules between keys against them.
pub fn made() -> impl Strategy<Value = Made> {
    let places: Vec<_> = PLACES.iter().map(|place| (any::<bool>(), keys(*place)).boxed()).collect();
    places.prop_map(|places| {
        let mut made = Made { file: "version = 1\n".into(), env: Vec::new(), set: Vec::new() };
        // The table of an element follows it.
        let mut element = false;
        for (place, (there, keys)) in PLACES.iter().zip(places) {
            if place.section.ends_with("[]") {
                element = there && is_built_in(*place);
            }
            if place.element.is_none() && is_built_in(*place) || element {
                put(&mut made, *place, keys);
            }
        }
        made
    })
}

type Chosen = Vec<(&'static Key, Layer, String)>;

fn keys(place: Place) -> BoxedStrategy<Chosen> {
    let layer = prop_oneof![
        4 => Just(Layer::Absent),
        4 => Just(Layer::File),
        1 => Just(Layer::Environment),
        1 => Just(Layer::Set),
    ];
    let keys = KEYS.iter().filter(move |k| k.section() == place.section && belongs(k, place));
    let chosen: Vec<_> = keys.map(|key| (Just(key), layer.clone(), value(key, place)).boxed()).collect();
    chosen.boxed()
}

/// Whether a key can stand there. Name and kind always do, and are written apart.
fn belongs(key: &Key, place: Place) -> bool {
    // There are rules between these.
    const TIMES: [&str; 3] = ["kafka.commit_age", "kafka.session_timeout", "kafka.transaction_timeout"];
    const OF_BOTH: [&str; 2] = ["state.snapshot_every", "state.memory"];
    if TIMES.contains(&key.path) || place.section == "state" && !OF_BOTH.contains(&key.path) {
        return false;
    }
    let Some((_, kind)) = place.element else { return true };
    let of_kind = key.only.is_empty() || key.only.contains(&kind);
    // A connection's address is only where there is a connection; the others have rules between them.
    let allowed = match key.path {
        "source[].client_address" => kind == "http",
        "lookup[].body" | "lookup[].answer" | "lookup[].at" | "lookup[].burst" | "lookup[].breaker.calls" => false,
        "lookup[].key_columns" => false,
        _ => true,
    };
    !["name", "kind"].contains(&key.name()) && of_kind && allowed
}

/// Without the feature `remote`, kinds over a connection are refused, and without `kafka` what is about it.
fn is_built_in(place: Place) -> bool {
    if place.section == "kafka" {
        return cfg!(feature = "kafka");
    }
    cfg!(feature = "remote") || place.element.is_none_or(|(_, kind)| !REMOTE.contains(&kind))
}

fn put(made: &mut Made, place: Place, keys: Chosen) {
    match (place.section.strip_suffix("[]"), place.element) {
        (Some(list), Some((name, kind))) => {
            made.file += &format!("\n[[{list}]]\nname = \"{name}\"\nkind = \"{kind}\"\n");
        }
        _ => made.file += &format!("\n[{}]\n", place.section.replace("[]", "")),
    }
    for (key, layer, value) in keys {
        let needed = matches!((place.element, key.path), (Some((_, "file")), "source[].path"))
            || matches!((place.element, key.path), (Some((_, kind)), "lookup[].key") if kind != "mmdb")
            || ["lookup[].path", "lookup[].url", "lookup[].query", "cache.shared.url", "kafka.brokers"]
                .contains(&key.path);
        let path = match place.element {
            Some((name, _)) => key.path.replacen("[]", &format!(".{name}"), 1),
            None => key.path.to_owned(),
        };
        match layer {
            Layer::Absent if !needed => {}
            Layer::Absent | Layer::File => made.file += &format!("{} = {value}\n", key.name()),
            Layer::Environment => {
                let name = path.replace('.', "__").replace('-', "_").to_uppercase();
                made.env.push((format!("OUZEL__{name}"), value));
            }
            Layer::Set => made.set.push(format!("{path}={value}")),
        }
    }
}

/// A value, as TOML.
fn value(key: &'static Key, place: Place) -> BoxedStrategy<String> {
    let within = |min: u64, max: u64| prop_oneof![Just(min), Just(max), min..=max, min..=max.min(min + 5000)];
    match key.kind {
        Kind::Version => Just("1".to_owned()).boxed(),
        Kind::Name => "[a-z0-9_][a-z0-9_-]{0,9}".prop_map(|name| quoted(&name)).boxed(),
        Kind::Word(words) => prop::sample::select(words).prop_map(quoted).boxed(),
        Kind::Switch => any::<bool>().prop_map(|b| b.to_string()).boxed(),
        Kind::Count { min, max } => within(min, max).prop_map(|n| n.to_string()).boxed(),
        Kind::Duration { min_ms, max_ms } => {
            let spellings = within(min_ms, max_ms).prop_flat_map(|ms| {
                let shown = show_duration(Duration::from_millis(ms));
                let spaced = shown.replace('h', "h ");
                prop::sample::select(vec![shown, spaced, format!("{ms}ms"), format!(" {ms} ms ")])
            });
            spellings.prop_map(|text| quoted(&text)).boxed()
        }
        Kind::Size { min, max } => within(min, max)
            .prop_flat_map(|bytes| {
                prop::sample::select(vec![quoted(&show_size(bytes)), quoted(&format!("{bytes}")), bytes.to_string()])
            })
            .boxed(),
        Kind::Space => prop::sample::select(vec!["\"10%\"", "\" 0 % \"", "\"100%\"", "\"5GiB\"", "123456", "\"7kB\""])
            .prop_map(str::to_owned)
            .boxed(),
        Kind::Address => {
            prop::sample::select(vec!["\"127.0.0.1:0\"", "\"localhost:9\"", "\"[::1]:7070\"", "\"127.0.9.1:65535\""])
                .prop_map(str::to_owned)
                .boxed()
        }
        Kind::Path => path().boxed(),
        Kind::Paths => {
            let several = prop::collection::vec(path(), 0..3).prop_map(|paths| format!("[{}]", paths.join(", ")));
            // `geo.required` wants a file, and one alone needs no list.
            prop_oneof![path(), several].boxed()
        }
        // Keys and conditions have a language of their own.
        // So do zones.
        _ if key.path == "lookup[].key" => Just(key.example.to_owned()).boxed(),
        _ if key.path == "cache.shared.timeout" => Just("\"1ms\"".to_owned()).boxed(),
        Kind::Text if matches!(place.section, "lookup[]" | "sessions" | "kafka") => {
            Just(key.example.to_owned()).boxed()
        }
        Kind::Text => text().boxed(),
        Kind::Texts => {
            let several = prop::collection::vec(text(), 0..3).prop_map(|texts| format!("[{}]", texts.join(", ")));
            prop_oneof![text(), several].boxed()
        }
        Kind::TextMap => prop::collection::vec((text(), text()), 0..4)
            .prop_map(|mut members| {
                members.sort();
                members.dedup_by(|a, b| a.0 == b.0);
                let members: Vec<_> = members.iter().map(|(name, value)| format!("{name} = {value}")).collect();
                format!("{{{}}}", members.join(", "))
            })
            .boxed(),
        Kind::Secret | Kind::Url | Kind::SecretMap | Kind::Store => Just(key.example.to_owned()).boxed(),
        Kind::FieldMap => {
            const ENTRIES: &[&str] = &[
                "time = { pointer = \"/created_at\", format = \"epoch_ms\" }",
                "time = { pointer = [\"/a\", \"/b/c\"], format = \"%Y-%m-%d %H:%M:%S\", zone = \"Europe/Berlin\" }",
                "time = { zone = \"UTC\", format = \"rfc3339\" }",
                "user = \"/account/id\"",
                "visitor = [\"/device/id\", \"/x~1y\"]",
                "type = { value = \"re\\\"quest\" }",
                "id = { value = \"hash\" }",
                "plan = \"/plan\"",
                "cohort = { value = \"a\" }",
            ];
            prop::sample::subsequence(ENTRIES, 0..ENTRIES.len())
                .prop_map(|entries| {
                    let mut chosen: Vec<&str> = Vec::new();
                    for entry in entries {
                        if !chosen.iter().any(|c| c.split(' ').next() == entry.split(' ').next()) {
                            chosen.push(entry);
                        }
                    }
                    format!("{{ {} }}", chosen.join(", "))
                })
                .boxed()
        }
    }
}

fn path() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a.mmdb",
        "../b/c.csv",
        "/abs/olute.txt",
        "with space",
        "gr\u{fc}n",
        "back\\slash",
        "quo\"te",
        "tab\there",
    ])
    .prop_map(quoted)
}

/// Any text that is one, and no secret.
fn text() -> impl Strategy<Value = String> {
    "[a-df-o \\\\\"'#=\u{1}\u{7f}\u{fc}\u{1f426}\\n\\t.]{1,6}".prop_map(|text| quoted(&text))
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out += &format!("\\u{:04x}", c as u32),
            c => out.push(c),
        }
    }
    out + "\""
}
