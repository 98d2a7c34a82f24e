//! The reference of the configuration in `docs/configuration.md`, made from the table of keys in `node`. The table is
//! read as text: xtask uses none of the crates, so that it works when one of them does not build.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{File, Finding, text_of};

const SCHEMA: &str = "crates/node/src/config/schema.rs";
const PAGE: &str = "docs/configuration.md";
const BEGIN: &str = "<!-- From crates/node/src/config/schema.rs by `cargo xtask tidy --fix`. -->\n";
const END: &str = "<!-- End of what is made. -->\n";

/// One call `key(path, kind, absent, example, also, meaning)`.
struct Key {
    path: String,
    kind: String,
    absent: String,
    example: String,
    meaning: String,
}

pub fn check(files: &[File]) -> Vec<Finding> {
    match with_reference(text_of(files, PAGE), text_of(files, SCHEMA)) {
        Ok(text) if text == text_of(files, PAGE) => Vec::new(),
        Ok(_) => vec![Finding::error(format!("{PAGE} does not say what {SCHEMA} does: `cargo xtask tidy --fix`"))],
        Err(error) => vec![Finding::error(format!("{PAGE}: {error:#}"))],
    }
}

pub fn write(root: &Path) -> Result<()> {
    let page = std::fs::read_to_string(root.join(PAGE)).context(PAGE)?;
    let schema = std::fs::read_to_string(root.join(SCHEMA)).context(SCHEMA)?;
    let text = with_reference(&page, &schema)?;
    if text != page {
        std::fs::write(root.join(PAGE), text)?;
    }
    Ok(())
}

/// The page with what lies between the two marks made anew.
fn with_reference(page: &str, schema: &str) -> Result<String> {
    let (head, rest) = page.split_once(BEGIN).context("the mark where the reference begins is missing")?;
    let (_, tail) = rest.split_once(END).context("the mark where the reference ends is missing")?;
    Ok(format!("{head}{BEGIN}\n{}{END}{tail}", reference(schema)?))
}

fn reference(schema: &str) -> Result<String> {
    let (sections, keys) = (sections(schema)?, keys(schema)?);
    let mut out = String::new();
    for (path, meaning) in std::iter::once(&(String::new(), String::new())).chain(&sections) {
        let title = match path.strip_suffix("[]") {
            _ if path.is_empty() => "The top of the file".to_owned(),
            Some(list) => format!("`[[{list}]]`"),
            None => format!("`[{path}]`"),
        };
        out.push_str(&format!("### {title}\n\n"));
        if !meaning.is_empty() {
            out.push_str(&format!("{meaning}\n\n"));
        }
        out.push_str("| key | takes | default | meaning | example |\n|---|---|---|---|---|\n");
        let before = out.len();
        for key in &keys {
            let (section, name) = key.path.rsplit_once('.').unwrap_or(("", &key.path));
            if section == path {
                let cells = [&kind(&key.kind)?, &absent(&key.absent)?, &key.meaning, &format!("`{}`", key.example)];
                let cells = cells.map(|c| c.replace('|', "\\|")).join(" | ");
                out.push_str(&format!("| `{name}` | {cells} |\n"));
            }
        }
        if out.len() == before {
            bail!("section `{path}` has no keys");
        }
        out.push('\n');
    }
    let known = |key: &&Key| match key.path.rsplit_once('.') {
        Some((section, _)) => sections.iter().any(|(path, _)| path == section),
        None => true,
    };
    match keys.iter().find(|k| !known(k)) {
        Some(key) => bail!("`{}` stands in no section", key.path),
        None => Ok(out),
    }
}

/// (path, meaning) of each `Section { path: "..", meaning: ".." }`.
fn sections(schema: &str) -> Result<Vec<(String, String)>> {
    let (_, rest) = schema.split_once("pub static SECTIONS").context("no SECTIONS")?;
    let (rest, _) = rest.split_once("];").context("SECTIONS has no end")?;
    let mut sections = Vec::new();
    for part in rest.split("Section {").skip(1) {
        let strings = strings(part);
        let [path, meaning] = &strings[..] else { bail!("a section that is not a path and a meaning: {strings:?}") };
        sections.push((path.clone(), meaning.clone()));
    }
    Ok(sections)
}

fn keys(schema: &str) -> Result<Vec<Key>> {
    let (_, rest) = schema.split_once("pub static KEYS").context("no KEYS")?;
    let (rest, _) = rest.split_once("\n];").context("KEYS has no end")?;
    let mut keys = Vec::new();
    for call in rest.split("\n    key(").skip(1) {
        let parts = arguments(call);
        let [path, kind, absent, example, _also, meaning] = &parts[..] else {
            bail!("a key with {} parts: {}", parts.len(), parts.first().map_or("", |p| p));
        };
        let text = |part: &str| strings(part).pop().with_context(|| format!("{path}: no text in {part}"));
        keys.push(Key {
            path: text(path)?,
            kind: kind.clone(),
            absent: absent.clone(),
            example: text(example)?,
            meaning: text(meaning)?,
        });
    }
    if keys.is_empty() { bail!("no keys found in {SCHEMA}") } else { Ok(keys) }
}

/// What a key takes, for people: `Duration { min_ms: SECOND, max_ms: 3650 * DAY }` is "a duration, 1s to 3650d".
fn kind(kind: &str) -> Result<String> {
    let bounds = || -> Result<(u64, u64)> {
        let inner = kind.split_once('{').and_then(|(_, k)| k.split_once('}')).context("no bounds")?.0;
        let mut values = inner.split(',').filter_map(|part| part.split_once(':')).map(|(_, value)| product(value));
        Ok((values.next().context("no lower bound")??, values.next().context("no upper bound")??))
    };
    let name = kind.split([' ', '(', '{']).next().unwrap_or("");
    Ok(match name {
        "Version" => "a number".into(),
        "Text" => "text".into(),
        "Name" => "a name: letters, digits, `_`, `-`".into(),
        "Word" => {
            let words = strings(kind);
            // `Word(PRESETS)`: a constant of the same file, whose words the meaning's page lists.
            if words.is_empty() { "a preset".into() } else { format!("`{}`", words.join("`, `")) }
        }
        "Switch" => "`true`, `false`".into(),
        "Count" => bounds().map(|(min, max)| format!("{min} to {max}"))?,
        "Duration" => bounds().map(|(min, max)| format!("duration, {} to {}", duration(min), duration(max)))?,
        "Size" => bounds().map(|(min, max)| format!("size, {} to {}", size(min), size(max)))?,
        "Space" => "a share of the disk, or a size".into(),
        "Address" => "address and port".into(),
        "Path" => "path".into(),
        "Paths" => "path, or list of paths".into(),
        "Secret" => "`{ env = \"NAME\" }` or `{ file = \"path\" }`".into(),
        "FieldMap" => "table of fields".into(),
        other => bail!("the kind `{other}` is new: say in xtask/src/tidy/reference.rs how people read it"),
    })
}

fn absent(absent: &str) -> Result<String> {
    let name = absent.split('(').next().unwrap_or("");
    let text = strings(absent).pop().unwrap_or_default();
    Ok(match name {
        "Is" => format!("`{text}`"),
        "Refused" => "must be written".into(),
        "Means" => text,
        other => bail!("`{other}`: unknown form of a default"),
    })
}

/// `3650 * DAY` in the units of the schema: milliseconds and bytes.
fn product(text: &str) -> Result<u64> {
    const KNOWN: [(&str, u64); 7] = [
        ("KIB", 1 << 10),
        ("MIB", 1 << 20),
        ("GIB", 1 << 30),
        ("TIB", 1 << 40),
        ("SECOND", 1_000),
        ("HOUR", 3_600_000),
        ("DAY", 86_400_000),
    ];
    text.split('*').try_fold(1u64, |all, factor| {
        let factor = factor.trim();
        let known = KNOWN.iter().find(|(name, _)| *name == factor).map(|(_, value)| *value);
        let value = known.or_else(|| factor.replace('_', "").parse().ok());
        Ok(all * value.with_context(|| format!("`{factor}` is no number this reader knows"))?)
    })
}

fn duration(ms: u64) -> String {
    largest(ms, &[(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")])
}

fn size(bytes: u64) -> String {
    largest(bytes, &[(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")])
}

/// In the largest unit that divides it.
fn largest(value: u64, units: &[(u64, &str)]) -> String {
    let (unit, name) = units.iter().find(|(unit, _)| value != 0 && value.is_multiple_of(*unit)).unwrap_or(&(1, ""));
    format!("{}{name}", value / unit)
}

/// The top-level arguments of a call, from behind its opening parenthesis.
fn arguments(call: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    for c in call.chars() {
        let part = parts.last_mut().expect("never empty");
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.iter().map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect()
}

/// The string literals of a piece of source, unescaped.
fn strings(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<String> = None;
    let mut chars = source.chars();
    while let Some(c) = chars.next() {
        match (&mut open, c) {
            (None, '"') => open = Some(String::new()),
            (None, _) => {}
            (Some(_), '"') => found.extend(open.take()),
            (Some(text), '\\') => text.extend(chars.next()),
            (Some(text), c) => text.push(c),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
pub static SECTIONS: &[Section] = &[
    Section { path: "data", meaning: "Where, and how." },
    Section { path: "source[]", meaning: "From." },
];
pub static KEYS: &[Key] = &[
    key("version", Version, Refused, "1", &[], "The (form)."),
    // [data]
    key(
        "data.keep",
        Duration { min_ms: SECOND, max_ms: 3650 * DAY },
        Is("\"7d\""),
        "\"30d\"",
        &["retention", "x, y"],
        "How long, or | not.",
    ),
    key("source[].kind", Word(&["http", "file"]), Means("it follows"), "\"http\"", &[], "K."),
];
"#;

    #[test]
    fn a_page_is_made_and_then_stands() {
        let page = format!("# C\n{BEGIN}old{END}tail\n");
        let made = with_reference(&page, SMALL).expect("a reference");
        for line in [
            "| `version` | a number | must be written | The (form). | `1` |",
            "### `[data]`\n\nWhere, and how.\n",
            r#"| `keep` | duration, 1s to 3650d | `"7d"` | How long, or \| not. | `"30d"` |"#,
            "### `[[source]]`",
            r#"| `kind` | `http`, `file` | it follows | K. | `"http"` |"#,
        ] {
            assert!(made.contains(line), "{line} in\n{made}");
        }
        assert!(made.ends_with("tail\n") && !made.contains("old"));
        assert_eq!(with_reference(&made, SMALL).expect("again"), made);
    }

    #[test]
    fn a_schema_that_changed_its_form_is_an_error() {
        for (from, to) in [
            ("Version", "Colour"),
            ("SECOND,", "WEEK,"),
            ("pub static KEYS", "static K"),
            ("\"data.keep\"", "\"date.keep\""),
        ] {
            assert!(reference(&SMALL.replace(from, to)).is_err(), "{from} -> {to}");
        }
    }
}
