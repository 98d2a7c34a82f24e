//! What a process does of all that is to be done, where several share a log.

use std::fmt;

/// The parts of the flow that a process takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Roles {
    /// Takes events in: the port, and inputs.
    pub collect: bool,
    pub enrich: bool,
    pub sessions: bool,
    /// Answers lookups. A process that does nothing else needs no log.
    pub lookup: bool,
}

/// The names of roles, in the order of the flow.
pub const ROLES: [&str; 4] = ["collect", "enrich", "sessions", "lookup"];

impl Roles {
    pub const ALL: Roles = Roles { collect: true, enrich: true, sessions: true, lookup: true };

    /// Those with these names; `all` is all of them. `Err`: the first that is none.
    pub fn named(names: &[String]) -> Result<Roles, &str> {
        let mut roles = Roles { collect: false, enrich: false, sessions: false, lookup: false };
        for name in names {
            match name.as_str() {
                "all" => roles = Roles::ALL,
                "collect" => roles.collect = true,
                "enrich" => roles.enrich = true,
                "sessions" => roles.sessions = true,
                "lookup" => roles.lookup = true,
                unknown => return Err(unknown),
            }
        }
        Ok(roles)
    }

    /// Whether it does nothing but answer lookups.
    pub fn is_lookup_alone(self) -> bool {
        self.lookup && !(self.collect || self.enrich || self.sessions)
    }

    /// Whether it does all that is done with events.
    pub fn is_all(self) -> bool {
        self.collect && self.enrich && self.sessions
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        let has = [self.collect, self.enrich, self.sessions, self.lookup];
        ROLES.into_iter().zip(has).filter_map(|(name, has)| has.then_some(name))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Roles::ALL {
            return f.write_str("all");
        }
        for (n, name) in self.names().enumerate() {
            write!(f, "{}{name}", if n > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

/// The slot that a host's name says: the ordinal at its end, as the pods of a StatefulSet have it (`ouzel-enrich-3`).
pub fn slot_of(host: &str) -> Option<&str> {
    let name = host.split('.').next().unwrap_or(host);
    let (_, ordinal) = name.rsplit_once('-')?;
    (!ordinal.is_empty() && ordinal.bytes().all(|b| b.is_ascii_digit())).then_some(ordinal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_and_shown() {
        let read = |names: &str| {
            let names: Vec<String> = names.split(',').map(str::to_owned).collect();
            Roles::named(&names).map(|roles| roles.to_string()).map_err(str::to_owned)
        };
        assert_eq!(read("all"), Ok("all".into()));
        assert_eq!(read("sessions,collect"), Ok("collect,sessions".into()));
        assert_eq!(read("collect,enrich,sessions,lookup"), Ok("all".into()));
        assert_eq!(read("enrich,lookups"), Err("lookups".into()));
    }

    #[test]
    fn the_ordinal_of_a_stateful_set_is_the_slot() {
        for (host, slot) in [
            ("ouzel-enrich-3", Some("3")),
            ("ouzel-12.ouzel.shop.svc.cluster.local", Some("12")),
            ("ouzel", None),
            ("web-", None),
            ("ouzel-6d4f9c7b8-x2x9k", None),
        ] {
            assert_eq!(slot_of(host), slot, "{host}");
        }
    }
}
