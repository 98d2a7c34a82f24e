//! JSON Schema as far as our schema uses it. A keyword that is not here panics: it would not be checked.

use regex_lite::Regex;
use serde_json::Value;

pub struct Validator {
    root: Value,
}

impl Validator {
    pub fn new(root: Value) -> Validator {
        Validator { root }
    }

    /// What is wrong, each with the pointer to it; empty when `value` is valid.
    pub fn errors(&self, value: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        self.check(&self.root, value, "", &mut errors);
        errors
    }

    fn valid(&self, schema: &Value, value: &Value) -> bool {
        let mut errors = Vec::new();
        self.check(schema, value, "", &mut errors);
        errors.is_empty()
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, errors: &mut Vec<String>) {
        let schema = match schema {
            Value::Bool(true) => return,
            Value::Bool(false) => return errors.push(format!("{at}: nothing may stand here")),
            Value::Object(schema) => schema,
            other => panic!("no schema: {other}"),
        };
        for (keyword, wanted) in schema {
            let wrong = match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" | "default" | "examples" => false,
                // With `properties` and with `if`.
                "additionalProperties" | "then" => false,
                "$ref" => {
                    let path = wanted.as_str().and_then(|r| r.strip_prefix('#')).expect("a reference into this schema");
                    self.check(self.root.pointer(path).expect("what is referred to"), value, at, errors);
                    false
                }
                "type" => !is_of(value, wanted.as_str().expect("a type")),
                "const" => value != wanted,
                "enum" => !list(wanted).contains(value),
                "pattern" => value.as_str().is_some_and(|text| !regex(wanted).is_match(text)),
                "minLength" => value.as_str().is_some_and(|text| text.chars().count() < size(wanted)),
                "maxLength" => value.as_str().is_some_and(|text| text.chars().count() > size(wanted)),
                "minimum" => value.as_i64().is_some_and(|n| n < wanted.as_i64().expect("a number")),
                "maximum" => value.as_i64().is_some_and(|n| n > wanted.as_i64().expect("a number")),
                "minItems" => value.as_array().is_some_and(|items| items.len() < size(wanted)),
                "maxItems" => value.as_array().is_some_and(|items| items.len() > size(wanted)),
                "minProperties" => value.as_object().is_some_and(|members| members.len() < size(wanted)),
                "maxProperties" => value.as_object().is_some_and(|members| members.len() > size(wanted)),
                "items" => {
                    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(wanted, item, &format!("{at}/{n}"), errors);
                    }
                    false
                }
                "propertyNames" => {
                    let names = value.as_object().into_iter().flatten().map(|(name, _)| name);
                    for name in names.filter(|n| !self.valid(wanted, &Value::String((*n).clone()))) {
                        errors.push(format!("{at}: the name {name}"));
                    }
                    false
                }
                "required" => {
                    let members = value.as_object();
                    let missing =
                        |name: &&Value| !members.is_some_and(|m| m.contains_key(name.as_str().expect("a name")));
                    for name in list(wanted).iter().filter(missing).filter(|_| members.is_some()) {
                        errors.push(format!("{at}: {name} is missing"));
                    }
                    false
                }
                "properties" => {
                    for (name, member) in value.as_object().into_iter().flatten() {
                        if let Some(schema) = wanted.get(name) {
                            self.check(schema, member, &format!("{at}/{name}"), errors);
                        }
                    }
                    false
                }
                "allOf" => {
                    list(wanted).iter().for_each(|schema| self.check(schema, value, at, errors));
                    false
                }
                "anyOf" => !list(wanted).iter().any(|schema| self.valid(schema, value)),
                "not" => self.valid(wanted, value),
                "if" => {
                    if self.valid(wanted, value) {
                        self.check(&schema["then"], value, at, errors);
                    }
                    false
                }
                other => panic!("the validator does not know `{other}`"),
            };
            if wrong {
                errors.push(format!("{at}: {keyword} {wanted}"));
            }
        }
        if let Some(others) = schema.get("additionalProperties") {
            for (name, member) in value.as_object().into_iter().flatten() {
                if schema.get("properties").is_none_or(|p| p.get(name).is_none()) {
                    self.check(others, member, &format!("{at}/{name}"), errors);
                }
            }
        }
    }
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        other => panic!("the validator does not know the type {other}"),
    }
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

fn size(value: &Value) -> usize {
    value.as_u64().expect("a size") as usize
}

fn regex(pattern: &Value) -> Regex {
    Regex::new(pattern.as_str().expect("a text")).expect("a pattern")
}

/// TOML as JSON; dates and fractions, which no key takes, as null.
pub fn json_of(toml: &str) -> Value {
    fn convert(value: &toml::de::DeValue<'_>) -> Value {
        use toml::de::DeValue::{Array, Boolean, Datetime, Float, Integer, String, Table};
        match value {
            String(text) => Value::String(text.to_string()),
            Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).map_or(Value::Null, Value::from),
            Boolean(b) => Value::Bool(*b),
            Array(items) => items.iter().map(|item| convert(item.get_ref())).collect(),
            Table(table) => table.iter().map(|(name, v)| (name.get_ref().to_string(), convert(v.get_ref()))).collect(),
            Float(_) | Datetime(_) => Value::Null,
        }
    }
    let table = toml::de::DeTable::parse(toml).expect("TOML");
    convert(&toml::de::DeValue::Table(table.into_inner()))
}
