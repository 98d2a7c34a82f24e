//! What an answer means: values for keys, or why there are none.

use std::collections::HashMap;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header;
use hyper::http::response::Parts;
use wire::json::walk::{Elements, Members, find};
use wire::json::{Kind as JsonKind, kind, text};

use super::super::{ConfigError, Failure, Found, Key, Kind, VALUE_MAX};

/// Longest time that a service is left alone because it said so.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// How the values stand in the answer to many keys. A key that is not in it was not found, and so was one with `null`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BatchAnswer {
    /// An object: key to value.
    ByKey,
    /// An array with a value for each key, in their order.
    InOrder,
    /// An array of objects, each with its key in these members, one for each parameter.
    Rows { key_members: Vec<String> },
}

impl BatchAnswer {
    pub(super) fn check(&self, parameters: usize) -> Result<(), ConfigError> {
        match self {
            BatchAnswer::ByKey if parameters != 1 => {
                Err(ConfigError::new("answer", "an object has names of one text: keys of several parameters need rows"))
            }
            BatchAnswer::Rows { key_members } if key_members.len() != parameters => {
                Err(ConfigError::new("answer", format!("a key has {parameters} parameters: name as many members")))
            }
            _ => Ok(()),
        }
    }

    /// The values for the keys from a body that was not looked at yet; `at` leads to them.
    pub(super) fn read(&self, body: &[u8], at: &[String], keys: &[Key]) -> Result<Vec<Found>, Failure> {
        let malformed = |what: &str| Failure::new(Kind::Malformed, what);
        let json = super::super::json::checked(body).ok_or_else(|| malformed("the answer is not JSON"))?;
        let json = find(json, at).ok_or_else(|| malformed("the answer has not the member that `at` leads to"))?;
        let shape = if *self == BatchAnswer::ByKey { JsonKind::Object } else { JsonKind::Array };
        if kind(json) != shape {
            return Err(malformed("the answer has not the shape that the configuration says"));
        }
        let by_key = match self {
            BatchAnswer::InOrder => {
                let values: Vec<&[u8]> = Elements::of(json).collect();
                if values.len() != keys.len() {
                    return Err(malformed("the answer has not one value for each key"));
                }
                return Ok(values.into_iter().map(value).collect());
            }
            BatchAnswer::ByKey => by_name(json),
            BatchAnswer::Rows { key_members } => by_members(json, key_members),
        };
        Ok(keys.iter().map(|key| by_key.get(key).cloned().unwrap_or(Found::NotFound)).collect())
    }
}

/// A value that lies in an answer that was checked.
fn value(json: &[u8]) -> Found {
    match json {
        b"null" => Found::NotFound,
        _ if json.len() > VALUE_MAX => Found::Bad("too_large"),
        _ => Found::Value(json.to_vec()),
    }
}

/// Of members with equal names the last one counts, as everywhere.
fn by_name(object: &[u8]) -> HashMap<Key, Found> {
    Members::of(object)
        .filter_map(|member| {
            let name = [b"\"", member.raw_name, b"\""].concat();
            Some((Key::of(utf8(text(&name)?.into_owned())?), value(member.value)))
        })
        .collect()
}

fn by_members(array: &[u8], key_members: &[String]) -> HashMap<Key, Found> {
    let mut rows = HashMap::new();
    for row in Elements::of(array) {
        let parameter = |name| find(row, &[name]).and_then(text).and_then(|t| utf8(t.into_owned()));
        let Some(parameters) = key_members.iter().map(parameter).collect::<Option<Vec<String>>>() else { continue };
        rows.entry(Key::new(parameters)).and_modify(|found| *found = Found::Bad("many_rows")).or_insert(value(row));
    }
    rows
}

fn utf8(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok()
}

/// A status that is no success.
pub(super) fn refused(head: &Parts) -> Failure {
    let status = head.status;
    let what = match status {
        _ if status.is_redirection() => "which redirects; the configuration has to name the place itself",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "which means that it does not know who asks",
        _ => "",
    };
    let message = format!("the service answered {}{}{what}", status.as_u16(), if what.is_empty() { "" } else { ", " });
    Failure { retry_after: retry_after(head), ..Failure::new(Kind::Status(status.as_u16()), message) }
}

/// Seconds, or a date. A date is compared with that of the answer: whose clock is right does not matter then.
fn retry_after(head: &Parts) -> Option<Duration> {
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let retry_after = text(header::RETRY_AFTER)?.trim();
    let wait = match retry_after.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = |text| httpdate::parse_http_date(text).ok();
            date(retry_after)?.duration_since(date(text(header::DATE)?)?).unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// An exchange that did not come to its end. hyper's texts have nothing of a body in them.
pub(super) fn broken(e: &hyper::Error) -> Failure {
    if e.is_parse() {
        Failure::new(Kind::Malformed, format!("the answer is not HTTP, or its head is too long: {e}"))
    } else {
        Failure::lost(&e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[&str]) -> Vec<Key> {
        keys.iter().map(|k| Key::of(*k)).collect()
    }

    fn found(json: &str) -> Found {
        Found::Value(json.as_bytes().to_vec())
    }

    #[test]
    fn values_find_their_keys() {
        let rows = BatchAnswer::Rows { key_members: vec!["id".into()] };
        let at = ["data".to_owned()];
        for (answer, body, at, expected) in [
            (
                BatchAnswer::ByKey,
                r#"{"a":1,"b":null,"\u0063":{"x":2}}"#,
                &at[..0],
                [found("1"), Found::NotFound, found("{\"x\":2}")],
            ),
            (BatchAnswer::InOrder, r#"{"data":[1,null,"c"]}"#, &at[..], [found("1"), Found::NotFound, found("\"c\"")]),
            (
                rows,
                r#"[{"id":"c","n":1},{"id":"a"},{"n":1},7,{"id":"a"}]"#,
                &at[..0],
                [Found::Bad("many_rows"), Found::NotFound, found(r#"{"id":"c","n":1}"#)],
            ),
        ] {
            assert_eq!(answer.read(body.as_bytes(), at, &keys(&["a", "b", "c"])), Ok(expected.to_vec()), "{body}");
        }
    }

    #[test]
    fn another_shape_is_no_answer() {
        for (answer, body) in [
            (BatchAnswer::ByKey, "[1]"),
            (BatchAnswer::ByKey, ""),
            (BatchAnswer::InOrder, "[1,2]"),
            (BatchAnswer::InOrder, "{\"a\":1}"),
            (BatchAnswer::InOrder, "[1"),
        ] {
            let failure = answer.read(body.as_bytes(), &[], &keys(&["a"])).expect_err(body);
            assert_eq!(failure.kind, Kind::Malformed);
        }
    }
}
