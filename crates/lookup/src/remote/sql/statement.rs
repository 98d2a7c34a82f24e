//! A statement with a list that is filled: `WHERE id IN (?)`, with as many question marks as there are keys.

use std::collections::HashSet;

use super::super::Key;

/// A statement cut where its list is.
pub(super) struct List {
    before: String,
    after: String,
    /// Parameters of a key.
    parameters: usize,
    /// What stands before a list of tuples: SQLite takes one only as `VALUES`.
    tuples: &'static str,
}

impl List {
    /// `tuples` is what stands before a list of tuples.
    pub(super) fn parse(text: &str, parameters: usize, tuples: &'static str) -> Result<List, String> {
        let marks = marks(text)?;
        let wrong = || "write the keys as one list: ... WHERE id IN (?)".to_owned();
        let [at] = marks[..] else { return Err(wrong()) };
        let before = text[..at].trim_end().strip_suffix('(').ok_or_else(wrong)?;
        let after = text[at + 1..].trim_start().strip_prefix(')').ok_or_else(wrong)?;
        Ok(List { before: format!("{before}("), after: format!("){after}"), parameters, tuples })
    }

    /// The text for this many keys.
    pub(super) fn of(&self, keys: usize) -> String {
        let one = match self.parameters {
            1 => "?".to_owned(),
            n => format!("({})", vec!["?"; n].join(",")),
        };
        let lead = if self.parameters > 1 { self.tuples } else { "" };
        format!("{}{lead}{}{}", self.before, vec![one; keys].join(","), self.after)
    }
}

/// The length of the list for this many keys: a power of two, so that few statements are prepared. It is filled up with the
/// last key.
pub(super) fn list_len(keys: usize) -> usize {
    keys.next_power_of_two()
}

/// Every key once: rows of one that stands in two lists would be taken for many.
pub(super) fn distinct(keys: &[Key]) -> Vec<&Key> {
    let mut seen = HashSet::with_capacity(keys.len());
    keys.iter().filter(|key| seen.insert(*key)).collect()
}

/// Where question marks stand that are no text, name or comment.
fn marks(text: &str) -> Result<Vec<usize>, String> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text.as_bytes()[at..];
        let end = match rest {
            [quote @ (b'\'' | b'"' | b'`'), inner @ ..] => {
                let end = inner.iter().position(|b| b == quote).ok_or("a quote is not closed")?;
                if inner[..end].contains(&b'\\') {
                    return Err(
                        "there is a backslash in a text, which databases read in two ways: write it otherwise".into()
                    );
                }
                end + 2
            }
            [b'-', b'-', ..] | [b'#', ..] => rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
            [b'/', b'*', ..] => rest.windows(2).skip(2).position(|w| w == b"*/").ok_or("a comment is not closed")? + 4,
            [b'?', ..] => {
                found.push(at);
                1
            }
            _ => 1,
        };
        at += end;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_filled() {
        let one = List::parse("SELECT '?', \"a?\" /* ? */ FROM t WHERE id IN ( ? ) -- ?", 1, "").expect("a list");
        assert_eq!(one.of(3), "SELECT '?', \"a?\" /* ? */ FROM t WHERE id IN (?,?,?) -- ?");
        let two = List::parse("SELECT 1 WHERE (a, b) IN (?) AND c = 'it''s'", 2, "VALUES ").expect("a list");
        assert_eq!(two.of(2), "SELECT 1 WHERE (a, b) IN (VALUES (?,?),(?,?)) AND c = 'it''s'");
        assert_eq!([1, 2, 3, 5, 512].map(list_len), [1, 2, 4, 8, 512]);
    }

    #[test]
    fn statements_without_one_list() {
        for bad in [
            "SELECT 1",
            "WHERE id = ?",
            "WHERE id IN (?) OR id IN (?)",
            "WHERE id IN (?, 1)",
            "WHERE id IN ('?')",
            "WHERE id IN (?) AND a = 'x",
            "WHERE id IN (?) /* x",
            "WHERE a = '\\' AND id IN (?) AND b = '",
        ] {
            assert!(List::parse(bad, 1, "").is_err(), "{bad}");
        }
    }
}
