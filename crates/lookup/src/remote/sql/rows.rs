//! Rows as JSON, and the keys they belong to.

use std::collections::HashMap;

use event::Micros;
use event::json::write_string;
use wire::json::text;

use super::super::{Failure, Found, Key, Kind, json};
use crate::table::OnMany;

/// Rows of a query, for each key it asked for. More come from a statement that does not do what was meant.
const ROWS_PER_KEY_MAX: usize = 64;

/// The columns of a statement's rows.
pub(super) struct Columns {
    /// What stands before each value in the object.
    lead_ins: Vec<Vec<u8>>,
    /// The columns that are the key.
    keys: Vec<usize>,
}

impl Columns {
    pub(super) fn new(names: &[&str], key_columns: &[String]) -> Result<Columns, Failure> {
        let wrong = |what: String| Failure::new(Kind::Query, what);
        if let Some(twice) = names.iter().enumerate().find_map(|(n, name)| names[..n].contains(name).then_some(name)) {
            return Err(wrong(format!("two columns are called {twice}: rename one with AS")));
        }
        let position = |name: &String| {
            names.iter().position(|n| n == name).ok_or_else(|| {
                wrong(format!("the statement returns no column {name}, but {}: look at key_columns", names.join(", ")))
            })
        };
        let lead_in = |(n, name): (usize, &&str)| {
            let mut lead_in = vec![if n == 0 { b'{' } else { b',' }];
            write_string(name.as_bytes(), &mut lead_in);
            lead_in.push(b':');
            lead_in
        };
        let keys = key_columns.iter().map(position).collect::<Result<_, _>>()?;
        Ok(Columns { lead_ins: names.iter().enumerate().map(lead_in).collect(), keys })
    }

    /// One row; `write` appends the value of a column as JSON, or says by a code what is wrong with it. Without a key if one
    /// of its columns is null.
    pub(super) fn row(
        &self,
        mut write: impl FnMut(usize, &mut Vec<u8>) -> Result<(), &'static str>,
    ) -> (Option<Key>, Found) {
        let mut json = Vec::new();
        let mut bad = None;
        let mut key = vec![None; self.keys.len()];
        for (n, lead_in) in self.lead_ins.iter().enumerate() {
            json.extend_from_slice(lead_in);
            let at = json.len();
            if let Err(code) = write(n, &mut json) {
                bad = Some(code);
                continue;
            }
            let parameters = self.keys.iter().zip(&mut key).filter(|(column, _)| **column == n);
            for (_, parameter) in parameters {
                *parameter = text(&json[at..]).and_then(|t| String::from_utf8(t.into_owned()).ok());
            }
        }
        json.push(b'}');
        let found = bad.map_or_else(|| json::written(json), Found::Bad);
        (key.into_iter().collect::<Option<Vec<String>>>().map(Key::new), found)
    }
}

/// The rows of a call.
pub(super) struct Rows {
    found: HashMap<Key, Found>,
    on_many: OnMany,
    left: usize,
}

impl Rows {
    pub(super) fn new(on_many: OnMany, keys: usize) -> Rows {
        Rows { found: HashMap::new(), on_many, left: keys.saturating_mul(ROWS_PER_KEY_MAX) }
    }

    pub(super) fn add(&mut self, (key, row): (Option<Key>, Found)) -> Result<(), Failure> {
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            Failure::new(Kind::TooLarge, format!("there are more than {ROWS_PER_KEY_MAX} rows for each key"))
        })?;
        let Some(key) = key else { return Ok(()) };
        let on_many = self.on_many;
        let again = |found: &mut Found| {
            if on_many == OnMany::Refuse {
                *found = Found::Bad("many_rows");
            }
        };
        self.found.entry(key).and_modify(again).or_insert(row);
        Ok(())
    }

    /// What was found for a key, in the form in which rows have it.
    pub(super) fn of(&self, key: &Key) -> Found {
        self.found.get(key).cloned().unwrap_or(Found::NotFound)
    }
}

/// Appends a text.
pub(super) fn string(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    std::str::from_utf8(bytes).map_err(|_| "not_utf8")?;
    write_string(bytes, out);
    Ok(())
}

/// Appends what is JSON in the database.
pub(super) fn json_text(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    out.extend_from_slice(json::checked(bytes).ok_or("not_json")?);
    Ok(())
}

pub(super) fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    bytes.iter().for_each(|byte| out.extend_from_slice(format!("{byte:02x}").as_bytes()));
    out.push(b'"');
}

/// Appends a decimal's digits as a number; what is none (`NaN`, `Infinity`) is null, as of floats.
pub(super) fn decimal(digits: &str, out: &mut Vec<u8>) {
    let number = json::checked(digits.as_bytes()).is_some_and(|d| d[0] == b'-' || d[0].is_ascii_digit());
    out.extend_from_slice(if number { digits.as_bytes() } else { b"null" });
}

/// Appends a moment as RFC 3339; null outside the years 0 to 9999, which RFC 3339 has no form for.
pub(super) fn moment(micros: i64, out: &mut Vec<u8>) {
    civil(micros, out, 27);
}

/// Appends the day of a moment.
pub(super) fn day(micros: i64, out: &mut Vec<u8>) {
    civil(micros, out, "2026-11-27".len());
}

fn civil(micros: i64, out: &mut Vec<u8>, len: usize) {
    /// 0000-01-01 and 10000-01-01.
    const YEARS: std::ops::Range<i64> = -62_167_219_200_000_000..253_402_300_800_000_000;
    if !YEARS.contains(&micros) {
        out.extend_from_slice(b"null");
        return;
    }
    let mut text = Vec::new();
    Micros(micros).write_rfc3339(&mut text);
    out.push(b'"');
    out.extend_from_slice(&text[..len]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn rows_find_their_keys() {
        let columns = Columns::new(&["n", "id"], &names(&["id"])).expect("columns");
        let row = |id: &'static [u8]| {
            columns.row(move |n, out| {
                out.extend_from_slice([b"1", id][n]);
                Ok(())
            })
        };
        let mut rows = Rows::new(OnMany::Refuse, 1);
        for id in [&b"7"[..], b"\"a\\\"\"", b"null", b"\"b\"", b"\"b\""] {
            rows.add(row(id)).expect("few rows");
        }
        assert_eq!(rows.of(&Key::of("7")), Found::Value(b"{\"n\":1,\"id\":7}".to_vec()));
        assert!(matches!(rows.of(&Key::of("a\"")), Found::Value(_)));
        assert_eq!(rows.of(&Key::of("b")), Found::Bad("many_rows"));
        assert_eq!(rows.of(&Key::of("null")), Found::NotFound);
        let mut first = Rows::new(OnMany::First, 1);
        let added = (0..=ROWS_PER_KEY_MAX).map(|_| first.add(row(b"\"b\""))).take_while(Result::is_ok).count();
        assert_eq!(added, ROWS_PER_KEY_MAX);
        assert!(matches!(first.of(&Key::of("b")), Found::Value(_)));
        for (columns, keys) in [(["id", "id"], ["id"]), (["a", "b"], ["id"])] {
            assert!(Columns::new(&columns, &names(&keys)).is_err());
        }
    }

    #[test]
    fn moments_decimals_and_bytes() {
        let text = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).expect("text")
        };
        assert_eq!(text(&|out| moment(1_500_000, out)), "\"1970-01-01T00:00:01.500000Z\"");
        assert_eq!(text(&|out| day(-1, out)), "\"1969-12-31\"");
        assert_eq!(text(&|out| moment(i64::MAX, out)), "null");
        for (digits, json) in [("1.50", "1.50"), ("-0", "-0"), ("NaN", "null"), ("-Infinity", "null"), ("[1]", "null")]
        {
            assert_eq!(text(&|out| decimal(digits, out)), json);
        }
        assert_eq!(text(&|out| hex(&[0, 255], out)), "\"00ff\"");
    }
}
