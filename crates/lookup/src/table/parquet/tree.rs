//! A file's columns as the tree that its schema says they are, and a row of them as JSON.
//!
//! A list is stored as a group in which another one repeats, and older writers did it otherwise:
//! <https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#nested-types>

use std::collections::BTreeSet;
use std::ops::Range;

use event::json::write_string;
use parquet::basic::{ConvertedType, LogicalType, Repetition};
use parquet::schema::types::{SchemaDescriptor, Type};
use wire::json::text;

use super::super::ROW_MAX;
use super::super::load::lead_ins;
use super::column::{Column, DAMAGED};

/// Levels of a value: an event has 64, and a row lies a few deep in it.
const DEPTH_MAX: usize = 32;

/// A column of a file, or what is made of several.
pub(super) enum Node {
    /// A value, by the number of its column.
    Value(usize),
    Struct {
        columns: Range<usize>,
        /// Definition level from which it is there.
        present: i16,
        /// What stands before each of them, and they.
        members: Vec<(Vec<u8>, Node)>,
    },
    List(Repeated, Box<Node>),
    /// Its keys are the members of an object.
    Map(Repeated, usize, Box<Node>),
}

/// What there may be any number of.
pub(super) struct Repeated {
    columns: Range<usize>,
    /// Definition level from which it is there, perhaps empty.
    present: i16,
    /// Definition level from which there is something in it.
    filled: i16,
    /// Repetition level of everything in it but the first.
    again: i16,
}

/// Builds nodes, and gathers their columns.
pub(super) struct Planting<'f> {
    pub(super) schema: &'f SchemaDescriptor,
    pub(super) columns: Vec<Column>,
}

impl Planting<'_> {
    /// The node of a column of the first level, of which the values are columns of the file from `place` on.
    pub(super) fn plant(&mut self, column: &Type, mut place: usize) -> Result<Node, String> {
        self.node(column, &mut place, Levels::default(), DEPTH_MAX)
    }

    fn node(&mut self, of: &Type, place: &mut usize, above: Levels, depth: usize) -> Result<Node, String> {
        let levels = above.below(of);
        if of.get_basic_info().repetition() == Repetition::REPEATED {
            // Without an annotation: a list that cannot be null, of things that cannot be.
            let from = self.columns.len();
            let element = self.within(of, place, levels, depth)?;
            return Ok(Node::List(self.repeated(from, above.def, levels), Box::new(element)));
        }
        self.within(of, place, levels, depth)
    }

    /// The same, where it has been seen how often it is there.
    fn within(&mut self, of: &Type, place: &mut usize, levels: Levels, depth: usize) -> Result<Node, String> {
        let depth = depth.checked_sub(1).ok_or_else(|| format!("it is nested deeper than {DEPTH_MAX} levels"))?;
        let from = self.columns.len();
        if of.is_primitive() {
            if *place >= self.schema.num_columns() {
                return Err(DAMAGED.into());
            }
            self.columns.push(Column::new(*place, &self.schema.column(*place)));
            *place += 1;
            return Ok(Node::Value(from));
        }
        let fields = of.get_fields();
        if let (Some(kind), [inner]) = (annotated(of), fields)
            && inner.get_basic_info().repetition() == Repetition::REPEATED
        {
            let below = levels.below(inner);
            return match (kind, inner.is_group().then(|| inner.get_fields())) {
                (Annotated::Map, Some([key, value])) if key.is_primitive() => {
                    self.node(key, place, below, depth)?;
                    let value = self.node(value, place, below, depth)?;
                    Ok(Node::Map(self.repeated(from, levels.def, below), from, Box::new(value)))
                }
                (_, Some([element])) if !is_element(of, inner) => {
                    let element = self.node(element, place, below, depth)?;
                    Ok(Node::List(self.repeated(from, levels.def, below), Box::new(element)))
                }
                _ => {
                    let element = self.within(inner, place, below, depth)?;
                    Ok(Node::List(self.repeated(from, levels.def, below), Box::new(element)))
                }
            };
        }
        if fields.is_empty() {
            return Err("there is a group without columns in it".into());
        }
        let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
        no_name_twice(&names)?;
        let nodes: Vec<Node> =
            fields.iter().map(|field| self.node(field, place, levels, depth)).collect::<Result<_, _>>()?;
        let members = lead_ins(names.into_iter()).into_iter().zip(nodes).collect();
        Ok(Node::Struct { columns: from..self.columns.len(), present: levels.def, members })
    }

    fn repeated(&self, from: usize, present: i16, below: Levels) -> Repeated {
        Repeated { columns: from..self.columns.len(), present, filled: below.def, again: below.rep }
    }
}

/// The levels of what is there, at some place of the schema.
#[derive(Clone, Copy, Default)]
struct Levels {
    def: i16,
    rep: i16,
}

impl Levels {
    fn below(self, of: &Type) -> Levels {
        match of.get_basic_info().repetition() {
            Repetition::REQUIRED => self,
            Repetition::OPTIONAL => Levels { def: self.def + 1, rep: self.rep },
            Repetition::REPEATED => Levels { def: self.def + 1, rep: self.rep + 1 },
        }
    }
}

enum Annotated {
    List,
    Map,
}

fn annotated(of: &Type) -> Option<Annotated> {
    let info = of.get_basic_info();
    match (info.logical_type_ref(), info.converted_type()) {
        (Some(LogicalType::List), _) | (_, ConvertedType::LIST) => Some(Annotated::List),
        (Some(LogicalType::Map), _) | (_, ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE) => Some(Annotated::Map),
        _ => None,
    }
}

/// Whether the group of one member that repeats in a list is an element, and not what holds one: the rules of the format for
/// older files.
fn is_element(list: &Type, repeated: &Type) -> bool {
    annotated(repeated).is_some()
        || repeated.get_fields()[0].get_basic_info().repetition() == Repetition::REPEATED
        || repeated.name() == "array"
        || repeated.name() == format!("{}_tuple", list.name())
}

/// An object with two members of one name has no one meaning.
pub(super) fn no_name_twice(names: &[&str]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(**name)) {
        Some(name) => Err(format!("two columns are called `{name}`")),
        None => Ok(()),
    }
}

impl Node {
    /// Appends what the next row has here, or says what is wrong with it.
    pub(super) fn write(&self, columns: &mut [Column], out: &mut Vec<u8>) -> Result<(), &'static str> {
        match self {
            Node::Value(column) => columns[*column].write(out),
            Node::Struct { columns: own, present, members } => {
                if columns[own.start].def()? < *present {
                    return null(&mut columns[own.clone()], b"null", out);
                }
                for (lead_in, member) in members {
                    out.extend_from_slice(lead_in);
                    member.write(columns, out)?;
                }
                out.push(b'}');
                Ok(())
            }
            Node::List(repeated, element) => {
                repeated.write(b"[]", columns, out, |columns, out| element.write(columns, out))
            }
            Node::Map(repeated, key, value) => {
                let mut seen = BTreeSet::new();
                let mut json = Vec::new();
                repeated.write(b"{}", columns, out, |columns, out| {
                    json.clear();
                    columns[*key].write(&mut json)?;
                    let key = text(&json).ok_or("a map has a null for a key")?.into_owned();
                    write_string(&key, out);
                    if !seen.insert(key) {
                        return Err("a map has a key twice");
                    }
                    out.push(b':');
                    value.write(columns, out)
                })
            }
        }
    }
}

impl Repeated {
    /// Appends all there is, each thing by `one`, within `brackets`; nothing of it, or null.
    fn write(
        &self,
        brackets: &'static [u8; 2],
        columns: &mut [Column],
        out: &mut Vec<u8>,
        mut one: impl FnMut(&mut [Column], &mut Vec<u8>) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        let def = columns[self.columns.start].def()?;
        if def < self.filled {
            let what: &[u8] = if def < self.present { b"null" } else { brackets };
            return null(&mut columns[self.columns.clone()], what, out);
        }
        let mut before = brackets[0];
        loop {
            out.push(before);
            one(columns, out)?;
            before = b',';
            if columns[self.columns.start].rep() < self.again {
                break;
            }
            // A list may go on for as long as the file does.
            if out.len() > ROW_MAX {
                return Err("a list in it is longer than a row may be: leave it out with `columns`");
            }
        }
        out.push(brackets[1]);
        Ok(())
    }
}

/// Appends what stands for something that is not there, and passes over it in all columns.
fn null(columns: &mut [Column], what: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    out.extend_from_slice(what);
    columns.iter_mut().try_for_each(Column::skip)
}
