//! Where a lookup finds what it reads: in the event, or in what others wrote into `enriched`.

use std::fmt;

/// Most names of a path. Events are 64 levels deep at most; a path of more names than this is a slip.
pub const NAMES_MAX: usize = 16;

/// A place to read from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Path {
    pub base: Base,
    /// Members and indices of elements below the base.
    pub rest: Vec<String>,
}

/// Where a path begins.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Base {
    /// `event.user`: a field of the envelope, or one that a source's map adds.
    Field(String),
    /// `/properties/listing/id`: a JSON Pointer into the event.
    Pointer(String),
    /// `enriched.user`: a member that an enricher or a lookup writes.
    Member(String),
}

impl Path {
    /// Reads `event.user`, `/properties/listing/id` or `enriched.user.plan`.
    ///
    /// # Errors
    /// What is wrong with the text, for people.
    pub fn parse(text: &str) -> Result<Path, String> {
        if text.starts_with('/') {
            return wire::json::pointer::names(text)
                .map(|_| Path { base: Base::Pointer(text.to_owned()), rest: Vec::new() })
                .map_err(|e| e.message);
        }
        let mut names = text.split('.').map(str::to_owned);
        let (root, base) = (names.next().unwrap_or_default(), names.next());
        let path = match (root.as_str(), base) {
            ("event", Some(field)) => Path { base: Base::Field(field), rest: names.collect() },
            ("enriched", Some(member)) => Path { base: Base::Member(member), rest: names.collect() },
            ("event" | "enriched", None) => return Err(format!("name what of `{root}`, like {}", example(&root))),
            _ => {
                let words = "what is read begins with `event.`, `enriched.` or a slash, like event.user";
                return Err(match text {
                    "" => words.to_owned(),
                    _ if text.contains('/') => format!("{words}; did you mean /{text}?"),
                    _ => format!("{words}; did you mean event.{text}?"),
                });
            }
        };
        path.checked()
    }

    /// The path, if its names can be some.
    pub(crate) fn checked(self) -> Result<Path, String> {
        let base = match &self.base {
            Base::Field(name) | Base::Member(name) | Base::Pointer(name) => name,
        };
        if base.is_empty() || self.rest.iter().any(String::is_empty) {
            return Err(format!("a name is missing in `{self}`"));
        }
        if self.rest.len() >= NAMES_MAX {
            return Err(format!("a path has at most {NAMES_MAX} names"));
        }
        if matches!(self.base, Base::Member(_)) && self.rest.is_empty() {
            return Err(format!("name a member of `{self}`, like {self}.id"));
        }
        Ok(self)
    }
}

pub(crate) fn example(root: &str) -> &'static str {
    if root == "event" { "event.user" } else { "enriched.geo.country" }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.base {
            Base::Field(name) => write!(f, "event.{name}")?,
            Base::Pointer(pointer) => f.write_str(pointer)?,
            Base::Member(name) => write!(f, "enriched.{name}")?,
        }
        self.rest.iter().try_for_each(|name| write!(f, ".{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_shown_alike() {
        for text in [
            "event.user",
            "event.campaign.source",
            "/properties/listing/id",
            "/a~1b",
            "enriched.geo.country",
            "enriched.a.b.0.c",
        ] {
            assert_eq!(Path::parse(text).map(|p| p.to_string()).as_deref(), Ok(text));
        }
        for (text, says) in [
            ("", "begins with `event.`"),
            ("user", "did you mean event.user?"),
            ("properties/id", "did you mean /properties/id?"),
            ("Event.user", "begins with"),
            ("event", "name what of `event`, like event.user"),
            ("event.", "a name is missing"),
            ("event.user.", "a name is missing"),
            ("enriched.geo", "name a member of `enriched.geo`, like enriched.geo.id"),
            ("/a~2", "`~` is written `~0`"),
            ("event.a.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b", "at most 16 names"),
        ] {
            let error = Path::parse(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
