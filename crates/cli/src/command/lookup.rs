//! `ouzel lookup`: asks a lookup by hand.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use lookup::{Directory, Listed, Origin, Told};
use node::config::RunArgs;
use node::engine::World;
use node::lookup_server::Answers;
use serde_json::{Value, json};

use super::run::start_failed;
use crate::exit::{Exit, Failed, Result, with_help};
use crate::look::{self, Look};
use crate::{Global, term};

#[derive(clap::Args)]
pub struct LookupArgs {
    /// The lookup, as the configuration names it
    name: String,
    /// What is looked up; for a key of several parameters a list in JSON: '["acme","7"]'
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
}

/// Whoever asks by hand has time, and wants to see what comes.
const DEADLINE: Duration = Duration::from_secs(5);

pub fn run(global: &Global, args: LookupArgs) -> Result {
    let keys: Vec<Value> = args.keys.iter().map(|key| of_text(key)).collect();
    let begun = Instant::now();
    let dir = look::data_dir(global)?;
    let Asked { results, heard } = match look::holder(&dir)?.map(|_| Look::open_dir(&dir)).transpose()? {
        Some(look @ Look::Running { .. }) => through(&look, &args.name, &keys)?,
        _ => alone(global, &args.name, &keys)?,
    };
    let took = begun.elapsed();
    let is_there = |result: &Value| !result["value"].is_null();
    let exit = if results.iter().all(is_there) { Exit::Fine } else { Exit::Failed };
    if global.json {
        println!("{}", json!({ "results": results, "took_ms": took.as_secs_f64() * 1e3, "heard": heard }));
        return Ok(exit);
    }
    for result in &results {
        show(result);
    }
    eprintln!("in {}", term::span(took));
    let failed = |result: &Value| {
        let status = result["status"].as_str().unwrap_or_default();
        status == "timeout" || status == "open" || status.starts_with("stale") || status.starts_with("error:")
    };
    if let (Some(heard), true) = (heard, results.iter().any(failed)) {
        eprintln!("the source of `{}` was last heard to fail with: {heard}", args.name);
    }
    Ok(exit)
}

/// What came of the keys, and what the source was last heard to fail with.
struct Asked {
    results: Vec<Value>,
    heard: Option<String>,
}

/// A list is a key of several parameters, everything else a text.
fn of_text(key: &str) -> Value {
    match serde_json::from_str(key) {
        Ok(list @ Value::Array(_)) => list,
        _ => Value::from(key),
    }
}

fn show(result: &Value) {
    let text = |name: &str| result[name].as_str().unwrap_or_default();
    let key = result["key"].as_str().map_or_else(|| result["key"].to_string(), str::to_owned);
    let from = match (text("tier"), result["age_ms"].as_u64()) {
        ("", _) | (_, None) => String::new(),
        (tier, Some(0)) => format!("  from {tier}"),
        (tier, Some(ms)) => format!("  from {tier}, {} old", term::span(Duration::from_millis(ms))),
    };
    println!("{key}: {}{from}", text("status"));
    if !result["value"].is_null() {
        println!("{:#}", result["value"]);
    }
}

/// Of the process that runs on the directory, with its caches.
fn through(look: &Look, name: &str, keys: &[Value]) -> Result<Asked> {
    let body = json!({ "keys": keys, "deadline_ms": DEADLINE.as_millis() as u64 });
    let (status, mut answer) = look.post(&format!("/v1/lookup/{}", look::escaped(name.as_bytes())), &body)?;
    if status != 200 {
        let message = answer["message"].as_str().unwrap_or("the running process refused").to_owned();
        let exit = if status < 500 { Exit::Usage } else { Exit::Environment };
        return Err(Failed::new(exit, message));
    }
    let shown = look.running_json("/status.json")?.unwrap_or_default();
    let Value::Array(results) = answer["results"].take() else { return Ok(Asked { results: Vec::new(), heard: None }) };
    Ok(Asked { results, heard: heard(&shown["lookups"], name) })
}

/// What a lookup's source failed with, in the status of lookups.
fn heard(lookups: &Value, name: &str) -> Option<String> {
    let of = lookups.as_array()?.iter().find(|of| of["name"] == name)?;
    of["failed"]["message"].as_str().map(str::to_owned)
}

/// From the configuration, with empty caches.
fn alone(global: &Global, name: &str, keys: &[Value]) -> Result<Asked> {
    let mut loaded = look::load(global, false, RunArgs::default())?;
    // What was asked by hand is no warm cache.
    loaded.config.cache.warm = false;
    let world = World::real();
    let (answers, without) = Answers::start(&loaded.config, &world).map_err(start_failed)?;
    for what in without {
        eprintln!("warning: {what}");
    }
    let Some(listed) = answers.named().find(name) else {
        let there = match &answers.named().names()[..] {
            [] => "the configuration has no [[lookup]]; -c FILE names another".to_owned(),
            names => format!("there are {}", names.join(", ")),
        };
        return Err(Failed::usage(with_help(&format!("there is no lookup `{name}`"), &there)));
    };
    let deadline = (world.clock.elapsed() + DEADLINE).as_micros() as u64;
    let results = ask(listed, keys, deadline)?;
    let heard = heard(&answers.lookups().status(), name);
    answers.stop();
    Ok(Asked { results, heard })
}

fn ask(listed: Listed<'_>, keys: &[Value], deadline: u64) -> Result<Vec<Value>> {
    let mut asked = Vec::new();
    for key in keys {
        let texts: Vec<&str> = match key {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            text => text.as_str().into_iter().collect(),
        };
        if texts.len() != listed.parameters {
            let help = match listed.parameters {
                1 => "a key here is one text".to_owned(),
                n => format!("a key here is a list of {n} texts in JSON, as '[\"acme\",\"7\"]'"),
            };
            return Err(Failed::usage(with_help(&format!("{key} is no key of this lookup"), &help)));
        }
        let mut bytes = Vec::new();
        enrich::key::write(texts, &mut bytes);
        asked.push(bytes.into());
    }
    let (say, heard) = mpsc::channel();
    let hear = move |place: usize, told: Told<'_>| {
        let mut status = Vec::new();
        told.status.write(&mut status);
        // Whoever asked has gone only if this command has ended.
        let _ = say.send((place, String::from_utf8_lossy(&status).into_owned(), told.json.to_vec(), told.origin));
    };
    let asking = listed.asked.ask(asked, deadline, Box::new(hear));
    let mut results: Vec<Value> = keys.iter().map(|key| json!({ "key": key })).collect();
    for (place, status, json, origin) in heard.iter().take(keys.len()) {
        let result = &mut results[place];
        result["status"] = status.into();
        if !json.is_empty() {
            result["value"] = serde_json::from_slice(&json).unwrap_or_default();
        }
        if let Some(Origin { tier, age_us }) = origin {
            result["age_ms"] = (age_us / 1_000).into();
            result["tier"] = tier.word().into();
        }
    }
    drop(asking);
    Ok(results)
}
