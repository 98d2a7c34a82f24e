//! Values of MySQL in its binary form, as JSON.

use super::super::super::Failure;
use super::super::rows;
use super::packet::{Reader, malformed};
use crate::json;

const UNSIGNED: u16 = 32;
/// The character set of what is no text.
const BINARY: u16 = 63;

/// What a column is, by its number in the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Type {
    Decimal,
    Tiny,
    Short,
    Long,
    Float,
    Double,
    Null,
    LongLong,
    Date,
    Time,
    Moment,
    Bit,
    Json,
    Geometry,
    Text,
}

impl Type {
    fn of(number: u8) -> Option<Type> {
        Some(match number {
            0 | 246 => Type::Decimal,
            1 => Type::Tiny,
            2 | 13 => Type::Short,
            3 | 9 => Type::Long,
            4 => Type::Float,
            5 => Type::Double,
            6 => Type::Null,
            8 => Type::LongLong,
            10 | 14 => Type::Date,
            11 | 19 => Type::Time,
            7 | 12 | 17 | 18 => Type::Moment,
            15 | 247..=254 => Type::Text,
            16 => Type::Bit,
            245 => Type::Json,
            255 => Type::Geometry,
            _ => return None,
        })
    }
}

pub(super) struct Column {
    pub(super) name: String,
    ty: Type,
    unsigned: bool,
    binary: bool,
    /// Its width for display; of bits, their number.
    width: u32,
}

impl Column {
    /// A column's description. MariaDB has no type of its own for JSON; if it was asked to, it says beside the type that a
    /// text is that.
    pub(super) fn read(packet: &[u8], extended: bool) -> Result<Column, Failure> {
        let mut reader = Reader::new(packet);
        // Catalogue, database, table, and the table's own name.
        for _ in 0..4 {
            reader.text()?;
        }
        let name = String::from_utf8(reader.text()?.to_vec()).map_err(|_| malformed())?;
        reader.text()?;
        let mut is_json = false;
        if extended {
            const FORMAT: u8 = 1;
            let told = reader.text()?;
            let mut told = (Reader::new(told), told.len());
            while told.1 > 0 {
                let (what, text) = (told.0.u8()?, told.0.text()?);
                is_json |= what == FORMAT && text == b"json";
                told.1 = told.1.saturating_sub(2 + text.len());
            }
        }
        reader.length()?;
        let charset = reader.u16()?;
        let width = reader.u32()?;
        let number = reader.u8()?;
        let flags = reader.u16()?;
        let ty = Type::of(number).ok_or_else(malformed)?;
        let ty = if is_json && ty == Type::Text { Type::Json } else { ty };
        Ok(Column { name, ty, unsigned: flags & UNSIGNED != 0, binary: charset == BINARY, width })
    }
}

/// The values of a row; `None` for null.
pub(super) fn split<'p>(packet: &'p [u8], columns: &[Column]) -> Result<Vec<Option<&'p [u8]>>, Failure> {
    let mut reader = Reader::new(packet);
    reader.u8()?;
    // The first two bits are not used.
    let nulls = reader.bytes((columns.len() + 2).div_ceil(8))?;
    let value = |(n, column): (usize, &Column)| {
        if nulls[(n + 2) / 8] >> ((n + 2) % 8) & 1 == 1 {
            return Ok(None);
        }
        Ok(Some(match column.ty {
            Type::Tiny => reader.bytes(1)?,
            Type::Short => reader.bytes(2)?,
            Type::Long | Type::Float => reader.bytes(4)?,
            Type::LongLong | Type::Double => reader.bytes(8)?,
            Type::Null => reader.bytes(0)?,
            _ => reader.text()?,
        }))
    };
    columns.iter().enumerate().map(value).collect()
}

pub(super) fn write(column: &Column, raw: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let Some(raw) = raw else {
        out.extend_from_slice(b"null");
        return Ok(());
    };
    let broken = "not_json";
    match column.ty {
        Type::Null => out.extend_from_slice(b"null"),
        Type::Tiny | Type::Short | Type::Long | Type::LongLong => {
            let negative = !column.unsigned && raw.last().is_some_and(|high| high >> 7 == 1);
            let mut all = [if negative { 0xff } else { 0 }; 16];
            all.get_mut(..raw.len()).ok_or(broken)?.copy_from_slice(raw);
            out.extend_from_slice(i128::from_le_bytes(all).to_string().as_bytes());
        }
        Type::Float => json::float(f32::from_le_bytes(raw.try_into().map_err(|_| broken)?), out),
        Type::Double => json::float(f64::from_le_bytes(raw.try_into().map_err(|_| broken)?), out),
        Type::Decimal => rows::decimal(std::str::from_utf8(raw).map_err(|_| broken)?, out),
        Type::Bit if column.width == 1 => out.extend_from_slice(if raw == [1] { b"true" } else { b"false" }),
        Type::Bit => {
            let number = raw.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
            out.extend_from_slice(number.to_string().as_bytes());
        }
        Type::Json => rows::json_text(raw, out)?,
        Type::Geometry => rows::hex(raw, out),
        Type::Text if column.binary => rows::hex(raw, out),
        Type::Text => rows::string(raw, out)?,
        Type::Date => match moment(raw) {
            Some(micros) => rows::day(micros, out),
            None => out.extend_from_slice(b"null"),
        },
        Type::Moment => match moment(raw) {
            Some(micros) => rows::moment(micros, out),
            None => out.extend_from_slice(b"null"),
        },
        Type::Time => out.extend_from_slice(format!("\"{}\"", time(raw).ok_or(broken)?).as_bytes()),
    }
    Ok(())
}

/// Microseconds since 1970; `None` for the days that MySQL has and the calendar has not, such as 0000-00-00.
fn moment(raw: &[u8]) -> Option<i64> {
    let all = padded::<11>(raw)?;
    let [y0, y1, month, day, h, m, s, a, b, c, d] = all;
    let text = format!("{:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z", u16::from_le_bytes([y0, y1]));
    let seconds = event::Micros::parse_rfc3339(text.as_bytes())?;
    Some(seconds.0 + i64::from(u32::from_le_bytes([a, b, c, d])))
}

/// Hours, which may be more than a day has.
fn time(raw: &[u8]) -> Option<String> {
    let [negative, d0, d1, d2, d3, h, m, s, a, b, c, d] = padded::<12>(raw)?;
    let hours = u64::from(u32::from_le_bytes([d0, d1, d2, d3])) * 24 + u64::from(h);
    let sign = if negative == 1 { "-" } else { "" };
    Some(format!("{sign}{hours:02}:{m:02}:{s:02}.{:06}", u32::from_le_bytes([a, b, c, d])))
}

/// What is zero at the end is left out.
fn padded<const N: usize>(raw: &[u8]) -> Option<[u8; N]> {
    let mut all = [0; N];
    all.get_mut(..raw.len())?.copy_from_slice(raw);
    Some(all)
}
