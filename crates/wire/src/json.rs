//! One pass over an event: is all of it JSON, is it within its limits, and where are the members that are wanted?
//!
//! The pass accepts what RFC 8259 accepts, with three decisions where that document leaves room:
//! * an escaped surrogate without its other half (`"\ud800"`) is refused, as `serde_json` does: it is no text that UTF-8
//!   could carry on;
//! * a number is checked by its grammar only, so `1e999`, which no double holds, is accepted and kept as it was written;
//! * a byte order mark is refused, as is anything but white space after the value.
//!
//! Of members with equal names in a nested object the last one counts, as in `serde_json` and JavaScript. On the first
//! level two members with the same decoded name are a failure, since nobody could say which one was meant.

pub mod pointer;
pub(crate) mod scan;
mod text;
pub mod walk;

use event::{Code, Failure};

pub use pointer::{PointerError, Pointers};
pub(crate) use text::unescape;
pub use text::{Kind, kind, text};

use pointer::{NONE, head};

/// What an event may be at most. Each is enforced before memory is taken for what lies beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the event's text.
    pub event: usize,
    /// Objects and arrays within each other, the event itself being the first. At most [`MAX_DEPTH`].
    pub depth: usize,
    /// Members of all objects of the event together.
    pub members: usize,
}

/// A larger `depth` is taken as this: the pass keeps its place on the thread's stack, up to 2 KiB a level when compiled
/// without optimisation, and a thread may have no more than 1 MiB.
pub const MAX_DEPTH: usize = 256;

impl Default for Limits {
    fn default() -> Limits {
        Limits { event: 32 * 1024, depth: 64, members: 2_000 }
    }
}

/// Where a member's value stands, `text[start..end]`; `0..0` for one that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub start: u32,
    pub end: u32,
}

impl Found {
    pub fn is_there(self) -> bool {
        self.end != 0
    }

    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Why a text is refused. Holds none of it, but the name of a duplicate member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    /// The byte of the text, from 0.
    pub at: usize,
    pub message: &'static str,
    /// JSON Pointer to the member, for a duplicate one; otherwise empty.
    pub pointer: String,
}

impl From<Refusal> for Failure {
    fn from(r: Refusal) -> Failure {
        Failure::new(r.code, r.pointer, format!("{}, at byte {}", r.message, r.at))
    }
}

/// Memory of a pass that the next one uses again.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    found: Vec<Found>,
    names: Vec<Name>,
}

impl Scratch {
    /// What the last pass found for a slot of its [`Pointers`].
    #[inline]
    pub fn found(&self, slot: usize) -> Found {
        self.found.get(slot).copied().unwrap_or_default()
    }
}

/// A first-level member's name, as it stands in the text.
#[derive(Clone, Copy, Debug)]
struct Name {
    start: u32,
    len: u32,
    /// Of the decoded name.
    hash: u64,
}

/// Passes over `text`, which must be one JSON object, and notes in `scratch` where the members of `pointers` are.
///
/// # Errors
/// In the order in which they are judged: `too_large`, `not_utf8`; then whatever comes first of `not_json`, `too_deep`
/// and `too_many_members`; then `not_object`; then `duplicate_member`. What `scratch` holds after an error is not to be used.
pub fn pass(text: &[u8], pointers: &Pointers, limits: &Limits, scratch: &mut Scratch) -> Result<(), Refusal> {
    let refusal = |code, at, message| Refusal { code, at, message, pointer: String::new() };
    if text.len() > limits.event.min(u32::MAX as usize) {
        return Err(refusal(Code::TooLarge, limits.event, "the event is longer than `limits.event`"));
    }
    if simdutf8::basic::from_utf8(text).is_err() {
        let at = std::str::from_utf8(text).err().map_or(0, |e| e.valid_up_to());
        return Err(refusal(Code::NotUtf8, at, "not valid UTF-8"));
    }
    scratch.names.clear();
    scratch.found.clear();
    scratch.found.resize(pointers.slots(), Found::default());
    let mut pass = Pass {
        text,
        pointers,
        found: &mut scratch.found,
        names: &mut scratch.names,
        seen: 0,
        suspicious: false,
        members_left: limits.members,
        depth: limits.depth.min(MAX_DEPTH),
        refusal: (Code::NotJson, 0, ""),
    };
    match pass.whole() {
        Err(Stop) => {
            let (code, at, message) = pass.refusal;
            Err(refusal(code, at, message))
        }
        Ok(()) if pass.suspicious => match duplicate(text, pass.names) {
            Some((at, pointer)) => Err(Refusal {
                code: Code::DuplicateMember,
                at,
                message: "a first-level member is there twice",
                pointer,
            }),
            None => Ok(()),
        },
        Ok(()) => Ok(()),
    }
}

/// The pass ended early; why is in [`Pass::refusal`]. Kept small because every step returns it.
struct Stop;

struct Pass<'a> {
    text: &'a [u8],
    pointers: &'a Pointers,
    found: &'a mut Vec<Found>,
    names: &'a mut Vec<Name>,
    /// One bit for each first-level name seen, by its hash.
    seen: u64,
    /// Two first-level names had the same bit.
    suspicious: bool,
    members_left: usize,
    /// Levels that may still be entered.
    depth: usize,
    refusal: (Code, usize, &'static str),
}

/// What an object's members are looked at for. The plain ones are the bulk of an event, and cost nothing but validation.
const FIRST_LEVEL: u8 = 0;
const WATCHED: u8 = 1;
const PLAIN: u8 = 2;

impl Pass<'_> {
    fn whole(&mut self) -> Result<(), Stop> {
        let start = self.space(0);
        let end = match self.at(start) {
            b'{' => self.object::<FIRST_LEVEL>(start, self.pointers.root())?,
            _ => self.value(start, NONE)?,
        };
        let end = self.space(end);
        if end != self.text.len() {
            return self.stop(Code::NotJson, end, "something follows the event's end");
        }
        if self.at(start) != b'{' {
            return self.stop(Code::NotObject, start, "JSON, but not an object");
        }
        Ok(())
    }

    /// The byte there, or 0, which stands for nothing in JSON, behind the end.
    #[inline(always)]
    fn at(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn space(&self, at: usize) -> usize {
        scan::space_run(self.text, at)
    }

    #[cold]
    fn stop<T>(&mut self, code: Code, at: usize, message: &'static str) -> Result<T, Stop> {
        let at = at.min(self.text.len());
        self.refusal = match code {
            Code::NotJson if at == self.text.len() => (code, at, "the text ends too early"),
            _ => (code, at, message),
        };
        Err(Stop)
    }

    /// Any value that begins at `at`; gives the index after it. `node` is where the wanted pointers are, or [`NONE`].
    #[inline(always)]
    fn value(&mut self, at: usize, node: u16) -> Result<usize, Stop> {
        match self.at(at) {
            b'"' => self.string(at),
            b'{' if node == NONE => self.object::<PLAIN>(at, NONE),
            b'{' => self.object::<WATCHED>(at, node),
            b'[' => self.array(at, node),
            b'-' | b'0'..=b'9' => self.number(at),
            b't' => self.word(at, b"true"),
            b'f' => self.word(at, b"false"),
            b'n' => self.word(at, b"null"),
            0xef => {
                self.stop(Code::NotJson, at, "the text begins with a byte order mark, or a value does with no quote")
            }
            _ => self.stop(Code::NotJson, at, "a value was expected"),
        }
    }

    fn object<const LOOK: u8>(&mut self, at: usize, node: u16) -> Result<usize, Stop> {
        self.enter(at)?;
        let mut at = self.space(at + 1);
        if self.at(at) == b'}' {
            self.depth += 1;
            return Ok(at + 1);
        }
        loop {
            if self.at(at) != b'"' {
                return self.stop(Code::NotJson, at, "a member's name was expected");
            }
            if self.members_left == 0 {
                return self.stop(Code::TooManyMembers, at, "the event has more members than `limits.members`");
            }
            self.members_left -= 1;
            let name_start = at + 1;
            let plain_end = scan::plain_run(self.text, name_start);
            let escaped = self.at(plain_end) != b'"';
            let after_name = if escaped { self.string(at)? } else { plain_end + 1 };
            let mut child = NONE;
            if LOOK != PLAIN {
                child = self.name::<LOOK>(node, name_start, after_name - 1, escaped);
            }
            at = after_name;
            if self.at(at) != b':' {
                at = self.space(at);
                if self.at(at) != b':' {
                    return self.stop(Code::NotJson, at, "a colon was expected after a member's name");
                }
            }
            let start = self.space(at + 1);
            at = if LOOK != PLAIN && child != NONE { self.wanted(start, child)? } else { self.value(start, NONE)? };
            at = self.space(at);
            match self.at(at) {
                b',' => at = self.space(at + 1),
                b'}' => {
                    self.depth += 1;
                    return Ok(at + 1);
                }
                _ => return self.stop(Code::NotJson, at, "a comma or the object's end was expected"),
            }
        }
    }

    fn array(&mut self, at: usize, node: u16) -> Result<usize, Stop> {
        self.enter(at)?;
        let mut at = self.space(at + 1);
        if self.at(at) == b']' {
            self.depth += 1;
            return Ok(at + 1);
        }
        let mut index = 0;
        loop {
            let child = if node == NONE { NONE } else { self.pointers.element(node, index) };
            at = if child != NONE { self.wanted(at, child)? } else { self.value(at, NONE)? };
            index += 1;
            at = self.space(at);
            match self.at(at) {
                b',' => at = self.space(at + 1),
                b']' => {
                    self.depth += 1;
                    return Ok(at + 1);
                }
                _ => return self.stop(Code::NotJson, at, "a comma or the array's end was expected"),
            }
        }
    }

    #[inline(always)]
    fn enter(&mut self, at: usize) -> Result<(), Stop> {
        if self.depth == 0 {
            return self.stop(Code::TooDeep, at, "the event is nested deeper than `limits.depth`");
        }
        self.depth -= 1;
        Ok(())
    }

    /// A value that some pointer leads to or through.
    fn wanted(&mut self, start: usize, node: u16) -> Result<usize, Stop> {
        // An earlier member of the same name counts no more, nor does what was in it.
        self.found[self.pointers.below(node)].fill(Found::default());
        let end = self.value(start, node)?;
        if let Some(slot) = self.pointers.slot(node) {
            self.found[slot] = Found { start: start as u32, end: end as u32 };
        }
        Ok(end)
    }

    /// Where the name `text[start..end]` leads; on the first level it is also noted, to find it a second time.
    #[inline(always)]
    fn name<const LOOK: u8>(&mut self, node: u16, start: usize, end: usize, escaped: bool) -> u16 {
        if escaped {
            return self.escaped_name::<LOOK>(node, start, end);
        }
        let name = &self.text[start..end];
        let first_eight = head(self.text, start, name.len());
        if LOOK == FIRST_LEVEL {
            self.note(start, name.len(), hash(name, first_eight));
        }
        if node == NONE { NONE } else { self.pointers.member(node, name, first_eight) }
    }

    #[cold]
    fn escaped_name<const LOOK: u8>(&mut self, node: u16, start: usize, end: usize) -> u16 {
        let name = text::unescape(&self.text[start..end]);
        let first_eight = head(&name, 0, name.len());
        if LOOK == FIRST_LEVEL {
            self.note(start, end - start, hash(&name, first_eight));
        }
        if node == NONE { NONE } else { self.pointers.member(node, &name, first_eight) }
    }

    #[inline(always)]
    fn note(&mut self, start: usize, len: usize, hash: u64) {
        let bit = 1 << (hash >> 58);
        self.suspicious |= self.seen & bit != 0;
        self.seen |= bit;
        self.names.push(Name { start: start as u32, len: len as u32, hash });
    }

    /// A string whose opening quote is at `at`; gives the index after its closing one.
    #[inline(always)]
    fn string(&mut self, at: usize) -> Result<usize, Stop> {
        let end = scan::plain_run(self.text, at + 1);
        if self.at(end) == b'"' { Ok(end + 1) } else { self.string_with_escapes(end) }
    }

    #[inline(never)]
    fn string_with_escapes(&mut self, mut at: usize) -> Result<usize, Stop> {
        loop {
            match self.at(at) {
                b'"' => return Ok(at + 1),
                b'\\' => match self.at(at + 1) {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                    b'u' => at = self.unicode_escape(at)?,
                    _ => return self.stop(Code::NotJson, at + 1, "an escape that JSON does not have"),
                },
                _ => return self.stop(Code::NotJson, at, "a control character in a string"),
            }
            at = scan::plain_run(self.text, at);
        }
    }

    /// `\uXXXX`, or two of them for a character beyond the basic plane.
    fn unicode_escape(&mut self, at: usize) -> Result<usize, Stop> {
        match text::hex4(self.text, at + 2) {
            None => {
                let digits = self.text.iter().skip(at + 2).take_while(|b| b.is_ascii_hexdigit()).count();
                self.stop(Code::NotJson, at + 2 + digits, "an escape without four hexadecimal digits")
            }
            Some(0xd800..0xdc00) => match (self.at(at + 6), self.at(at + 7), text::hex4(self.text, at + 8)) {
                (b'\\', b'u', Some(0xdc00..0xe000)) => Ok(at + 12),
                _ => self.stop(Code::NotJson, at, "half of a surrogate pair"),
            },
            Some(0xdc00..0xe000) => self.stop(Code::NotJson, at, "half of a surrogate pair"),
            Some(_) => Ok(at + 6),
        }
    }

    #[inline(always)]
    fn number(&mut self, mut at: usize) -> Result<usize, Stop> {
        if self.at(at) == b'-' {
            at += 1;
        }
        at = match self.at(at) {
            b'0' => at + 1,
            _ => self.digits(at)?,
        };
        if self.at(at) == b'.' {
            at = self.digits(at + 1)?;
        }
        if self.at(at) | 0x20 == b'e' {
            at += 1;
            if matches!(self.at(at), b'+' | b'-') {
                at += 1;
            }
            at = self.digits(at)?;
        }
        Ok(at)
    }

    /// One or more digits.
    #[inline(always)]
    fn digits(&mut self, start: usize) -> Result<usize, Stop> {
        let mut at = start;
        while self.at(at).is_ascii_digit() {
            at += 1;
        }
        if at == start { self.stop(Code::NotJson, at, "a digit was expected") } else { Ok(at) }
    }

    #[inline(always)]
    fn word(&mut self, at: usize, word: &'static [u8]) -> Result<usize, Stop> {
        if self.text[at..].starts_with(word) {
            return Ok(at + word.len());
        }
        let agree = self.text[at..].iter().zip(word).take_while(|(a, b)| a == b).count();
        self.stop(Code::NotJson, at + agree, "a value was expected")
    }
}

/// A hash to tell first-level names apart quickly. Names with equal hashes are compared, so a forged one costs nothing
/// but that comparison.
#[inline(always)]
fn hash(name: &[u8], first_eight: u64) -> u64 {
    let tail = if name.len() > 8 { head(name, name.len() - 8, 8) } else { 0 };
    (first_eight ^ tail.rotate_left(23) ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The first name that was there before: its position in the text and its pointer.
#[cold]
fn duplicate(text: &[u8], names: &mut [Name]) -> Option<(usize, String)> {
    let decoded = |n: &Name| text::unescape(&text[n.start as usize..(n.start + n.len) as usize]);
    // Sorted rather than compared each with each, so that no choice of names makes it quadratic.
    names.sort_unstable_by(|a, b| {
        a.hash.cmp(&b.hash).then_with(|| decoded(a).cmp(&decoded(b))).then_with(|| a.start.cmp(&b.start))
    });
    let twice = names.windows(2).filter(|w| w[0].hash == w[1].hash && decoded(&w[0]) == decoded(&w[1]));
    let second = twice.map(|w| w[1]).min_by_key(|n| n.start)?;
    let name = String::from_utf8_lossy(&decoded(&second)).into_owned();
    Some((second.start as usize - 1, format!("/{}", name.replace('~', "~0").replace('/', "~1"))))
}
