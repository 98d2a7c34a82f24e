//! Times are microseconds since 1970-01-01T00:00:00Z inside and RFC 3339 outside.

/// Microseconds since the epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Micros(pub i64);

impl Micros {
    /// Before every event. A header's watermark has it while none is known.
    pub const MIN: Micros = Micros(i64::MIN);
    pub const SECOND: i64 = 1_000_000;
    /// 1970-01-01T00:00:00Z: the first time an event may have.
    pub const EARLIEST: Micros = Micros(0);
    /// 2200-01-01T00:00:00Z: the first time an event may not have.
    pub const LATEST: Micros = Micros(7_258_118_400 * Micros::SECOND);

    /// Parses RFC 3339 (`2026-11-22T19:33:00.123456Z`, `...+02:00`; `t`, `z` and a space for `T` are taken too). Digits
    /// beyond microseconds are cut. A missing zone is `None`, not a guess.
    pub fn parse_rfc3339(s: &[u8]) -> Option<Micros> {
        let (date_time, rest) = s.split_at_checked(19)?;
        let civil = parse_civil(date_time)?;
        let mut rest = rest;
        let mut micros = 0i64;
        if let Some((b'.', digits)) = rest.split_first() {
            let n = digits.iter().take_while(|b| b.is_ascii_digit()).count();
            if n == 0 || n > 18 {
                return None;
            }
            for i in 0..6 {
                micros = micros * 10 + digits[..n].get(i).map_or(0, |b| i64::from(b - b'0'));
            }
            rest = &digits[n..];
        }
        let zone_secs = match rest {
            b"Z" | b"z" => 0,
            [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
                let (h, m) = (two(*h1, *h2)?, two(*m1, *m2)?);
                if h > 23 || m > 59 {
                    return None;
                }
                let secs = h * 3600 + m * 60;
                if *sign == b'-' { -secs } else { secs }
            }
            _ => return None,
        };
        Some(Micros((civil - zone_secs) * Micros::SECOND + micros))
    }

    /// Appends `2026-11-22T19:33:00.123456Z` (always six digits, always UTC).
    pub fn write_rfc3339(self, out: &mut Vec<u8>) {
        let secs = self.0.div_euclid(Micros::SECOND);
        let mut micros = self.0.rem_euclid(Micros::SECOND);
        let (y, m, d) = civil_from_days(secs.div_euclid(86_400));
        let sod = secs.rem_euclid(86_400);
        let mut buf = *b"0000-00-00T00:00:00.000000Z";
        let mut put = |at: usize, len: usize, mut v: i64| {
            for i in (at..at + len).rev() {
                buf[i] = b'0' + (v % 10) as u8;
                v /= 10;
            }
        };
        put(0, 4, y.clamp(0, 9999));
        put(5, 2, m);
        put(8, 2, d);
        put(11, 2, sod / 3600);
        put(14, 2, sod / 60 % 60);
        put(17, 2, sod % 60);
        micros = micros.clamp(0, 999_999);
        put(20, 6, micros);
        out.extend_from_slice(&buf);
    }
}

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut v = Vec::with_capacity(27);
        self.write_rfc3339(&mut v);
        f.write_str(&String::from_utf8_lossy(&v))
    }
}

fn two(a: u8, b: u8) -> Option<i64> {
    (a.is_ascii_digit() && b.is_ascii_digit()).then(|| i64::from(a - b'0') * 10 + i64::from(b - b'0'))
}

/// Seconds since the epoch of `YYYY-MM-DDThh:mm:ss` read as UTC.
fn parse_civil(s: &[u8]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2, b'T' | b't' | b' ', h1, h2, b':', mi1, mi2, b':', s1, s2] = s
    else {
        return None;
    };
    let y = two(*y1, *y2)? * 100 + two(*y3, *y4)?;
    let (mo, d, h, mi, sec) = (two(*mo1, *mo2)?, two(*d1, *d2)?, two(*h1, *h2)?, two(*mi1, *mi2)?, two(*s1, *s2)?);
    // A leap second (:60) is the second after :59, as POSIX has it.
    if !(1..=12).contains(&mo) || d < 1 || d > days_in_month(y, mo) || h > 23 || mi > 59 || sec > 60 {
        return None;
    }
    Some(days_from_civil(y, mo, d) * 86_400 + h * 3600 + mi * 60 + sec)
}

fn days_in_month(y: i64, m: i64) -> i64 {
    match m {
        4 | 6 | 9 | 11 => 30,
        2 if y % 4 == 0 && (y % 100 != 0 || y % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
fn days_from_civil(y: i64, m: i64, d: i64) -> i64 {
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * (if m > 2 { m - 3 } else { m + 9 }) + 2) / 5 + d - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

/// The inverse, civil_from_days.
fn civil_from_days(z: i64) -> (i64, i64, i64) {
    let z = z + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let m = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(m <= 2), m, doy - (153 * mp + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_in_and_out() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-22T19:33:00.123456Z", Some(1_795_375_980_123_456)),
            ("2026-11-22T21:33:00.123456789+02:00", Some(1_795_375_980_123_456)),
            ("2000-02-29 00:00:00.5z", Some(951_782_400_500_000)),
            ("2015-05-17T10:05:03-00:30", Some(1_431_858_903_000_000)),
            ("2199-12-31T23:59:59.999999Z", Some(Micros::LATEST.0 - 1)),
            ("2015-05-17T10:05:03", None),
            ("2015-02-29T10:05:03Z", None),
            ("2015-05-17T24:05:03Z", None),
            ("2015-05-17T10:05:03.Z", None),
            ("2015-05-17", None),
            ("", None),
        ] {
            assert_eq!(Micros::parse_rfc3339(text.as_bytes()).map(|m| m.0), micros, "{text}");
        }
        for micros in [0, 1, 951_782_400_500_000, Micros::LATEST.0 - 1, -1] {
            let text = Micros(micros).to_string();
            assert_eq!(Micros::parse_rfc3339(text.as_bytes()), Some(Micros(micros)), "{text}");
        }
    }
}
