//! What of a configuration must never be shown again: values of keys that sound secret, whatever the key is worth
//! otherwise, and passwords in addresses. A wrong key with a secret behind it is still a secret.

use std::ops::Range;

use super::text::{Spot, Texts};
use super::tree::{Node, Table, Value};

/// Whether a key of this name holds something that must not be shown.
pub(crate) fn sounds_secret(name: &str) -> bool {
    const PARTS: [&str; 10] = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "apikey",
        "accesskey",
        "privatekey",
        "credential",
        "authorization",
    ];
    const WHOLE: [&str; 5] = ["pwd", "pass", "auth", "bearer", "cookie"];
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).flat_map(char::to_lowercase).collect();
    WHOLE.contains(&plain.as_str()) || PARTS.iter().any(|p| plain.contains(p))
}

/// Whether a value is a reference to a secret and may be shown: `{ env = ... }` or `{ file = ... }` and nothing else.
pub(crate) fn is_reference(node: &Node) -> bool {
    match &node.value {
        Value::Table(t) => t.members.len() == 1 && t.members.keys().all(|k| k == "env" || k == "file"),
        _ => false,
    }
}

/// Masks the values of keys that sound secret, in a tree that was read.
pub(crate) fn mask_table(table: &Table, texts: &mut Texts) {
    for (name, member) in &table.members {
        if sounds_secret(name) && !is_reference(&member.node) {
            mask_values(&member.node, texts);
        } else {
            match &member.node.value {
                Value::Table(t) => mask_table(t, texts),
                Value::List(nodes) => nodes.iter().for_each(|n| {
                    if let Value::Table(t) = &n.value {
                        mask_table(t, texts);
                    }
                }),
                _ => {}
            }
        }
    }
}

/// Masks every value in a node, but not the keys.
pub(crate) fn mask_values(node: &Node, texts: &mut Texts) {
    match &node.value {
        Value::Table(t) => t.members.values().for_each(|m| mask_values(&m.node, texts)),
        Value::List(nodes) => nodes.iter().for_each(|n| mask_values(n, texts)),
        _ => texts.mask(node.spot),
    }
}

/// Masks a text that could not be read: from the `=` behind a name that sounds secret to the end of its line, or to the
/// end of its multi-line text.
pub(crate) fn mask_unread(text: usize, texts: &mut Texts) {
    let content = texts.get(text).content.clone();
    let mut start = 0;
    while start < content.len() {
        let end = content[start..].find('\n').map_or(content.len(), |n| start + n);
        let line = &content[start..end];
        let mut next = end + 1;
        let secret = line.match_indices('=').find(|(at, _)| {
            let name = line[..*at].trim_end().trim_end_matches(['"', '\'']);
            let from = name.rfind([' ', '\t', ',', '{', '.', '"', '\'']).map_or(0, |n| n + 1);
            sounds_secret(&name[from..])
        });
        if let Some((at, _)) = secret {
            let mut from = start + at + 1;
            from += content[from..end].len() - content[from..end].trim_start().len();
            let mut until = end;
            for quotes in ["\"\"\"", "'''"] {
                if content[from..].starts_with(quotes) {
                    let body = from + quotes.len();
                    until = content[body..].find(quotes).map_or(content.len(), |n| body + n + quotes.len()).max(end);
                    next = content[until..].find('\n').map_or(content.len(), |n| until + n + 1);
                }
            }
            texts.mask(Spot { text, start: from, end: until });
        }
        start = next;
    }
}

/// Masks passwords in addresses (`scheme://user:password@host`) anywhere in a text.
pub(crate) fn mask_addresses(text: usize, texts: &mut Texts) {
    let found = passwords_in(&texts.get(text).content);
    for part in found {
        texts.mask(Spot { text, start: part.start, end: part.end });
    }
}

/// Where passwords of addresses stand in a text.
pub(crate) fn passwords_in(content: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, _) in content.match_indices("://") {
        let from = at + 3;
        let authority = &content[from..];
        let end =
            authority.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '/')).unwrap_or(authority.len());
        if let (Some(colon), Some(host)) = (authority[..end].find(':'), authority[..end].rfind('@'))
            && colon + 1 < host
        {
            found.push(from + colon + 1..from + host);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::text::Origin;
    use super::*;

    #[test]
    fn names_that_sound_secret() {
        for name in ["password", "db_password", "API-Key", "apiKey", "client_secret", "Authorization", "token", "pwd"] {
            assert!(sounds_secret(name), "{name}");
        }
        for name in ["key", "user", "path", "keep", "compass", "author"] {
            assert!(!sounds_secret(name), "{name}");
        }
    }

    #[test]
    fn a_broken_text_hides_its_secrets() {
        for (content, shown) in [
            ("a = 1\npassword = \"x y\nb = 2", "a = 1\npassword = ###\nb = 2"),
            ("s = { token = \"x\", z", "s = { token = ###"),
            ("token = \"\"\"\nx\ny\n\"\"\" z\nb = [", "token = ### z\nb = ["),
            ("token = '''\nx\nb = [", "token = ###"),
            ("url = \"pg://me:x@h/d", "url = \"pg://me:###@h/d"),
        ] {
            let mut texts = Texts::default();
            let text = texts.add(Origin::BuiltIn, content.into(), "".into());
            mask_unread(text, &mut texts);
            mask_addresses(text, &mut texts);
            let mut left = content.to_owned();
            for m in texts.get(text).masks.iter().rev() {
                left.replace_range(m.clone(), "###");
            }
            assert_eq!(left, shown);
        }
    }
}
