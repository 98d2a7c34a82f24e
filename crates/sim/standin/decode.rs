//! Bodies into events, events into records or failures.

use std::borrow::Cow;

use event::{Code, Micros};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// The events of a body: lines, or the members of `{"batch":[...]}`.
pub fn split(body: &[u8]) -> Vec<&[u8]> {
    #[derive(Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        batch: Vec<&'a RawValue>,
    }
    if body.starts_with(b"{\"batch\":[") {
        let batch: Batch<'_> = serde_json::from_slice(body).expect("the ledger's batches are JSON");
        return batch.batch.into_iter().map(|e| e.get().as_bytes()).collect();
    }
    body.split(|b| *b == b'\n').filter(|l| !l.is_empty()).collect()
}

/// What is needed of an accepted event.
pub struct Decoded {
    pub id: String,
    pub key: String,
    pub future: bool,
}

pub fn decode(event: &[u8], now: Micros) -> Result<Decoded, Code> {
    let value: &RawValue = serde_json::from_slice(event).map_err(|_| Code::NotJson)?;
    if !value.get().starts_with('{') {
        return Err(Code::NotObject);
    }
    let Members(members) = serde_json::from_str(value.get()).map_err(|_| Code::NotJson)?;
    let mut names: Vec<&str> = members.iter().map(|(n, _)| n.as_ref()).collect();
    names.sort_unstable();
    if names.windows(2).any(|w| w[0] == w[1]) {
        return Err(Code::DuplicateMember);
    }
    if names.contains(&"enriched") {
        return Err(Code::ReservedMember);
    }
    if !names.contains(&"type") && !names.contains(&"event") {
        return Err(Code::MissingField);
    }
    let text = |name: &str| {
        let value = members.iter().find(|(n, _)| n == name).map(|(_, v)| v.get());
        value.map(|v| v.trim_matches('"').to_owned()).unwrap_or_default()
    };
    let time = |name: &str| Micros::parse_rfc3339(text(name).as_bytes()).filter(|t| *t < Micros::LATEST);
    let (at, sent_at) = (time("timestamp").ok_or(Code::BadTime)?, time("sentAt").ok_or(Code::BadTime)?);
    let corrected = if sent_at >= at { now.0 - (sent_at.0 - at.0) } else { at.0 };
    let mut key = text("anonymousId");
    if key.is_empty() {
        key = format!("user:{}", text("userId"));
    }
    Ok(Decoded { id: text("messageId"), key, future: corrected > now.0 + 300 * Micros::SECOND })
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    members.push((Cow::Owned(name), map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        d.deserialize_map(All)
    }
}
