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
        Word(&["http", "file", "stdin"]),
        Refused,
        "\"http\"",
        &["type"],
        "`http`: requests to `http.listen`. `file`: a file, plain, gzip or zstd. `stdin`: the standard input.",
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
        Word(&["file", "mmdb"]),
        Refused,
        "\"file\"",
        &["type"],
        "`file`: a row of a CSV, NDJSON or Parquet file. `mmdb`: the whole record of an address in an MMDB file.",
    ),
    key(
        "lookup[].path",
        Path,
        Refused,
        "\"plans.csv\"",
        &["file", "database"],
        "The file, relative to the file this stands in. It is read again when it changes.",
    ),
    key(
        "lookup[].key",
        Text,
        Means("`event.ip` for `mmdb`; needed for others"),
        "\"event.user\"",
        &["on", "by"],
        "What is looked up: a field (`event.user`), a JSON Pointer into the event (`/properties/listing/id`), or what an earlier enricher or lookup wrote (`enriched.user.plan`).",
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
    .only(&["file"]),
    key(
        "lookup[].required",
        Switch,
        Is("false"),
        "true",
        &["optional"],
        "Whether a missing or bad file stops the start. Otherwise the run says so and goes on without.",
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
        Size { min: MIB, max: TIB },
        Is("\"64MiB\""),
        "\"256MiB\"",
        &["link_cache"],
        "Memory for who was last seen with which user: an event that names a user alone joins the session of that visitor. Who was seen longest ago is forgotten first.",
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
