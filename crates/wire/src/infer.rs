//! Where the envelope's fields are in somebody's own events: guessed from a sample, by the names of members and by what
//! their values look like. For `ouzel init`; nothing here runs while events do.
//!
//! * [`sample`]: bytes -> the form they are in, and the events in them
//! * `column`: what stands at one pointer in all of the events
//! * `shape`: what a value looks like; how a time is written
//! * `names`: what people call a field
//! * `presets`: what a preset finds, and where it would be wrong
//!
//! ```text
//! bytes --cut--> events --columns--> presets: does one fit? --no--> names and values --> a field map with reasons
//! ```
//! A guess never holds a value of the events: pointers, counts and shapes only.

mod column;
mod names;
mod presets;
pub mod sample;
mod shape;

use event::Field;

use crate::json::Limits;
use crate::map::{MapEntry, Preset};
use crate::time::{TimeFormat, TimeReader};
use column::{Column, Columns};
use names::Named;
use presets::{Fit, PresetFinds};
use shape::Written;

pub use sample::{Form, Sample};

/// What was made out.
#[derive(Clone, Debug)]
pub struct Inferred {
    /// The preset that fits; else the one that is in the way of least, below a map that names every field found.
    pub preset: Preset,
    pub preset_fits: bool,
    /// The fields of the envelope in the order in which people think of them.
    pub fields: Vec<Finding>,
    /// Events that were looked at: those that are JSON.
    pub events: usize,
    /// Bytes of the longest of them.
    pub longest: usize,
}

/// What was made out about one field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub field: Field,
    pub place: Place,
    /// A member that could be it, and why it was not taken.
    pub maybe: Option<(String, String)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    Found(Found),
    NotFound {
        /// The preset looks where something else is: it has to be told to look elsewhere.
        preset_is_wrong: bool,
    },
}

/// Where a field is, and why that is thought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    pub entry: MapEntry,
    /// The pointers of the entry at which something stands in the sample.
    pub at: Vec<String>,
    /// The preset finds it there, without being told.
    pub by_preset: bool,
    pub sure: Sure,
    /// How many events have it.
    pub events: usize,
    /// What its values look like, for people: "all different", "RFC 3339 times".
    pub looks: String,
    /// The texts say no zone, and UTC was put in for it.
    pub zone_is_assumed: bool,
    /// Day and month could be the other way round.
    pub day_or_month: bool,
}

/// How sure a guess is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sure {
    /// By a member's values alone, or a name that means many things.
    Guess,
    Likely,
    Sure,
}

impl Sure {
    pub fn word(self) -> &'static str {
        match self {
            Sure::Guess => "a guess",
            Sure::Likely => "likely",
            Sure::Sure => "sure",
        }
    }

    fn of(score: i32) -> Sure {
        match score {
            SURE.. => Sure::Sure,
            LIKELY..SURE => Sure::Likely,
            _ => Sure::Guess,
        }
    }
}

/// From this score on a guess is sure, likely, or taken at all. A name that only a field of this kind has scores 85 to 100
/// (see `names`); what speaks against it is taken off.
const SURE: i32 = 80;
const LIKELY: i32 = 60;
const TAKEN: i32 = 40;
/// Below that, a member is named as one that could be it.
const MAYBE: i32 = 25;

/// Ids of which fewer differ are no events' ids: SDKs send an event twice now and then, not every tenth.
const DIFFERENT_IDS: f64 = 0.9;
/// A few values of a column may be damaged, and it is a time all the same.
const READABLE_TIMES: f64 = 0.9;
/// A few events may have something in a field's place that it cannot be. They are refused.
const UNFIT_VALUES: f64 = 0.1;
/// Below so many events nothing follows from all of them having one value, or all different ones.
const MANY_EVENTS: usize = 20;

/// The order of a field map for people, which is also the order in which fields choose: a member is one field.
const ORDER: [Field; 12] = [
    Field::ID,
    Field::TYPE,
    Field::TIME,
    Field::SENT_AT,
    Field::USER,
    Field::VISITOR,
    Field::SESSION,
    Field::IP,
    Field::USER_AGENT,
    Field::URL,
    Field::REFERRER,
    Field::CAMPAIGN,
];

/// A pointer for a field that the preset looks for in the wrong place: it leads nowhere.
pub const NOWHERE: &str = "/not_in_these_events";

/// The type given to events in which nothing looks like one.
pub const TYPE_OF_ALL: &str = "event";

/// Looks at a sample's events.
pub fn infer(sample: &Sample) -> Inferred {
    let mut columns = Columns::of(sample.json());
    columns.around = sample.around.as_deref().map(|around| Box::new(Columns::of([around].into_iter())));
    let presets: &[Preset] = match sample.form {
        Form::AccessLog => &[Preset::AccessLog],
        Form::Csv => &[Preset::Csv],
        // The default first: of equals it is taken.
        _ => &[Preset::Segment, Preset::Ouzel],
    };
    let forced = presets.len() == 1;
    let fits: Vec<Fit> = presets.iter().map(|p| Fit::of(*p, &columns)).collect();
    let fit = fits.iter().filter(|f| forced || f.fits(columns.events)).max_by_key(|f| f.found());
    let guessed = guess_all(&columns, fit);
    let (preset, preset_fits) = match fit {
        Some(fit) => (fit.preset, true),
        None => {
            let trouble = |f: &&Fit| f.in_the_way(&guessed);
            (fits.iter().min_by_key(trouble).expect("presets to choose from").preset, false)
        }
    };
    let base = fits.iter().find(|f| f.preset == preset).expect("one of them");
    let fields = ORDER.iter().zip(guessed).map(|(field, guess)| finding(*field, guess, base, preset_fits));
    let fields = fields.collect();
    Inferred { preset, preset_fits, fields, events: columns.events, longest: columns.longest }
}

impl Inferred {
    pub fn field(&self, field: Field) -> Option<&Found> {
        self.fields.iter().find(|f| f.field == field).and_then(|f| match &f.place {
            Place::Found(found) => Some(found),
            Place::NotFound { .. } => None,
        })
    }

    /// What has to be written over the preset.
    pub fn map(&self) -> impl Iterator<Item = (Field, MapEntry)> + '_ {
        self.fields.iter().filter_map(|f| match &f.place {
            Place::Found(found) if found.by_preset => None,
            Place::Found(found) => Some((f.field, found.entry.clone())),
            Place::NotFound { preset_is_wrong: true, .. } => Some((f.field, MapEntry::pointers(&[NOWHERE]))),
            Place::NotFound { .. } => None,
        })
    }

    /// Limits that let all of the sample's events through, or the default ones if those do.
    pub fn limits(&self) -> Limits {
        let default = Limits::default();
        match self.longest {
            n if n > default.event => Limits { event: n.next_power_of_two(), ..default },
            _ => default,
        }
    }
}

/// What names and values say about one field.
#[derive(Clone)]
struct Guessed {
    found: Option<Found>,
    maybe: Option<(String, String)>,
}

/// Guesses the fields one after another. What the fitting preset finds is taken as it is.
fn guess_all(columns: &Columns, fit: Option<&Fit>) -> Vec<Guessed> {
    let mut taken: Vec<String> = Vec::new();
    let found_by_fit = |field: Field| match fit.and_then(|f| f.finds(field)) {
        Some(PresetFinds::Found(found)) => Some(found.clone()),
        _ => None,
    };
    // Before any field chooses, what the preset has is gone.
    for field in ORDER {
        if let Some(MapEntry::Pointer { pointers, .. }) = found_by_fit(field).map(|f| f.entry) {
            taken.extend(pointers);
        }
    }
    ORDER
        .into_iter()
        .map(|field| {
            if let Some(found) = found_by_fit(field) {
                return Guessed { found: Some(found), maybe: None };
            }
            let guessed = guess(field, columns, &taken);
            if let Some(Found { entry: MapEntry::Pointer { pointers, .. }, .. }) = &guessed.found {
                taken.extend(pointers.iter().cloned());
            }
            guessed
        })
        .collect()
}

/// A member that could be a field.
struct Candidate<'c> {
    column: &'c Column,
    score: i32,
    /// What is taken off the score because events are without it.
    missing: i32,
    written: Option<Written>,
}

impl Candidate<'_> {
    fn net(&self) -> i32 {
        self.score - self.missing
    }
}

fn guess(field: Field, columns: &Columns, taken: &[String]) -> Guessed {
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    let mut refused: Option<(i32, &Column, String)> = None;
    for column in columns.all().iter().filter(|c| !taken.contains(&c.pointer)) {
        let Some(named) = names::named(field, &column.path) else { continue };
        match judge(field, column, named, columns) {
            Ok(candidate) => candidates.push(candidate),
            // A member that is always empty is nobody's.
            Err(_) if column.has(field) == 0 && column.unfit(field) == 0 => {}
            Err(why) => {
                if refused.as_ref().is_none_or(|(score, ..)| named.score > *score) {
                    refused = Some((named.score, column, why));
                }
            }
        }
    }
    // Of equals the one that more events have, then the one that stands higher; the rest of the order is the sample's.
    candidates.sort_by_key(|c| (-c.net(), usize::MAX - c.column.has(field), c.column.path.len()));
    if candidates.first().is_none_or(|c| c.net() < TAKEN) && field == Field::TIME {
        candidates.splice(0..0, time_by_values(columns, taken));
    }
    let best = candidates.first().filter(|c| c.net() >= TAKEN);
    let found = match (best, field) {
        (Some(best), Field::TYPE) => Some(several(best, &candidates, columns)),
        (Some(best), _) => Some(of_one(field, best)),
        (None, Field::TYPE) => Some(Found {
            entry: MapEntry::Constant(TYPE_OF_ALL.into()),
            at: Vec::new(),
            by_preset: false,
            sure: Sure::Guess,
            events: columns.events,
            looks: "nothing looks like a type, so all get this one".into(),
            zone_is_assumed: false,
            day_or_month: false,
        }),
        (None, _) => None,
    };
    let is_settled = matches!(&found, Some(Found { entry: MapEntry::Pointer { .. }, .. }));
    let maybe = match (is_settled, candidates.first().filter(|c| c.net() >= MAYBE), refused) {
        (true, ..) => None,
        (false, Some(c), _) => {
            Some((c.column.pointer.clone(), format!("its name means many things; {}", c.column.looks(field))))
        }
        (false, None, Some((score, column, why))) if score >= TAKEN => Some((column.pointer.clone(), why)),
        (false, None, _) => elsewhere(field, columns, taken),
    };
    Guessed { found, maybe }
}

/// Takes off a name's score what the values say against it; an error is why it cannot be the field at all.
fn judge<'c>(field: Field, column: &'c Column, named: Named, columns: &Columns) -> Result<Candidate<'c>, String> {
    let mut score = named.score;
    if is_unfit(field, column, columns) {
        return Err("an object, a list or a boolean stands there, at least in some events".into());
    }
    if column.unfit(field) > 0 {
        score -= 15;
    }
    let has = column.has(field);
    if has == 0 {
        return Err("it is empty in all events".into());
    }
    let mut written = None;
    match field {
        Field::ID if column.different_share() < DIFFERENT_IDS => {
            return Err(format!("values repeat ({} different in {has})", column.different()));
        }
        Field::TYPE => {
            if has >= MANY_EVENTS && column.different() > has / 2 {
                return Err(format!("it has too many different values for a type ({} in {has})", column.different()));
            }
            if column.share(shape::is_uuid) > 0.5 || column.share(shape::is_url) > 0.5 || column.numbers == has {
                score -= 30;
            }
        }
        Field::TIME | Field::SENT_AT => {
            written = Some(shape::written(column).ok_or("its values are no times that can be read")?);
        }
        Field::USER | Field::VISITOR | Field::SESSION => {
            let one_for_all = has >= MANY_EVENTS && column.different() == 1;
            if column.share(shape::is_url) > 0.5 {
                return Err("its values are URLs".into());
            }
            if one_for_all {
                score -= 30;
            }
        }
        Field::IP => demand(column, shape::is_address, "its values are no IP addresses")?,
        Field::USER_AGENT => demand(column, shape::is_agent, "its values are no user agents")?,
        Field::URL => demand(column, shape::is_url, "its values are no URLs")?,
        Field::REFERRER => demand(column, shape::is_place, "its values are no URLs")?,
        _ => {}
    }
    Ok(Candidate { column, score, missing: missing(field, has, columns.events), written })
}

/// What is taken off a score because events are without the field. Nobody has to be signed in, and not every event is on
/// a page.
fn missing(field: Field, has: usize, events: usize) -> i32 {
    let all = match field {
        Field::TYPE => 40.0,
        Field::ID | Field::TIME => 30.0,
        _ => 0.0,
    };
    ((1.0 - has as f64 / events as f64) * all) as i32
}

fn is_unfit(field: Field, column: &Column, columns: &Columns) -> bool {
    column.unfit(field) as f64 > UNFIT_VALUES * columns.events as f64
}

/// Most of a column's values have to look so.
fn demand(column: &Column, looks: fn(&[u8]) -> bool, else_: &str) -> Result<(), String> {
    const MOST: f64 = 0.8;
    if column.share(looks) >= MOST { Ok(()) } else { Err(else_.into()) }
}

fn of_one(field: Field, candidate: &Candidate<'_>) -> Found {
    let column = candidate.column;
    let pointers = vec![column.pointer.clone()];
    let (entry, looks) = match &candidate.written {
        Some(written) => (written.entry(pointers), written.looks()),
        None => (MapEntry::Pointer { pointers, format: None, zone: None }, column.looks(field)),
    };
    Found {
        entry,
        at: vec![column.pointer.clone()],
        by_preset: false,
        sure: Sure::of(candidate.net()),
        events: column.has(field),
        looks,
        zone_is_assumed: candidate.written.as_ref().is_some_and(Written::zone_is_assumed),
        day_or_month: candidate.written.as_ref().is_some_and(|w| w.day_or_month),
    }
}

/// The type has to be there, so events that do not have it in the best place are looked at in the next ones.
fn several(best: &Candidate<'_>, candidates: &[Candidate<'_>], columns: &Columns) -> Found {
    const PLACES_MAX: usize = 3;
    let mut places = vec![best.column];
    for next in candidates.iter().skip(1).filter(|c| c.score >= LIKELY) {
        let before = columns.events_with(&places, Field::TYPE);
        if places.len() == PLACES_MAX || before == columns.events {
            break;
        }
        places.push(next.column);
        if columns.events_with(&places, Field::TYPE) == before {
            places.pop();
        }
    }
    let mut found = of_one(Field::TYPE, best);
    found.events = columns.events_with(&places, Field::TYPE);
    found.sure = Sure::of(best.score - missing(Field::TYPE, found.events, columns.events));
    found.at = places.iter().map(|c| c.pointer.clone()).collect();
    found.entry = MapEntry::Pointer { pointers: found.at.clone(), format: None, zone: None };
    found
}

/// A member that all events have and whose texts are times, where it is the only one: by its values alone.
fn time_by_values<'c>(columns: &'c Columns, taken: &[String]) -> Option<Candidate<'c>> {
    let mut times = columns
        .all()
        .iter()
        .filter(|c| c.count == columns.events && c.numbers == 0 && c.path.len() <= 2 && !taken.contains(&c.pointer));
    let mut times = times.by_ref().filter(|c| !names::is_another_time(&c.path)).filter_map(|column| {
        let written = shape::written(column)?;
        Some(Candidate { column, score: TAKEN, missing: 0, written: Some(written) })
    });
    let first = times.next();
    if times.next().is_some() { None } else { first }
}

/// A member that is called like the field and stands in an object of another name, or one with addresses in it, whosever
/// they are. Half of the events have to have it: names that are data would be told otherwise.
fn elsewhere(field: Field, columns: &Columns, taken: &[String]) -> Option<(String, String)> {
    let mut often = columns.all().iter().filter(|c| 2 * c.count >= columns.events && !taken.contains(&c.pointer));
    let is_it = |c: &&Column| {
        let named = names::by_its_own_name(field, &c.path).map(|score| Named { score });
        named.is_some_and(|named| judge(field, c, named, columns).is_ok())
    };
    if let Some(column) = often.clone().find(is_it) {
        let above = column.path.iter().rev().nth(1).map_or("", String::as_str);
        return Some((column.pointer.clone(), format!("`{above}` may be something else's")));
    }
    let is_address = |c: &&Column| field == Field::IP && c.path.len() == 1 && c.share(shape::is_address) == 1.0;
    let column = often.find(is_address)?;
    Some((column.pointer.clone(), "its name does not say whose addresses these are".into()))
}

/// What is said of a field at the end, beside the preset that was settled on.
fn finding(field: Field, guess: Guessed, base: &Fit, preset_fits: bool) -> Finding {
    let place = match guess.found {
        Some(mut found) => {
            // Below a preset that does not fit everything that is known is written out.
            found.by_preset &= preset_fits;
            Place::Found(found)
        }
        None => Place::NotFound { preset_is_wrong: !matches!(base.finds(field), None | Some(PresetFinds::Nothing)) },
    };
    Finding { field, place, maybe: guess.maybe }
}

/// How many of a column's values a reader takes.
fn readable(column: &Column, format: Option<&TimeFormat>, zone: Option<&str>) -> usize {
    let Ok(reader) = TimeReader::build(format, zone) else { return 0 };
    column.values.iter().filter(|v| reader.read(&v.text, v.is_number).is_ok()).count()
}
