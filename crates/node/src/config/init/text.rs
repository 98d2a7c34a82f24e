//! Comments, quotes and numbers in a configuration that is written for people.

/// Columns of a comment's line. Wider than that a terminal beside an editor wraps it once more.
const WIDTH: usize = 100;

/// A text with line ends, being written.
#[derive(Default)]
pub(super) struct Toml(pub String);

impl Toml {
    pub fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    pub fn blank(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with("\n\n") {
            self.0.push('\n');
        }
    }

    /// `line`, and behind it a comment in a column of its own.
    pub fn noted(&mut self, line: &str, note: &str) {
        const NOTES_AT: usize = 31;
        self.line(&format!("{line:<NOTES_AT$} # {note}"));
    }

    /// Sentences, wrapped.
    pub fn comment(&mut self, text: &str) {
        self.hanging(text, 0);
    }

    /// The same, with the second line and those after it set in by so many columns.
    pub fn hanging(&mut self, text: &str, by: usize) {
        let mut line = String::from("#");
        // What stands between backticks is to be copied, so it is not broken.
        let mut in_code = false;
        let words = text.split(|c| {
            in_code ^= c == '`';
            c == ' ' && !in_code
        });
        for word in words {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(line.trim_end());
                line = format!("#{}", " ".repeat(by));
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(line.trim_end());
    }
}

/// A TOML basic string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `12345` -> `12,345`.
pub(super) fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}
