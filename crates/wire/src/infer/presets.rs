//! What a preset finds in a sample's events, and where it finds something that the field cannot be.

use event::Field;

use super::column::{Column, Columns};
use super::{DIFFERENT_IDS, Found, Guessed, ORDER, Sure, is_unfit, shape};
use crate::decode::INHERITED;
use crate::map::{FieldMap, MapEntry, Preset};

/// A preset fits when it finds so many fields, the type among them.
const FIELDS_OF_A_FIT: usize = 3;
/// ... and when so many of the events have a type there. Some of a real sample are damaged.
const TYPES_OF_A_FIT: f64 = 0.8;

/// What a preset finds in the sample.
pub(super) struct Fit {
    pub preset: Preset,
    fields: Vec<(Field, PresetFinds)>,
}

pub(super) enum PresetFinds {
    Nothing,
    Found(Found),
    /// Something is there that the field cannot be.
    Wrong,
}

impl Fit {
    pub fn of(preset: Preset, columns: &Columns) -> Fit {
        let map = FieldMap::preset(preset);
        let fields = map.fields().iter().map(|m| (m.field, preset_finds(m.field, &m.entry, columns))).collect();
        Fit { preset, fields }
    }

    pub fn finds(&self, field: Field) -> Option<&PresetFinds> {
        self.fields.iter().find(|(f, _)| *f == field).map(|(_, finds)| finds)
    }

    pub fn found(&self) -> usize {
        self.fields.iter().filter(|(_, f)| matches!(f, PresetFinds::Found(_))).count()
    }

    pub fn fits(&self, events: usize) -> bool {
        let types = match self.finds(Field::TYPE) {
            Some(PresetFinds::Found(found)) => found.events,
            _ => 0,
        };
        self.found() >= FIELDS_OF_A_FIT && types as f64 >= TYPES_OF_A_FIT * events as f64
    }

    /// Fields that are found elsewhere or nowhere, and in whose place this preset finds something.
    pub fn in_the_way(&self, guessed: &[Guessed]) -> usize {
        let wrong = |field: &Field, guess: &Guessed| {
            guess.found.is_none() && !matches!(self.finds(*field), None | Some(PresetFinds::Nothing))
        };
        ORDER.iter().zip(guessed).filter(|(field, guess)| wrong(field, guess)).count()
    }
}

fn preset_finds(field: Field, entry: &MapEntry, columns: &Columns) -> PresetFinds {
    let MapEntry::Pointer { pointers, format, .. } = entry else {
        return PresetFinds::Found(Found {
            entry: entry.clone(),
            at: Vec::new(),
            by_preset: true,
            sure: Sure::Sure,
            events: columns.events,
            looks: "the same for all".into(),
            zone_is_assumed: false,
            day_or_month: false,
        });
    };
    let there: Vec<&Column> = pointers.iter().filter_map(|p| columns.at(p)).filter(|c| c.has(field) > 0).collect();
    if pointers.iter().filter_map(|p| columns.at(p)).any(|c| is_unfit(field, c, columns)) {
        return PresetFinds::Wrong;
    }
    let Some(first) = there.first() else { return around_finds(field, entry, pointers, columns) };
    let events = columns.events_with(&there, field);
    let mut found = Found {
        entry: entry.clone(),
        at: there.iter().map(|c| c.pointer.clone()).collect(),
        by_preset: true,
        sure: Sure::Sure,
        events,
        looks: first.looks(field),
        zone_is_assumed: false,
        day_or_month: false,
    };
    match field {
        Field::TIME | Field::SENT_AT if format.is_none() => match shape::written(first) {
            Some(written) => {
                if !written.is_rfc3339() {
                    // The preset is right about the place, but not about how it is written.
                    found.by_preset = false;
                    found.entry = written.entry(found.at.clone());
                }
                found.looks = written.looks();
                found.zone_is_assumed = written.zone_is_assumed();
                found.day_or_month = written.day_or_month;
            }
            None => return PresetFinds::Wrong,
        },
        Field::TIME => found.looks = "a time".into(),
        Field::ID if first.different_share() < DIFFERENT_IDS => return PresetFinds::Wrong,
        _ => {}
    }
    PresetFinds::Found(found)
}

/// What events inherit from the batch around them, where they do not have it themselves.
fn around_finds(field: Field, entry: &MapEntry, pointers: &[String], columns: &Columns) -> PresetFinds {
    let around = columns.around.as_deref().filter(|_| INHERITED.contains(&field));
    let at = pointers.iter().find(|p| around.is_some_and(|a| a.at(p).is_some_and(|c| c.count > 0)));
    let Some(at) = at else { return PresetFinds::Nothing };
    PresetFinds::Found(Found {
        entry: entry.clone(),
        at: vec![at.clone()],
        by_preset: true,
        sure: Sure::Sure,
        events: columns.events,
        looks: "from the batch around them".into(),
        zone_is_assumed: false,
        day_or_month: false,
    })
}
