//! Times as people send them: RFC 3339, seconds, milliseconds or microseconds since 1970, or a pattern of their own with a zone.
//!
//! A text without a zone is an error, not a guess, until the map says which zone is meant. Where a zone's clock was set
//! back, a local time that was there twice is taken as the first of the two; one that was skipped is taken as if the
//! clock had not been set forward (RFC 5545; jiff calls it `compatible`). Zones come from the database bundled with the
//! program, so that the same input gives the same times on every machine.

use event::Micros;
use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

/// How a time is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// `2026-11-22T19:33:00.123Z`; the default. With a zone in the map, texts without one are taken too, with a space or
    /// `T` between date and time, and the seconds, or all of the time of day, may be missing.
    Rfc3339,
    /// Seconds since 1970, a number or a string of one; a fraction counts to the microsecond.
    EpochS,
    /// Milliseconds since 1970, likewise.
    EpochMs,
    /// Microseconds since 1970, likewise; what Google Analytics exports. A fraction is cut.
    EpochUs,
    /// A pattern like `%d/%b/%Y:%H:%M:%S %z` (the directives of strftime, as the `jiff` crate lists them).
    Strftime(String),
}

impl TimeFormat {
    /// The format of that name in configuration; anything with a `%` is a pattern.
    pub fn named(name: &str) -> Option<TimeFormat> {
        match name {
            "rfc3339" => Some(TimeFormat::Rfc3339),
            "epoch_s" => Some(TimeFormat::EpochS),
            "epoch_ms" => Some(TimeFormat::EpochMs),
            "epoch_us" => Some(TimeFormat::EpochUs),
            pattern if pattern.contains('%') => Some(TimeFormat::Strftime(pattern.into())),
            _ => None,
        }
    }

    /// The name in configuration: what [`TimeFormat::named`] takes.
    pub fn name(&self) -> &str {
        match self {
            TimeFormat::Rfc3339 => "rfc3339",
            TimeFormat::EpochS => "epoch_s",
            TimeFormat::EpochMs => "epoch_ms",
            TimeFormat::EpochUs => "epoch_us",
            TimeFormat::Strftime(pattern) => pattern,
        }
    }
}

/// What access logs write between brackets.
pub const ACCESS_LOG: &str = "%d/%b/%Y:%H:%M:%S %z";

/// A [`TimeFormat`] and a zone, checked and ready.
#[derive(Clone, Debug)]
pub struct TimeReader {
    how: How,
    zone: Option<Zone>,
}

#[derive(Clone, Debug)]
enum How {
    Rfc3339,
    /// Microseconds in one unit.
    Epoch(i64),
    AccessLog,
    Pattern {
        pattern: String,
        /// The texts say their zone themselves.
        zoned: bool,
    },
}

#[derive(Clone, Debug)]
enum Zone {
    Utc,
    Other(TimeZone),
}

const NOT_IN_RANGE: &str = "the time is outside the years 1970 to 2200";

impl TimeReader {
    /// # Errors
    /// A sentence for people: an unknown zone, a pattern that cannot be read, a pattern without a zone when none is given.
    pub fn build(format: Option<&TimeFormat>, zone: Option<&str>) -> Result<TimeReader, String> {
        let zone = zone.map(named_zone).transpose()?;
        let how = match format.unwrap_or(&TimeFormat::Rfc3339) {
            TimeFormat::Rfc3339 => How::Rfc3339,
            TimeFormat::EpochS | TimeFormat::EpochMs | TimeFormat::EpochUs if zone.is_some() => {
                return Err("a time since 1970 has no zone: leave out `zone`".into());
            }
            TimeFormat::EpochS => How::Epoch(1_000_000),
            TimeFormat::EpochMs => How::Epoch(1_000),
            TimeFormat::EpochUs => How::Epoch(1),
            TimeFormat::Strftime(pattern) => match pattern_zone(pattern)? {
                true if zone.is_some() => {
                    return Err(format!("`{pattern}` reads the zone from the text: leave out `zone`"));
                }
                false if zone.is_none() => {
                    return Err(format!(
                        "`{pattern}` reads no zone: add a `zone`, like `zone=UTC` or `zone=Europe/Berlin`, or `%z` to the pattern"
                    ));
                }
                _ if pattern == ACCESS_LOG => How::AccessLog,
                zoned => How::Pattern { pattern: pattern.clone(), zoned },
            },
        };
        Ok(TimeReader { how, zone })
    }

    /// Reads one text; `number` says whether it stood as a number in the JSON.
    ///
    /// # Errors
    /// What is wrong, for people, without the text itself.
    pub fn read(&self, text: &[u8], number: bool) -> Result<Micros, &'static str> {
        let micros = match &self.how {
            How::Rfc3339 if number => {
                Err("the time is a number: add `format=epoch_ms`, `epoch_s` or `epoch_us` to the map of this field")
            }
            How::Rfc3339 => self.iso(text),
            How::Epoch(unit) => epoch(text, *unit),
            How::AccessLog => match access_log(text) {
                Some(micros) => Ok(micros),
                None => self.pattern(ACCESS_LOG, true, text),
            },
            How::Pattern { pattern, zoned } => self.pattern(pattern, *zoned, text),
        }?;
        let in_range = (Micros::EARLIEST..Micros::LATEST).contains(&micros);
        if in_range { Ok(micros) } else { Err(NOT_IN_RANGE) }
    }

    fn iso(&self, text: &[u8]) -> Result<Micros, &'static str> {
        if let Some(micros) = Micros::parse_rfc3339(text) {
            return Ok(micros);
        }
        match (local_iso(text), &self.zone) {
            (Some(local), Some(zone)) => zone.micros(local),
            (Some(_), None) => Err("the time has no zone: add one to the map of this field, like `zone=UTC`"),
            (None, _) => {
                Err("the time is not RFC 3339 (2026-11-22T19:33:00Z); another form needs a `format` in the map")
            }
        }
    }

    fn pattern(&self, pattern: &str, zoned: bool, text: &[u8]) -> Result<Micros, &'static str> {
        const DIFFERENT: &str = "the time does not have the form that `format` gives";
        let parsed = strtime::parse(pattern, text).map_err(|_| DIFFERENT)?;
        if zoned {
            let at = match parsed.timestamp() {
                Some(at) => at,
                None if parsed.iana_time_zone().is_some() => {
                    parsed.to_zoned_with(&TimeZoneDatabase::bundled()).map_err(|_| DIFFERENT)?.timestamp()
                }
                None => parsed.to_timestamp().map_err(|_| DIFFERENT)?,
            };
            return Ok(Micros(at.as_microsecond()));
        }
        let local = parsed.to_datetime().map_err(|_| DIFFERENT)?;
        let as_utc = Offset::UTC.to_timestamp(local).map_err(|_| NOT_IN_RANGE)?;
        self.zone.as_ref().expect("built with a zone").micros(Micros(as_utc.as_microsecond()))
    }
}

impl Zone {
    /// The time at which this zone's clocks showed `local` (read as if it were UTC).
    fn micros(&self, local: Micros) -> Result<Micros, &'static str> {
        let Zone::Other(zone) = self else { return Ok(local) };
        let local = Timestamp::from_microsecond(local.0).map_err(|_| NOT_IN_RANGE)?;
        let at = zone.to_ambiguous_timestamp(Offset::UTC.to_datetime(local)).compatible().map_err(|_| NOT_IN_RANGE)?;
        Ok(Micros(at.as_microsecond()))
    }
}

/// `UTC`, an IANA name in any case, or an offset like `+02:00`.
fn named_zone(name: &str) -> Result<Zone, String> {
    if name.eq_ignore_ascii_case("utc") || name.eq_ignore_ascii_case("z") {
        return Ok(Zone::Utc);
    }
    if name.starts_with(['+', '-']) {
        let at_epoch = Micros::parse_rfc3339(format!("1970-01-01T00:00:00{name}").as_bytes());
        let seconds = at_epoch.and_then(|m| i32::try_from(-m.0 / Micros::SECOND).ok());
        let offset = seconds.and_then(|s| Offset::from_seconds(s).ok());
        return match offset {
            Some(offset) => Ok(Zone::Other(TimeZone::fixed(offset))),
            None => Err(format!("`{name}` is no offset: write it like `+02:00`")),
        };
    }
    let zone = TimeZoneDatabase::bundled().get(name);
    zone.map(Zone::Other).map_err(|_| {
        format!("there is no zone `{name}`: write `UTC`, an offset like `+02:00`, or an IANA name like `Europe/Berlin`")
    })
}

/// Whether texts of this pattern say their zone; an error when a time cannot be read back from it.
fn pattern_zone(pattern: &str) -> Result<bool, String> {
    // A time of which every part differs from what would be taken for a missing one.
    let sample = jiff::civil::date(2026, 11, 22).at(19, 33, 44, 0).to_zoned(TimeZone::fixed(Offset::constant(5)));
    let sample = sample.map_err(|e| e.to_string())?;
    let unreadable = |e: jiff::Error| format!("`{pattern}` is not a pattern that times can be read with: {e}");
    let text = strtime::format(pattern, &sample).map_err(unreadable)?;
    let parsed = strtime::parse(pattern, &text).map_err(unreadable)?;
    if parsed.timestamp().is_some() {
        return Ok(true);
    }
    parsed.to_datetime().map_err(unreadable)?;
    Ok(parsed.offset().is_some() || parsed.iana_time_zone().is_some())
}

/// `YYYY-MM-DD[(T| )hh:mm[:ss[.fraction]]]` read as if it were UTC.
fn local_iso(text: &[u8]) -> Option<Micros> {
    const LONGEST: usize = 38;
    let mut utc = [0u8; LONGEST + 10];
    if text.len() > LONGEST {
        return None;
    }
    let rest: &[u8] = match text.len() {
        10 => b"T00:00:00Z",
        16 => b":00Z",
        _ => b"Z",
    };
    let len = text.len() + rest.len();
    utc[..text.len()].copy_from_slice(text);
    utc[text.len()..len].copy_from_slice(rest);
    Micros::parse_rfc3339(&utc[..len])
}

/// A decimal number of units of `unit` microseconds.
fn epoch(text: &[u8], unit: i64) -> Result<Micros, &'static str> {
    const NO_NUMBER: &str = "the time is not a number";
    let number = std::str::from_utf8(text).map_err(|_| NO_NUMBER)?;
    let micros = if number.bytes().any(|b| b | 0x20 == b'e') {
        // Some writers put large numbers as 1.7951759e9. A double holds microseconds until the year 2255.
        let value: f64 = number.parse().map_err(|_| NO_NUMBER)?;
        (value * unit as f64).round()
    } else {
        let (sign, digits) = number.strip_prefix('-').map_or((1.0, number), |d| (-1.0, d));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) {
            return Err(NO_NUMBER);
        }
        // Microseconds until 2200 have 16 digits; 18 of them are below what fits.
        if whole.len() > 18 || sign < 0.0 {
            return Err(NOT_IN_RANGE);
        }
        let whole = whole.bytes().fold(0i64, |v, b| v * 10 + i64::from(b - b'0'));
        let mut micros =
            whole.checked_mul(unit).filter(|m| *m < Micros::LATEST.0).ok_or_else(|| too_large(whole, unit))?;
        let mut place = unit;
        for b in fraction.bytes() {
            place /= 10;
            micros += i64::from(b - b'0') * place;
        }
        return Ok(Micros(micros));
    };
    if micros < Micros::LATEST.0 as f64 {
        return Ok(Micros(micros as i64));
    }
    Err(too_large((micros / unit as f64) as i64, unit))
}

/// What is said of so many units that they are no time; a smaller unit is named with which they would be one.
fn too_large(units: i64, unit: i64) -> &'static str {
    let would_be = |smaller: i64| smaller < unit && units.checked_mul(smaller).is_some_and(|m| m < Micros::LATEST.0);
    match unit {
        1_000_000 if would_be(1_000) => {
            "the time is too large for seconds since 1970; is it milliseconds (`format=epoch_ms`)?"
        }
        1_000_000 if would_be(1) => {
            "the time is too large for seconds since 1970; is it microseconds (`format=epoch_us`)?"
        }
        1_000 if would_be(1) => {
            "the time is too large for milliseconds since 1970; is it microseconds (`format=epoch_us`)?"
        }
        _ => NOT_IN_RANGE,
    }
}

/// `17/May/2015:10:05:03 +0000`, the one form of [`ACCESS_LOG`] that servers write; jiff reads the others.
fn access_log(text: &[u8]) -> Option<Micros> {
    let text: &[u8; 26] = text.try_into().ok()?;
    let month = match &text[3..6] {
        b"Jan" => b"01",
        b"Feb" => b"02",
        b"Mar" => b"03",
        b"Apr" => b"04",
        b"May" => b"05",
        b"Jun" => b"06",
        b"Jul" => b"07",
        b"Aug" => b"08",
        b"Sep" => b"09",
        b"Oct" => b"10",
        b"Nov" => b"11",
        b"Dec" => b"12",
        _ => return None,
    };
    let second_is_plain = text[18] < b'6';
    if (text[2], text[6], text[11], text[14], text[17], text[20]) != (b'/', b'/', b':', b':', b':', b' ')
        || !second_is_plain
    {
        return None;
    }
    let mut iso = *b"0000-00-00T00:00:00+00:00";
    iso[..4].copy_from_slice(&text[7..11]);
    iso[5..7].copy_from_slice(month);
    iso[8..10].copy_from_slice(&text[..2]);
    iso[11..19].copy_from_slice(&text[12..20]);
    iso[19..22].copy_from_slice(&text[21..24]);
    iso[23..].copy_from_slice(&text[24..]);
    Micros::parse_rfc3339(&iso)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(format: &str, zone: Option<&str>) -> TimeReader {
        TimeReader::build(TimeFormat::named(format).as_ref(), zone).expect("a reader")
    }

    /// Seconds of an RFC 3339 text.
    fn at(text: &str) -> Result<Micros, &'static str> {
        Ok(Micros::parse_rfc3339(text.as_bytes()).expect("RFC 3339"))
    }

    #[test]
    fn times_are_read_in_every_form() {
        for (format, zone, text, expected) in [
            ("rfc3339", None, "2024-03-13T10:21:14Z", "2024-03-13T10:21:14Z"),
            ("rfc3339", Some("UTC"), "2024-03-13T10:21:14+02:00", "2024-03-13T08:21:14Z"),
            ("rfc3339", Some("UTC"), "2024-03-13 10:21:14", "2024-03-13T10:21:14Z"),
            ("rfc3339", Some("utc"), "2024-03-13T10:21:14.5", "2024-03-13T10:21:14.5Z"),
            ("rfc3339", Some("UTC"), "2024-03-13 10:21", "2024-03-13T10:21:00Z"),
            ("rfc3339", Some("UTC"), "2024-03-13", "2024-03-13T00:00:00Z"),
            ("rfc3339", Some("-03:30"), "2024-03-13 10:21:14", "2024-03-13T13:51:14Z"),
            ("rfc3339", Some("Europe/Berlin"), "2024-03-13 10:21:14", "2024-03-13T09:21:14Z"),
            // Set back at 03:00: there twice, the first is meant. Set forward at 02:00: not there, one hour on.
            ("rfc3339", Some("Europe/Berlin"), "2024-10-27 02:30:00", "2024-10-27T00:30:00Z"),
            ("rfc3339", Some("Europe/Berlin"), "2024-03-31 02:30:00", "2024-03-31T01:30:00Z"),
            ("epoch_s", None, "1710325274", "2024-03-13T10:21:14Z"),
            ("epoch_s", None, "1710325274.1234567", "2024-03-13T10:21:14.123456Z"),
            ("epoch_s", None, "1.710325274e9", "2024-03-13T10:21:14Z"),
            ("epoch_s", None, "0", "1970-01-01T00:00:00Z"),
            ("epoch_ms", None, "1710325274001", "2024-03-13T10:21:14.001Z"),
            ("epoch_ms", None, "1710325274001.5", "2024-03-13T10:21:14.0015Z"),
            ("epoch_ms", None, "1.710325274001E12", "2024-03-13T10:21:14.001Z"),
            ("epoch_us", None, "1710325274001002", "2024-03-13T10:21:14.001002Z"),
            ("epoch_us", None, "1710325274001002.9", "2024-03-13T10:21:14.001002Z"),
            ("epoch_us", None, "1.710325274001002e15", "2024-03-13T10:21:14.001002Z"),
            ("%d/%b/%Y:%H:%M:%S %z", None, "13/Mar/2024:10:21:14 -0130", "2024-03-13T11:51:14Z"),
            ("%d.%m.%Y %H:%M", Some("Europe/Berlin"), "13.03.2024 10:21", "2024-03-13T09:21:00Z"),
            ("%Y-%m-%d", Some("UTC"), "2024-03-13", "2024-03-13T00:00:00Z"),
            ("%F %T%.f %:Q", None, "2024-03-13 10:21:14.25 America/New_York", "2024-03-13T14:21:14.25Z"),
            ("t=%s", None, "t=1710325274", "2024-03-13T10:21:14Z"),
        ] {
            assert_eq!(reader(format, zone).read(text.as_bytes(), false), at(expected), "{format} {zone:?} {text}");
        }
    }

    #[test]
    fn a_time_that_cannot_be_read_says_why() {
        for (format, zone, text, number, says) in [
            ("rfc3339", None, "2024-03-13 10:21:14", false, "no zone"),
            ("rfc3339", Some("UTC"), "13.3.2024", false, "not RFC 3339"),
            ("rfc3339", Some("UTC"), "2024-02-30", false, "not RFC 3339"),
            ("rfc3339", None, "1710325274", true, "epoch_ms"),
            ("rfc3339", None, "1969-12-31T23:59:59Z", false, "outside"),
            ("rfc3339", None, "2200-01-01T00:00:00Z", false, "outside"),
            ("epoch_s", None, "1710325274001", true, "epoch_ms"),
            ("epoch_s", None, "1.710325274001e12", true, "epoch_ms"),
            ("epoch_s", None, "1710325274001002", true, "epoch_us"),
            ("epoch_ms", None, "1710325274001002", true, "epoch_us"),
            ("epoch_us", None, "7258118400000000", true, "outside"),
            ("epoch_us", None, "999999999999999999", true, "outside"),
            ("epoch_s", None, "99999999999999999999", true, "outside"),
            ("epoch_s", None, "-1", true, "outside"),
            ("epoch_s", None, "-1e3", true, "outside"),
            ("epoch_s", None, "1e999", true, "outside"),
            ("epoch_s", None, "", false, "not a number"),
            ("epoch_s", None, "12.", false, "not a number"),
            ("epoch_s", None, "soon", false, "not a number"),
            ("%d/%b/%Y:%H:%M:%S %z", None, "13/Mär/2024:10:21:14 +0000", false, "does not have the form"),
            ("%d.%m.%Y %H:%M", Some("UTC"), "31.02.2024 10:21", false, "does not have the form"),
            ("%F %T%.f %:Q", None, "2024-03-13 10:21:14 Mars/Crater", false, "does not have the form"),
        ] {
            let error = reader(format, zone).read(text.as_bytes(), number).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_when_it_is_built() {
        for (format, zone, says) in [
            ("%d.%m.%Y %H:%M", None, "add a `zone`"),
            ("%d/%b/%Y:%H:%M:%S %z", Some("UTC"), "leave out `zone`"),
            ("epoch_s", Some("UTC"), "leave out `zone`"),
            ("rfc3339", Some("Berlin"), "no zone `Berlin`"),
            ("rfc3339", Some("+2"), "no offset"),
            ("%b %d %H:%M:%S", Some("UTC"), "not a pattern"),
            ("%H:%M:%S %!", Some("UTC"), "not a pattern"),
            ("%", Some("UTC"), "not a pattern"),
        ] {
            let error = TimeReader::build(TimeFormat::named(format).as_ref(), zone).expect_err(format);
            assert!(error.contains(says), "{format}: {error}");
        }
    }

    /// The hand-written reader of access log times gives what jiff gives, wherever it gives anything.
    #[test]
    fn access_log_times_are_read_as_jiff_reads_them() {
        let slow =
            |text: &str| strtime::parse(ACCESS_LOG, text).ok()?.to_timestamp().ok().map(|t| Micros(t.as_microsecond()));
        let mut read = 0;
        for day in 0..32 {
            for month in "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec Jux feb".split(' ') {
                for (year, time) in [
                    (2015, "10:05:03 +0000"),
                    (2016, "23:59:59 -0830"),
                    (2000, "24:00:00 +0000"),
                    (2100, "00:60:00 +1400"),
                ] {
                    let text = format!("{day:02}/{month}/{year}:{time}");
                    if let Some(fast) = access_log(text.as_bytes()) {
                        assert_eq!(Some(fast), slow(&text), "{text}");
                        read += 1;
                    }
                }
            }
        }
        assert_eq!(read, 365 + 366, "all days of both years");
        assert_eq!(access_log(b"17/May/2015:10:05:60 +0000"), None, "a leap second is jiff's");
    }
}
