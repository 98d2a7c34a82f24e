//! Lines of a web server's access log (combined format, or common format without its last two fields) as JSON.
//!
//! ```text
//! 83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /a?b=c HTTP/1.1" 200 203023 "http://example.com/" "Mozilla/5.0 ..."
//! ```
//! becomes, always with these nine members in this order,
//! ```text
//! {"ip":"83.149.9.216","user":null,"time":"17/May/2015:10:05:03 +0000","method":"GET","url":"/a?b=c","status":200,
//!  "bytes":203023,"referrer":"http://example.com/","user_agent":"Mozilla/5.0 ..."}
//! ```
//! on one line. What the log says with `-`, or does not say, is null. The identity of RFC 1413 (the second field), the
//! protocol and whatever stands behind the user agent are left out. A request that is not `METHOD URL [PROTOCOL]` has a
//! null method and stands whole in `url`.
//!
//! Between quotes the escapes of Apache and nginx are undone: `\"`, `\\`, `\n`, `\r`, `\t`, `\b`, `\v`, `\xhh`. Control characters
//! are then written as JSON does (`\u0016`), and a byte that belongs to no valid UTF-8 as those servers do: as the four
//! characters `\xhh`. A line may end within the last quotes it opened: servers cut long ones.

use event::{Code, Failure};

use event::json::write_string;

/// Appends the JSON form of one line (without its line end) to `out`. What is appended on a failure is to be thrown away.
///
/// # Errors
/// `bad_line`, with the byte at which the line stops to look like an access log.
pub fn to_json(line: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
    let parts = Parts::of(line).map_err(|(at, expected)| {
        Failure::new(Code::BadLine, "", format!("no line of an access log: {expected} was expected, at byte {at}"))
    })?;
    let (method, url) = split_request(parts.request);
    out.reserve(line.len() + 112);
    for (name, value) in [
        (&b"{\"ip\":"[..], Some(parts.ip)),
        (b",\"user\":", parts.user),
        (b",\"time\":", Some(parts.time)),
        (b",\"method\":", method),
        (b",\"url\":", url),
    ] {
        out.extend_from_slice(name);
        write(value, out);
    }
    for (name, number) in [(&b",\"status\":"[..], parts.status), (b",\"bytes\":", parts.bytes)] {
        out.extend_from_slice(name);
        out.extend_from_slice(number.unwrap_or(b"null"));
    }
    for (name, value) in [(&b",\"referrer\":"[..], parts.referrer), (b",\"user_agent\":", parts.user_agent)] {
        out.extend_from_slice(name);
        write(value, out);
    }
    out.push(b'}');
    Ok(())
}

/// Whether a line has the shape of an access log.
pub fn looks_like(line: &[u8]) -> bool {
    Parts::of(line).is_ok()
}

/// The fields of a line as they stand in it, quotes and brackets taken off; `None` for `-` and what is missing.
struct Parts<'a> {
    ip: &'a [u8],
    user: Option<&'a [u8]>,
    time: &'a [u8],
    request: Option<&'a [u8]>,
    status: Option<&'a [u8]>,
    bytes: Option<&'a [u8]>,
    referrer: Option<&'a [u8]>,
    user_agent: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    /// The error is the byte and what was expected there.
    fn of(line: &'a [u8]) -> Result<Parts<'a>, (usize, &'static str)> {
        let mut at = 0;
        let ip = until(line, &mut at, b" ").filter(|ip| !ip.is_empty()).ok_or((0, "an address and a space"))?;
        until(line, &mut at, b" ").ok_or((at, "an identity (`-`) and a space"))?;
        // A user's name may hold spaces: it ends where the time begins.
        let user = until(line, &mut at, b" [").ok_or((at, "a user (`-`) and the time in brackets"))?;
        let time = until(line, &mut at, b"] ").ok_or((at, "the time's closing bracket"))?;
        let request = quoted(line, &mut at).ok_or((at, "a request in quotes"))?;
        space(line, &mut at)?;
        let status = number(line, &mut at).ok_or((at, "a status"))?;
        space(line, &mut at)?;
        let bytes = number(line, &mut at).ok_or((at, "a number of bytes"))?;
        let (mut referrer, mut user_agent) = (None, None);
        if at < line.len() {
            space(line, &mut at)?;
            referrer = Some(quoted(line, &mut at).ok_or((at, "a referrer in quotes"))?);
        }
        if at < line.len() {
            space(line, &mut at)?;
            user_agent = Some(quoted(line, &mut at).ok_or((at, "a user agent in quotes"))?);
        }
        let said = |field: &'a [u8]| Some(field).filter(|f| *f != b"-");
        Ok(Parts {
            ip,
            user: said(user),
            time,
            request: said(request),
            status: said(status),
            bytes: said(bytes),
            referrer: referrer.and_then(said),
            user_agent: user_agent.and_then(said),
        })
    }
}

/// What stands before `end`; goes on behind it.
fn until<'a>(line: &'a [u8], at: &mut usize, end: &[u8]) -> Option<&'a [u8]> {
    let rest = &line[*at..];
    // The ends come early in a line: a searcher for substrings would take longer to make than to use.
    let len = memchr::memchr_iter(end[0], rest).find(|n| rest[*n..].starts_with(end))?;
    *at += len + end.len();
    Some(&rest[..len])
}

fn space(line: &[u8], at: &mut usize) -> Result<(), (usize, &'static str)> {
    match line.get(*at) {
        Some(b' ') => {
            *at += 1;
            Ok(())
        }
        _ => Err((*at, "a space")),
    }
}

/// What stands between quotes, its escapes left in; the line's end closes it, too.
fn quoted<'a>(line: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let inside = line[*at..].strip_prefix(b"\"")?;
    let mut end = 0;
    loop {
        match memchr::memchr2(b'"', b'\\', &inside[end..]).map(|n| end + n) {
            Some(n) if inside[n] == b'"' => {
                *at += n + 2;
                return Some(&inside[..n]);
            }
            Some(n) if n + 2 <= inside.len() => end = n + 2,
            _ => {
                *at = line.len();
                return Some(inside);
            }
        }
    }
}

/// Digits that are a JSON number as they stand, or `-`.
fn number<'a>(line: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let rest = &line[*at..];
    let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = match (rest.first(), len) {
        (Some(b'-'), _) => &rest[..1],
        (Some(b'0'), 2..) | (_, 0 | 20..) => return None,
        _ => &rest[..len],
    };
    *at += number.len();
    Some(number)
}

/// `GET /a HTTP/1.1` -> (`GET`, `/a`). A URL may hold spaces, which servers do not escape.
fn split_request(request: Option<&[u8]>) -> (Option<&[u8]>, Option<&[u8]>) {
    let Some(request) = request else { return (None, None) };
    let Some(space) = memchr::memchr(b' ', request) else { return (None, Some(request)) };
    let (method, url) = (&request[..space], &request[space + 1..]);
    if method.is_empty() || !method.iter().all(|b| b.is_ascii_alphabetic() || *b == b'-' || *b == b'_') {
        return (None, Some(request));
    }
    let url = match memchr::memrchr(b' ', url) {
        Some(n) if url[n + 1..].starts_with(b"HTTP/") => &url[..n],
        _ => url,
    };
    (Some(method), Some(url))
}

fn write(value: Option<&[u8]>, out: &mut Vec<u8>) {
    match value {
        None => out.extend_from_slice(b"null"),
        Some(value) if value.is_ascii() && !value.contains(&b'\\') => write_string(value, out),
        Some(value) => write_awkward(value, out),
    }
}

#[cold]
fn write_awkward(value: &[u8], out: &mut Vec<u8>) {
    let mut plain = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&b, tail)) = rest.split_first() {
        let (byte, used) = match (b, tail.first()) {
            (b'\\', Some(b'"')) => (b'"', 2),
            (b'\\', Some(b'\\')) => (b'\\', 2),
            (b'\\', Some(b'n')) => (b'\n', 2),
            (b'\\', Some(b'r')) => (b'\r', 2),
            (b'\\', Some(b't')) => (b'\t', 2),
            (b'\\', Some(b'b')) => (8, 2),
            (b'\\', Some(b'v')) => (11, 2),
            (b'\\', Some(b'x')) => match hex2(&tail[1..]) {
                Some(byte) => (byte, 4),
                None => (b, 1),
            },
            _ => (b, 1),
        };
        plain.push(byte);
        rest = &rest[used..];
    }
    let mut text = Vec::with_capacity(plain.len());
    for chunk in plain.utf8_chunks() {
        text.extend_from_slice(chunk.valid().as_bytes());
        for byte in chunk.invalid() {
            text.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
    write_string(&text, out);
}

fn hex2(digits: &[u8]) -> Option<u8> {
    let high = (*digits.first()? as char).to_digit(16)?;
    let low = (*digits.get(1)? as char).to_digit(16)?;
    Some((high << 4 | low) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(line: &[u8]) -> Result<String, String> {
        let mut out = Vec::new();
        to_json(line, &mut out).map_err(|f| f.message)?;
        Ok(String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn lines_have_a_json_form() {
        for (line, expected) in [
            (
                r#"83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /a?b=c HTTP/1.1" 200 203023 "http://e.com/" "Mozilla/5.0 (X)""#,
                r#"{"ip":"83.149.9.216","user":null,"time":"17/May/2015:10:05:03 +0000","method":"GET","url":"/a?b=c","status":200,"bytes":203023,"referrer":"http://e.com/","user_agent":"Mozilla/5.0 (X)"}"#,
            ),
            // Common format; a user with a space; nothing sent.
            (
                r#"::1 - Ann Lee [17/May/2015:10:05:03 +0000] "HEAD / HTTP/1.0" 304 -"#,
                r#"{"ip":"::1","user":"Ann Lee","time":"17/May/2015:10:05:03 +0000","method":"HEAD","url":"/","status":304,"bytes":null,"referrer":null,"user_agent":null}"#,
            ),
            // No closing quote; a URL with a space; more fields behind; no request at all.
            (
                r#"h id u [t] "GET /a b HTTP/1.1" 200 0 "-" "cut agen"#,
                r#"{"ip":"h","user":"u","time":"t","method":"GET","url":"/a b","status":200,"bytes":0,"referrer":null,"user_agent":"cut agen"}"#,
            ),
            (
                r#"h - - [t] "-" 408 - "-" "-" "10.0.0.1" 0.003"#,
                r#"{"ip":"h","user":null,"time":"t","method":null,"url":null,"status":408,"bytes":null,"referrer":null,"user_agent":null}"#,
            ),
            (
                r#"h - - [t] "\x16\x03\x01" 400 226 "" "a\"b\\c\xc3\xa9\xff\xzz\""#,
                r#"{"ip":"h","user":null,"time":"t","method":null,"url":"\u0016\u0003\u0001","status":400,"bytes":226,"referrer":"","user_agent":"a\"b\\cé\\xff\\xzz\""}"#,
            ),
            (
                r#"h - - [t] "GET /" - -"#,
                r#"{"ip":"h","user":null,"time":"t","method":"GET","url":"/","status":null,"bytes":null,"referrer":null,"user_agent":null}"#,
            ),
        ] {
            assert_eq!(json(line.as_bytes()).as_deref(), Ok(expected), "{line}");
        }
        let raw = json(b"h - - [t] \"GET /\xff\xe9\x01 HTTP/1.1\" 200 1").expect("a line");
        assert!(raw.contains(r#""url":"/\\xff\\xe9\u0001""#), "{raw}");
    }

    #[test]
    fn what_is_no_access_log_says_where_it_stops_being_one() {
        for (line, at) in [
            ("", 0),
            ("{\"a\":1}", 0),
            ("{\"a\": 1}", 6),
            (" - - [t] \"GET /\" 200 1", 0),
            ("h - -", 4),
            ("h - - [t", 7),
            ("h - - [t] GET", 10),
            ("h - - [t] \"GET /\"200", 17),
            ("h - - [t] \"GET /\" OK 1", 18),
            ("h - - [t] \"GET /\" 020 1", 18),
            ("h - - [t] \"GET /\" 200", 21),
            ("h - - [t] \"GET /\" 200 1x", 23),
            ("h - - [t] \"GET /\" 200 1 http://", 24),
        ] {
            let message = json(line.as_bytes()).expect_err(line);
            assert!(message.ends_with(&format!("at byte {at}")), "{line}: {message}");
            assert!(!looks_like(line.as_bytes()));
        }
    }
}
