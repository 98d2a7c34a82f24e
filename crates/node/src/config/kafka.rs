//! `[kafka]`: the log is Kafka.

use super::model::{Config, Kafka, Store};
use super::problem::{Found, ProblemKind};
use super::read::{At, Reader};
use super::remote::Named;
use super::secret::MaybeSecret;
use super::units::show_duration;

const DEFAULT: &str = "the key has a default";

/// Properties of librdkafka that are decided here, since what is promised rests on them, with the key that says it, or why
/// nobody may.
const DECIDED: &[(&str, &str)] = &[
    ("bootstrap.servers", "`kafka.brokers` says it"),
    ("metadata.broker.list", "`kafka.brokers` says it"),
    ("session.timeout.ms", "`kafka.session_timeout` says it"),
    ("transaction.timeout.ms", "`kafka.transaction_timeout` says it"),
    ("client.id", "it is made of the role and the slot, so that brokers tell processes apart"),
    ("group.id", "each stage has its group, below `kafka.prefix`"),
    ("group.instance.id", "it is made of the slot (`ouzel run --slot`)"),
    ("transactional.id", "it is made of the slot (`ouzel run --slot`)"),
    ("group.protocol", "commits are fenced by it"),
    ("partition.assignment.strategy", "partitions move one by one"),
    ("isolation.level", "only what is committed is read"),
    ("enable.auto.commit", "positions are committed with what was made of them"),
    ("enable.auto.offset.store", "positions are committed with what was made of them"),
    ("auto.offset.reset", "a position that is gone is never passed over"),
    ("enable.idempotence", "nothing is written twice"),
    ("acks", "an event counts as safe when all copies have it"),
    ("request.required.acks", "an event counts as safe when all copies have it"),
    ("partitioner", "the partition is decided by the visitor"),
    ("fetch.wait.max.ms", "records are read as soon as they are there"),
];

/// A key in plain text that does not sound like one.
const SECRET: &[&str] = &["ssl.key.pem", "sasl.oauthbearer.config"];

/// Reads `[kafka]`; `None`: there is none.
pub(super) fn read(r: &mut Reader, at: &At<'_>, mut named: Named<'_>) -> Option<Kafka> {
    let brokers = r.text(at, "brokers");
    if let Some(text) = &brokers {
        let has_port = |b: &str| b.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && is_port(port));
        if let Some(broker) = text.split(',').map(str::trim).find(|b| !has_port(b)) {
            let message = format!("`kafka.brokers` cannot be \"{text}\": \"{broker}\" is no host with a port");
            let found = Found::new(ProblemKind::BadValue, at.spot_of("brokers"), message);
            r.found.push(found.help("for example: brokers = \"kafka-1:9092,kafka-2:9092\""));
        }
    }
    let prefix = r.text(at, "prefix").expect(DEFAULT);
    if let Some(c) = prefix.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        let message =
            format!("`kafka.prefix` cannot have {c:?} in it: names of topics have letters, digits, `.`, `_`, `-`");
        r.found.push(Found::new(ProblemKind::BadValue, at.spot_of("prefix"), message));
    }
    if prefix.len() > PREFIX_MAX {
        let message = format!("`kafka.prefix` has at most {PREFIX_MAX} characters");
        r.found.push(Found::new(ProblemKind::BadValue, at.spot_of("prefix"), message));
    }
    let kafka = Kafka {
        brokers: brokers.clone().unwrap_or_default(),
        prefix,
        replication: r.count(at, "replication").expect(DEFAULT) as u16,
        commit_age: r.duration(at, "commit_age").expect(DEFAULT),
        session_timeout: r.duration(at, "session_timeout").expect(DEFAULT),
        transaction_timeout: r.duration(at, "transaction_timeout").expect(DEFAULT),
        properties: properties(r, at, &mut named),
    };
    if brokers.is_some() && kafka.transaction_timeout >= kafka.session_timeout {
        let message = format!(
            "`kafka.transaction_timeout` ({}) is not below `kafka.session_timeout` ({}): whoever takes a partition over would wait for the transaction of the one before",
            show_duration(kafka.transaction_timeout),
            show_duration(kafka.session_timeout)
        );
        let spot = at.key_spot("transaction_timeout").or(at.key_spot("session_timeout"));
        r.found.push(Found::new(ProblemKind::Conflict, spot, message));
    }
    if brokers.is_some() && kafka.commit_age * 2 > kafka.transaction_timeout {
        let message = "`kafka.commit_age` is above half of `kafka.transaction_timeout`: transactions would end before they are committed";
        let spot = at.key_spot("commit_age").or(at.key_spot("transaction_timeout"));
        r.found.push(Found::new(ProblemKind::Conflict, spot, message));
    }
    brokers.map(|_| kafka)
}

/// Names of topics have at most 249 characters, and ours are short.
const PREFIX_MAX: usize = 128;

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn properties(r: &mut Reader, at: &At<'_>, named: &mut Named<'_>) -> Vec<(String, MaybeSecret)> {
    let properties = r.secret_map(at, "properties").expect(DEFAULT);
    let within = at.section("properties");
    for (name, value) in &properties {
        let spot = within.key_spot(name).or(at.spot_of("properties"));
        if let MaybeSecret::Secret(secret) = value {
            named.secret("kafka.properties", secret, at, "properties", Some(name));
        } else if SECRET.contains(&name.as_str()) {
            let message =
                format!("`kafka.properties.{name}` is a secret, and a secret does not stand in the configuration");
            let help = "a secret comes from the environment or a file: { env = \"NAME\" } or { file = \"path\" }";
            r.found.push(Found::new(ProblemKind::SecretInPlace, spot, message).help(help));
        }
        if let Some((_, why)) = DECIDED.iter().find(|(decided, _)| name == decided) {
            let message = format!("`kafka.properties` cannot have \"{name}\": {why}");
            r.found.push(Found::new(ProblemKind::Conflict, spot, message).help("leave it out"));
        }
    }
    properties
}

/// Rules between `[kafka]` and the rest.
pub(super) fn between(root: &At<'_>, config: &Config, found: &mut Vec<Found>, warnings: &mut Vec<Found>) {
    let (kafka, state, data) = (root.section("kafka"), root.section("state"), root.section("data"));
    if config.kafka.is_none() {
        let of_kafka = |s: &&super::Source| matches!(s.kind, super::SourceKind::Kafka { .. });
        if let Some(source) = config.sources.iter().find(of_kafka) {
            let at = root.list("source").into_iter().find(|at| at.text("name") == Some(&source.name));
            let spot = at.and_then(|at| at.spot_of("kind"));
            let message = format!("[[source]] \"{}\" is a topic, and there is no [kafka]", source.name);
            let help = "its positions are committed with what was made of its records: [kafka] says where both are";
            found.push(Found::new(ProblemKind::Conflict, spot, message).help(help));
        }
        let written = ["prefix", "replication", "properties"].into_iter().find(|name| kafka.member(name).is_some());
        if let (Some(name), None) = (written, kafka.member("brokers")) {
            let message = format!("`kafka.{name}` is written and `kafka.brokers` is not: the log is the journal");
            let warning = Found::new(ProblemKind::MissingKey, kafka.key_spot(name), message);
            warnings.push(warning.help("for example: brokers = \"127.0.0.1:9092\""));
        }
        if config.state.store.is_some() {
            let message = "`state.store` is for processes that share a log, and the log is the journal: snapshots of its state lie beside it, in `data.dir`";
            let problem = Found::new(ProblemKind::Conflict, state.key_spot("store"), message);
            found.push(problem.help("leave it out, or write [kafka] with `brokers`"));
        }
        return;
    }
    if cfg!(not(feature = "kafka")) {
        let message = "the log is Kafka, and this program was built without it";
        let problem = Found::new(ProblemKind::Conflict, kafka.key_spot("brokers").or(kafka.spot), message);
        found.push(
            problem
                .help("take a release, or build with `--features kafka`")
                .help("without [kafka] events are kept in the journal, in `data.dir`"),
        );
    }
    for name in ["durability", "max_bytes", "min_free", "segment", "cache"] {
        if data.member(name).is_some() {
            let message = format!("`data.{name}` is about the journal, and the log is Kafka: it has no effect");
            warnings.push(Found::new(ProblemKind::Conflict, data.key_spot(name), message));
        }
    }
    match &config.state.store {
        Some(Store::Directory(_)) => {}
        Some(Store::Bucket(_)) if cfg!(feature = "s3") => {}
        Some(Store::Bucket(_)) => {
            let message = "`state.store` is object storage, and this program was built without it";
            let problem = Found::new(ProblemKind::Conflict, state.spot_of("store"), message);
            found.push(
                problem
                    .help("take a release, or build with `--features s3`")
                    .help("or name a directory that all processes share"),
            );
        }
        None if config.sessions.enabled => {
            let message = "`state.store` is not set: snapshots of sessions lie in `data.dir` of this machine, and whoever takes a partition over elsewhere does not find them";
            let warning = Found::new(ProblemKind::Conflict, kafka.spot, message);
            warnings.push(
                warning
                    .help("it reads `enriched` from its beginning then, or stops if that is not kept any more")
                    .help("for example: [state] store = \"s3://snapshots/ouzel\", or a directory that all processes share"),
            );
        }
        None => {}
    }
}
