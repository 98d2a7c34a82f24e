//! The text of a configuration for a sample's events: the map with its reasons, and what is left open.

use event::Field;
use wire::infer::{Finding, Form, Found, NOWHERE, Place, Sure};
use wire::{MapEntry, Preset};

use super::super::{HTTP_SOURCE, read::NAME_MAX, units::show_size};
use super::Looked;
use super::text::{Toml, count, quoted};

/// What the source of the configuration reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reads<'a> {
    /// The sample itself, under this path as the configuration has to name it.
    File(&'a str),
    /// The standard input, which the sample came from.
    Stdin,
    /// Requests: the sample came from the standard input, or is one itself.
    Requests,
}

/// The whole text. `shown`: how the sample was named; `name`: the source's, see [`source_name`].
pub fn from_sample(looked: Looked<'_>, reads: Reads<'_>, shown: &str, name: &str) -> String {
    let Looked { sample, inferred } = looked;
    let mut out = Toml::default();
    let first = if sample.is_whole { "its" } else { "its first" };
    let shown = if shown == "-" { "-".to_owned() } else { shown.replace(char::is_control, "?") };
    out.comment(&format!(
        "Written by `ouzel init --from {shown}`, from {first} {}. What is guessed says why: look it over, change what is wrong, then `ouzel check` and `ouzel run`. `ouzel init --output -` shows every key there is.",
        events(sample.events.len()),
    ));
    out.line("version = 1");
    out.blank();
    out.line("[data]");
    out.noted("dir = \"./ouzel-data\"", "everything is kept here");
    if inferred.longest > wire::Limits::default().event {
        out.blank();
        out.line("[limits]");
        out.noted(
            &format!("event = \"{}\"", show_size(inferred.limits().event as u64)),
            &format!("the longest event of the sample has {} bytes", count(inferred.longest)),
        );
    }
    out.blank();
    source(&mut out, looked, reads, name);
    map(&mut out, looked);
    more(&mut out, looked);
    out.0
}

/// A source's name made of a file's.
pub fn source_name(file: Option<&str>) -> String {
    let file = file.unwrap_or_default();
    let stem = file.trim_start_matches('.').split('.').next().unwrap_or_default();
    let plain: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).take(NAME_MAX).collect();
    match plain.trim_matches('-') {
        // The port itself has a source of that name.
        "" | HTTP_SOURCE => "events".into(),
        name => name.into(),
    }
}

fn source(out: &mut Toml, looked: Looked<'_>, reads: Reads<'_>, name: &str) {
    let form = looked.sample.form;
    out.line("[[source]]");
    out.noted(&format!("name = {}", quoted(name)), "the `source` of these events; ids are unique within it");
    match reads {
        Reads::File(path) => {
            out.noted("kind = \"file\"", "read once; with `follow = true` also what is added to it");
            out.line(&format!("path = {}", quoted(path)));
            if form.is_of_requests() {
                out.comment("To take the same events by HTTP (POST /v1/events), put this for `kind` and `path`:");
                out.line("# kind = \"http\"");
            }
        }
        Reads::Stdin => out.noted("kind = \"stdin\"", "`ouzel run < FILE`"),
        Reads::Requests => {
            out.noted("kind = \"http\"", "POST /v1/events");
            if form.is_of_files() {
                out.comment("To read the same events from a file or a pipe, put one of these for `kind`:");
                out.line("# kind = \"file\"");
                out.line("# path = \"events.ndjson\"");
                out.comment("or");
                out.line("# kind = \"stdin\"");
            } else {
                out.comment(match form {
                    Form::Batch => "(The sample is the body of a request: read from a file, it would be one event.)",
                    _ => "(The sample is one event over several lines: in a file, each event has a line of its own.)",
                });
            }
        }
    }
    let note = match (looked.inferred.preset_fits, looked.inferred.preset) {
        (true, Preset::AccessLog | Preset::Csv) => "how it is written, and where the fields are",
        (true, _) => "its fields are where these events have them",
        (false, _) => "none fits; what is mapped below comes first",
    };
    out.noted(&format!("preset = {}", quoted(looked.inferred.preset.name())), note);
}

fn map(out: &mut Toml, looked: Looked<'_>) {
    let inferred = looked.inferred;
    let by_preset: Vec<(&Finding, &Found)> = found(looked).filter(|(_, f)| f.by_preset).collect();
    if !by_preset.is_empty() {
        out.blank();
        out.comment("The preset finds:");
        for (finding, found) in by_preset {
            let name = finding.field.name();
            let place = shown_place(found);
            out.hanging(&format!("  {name:<10} {place}: {}", why(found, inferred.events)), 17);
        }
    }
    out.blank();
    let over: Vec<(Field, MapEntry)> = inferred.map().collect();
    out.comment("Where the fields of the envelope are in these events, as JSON Pointers.");
    let head = if over.is_empty() { "# [source.map]" } else { "[source.map]" };
    out.line(head);
    for (finding, found) in found(looked).filter(|(_, f)| !f.by_preset) {
        out.blank();
        out.comment(&reason(found, inferred.events));
        could_be(out, finding);
        out.line(&format!("{} = {}", finding.field.name(), toml_entry(&found.entry)));
    }
    let not_found = |wrong: bool| {
        inferred
            .fields
            .iter()
            .filter(move |f| matches!(f.place, Place::NotFound { preset_is_wrong } if preset_is_wrong == wrong))
    };
    for finding in not_found(true) {
        out.blank();
        out.comment(&format!("Not found: {}.", without(finding.field)));
        could_be(out, finding);
        out.comment("The preset would take something else for it, so it is told to look where nothing is.");
        out.line(&format!("{} = {}", finding.field.name(), quoted(NOWHERE)));
    }
    if not_found(false).next().is_some() {
        out.blank();
        out.comment("Not found. Where your events have one of these after all, say where:");
    }
    for finding in not_found(false) {
        let pointer = finding.maybe.as_ref().map_or(example(finding.field), |(pointer, _)| pointer);
        out.noted(&format!("# {} = {}", finding.field.name(), quoted(pointer)), without(finding.field));
        could_be(out, finding);
    }
}

fn could_be(out: &mut Toml, finding: &Finding) {
    if let Some((pointer, why)) = &finding.maybe {
        out.hanging(&format!("  It could be {pointer}, but {why}."), 2);
    }
}

fn found(looked: Looked<'_>) -> impl Iterator<Item = (&Finding, &Found)> {
    looked.inferred.fields.iter().filter_map(|f| match &f.place {
        Place::Found(found) => Some((f, found)),
        Place::NotFound { .. } => None,
    })
}

/// What comes after the source, for those who go on.
fn more(out: &mut Toml, looked: Looked<'_>) {
    if looked.inferred.field(Field::IP).is_some() {
        out.blank();
        out.comment("Where an address is (`enriched.geo`) is told by a database, for example DB-IP's or MaxMind's.");
        out.line("# [geo]");
        out.line("# database = [\"city.mmdb\"]");
    }
    if looked.inferred.field(Field::USER).is_some() {
        out.blank();
        out.comment("What you know about your users, from a file of yours with a column `id` (`enriched.user`).");
        out.line("# [[lookup]]");
        out.line("# name = \"user\"");
        out.line("# kind = \"file\"");
        out.line("# path = \"users.csv\"");
        out.line("# key = \"event.user\"");
    }
}

/// Why a field is thought to be there.
fn reason(found: &Found, events: usize) -> String {
    let in_events = in_events(found, events);
    let mut out = match (&found.entry, found.looks.as_str()) {
        (MapEntry::Constant(_), looks) => return format!("{}{}.", looks[..1].to_uppercase(), &looks[1..]),
        (MapEntry::Pointer { pointers, .. }, looks) if looks.starts_with("a time") => {
            format!("{} looks like {looks} ({in_events}).", pointers[0])
        }
        (_, looks) => format!("{in_events}: {looks}."),
    };
    match found.sure {
        Sure::Sure => {}
        Sure::Likely => out.push_str(" Likely, not sure."),
        Sure::Guess => out.push_str(" This is a guess: look at it."),
    }
    if found.zone_is_assumed {
        out.push_str(
            " UTC IS ASSUMED: if they are of another zone, write that, such as \"Europe/Berlin\" or \"+02:00\".",
        );
    }
    if found.day_or_month {
        out.push_str(" WHETHER DAY OR MONTH COMES FIRST cannot be told from these events: look at `format`.");
    }
    out
}

/// The same in few words.
fn why(found: &Found, events: usize) -> String {
    match found.entry {
        MapEntry::Constant(_) => found.looks.clone(),
        _ => format!("{}, {}", in_events(found, events), found.looks),
    }
}

fn in_events(found: &Found, of: usize) -> String {
    format!("{} of {}", count(found.events), events(of))
}

fn events(n: usize) -> String {
    if n == 1 { "1 event".into() } else { format!("{} events", count(n)) }
}

/// What follows when a field is not there.
fn without(field: Field) -> &'static str {
    match field {
        Field::ID => "events of files get one by their place, posted ones a fresh one each time",
        Field::TIME => "events count as of when they were received",
        Field::SENT_AT => "a sender's clock that is wrong is not corrected",
        Field::USER => "nobody counts as signed in",
        Field::VISITOR => "`user:<user>` stands in for it, else a hash of address and user agent",
        Field::SESSION => "events do not say which visit they are of",
        Field::IP => "nothing is told by the address; posted events get their connection's",
        Field::USER_AGENT => "nothing is told by the browser; posted events get their connection's",
        Field::URL => "nothing is told by the page",
        Field::REFERRER => "nothing is told about where visits come from",
        Field::CAMPAIGN => "campaigns are told by the parameters of the URL alone",
        _ => "",
    }
}

/// A pointer to begin from.
fn example(field: Field) -> &'static str {
    match field {
        Field::ID => "/event/id",
        Field::TIME => "/created_at",
        Field::SENT_AT => "/sent_at",
        Field::USER => "/user/id",
        Field::VISITOR => "/visitor/id",
        Field::SESSION => "/session/id",
        Field::IP => "/client/ip",
        Field::USER_AGENT => "/user_agent",
        Field::URL => "/page/url",
        Field::REFERRER => "/page/referrer",
        _ => "/campaign",
    }
}

/// An entry in a comment.
fn shown_place(found: &Found) -> String {
    match &found.entry {
        MapEntry::Constant(value) => format!("always \"{value}\""),
        MapEntry::Pointer { .. } => found.at.join(" or "),
    }
}

/// An entry as TOML.
fn toml_entry(entry: &MapEntry) -> String {
    match entry {
        MapEntry::Constant(value) => format!("{{ value = {} }}", quoted(value)),
        MapEntry::Pointer { pointers, format, zone } => {
            let place = match pointers.as_slice() {
                [one] => quoted(one),
                several => format!("[{}]", several.iter().map(|p| quoted(p)).collect::<Vec<_>>().join(", ")),
            };
            if format.is_none() && zone.is_none() {
                return place;
            }
            let mut out = format!("{{ pointer = {place}");
            for (key, value) in [("format", format.as_ref().map(|f| f.name())), ("zone", zone.as_deref())] {
                out.extend(value.map(|value| format!(", {key} = {}", quoted(value))));
            }
            out + " }"
        }
    }
}
