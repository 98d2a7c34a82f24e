//! Texts with places for the parameters of a key: `user:{key}`, `/v1/{tenant}/users/{key}`. A brace is written twice.

use super::Key;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Text(String),
    /// The number of a parameter.
    Parameter(usize),
}

impl Template {
    pub(super) fn parse(text: &str, parameters: &[String]) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let (name, after) = after
                .split_once('}')
                .filter(|_| brace == "{")
                .ok_or("a brace stands alone: write {{ or }} for the character itself")?;
            let parameter = parameters.iter().position(|p| p == name);
            let parameter = parameter
                .ok_or_else(|| format!("there is no parameter {name:?}; there is {}", parameters.join(", ")))?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Parameter(parameter));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template(pieces))
    }

    /// The places of parameters in it.
    pub(super) fn parameters(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Parameter(parameter) => Some(*parameter),
        })
    }

    /// The text for a key; `write` appends a parameter as the place asks for.
    pub(super) fn fill(&self, key: &Key, write: impl Fn(&str, &mut String)) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Parameter(parameter) => write(&key.parameters()[*parameter], &mut out),
            }
        }
        out
    }
}

/// Appends a parameter as it is.
pub(super) fn plain(text: &str, out: &mut String) {
    out.push_str(text);
}

/// Appends a parameter with everything percent-encoded that is not unreserved (RFC 3986, 2.3).
pub(super) fn percent(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.extend(['%', char::from(HEX[usize::from(byte >> 4)]), char::from(HEX[usize::from(byte & 15)])]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn places_are_filled_and_what_fills_them_is_not_read() {
        for (text, key, filled) in [
            ("user:{key}", Key::of("7"), "user:7"),
            ("{{user:{key}}}", Key::of("7"), "{user:7}"),
            ("{key}{key}", Key::of("{key}"), "{key}{key}"),
            ("plain", Key::of("7"), "plain"),
        ] {
            // The second text shows that a doubled brace is read from the left.
            let template = Template::parse(text, &names(&["key"]));
            match template {
                Ok(template) => assert_eq!(template.fill(&key, plain), filled, "{text}"),
                Err(e) => panic!("{text}: {e}"),
            }
        }
        let two = Template::parse("{b}/{a}", &names(&["a", "b"])).expect("two parameters");
        assert_eq!(two.fill(&Key::new(["1", "2"]), plain), "2/1");
        for bad in ["{", "}", "{key", "key}", "{other}", "{}"] {
            assert!(Template::parse(bad, &names(&["key"])).is_err(), "{bad}");
        }
    }

    #[test]
    fn percent_leaves_only_what_means_nothing() {
        let mut out = String::new();
        percent("a b/../?x=%41&é\0\n{}#", &mut out);
        assert_eq!(out, "a%20b%2F..%2F%3Fx%3D%2541%26%C3%A9%00%0A%7B%7D%23");
    }
}
