//! JSON Pointers (RFC 6901) compiled into one trie, so that a single pass finds all of them.

/// No node: nothing below here is wanted.
pub(super) const NONE: u16 = u16::MAX;
/// More pointers than this in one set are refused: a record keeps 32 fields, each with a few alternatives.
pub const MAX_POINTERS: usize = 512;

/// A set of pointers. The slot of a pointer is its index among the spans that a pass records.
#[derive(Clone, Debug, Default)]
pub struct Pointers {
    nodes: Vec<Node>,
    slots: usize,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// One bit for each length (63 = longer) that a child's name has: most members are turned down by it.
    lengths: u64,
    children: Vec<Child>,
    slot: Option<u16>,
    /// The slots of this node and of all below it, which are consecutive.
    slots: std::ops::Range<u16>,
}

#[derive(Clone, Debug)]
struct Child {
    /// The first eight bytes of the name (zeros behind a shorter one), as [`head`] makes it.
    head: u64,
    name: Vec<u8>,
    /// The name as an array index, if it is one (RFC 6901: no leading zeros).
    index: Option<u32>,
    node: u16,
}

/// Why a text is no pointer into an event.
#[derive(Debug, PartialEq, Eq)]
pub struct PointerError {
    pub message: String,
}

impl std::fmt::Display for PointerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PointerError {}

/// The names a pointer goes through, `~0` and `~1` undone.
pub fn names(pointer: &str) -> Result<Vec<String>, PointerError> {
    let error = |message: String| Err(PointerError { message });
    let Some(rest) = pointer.strip_prefix('/') else {
        return error(match pointer {
            "" => "an empty pointer means the whole event; name a member, like /user".into(),
            p => format!("a JSON Pointer begins with a slash: /{p}"),
        });
    };
    let mut names = Vec::new();
    for name in rest.split('/') {
        let mut plain = String::with_capacity(name.len());
        let mut chars = name.chars();
        while let Some(c) = chars.next() {
            plain.push(match (c, c == '~') {
                (_, false) => c,
                (_, true) => match chars.next() {
                    Some('0') => '~',
                    Some('1') => '/',
                    _ => return error(format!("in {pointer}: `~` is written `~0` and `/` is written `~1`")),
                },
            });
        }
        names.push(plain);
    }
    Ok(names)
}

impl Pointers {
    /// Compiles the pointers, and says for each the slot of its span; equal pointers share one.
    pub fn compile(pointers: &[&str]) -> Result<(Pointers, Vec<usize>), PointerError> {
        if pointers.len() > MAX_POINTERS {
            return Err(PointerError { message: format!("more than {MAX_POINTERS} pointers") });
        }
        let mut set = Pointers { nodes: vec![Node::default()], slots: 0 };
        let mut ends = Vec::with_capacity(pointers.len());
        for pointer in pointers {
            let mut at = 0u16;
            for name in names(pointer)? {
                at = set.child_or_new(at, name)?;
            }
            set.nodes[at as usize].slot = Some(0);
            ends.push(at);
        }
        set.number(0);
        let slots = ends.iter().map(|e| set.nodes[*e as usize].slot.expect("an end has a slot") as usize).collect();
        Ok((set, slots))
    }

    fn child_or_new(&mut self, at: u16, name: String) -> Result<u16, PointerError> {
        let name = name.into_bytes();
        if let Some(c) = self.nodes[at as usize].children.iter().find(|c| c.name == name) {
            return Ok(c.node);
        }
        let node = u16::try_from(self.nodes.len()).ok().filter(|n| *n != NONE);
        let node = node.ok_or_else(|| PointerError { message: "the pointers have too many names".into() })?;
        let digits = name.iter().all(u8::is_ascii_digit) && (name.len() == 1 || name.first() != Some(&b'0'));
        let index = std::str::from_utf8(&name).ok().filter(|_| digits).and_then(|n| n.parse().ok());
        let parent = &mut self.nodes[at as usize];
        parent.lengths |= length_bit(name.len());
        parent.children.push(Child { head: head(&name, 0, name.len()), name, index, node });
        self.nodes.push(Node::default());
        Ok(node)
    }

    /// Numbers the slots in depth-first order, which makes those below a node consecutive.
    fn number(&mut self, at: u16) {
        let first = self.slots as u16;
        if let Some(slot) = &mut self.nodes[at as usize].slot {
            *slot = first;
            self.slots += 1;
        }
        for child in 0..self.nodes[at as usize].children.len() {
            self.number(self.nodes[at as usize].children[child].node);
        }
        self.nodes[at as usize].slots = first..self.slots as u16;
    }

    /// How many spans a pass records.
    pub fn slots(&self) -> usize {
        self.slots
    }

    pub(super) fn root(&self) -> u16 {
        if self.slots == 0 { NONE } else { 0 }
    }

    /// The node a member leads to from `node`, or [`NONE`]. `name` must be free of escapes.
    #[inline(always)]
    pub(super) fn member(&self, node: u16, name: &[u8], name_head: u64) -> u16 {
        let node = &self.nodes[node as usize];
        if node.lengths & length_bit(name.len()) == 0 {
            return NONE;
        }
        for c in &node.children {
            if c.head == name_head && c.name.len() == name.len() && (name.len() <= 8 || c.name[8..] == name[8..]) {
                return c.node;
            }
        }
        NONE
    }

    /// The node an array's element leads to from `node`, or [`NONE`].
    pub(super) fn element(&self, node: u16, index: u32) -> u16 {
        self.nodes[node as usize].children.iter().find(|c| c.index == Some(index)).map_or(NONE, |c| c.node)
    }

    pub(super) fn slot(&self, node: u16) -> Option<usize> {
        self.nodes[node as usize].slot.map(usize::from)
    }

    /// The slots at and below a node.
    pub(super) fn below(&self, node: u16) -> std::ops::Range<usize> {
        let s = &self.nodes[node as usize].slots;
        s.start as usize..s.end as usize
    }
}

fn length_bit(len: usize) -> u64 {
    1 << len.min(63)
}

/// The first eight bytes of `text[start..start + len]` as a number, zeros for those a shorter name does not have.
#[inline(always)]
pub(super) fn head(text: &[u8], start: usize, len: usize) -> u64 {
    let word = match text.get(start..).and_then(|t| t.first_chunk::<8>()) {
        Some(eight) => u64::from_le_bytes(*eight),
        None => {
            let mut eight = [0; 8];
            let n = len.min(8);
            eight[..n].copy_from_slice(&text[start..start + n]);
            u64::from_le_bytes(eight)
        }
    };
    if len < 8 { word & ((1 << (len * 8)) - 1) } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_names_with_two_escapes() {
        for (pointer, expected) in [
            ("/a/b", Some(vec!["a", "b"])),
            ("/", Some(vec![""])),
            ("/a~1b/m~0n//0", Some(vec!["a/b", "m~n", "", "0"])),
            ("/~01", Some(vec!["~1"])),
            ("", None),
            ("a", None),
            ("/a~", None),
            ("/a~2", None),
        ] {
            let got = names(pointer).ok();
            assert_eq!(
                got.as_deref(),
                expected.map(|e| e.iter().map(|s| s.to_string()).collect::<Vec<_>>()).as_deref()
            );
        }
    }

    #[test]
    fn slots_below_a_node_are_consecutive_and_equal_pointers_share_one() {
        let (set, slots) = Pointers::compile(&["/c/b/x", "/a", "/c", "/c/b/y", "/a", "/c/z"]).expect("pointers");
        assert_eq!(set.slots(), 5);
        assert_eq!(slots[1], slots[4]);
        let c = set.member(0, b"c", head(b"c", 0, 1));
        let below = set.below(c);
        for (pointer, inside) in [(0, true), (1, false), (2, true), (3, true), (5, true)] {
            assert_eq!(below.contains(&slots[pointer]), inside);
        }
    }
}
