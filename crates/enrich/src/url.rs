//! The little of URLs that enrichers need: host, path, and the pairs of the query. It takes what browsers and servers send
//! and never refuses: what is no URL has no host, and what is no escape stays as it is.

use std::borrow::Cow;

use event::json::write_string;

/// A host's most bytes: 253 by RFC 1035, and the brackets of an address.
pub const HOST_MAX: usize = 255;

/// Pairs of a query that are looked at. Real ones have some dozens; what comes later in a made-up one does not count.
pub const PAIRS_MAX: usize = 512;

/// The parts of a URL, as they stand in it. Without `scheme://` or `//` before it there is no host, and the text begins
/// with the path, as in an access log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Url<'a> {
    /// Without `://`; empty if there is none.
    pub scheme: &'a [u8],
    /// Without user, port, and a dot at its end; empty if there is none.
    pub host: &'a [u8],
    /// As it stands: after a host it begins with `/` or is empty.
    pub path: &'a [u8],
    /// What follows the first `?`; empty if there is none.
    pub query: &'a [u8],
}

impl<'a> Url<'a> {
    /// Reads a text without JSON's quotes and escapes. The fragment is passed over.
    pub fn parse(text: &'a [u8]) -> Url<'a> {
        let text = text.trim_ascii();
        let (text, _) = split(text, b'#');
        let (before, query) = split(text, b'?');
        let (scheme, rest) = scheme(before);
        let Some(rest) = rest else { return Url { scheme, host: &[], path: before, query } };
        // Browsers take a backslash for a slash.
        let end = memchr::memchr2(b'/', b'\\', rest).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        Url { scheme, host: host(authority), path, query }
    }

    /// The host in lower case (ASCII), in `buffer`; empty if there is none or it is longer than a host can be.
    pub fn lower_host<'b>(&self, buffer: &'b mut [u8; HOST_MAX]) -> &'b [u8] {
        let Some(lower) = buffer.get_mut(..self.host.len()) else { return &[] };
        lower.copy_from_slice(self.host);
        lower.make_ascii_lowercase();
        lower
    }

    /// The pairs of the query in their order, at most [`PAIRS_MAX`].
    pub fn pairs(&self) -> impl Iterator<Item = Pair<'a>> + use<'a> {
        pairs(self.query)
    }
}

/// A parameter, as it stands in the query. One without `=` has an empty value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pair<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
}

/// The pairs of a query. Empty ones (`&&`) are passed over.
pub fn pairs(query: &[u8]) -> impl Iterator<Item = Pair<'_>> {
    let mut rest = query;
    let parts = std::iter::from_fn(move || {
        let (part, next) = (!rest.is_empty()).then(|| split(rest, b'&'))?;
        rest = next;
        Some(part)
    });
    let pair = |part| {
        let (name, value) = split(part, b'=');
        Pair { name, value }
    };
    parts.filter(|part| !part.is_empty()).take(PAIRS_MAX).map(pair)
}

/// A name or a value without its escapes: `+` is a space, `%41` an `A`. Copies only what has some. What comes out need not
/// be UTF-8.
pub fn decode(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'+', b'%', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    decode_onto(raw, &mut out);
    Cow::Owned(out)
}

/// Appends a value without its escapes as a JSON string; what is not UTF-8 becomes U+FFFD.
pub fn write_decoded(raw: &[u8], out: &mut Vec<u8>) {
    let quote = out.len();
    out.push(b'"');
    decode_onto(raw, out);
    let decoded = &out[quote + 1..];
    // Nearly always so, and then nothing is copied twice.
    if std::str::from_utf8(decoded).is_ok() && !decoded.iter().any(|b| matches!(b, b'"' | b'\\' | ..0x20)) {
        out.push(b'"');
        return;
    }
    let text = String::from_utf8_lossy(decoded).into_owned();
    out.truncate(quote);
    write_string(text.as_bytes(), out);
}

fn decode_onto(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(plain) = memchr::memchr2(b'+', b'%', rest) {
        out.extend_from_slice(&rest[..plain]);
        let hex = |at: usize| rest.get(plain + at).and_then(|b| (*b as char).to_digit(16));
        let used = match (rest[plain], hex(1), hex(2)) {
            (b'+', ..) => {
                out.push(b' ');
                1
            }
            (_, Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                3
            }
            _ => {
                out.push(b'%');
                1
            }
        };
        rest = &rest[plain + used..];
    }
    out.extend_from_slice(rest);
}

/// What is before the first byte of that kind, and what is after it.
fn split(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(at, text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[]),
    }
}

/// The scheme, and what follows its `//`, or a `//` alone; `None` where there is neither.
fn scheme(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    if let Some(rest) = text.strip_prefix(b"//") {
        return (&[], Some(rest));
    }
    let end = text.iter().position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')));
    match end.map(|end| text.split_at(end)) {
        Some((scheme, rest)) if scheme.first().is_some_and(u8::is_ascii_alphabetic) => {
            match rest.strip_prefix(b"://") {
                Some(rest) => (scheme, Some(rest)),
                None => (&[], None),
            }
        }
        _ => (&[], None),
    }
}

/// The host of `user:password@host:port`.
fn host(authority: &[u8]) -> &[u8] {
    let start = authority.iter().rposition(|b| *b == b'@').map_or(0, |at| at + 1);
    let host = &authority[start..];
    let end = match host.first() {
        // An IPv6 address has colons of its own.
        Some(b'[') => host.iter().position(|b| *b == b']').map_or(host.len(), |at| at + 1),
        _ => host.iter().position(|b| *b == b':').unwrap_or(host.len()),
    };
    let host = &host[..end];
    host.strip_suffix(b".").unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_browsers_and_of_access_logs() {
        for (text, scheme, host, path, query) in [
            ("https://www.Example.com/a/b?x=1&y=2#z?w", "https", "www.Example.com", "/a/b", "x=1&y=2"),
            ("http://example.com", "http", "example.com", "", ""),
            ("http://example.com?q=1", "http", "example.com", "", "q=1"),
            ("http://example.com#top", "http", "example.com", "", ""),
            ("https://u:p@ss@example.com.:8443/", "https", "example.com", "/", ""),
            ("http://[2001:db8::1]:80/x", "http", "[2001:db8::1]", "/x", ""),
            ("http://[2001:db8::1", "http", "[2001:db8::1", "", ""),
            ("//cdn.example.com/x", "", "cdn.example.com", "/x", ""),
            ("/path?utm_source=a?b", "", "", "/path", "utm_source=a?b"),
            ("?utm_source=a", "", "", "", "utm_source=a"),
            ("path/only", "", "", "path/only", ""),
            ("/go?to=https://other.com/", "", "", "/go", "to=https://other.com/"),
            ("/go/https://other.com/", "", "", "/go/https://other.com/", ""),
            ("android-app://com.google.android.gm/", "android-app", "com.google.android.gm", "/", ""),
            ("http:\\\\evil.com", "", "", "http:\\\\evil.com", ""),
            ("https://example.com\\@other.com/", "https", "example.com", "\\@other.com/", ""),
            ("  https://example.com/ \n", "https", "example.com", "/", ""),
            ("about:blank", "", "", "about:blank", ""),
            ("https://", "https", "", "", ""),
            ("://x", "", "", "://x", ""),
            ("1http://x", "", "", "1http://x", ""),
            ("-", "", "", "-", ""),
            ("", "", "", "", ""),
        ] {
            let url = Url::parse(text.as_bytes());
            let got = [url.scheme, url.host, url.path, url.query].map(|part| std::str::from_utf8(part).expect(text));
            assert_eq!(got, [scheme, host, path, query], "{text}");
        }
    }

    #[test]
    fn a_host_is_lowered_and_bounded() {
        let mut buffer = [0; HOST_MAX];
        assert_eq!(Url::parse(b"https://WWW.Example.COM/").lower_host(&mut buffer), b"www.example.com");
        for (len, lowered) in [(HOST_MAX, HOST_MAX), (HOST_MAX + 1, 0)] {
            let text = format!("https://{}/", "X".repeat(len));
            assert_eq!(Url::parse(text.as_bytes()).lower_host(&mut buffer).len(), lowered);
        }
    }

    #[test]
    fn pairs_come_in_order_and_values_are_decoded() {
        let query = b"a=1&&b&c=&=d&a=2&e=f=g&%61=x";
        let got: Vec<_> = pairs(query).map(|p| (p.name, p.value)).collect();
        let want: [(&[u8], &[u8]); 7] =
            [(b"a", b"1"), (b"b", b""), (b"c", b""), (b"", b"d"), (b"a", b"2"), (b"e", b"f=g"), (b"%61", b"x")];
        assert_eq!(got, want);
        assert_eq!(pairs("a&".repeat(PAIRS_MAX + 9).as_bytes()).count(), PAIRS_MAX);
        for (raw, decoded, json) in [
            ("", "", r#""""#),
            ("plain", "plain", r#""plain""#),
            ("a+b%20c", "a b c", r#""a b c""#),
            ("%C3%BC%e2%82%AC", "ü€", r#""ü€""#),
            ("100%", "100%", r#""100%""#),
            ("%4", "%4", r#""%4""#),
            ("%zz%+1%41", "%zz% 1A", r#""%zz% 1A""#),
            ("%22%5C%0a%00", "\"\\\n\0", r#""\"\\\n\u0000""#),
        ] {
            assert_eq!(&*decode(raw.as_bytes()), decoded.as_bytes(), "{raw}");
            let mut out = b"x".to_vec();
            write_decoded(raw.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).expect("UTF-8"), format!("x{json}"), "{raw}");
        }
        let mut out = Vec::new();
        write_decoded(b"a%FFb%C3", &mut out);
        assert_eq!(out, "\"a\u{fffd}b\u{fffd}\"".as_bytes());
        assert!(matches!(decode(b"plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn junk_has_parts_and_harms_nobody() {
        let bytes = b"http:/\\?#@[]&=%+-.aZ09 \x00\xff\xc3";
        let mut state = 88_172_645_463_325_252u64;
        for n in 0..50_000 {
            let junk: Vec<u8> = (0..n % 40)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    bytes[state as usize % bytes.len()]
                })
                .collect();
            let url = Url::parse(&junk);
            url.lower_host(&mut [0; HOST_MAX]);
            for pair in url.pairs() {
                let mut out = Vec::new();
                write_decoded(pair.value, &mut out);
                assert!(std::str::from_utf8(&out).is_ok(), "{junk:?}");
                assert!(out.len() >= 2 && !out[1..out.len() - 1].contains(&b'\n'));
                decode(pair.name);
            }
            // Nothing is made up: every part stands in the text.
            let total = url.scheme.len() + url.host.len() + url.path.len() + url.query.len();
            assert!(total <= junk.len());
        }
    }
}
