//! What stands at one pointer in all events of a sample.

use std::collections::{BTreeMap, BTreeSet};

use event::Field;
use xxhash_rust::xxh3::xxh3_64;

use super::shape;
use crate::json::walk::Members;
use crate::json::{Kind, kind, text};

/// Pointers that are looked at; as many as an event may have members. Objects whose names are data have more.
const COLUMNS_MAX: usize = 2_000;
/// Names in a pointer. What identifies an event stands high in it.
const DEPTH_MAX: usize = 4;
/// Values that are looked at more closely. User agents and URLs are told by less.
const VALUE_MAX: usize = 256;

/// The texts and numbers of one pointer.
pub(super) struct Column {
    pub pointer: String,
    pub path: Vec<String>,
    /// Texts that are not empty, and numbers.
    pub count: usize,
    pub numbers: usize,
    /// Booleans and lists.
    others: usize,
    objects: usize,
    /// For each event one bit: whether it has a text or number here.
    bits: Vec<u64>,
    /// For each event one bit: whether it has an object here.
    object_bits: Vec<u64>,
    different: BTreeSet<u64>,
    pub values: Vec<Value>,
    shortest: usize,
    longest: usize,
}

pub(super) struct Value {
    /// At most [`VALUE_MAX`] bytes of it.
    pub text: Vec<u8>,
    pub is_number: bool,
}

/// All columns, in the order in which the sample has them.
pub(super) struct Columns {
    pub events: usize,
    pub longest: usize,
    /// Of the batch around the events.
    pub around: Option<Box<Columns>>,
    all: Vec<Column>,
    by_pointer: BTreeMap<String, usize>,
}

impl Columns {
    /// Of events that are JSON objects.
    pub fn of<'e>(events: impl Iterator<Item = &'e [u8]>) -> Columns {
        let mut columns = Columns { events: 0, longest: 0, around: None, all: Vec::new(), by_pointer: BTreeMap::new() };
        let mut path = Vec::new();
        for event in events {
            columns.longest = columns.longest.max(event.len());
            columns.object(event, &mut path);
            columns.events += 1;
        }
        columns
    }

    pub fn all(&self) -> &[Column] {
        &self.all
    }

    pub fn at(&self, pointer: &str) -> Option<&Column> {
        self.by_pointer.get(pointer).map(|at| &self.all[*at])
    }

    /// How many events have the field in at least one of these.
    pub fn events_with(&self, columns: &[&Column], field: Field) -> usize {
        let words = self.events.div_ceil(64);
        let any =
            |word: usize| columns.iter().fold(0, |all, c| all | c.bits_for(field).get(word).copied().unwrap_or(0));
        (0..words).map(|word| any(word).count_ones() as usize).sum()
    }

    fn object(&mut self, object: &[u8], path: &mut Vec<String>) {
        for member in Members::of(object.trim_ascii()) {
            let name = crate::json::unescape(member.raw_name);
            path.push(String::from_utf8_lossy(&name).into_owned());
            let kind = kind(member.value);
            if let Some(at) = self.column(path) {
                self.all[at].take(self.events, kind, member.value);
            }
            if kind == Kind::Object && path.len() < DEPTH_MAX {
                self.object(member.value, path);
            }
            path.pop();
        }
    }

    fn column(&mut self, path: &[String]) -> Option<usize> {
        let pointer: String = path.iter().map(|n| format!("/{}", n.replace('~', "~0").replace('/', "~1"))).collect();
        if let Some(at) = self.by_pointer.get(&pointer) {
            return Some(*at);
        }
        if self.all.len() == COLUMNS_MAX {
            return None;
        }
        self.by_pointer.insert(pointer.clone(), self.all.len());
        self.all.push(Column {
            pointer,
            path: path.to_vec(),
            count: 0,
            numbers: 0,
            others: 0,
            objects: 0,
            bits: Vec::new(),
            object_bits: Vec::new(),
            different: BTreeSet::new(),
            values: Vec::new(),
            shortest: usize::MAX,
            longest: 0,
        });
        Some(self.all.len() - 1)
    }
}

impl Column {
    fn take(&mut self, event: usize, kind: Kind, json: &[u8]) {
        match kind {
            Kind::Null => {}
            Kind::Bool | Kind::Array => self.others += 1,
            Kind::Object => {
                set(&mut self.object_bits, event);
                self.objects += 1;
            }
            Kind::Number | Kind::String => {
                let text = text(json).unwrap_or_default();
                if text.is_empty() {
                    return;
                }
                set(&mut self.bits, event);
                self.count += 1;
                self.numbers += usize::from(kind == Kind::Number);
                self.different.insert(xxh3_64(&text));
                self.shortest = self.shortest.min(text.len());
                self.longest = self.longest.max(text.len());
                let text = text[..text.len().min(VALUE_MAX)].to_vec();
                self.values.push(Value { text, is_number: kind == Kind::Number });
            }
        }
    }

    /// How many events have the field here, if it is this member.
    pub fn has(&self, field: Field) -> usize {
        if field == Field::CAMPAIGN { self.count + self.objects } else { self.count }
    }

    /// How many events would be refused if the field were looked for here.
    pub fn unfit(&self, field: Field) -> usize {
        match field {
            Field::CAMPAIGN => self.others + self.numbers,
            _ => self.others + self.objects,
        }
    }

    fn bits_for(&self, field: Field) -> &[u64] {
        if field == Field::CAMPAIGN && self.objects > 0 { &self.object_bits } else { &self.bits }
    }

    pub fn different(&self) -> usize {
        self.different.len()
    }

    /// Different values per value.
    pub fn different_share(&self) -> f64 {
        self.different.len() as f64 / self.count.max(1) as f64
    }

    /// The share of values that look so.
    pub fn share(&self, looks: fn(&[u8]) -> bool) -> f64 {
        self.values.iter().filter(|v| looks(&v.text)).count() as f64 / self.count.max(1) as f64
    }

    /// For people, without any value.
    pub fn looks(&self, field: Field) -> String {
        if self.count == 0 {
            return "objects".into();
        }
        match field {
            Field::ID if self.different() == self.count => format!("all different, {}", self.form()),
            Field::ID => format!("{} different, {}", self.different(), self.form()),
            Field::TYPE | Field::USER | Field::VISITOR | Field::SESSION => match self.different() {
                1 => format!("one value, {}", self.form()),
                n => format!("{n} different, {}", self.form()),
            },
            _ => self.form(),
        }
    }

    fn form(&self) -> String {
        let most = |looks| self.share(looks) >= 0.8;
        match () {
            () if self.numbers == self.count => "numbers".into(),
            () if most(shape::is_uuid) => "UUIDs".into(),
            () if most(shape::is_address) => "IP addresses".into(),
            () if most(shape::is_mail) => "e-mail addresses".into(),
            () if most(|v| shape::is_url(v) && v.first() != Some(&b'/')) => "URLs".into(),
            () if most(shape::is_url) => "paths".into(),
            () if most(shape::is_agent) => "user agents".into(),
            () if most(|v| v.iter().all(u8::is_ascii_digit)) => "numbers as text".into(),
            () if self.shortest == self.longest => format!("text of {} characters", self.longest),
            () => format!("text of {} to {} characters", self.shortest, self.longest),
        }
    }
}

fn set(bits: &mut Vec<u64>, at: usize) {
    if bits.len() <= at / 64 {
        bits.resize(at / 64 + 1, 0);
    }
    bits[at / 64] |= 1 << (at % 64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(events: &[&str]) -> Columns {
        Columns::of(events.iter().map(|e| e.as_bytes()))
    }

    #[test]
    fn a_column_counts_what_stands_at_its_pointer() {
        let c = columns(&[
            r#"{"a":{"b":"x","c~/":1},"n":7}"#,
            r#"{"a":{"b":""},"n":"7"}"#,
            r#"{"a":[{"b":"y"}],"n":null}"#,
            r#"{"a":{"b":true,"d":{"e":{"f":1}}}}"#,
        ]);
        let at = |p: &str| c.at(p).unwrap_or_else(|| panic!("no column {p}"));
        let b = at("/a/b");
        assert_eq!((b.count, b.others, b.objects), (1, 1, 0));
        let a = at("/a");
        assert_eq!((a.count, a.others, a.objects), (0, 1, 3));
        let n = at("/n");
        assert_eq!((n.count, n.numbers, n.different()), (2, 1, 1));
        assert_eq!(at("/a/c~0~1").count, 1);
        assert_eq!(at("/a/d/e").objects, 1);
        assert_eq!(at("/a/d/e/f").count, 1);
        assert_eq!(c.events, 4);
        assert_eq!(c.events_with(&[b, n], Field::TYPE), 2);
        assert_eq!((n.unfit(Field::USER), b.unfit(Field::USER)), (0, 1));
    }

    #[test]
    fn objects_whose_names_are_data_are_bounded() {
        let events: Vec<String> = (0..3_000).map(|n| format!("{{\"k{n}\":1}}")).collect();
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let c = columns(&events);
        assert_eq!((c.all().len(), c.events), (COLUMNS_MAX, 3_000));
    }
}
