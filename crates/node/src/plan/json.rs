//! The plan for machines.

use std::path::Path;

use serde_json::{Value, json};

use super::{DataState, Enricher, File, Lookup, Plan, Source, Topic};

/// One object: `{"origin", "data", "port", "sources", "topics", "enrich", "sessions", "output", "warnings"}`. Durations are in seconds, sizes in
/// bytes.
pub fn json(plan: &Plan) -> Value {
    let (state, why) = match &plan.data.state {
        DataState::New => ("new", None),
        DataState::There => ("there", None),
        DataState::OtherPartitions(n) => ("refused", Some(format!("it was made with {n} partitions"))),
        DataState::Refused(why) => ("refused", Some(why.clone())),
    };
    json!({
        "origin": plan.origin,
        "data": {"dir": shown(&plan.data.dir), "fsync": plan.data.fsync, "state": state, "why": why},
        "port": plan.port,
        "sources": plan.sources.iter().map(source).collect::<Vec<_>>(),
        "topics": plan.topics.iter().map(topic).collect::<Vec<_>>(),
        "enrich": {
            "member": plan.stage.member,
            "workers": plan.stage.workers,
            "dedup_bytes": plan.stage.dedup,
            "rounds": plan.stage.rounds,
            "deadline_seconds": plan.stage.deadline.map(|d| d.as_secs_f64()),
            "enrichers": plan.stage.enrichers.iter().map(enricher).collect::<Vec<_>>(),
        },
        "sessions": plan.sessions.as_ref().map(|s| json!({
            "rules": s.rules,
            "allowed_lateness_seconds": s.allowed_lateness.as_secs_f64(),
            "snapshot_every_seconds": s.snapshot_every.as_secs_f64(),
            "memory": s.memory,
        })),
        "output": plan.output,
        "warnings": plan.warnings,
    })
}

fn source(source: &Source) -> Value {
    json!({
        "name": source.name,
        "kind": source.kind,
        "preset": source.preset,
        "client_address": if source.connection_address { "connection" } else { "none" },
        "clock": source.clock,
        "file": source.file.as_ref().map(file),
        "follow": source.follow,
    })
}

fn topic(topic: &Topic) -> Value {
    json!({
        "name": topic.name,
        "key": topic.key,
        "holds": topic.holds,
        "partitions": topic.partitions,
        "keep_seconds": topic.keep.as_secs(),
        "max_bytes": topic.max_bytes,
    })
}

fn enricher(enricher: &Enricher) -> Value {
    json!({
        "name": enricher.name,
        "round": enricher.round,
        "reads": enricher.reads,
        "after": enricher.after,
        "writes": enricher.writes,
        "lookup": enricher.lookup.as_ref().map(lookup),
        "files": enricher.files.iter().map(file).collect::<Vec<_>>(),
        "expect": enricher.expect.iter().map(|e| json!({"status": e.status, "why": e.why})).collect::<Vec<_>>(),
        "opened": enricher.opened.as_ref().map(|o| {
            json!({"versions": o.versions, "lacks": o.lacks, "refused": o.refused})
        }),
    })
}

/// The key is a text, or a list of them if there are several parameters.
fn lookup(lookup: &Lookup) -> Value {
    let key = match lookup.key.as_slice() {
        [one] => json!(one),
        several => json!(several),
    };
    let source = lookup.remote.as_ref().map(|remote| {
        json!({
            "place": remote.place,
            "connections": remote.connections,
            "bulk": remote.bulk,
            "cache": {
                "bytes": remote.cache.size,
                "ttl_seconds": remote.cache.ttl.as_secs_f64(),
                "ttl_missing_seconds": remote.cache.ttl_missing.as_secs_f64(),
                "max_stale_seconds": remote.cache.max_stale.as_secs_f64(),
                "shared": remote.cache.shared,
            },
        })
    });
    json!({"kind": lookup.kind, "key": key, "when": lookup.when, "source": source})
}

fn file(file: &File) -> Value {
    json!({
        "path": shown(&file.path),
        "key": file.key,
        "fetched": file.fetched,
        "there": file.there,
        "needed": file.needed,
        "bytes": file.bytes,
    })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
