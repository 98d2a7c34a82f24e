//! Values of Parquet, as JSON.

use event::Micros;
use event::json::write_string;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::schema::types::Type;

use crate::json;

/// A value as it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stored<'v> {
    Bool(bool),
    /// Of 32 bits, or 64.
    Int(i64),
    /// Nanoseconds since 1970, of a type that is nothing but that.
    Int96(i128),
    Float(f32),
    Double(f64),
    Bytes(&'v [u8]),
}

/// What a stored value stands for, by the annotation of its column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// What it is stored as; bytes are hex.
    Plain,
    /// Of so many bits.
    Unsigned(u32),
    Half,
    /// A whole number over ten to this power.
    Decimal(usize),
    Text,
    /// A JSON document.
    Json,
    Uuid,
    /// Days since 1970.
    Date,
    /// Since midnight.
    Time(Unit),
    /// Since 1970; in UTC, or where nobody knows.
    Moment(Unit, Zone),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Zone {
    Utc,
    /// What a clock showed, wherever it hung.
    Local,
}

const DAY: i128 = 86_400;

impl Unit {
    fn digits(self) -> usize {
        match self {
            Unit::Millis => 3,
            Unit::Micros => 6,
            Unit::Nanos => 9,
        }
    }

    fn per_second(self) -> i128 {
        10i128.pow(self.digits() as u32)
    }
}

impl From<TimeUnit> for Unit {
    fn from(unit: TimeUnit) -> Unit {
        match unit {
            TimeUnit::MILLIS => Unit::Millis,
            TimeUnit::MICROS => Unit::Micros,
            TimeUnit::NANOS => Unit::Nanos,
        }
    }
}

impl Form {
    /// Of a column that is no group.
    pub(super) fn of(column: &Type) -> Form {
        let info = column.get_basic_info();
        let zone = |is_utc: bool| if is_utc { Zone::Utc } else { Zone::Local };
        let decimal = || Form::Decimal(usize::try_from(column.get_scale()).unwrap_or_default());
        match info.logical_type_ref() {
            Some(LogicalType::String | LogicalType::Enum) => Form::Text,
            Some(LogicalType::Json) => Form::Json,
            Some(LogicalType::Uuid) => Form::Uuid,
            Some(LogicalType::Float16) => Form::Half,
            Some(LogicalType::Decimal(_)) => decimal(),
            Some(LogicalType::Date) => Form::Date,
            Some(LogicalType::Time(time)) => Form::Time(time.unit.into()),
            Some(LogicalType::Timestamp(time)) => Form::Moment(time.unit.into(), zone(time.is_adjusted_to_u_t_c)),
            Some(LogicalType::Integer(int)) if !int.is_signed => Form::Unsigned(int.bit_width.unsigned_abs().into()),
            Some(_) => Form::Plain,
            // Files of before 2018.
            None => match info.converted_type() {
                ConvertedType::UTF8 | ConvertedType::ENUM => Form::Text,
                ConvertedType::JSON => Form::Json,
                ConvertedType::DECIMAL => decimal(),
                ConvertedType::DATE => Form::Date,
                ConvertedType::TIME_MILLIS => Form::Time(Unit::Millis),
                ConvertedType::TIME_MICROS => Form::Time(Unit::Micros),
                ConvertedType::TIMESTAMP_MILLIS => Form::Moment(Unit::Millis, Zone::Utc),
                ConvertedType::TIMESTAMP_MICROS => Form::Moment(Unit::Micros, Zone::Utc),
                ConvertedType::UINT_8 => Form::Unsigned(8),
                ConvertedType::UINT_16 => Form::Unsigned(16),
                ConvertedType::UINT_32 => Form::Unsigned(32),
                ConvertedType::UINT_64 => Form::Unsigned(64),
                _ => Form::Plain,
            },
        }
    }

    /// Appends a value, or says what is wrong with it. What JSON has no form for is null: NaN, and moments outside the years
    /// 0 to 9999.
    pub(super) fn write(self, value: Stored<'_>, out: &mut Vec<u8>) -> Result<(), &'static str> {
        match (self, value) {
            (Form::Unsigned(bits @ 1..64), Stored::Int(n)) => digits(n as u64 & ((1 << bits) - 1), out),
            (Form::Unsigned(_), Stored::Int(n)) => digits(n as u64, out),
            (Form::Half, Stored::Bytes(&[low, high])) => json::float(half(u16::from_le_bytes([low, high])), out),
            (Form::Decimal(scale), Stored::Int(n)) => decimal(&n.to_be_bytes(), scale, out)?,
            (Form::Decimal(scale), Stored::Bytes(bytes)) => decimal(bytes, scale, out)?,
            (Form::Text, Stored::Bytes(bytes)) => {
                std::str::from_utf8(bytes).map_err(|_| "a text is not valid UTF-8")?;
                write_string(bytes, out);
            }
            (Form::Json, Stored::Bytes(bytes)) => {
                out.extend_from_slice(json::checked(bytes).ok_or("a JSON document is none")?);
            }
            (Form::Uuid, Stored::Bytes(bytes)) if bytes.len() == 16 => uuid(bytes, out),
            (Form::Date, Stored::Int(days)) => moment(i128::from(days) * DAY, None, out),
            (Form::Time(unit), Stored::Int(n)) => time(n, unit, out)?,
            (Form::Moment(unit, zone), Stored::Int(n)) => moment_of(n.into(), unit, zone, out),
            (_, Stored::Bool(yes)) => out.extend_from_slice(if yes { b"true" } else { b"false" }),
            (_, Stored::Int(n)) => digits(n, out),
            (_, Stored::Int96(nanos)) => moment_of(nanos, Unit::Nanos, Zone::Utc, out),
            (_, Stored::Float(x)) => json::float(x, out),
            (_, Stored::Double(x)) => json::float(x, out),
            (_, Stored::Bytes(bytes)) => {
                out.push(b'"');
                hex(bytes, out);
                out.push(b'"');
            }
        }
        Ok(())
    }
}

fn digits(n: impl std::fmt::Display, out: &mut Vec<u8>) {
    out.extend_from_slice(n.to_string().as_bytes());
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    bytes.iter().for_each(|byte| out.extend_from_slice(format!("{byte:02x}").as_bytes()));
}

fn uuid(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for (n, part) in [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10], &bytes[10..]].into_iter().enumerate() {
        if n > 0 {
            out.push(b'-');
        }
        hex(part, out);
    }
    out.push(b'"');
}

/// IEEE 754 binary16: a sign, five bits of exponent, ten of fraction. Every one of them is a `f32`.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (fraction + 1024.0) * 2f32.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// Longest decimal: 76 digits, which is what the widest type of writers has.
const DECIMAL_BYTES_MAX: usize = 32;

/// Appends a number of two's complement, big end first, over ten to the power of `scale`, with all its digits.
fn decimal(bytes: &[u8], scale: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    if bytes.len() > DECIMAL_BYTES_MAX || scale > DECIMAL_BYTES_MAX * 3 {
        return Err("a decimal has more than 76 digits");
    }
    let negative = bytes.first().is_some_and(|b| b >> 7 == 1);
    // Its digits, the last one first: for each byte all that is there times 256, and the byte. The size of a negative number is
    // its complement and one.
    let mut reversed: Vec<u8> = vec![0; scale + 1];
    let mut add = |times: u32, more: u32| {
        let mut carry = more;
        for digit in &mut reversed {
            carry += u32::from(*digit) * times;
            *digit = (carry % 10) as u8;
            carry /= 10;
        }
        while carry > 0 {
            reversed.push((carry % 10) as u8);
            carry /= 10;
        }
    };
    bytes.iter().for_each(|b| add(256, u32::from(if negative { !b } else { *b })));
    if negative {
        add(1, 1);
        out.push(b'-');
    }
    let (fraction, whole) = reversed.split_at(scale);
    out.extend(whole.iter().rev().map(|d| b'0' + d));
    if scale > 0 {
        out.push(b'.');
        out.extend(fraction.iter().rev().map(|d| b'0' + d));
    }
    Ok(())
}

/// Appends `"07:15:00.250"`, of a time since midnight.
fn time(n: i64, unit: Unit, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let (seconds, fraction) = (i128::from(n) / unit.per_second(), i128::from(n) % unit.per_second());
    if n < 0 || seconds > DAY {
        return Err("a time of the day is none");
    }
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    out.extend_from_slice(format!("\"{h:02}:{m:02}:{s:02}.{fraction:0width$}\"", width = unit.digits()).as_bytes());
    Ok(())
}

fn moment_of(n: i128, unit: Unit, zone: Zone, out: &mut Vec<u8>) {
    let fraction = format!(".{:0width$}", n.rem_euclid(unit.per_second()), width = unit.digits());
    let end = if zone == Zone::Utc { "Z" } else { "" };
    moment(n.div_euclid(unit.per_second()), Some(&(fraction + end)), out);
}

/// Appends a moment as RFC 3339, with what follows its seconds; without that, its day.
fn moment(seconds: i128, after: Option<&str>, out: &mut Vec<u8>) {
    /// 0000-01-01 and 10000-01-01, which RFC 3339 has no form for any more.
    const YEARS: std::ops::Range<i128> = -62_167_219_200..253_402_300_800;
    if !YEARS.contains(&seconds) {
        out.extend_from_slice(b"null");
        return;
    }
    let mut text = Vec::new();
    Micros(seconds as i64 * Micros::SECOND).write_rfc3339(&mut text);
    text.truncate(if after.is_some() { "2026-11-27T07:15:00".len() } else { "2026-11-27".len() });
    out.push(b'"');
    out.extend_from_slice(&text);
    out.extend_from_slice(after.unwrap_or_default().as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(form: Form, value: Stored<'_>) -> String {
        let mut out = Vec::new();
        match form.write(value, &mut out) {
            Ok(()) => String::from_utf8(out).expect("UTF-8"),
            Err(what) => what.to_owned(),
        }
    }

    #[test]
    fn numbers_keep_what_they_are() {
        for (bits, n, expected) in [
            (8, -1, "255"),
            (32, -1, "4294967295"),
            (64, -1, "18446744073709551615"),
            (16, 7, "7"),
            (0, -1, "18446744073709551615"),
        ] {
            assert_eq!(text(Form::Unsigned(bits), Stored::Int(n)), expected);
        }
        for (bits, expected) in [
            (0x3c00u16, "1.0"),
            (0xc000, "-2.0"),
            (0x3555, "0.33325195"),
            (1, "5.9604645e-8"),
            (0x7c00, "null"),
            (0x7e00, "null"),
            (0x7bff, "65504.0"),
        ] {
            assert_eq!(text(Form::Half, Stored::Bytes(&bits.to_le_bytes())), expected, "{bits:x}");
        }
        for (n, scale, expected) in [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (-5, 2, "-0.05"),
            (-12_345, 2, "-123.45"),
            (i64::MIN, 0, "-9223372036854775808"),
            (i64::MAX, 19, "0.9223372036854775807"),
            (-256, 1, "-25.6"),
        ] {
            assert_eq!(text(Form::Decimal(scale), Stored::Int(n)), expected);
        }
        let wide = [[0x7f].as_slice(), &[0xff; 31]].concat();
        let max = "57896044618658097711785492504343953926634992332820282019728792003956564819967";
        assert_eq!(text(Form::Decimal(0), Stored::Bytes(&wide)), max);
        assert_eq!(text(Form::Decimal(0), Stored::Bytes(&[])), "0");
        assert!(text(Form::Decimal(0), Stored::Bytes(&[1; 33])).contains("76"));
    }

    #[test]
    fn moments_have_their_unit_and_zone() {
        let moment = |unit, zone, n| text(Form::Moment(unit, zone), Stored::Int(n));
        assert_eq!(moment(Unit::Millis, Zone::Utc, -1), "\"1969-12-31T23:59:59.999Z\"");
        assert_eq!(moment(Unit::Micros, Zone::Local, 1_500_000), "\"1970-01-01T00:00:01.500000\"");
        assert_eq!(moment(Unit::Nanos, Zone::Utc, 1), "\"1970-01-01T00:00:00.000000001Z\"");
        assert_eq!(moment(Unit::Millis, Zone::Utc, i64::MAX), "null");
        assert_eq!(text(Form::Date, Stored::Int(-1)), "\"1969-12-31\"");
        assert_eq!(text(Form::Date, Stored::Int(i32::MAX.into())), "null");
        assert_eq!(text(Form::Time(Unit::Micros), Stored::Int(86_399_000_001)), "\"23:59:59.000001\"");
        assert!(text(Form::Time(Unit::Millis), Stored::Int(-1)).contains("none"));
    }

    #[test]
    fn bytes_and_what_they_stand_for() {
        assert_eq!(text(Form::Plain, Stored::Bytes(&[0, 255])), "\"00ff\"");
        assert_eq!(text(Form::Uuid, Stored::Bytes(&[0x12; 16])), "\"12121212-1212-1212-1212-121212121212\"");
        assert_eq!(text(Form::Text, Stored::Bytes("Zürich\"".as_bytes())), "\"Zürich\\\"\"");
        assert_eq!(text(Form::Json, Stored::Bytes(b" {\"a\":[1]} ")), "{\"a\":[1]}");
        assert!(text(Form::Text, Stored::Bytes(b"\xff")).contains("UTF-8"));
        assert!(text(Form::Json, Stored::Bytes(b"{")).contains("none"));
    }
}
