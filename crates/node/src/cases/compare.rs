//! A JSON subset beside what came out: objects have to have the members that are named, everything else has to be equal.

use serde_json::Value;

/// What is different at one place.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// Which of what came out, from 0; `None` where the case as a whole is meant.
    pub event: Option<usize>,
    /// JSON Pointer below what was compared; empty for all of it.
    pub pointer: String,
    /// As text for people: JSON, or a sentence.
    pub expected: String,
    pub got: String,
}

impl Difference {
    /// One about the case as a whole.
    pub(super) fn whole(expected: impl Into<String>, got: impl Into<String>) -> Difference {
        Difference { event: None, pointer: String::new(), expected: expected.into(), got: got.into() }
    }
}

/// Every place where `got` is not what `expected` says: (pointer, expected, got). `null` is absent or null.
pub(super) fn differences<'v>(
    expected: &'v Value,
    got: Option<&'v Value>,
) -> Vec<(String, &'v Value, Option<&'v Value>)> {
    let mut found = Vec::new();
    compare(expected, got, &mut String::new(), &mut found);
    found
}

fn compare<'v>(
    expected: &'v Value,
    got: Option<&'v Value>,
    pointer: &mut String,
    found: &mut Vec<(String, &'v Value, Option<&'v Value>)>,
) {
    let fits = match (expected, got) {
        (Value::Object(members), Some(Value::Object(there))) => {
            for (name, expected) in members {
                let len = pointer.len();
                pointer.push('/');
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                compare(expected, there.get(name), pointer, found);
                pointer.truncate(len);
            }
            true
        }
        (Value::Null, None) => true,
        (_, None) => false,
        (expected, Some(got)) => equal(expected, got),
    };
    if !fits {
        found.push((pointer.clone(), expected, got));
    }
}

/// Equal as JSON is: numbers by their value (1 and 1.0 are one), objects whatever their order.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || (a.as_f64().is_some() && a.as_f64() == b.as_f64() && !(a.is_i64() && b.is_i64()))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_subset_says_what_has_to_be_there() {
        for (expected, got, places) in [
            (json!({}), json!({"a": 1}), &[][..]),
            (json!({"a": 1}), json!({"a": 1, "b": 2}), &[]),
            (json!({"a": 1}), json!({"a": 1.0}), &[]),
            (json!({"a": 1}), json!({"a": 1.5}), &["/a"]),
            (json!({"a": 9007199254740993i64}), json!({"a": 9007199254740992i64}), &["/a"]),
            (json!({"a": 1}), json!({}), &["/a"]),
            (json!({"a": null}), json!({}), &[]),
            (json!({"a": null}), json!({"a": null}), &[]),
            (json!({"a": null}), json!({"a": false}), &["/a"]),
            (json!({"a": {}}), json!({"a": {"b": 1}}), &[]),
            (json!({"a": {}}), json!({}), &["/a"]),
            (json!({"a": {}}), json!({"a": []}), &["/a"]),
            (json!({"a": {"b": {"c~/": 1}}, "d": 2}), json!({"a": {"b": {"c~/": 2}}}), &["/a/b/c~0~1", "/d"]),
            (json!({"a": [1, 2]}), json!({"a": [1, 2]}), &[]),
            (json!({"a": [1]}), json!({"a": [1, 2]}), &["/a"]),
            (json!({"a": [1, 2]}), json!({"a": [2, 1]}), &["/a"]),
            (json!({"a": [{}]}), json!({"a": [{"b": 1}]}), &["/a"]),
            (json!({"a": [{"b": 1, "c": 2}]}), json!({"a": [{"c": 2, "b": 1}]}), &[]),
            (json!({"a": "1"}), json!({"a": 1}), &["/a"]),
            (json!("x"), json!({"a": 1}), &[""]),
        ] {
            let found: Vec<String> = differences(&expected, Some(&got)).into_iter().map(|(p, ..)| p).collect();
            assert_eq!(found, places, "{expected} {got}");
        }
        assert_eq!(differences(&json!({"a": 1}), None).len(), 1);
        assert_eq!(differences(&Value::Null, None).len(), 0);
    }
}
