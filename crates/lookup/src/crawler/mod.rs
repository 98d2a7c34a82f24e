//! Which agents are programs: by an operator's list of crawlers (`crawler-user-agents.json`), and beside it by our own
//! judgement of the string (`judgement`), which needs no list.

mod judgement;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use event::json::write_string;
use flow::Status;
use judgement::Judgement;
use serde::Deserialize;

use crate::agent::text_of;
use crate::error::LookupError;
use crate::memo::Memo;
use crate::pattern::{Pattern, Remembered, TEXT_MAX};
use crate::reload::{Answer, Data, Extent, Reloaded};
use crate::sieve::Sieve;

/// Bytes of a list. The published one has 500 KB, most of it examples, which are not read.
const FILE_MAX: usize = 8 << 20;

/// Patterns of a list. The published one has 1,503.
const PATTERNS_MAX: usize = 20_000;

/// Bytes of a pattern.
const PATTERN_MAX: usize = 4 << 10;

/// Bytes of all automata of a list. The published one's have 300 KiB: most of its patterns are plain text.
const AUTOMATA_MAX: usize = 32 << 20;

/// Tags of a pattern, and bytes of one. Published ones have one tag of 20 bytes.
const TAGS_MAX: usize = 16;
const TAG_MAX: usize = 64;

/// Bytes of a name that is written. Patterns that span half an agent match more.
const NAME_MAX: usize = 64;

/// Bytes of answers that are kept: some 25,000 agents.
const MEMO_BYTES: usize = 6 << 20;

/// A list of crawlers, and what was said of the agents that came by lately.
pub struct Crawlers {
    version: String,
    crawlers: Vec<Crawler>,
    sieve: Sieve,
    remembered: Remembered,
    memo: Memo,
}

struct Crawler {
    pattern: Pattern,
    /// It is a name of letters and nothing else (`Sonic`, `Fever`), as phones have too.
    is_word: bool,
    /// It begins with a digit, and is not to be found within a longer number.
    is_number: bool,
    tags: Box<[Box<str>]>,
}

/// An entry of the file; what else it has is passed over.
#[derive(Deserialize)]
struct Entry<'j> {
    #[serde(borrow)]
    pattern: Cow<'j, str>,
    #[serde(default)]
    tags: Vec<String>,
}

impl Crawlers {
    /// No list: our own judgement alone.
    pub fn none() -> Crawlers {
        Crawlers::of("none".to_owned(), Vec::new(), Sieve::build(Vec::new()).expect("nothing is not too much"))
    }

    /// Reads the bytes of a `crawler-user-agents.json`; `name` is its file's, for the version and for errors. An error
    /// names the line or the pattern. Takes about 15 ms and 2 MB for the published list.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Crawlers, LookupError> {
        let wrong = |place: String, what: String| LookupError::Rules { file: name.to_owned(), place, what };
        let whole = |what: &str| wrong("as a whole".to_owned(), what.to_owned());
        if bytes.len() > FILE_MAX {
            return Err(whole(&format!("has {} bytes; a list of crawlers may have {FILE_MAX}", bytes.len())));
        }
        let entries: Vec<Entry<'_>> =
            serde_json::from_slice(bytes).map_err(|e| wrong(format!("line {}", e.line()), plain(&e)))?;
        if entries.is_empty() {
            return Err(whole("has no pattern; it should be crawler-user-agents.json"));
        }
        if entries.len() > PATTERNS_MAX {
            return Err(whole(&format!("has {} patterns; a list may have {PATTERNS_MAX}", entries.len())));
        }
        let (mut crawlers, mut needs, mut bytes_used) = (Vec::new(), Vec::new(), 0);
        for (at, entry) in entries.into_iter().enumerate() {
            let beginning: String = entry.pattern.chars().take(40).collect();
            let wrong = |what: String| wrong(format!("pattern {} (`{beginning}`)", at + 1), what);
            if entry.pattern.len() > PATTERN_MAX {
                return Err(wrong(format!("has {} bytes; it may have {PATTERN_MAX}", entry.pattern.len())));
            }
            if entry.tags.len() > TAGS_MAX || entry.tags.iter().any(|tag| tag.len() > TAG_MAX) {
                return Err(wrong(format!("has more than {TAGS_MAX} tags, or one of more than {TAG_MAX} bytes")));
            }
            let (pattern, need) =
                Pattern::parse(&entry.pattern, false).map_err(|e| wrong(format!("the pattern cannot be used: {e}")))?;
            bytes_used += pattern.bytes();
            if bytes_used > AUTOMATA_MAX {
                return Err(wrong(format!("the patterns up to here take more than {} MiB", AUTOMATA_MAX >> 20)));
            }
            crawlers.push(Crawler {
                pattern,
                is_word: entry.pattern.bytes().all(|b| b.is_ascii_alphabetic() || b == b' '),
                is_number: entry.pattern.starts_with(|c: char| c.is_ascii_digit()),
                tags: entry.tags.into_iter().map(String::into_boxed_str).collect(),
            });
            needs.push(need);
        }
        let sieve = Sieve::build(needs).map_err(|what| whole(&what))?;
        Ok(Crawlers::of(crate::version(name, bytes), crawlers, sieve))
    }

    fn of(version: String, crawlers: Vec<Crawler>, sieve: Sieve) -> Crawlers {
        Crawlers { version, crawlers, sieve, remembered: Remembered::default(), memo: Memo::new(MEMO_BYTES) }
    }

    /// `crawler-user-agents-3f2a91c0`: the file's name and a hash of its bytes; `none` without a file.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Bytes of memory the list holds, without answers that are kept.
    pub fn bytes(&self) -> usize {
        self.crawlers.iter().map(|c| size_of::<Crawler>() + c.pattern.bytes()).sum::<usize>() + self.sieve.bytes()
    }

    /// Appends `{"name":"Googlebot","tags":["search-engine"],"reasons":["crawler_list"]}`; false, and nothing, when nothing
    /// is suspicious. Tags are those of all patterns that match, in the list's order, each once; the name is what the first
    /// of them matched, and without one the word that gave it away, if there is any. An agent longer than 1,024 bytes is
    /// judged by these; none at all (empty, or `-`) is not judged.
    pub fn judge(&self, agent: &str, out: &mut Vec<u8>) -> bool {
        let agent = &agent[..agent.floor_char_boundary(TEXT_MAX)];
        self.memo.ask(agent, out, |out| self.find(agent, out)) > 0
    }

    fn find(&self, agent: &str, out: &mut Vec<u8>) {
        // Logs write a dash for none.
        if matches!(agent.trim(), "" | "-") {
            return;
        }
        let own = judgement::judge(agent);
        let may = self.sieve.sift(agent);
        // Where nothing else says program, a name in an Android's comment on its device is the device's.
        let device = if own.is_bot() { 0..0 } else { judgement::device_comment(agent) };
        let matches = |crawler: &&Crawler| crawler.matches(agent, &device, &self.remembered);
        let listed: Vec<&Crawler> =
            may.within(0, self.crawlers.len()).map(|at| &self.crawlers[at]).filter(matches).collect();
        self.remembered.bound(self.crawlers.iter().map(|c| &c.pattern));
        if listed.is_empty() && !own.is_bot() {
            return;
        }
        let matched = listed.first().and_then(|c| c.pattern.captures(agent)?.of(0, agent));
        let name = matched.map(named).filter(|name| !name.is_empty()).or_else(|| judgement::name(agent));
        let mut tags: Vec<&str> = Vec::new();
        for tag in listed.iter().flat_map(|c| &c.tags) {
            if !tags.contains(&&**tag) {
                tags.push(tag);
            }
        }
        if listed.is_empty() {
            tags.extend(own.tag());
        }
        out.push(b'{');
        if let Some(name) = name {
            out.extend_from_slice(b"\"name\":");
            write_string(name.as_bytes(), out);
            out.push(b',');
        }
        list("tags", &tags, out);
        out.push(b',');
        let reasons: Vec<&str> =
            (!listed.is_empty()).then_some("crawler_list").into_iter().chain(own.reasons()).collect();
        list("reasons", &reasons, out);
        out.push(b'}');
    }
}

/// A list of crawlers, replaced when its file is.
pub type CrawlerSource = Reloaded<CrawlerVersion>;

/// One version of it; without a good file there is our own judgement.
pub struct CrawlerVersion {
    crawlers: Arc<Crawlers>,
    of_file: bool,
}

impl Data for CrawlerVersion {
    type Part = Arc<Crawlers>;
    type Use = ();
    const FILE_MAX: u64 = FILE_MAX as u64;

    fn read(name: &str, bytes: Vec<u8>, (): &(), _: Extent) -> Result<Arc<Crawlers>, LookupError> {
        Crawlers::parse(name, &bytes).map(Arc::new)
    }

    fn of(lists: Vec<Arc<Crawlers>>) -> CrawlerVersion {
        let list = lists.into_iter().next();
        CrawlerVersion { of_file: list.is_some(), crawlers: list.unwrap_or_else(|| Arc::new(Crawlers::none())) }
    }

    fn version(list: &Arc<Crawlers>) -> &str {
        list.version()
    }
}

impl Answer for CrawlerVersion {
    fn answer(&self, key: &[u8], out: &mut Vec<u8>) -> Status {
        if self.crawlers.judge(text_of(key), out) { Status::Ok } else { Status::Miss }
    }

    fn versions(&self) -> Vec<&str> {
        if self.of_file { vec![self.crawlers.version()] } else { Vec::new() }
    }
}

impl Crawler {
    fn matches(&self, agent: &str, device: &Range<usize>, remembered: &Remembered) -> bool {
        let at = || self.pattern.captures(agent).and_then(|groups| groups.range(0));
        self.pattern.is_match(agent, remembered)
            && !(self.is_word && !device.is_empty() && !self.is_outside(agent, device, remembered))
            && !(self.is_number && at().is_some_and(|at| agent[..at.start].ends_with(|c: char| c.is_ascii_digit())))
    }

    fn is_outside(&self, agent: &str, device: &Range<usize>, remembered: &Remembered) -> bool {
        let is_match = |text: Option<&str>| text.is_some_and(|text| self.pattern.is_match(text, remembered));
        is_match(agent.get(..device.start)) || is_match(agent.get(device.end..))
    }
}

fn list(member: &str, texts: &[&str], out: &mut Vec<u8>) {
    write_string(member.as_bytes(), out);
    out.extend_from_slice(b":[");
    for (at, text) in texts.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_string(text.as_bytes(), out);
    }
    out.push(b']');
}

/// What a pattern matched, as a name: without a version, and without what is no letter or digit at its ends; a closing
/// parenthesis stays where it has an opening one.
fn named(matched: &str) -> &str {
    let matched = &matched[..matched.floor_char_boundary(NAME_MAX)];
    // What follows is about its maker.
    let end = matched.find([';', '+']).unwrap_or(matched.len());
    let matched = match matched[..end].split_once('(') {
        Some((before, inside)) if !inside.contains(')') && !before.is_empty() => before,
        _ => &matched[..end],
    };
    let matched = matched.trim_matches(|c: char| !c.is_alphanumeric() && c != ')');
    // `Foo/1.2` and `Foo 1.2`: digits and dots behind the last slash or blank.
    let versionless = match matched.rsplit_once(['/', ' ']) {
        Some((name, version)) if is_version(version) => name,
        _ => matched,
    };
    let name = versionless.trim_end_matches(|c: char| !c.is_alphanumeric() && c != ')');
    if name.contains('(') { name } else { name.trim_end_matches(|c: char| !c.is_alphanumeric()) }
}

fn is_version(text: &str) -> bool {
    let digits = text.trim_start_matches(['v', 'V']);
    digits.starts_with(|c: char| c.is_ascii_digit()) && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// What serde says without its own place, which stands before it.
fn plain(e: &serde_json::Error) -> String {
    let text = e.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    format!("is not a list of `{{\"pattern\", \"tags\"}}`: {}", &text[..end])
}

impl Judgement {
    fn reasons(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.says_so, "says_so"),
            (self.http_client, "http_client"),
            (self.headless, "headless"),
            (self.impossible_agent, "impossible_agent"),
        ];
        all.into_iter().filter_map(|(is, reason)| is.then_some(reason))
    }

    /// What the published list would call it, where that is plain.
    fn tag(self) -> Option<&'static str> {
        match self {
            Judgement { headless: true, .. } => Some("browser-automation"),
            Judgement { http_client: true, .. } => Some("http-library"),
            _ => None,
        }
    }
}
