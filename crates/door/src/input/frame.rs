//! Where one record ends and the next begins, in bytes that come in pieces.

/// What a piece of input says about the record that began before it or with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scan {
    /// The record ends before byte `end` of the piece, and the next one begins at `next`.
    End { end: usize, next: usize },
    /// All of the piece belongs to it.
    More,
}

/// Finds the ends of records. It looks at each byte once, whatever the pieces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Framer {
    /// A record is a line.
    Lines,
    /// A record is an element of a JSON array.
    Array(Array),
}

impl Framer {
    pub fn scan(&mut self, piece: &[u8]) -> Scan {
        match self {
            Framer::Lines => line(piece),
            Framer::Array(array) => array.scan(piece),
        }
    }
}

fn line(piece: &[u8]) -> Scan {
    memchr::memchr(b'\n', piece).map_or(Scan::More, |end| Scan::End { end, next: end + 1 })
}

/// Elements of an array, without reading it whole. An element is what stands between two commas, brackets and braces
/// counted and strings passed over; whether it is JSON is judged by the decoder. After the closing bracket another
/// array may follow, or lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Array(State);

#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    /// Before an array or a line.
    Outside,
    /// In a line outside any array.
    Line,
    /// In an element; `depth` brackets and braces of it are open.
    Element {
        depth: u32,
    },
    Text {
        depth: u32,
    },
    /// After a backslash in a string.
    Escape {
        depth: u32,
    },
}

impl Array {
    /// At the beginning of a file that begins with `[`.
    pub fn new() -> Array {
        Array(State::Outside)
    }

    /// In the middle of a file, where a record ended with the byte `before`.
    pub fn after(before: u8) -> Array {
        match before {
            b',' | b'[' => Array(State::Element { depth: 0 }),
            _ => Array(State::Outside),
        }
    }

    fn scan(&mut self, piece: &[u8]) -> Scan {
        let mut at = 0;
        while at < piece.len() {
            let byte = piece[at];
            match &mut self.0 {
                State::Outside => match byte {
                    b' ' | b'\t' | b'\n' | b'\r' => {}
                    b'[' => return self.end(State::Element { depth: 0 }, at),
                    _ => self.0 = State::Line,
                },
                State::Line => {
                    let Scan::End { end, .. } = line(&piece[at..]) else { return Scan::More };
                    return self.end(State::Outside, at + end);
                }
                State::Element { depth } => match byte {
                    b'"' => self.0 = State::Text { depth: *depth },
                    b'{' | b'[' => *depth = depth.saturating_add(1),
                    b'}' => *depth = depth.saturating_sub(1),
                    b']' if *depth == 0 => return self.end(State::Outside, at),
                    b']' => *depth -= 1,
                    b',' if *depth == 0 => return self.end(State::Element { depth: 0 }, at),
                    _ => {}
                },
                State::Text { depth } => {
                    let Some(n) = memchr::memchr2(b'"', b'\\', &piece[at..]) else { return Scan::More };
                    at += n;
                    let depth = *depth;
                    self.0 = if piece[at] == b'"' { State::Element { depth } } else { State::Escape { depth } };
                }
                State::Escape { depth } => self.0 = State::Text { depth: *depth },
            }
            at += 1;
        }
        Scan::More
    }

    fn end(&mut self, then: State, at: usize) -> Scan {
        self.0 = then;
        Scan::End { end: at, next: at + 1 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// (offset, text) of the records of `input`, given in pieces cut at `cuts`; what is left at the end is one too.
    fn records(mut framer: Framer, input: &[u8], cuts: &[usize]) -> Vec<(usize, String)> {
        let (mut found, mut start, mut at) = (Vec::new(), 0, 0);
        let mut record = |from: usize, to: usize| {
            let text = String::from_utf8_lossy(&input[from..to]).trim().to_owned();
            if !text.is_empty() {
                found.push((from, text));
            }
        };
        for cut in cuts.iter().copied().chain([input.len()]) {
            while at < cut {
                match framer.scan(&input[at..cut]) {
                    Scan::End { end, next } => {
                        record(start, at + end);
                        start = at + next;
                        at = start;
                    }
                    Scan::More => at = cut,
                }
            }
        }
        record(start, input.len());
        found
    }

    fn texts(input: &str) -> Vec<String> {
        records(Framer::Array(Array::new()), input.as_bytes(), &[]).into_iter().map(|(_, t)| t).collect()
    }

    #[test]
    fn elements_of_arrays() {
        for (input, expected) in [
            ("[]", &[][..]),
            (" [ ] \n", &[]),
            ("[1]", &["1"]),
            ("[1, 2 ,3]\n", &["1", "2", "3"]),
            (r#"[{"a":[1,2],"b":"],[\"{"},{"c":{}}]"#, &[r#"{"a":[1,2],"b":"],[\"{"}"#, r#"{"c":{}}"#]),
            ("[[1,2],[3]]", &["[1,2]", "[3]"]),
            ("[1][2]\n[3]", &["1", "2", "3"]),
            ("[1]\n{\"a\":1}\n{\"b\":2}\n[3]", &["1", "{\"a\":1}", "{\"b\":2}", "3"]),
            // Damage stays in its element as far as brackets allow; the decoder refuses it.
            ("[{\"a\":},2]", &["{\"a\":}", "2"]),
            ("[1 x, 2]", &["1 x", "2"]),
            ("[{\"cut\":1},{\"off\":", &["{\"cut\":1}", "{\"off\":"]),
        ] {
            assert_eq!(texts(input), expected, "{input}");
        }
    }

    #[test]
    fn reading_on_after_any_record_gives_the_rest() {
        for input in ["[1,{\"a\":\"]\"} , 3]\n[4]\n{\"b\":1}\n{\"c\":2}\n[5,6]", "[ [1,2], 3 ]"] {
            let all = records(Framer::Array(Array::new()), input.as_bytes(), &[]);
            let mut framer = Array::new();
            let mut at = 0;
            while let Scan::End { next, .. } = framer.scan(&input.as_bytes()[at..]) {
                at += next;
                let rest = &input.as_bytes()[at..];
                let found = records(Framer::Array(Array::after(input.as_bytes()[at - 1])), rest, &[]);
                let expected: Vec<_> = all.iter().filter(|(o, _)| *o >= at).map(|(o, t)| (o - at, t.clone())).collect();
                assert_eq!(found, expected, "{input} from byte {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_records(
            bytes in prop::collection::vec(prop::sample::select(b"[]{},\"\\ \n1a".to_vec()), 0..80),
            cuts in prop::collection::vec(0usize..80, 0..10),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.sort_unstable();
            for framer in [Framer::Lines, Framer::Array(Array::new())] {
                prop_assert_eq!(records(framer.clone(), &bytes, &cuts), records(framer, &bytes, &[]));
            }
        }
    }
}
