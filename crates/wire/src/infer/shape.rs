//! What a value looks like, and how the times of a column are written.

use std::net::IpAddr;

use super::column::Column;
use super::{READABLE_TIMES, readable};
use crate::map::MapEntry;
use crate::time::TimeFormat;

/// An IP address, or a list of them as proxies write it.
pub(super) fn is_address(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let first = text.split(',').next().unwrap_or_default().trim();
    first.parse::<IpAddr>().is_ok()
}

/// A URL, or its path.
pub(super) fn is_url(value: &[u8]) -> bool {
    let scheme = value.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')).count();
    value.first() == Some(&b'/') || (scheme > 1 && value[scheme..].starts_with(b"://"))
}

/// A URL, or a host.
pub(super) fn is_place(value: &[u8]) -> bool {
    let host = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'/');
    is_url(value) || (value.contains(&b'.') && value.iter().all(host)) || value == b"(direct)"
}

/// `Mozilla/5.0 (...)`, `curl/8.5.0`, `Googlebot/2.1 (+http://...)`.
pub(super) fn is_agent(value: &[u8]) -> bool {
    let name = value.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b' ')).count();
    let is_named = value.first().is_some_and(u8::is_ascii_alphabetic);
    is_named && value.get(name) == Some(&b'/') && value.get(name + 1).is_some_and(u8::is_ascii_alphanumeric)
}

pub(super) fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value.iter().enumerate().all(|(n, b)| match n {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

pub(super) fn is_mail(value: &[u8]) -> bool {
    let at = value.iter().position(|b| *b == b'@');
    at.is_some_and(|at| at > 0 && value[at..].contains(&b'.')) && !value.contains(&b' ')
}

/// How the times of a column are written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Written {
    format: TimeFormat,
    zone: Zone,
    /// Day and month are two numbers, and both ways round can be read.
    pub day_or_month: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Zone {
    /// The text says it, or there is none to say.
    Known,
    /// The pattern says it, and its reader does not know.
    Utc,
    /// Nothing says it.
    Missing,
}

impl Written {
    /// Without being told anything it can be read.
    pub fn is_rfc3339(&self) -> bool {
        self.format == TimeFormat::Rfc3339 && self.zone == Zone::Known
    }

    pub fn zone_is_assumed(&self) -> bool {
        self.zone == Zone::Missing
    }

    pub fn entry(&self, pointers: Vec<String>) -> MapEntry {
        let format = Some(self.format.clone()).filter(|f| *f != TimeFormat::Rfc3339);
        let zone = (self.zone != Zone::Known).then(|| "UTC".to_owned());
        MapEntry::Pointer { pointers, format, zone }
    }

    /// For people.
    pub fn looks(&self) -> String {
        match (&self.format, self.zone) {
            (TimeFormat::Rfc3339, Zone::Known) => "a time in RFC 3339".into(),
            (TimeFormat::Rfc3339, _) => "a time without a zone".into(),
            (TimeFormat::EpochS, _) => "a time in seconds since 1970".into(),
            (TimeFormat::EpochMs, _) => "a time in milliseconds since 1970".into(),
            (TimeFormat::EpochUs, _) => "a time in microseconds since 1970".into(),
            (TimeFormat::Strftime(_), Zone::Missing) => "a time of a form of its own, without a zone".into(),
            (TimeFormat::Strftime(_), _) => "a time of a form of its own".into(),
        }
    }
}

/// Forms people write times in, beside RFC 3339 and numbers; each with the one that differs from it in the order of day
/// and month alone.
const PATTERNS: [(&str, Zone, Option<&str>); 22] = [
    ("%d/%b/%Y:%H:%M:%S %z", Zone::Known, None),
    ("%a, %d %b %Y %H:%M:%S %z", Zone::Known, None),
    ("%a, %d %b %Y %H:%M:%S GMT", Zone::Utc, None),
    ("%a %b %d %H:%M:%S %z %Y", Zone::Known, None),
    ("%Y-%m-%dT%H:%M:%S%.f%z", Zone::Known, None),
    ("%Y-%m-%d %H:%M:%S%.f %z", Zone::Known, None),
    ("%Y-%m-%d %H:%M:%S%.f UTC", Zone::Utc, None),
    ("%Y%m%dT%H%M%SZ", Zone::Utc, None),
    ("%Y/%m/%d %H:%M:%S%.f", Zone::Missing, None),
    ("%d.%m.%Y %H:%M:%S%.f", Zone::Missing, None),
    ("%d.%m.%Y %H:%M", Zone::Missing, None),
    ("%m/%d/%Y %H:%M:%S", Zone::Missing, Some("%d/%m/%Y %H:%M:%S")),
    ("%d/%m/%Y %H:%M:%S", Zone::Missing, None),
    ("%m/%d/%Y %H:%M", Zone::Missing, Some("%d/%m/%Y %H:%M")),
    ("%d/%m/%Y %H:%M", Zone::Missing, None),
    ("%m/%d/%Y %I:%M:%S %p", Zone::Missing, None),
    ("%b %d, %Y %H:%M:%S", Zone::Missing, None),
    ("%Y%m%d%H%M%S", Zone::Missing, None),
    ("%Y/%m/%d", Zone::Missing, None),
    ("%d.%m.%Y", Zone::Missing, None),
    ("%m/%d/%Y", Zone::Missing, Some("%d/%m/%Y")),
    ("%d/%m/%Y", Zone::Missing, None),
];

/// How most of the column's values are written; `None` if they are no times that can be read.
pub(super) fn written(column: &Column) -> Option<Written> {
    let enough = |read: usize| column.count > 0 && read as f64 >= READABLE_TIMES * column.count as f64;
    if let Some(format) = since_1970(column) {
        return Some(Written { format, zone: Zone::Known, day_or_month: false });
    }
    if column.numbers > 0 {
        return None;
    }
    let of = |format: TimeFormat, zone: Zone| Written { format, zone, day_or_month: false };
    let known = readable(column, None, None);
    let all = readable(column, None, Some("UTC"));
    if enough(all) {
        // Where some have a zone and others have none, one for those has to be given.
        let zone = if all > known { Zone::Missing } else { Zone::Known };
        return Some(of(TimeFormat::Rfc3339, zone));
    }
    let mut best: Option<(usize, Written)> = None;
    for (pattern, zone, swapped) in PATTERNS {
        let format = |pattern: &str| TimeFormat::Strftime(pattern.into());
        let given = (zone != Zone::Known).then_some("UTC");
        let read = readable(column, Some(&format(pattern)), given);
        if enough(read) && best.as_ref().is_none_or(|(most, _)| read > *most) {
            let either_way = |other: &str| readable(column, Some(&format(other)), given) == read;
            let day_or_month = swapped.is_some_and(either_way);
            best = Some((read, Written { day_or_month, ..of(format(pattern), zone) }));
        }
    }
    best.map(|(_, written)| written)
}

/// The unit in which most values are times of the years 1985 to 2200. Ranges of units do not overlap: seconds of 2200 are
/// milliseconds of March 1970.
fn since_1970(column: &Column) -> Option<TimeFormat> {
    const YEAR_1985_S: f64 = 473_385_600.0;
    const YEAR_2200_S: f64 = 7_258_118_400.0;
    let value = |v: &super::column::Value| {
        let text = std::str::from_utf8(&v.text).ok()?;
        let plain = v.is_number || text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if plain { text.parse::<f64>().ok() } else { None }
    };
    let units = [(TimeFormat::EpochS, 1.0), (TimeFormat::EpochMs, 1e3), (TimeFormat::EpochUs, 1e6)];
    units.into_iter().find_map(|(format, per_second)| {
        let in_range = |v: f64| (YEAR_1985_S * per_second..YEAR_2200_S * per_second).contains(&v);
        let count = column.values.iter().filter_map(value).filter(|v| in_range(*v)).count();
        (column.count > 0 && count as f64 >= READABLE_TIMES * column.count as f64).then_some(format)
    })
}

#[cfg(test)]
mod tests {
    use super::super::column::Columns;
    use super::*;

    #[test]
    fn values_look_like_what_they_are() {
        type Looks = fn(&[u8]) -> bool;
        let table: [(Looks, &[&str], &[&str]); 6] = [
            (is_address, &["1.2.3.4", "2001:db8::1", "1.2.3.4, 10.0.0.1"], &["1.2.3", "localhost", "", "1.2.3.4:80"]),
            (is_url, &["https://a.example/", "/cart", "android-app://x"], &["a.example", "c:", "", "://", "x y"]),
            (is_place, &["https://a.example/", "www.a.example", "/x"], &["search", ""]),
            (is_agent, &["Mozilla/5.0 (X11)", "curl/8.5.0", "Some Bot/2"], &["5/6", "a", "text/ html", "/x", ""]),
            (is_uuid, &["0191d7a0-51a1-7c1e-8d5a-0123456789aB"], &["0191d7a0", "0191d7a0-51a1-7c1e-8d5a-0123456789ax"]),
            (is_mail, &["a@b.example"], &["@b.example", "a@b", "a b@c.d"]),
        ];
        for (n, (looks, yes, no)) in table.iter().enumerate() {
            for v in *yes {
                assert!(looks(v.as_bytes()), "{n}: {v}");
            }
            for v in *no {
                assert!(!looks(v.as_bytes()), "{n}: {v}");
            }
        }
    }

    fn of(values: &[&str]) -> Option<Written> {
        let events: Vec<String> = values.iter().map(|v| format!("{{\"t\":{v}}}")).collect();
        let columns = Columns::of(events.iter().map(|e| e.as_bytes()));
        written(columns.at("/t").expect("a column"))
    }

    #[test]
    fn times_are_told_by_how_they_are_written() {
        for (values, name, zone, either) in [
            (&[r#""2024-03-13T10:21:14Z""#, r#""2024-03-13 10:21:14+02:00""#][..], "rfc3339", Zone::Known, false),
            (&[r#""2024-03-13 10:21:14""#], "rfc3339", Zone::Missing, false),
            (&[r#""2024-03-13T10:21:14Z""#, r#""2024-03-13T10:21:14""#], "rfc3339", Zone::Missing, false),
            (&["1710325274", "1710325274.5"], "epoch_s", Zone::Known, false),
            (&[r#""1710325274""#], "epoch_s", Zone::Known, false),
            (&["1710325274001"], "epoch_ms", Zone::Known, false),
            (&["1.710325274001e12"], "epoch_ms", Zone::Known, false),
            (&[r#""1710325274001002""#], "epoch_us", Zone::Known, false),
            (&[r#""13/Mar/2024:10:21:14 +0000""#], "%d/%b/%Y:%H:%M:%S %z", Zone::Known, false),
            (&[r#""Wed, 13 Mar 2024 10:21:14 GMT""#], "%a, %d %b %Y %H:%M:%S GMT", Zone::Utc, false),
            (&[r#""Wed, 13 Mar 2024 10:21:14 +0100""#], "%a, %d %b %Y %H:%M:%S %z", Zone::Known, false),
            (&[r#""Wed Mar 13 10:21:14 +0000 2024""#], "%a %b %d %H:%M:%S %z %Y", Zone::Known, false),
            (&[r#""2024-03-13T10:21:14.123+0200""#], "%Y-%m-%dT%H:%M:%S%.f%z", Zone::Known, false),
            (&[r#""2024-03-13T10:21:14+0200""#], "%Y-%m-%dT%H:%M:%S%.f%z", Zone::Known, false),
            (&[r#""2024-03-13 10:21:14.123 UTC""#], "%Y-%m-%d %H:%M:%S%.f UTC", Zone::Utc, false),
            (&[r#""20240313T102114Z""#], "%Y%m%dT%H%M%SZ", Zone::Utc, false),
            (&[r#""13.03.2024 10:21:14""#], "%d.%m.%Y %H:%M:%S%.f", Zone::Missing, false),
            (&[r#""03/04/2024 10:21:14""#], "%m/%d/%Y %H:%M:%S", Zone::Missing, true),
            (&[r#""03/14/2024 10:21:14""#, r#""03/04/2024 10:21:14""#], "%m/%d/%Y %H:%M:%S", Zone::Missing, false),
            (&[r#""14/03/2024 10:21:14""#, r#""03/04/2024 10:21:14""#], "%d/%m/%Y %H:%M:%S", Zone::Missing, false),
            (&[r#""2024-03-13""#], "rfc3339", Zone::Missing, false),
            (&[r#""20240313102114""#], "%Y%m%d%H%M%S", Zone::Missing, false),
        ] {
            let got = of(values).unwrap_or_else(|| panic!("no time: {values:?}"));
            assert_eq!((got.format.name(), got.zone, got.day_or_month), (name, zone, either), "{values:?}");
        }
        for no in
            [&["7"][..], &["20240313"], &[r#""soon""#], &["1710325274001002003"], &["1710325274", "3", "4"], &[r#""""#]]
        {
            assert_eq!(of(no), None, "{no:?}");
        }
    }
}
