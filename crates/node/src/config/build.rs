//! From the merged tree to [`Config`], key by key, with the rules that hold between keys.

use std::path::PathBuf;

use wire::{ClockMode, Decoder, Limits, Preset};

use super::HTTP_SOURCE;
use super::kafka;
use super::lookup;
use super::map::{self, MapFlag};
use super::model::{
    Assets, Bot, Campaign, ClientAddress, Config, Data, Dedup, Device, Durability, Enrich, Geo, Http, Kafka, Keep,
    NETWORK_LISTS, Network, Referrer, Source, SourceKind, State, Status, Time,
};
use super::problem::{Found, ProblemKind};
use super::read::{At, Reader};
use super::remote::{self, Cache, Named};
use super::schema;
use super::secret::SecretRef;
use super::sessions;
use super::text::Spot;
use super::units::show_size;

/// A file the configuration names, to be looked for by `ouzel check`.
#[derive(Clone, Debug)]
pub(crate) struct NamedFile {
    pub key: &'static str,
    pub path: PathBuf,
    pub spot: Option<Spot>,
    /// Whether the run cannot start without it.
    pub needed: bool,
}

/// A secret that the configuration says the place of.
#[derive(Clone, Debug)]
pub(crate) struct NamedSecret {
    pub key: &'static str,
    pub secret: SecretRef,
    pub spot: Option<Spot>,
}

pub(crate) struct Built {
    pub config: Config,
    pub warnings: Vec<Found>,
    pub files: Vec<NamedFile>,
    pub secrets: Vec<NamedSecret>,
}

/// What flags decide beside the keys.
pub(crate) struct Circumstances {
    pub insecure: bool,
    pub open_port: bool,
    /// The text of the file, if there is one: then it has to have a version.
    pub file: Option<usize>,
    /// `--map` flags, and the name of the source they are for.
    pub maps: (String, Vec<MapFlag>),
    /// Where this user's caches are.
    pub cache: Option<PathBuf>,
}

const DEFAULT: &str = "the key has a default";

/// Reads everything. The configuration is to be used only when `reader.found` is empty afterwards.
pub(crate) fn build(reader: &mut Reader, root: &At<'_>, circumstances: &Circumstances) -> Built {
    let mut built = Building { reader, warnings: Vec::new(), files: Vec::new(), secrets: Vec::new() };
    if let Some(text) = circumstances.file {
        built.version(root, text);
    }
    let mut config = Config {
        data: built.data(&root.section("data")),
        kafka: built.kafka(&root.section("kafka")),
        http: built.http(&root.section("http"), circumstances),
        limits: built.limits(&root.section("limits")),
        sources: built.sources(root, circumstances),
        geo: built.geo(&root.section("geo")),
        network: built.network(&root.section("network")),
        device: Device { rules: built.file(&root.section("device"), "rules", "device.rules") },
        bot: Bot { crawlers: built.file(&root.section("bot"), "crawlers", "bot.crawlers") },
        referrer: built.referrer(&root.section("referrer")),
        campaign: built.campaign(&root.section("campaign")),
        assets: built.assets(&root.section("assets"), circumstances),
        lookups: Vec::new(),
        cache: built.caches(&root.section("cache")),
        fields: Vec::new(),
        enrich: built.enrich(&root.section("enrich")),
        dedup: built.dedup(&root.section("dedup")),
        time: built.time(&root.section("time")),
        sessions: sessions::read(built.reader, &root.section("sessions")),
        state: built.state(&root.section("state")),
    };
    let mut named = Named { files: &mut built.files, secrets: &mut built.secrets };
    lookup::add(built.reader, root, &mut config, &mut named);
    built.between(root, &config);
    kafka::between(root, &config, &mut built.reader.found, &mut built.warnings);
    let Building { warnings, files, secrets, .. } = built;
    Built { config, warnings, files, secrets }
}

struct Building<'r> {
    reader: &'r mut Reader,
    warnings: Vec<Found>,
    files: Vec<NamedFile>,
    secrets: Vec<NamedSecret>,
}

impl Building<'_> {
    fn version(&mut self, root: &At<'_>, text: usize) {
        if root.member("version").is_some() {
            self.reader.version(root, "version");
            return;
        }
        let top = Spot { text, start: 0, end: 0 };
        let found = Found::new(ProblemKind::MissingKey, Some(top), "`version` is missing");
        self.reader.found.push(found.help("write `version = 1` before everything else"));
    }

    fn data(&mut self, at: &At<'_>) -> Data {
        let r = &mut *self.reader;
        let keep = at.section("keep");
        let data = Data {
            dir: r.path(at, "dir").expect(DEFAULT),
            durability: match r.word(at, "durability").as_deref() {
                Some("os") => Durability::Os,
                _ => Durability::Fsync,
            },
            partitions: r.count(at, "partitions").expect(DEFAULT) as u32,
            keep: Keep {
                raw: r.duration(&keep, "raw").expect(DEFAULT),
                enriched: r.duration(&keep, "enriched").expect(DEFAULT),
                dlq: r.duration(&keep, "dlq").expect(DEFAULT),
                sessions: r.duration(&keep, "sessions").expect(DEFAULT),
                late: r.duration(&keep, "late").expect(DEFAULT),
            },
            max_bytes: r.size(at, "max_bytes").expect(DEFAULT),
            min_free: r.space(at, "min_free").expect(DEFAULT),
            segment: r.size(at, "segment").expect(DEFAULT),
            cache: r.size(at, "cache").expect(DEFAULT),
        };
        if data.durability == Durability::Os {
            let message = "events are acknowledged before the disk has them: a power cut may lose some";
            self.warnings.push(Found::new(ProblemKind::BadValue, at.spot_of("durability"), message));
        }
        data
    }

    fn http(&mut self, at: &At<'_>, circumstances: &Circumstances) -> Http {
        let r = &mut *self.reader;
        let listen = r.address(at, "listen").expect(DEFAULT);
        let http = Http {
            listen: circumstances.open_port.then_some(listen),
            connections: r.count(at, "connections").expect(DEFAULT) as usize,
            connections_per_address: r.count(at, "connections_per_address").expect(DEFAULT) as usize,
            header_timeout: r.duration(at, "header_timeout").expect(DEFAULT),
            idle_timeout: r.duration(at, "idle_timeout").expect(DEFAULT),
            min_body_rate: r.size(at, "min_body_rate").expect(DEFAULT) as u32,
            batch: r.size(at, "batch").expect(DEFAULT) as usize,
            in_flight: r.size(at, "in_flight").expect(DEFAULT) as usize,
        };
        if circumstances.open_port && !listen.ip().to_canonical().is_loopback() {
            let message = format!("other machines can reach {listen}, and there are no keys and no TLS yet");
            let found = Found::new(ProblemKind::BadValue, at.spot_of("listen"), message);
            if circumstances.insecure {
                self.warnings.push(found.help("it is served all the same, because of `--insecure`"));
            } else {
                r.found.push(
                    found.help(format!("listen on this machine only: \"127.0.0.1:{}\"", listen.port())).help(
                        "or put a proxy with authentication before it; `--insecure` serves everybody all the same",
                    ),
                );
            }
        }
        http
    }

    fn limits(&mut self, at: &At<'_>) -> Limits {
        Limits {
            event: self.reader.size(at, "event").expect(DEFAULT) as usize,
            depth: self.reader.count(at, "depth").expect(DEFAULT) as usize,
            members: self.reader.count(at, "members").expect(DEFAULT) as usize,
        }
    }

    fn sources(&mut self, root: &At<'_>, circumstances: &Circumstances) -> Vec<Source> {
        let mut sources: Vec<Source> = Vec::new();
        for at in root.list("source") {
            let (mut source, whole) = self.source(&at);
            let (flags_for, flags) = &circumstances.maps;
            if source.name == *flags_for {
                self.reader.found.extend(flags.iter().filter_map(|flag| map::apply(flag, &mut source.map)));
            }
            let conflict = if source.name.is_empty() {
                None
            } else if sources.iter().any(|s| s.name == source.name) {
                Some(("name", format!("there is a [[source]] \"{}\" already", source.name), "names are unique"))
            } else if matches!(source.kind, SourceKind::File { .. } | SourceKind::Kafka { .. }) || !whole {
                None
            } else {
                sources.iter().filter(|s| !s.name.is_empty()).find(|s| s.kind == source.kind).map(|other| {
                    let message = format!("\"{}\" is a source of kind {} already", other.name, source.kind.name());
                    ("kind", message, "until there are keys that tell senders apart, there is one of it")
                })
            };
            if let Some((key, message, help)) = conflict {
                self.reader.found.push(Found::new(ProblemKind::Conflict, at.spot_of(key), message).help(help));
            }
            if whole {
                sources.push(source);
            }
        }
        if circumstances.open_port && !sources.iter().any(|s| s.kind == SourceKind::Http) {
            if let Some(at) = root.list("source").iter().find(|at| at.text("name") == Some(HTTP_SOURCE)) {
                let message =
                    format!("\"{HTTP_SOURCE}\" is the source of the port itself, until one has kind = \"http\"");
                let found = Found::new(ProblemKind::Conflict, at.spot_of("name"), message);
                self.reader.found.push(found.help("take another name"));
            }
            sources.push(Source::http());
        }
        sources
    }

    /// A source, and whether its kind is known: without, it is only a stand-in.
    fn source(&mut self, at: &At<'_>) -> (Source, bool) {
        let r = &mut *self.reader;
        let name = r.name(at, "name").unwrap_or_default();
        let kind = r.word(at, "kind");
        let path = r.path(at, "path");
        let follow = r.switch(at, "follow").expect(DEFAULT);
        let topic = r.text(at, "topic");
        let from_start = r.word(at, "from").expect(DEFAULT) == "start";
        let preset = r.word(at, "preset").expect(DEFAULT);
        let preset = Preset::named(&preset).expect("the table of keys has the names of presets");
        let address = r.word(at, "client_address");
        let clock = r.word(at, "clock");
        let map = map::read(r, at, "map", preset);
        let mut whole = kind.is_some();
        let mut refuse = |key: &str, message: String| {
            r.found.push(Found::new(ProblemKind::Conflict, at.key_spot(key).or(at.spot), message));
        };
        for (keys, of) in [(["path", "follow"], "file"), (["topic", "from"], "kafka")] {
            let Some(other) = kind.as_deref().filter(|kind| *kind != of) else { continue };
            for key in keys.into_iter().filter(|key| at.member(key).is_some()) {
                refuse(key, format!("`{key}` is for sources of kind {of}, and this one is {other}"));
            }
        }
        let kind = match kind.as_deref() {
            Some("file") => {
                let spot = at.spot_of("path");
                match path {
                    Some(path) => {
                        let file = NamedFile { key: "source.path", path: path.clone(), spot, needed: true };
                        self.files.push(file);
                        SourceKind::File { path, follow }
                    }
                    None => {
                        if at.member("path").is_none() {
                            let found =
                                Found::new(ProblemKind::MissingKey, at.spot, "a source of kind file needs `path`");
                            r.found.push(found.help("for example: path = \"events.ndjson\""));
                        }
                        whole = false;
                        SourceKind::Stdin
                    }
                }
            }
            Some("kafka") => {
                if matches!(preset, Preset::AccessLog | Preset::Csv) {
                    let message = format!("a topic has events in JSON, and preset \"{}\" has lines", preset.name());
                    refuse("preset", message);
                }
                match topic.filter(|topic| !topic.is_empty()) {
                    Some(topic) => SourceKind::Kafka { topic, from_start },
                    None => {
                        let found =
                            Found::new(ProblemKind::MissingKey, at.spot, "a source of kind kafka needs `topic`");
                        r.found.push(found.help("for example: topic = \"clicks\""));
                        whole = false;
                        SourceKind::Stdin
                    }
                }
            }
            Some("http") => SourceKind::Http,
            _ => SourceKind::Stdin,
        };
        let live = kind == SourceKind::Http;
        if address.as_deref() == Some("connection") && !live && whole {
            let message = "there is no connection whose address events could get: `connection` is for kind http";
            r.found.push(Found::new(ProblemKind::Conflict, at.spot_of("client_address"), message));
        }
        let source = Source {
            name,
            preset,
            client_address: match address.as_deref() {
                Some("connection") => ClientAddress::Connection,
                Some(_) => ClientAddress::None,
                None if live => ClientAddress::Connection,
                None => ClientAddress::None,
            },
            clock: match clock.as_deref() {
                Some("live") => ClockMode::Live,
                Some(_) => ClockMode::AsSent,
                None if live => ClockMode::Live,
                None => ClockMode::AsSent,
            },
            kind,
            map,
        };
        (source, whole)
    }

    fn geo(&mut self, at: &At<'_>) -> Geo {
        let databases = self.reader.paths(at, "database");
        let geo = Geo {
            databases: databases.iter().map(|(p, _)| p.clone()).collect(),
            required: self.reader.switch(at, "required").expect(DEFAULT),
        };
        self.files.extend(databases.into_iter().map(|(path, spot)| NamedFile {
            key: "geo.database",
            path,
            spot,
            needed: geo.required,
        }));
        if geo.required && geo.databases.is_empty() {
            let found = Found::new(
                ProblemKind::Conflict,
                at.spot_of("required"),
                "`geo.required` is true, but `geo.database` names no file",
            );
            self.reader.found.push(found.help("for example: database = [\"city.mmdb\"]"));
        }
        geo
    }

    fn network(&mut self, at: &At<'_>) -> Network {
        let asn = self.files(at, "asn", "network.asn");
        let mut lists = Vec::new();
        for kind in NETWORK_LISTS {
            let key = schema::SCHEMA.key(&format!("network.{kind}")).expect("each list has its key");
            lists.extend(self.files(at, kind, key.path).into_iter().map(|path| (kind, path)));
        }
        Network { asn, lists }
    }

    fn referrer(&mut self, at: &At<'_>) -> Referrer {
        let internal = self.reader.texts(at, "internal").expect(DEFAULT);
        Referrer {
            file: self.file(at, "file", "referrer.file"),
            internal: internal.into_iter().map(|host| host.to_ascii_lowercase()).collect(),
        }
    }

    fn campaign(&mut self, at: &At<'_>) -> Campaign {
        let r = &mut *self.reader;
        Campaign {
            source: r.texts(at, "source").expect(DEFAULT),
            medium: r.texts(at, "medium").expect(DEFAULT),
            name: r.texts(at, "name").expect(DEFAULT),
            term: r.texts(at, "term").expect(DEFAULT),
            content: r.texts(at, "content").expect(DEFAULT),
            click_ids: r.text_map(at, "click_ids").expect(DEFAULT),
        }
    }

    fn assets(&mut self, at: &At<'_>, circumstances: &Circumstances) -> Assets {
        Assets {
            dir: self.reader.path(at, "dir").or_else(|| circumstances.cache.clone()),
            in_use: self.reader.switch(at, "use").expect(DEFAULT),
        }
    }

    fn kafka(&mut self, at: &At<'_>) -> Option<Kafka> {
        let named = Named { files: &mut self.files, secrets: &mut self.secrets };
        kafka::read(self.reader, at, named)
    }

    fn state(&mut self, at: &At<'_>) -> State {
        let named = Named { files: &mut self.files, secrets: &mut self.secrets };
        sessions::state(self.reader, at, named)
    }

    fn caches(&mut self, at: &At<'_>) -> Cache {
        let named = Named { files: &mut self.files, secrets: &mut self.secrets };
        remote::caches(self.reader, at, named)
    }

    /// A file that may be named; the run can start without it.
    fn file(&mut self, at: &At<'_>, name: &str, key: &'static str) -> Option<PathBuf> {
        let path = self.reader.path(at, name)?;
        self.files.push(NamedFile { key, path: path.clone(), spot: at.spot_of(name), needed: false });
        Some(path)
    }

    /// Files that may be named; the run can start without them.
    fn files(&mut self, at: &At<'_>, name: &str, key: &'static str) -> Vec<PathBuf> {
        let files = self.reader.paths(at, name);
        files
            .into_iter()
            .map(|(path, spot)| {
                self.files.push(NamedFile { key, path: path.clone(), spot, needed: false });
                path
            })
            .collect()
    }

    fn enrich(&mut self, at: &At<'_>) -> Enrich {
        let r = &mut *self.reader;
        Enrich {
            deadline: r.duration(at, "deadline").expect(DEFAULT),
            status: match r.word(at, "status").as_deref() {
                Some("all") => Status::All,
                _ => Status::NotOk,
            },
            member: r.name(at, "member").expect(DEFAULT),
            max_future: r.duration(at, "max_future").expect(DEFAULT),
            reload: r.duration(at, "reload").expect(DEFAULT),
            workers: r.count(at, "workers").expect(DEFAULT) as usize,
        }
    }

    fn dedup(&mut self, at: &At<'_>) -> Dedup {
        let r = &mut self.reader;
        Dedup {
            memory: r.size(at, "memory").expect(DEFAULT),
            disk: r.size(at, "disk").expect(DEFAULT),
            horizon: r.duration(at, "horizon").expect(DEFAULT),
        }
    }

    fn time(&mut self, at: &At<'_>) -> Time {
        Time {
            out_of_order: self.reader.duration(at, "out_of_order").expect(DEFAULT),
            idle_after: self.reader.duration(at, "idle_after").expect(DEFAULT),
        }
    }

    /// Rules between keys of different sections.
    fn between(&mut self, root: &At<'_>, config: &Config) {
        let (http, limits) = (root.section("http"), root.section("limits"));
        let (batch, in_flight, event) = (config.http.batch, config.http.in_flight, config.limits.event);
        if batch > in_flight {
            let spot = at_written(&http, &["in_flight", "batch"]);
            let message = format!(
                "`http.batch` ({}) is above `http.in_flight` ({}): a full batch could never be taken in",
                show_size(batch as u64),
                show_size(in_flight as u64)
            );
            self.reader.found.push(Found::new(ProblemKind::Conflict, spot, message));
        }
        if event > batch {
            let spot = at_written(&limits, &["event"]).or(at_written(&http, &["batch"]));
            let message = format!(
                "`limits.event` ({}) is above `http.batch` ({}): events that large cannot come in by HTTP",
                show_size(event as u64),
                show_size(batch as u64)
            );
            self.warnings.push(Found::new(ProblemKind::Conflict, spot, message));
        }
        // Only what is right so far: a map with a mistake of its own is not judged twice.
        if self.reader.found.is_empty() {
            for (source, at) in config.sources.iter().zip(root.list("source")) {
                if let Err(error) = Decoder::build(config.decoder(source)) {
                    let spot = at.spot_of("map").filter(|s| at.spot != Some(*s)).or(at.spot);
                    let message = format!("the map of source \"{}\": {error}", source.name);
                    self.reader.found.push(Found::new(ProblemKind::Conflict, spot, message));
                }
            }
        }
        if config.http.connections_per_address > config.http.connections
            && http.member("connections_per_address").is_some()
        {
            let message = "`http.connections_per_address` is above `http.connections`, and so has no effect";
            let spot = http.spot_of("connections_per_address");
            self.warnings.push(Found::new(ProblemKind::Conflict, spot, message));
        }
    }
}

/// Where the first of `keys` that is written stands.
fn at_written(at: &At<'_>, keys: &[&str]) -> Option<Spot> {
    keys.iter().find_map(|k| at.member(k).map(|m| m.node.spot))
}
