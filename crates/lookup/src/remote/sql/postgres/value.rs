//! Values of Postgres, as they come in its binary form, as JSON.

use tokio_postgres::types::{Kind, Type};

use super::super::rows;
use super::hyphenated;
use crate::json;

/// From 1970 to 2000, where Postgres begins to count.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const DAY_MICROS: i64 = 86_400_000_000;
/// What a value that does not keep to its form is called.
const BROKEN: &str = "not_json";

/// It has a form as JSON here.
pub(super) fn is_renderable(ty: &Type) -> bool {
    match ty.kind() {
        Kind::Domain(inner) | Kind::Array(inner) => is_renderable(inner),
        Kind::Enum(_) => true,
        _ => matches!(
            *ty,
            Type::BOOL
                | Type::INT2
                | Type::INT4
                | Type::INT8
                | Type::OID
                | Type::FLOAT4
                | Type::FLOAT8
                | Type::NUMERIC
                | Type::TEXT
                | Type::VARCHAR
                | Type::BPCHAR
                | Type::NAME
                | Type::UNKNOWN
                | Type::CHAR
                | Type::JSON
                | Type::JSONB
                | Type::UUID
                | Type::BYTEA
                | Type::DATE
                | Type::TIME
                | Type::TIMESTAMP
                | Type::TIMESTAMPTZ
        ),
    }
}

pub(super) fn write(ty: &Type, raw: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let Some(raw) = raw else {
        out.extend_from_slice(b"null");
        return Ok(());
    };
    match ty.kind() {
        Kind::Domain(inner) => return write(inner, Some(raw), out),
        Kind::Array(element) => return array(element, raw, out),
        Kind::Enum(_) => return rows::string(raw, out),
        _ => {}
    }
    match *ty {
        Type::BOOL => out.extend_from_slice(if raw == [0] { b"false" } else { b"true" }),
        Type::INT2 => number(i16::from_be_bytes(fixed(raw)?), out),
        Type::INT4 => number(i32::from_be_bytes(fixed(raw)?), out),
        Type::INT8 => number(i64::from_be_bytes(fixed(raw)?), out),
        Type::OID => number(u32::from_be_bytes(fixed(raw)?), out),
        Type::FLOAT4 => json::float(f32::from_be_bytes(fixed(raw)?), out),
        Type::FLOAT8 => json::float(f64::from_be_bytes(fixed(raw)?), out),
        Type::NUMERIC => numeric(raw, out)?,
        Type::JSON => rows::json_text(raw, out)?,
        Type::JSONB => rows::json_text(raw.strip_prefix(&[1]).ok_or(BROKEN)?, out)?,
        Type::UUID => rows::string(hyphenated(raw).as_bytes(), out)?,
        Type::BYTEA => rows::hex(raw, out),
        Type::DATE => {
            let days = i64::from(i32::from_be_bytes(fixed(raw)?));
            rows::day(days.saturating_mul(DAY_MICROS).saturating_add(EPOCH_MICROS), out);
        }
        Type::TIME => {
            let micros = i64::from_be_bytes(fixed(raw)?);
            let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
            let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            out.extend_from_slice(format!("\"{h:02}:{m:02}:{s:02}.{fraction:06}\"").as_bytes());
        }
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            rows::moment(i64::from_be_bytes(fixed(raw)?).saturating_add(EPOCH_MICROS), out);
        }
        _ => rows::string(raw, out)?,
    }
    Ok(())
}

fn fixed<const N: usize>(raw: &[u8]) -> Result<[u8; N], &'static str> {
    raw.try_into().map_err(|_| BROKEN)
}

fn number(n: impl std::fmt::Display, out: &mut Vec<u8>) {
    out.extend_from_slice(n.to_string().as_bytes());
}

/// A decimal: groups of four digits, of which `weight` says where the first one stands, and a scale for display.
/// <https://github.com/postgres/postgres/blob/REL_15_STABLE/src/backend/utils/adt/numeric.c> (`numeric_send`).
fn numeric(raw: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    const NEGATIVE: i32 = 0x4000;
    let mut words = raw.chunks_exact(2).map(|w| i16::from_be_bytes([w[0], w[1]]));
    let mut next = || words.next().ok_or(BROKEN).map(i32::from);
    let (groups, weight, sign, scale) = (next()?, next()?, next()? & 0xffff, next()?);
    if sign != 0 && sign != NEGATIVE {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    let digits: Vec<i32> = (0..groups).map(|_| next()).collect::<Result<_, _>>()?;
    let group = |at: i32| usize::try_from(at).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0);
    let mut text = String::from(if sign == NEGATIVE { "-" } else { "" });
    let whole: String = (0..=weight).map(|at| format!("{:04}", group(at))).collect();
    let whole = whole.trim_start_matches('0');
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        let fraction: String = (weight + 1..weight + 1 + scale / 4 + 1).map(|at| format!("{:04}", group(at))).collect();
        text.push('.');
        text.push_str(fraction.get(..scale as usize).ok_or(BROKEN)?);
    }
    rows::decimal(&text, out);
    Ok(())
}

/// Dimensions, and the elements in a row.
fn array(element: &Type, raw: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut rest = raw;
    let mut int = || -> Result<i32, &'static str> {
        let (head, tail) = rest.split_first_chunk::<4>().ok_or(BROKEN)?;
        rest = tail;
        Ok(i32::from_be_bytes(*head))
    };
    let (dimensions, _, _) = (int()?, int()?, int()?);
    let mut lens = Vec::new();
    // Postgres has six at most.
    for _ in 0..dimensions.min(6) {
        lens.push(usize::try_from(int()?).map_err(|_| BROKEN)?);
        int()?;
    }
    if lens.is_empty() {
        out.extend_from_slice(b"[]");
        return Ok(());
    }
    level(element, &lens, &mut rest, out)
}

fn level(element: &Type, lens: &[usize], rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let [len, inner @ ..] = lens else {
        let (head, tail) = rest.split_first_chunk::<4>().ok_or(BROKEN)?;
        let len = i32::from_be_bytes(*head);
        let Ok(len) = usize::try_from(len) else {
            *rest = tail;
            return write(element, None, out);
        };
        let (value, tail) = tail.split_at_checked(len).ok_or(BROKEN)?;
        *rest = tail;
        return write(element, Some(value), out);
    };
    out.push(b'[');
    for n in 0..*len {
        if n > 0 {
            out.push(b',');
        }
        level(element, inner, rest, out)?;
    }
    out.push(b']');
    Ok(())
}
