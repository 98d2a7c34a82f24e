//! Texts for people, kept within a width whatever stands in them.

/// Columns of what is drawn and listed: what fits beside something else on a screen, and on a page.
pub const WIDTH: usize = 100;

/// Lines of at most `room` columns, broken between words. A word that is longer keeps its beginning and its end.
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    let text = plain(text);
    let mut lines = vec![String::new()];
    let mut width = 0;
    for word in text.split(' ') {
        let word = shortened(word, room);
        let len = word.chars().count();
        if width > 0 && width + 1 + len > room {
            lines.push(String::new());
            width = 0;
        }
        let line = lines.last_mut().expect("there is one");
        if width > 0 {
            line.push(' ');
            width += 1;
        }
        line.push_str(&word);
        width += len;
    }
    lines
}

/// Without control characters: names and paths may have any.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn shortened(word: &str, room: usize) -> String {
    let len = word.chars().count();
    if len <= room {
        return word.to_owned();
    }
    let kept = room.saturating_sub(1);
    let begin: String = word.chars().take(kept / 2).collect();
    let end: String = word.chars().skip(len - (kept - kept / 2)).collect();
    format!("{begin}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_and_words_shortened() {
        for (text, lines) in [
            ("one two three", vec!["one two", "three"]),
            ("one", vec!["one"]),
            ("", vec![""]),
            ("/a/very/long/path x", vec!["/a/…path", "x"]),
            ("a\nb", vec!["a?b"]),
            ("äöüäöüäöü", vec!["äöü…üäöü"]),
        ] {
            assert_eq!(wrap(text, 8), lines, "{text}");
        }
    }
}
