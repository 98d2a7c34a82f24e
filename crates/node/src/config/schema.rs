//! Every key there is, described once. From this table come the defaults, the bounds, the suggestions for unknown keys
//! and the reference in the docs; a key that is not here does not exist.

/// What a key's value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The version of the configuration's own form.
    Version,
    /// A name that other names are made of: letters, digits, `_` and `-`.
    Name,
    /// One of a few words.
    Word(&'static [&'static str]),
    Switch,
    /// A whole number within bounds, both included.
    Count {
        min: u64,
        max: u64,
    },
    /// "5s"; bounds in milliseconds, both included.
    Duration {
        min_ms: u64,
        max_ms: u64,
    },
    /// "64MiB"; bounds in bytes, both included.
    Size {
        min: u64,
        max: u64,
    },
    /// "10%" or a size.
    Space,
    /// An address and a port.
    Address,
    /// A path, relative to the file it stands in (from flags and the environment: to the working directory).
    Path,
    /// One path or a list of them.
    Paths,
    /// Any text.
    Text,
    /// A list of texts.
    Texts,
    /// A table of texts.
    TextMap,
    /// `{ env = "NAME" }` or `{ file = "path" }`.
    Secret,
    /// A URL as a text without a password, or the place of a secret. A path in it (`sqlite:`) is relative as a [`Path`] is.
    ///
    /// [`Path`]: Kind::Path
    Url,
    /// A table of texts and of secrets' places.
    SecretMap,
    /// `s3://bucket/prefix`, or a [`Path`].
    ///
    /// [`Path`]: Kind::Path
    Store,
    /// Field name -> pointer, list of pointers, or table.
    FieldMap,
}

/// What holds when a key is not written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Absent {
    /// This value, as TOML.
    Is(&'static str),
    /// It must be written.
    Refused,
    /// What follows, in words.
    Means(&'static str),
}

/// One key. `path` has `[]` behind lists of tables: `source[].name`.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub path: &'static str,
    pub kind: Kind,
    pub absent: Absent,
    pub meaning: &'static str,
    /// A value, as TOML.
    pub example: &'static str,
    /// First version that has it.
    pub since: &'static str,
    /// Names other programs have for it: for suggestions only.
    pub also: &'static [&'static str],
    /// What a count counts, or what a size is besides bytes; "" where the kind says all. See [`Key::unit`].
    pub counts: &'static str,
    /// The values of `kind` beside it that it goes with; empty where there is no such rule.
    pub only: &'static [&'static str],
}

/// A table of the file. Those with `[]` may be there any number of times.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    pub path: &'static str,
    pub meaning: &'static str,
}

/// The form of configuration this program reads.
pub const VERSION: u64 = 1;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// Kinds of lookups that are asked over a connection.
pub const REMOTE: &[&str] = &["sql", "redis", "http"];

/// Names of sets of rules for sessions, as `sessions.preset` takes them.
pub const SESSION_PRESETS: &[&str] = &["ga4", "universal-analytics", "snowplow"];

/// Names of presets, as `source[].preset` takes them.
pub const PRESETS: &[&str] = &["segment", "ouzel", "access-log", "csv"];

const fn key(
    path: &'static str,
    kind: Kind,
    absent: Absent,
    example: &'static str,
    also: &'static [&'static str],
    meaning: &'static str,
) -> Key {
    Key { path, kind, absent, meaning, example, since: "0.1", also, counts: "", only: &[] }
}

use Absent::{Is, Means, Refused};
use Kind::*;

pub static SECTIONS: &[Section] = &[
    Section { path: "data", meaning: "Where events are kept, how safely, and for how long." },
    Section {
        path: "data.keep",
        meaning: "How long each topic is kept. What is older is removed in whole segments, so a little more is there.",
    },
    Section {
        path: "kafka",
        meaning: "Kafka in place of the journal: topics, positions and groups lie there, and any number of processes share the work (`ouzel run --roles`). `ouzel topics apply` makes the topics; `data.partitions` and `data.keep` say how.",
    },
    Section {
        path: "http",
        meaning: "The port that takes events in and answers questions, and what it allows callers.",
    },
    Section {
        path: "limits",
        meaning: "What one event may be. What is over a limit is refused with its reason, and copied to `dlq`.",
    },
    Section {
        path: "source[]",
        meaning: "Where events come from. Without one by HTTP, what comes in at the port is of the source `http`, with the preset `segment`.",
    },
    Section {
        path: "geo",
        meaning: "The place of an address (`enriched.geo`). Without a database `enriched.status.geo` is \"skipped\".",
    },
    Section {
        path: "network",
        meaning: "What is known of an address's network (`enriched.network`): who runs it, and what it is used for. The lists are text files with one network (`192.0.2.0/24`) or address a line.",
    },
    Section { path: "device", meaning: "Browser, system and kind of device by the user agent (`enriched.device`)." },
    Section { path: "bot", meaning: "Whether a program is behind the event (`enriched.bot`)." },
    Section { path: "referrer", meaning: "Where a visit came from (`enriched.referrer`)." },
    Section {
        path: "campaign",
        meaning: "Which campaign brought a visit (`enriched.campaign`), by the parameters of the page's URL.",
    },
    Section { path: "lookup[]", meaning: "Lookups of your own; each adds `enriched.<name>`." },
    Section {
        path: "lookup[].cache",
        meaning: "What this process remembers of a source that is asked over a connection. Times are spread by a tenth, so that what came together does not end together.",
    },
    Section {
        path: "lookup[].breaker",
        meaning: "When a source is left alone: its lookups get the status `open` at once, or what the cache has past its time, until a few calls have been good again.",
    },
    Section { path: "cache", meaning: "What holds for the caches of all lookups that are asked over a connection." },
    Section {
        path: "cache.shared",
        meaning: "A cache that several processes share, between theirs and the sources: what one has asked the others need not ask, and of several that want the same key one asks. When it fails, sources are asked without it.",
    },
    Section {
        path: "assets",
        meaning: "Reference files that `ouzel assets fetch` got: places, networks, agents, crawlers.",
    },
    Section { path: "enrich", meaning: "How events are enriched, whatever with." },
    Section { path: "dedup", meaning: "How duplicates (same source and id) are told." },
    Section { path: "time", meaning: "How the time of events is followed." },
    Section {
        path: "sessions",
        meaning: "How events of a visitor become sessions. A session is told in `sessions`; while it is open, `GET /v1/sessions/{visitor}` shows it.",
    },
    Section { path: "state", meaning: "What stages keep in memory, and how it survives a crash." },
];

pub static KEYS: &[Key] = &[
    key(
        "version",
        Version,
        Refused,
        "1",
        &[],
        "The version of the form of this file. Needed in a file, so that an old program never misreads a new one.",
    ),
    // [data]
    key(
        "data.dir",
        Path,
        Is("\"./ouzel-data\""),
        "\"/var/lib/ouzel\"",
        &["path", "directory", "data_dir", "folder"],
        "The directory everything is kept in. One process writes to it at a time.",
    ),
    key(
        "data.durability",
        Word(&["fsync", "os"]),
        Is("\"fsync\""),
        "\"os\"",
        &["sync", "fsync", "flush"],
        "When an event counts as safe. `fsync`: when the disk has it. `os`: when the operating system has it; a power cut may lose acknowledged events.",
    ),
    key(
        "data.partitions",
        Count { min: 1, max: 1024 },
        Is("8"),
        "16",
        &["shards", "num_partitions"],
        "Partitions of each topic. Fixed when the directory is made; it never changes in place.",
    )
    .counts("partitions"),
    key(
        "data.keep.raw",
        Duration { min_ms: SECOND, max_ms: 3650 * DAY },
        Is("\"7d\""),
        "\"30d\"",
        &["retention"],
        "How long `raw` (events as received) is kept.",
    ),
    key(
        "data.keep.enriched",
        Duration { min_ms: SECOND, max_ms: 3650 * DAY },
        Is("\"3d\""),
        "\"7d\"",
        &["retention"],
        "How long `enriched` is kept.",
    ),
    key(
        "data.keep.dlq",
        Duration { min_ms: SECOND, max_ms: 3650 * DAY },
        Is("\"30d\""),
        "\"90d\"",
        &["dead_letters", "dlt"],
        "How long `dlq` (dead letters) is kept.",
    ),
    key(
        "data.keep.sessions",
        Duration { min_ms: SECOND, max_ms: 3650 * DAY },
        Is("\"7d\""),
        "\"90d\"",
        &["retention"],
        "How long `sessions` is kept.",
    ),
    key(
        "data.keep.late",
        Duration { min_ms: SECOND, max_ms: 3650 * DAY },
        Is("\"7d\""),
        "\"30d\"",
        &["retention"],
        "How long `late` (events that no session took) is kept.",
    ),
    key(
        "data.max_bytes",
        Size { min: MIB, max: 1024 * TIB },
        Is("\"20GiB\""),
        "\"100GiB\"",
        &["max_size", "retention_bytes", "quota"],
        "Most bytes kept per topic; the oldest are removed first, also before `data.keep` is over.",
    ),
    key(
        "data.min_free",
        Space,
        Is("\"10%\""),
        "\"5GiB\"",
        &["reserve", "min_disk_free"],
        "What stays free on the disk, as a share or a size. Below it no more events are taken (503); reading goes on.",
    ),
    key(
        "data.segment",
        Size { min: 64 * KIB, max: 4 * GIB },
        Is("\"256MiB\""),
        "\"64MiB\"",
        &["segment_bytes", "segment_size"],
        "Size of one file of the journal. Retention removes whole ones.",
    ),
    key(
        "data.cache",
        Size { min: 0, max: TIB },
        Is("\"64MiB\""),
        "\"256MiB\"",
        &["cache_size", "tail_cache"],
        "Memory for the newest records, so that stages that keep up never read from disk.",
    ),
    // [kafka]
    key(
        "kafka.brokers",
        Text,
        Means("events are kept in the journal, in `data.dir`"),
        "\"kafka-1:9092,kafka-2:9092\"",
        &["bootstrap_servers", "bootstrap.servers", "servers", "url", "hosts"],
        "Brokers to begin with, `host:port`, with commas between them. With it the log is Kafka.",
    ),
    key(
        "kafka.prefix",
        Text,
        Is("\"ouzel.\""),
        "\"shop.\"",
        &["topic_prefix", "namespace"],
        "What the names of topics, groups and transactions begin with, so that several pipelines may share a cluster: `ouzel.raw`, `ouzel.enrich`.",
    ),
    key(
        "kafka.replication",
        Count { min: 1, max: 32_767 },
        Is("3"),
        "1",
        &["replication_factor", "replicas"],
        "Copies of each partition, for topics that `ouzel topics apply` makes. Never more than there are brokers.",
    )
    .counts("copies"),
    key(
        "kafka.commit_age",
        Duration { min_ms: 1, max_ms: 10 * SECOND },
        Is("\"15ms\""),
        "\"50ms\"",
        &["commit_interval", "linger"],
        "How old a transaction gets before it is committed. Readers see what it holds after that; each costs the brokers a few writes.",
    ),
    key(
        "kafka.session_timeout",
        Duration { min_ms: SECOND, max_ms: HOUR },
        Is("\"6s\""),
        "\"10s\"",
        &["session_timeout_ms"],
        "How long a worker may be silent before its partitions go to others. The brokers have a least value (`group.min.session.timeout.ms`).",
    ),
    key(
        "kafka.transaction_timeout",
        Duration { min_ms: SECOND, max_ms: 900 * SECOND },
        Is("\"5s\""),
        "\"3s\"",
        &["transaction_timeout_ms"],
        "How long the brokers wait for the end of a transaction whose worker is gone; readers wait as long. Below `session_timeout`, so that it has ended when the partition's next owner begins.",
    ),
    key(
        "kafka.properties",
        SecretMap,
        Is("{}"),
        "{ \"security.protocol\" = \"sasl_ssl\", \"sasl.password\" = { env = \"KAFKA_PASSWORD\" } }",
        &["options", "config", "librdkafka"],
        "Any other property of librdkafka, by its own name in quotes: texts, or secrets by their places.",
    ),
    // [http]
    key(
        "http.listen",
        Address,
        Is("\"127.0.0.1:7070\""),
        "\"127.0.0.1:8080\"",
        &["bind", "port", "address", "host", "addr"],
        "Address and port (port 0: any free one). One that other machines can reach is refused without `--insecure` until there are keys and TLS.",
    ),
    key(
        "http.connections",
        Count { min: 1, max: 1_000_000 },
        Is("512"),
        "4096",
        &["max_connections"],
        "Most connections at once; more wait to be accepted.",
    )
    .counts("connections"),
    key(
        "http.connections_per_address",
        Count { min: 1, max: 1_000_000 },
        Is("256"),
        "64",
        &["max_connections_per_ip"],
        "Most connections at once from one address (one /64, for IPv6); more are closed.",
    )
    .counts("connections"),
    key(
        "http.header_timeout",
        Duration { min_ms: 10, max_ms: HOUR },
        Is("\"10s\""),
        "\"5s\"",
        &["read_timeout", "request_timeout", "timeout"],
        "How long a request's head may take to arrive.",
    ),
    key(
        "http.idle_timeout",
        Duration { min_ms: 10, max_ms: DAY },
        Is("\"60s\""),
        "\"30s\"",
        &["keep_alive", "keepalive"],
        "How long a connection may be silent between requests.",
    ),
    key(
        "http.min_body_rate",
        Size { min: 0, max: GIB },
        Is("\"16KiB\""),
        "\"1KiB\"",
        &["body_rate"],
        "Fewest bytes a second a body may arrive at, on average, once a few seconds are over; slower ones are cut off (408). 0 allows any.",
    )
    .counts("bytes a second"),
    key(
        "http.batch",
        Size { min: KIB, max: GIB },
        Is("\"1MiB\""),
        "\"4MiB\"",
        &["max_body", "body_limit", "max_batch"],
        "Largest body of a request, after decompression.",
    ),
    key(
        "http.in_flight",
        Size { min: KIB, max: TIB },
        Is("\"16MiB\""),
        "\"64MiB\"",
        &["buffer", "queue"],
        "Most bytes of bodies taken in but not yet durable; above it callers get 503 and Retry-After.",
    ),
    // [limits]
    key(
        "limits.event",
        Size { min: 256, max: 8 * MIB },
        Is("\"32KiB\""),
        "\"64KiB\"",
        &["event_size", "max_event"],
        "Largest event.",
    ),
    key(
        "limits.depth",
        Count { min: 1, max: 256 },
        Is("64"),
        "16",
        &["nesting", "max_depth"],
        "Deepest nesting of objects and lists in an event.",
    )
    .counts("levels"),
    key(
        "limits.members",
        Count { min: 1, max: 1_000_000 },
        Is("2000"),
        "500",
        &["max_members", "fields"],
        "Most members of an event, those of nested objects included.",
    )
    .counts("members"),
    // [[source]]
    key(
        "source[].name",
        Name,
        Refused,
        "\"web\"",
        &["id"],
        "The name; each event received here carries it as its `source`, and ids are unique within it.",
    ),
    key(
        "source[].kind",
        Word(&["http", "file", "stdin", "kafka"]),
        Refused,
        "\"http\"",
        &["type"],
        "`http`: requests to `http.listen`. `file`: a file, plain, gzip or zstd. `stdin`: the standard input. `kafka`: a topic of other people's on the Kafka of `[kafka]`.",
    ),
    key(
        "source[].path",
        Path,
        Means("needed for `file`; other kinds have none"),
        "\"events.ndjson\"",
        &["file", "input"],
        "The file to read, relative to the file this stands in.",
    )
    .only(&["file"]),
    key(
        "source[].follow",
        Switch,
        Is("false"),
        "true",
        &["tail", "watch"],
        "Whether to wait for more at the end of the file (`file` only); renaming and cutting it are noticed.",
    )
    .only(&["file"]),
    key(
        "source[].topic",
        Text,
        Means("needed for `kafka`; other kinds have none"),
        "\"clicks\"",
        &["topics"],
        "The topic to read, as it is called there, without `kafka.prefix`. Each record's value is one event in JSON.",
    )
    .only(&["kafka"]),
    key(
        "source[].from",
        Word(&["start", "end"]),
        Is("\"start\""),
        "\"end\"",
        &["offset", "auto_offset_reset"],
        "Where reading begins in a topic that this source has never read: at its oldest record, or at what comes from now on.",
    )
    .only(&["kafka"]),
    key(
        "source[].preset",
        Word(PRESETS),
        Is("\"segment\""),
        "\"access-log\"",
        &["format", "schema"],
        "What its events look like, and so where their fields are.",
    ),
    key(
        "source[].client_address",
        Word(&["connection", "none"]),
        Means("`connection` for `http`, `none` for others"),
        "\"none\"",
        &["ip_from"],
        "Whether events without an address and user agent get the connection's. `none` for senders that speak for others (servers, log shippers).",
    ),
    key(
        "source[].clock",
        Word(&["live", "as_sent"]),
        Means("`live` for `http`, `as_sent` for others"),
        "\"as_sent\"",
        &[],
        "`live`: the sender's clock is corrected by `sent_at`. `as_sent`: times are taken as they stand.",
    ),
    key(
        "source[].map",
        FieldMap,
        Means("the preset as it is"),
        "{ time = { pointer = \"/created_at\", format = \"epoch_ms\" }, user = \"/account/id\", type = { value = \"request\" } }",
        &["fields", "mapping"],
        "Where fields are, over the preset: a JSON Pointer; a list of them (the first present counts); `{ pointer, format, zone }` for times (format: `rfc3339`, `epoch_s`, `epoch_ms`, `epoch_us` or strftime); `{ value }` for a constant.",
    ),
    // [geo]
    key(
        "geo.database",
        Paths,
        Is("[]"),
        "[\"city.mmdb\"]",
        &["path", "file", "mmdb", "databases"],
        "MMDB files, one or a list; the first that knows the address counts. Relative to the file this stands in.",
    ),
    key(
        "geo.required",
        Switch,
        Is("false"),
        "true",
        &["optional"],
        "Whether a missing or bad database stops the start. Otherwise the run says so and goes on without.",
    ),
    // [network]
    key(
        "network.asn",
        Paths,
        Means("that of `ouzel assets`, else none"),
        "[\"asn-ipv4.csv.gz\"]",
        &["database", "file", "path"],
        "Who announces an address: CSV files (`start,end,number,organisation`; plain or gzip) or MMDB files.",
    ),
    key(
        "network.hosting",
        Paths,
        Is("[]"),
        "[\"hosting.txt\"]",
        &[],
        "Lists of hosting providers, beside the program's own table of organisations.",
    ),
    key("network.proxy", Paths, Is("[]"), "[\"proxy.txt\"]", &[], "Lists of anonymous proxies."),
    key("network.vpn", Paths, Is("[]"), "[\"vpn.txt\"]", &[], "Lists of VPN services."),
    key("network.tor", Paths, Is("[]"), "[\"tor.txt\"]", &[], "Lists of Tor exits."),
    key("network.mobile", Paths, Is("[]"), "[\"mobile.txt\"]", &[], "Lists of mobile operators."),
    key("network.satellite", Paths, Is("[]"), "[\"satellite.txt\"]", &[], "Lists of satellite providers."),
    key("network.hostile", Paths, Is("[]"), "[\"hostile.txt\"]", &[], "Lists of networks known for attacks (`flags`)."),
    key("network.anycast", Paths, Is("[]"), "[\"anycast.txt\"]", &[], "Lists of anycast networks (`flags`)."),
    // [device]
    key(
        "device.rules",
        Path,
        Means("that of `ouzel assets`; without it only the kind of device is told"),
        "\"regexes.yaml\"",
        &["regexes", "file", "path"],
        "Rules for user agents, a `regexes.yaml` of the uap-core project.",
    ),
    // [bot]
    key(
        "bot.crawlers",
        Path,
        Means("that of `ouzel assets`; without it agents are judged by the program's own rules alone"),
        "\"crawler-user-agents.json\"",
        &["list", "file", "path"],
        "A list of crawlers, a `crawler-user-agents.json` of that project.",
    ),
    // [referrer]
    key(
        "referrer.file",
        Path,
        Means("the program's own table alone"),
        "\"referers.yml\"",
        &["table", "path", "referers"],
        "A table of your own that is asked before the program's: medium -> source -> `domains` and `parameters`, in YAML.",
    ),
    key(
        "referrer.internal",
        Texts,
        Is("[]"),
        "[\"shop.example.com\"]",
        &["internal_domains", "own"],
        "Hosts of your own, subdomains included, beside the host of the page: visits from them are `internal`.",
    ),
    // [campaign]
    key(
        "campaign.source",
        Texts,
        Is("[\"utm_source\", \"mkt_source\"]"),
        "[\"utm_source\"]",
        &[],
        "Parameters that give `enriched.campaign.source`; the first that is there and not empty counts.",
    ),
    key(
        "campaign.medium",
        Texts,
        Is("[\"utm_medium\", \"mkt_medium\"]"),
        "[\"utm_medium\"]",
        &[],
        "Parameters that give `enriched.campaign.medium`; the first that is there and not empty counts.",
    ),
    key(
        "campaign.name",
        Texts,
        Is("[\"utm_campaign\", \"mkt_campaign\"]"),
        "[\"utm_campaign\"]",
        &[],
        "Parameters that give `enriched.campaign.name`; the first that is there and not empty counts.",
    ),
    key(
        "campaign.term",
        Texts,
        Is("[\"utm_term\", \"mkt_term\"]"),
        "[\"utm_term\"]",
        &[],
        "Parameters that give `enriched.campaign.term`; the first that is there and not empty counts.",
    ),
    key(
        "campaign.content",
        Texts,
        Is("[\"utm_content\", \"mkt_content\"]"),
        "[\"utm_content\"]",
        &[],
        "Parameters that give `enriched.campaign.content`; the first that is there and not empty counts.",
    ),
    key(
        "campaign.click_ids",
        TextMap,
        Is(
            "{ gclid = \"Google\", wbraid = \"Google\", gbraid = \"Google\", dclid = \"DoubleClick\", msclkid = \"Microsoft\", fbclid = \"Facebook\", ttclid = \"TikTok\", twclid = \"X\", li_fat_id = \"LinkedIn\", yclid = \"Yandex\", epik = \"Pinterest\", rdt_cid = \"Reddit\", ScCid = \"Snapchat\" }",
        ),
        "{ gclid = \"Google\", msclkid = \"Microsoft\" }",
        &["clickids"],
        "Parameters that carry a click's id, each with its advertising network.",
    ),
    // [[lookup]]
    key(
        "lookup[].name",
        Name,
        Refused,
        "\"company\"",
        &["id"],
        "The member of `enriched` it writes. Names of built-in enrichers are taken.",
    ),
    key(
        "lookup[].kind",
        Word(&["file", "mmdb", "sql", "redis", "http"]),
        Refused,
        "\"file\"",
        &["type"],
        "`file`: a row of a CSV, NDJSON or Parquet file. `mmdb`: the whole record of an address in an MMDB file. `sql`: a row of Postgres, MySQL, MariaDB or SQLite. `redis`: what lies under a key of Redis or Valkey. `http`: the JSON that a service answers.",
    ),
    key(
        "lookup[].path",
        Path,
        Means("needed for `file` and `mmdb`; other kinds have none"),
        "\"plans.csv\"",
        &["file", "database"],
        "The file, relative to the file this stands in. It is read again when it changes.",
    )
    .only(&["file", "mmdb"]),
    key(
        "lookup[].url",
        Url,
        Means("needed for `sql`, `redis` and `http`; other kinds have none"),
        "{ env = \"USERS_DB\" }",
        &["dsn", "uri", "endpoint", "connection", "address"],
        "Where the source is: `postgres://host/db`, `mysql://host/db`, `sqlite:path`; `redis://host:port/0`, `rediss://...`; `https://host/path/{key}`, in which a key fills the path and the query, never the host. As a secret it may have `user:password@` in it (not for `http`).",
    )
    .only(REMOTE),
    key(
        "lookup[].user",
        Text,
        Means("that of the URL"),
        "\"ouzel\"",
        &["username", "login"],
        "Who logs in (`sql`, `redis`), where the URL does not say it.",
    )
    .only(&["sql", "redis"]),
    key(
        "lookup[].password",
        Secret,
        Means("that of the URL, else none"),
        "{ file = \"/run/secrets/users-db\" }",
        &["pass", "pwd"],
        "The password of who logs in.",
    )
    .only(&["sql", "redis"]),
    key(
        "lookup[].tls",
        Switch,
        Is("false"),
        "true",
        &["ssl", "sslmode"],
        "Whether to speak with the database by TLS only. The other kinds say it in their URL: `rediss://`, `https://`.",
    )
    .only(&["sql"]),
    key(
        "lookup[].ca",
        Path,
        Means("the certificates that the machine trusts"),
        "\"internal-ca.pem\"",
        &["ca_file", "ca_cert", "root_cert"],
        "Certificates (PEM) that are trusted instead of the machine's.",
    )
    .only(REMOTE),
    key(
        "lookup[].query",
        Text,
        Means("needed for `sql`; other kinds have none"),
        "\"SELECT id, plan FROM users WHERE id = ANY($1)\"",
        &["sql", "statement", "select"],
        "One statement that takes many keys. Postgres: an array for each parameter, `= ANY($1)`; MySQL, MariaDB, SQLite: one list, `IN (?)`. Its rows must have `key_columns` in them.",
    )
    .only(&["sql"]),
    key(
        "lookup[].template",
        Text,
        Is("\"{key}\""),
        "\"user:{key}\"",
        &["keys", "redis_key", "prefix", "pattern"],
        "The key in Redis. `{key}` is what is looked up; of several parameters `{1}`, `{2}`, in the order of `key`.",
    )
    .only(&["redis"]),
    key(
        "lookup[].value",
        Word(&["json", "string", "hash", "document"]),
        Is("\"json\""),
        "\"hash\"",
        &["encoding", "data_type"],
        "What lies there: `json`, a string that is JSON; `string`, a string that becomes a text; `hash`, an object of texts; `document`, a document of RedisJSON.",
    )
    .only(&["redis"]),
    key(
        "lookup[].body",
        Text,
        Means("a GET for each key"),
        "'{\"ids\": {keys}}'",
        &["request", "post"],
        "Many keys in one POST: JSON with `{keys}` where their array goes, of texts, or of lists of texts if a key has several parameters.",
    )
    .only(&["http"]),
    key(
        "lookup[].answer",
        Word(&["by_key", "in_order", "rows"]),
        Means("`by_key` where there is a `body`"),
        "\"rows\"",
        &["response"],
        "How the values of many keys are answered: `by_key`, an object from key to value; `in_order`, a list with a value for each; `rows`, a list of objects that have their key in `key_columns`.",
    )
    .only(&["http"]),
    key(
        "lookup[].at",
        Text,
        Means("the answer itself"),
        "\"/data/users\"",
        &["result", "extract"],
        "Where in the answer to a `body` the values are: a JSON Pointer.",
    )
    .only(&["http"]),
    key(
        "lookup[].headers",
        SecretMap,
        Is("{}"),
        "{ accept-language = \"en\", x-api-key = { env = \"USERS_KEY\" } }",
        &["header"],
        "Sent with every request: texts, or secrets by their places.",
    )
    .only(&["http"]),
    key(
        "lookup[].bearer",
        Secret,
        Means("no such header"),
        "{ env = \"USERS_TOKEN\" }",
        &["token", "auth", "api_key", "authorization"],
        "Sent as `authorization: Bearer ...`.",
    )
    .only(&["http"]),
    key(
        "lookup[].allow_private",
        Texts,
        Is("[]"),
        "[\"users.internal\"]",
        &["private", "allow_hosts"],
        "Hosts that may have private addresses. Others are asked at public ones only, so that whoever answers for a name cannot have us ask our own neighbours.",
    )
    .only(&["http"]),
    key(
        "lookup[].key",
        Texts,
        Means("`event.ip` for `mmdb`; needed for others"),
        "\"event.user\"",
        &["on", "by"],
        "What is looked up: a field (`event.user`), a JSON Pointer into the event (`/properties/listing/id`), or what an earlier enricher or lookup wrote (`enriched.user.plan`). A list of them for a source that takes several parameters (`sql`, `redis`, `http`), in their order.",
    ),
    key(
        "lookup[].when",
        Text,
        Means("always"),
        "\"event.user != null\"",
        &["if", "condition"],
        "A condition in CEL over `event` and `enriched`; where it does not hold the lookup is `skipped`.",
    ),
    key(
        "lookup[].format",
        Word(&["csv", "ndjson", "parquet"]),
        Means("by the file's name"),
        "\"csv\"",
        &[],
        "How the file is written (`file` only).",
    )
    .only(&["file"]),
    key(
        "lookup[].key_column",
        Text,
        Means("the first column of a CSV or Parquet file; `id` in NDJSON"),
        "\"user_id\"",
        &["column", "index"],
        "Which column or member is the key (`file` only).",
    )
    .only(&["file"]),
    key(
        "lookup[].key_columns",
        Texts,
        Means("`id`; needed if a key has several parameters"),
        "[\"shop\", \"sku\"]",
        &["key_members", "primary_key"],
        "Which columns of a row (`sql`) or members of an object (`http` with `answer = \"rows\"`) are its key, one for each parameter, in the order of `key`.",
    )
    .only(&["sql", "http"]),
    key(
        "lookup[].columns",
        Texts,
        Means("all"),
        "[\"plan\", \"country\"]",
        &["fields", "select"],
        "Which columns or members are added (`file` only).",
    )
    .only(&["file"]),
    key(
        "lookup[].on_many",
        Word(&["error", "first"]),
        Is("\"error\""),
        "\"first\"",
        &["duplicates"],
        "What a key means that stands in several rows: `error` gives the status `error:many_rows`, `first` the first row.",
    )
    .only(&["file", "sql"]),
    key(
        "lookup[].required",
        Switch,
        Is("false"),
        "true",
        &["optional"],
        "Whether a missing or bad file stops the start. Otherwise the run says so and goes on without.",
    )
    .only(&["file", "mmdb"]),
    key(
        "lookup[].pool",
        Count { min: 1, max: 256 },
        Is("8"),
        "16",
        &["connections", "pool_size", "max_connections"],
        "Most connections to the source. They are opened when they are needed, and kept.",
    )
    .counts("connections")
    .only(REMOTE),
    key(
        "lookup[].connect_timeout",
        Duration { min_ms: 1, max_ms: 60 * SECOND },
        Is("\"2s\""),
        "\"500ms\"",
        &["timeout"],
        "How long making a connection may take: the name, TLS, the login. Events do not wait longer than `enrich.deadline` for it.",
    )
    .only(REMOTE),
    key(
        "lookup[].in_flight",
        Count { min: 1, max: 10_000 },
        Means("as many as `pool`"),
        "16",
        &["max_in_flight", "concurrency", "bulkhead"],
        "Most calls at once. Keys beyond wait, and go together when there is room.",
    )
    .counts("calls")
    .only(REMOTE),
    key(
        "lookup[].queue",
        Count { min: 1, max: 1_000_000 },
        Is("10000"),
        "100000",
        &["max_queue", "capacity"],
        "Most asks that wait for the source at once; more are refused (`error:overloaded`), or get what the cache has past its time.",
    )
    .counts("asks")
    .only(REMOTE),
    key(
        "lookup[].rate",
        Count { min: 1, max: 1_000_000 },
        Means("no limit"),
        "200",
        &["rate_limit", "max_rate", "qps"],
        "Most calls a second.",
    )
    .counts("calls a second")
    .only(REMOTE),
    key(
        "lookup[].burst",
        Count { min: 1, max: 1_000_000 },
        Means("as many as `rate`"),
        "50",
        &[],
        "How many calls may go at once after a pause, where there is a `rate`.",
    )
    .counts("calls")
    .only(REMOTE),
    key(
        "lookup[].bulk",
        Count { min: 1, max: 10_000 },
        Means("100; 1 for `http` without `body`"),
        "500",
        &["batch", "batch_size", "max_batch"],
        "Most keys in one call.",
    )
    .counts("keys")
    .only(REMOTE),
    key(
        "lookup[].bulk_wait",
        Duration { min_ms: 0, max_ms: SECOND },
        Is("\"200us\""),
        "\"1ms\"",
        &["linger", "batch_wait", "batch_timeout"],
        "How long a key waits for others to go with. Longer makes fewer and larger calls, and adds as much to each that is not in a cache.",
    )
    .only(REMOTE),
    key(
        "lookup[].attempts",
        Count { min: 1, max: 10 },
        Is("3"),
        "1",
        &["retries", "max_retries", "tries"],
        "Attempts of a call, the first among them, all within the deadline of whoever waits. Only what may pass is tried again: timeouts, lost connections, 429 and 5xx.",
    )
    .counts("attempts")
    .only(REMOTE),
    key(
        "lookup[].back_off",
        Duration { min_ms: 0, max_ms: 10 * SECOND },
        Is("\"2ms\""),
        "\"10ms\"",
        &["backoff", "retry_delay", "retry_wait"],
        "The pause before the second attempt is at most so long; it doubles with each, and is drawn by chance.",
    )
    .only(REMOTE),
    key(
        "lookup[].late",
        Duration { min_ms: 0, max_ms: 60 * SECOND },
        Is("\"100ms\""),
        "\"1s\"",
        &["grace"],
        "How long a call goes on when nobody waits for it any more. Its answer fills the caches; meanwhile it is one of `in_flight`.",
    )
    .only(REMOTE),
    key(
        "lookup[].shared",
        Switch,
        Is("true"),
        "false",
        &[],
        "Whether this lookup uses `[cache.shared]`, if there is one.",
    )
    .only(REMOTE),
    // [lookup.cache]
    key(
        "lookup[].cache.size",
        Size { min: 64 * KIB, max: TIB },
        Is("\"64MiB\""),
        "\"256MiB\"",
        &["max_size", "bytes", "memory"],
        "Memory for entries, keys and all. A tenth of it is for keys that were not found, which cannot push out others.",
    )
    .only(REMOTE),
    key(
        "lookup[].cache.ttl",
        Duration { min_ms: 0, max_ms: 365 * DAY },
        Is("\"10m\""),
        "\"1h\"",
        &["expire", "ttl_hit", "max_age"],
        "How long a value is good. One that is used near its end is asked for again behind it.",
    )
    .only(REMOTE),
    key(
        "lookup[].cache.ttl_missing",
        Duration { min_ms: 0, max_ms: 365 * DAY },
        Is("\"1m\""),
        "\"10s\"",
        &["negative_ttl", "ttl_not_found", "ttl_negative"],
        "How long it is remembered that a key was not found. A key that appears in the source is not seen sooner.",
    )
    .only(REMOTE),
    key(
        "lookup[].cache.ttl_error",
        Duration { min_ms: 0, max_ms: DAY },
        Is("\"5s\""),
        "\"30s\"",
        &["error_ttl"],
        "How long it is remembered that the source has something for a key that cannot be used (several rows, no JSON, too large). Failed calls are not remembered.",
    )
    .only(REMOTE),
    key(
        "lookup[].cache.max_stale",
        Duration { min_ms: 0, max_ms: 365 * DAY },
        Is("\"1h\""),
        "\"1d\"",
        &["stale_if_error", "stale", "grace"],
        "How long past its time a value is still given when its source fails, with the status `stale:90s`. 0s: never.",
    )
    .only(REMOTE),
    // [lookup.breaker]
    key(
        "lookup[].breaker.window",
        Count { min: 1, max: 1024 },
        Is("100"),
        "50",
        &[],
        "How many of the last calls are looked at.",
    )
    .counts("calls")
    .only(REMOTE),
    key(
        "lookup[].breaker.calls",
        Count { min: 1, max: 1024 },
        Is("20"),
        "10",
        &["min_calls", "minimum", "volume_threshold"],
        "It does not open before so many calls were seen.",
    )
    .counts("calls")
    .only(REMOTE),
    key(
        "lookup[].breaker.failures",
        Count { min: 1, max: 100 },
        Is("50"),
        "20",
        &["error_rate", "failure_rate", "threshold"],
        "It opens when so many of a hundred calls have failed.",
    )
    .counts("percent")
    .only(REMOTE),
    key(
        "lookup[].breaker.slow",
        Duration { min_ms: 1, max_ms: HOUR },
        Is("\"1s\""),
        "\"30ms\"",
        &["slow_call", "latency"],
        "A call that takes longer is slow.",
    )
    .only(REMOTE),
    key(
        "lookup[].breaker.slow_calls",
        Count { min: 1, max: 100 },
        Is("80"),
        "50",
        &["slow_rate"],
        "It opens when so many of a hundred calls were slow.",
    )
    .counts("percent")
    .only(REMOTE),
    key(
        "lookup[].breaker.open",
        Duration { min_ms: 1, max_ms: HOUR },
        Is("\"5s\""),
        "\"30s\"",
        &["reset_timeout", "cool_down", "wait"],
        "How long the source is left alone before it is tried again.",
    )
    .only(REMOTE),
    key(
        "lookup[].breaker.probes",
        Count { min: 1, max: 1000 },
        Is("3"),
        "1",
        &["half_open"],
        "How many calls must be good before it closes.",
    )
    .counts("calls")
    .only(REMOTE),
    // [cache]
    key(
        "cache.warm",
        Switch,
        Is("true"),
        "false",
        &["persist", "save"],
        "Whether the caches are written to `cache/` of the data directory when the process stops, and read when it starts. Entries keep their age.",
    ),
    // [cache.shared]
    key(
        "cache.shared.kind",
        Word(&["redis"]),
        Means("`redis`"),
        "\"redis\"",
        &["type"],
        "`redis`: one server of Redis or Valkey.",
    ),
    key(
        "cache.shared.url",
        Url,
        Means("no shared cache"),
        "{ env = \"REDIS_URL\" }",
        &["dsn", "uri", "address"],
        "Where it is: `redis://host:port/0` or `rediss://...`. As a secret it may have `user:password@` in it.",
    ),
    key("cache.shared.user", Text, Means("that of the URL"), "\"ouzel\"", &["username"], "Who logs in."),
    key(
        "cache.shared.password",
        Secret,
        Means("that of the URL, else none"),
        "{ env = \"REDIS_PASSWORD\" }",
        &["pass"],
        "The password of who logs in.",
    ),
    key(
        "cache.shared.ca",
        Path,
        Means("the certificates that the machine trusts"),
        "\"internal-ca.pem\"",
        &["ca_file"],
        "Certificates (PEM) that are trusted instead of the machine's.",
    ),
    key(
        "cache.shared.pool",
        Count { min: 1, max: 256 },
        Is("4"),
        "8",
        &["connections"],
        "Most connections to it, of all lookups together.",
    )
    .counts("connections"),
    key(
        "cache.shared.connect_timeout",
        Duration { min_ms: 1, max_ms: 60 * SECOND },
        Is("\"2s\""),
        "\"500ms\"",
        &[],
        "How long making a connection may take.",
    ),
    key(
        "cache.shared.timeout",
        Duration { min_ms: 1, max_ms: SECOND },
        Is("\"5ms\""),
        "\"10ms\"",
        &["read_timeout"],
        "How long it may take to answer. What takes longer counts as a failure, and the source is asked without it.",
    ),
    key(
        "cache.shared.lease",
        Duration { min_ms: 8, max_ms: 60 * SECOND },
        Is("\"100ms\""),
        "\"500ms\"",
        &["lock", "lock_ttl"],
        "How long a process that asks for a key holds the others off; it is renewed while the call goes on. So long the others wait for one that died. At least eight times `timeout`.",
    ),
    key(
        "cache.shared.look",
        Duration { min_ms: 1, max_ms: SECOND },
        Is("\"5ms\""),
        "\"20ms\"",
        &["poll"],
        "How often a process that is held off looks whether the answer is there.",
    ),
    // [assets]
    key(
        "assets.dir",
        Path,
        Means("`$XDG_CACHE_HOME/ouzel`, else `$HOME/.cache/ouzel`"),
        "\"/var/cache/ouzel\"",
        &["path", "cache"],
        "Where `ouzel assets fetch` puts files, and where they are looked for.",
    ),
    key(
        "assets.use",
        Switch,
        Is("true"),
        "false",
        &["enabled"],
        "Whether files found there are used for what is not configured.",
    ),
    // [enrich]
    key(
        "enrich.deadline",
        Duration { min_ms: 1, max_ms: 10 * SECOND },
        Is("\"40ms\""),
        "\"100ms\"",
        &["timeout", "budget", "max_wait"],
        "How long an event waits for its lookups, all of them and all their attempts together. When it is over the event goes on with what it has; the status of the others is `timeout`, or `stale:90s` where the cache has something older.",
    ),
    key(
        "enrich.status",
        Word(&["not_ok", "all"]),
        Is("\"not_ok\""),
        "\"all\"",
        &[],
        "Which enrichers `enriched.status` lists: those that were not `ok`, or all.",
    ),
    key(
        "enrich.member",
        Name,
        Is("\"enriched\""),
        "\"ouzel\"",
        &["field", "name"],
        "The member that is added to events. An event that has it already is refused (`reserved_member`).",
    ),
    key(
        "enrich.max_future",
        Duration { min_ms: 0, max_ms: 365 * DAY },
        Is("\"5m\""),
        "\"1h\"",
        &["max_skew", "clock_skew"],
        "How far an event's time may be ahead of its receipt before it is flagged `future`.",
    ),
    key(
        "enrich.reload",
        Duration { min_ms: 10, max_ms: DAY },
        Is("\"250ms\""),
        "\"10s\"",
        &["interval", "refresh"],
        "How often reference files (places, networks, rules, lookups) are looked at for a new version. A bad new version is reported, and the old one stays.",
    ),
    key(
        "enrich.workers",
        Count { min: 0, max: 256 },
        Is("0"),
        "2",
        &["threads", "parallelism", "concurrency"],
        "Threads that enrich; 0 takes half of the cores, at least one.",
    )
    .counts("threads"),
    // [dedup]
    key(
        "dedup.memory",
        Size { min: MIB, max: TIB },
        Is("\"256MiB\""),
        "\"1GiB\"",
        &["cache", "size"],
        "Memory for all that tells duplicates, for the whole process: the newest ids, and filters over those on disk. 256MiB are enough for an hour at 27,800 events a second. The horizon really reached is exported (`ouzel_dedup_horizon_seconds`, `ouzel_dedup_horizon_events`).",
    ),
    key(
        "dedup.disk",
        Size { min: MIB, max: TIB },
        Is("\"4GiB\""),
        "\"16GiB\"",
        &["max_bytes", "storage"],
        "Disk for the ids that tell duplicates, for the whole process, in the data directory: 29 bytes an id, and room for merging. What does not fit any more is forgotten, the oldest first.",
    ),
    key(
        "dedup.horizon",
        Duration { min_ms: 1000, max_ms: 30 * DAY },
        Is("\"1h\""),
        "\"6h\"",
        &["window", "ttl"],
        "How long an id is remembered, by the time of receipt, if `dedup.memory` and `dedup.disk` suffice: an event that is sent again within that time is not counted twice.",
    ),
    // [time]
    key(
        "time.out_of_order",
        Duration { min_ms: 0, max_ms: DAY },
        Is("\"10s\""),
        "\"1m\"",
        &["disorder", "max_out_of_orderness"],
        "How much older than the newest an event may be and still be in order: the watermark stays this far behind.",
    ),
    key(
        "time.idle_after",
        Duration { min_ms: 100, max_ms: HOUR },
        Is("\"5s\""),
        "\"30s\"",
        &["idle_timeout", "idleness"],
        "How long a partition of `raw` may have nothing new before the watermark goes on without it, by the clock: that closes the sessions of a stream that has gone quiet.",
    ),
    // [sessions]
    key(
        "sessions.enabled",
        Switch,
        Is("true"),
        "false",
        &["enable", "on"],
        "Whether sessions are made of what is enriched. Without them, events of a server that name a user alone are not linked to the user's browser.",
    ),
    key(
        "sessions.preset",
        Word(SESSION_PRESETS),
        Is("\"ga4\""),
        "\"universal-analytics\"",
        &["rules", "kind"],
        "What ends a session: `ga4`: the gap alone; `universal-analytics`: the gap, midnight (UTC unless `sessions.midnight` says otherwise) and another campaign; `snowplow`: another session id of the client's, and the gap. The keys below add to it.",
    ),
    key(
        "sessions.gap",
        Duration { min_ms: SECOND, max_ms: 7 * DAY },
        Is("\"30m\""),
        "\"15m\"",
        &["timeout", "inactivity_gap", "session_timeout"],
        "Two events of a visitor further apart than this are in two sessions; exactly this far apart still in one.",
    ),
    key(
        "sessions.max_length",
        Duration { min_ms: SECOND, max_ms: 30 * DAY },
        Means("a session may be of any length"),
        "\"12h\"",
        &["max_duration"],
        "An event later than this after its session's start opens a new one.",
    ),
    key(
        "sessions.max_events",
        Count { min: 1, max: 1_000_000 },
        Means("a session may have any number of events"),
        "1000",
        &["max_count"],
        "A session is closed by its event of this number.",
    )
    .counts("events"),
    key(
        "sessions.midnight",
        Text,
        Means("a session may go on into the next day, unless the preset says otherwise"),
        "\"Europe/Berlin\"",
        &["timezone", "time_zone", "zone"],
        "The zone, by its IANA name, at whose midnight sessions end.",
    ),
    key(
        "sessions.campaign_change",
        Switch,
        Means("as the preset says"),
        "true",
        &["new_campaign"],
        "Whether an event of another campaign opens a new session.",
    ),
    key(
        "sessions.user_change",
        Switch,
        Is("false"),
        "true",
        &["split_on_user_change"],
        "Whether an event of another user opens a new session. Signing in is no change.",
    ),
    key(
        "sessions.start_events",
        Texts,
        Is("[]"),
        "[\"App Opened\"]",
        &["starts"],
        "Types of events that open a session, whatever went before.",
    ),
    key(
        "sessions.end_events",
        Texts,
        Is("[]"),
        "[\"Signed Out\"]",
        &["ends"],
        "Types of events that end their session.",
    ),
    key(
        "sessions.key_events",
        Texts,
        Means("purchases, sign-ups and leads, by their usual names"),
        "[\"Order Completed\"]",
        &["conversions", "goals"],
        "Types of events that a visit is made for: one of them makes its session `engaged`.",
    ),
    key(
        "sessions.allowed_lateness",
        Duration { min_ms: 0, max_ms: 7 * DAY },
        Is("\"10m\""),
        "\"1h\"",
        &["lateness", "grace"],
        "How long after its `final` a session still takes late events and is told again with a higher revision. Later ones go to `late`.",
    ),
    key(
        "sessions.update_every",
        Duration { min_ms: 0, max_ms: HOUR },
        Is("\"10s\""),
        "\"1m\"",
        &["update_interval"],
        "How often an open session is told in `sessions` at most. Its `final` comes in any case.",
    ),
    key(
        "sessions.buffer",
        Count { min: 1, max: 100_000 },
        Is("1000"),
        "5000",
        &["buffer_size"],
        "How many events of one visitor wait for their order at most, where a rule beside the gap needs it. With more, the oldest are taken early, and their session says so.",
    )
    .counts("events"),
    key(
        "sessions.remember",
        Duration { min_ms: HOUR, max_ms: 366 * DAY },
        Is("\"7d\""),
        "\"30d\"",
        &["visitor_ttl"],
        "How long after its last event a visitor's count of sessions is kept: `session_index` goes on, and `previous_session_id` is known.",
    ),
    key(
        "sessions.links",
        Size { min: 0, max: TIB },
        Is("\"64MiB\""),
        "\"256MiB\"",
        &["link_cache"],
        "Memory for who was last seen with which user: an event that names a user alone joins the session of that visitor. Who was seen longest ago is forgotten first. 0: none is linked. On Kafka every process that enriches reads all of `raw` for it.",
    ),
    // [state]
    key(
        "state.snapshot_every",
        Duration { min_ms: 100, max_ms: HOUR },
        Is("\"5s\""),
        "\"30s\"",
        &["checkpoint_interval", "checkpointing"],
        "How often what changed in a stage's state is written to the disk. After a crash, what came since is read again.",
    ),
    key(
        "state.memory",
        Size { min: 16 * MIB, max: TIB },
        Is("\"2GiB\""),
        "\"8GiB\"",
        &["max_memory", "limit"],
        "Memory for the state of all stages. At the bound they wait, and `/readyz` says so.",
    ),
    key(
        "state.store",
        Store,
        Means("`state` in `data.dir`"),
        "\"s3://snapshots/ouzel\"",
        &["bucket", "snapshots", "url", "object_store"],
        "Where snapshots of state lie, on Kafka: object storage (`s3://bucket/prefix`), or a directory that all processes share. Whoever takes a partition over finds its state there, and what tells duplicates.",
    ),
    key(
        "state.endpoint",
        Text,
        Means("that of AWS for the region"),
        "\"http://127.0.0.1:9000\"",
        &["endpoint_url", "host"],
        "Where the object storage is, if it is not AWS's.",
    ),
    key(
        "state.region",
        Text,
        Means("that of the environment (`AWS_REGION`), else `us-east-1`"),
        "\"eu-central-1\"",
        &["aws_region"],
        "The region of the bucket.",
    ),
    key(
        "state.path_style",
        Switch,
        Means("true where there is a `state.endpoint`"),
        "true",
        &["force_path_style"],
        "Whether the bucket's name stands in the path and not in the host's name, as most stores beside AWS want it.",
    ),
    key(
        "state.access_key",
        Secret,
        Means("as AWS's own variables, files and roles say"),
        "{ env = \"SNAPSHOTS_KEY\" }",
        &["access_key_id", "key_id", "user"],
        "The id of the key for the bucket.",
    ),
    key(
        "state.secret_key",
        Secret,
        Means("as AWS's own variables, files and roles say"),
        "{ file = \"/run/secrets/snapshots\" }",
        &["secret_access_key", "password"],
        "The key itself.",
    ),
];

/// A table of keys; tests have one of their own.
#[derive(Clone, Copy)]
pub struct Schema {
    pub keys: &'static [Key],
    pub sections: &'static [Section],
}

/// The configuration of this program.
pub const SCHEMA: Schema = Schema { keys: KEYS, sections: SECTIONS };

impl Schema {
    pub fn key(&self, path: &str) -> Option<&'static Key> {
        self.keys.iter().find(|k| k.path == path)
    }

    /// Whether `path` is a table that holds keys.
    pub fn is_section(&self, path: &str) -> bool {
        self.sections.iter().any(|s| s.path == path)
    }

    /// Whether `path` is a list of tables.
    pub fn is_list(&self, path: &str) -> bool {
        self.sections.iter().any(|s| s.path.strip_suffix("[]") == Some(path))
    }

    /// The names directly in `path` ("" for the top), in the order of the table.
    pub fn names_in(&self, path: &str) -> Vec<&'static str> {
        let mut names = Vec::new();
        let paths = self.keys.iter().map(|k| k.path).chain(self.sections.iter().map(|s| s.path));
        for p in paths {
            let rest = if path.is_empty() { Some(p) } else { p.strip_prefix(path).and_then(|r| r.strip_prefix('.')) };
            if let Some(name) = rest.and_then(|r| r.split('.').next()) {
                let name = name.trim_end_matches("[]");
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }
}

impl Key {
    const fn counts(self, what: &'static str) -> Key {
        Key { counts: what, ..self }
    }

    const fn only(self, kinds: &'static [&'static str]) -> Key {
        Key { only: kinds, ..self }
    }

    /// The unit of its value, and how it is written; `None` where there is none (words, paths, switches).
    pub fn unit(&self) -> Option<String> {
        match (self.kind, self.counts) {
            (Duration { .. }, _) => Some("duration (`5s`, `1h30m`)".into()),
            (Size { .. }, "") => Some("bytes (`64MiB`)".into()),
            (Size { .. }, what) => Some(format!("{what} (`64MiB`)")),
            (Space, _) => Some("percent of the disk (`10%`) or bytes (`5GiB`)".into()),
            (Count { .. }, what) => Some(what.into()),
            _ => None,
        }
    }

    /// The last part of the path.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().expect("split gives at least one part")
    }

    /// The path of the table it stands in; "" for the top.
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }
}

/// A section as it is written: `[data]`, `[[source]]`, or "the top of the file".
pub fn show_section(path: &str) -> String {
    match path.strip_suffix("[]") {
        _ if path.is_empty() => "the top of the file".into(),
        Some(list) => format!("[[{list}]]"),
        None => format!("[{}]", path.replace("[]", "")),
    }
}
