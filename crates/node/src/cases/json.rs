//! TOML values as JSON.

use serde_json::{Map, Number, Value};

use crate::config::problem::{Found, ProblemKind};
use crate::config::text::Texts;
use crate::config::tree::{self, Node};

/// The JSON of a TOML value. Times become texts; what JSON has no number for is a problem.
pub(super) fn of_toml(node: &Node, texts: &Texts) -> Result<Value, Found> {
    let written = || texts.get(node.spot.text).content.get(node.spot.start..node.spot.end).unwrap_or_default();
    Ok(match &node.value {
        tree::Value::Text(text) => Value::String(text.clone()),
        tree::Value::Switch(b) => Value::Bool(*b),
        tree::Value::Integer(i) => match i64::try_from(*i) {
            Ok(i) => Value::Number(i.into()),
            Err(_) => return Err(no_number(node)),
        },
        tree::Value::Fraction => {
            let digits: String = written().chars().filter(|c| *c != '_').collect();
            let number = digits.trim_start_matches('+').parse().ok().and_then(Number::from_f64);
            Value::Number(number.ok_or_else(|| no_number(node))?)
        }
        tree::Value::Time => Value::String(written().to_owned()),
        tree::Value::List(nodes) => {
            Value::Array(nodes.iter().map(|n| of_toml(n, texts)).collect::<Result<Vec<_>, _>>()?)
        }
        tree::Value::Table(table) => {
            let mut members: Vec<_> = table.members.iter().collect();
            // As they stand in the file, so that what is shown looks like what was written.
            members.sort_by_key(|(_, m)| (m.key.text, m.key.start));
            let members = members.into_iter().map(|(name, m)| Ok((name.clone(), of_toml(&m.node, texts)?)));
            Value::Object(members.collect::<Result<Map<_, _>, Found>>()?)
        }
    })
}

fn no_number(node: &Node) -> Found {
    Found::new(ProblemKind::BadValue, Some(node.spot), "JSON has no such number")
}

/// JSON that was written as a text. The problem names the line and column inside it where it is a text of several lines.
pub(super) fn of_text(text: &str, node: &Node, what: &str) -> Result<Value, Found> {
    serde_json::from_str(text).map_err(|e| {
        let place = match text.trim().contains('\n') {
            true => format!(" in line {} of it", e.line()),
            false => format!(" at its character {}", e.column()),
        };
        let words = e.to_string();
        let why = words.split(" at line ").next().unwrap_or_default();
        Found::new(ProblemKind::BadValue, Some(node.spot), format!("{what} is not valid JSON{place}: {why}"))
    })
}
