//! Durations, sizes and shares as people write them: "1h30m", "64MiB", "10%".

use std::time::Duration;

/// Names of duration units with their length in microseconds, longest first. "m" is a minute, never a month.
pub(crate) const DURATION_UNITS: [(&str, u64); 7] = [
    ("w", 7 * 86_400_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Names of size units with their length in bytes. Decimal units are what disk makers mean by them.
pub(crate) const SIZE_UNITS: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

/// What a data disk must keep free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// Of the whole file system, 0 to 100.
    Percent(u8),
    Bytes(u64),
}

impl Space {
    /// In bytes on a file system of `total` bytes.
    pub fn bytes_of(self, total: u64) -> u64 {
        match self {
            Space::Percent(p) => (u128::from(total) * u128::from(p) / 100) as u64,
            Space::Bytes(b) => b,
        }
    }
}

/// Reads "5s", "200ms", "1h30m"; units w, d, h, m, s, ms, us, each at most once and from large to small. The error is a
/// hint for the person who wrote it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("it is empty".into());
    }
    if rest.starts_with('-') {
        return Err("a duration cannot be negative".into());
    }
    let mut micros = 0u64;
    let mut first_unit_left = 0;
    while !rest.is_empty() {
        let (number, after) = number(rest)?;
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_alphabetic() && c != 'µ').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        if unit.is_empty() {
            return Err(format!("{number} of what? Units are w, d, h, m, s, ms, us: \"{number}s\""));
        }
        let Some(at) = DURATION_UNITS.iter().position(|(name, _)| *name == unit) else {
            let known = match unit.to_lowercase().as_str() {
                "µs" | "micros" => Some("us"),
                "millis" | "msec" => Some("ms"),
                "sec" | "secs" | "second" | "seconds" => Some("s"),
                "min" | "mins" | "minute" | "minutes" => Some("m"),
                "hr" | "hrs" | "hour" | "hours" => Some("h"),
                "day" | "days" => Some("d"),
                "week" | "weeks" => Some("w"),
                _ => None,
            };
            return Err(match known {
                Some(known) => format!("write \"{known}\" for \"{unit}\""),
                None => format!("\"{unit}\" is no unit; units are w, d, h, m, s, ms, us"),
            });
        };
        if at < first_unit_left {
            return Err("units go from large to small, each once: \"1h30m\"".into());
        }
        first_unit_left = at + 1;
        micros = number
            .checked_mul(DURATION_UNITS[at].1)
            .and_then(|m| micros.checked_add(m))
            .ok_or("it is longer than can be counted")?;
        rest = after.trim_start();
    }
    Ok(Duration::from_micros(micros))
}

/// Reads "64MiB", "1MB", "4096" (bytes).
pub fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if text.starts_with('-') {
        return Err("a size cannot be negative".into());
    }
    let (number, unit) = number(text)?;
    let unit = unit.trim_start();
    if unit.is_empty() {
        return Ok(number);
    }
    let Some((_, bytes)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
        let wanted = SIZE_UNITS.iter().find(|(name, _)| {
            name.eq_ignore_ascii_case(unit)
                || (unit.len() == 1 && name.len() == 3 && name[..1].eq_ignore_ascii_case(unit))
        });
        return Err(match wanted {
            Some((name, _)) => format!("write \"{number}{name}\""),
            None => format!("\"{unit}\" is no unit; units are KiB, MiB, GiB, TiB (and kB, MB, GB, TB of 1,000)"),
        });
    };
    number.checked_mul(*bytes).ok_or_else(|| "it is larger than can be counted".into())
}

/// Reads "10%" or a size.
pub fn space(text: &str) -> Result<Space, String> {
    match text.trim().strip_suffix('%') {
        Some(percent) => match percent.trim().parse::<u8>() {
            Ok(p) if p <= 100 => Ok(Space::Percent(p)),
            _ => Err("a share is a whole number from 0% to 100%".into()),
        },
        None => size(text).map(Space::Bytes),
    }
}

/// The shortest exact way to write a duration.
pub fn show_duration(d: Duration) -> String {
    let mut micros = u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (name, length) in DURATION_UNITS {
        // Weeks are read, but people compare retention in days.
        if name != "w" && micros >= length {
            out += &format!("{}{name}", micros / length);
            micros %= length;
        }
    }
    if out.is_empty() { "0s".into() } else { out }
}

/// The shortest exact way to write a size.
pub fn show_size(bytes: u64) -> String {
    let unit = SIZE_UNITS.iter().find(|(_, length)| bytes >= *length && bytes.is_multiple_of(*length));
    match unit {
        Some((name, length)) if *length > 1 => format!("{}{name}", bytes / length),
        _ => format!("{bytes}B"),
    }
}

pub fn show_space(space: Space) -> String {
    match space {
        Space::Percent(p) => format!("{p}%"),
        Space::Bytes(b) => show_size(b),
    }
}

fn number(text: &str) -> Result<(u64, &str), String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Err("it has to begin with a number".into());
    }
    if rest.starts_with(['.', ',', '_']) {
        return Err("only whole numbers; take a smaller unit".into());
    }
    Ok((number.parse().map_err(|_| "it is larger than can be counted")?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, micros, shown) in [
            ("5s", 5_000_000, "5s"),
            ("200ms", 200_000, "200ms"),
            ("7d", 604_800_000_000, "7d"),
            ("2w", 14 * 86_400_000_000, "14d"),
            ("1h30m", 5_400_000_000, "1h30m"),
            ("90m", 5_400_000_000, "1h30m"),
            (" 1h 30m ", 5_400_000_000, "1h30m"),
            ("0s", 0, "0s"),
            ("1s500us", 1_000_500, "1s500us"),
        ] {
            let d = duration(text).unwrap();
            assert_eq!(d, Duration::from_micros(micros), "{text}");
            assert_eq!(show_duration(d), shown, "{text}");
            assert_eq!(duration(&show_duration(d)), Ok(d));
        }
    }

    #[test]
    fn a_bad_duration_says_what_to_write() {
        for (text, hint) in [
            ("", "empty"),
            ("5", "\"5s\""),
            ("5 sec", "\"s\""),
            ("30m1h", "large to small"),
            ("1h1h", "each once"),
            ("1.5h", "whole numbers"),
            ("-1s", "negative"),
            ("s", "begin with a number"),
            ("5parsecs", "no unit"),
            ("99999999999999w", "longer"),
            ("99999999999999999999s", "larger"),
        ] {
            let error = duration(text).unwrap_err();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes, shown) in [
            ("64MiB", 64 << 20, "64MiB"),
            ("20GiB", 20 << 30, "20GiB"),
            ("1MB", 1_000_000, "1MB"),
            ("4096", 4096, "4KiB"),
            ("4 KiB", 4096, "4KiB"),
            ("1025", 1025, "1025B"),
            ("1KB", 1000, "1kB"),
            ("0", 0, "0B"),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
            assert_eq!(show_size(bytes), shown, "{text}");
            assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }
    }

    #[test]
    fn a_bad_size_says_what_to_write() {
        for (text, hint) in [
            ("64mib", "\"64MiB\""),
            ("64M", "\"64MiB\""),
            ("64 apples", "no unit"),
            ("1.5GiB", "whole numbers"),
            ("-1", "negative"),
            ("", "empty"),
            ("99999999TiB", "larger"),
        ] {
            let error = size(text).unwrap_err();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn space_is_a_share_or_a_size() {
        assert_eq!(space("10%"), Ok(Space::Percent(10)));
        assert_eq!(space("5GiB"), Ok(Space::Bytes(5 << 30)));
        assert!(space("101%").unwrap_err().contains("0% to 100%"));
        assert_eq!(Space::Percent(10).bytes_of(1000), 100);
    }
}
