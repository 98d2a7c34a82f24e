//! `ouzel explain`: what became of an event, and `ouzel explain divergence`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use log::Log;
use node::config::{Config, RunArgs};
use node::divergence::{Compared, compare};
use node::engine::World;
use node::explain::{Asked, Searched, explain};
use serde_json::{Value, json};

use crate::exit::{Exit, Failed, Result, with_help};
use crate::look::{self, Look};
use crate::term::StatusLine;
use crate::{Global, term, timeline};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ExplainArgs {
    #[command(subcommand)]
    what: Option<What>,
    /// The event's id, as it was sent or as `--json` shows it. After `--` one that begins with `-`
    #[arg(required = true)]
    event_id: Option<String>,
    /// Only events of this source, where several use one id
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Shows the events themselves too
    #[arg(long)]
    body: bool,
}

#[derive(clap::Subcommand)]
enum What {
    /// Replays sessions on a stopped directory and names the first record that comes out otherwise than it is stored
    Divergence(DivergenceArgs),
}

#[derive(clap::Args)]
pub struct DivergenceArgs {
    /// Only this partition of enriched
    #[arg(long)]
    partition: Option<u32>,
}

/// A search that takes longer shows how far it is.
const SILENT: Duration = Duration::from_secs(2);

pub fn run(global: &Global, args: ExplainArgs) -> Result {
    match (args.what, args.event_id) {
        (Some(What::Divergence(args)), _) => divergence(global, &args),
        (None, Some(id)) => event(global, &id, args.source.as_deref(), args.body),
        (None, None) => unreachable!("clap asks for the id"),
    }
}

fn event(global: &Global, id: &str, source: Option<&str>, body: bool) -> Result {
    let look = Look::open(global)?;
    let told = match look.log() {
        None => ask(global, &look, id, source, body)?,
        Some(log) => {
            let config = look::load_as_written(global, false, RunArgs::default())?.config;
            let world = World::real();
            let store = look::store(&config)?;
            let mut asked = Asked::new(id.as_bytes(), &config.enrich.member);
            asked.source = source.map(|s| s.as_bytes().to_vec());
            asked.body = body;
            let open = |visitor: &[u8]| {
                let stored = node::sessions::stored(&config, &*log, store.clone(), visitor).ok()??;
                serde_json::from_slice(&stored.open?).ok()
            };
            let mut line = StatusLine::new(!global.quiet && !global.json);
            let begun = world.clock.elapsed();
            let mut progress = |searched: Searched| {
                if world.clock.elapsed() - begun > SILENT {
                    let percent = searched.done * 100 / searched.of.max(1);
                    line.show(&format!("{percent}% of {} records searched", term::count(searched.of)));
                }
            };
            let told = explain(&*log, &asked, &open, &mut progress)?.json();
            line.clear();
            told
        }
    };
    let is_found = ["events", "refused"].iter().any(|name| told[name].as_array().is_some_and(|all| !all.is_empty()));
    if !is_found {
        return Err(Failed::new(Exit::Failed, told["message"].as_str().unwrap_or("no such event")));
    }
    if global.json {
        println!("{told}");
    } else {
        print!("{}", timeline::text(&told));
    }
    Ok(Exit::Fine)
}

/// Asks the running process; while it searches for long, says for how long.
fn ask(global: &Global, look: &Look, id: &str, source: Option<&str>, body: bool) -> Result<Value> {
    let mut query: Vec<String> =
        source.map(|s| format!("source={}", look::escaped(s.as_bytes()))).into_iter().collect();
    query.extend(body.then(|| "body".to_owned()));
    let path = format!("/v1/explain/{}?{}", look::escaped(id.as_bytes()), query.join("&"));
    let done = Arc::new(AtomicBool::new(false));
    let answered = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let clock = World::real().clock;
            let mut line = StatusLine::new(!global.quiet && !global.json);
            while !done.load(Relaxed) {
                std::thread::park_timeout(Duration::from_millis(200));
                if clock.elapsed() > SILENT {
                    line.show(&format!("searching for {}", term::span(clock.elapsed())));
                }
            }
            line.clear();
        });
        let answered = look.running_answer(&path);
        done.store(true, Relaxed);
        waiting.thread().unpark();
        answered
    })?;
    match answered {
        Some((200 | 404, told)) => Ok(told),
        Some((_, told)) => Err(Failed::new(Exit::Failed, told["message"].as_str().unwrap_or("it did not say why"))),
        None => unreachable!("only asked of a running process"),
    }
}

fn divergence(global: &Global, args: &DivergenceArgs) -> Result {
    if let Some(config) = look::kafka(global)? {
        let log = Look::open(global)?.log().expect("of Kafka");
        return compared(global, args, &*log, config);
    }
    let dir = look::data_dir(global)?;
    if let Some(holder) = look::holder(&dir)? {
        return Err(Failed::new(
            Exit::InUse,
            with_help(
                &format!("{} is in use by process {}", dir.display(), holder.pid),
                "a replay is compared with what a stopped process left: stop it first, or look into a copy of the directory",
            ),
        ));
    }
    let Look::Stored(journal) = Look::open_dir(&dir)? else { unreachable!("nobody runs on it") };
    let config = look::load_as_written(global, false, RunArgs::default())?.config;
    compared(global, args, &*journal, config)
}

fn compared(global: &Global, args: &DivergenceArgs, log: &dyn Log, mut config: Config) -> Result {
    let partitions = log.partitions(event::topic::ENRICHED);
    config.data.partitions = partitions;
    let store = look::store(&config)?;
    if let Some(p) = args.partition.filter(|p| *p >= partitions) {
        return Err(Failed::usage(format!("there is no partition {p} of enriched; there are 0 to {}", partitions - 1)));
    }
    let mut exit = Exit::Fine;
    for p in (0..partitions).filter(|p| args.partition.is_none_or(|only| only == *p)) {
        let compared = compare(log, &config, store.clone(), p)?;
        if !compared.is_same() {
            exit = Exit::Failed;
        }
        if global.json {
            println!("{}", as_json(&compared));
        } else {
            print!("{}", as_text(&compared));
        }
    }
    Ok(exit)
}

fn as_json(c: &Compared) -> Value {
    let first = c.first.as_ref().map(|f| {
        json!({
            "made_of": {"topic": c.input.topic.name(), "partition": c.input.partition, "offset": f.made_of},
            "output": {"topic": f.output.topic.name(), "partition": f.output.partition,
                "offset": f.stored.as_ref().map(|(offset, _)| offset)},
            "stored": f.stored.as_ref().map(|(_, text)| text), "made": f.made,
        })
    });
    let versions = c.versions.map(|(wrote, is)| json!({"stored": wrote.to_string(), "this": is.to_string()}));
    json!({
        "partition": c.input.partition, "from": c.from, "to": c.to, "same": c.same, "versions": versions,
        "first": first, "trouble": c.trouble, "diverges": !c.is_same(),
    })
}

fn as_text(c: &Compared) -> String {
    let Some(to) = c.to else { return format!("{}: the sessions stage never read it\n", c.input) };
    let same = term::count(c.same);
    let mut out = format!("{} from {} to {}: ", c.input, term::count(c.from), term::count(to));
    match (&c.first, &c.trouble) {
        (None, None) if c.from == to => out += "the newest snapshot is of the committed position; nothing to replay\n",
        (None, None) => out += &format!("{same} outputs, all the same\n"),
        (None, Some(why)) => out += &format!("{same} outputs are the same; then: {why}\n"),
        (Some(f), _) => {
            out +=
                &format!("after {same} outputs that are the same, what is made of {}@{} differs\n", c.input, f.made_of);
            let stored =
                f.stored.as_ref().map(|(offset, text)| format!("{}@{offset}: {}", f.output, crate::card::shown(text)));
            out += &format!("  stored  {}\n", stored.unwrap_or_else(|| format!("nothing in {}", f.output)));
            let made = f.made.as_deref().map(|text| format!("for {}: {}", f.output, crate::card::shown(text)));
            out += &format!("  made    {}\n", made.unwrap_or_else(|| format!("nothing for {}", f.output)));
        }
    }
    if let Some((wrote, is)) = c.versions {
        out += &format!("  what is stored was made by version {wrote}; this is version {is}\n");
    }
    out
}
