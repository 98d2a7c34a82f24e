//! What an agent string says of a device: its kind by our own judgement (`kind`), browser and system by the rules of an
//! operator's file, which is a `regexes.yaml` of the uap-core project (`yaml` reads it).

pub(crate) mod kind;
mod yaml;

use std::sync::Arc;

use event::json::write_string;
use flow::Status;

use crate::error::LookupError;
use crate::memo::Memo;
use crate::pattern::{Captures, Pattern, Remembered, TEXT_MAX};
use crate::reload::{Answer, Data, Extent, Reloaded};
use crate::sieve::Sieve;

/// Bytes of a file of rules. uap-core's has 220 KB, most of it about models of phones, which is not read.
const FILE_MAX: usize = 4 << 20;

/// Rules of a file. uap-core's has 640 for browsers and systems.
const RULES_MAX: usize = 10_000;

/// Bytes of a pattern. The longest of uap-core's has 3,800.
const PATTERN_MAX: usize = 16 << 10;

/// Bytes of all automata of a file. uap-core's have 10 MiB.
const AUTOMATA_MAX: usize = 32 << 20;

/// Bytes of answers that are kept: some 25,000 agents, many times what a shop sees in an hour.
const MEMO_BYTES: usize = 8 << 20;

const BROWSERS: &str = "user_agent_parsers";
const SYSTEMS: &str = "os_parsers";

/// Rules that tell browsers and systems, and what they said of the agents that came by lately.
pub struct AgentRules {
    version: String,
    /// Those of browsers come before those of systems.
    rules: Vec<Rule>,
    browsers: usize,
    sieve: Sieve,
    remembered: Remembered,
    memo: Memo,
}

/// A pattern, and how each part of the answer is made from its groups: the name, then up to four parts of a version.
struct Rule {
    pattern: Pattern,
    name: Part,
    version: [Part; 4],
}

enum Part {
    Nothing,
    Group(usize),
    /// A text, with the number of groups (`$1`) in it replaced by theirs.
    Text(Box<str>),
}

impl AgentRules {
    /// No rules: `device` says the kind only.
    pub fn none() -> AgentRules {
        AgentRules::of("none".to_owned(), Vec::new(), 0, Sieve::build(Vec::new()).expect("nothing is not too much"))
    }

    /// Reads the bytes of a `regexes.yaml`; `name` is its file's, for the version and for errors. Its sections on browsers
    /// and systems are read, whatever else it has is passed over. An error names the line. Takes about 100 ms and 15 MB
    /// for uap-core's file; whatever the bytes, at most a few seconds and 100 MB.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<AgentRules, LookupError> {
        let wrong = |place: String, what: String| LookupError::Rules { file: name.to_owned(), place, what };
        let whole = |what: &str| wrong("as a whole".to_owned(), what.to_owned());
        if bytes.len() > FILE_MAX {
            return Err(whole(&format!("has {} bytes; a file of rules may have {FILE_MAX}", bytes.len())));
        }
        let text = std::str::from_utf8(bytes).map_err(|e| {
            let line = bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
            wrong(format!("line {line}"), "is not UTF-8".to_owned())
        })?;
        let items = yaml::items(text, &[BROWSERS, SYSTEMS], RULES_MAX)
            .map_err(|p| wrong(format!("line {}", p.line), p.what))?;
        if items.is_empty() {
            return Err(whole(
                "has no rule under user_agent_parsers or os_parsers; it should be uap-core's regexes.yaml",
            ));
        }
        let (mut rules, mut needs, mut bytes_used) = (Vec::new(), Vec::new(), 0);
        for (section, prefix) in [(BROWSERS, ""), (SYSTEMS, "os_")] {
            for item in items.iter().filter(|item| item.section == section) {
                let wrong = |what: String| wrong(format!("line {}", item.line), what);
                let (rule, need) = Rule::of(item, prefix).map_err(wrong)?;
                bytes_used += rule.pattern.bytes();
                if bytes_used > AUTOMATA_MAX {
                    return Err(wrong(format!("the rules up to here take more than {} MiB", AUTOMATA_MAX >> 20)));
                }
                rules.push(rule);
                needs.push(need);
            }
        }
        let browsers = items.iter().filter(|item| item.section == BROWSERS).count();
        let sieve = Sieve::build(needs).map_err(|what| whole(&what))?;
        Ok(AgentRules::of(crate::version(name, bytes), rules, browsers, sieve))
    }

    fn of(version: String, rules: Vec<Rule>, browsers: usize, sieve: Sieve) -> AgentRules {
        AgentRules { version, rules, browsers, sieve, remembered: Remembered::default(), memo: Memo::new(MEMO_BYTES) }
    }

    /// `regexes-3f2a91c0`: the file's name and a hash of its bytes; `none` without a file.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Bytes of memory the rules hold, without answers that are kept.
    pub fn bytes(&self) -> usize {
        self.rules.iter().map(|r| size_of::<Rule>() + r.pattern.bytes()).sum::<usize>() + self.sieve.bytes()
    }

    /// Appends `{"kind","browser","browser_version","os","os_version"}`. A version has all parts that the rule gives,
    /// joined by dots, and is left out when there is none; what no rule knows is `Other`. An agent longer than 1,024
    /// bytes is judged by these.
    pub fn device(&self, agent: &str, out: &mut Vec<u8>) {
        let agent = &agent[..agent.floor_char_boundary(TEXT_MAX)];
        self.memo.ask(agent, out, |out| self.find(agent, out));
    }

    fn find(&self, agent: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"kind\":\"");
        out.extend_from_slice(kind::of(agent).as_bytes());
        out.push(b'"');
        if !self.rules.is_empty() {
            let may = self.sieve.sift(agent);
            let matches = |rule: &&Rule| rule.pattern.is_match(agent, &self.remembered);
            let first = |from, to| may.within(from, to).map(|at| &self.rules[at]).find(matches);
            write(first(0, self.browsers), agent, ["browser", "browser_version"], out);
            write(first(self.browsers, self.rules.len()), agent, ["os", "os_version"], out);
            self.remembered.bound(self.rules.iter().map(|rule| &rule.pattern));
        }
        out.push(b'}');
    }
}

fn write(rule: Option<&Rule>, agent: &str, [name, version]: [&str; 2], out: &mut Vec<u8>) {
    let found = rule.and_then(|rule| Some((rule, rule.pattern.captures(agent)?)));
    let mut member = |key: &str, text: &str| {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":");
        write_string(text.as_bytes(), out);
    };
    let Some((rule, groups)) = found else { return member(name, "Other") };
    member(name, rule.name.text(&groups, agent).as_deref().unwrap_or("Other"));
    let mut text = String::new();
    for part in &rule.version {
        let Some(part) = part.text(&groups, agent) else { break };
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(&part);
    }
    if !text.is_empty() {
        member(version, &text);
    }
}

/// Rules for agents, replaced when their file is.
pub type AgentSource = Reloaded<AgentVersion>;

/// One version of them; without a good file the kind of device is told all the same.
pub struct AgentVersion {
    rules: Arc<AgentRules>,
    of_file: bool,
}

impl Data for AgentVersion {
    type Part = Arc<AgentRules>;
    type Use = ();
    const FILE_MAX: u64 = FILE_MAX as u64;
    // A YAML that was cut between two rules is a YAML.
    const SETTLED: bool = true;

    fn read(name: &str, bytes: Vec<u8>, (): &(), _: Extent) -> Result<Arc<AgentRules>, LookupError> {
        AgentRules::parse(name, &bytes).map(Arc::new)
    }

    fn of(rules: Vec<Arc<AgentRules>>) -> AgentVersion {
        let rules = rules.into_iter().next();
        AgentVersion { of_file: rules.is_some(), rules: rules.unwrap_or_else(|| Arc::new(AgentRules::none())) }
    }

    fn version(rules: &Arc<AgentRules>) -> &str {
        rules.version()
    }
}

impl Answer for AgentVersion {
    fn answer(&self, key: &[u8], out: &mut Vec<u8>) -> Status {
        self.rules.device(text_of(key), out);
        Status::Ok
    }

    fn versions(&self) -> Vec<&str> {
        if self.of_file { vec![self.rules.version()] } else { Vec::new() }
    }
}

/// The text of a key, which may have been cut within a character.
pub(crate) fn text_of(key: &[u8]) -> &str {
    match std::str::from_utf8(key) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&key[..e.valid_up_to()]).unwrap_or_default(),
    }
}

impl Rule {
    /// Members of systems have the prefix `os_`.
    fn of(item: &yaml::Item<'_>, prefix: &str) -> Result<(Rule, crate::sieve::Need), String> {
        let regex = item.member("regex").ok_or("the item has no `regex`")?;
        if regex.len() > PATTERN_MAX {
            return Err(format!("the pattern has {} bytes; it may have {PATTERN_MAX}", regex.len()));
        }
        let any_case = match item.member("regex_flag") {
            None => false,
            Some("i") => true,
            Some(_) => return Err("`regex_flag` is \"i\" or nothing".to_owned()),
        };
        let (pattern, need) =
            Pattern::parse(regex, any_case).map_err(|e| format!("the pattern cannot be used: {e}"))?;
        let groups = pattern.groups();
        let part = |member: &str, group: usize| match item.member(member) {
            Some(text) => Part::Text(text.into()),
            None if group <= groups => Part::Group(group),
            None => Part::Nothing,
        };
        let name = match prefix {
            "" => part("family_replacement", 1),
            _ => part("os_replacement", 1),
        };
        if matches!(name, Part::Nothing) {
            return Err("the rule gives no name: its pattern has no group, and there is no replacement".to_owned());
        }
        let version = [1, 2, 3, 4].map(|n| part(&format!("{prefix}v{n}_replacement"), n + 1));
        Ok((Rule { pattern, name, version }, need))
    }
}

impl Part {
    /// Its text, without blanks around it; `None` if that is empty.
    fn text<'t>(&'t self, groups: &Captures, agent: &'t str) -> Option<std::borrow::Cow<'t, str>> {
        let text: std::borrow::Cow<'t, str> = match self {
            Part::Nothing => return None,
            Part::Group(n) => groups.of(*n, agent)?.trim().into(),
            Part::Text(text) if !text.contains('$') => (&**text).into(),
            Part::Text(text) => filled(text, groups, agent).into(),
        };
        Some(text).filter(|t| !t.is_empty())
    }
}

/// `text` with each `$1` to `$9` replaced by that group, which may be nothing.
fn filled(text: &str, groups: &Captures, agent: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut parts = text.split('$');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        match part.as_bytes().first() {
            Some(digit @ b'1'..=b'9') => {
                out.push_str(groups.of(usize::from(digit - b'0'), agent).unwrap_or_default());
                out.push_str(&part[1..]);
            }
            _ => {
                out.push('$');
                out.push_str(part);
            }
        }
    }
    out.trim().to_owned()
}
