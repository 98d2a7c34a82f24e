//! Which search engine, social network or mail host a referrer is, and what was searched for there: the operator's own
//! tables first, then ours.

mod table;
mod yaml;

use std::collections::HashMap;
use std::sync::Arc;

use enrich::url::{self, HOST_MAX, Url};
use event::json::write_string;
use flow::Status;

use crate::error::LookupError;
use crate::reload::{Answer, Data, Extent, Reloaded};

/// The tables of a configuration.
pub type ReferrerSource = Reloaded<Referrers>;

/// Tables in the order they are asked. Pin one version for a batch, so that all its events see the same.
pub struct Referrers {
    operators: Vec<Arc<OperatorTable>>,
    builtin: Table,
}

/// Our own table is as old as the program.
const BUILTIN_VERSION: &str = concat!("builtin-", env!("CARGO_PKG_VERSION"));

/// A `referers.yml` of the operator's, read.
pub struct OperatorTable {
    table: Table,
    version: String,
}

impl Referrers {
    /// Our own table alone.
    pub fn builtin() -> Referrers {
        <Referrers as Data>::of(Vec::new())
    }

    /// Our own table, and one of the operator's that is asked first. Its form is that of the `referers.yml` that trackers use:
    /// medium, below it sources, below each `domains` and `parameters`. A domain may have a path, and stands for its
    /// subdomains too.
    ///
    /// # Errors
    /// A line that is not of that form; nothing of the file is used.
    pub fn with_operator(name: &str, bytes: &[u8]) -> Result<Referrers, LookupError> {
        let table = <Referrers as Data>::read(name, bytes.to_vec(), &(), Extent::Whole)?;
        Ok(<Referrers as Data>::of(vec![table]))
    }

    /// Appends `{"medium":"search","source":"Google","term":"blue shoes"}`, the term left out where none is told; a host that
    /// no table has is `{"medium":"unknown"}`. False, and nothing, for what has no host.
    pub fn referrer(&self, referrer: &[u8], out: &mut Vec<u8>) -> bool {
        let url = Url::parse(referrer);
        let mut host = [0; HOST_MAX];
        let host = url.lower_host(&mut host);
        if host.is_empty() {
            return false;
        }
        let tables = self.operators.iter().map(|operator| &operator.table).chain([&self.builtin]);
        match tables.filter_map(|table| table.find(host, url.path)).next() {
            Some(source) => source.write(&url, out),
            None => out.extend_from_slice(b"{\"medium\":\"unknown\"}"),
        }
        true
    }
}

impl Data for Referrers {
    type Part = Arc<OperatorTable>;
    type Use = ();
    /// Real ones have 200 KB.
    const FILE_MAX: u64 = 16 << 20;

    fn read(name: &str, bytes: Vec<u8>, (): &(), _: Extent) -> Result<Arc<OperatorTable>, LookupError> {
        let table = yaml::read(name, &bytes)?;
        Ok(Arc::new(OperatorTable { table, version: crate::version(name, &bytes) }))
    }

    fn of(operators: Vec<Arc<OperatorTable>>) -> Referrers {
        Referrers { operators, builtin: builtin() }
    }

    fn version(table: &Arc<OperatorTable>) -> &str {
        &table.version
    }
}

impl Answer for Referrers {
    fn answer(&self, key: &[u8], out: &mut Vec<u8>) -> Status {
        if self.referrer(key, out) { Status::Ok } else { Status::Error("bad_key") }
    }

    fn versions(&self) -> Vec<&str> {
        self.operators.iter().map(|operator| operator.version.as_str()).chain([BUILTIN_VERSION]).collect()
    }
}

/// Hosts and what they are.
#[derive(Default)]
pub(crate) struct Table {
    sources: Vec<Source>,
    hosts: HashMap<Box<[u8]>, Vec<Rule>>,
}

struct Source {
    /// `{"medium":"search","source":"Google"`, rendered once.
    json: Vec<u8>,
    parameters: Vec<Vec<u8>>,
}

/// What a host is, on some paths.
struct Rule {
    source: usize,
    /// Subdomains are something else, but for `www.`.
    exact: bool,
    /// Beginnings; empty for all paths.
    paths: Arc<[Box<[u8]>]>,
}

impl Table {
    /// Adds a source, and gives its number for [`Table::add_host`].
    fn add_source<'p>(&mut self, medium: &str, source: &str, parameters: impl Iterator<Item = &'p str>) -> usize {
        let mut json = b"{\"medium\":".to_vec();
        write_string(medium.as_bytes(), &mut json);
        json.extend_from_slice(b",\"source\":");
        write_string(source.as_bytes(), &mut json);
        self.sources.push(Source { json, parameters: parameters.map(|p| p.as_bytes().to_vec()).collect() });
        self.sources.len() - 1
    }

    fn add_host(&mut self, host: &str, rule: Rule) {
        self.hosts.entry(host.to_ascii_lowercase().into_bytes().into()).or_default().push(rule);
    }

    /// The source of a host in lower case, on a path: that of the longest domain that has a rule for the path, and of its
    /// rules that with the longest path.
    fn find(&self, host: &[u8], path: &[u8]) -> Option<&Source> {
        let mut domain = host;
        loop {
            if let Some(rules) = self.hosts.get(domain) {
                let below = &host[..host.len() - domain.len()];
                let matches = |rule: &&Rule| !rule.exact || matches!(below, b"" | b"www.");
                let longest = |rule: &Rule| Some((rule.path(path)?, rule.source));
                // `max_by_key` gives the last of equals, and the first is meant.
                let found = rules.iter().rev().filter(matches).filter_map(longest).max_by_key(|(len, _)| *len);
                if let Some((_, source)) = found {
                    return Some(&self.sources[source]);
                }
            }
            let dot = domain.iter().position(|b| *b == b'.')?;
            domain = &domain[dot + 1..];
        }
    }
}

impl Rule {
    /// How much of the path the rule has; `None` if it is about others.
    fn path(&self, path: &[u8]) -> Option<usize> {
        if self.paths.is_empty() {
            return Some(0);
        }
        let beginning = |wanted: &[u8]| match wanted {
            b"/" => matches!(path, b"" | b"/").then_some(1),
            _ => path.strip_prefix(wanted).filter(|rest| matches!(rest, [] | [b'/' | b';', ..])).map(|_| wanted.len()),
        };
        self.paths.iter().filter_map(|wanted| beginning(wanted)).max()
    }
}

impl Source {
    fn write(&self, url: &Url<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.json);
        if let Some(term) = self.term(url) {
            out.extend_from_slice(b",\"term\":");
            url::write_decoded(term, out);
        }
        out.push(b'}');
    }

    /// What was searched for, as it stands in the query: the first parameter of the source's that is not blank.
    fn term<'u>(&self, url: &Url<'u>) -> Option<&'u [u8]> {
        if self.parameters.is_empty() || url.query.is_empty() {
            return None;
        }
        // A page that leads elsewhere (Google's `/url`) has the address it leads to in the parameter of the words.
        let leads_elsewhere = |value: &[u8]| url.path == b"/url" && value.starts_with(b"http");
        self.parameters.iter().find_map(|parameter| {
            let blank = |value: &[u8]| value.iter().all(|b| matches!(b, b'+' | b' '));
            let mut values = url.pairs().filter(|pair| pair.name == parameter.as_slice()).map(|pair| pair.value);
            values.find(|value| !blank(value) && !leads_elsewhere(value))
        })
    }
}

/// Our own table.
fn builtin() -> Table {
    let mut table = Table::default();
    for row in table::TABLE {
        let source = table.add_source(row.medium, row.source, row.parameters.split_whitespace());
        let paths: Arc<[Box<[u8]>]> = row.paths.split_whitespace().map(|path| path.as_bytes().into()).collect();
        for host in row.hosts.split_whitespace() {
            let (host, exact) = host.strip_prefix('=').map_or((host, false), |host| (host, true));
            let rule = || Rule { source, exact, paths: paths.clone() };
            match host.strip_suffix('*') {
                Some(stem) => {
                    row.endings.split_whitespace().for_each(|end| table.add_host(&format!("{stem}{end}"), rule()))
                }
                None => table.add_host(host, rule()),
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(referrers: &Referrers, referrer: &str) -> String {
        let mut out = Vec::new();
        referrers.referrer(referrer.as_bytes(), &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    fn search(source: &str, term: &str) -> String {
        match term {
            "" => format!(r#"{{"medium":"search","source":"{source}"}}"#),
            _ => format!(r#"{{"medium":"search","source":"{source}","term":"{term}"}}"#),
        }
    }

    const UNKNOWN: &str = r#"{"medium":"unknown"}"#;

    #[test]
    fn search_engines_and_what_was_searched_for() {
        let referrers = Referrers::builtin();
        for (referrer, source, term) in [
            ("https://www.google.com/", "Google", ""),
            ("https://google.com", "Google", ""),
            ("http://www.google.co.uk/search?hl=en&q=blue+shoes&btnG=Search", "Google", "blue shoes"),
            ("http://www.google.fr/url?sa=t&q=caf%C3%A9&url=http%3A%2F%2Fexample.com", "Google", "café"),
            ("http://www.google.com/url?q=http://example.com/&sa=D", "Google", ""),
            ("http://www.google.com/imgres?imgurl=http://x/y.png", "Google", ""),
            ("HTTPS://WWW.GOOGLE.COM.AU/search?q=x#y", "Google", "x"),
            ("android-app://com.google.android.googlequicksearchbox/", "Google", ""),
            ("https://images.google.de/imgres?q=a", "Google", "a"),
            ("https://www.bing.com/search?q=a%2Bb", "Bing", "a+b"),
            ("https://cn.bing.com/search?q=%E4%B8%AD", "Bing", "中"),
            ("https://r.search.yahoo.com/_ylt=A;_ylu=B/RV=2", "Yahoo!", ""),
            ("https://uk.search.yahoo.com/search;_ylt=X?p=two+words", "Yahoo!", "two words"),
            ("https://search.yahoo.co.jp/search?p=x", "Yahoo!", "x"),
            ("https://duckduckgo.com/", "DuckDuckGo", ""),
            ("https://html.duckduckgo.com/html/?q=x", "DuckDuckGo", "x"),
            ("https://yandex.ru/search/?text=x", "Yandex", "x"),
            ("https://www.yandex.com.tr/", "Yandex", ""),
            ("https://ya.ru/", "Yandex", ""),
            ("http://www.baidu.com/s?wd=x&word=y", "Baidu", "x"),
            ("http://m.baidu.com/s?wd=&word=y", "Baidu", "y"),
            ("https://m.search.naver.com/search.naver?query=x", "Naver", "x"),
            ("https://www.ecosia.org/search?q=x", "Ecosia", "x"),
            ("https://www.qwant.com/?q=x", "Qwant", "x"),
            ("https://search.brave.com/", "Brave Search", ""),
            ("https://chatgpt.com/", "ChatGPT", ""),
            ("https://www.perplexity.ai/", "Perplexity", ""),
            ("https://gemini.google.com/app", "Gemini", ""),
            ("https://www.bing.com/search?q=%22a%22", "Bing", r#"\"a\""#),
            ("https://www.bing.com/search?q=++&q=b", "Bing", "b"),
        ] {
            assert_eq!(answer(&referrers, referrer), search(source, term), "{referrer}");
        }
    }

    #[test]
    fn social_networks_mail_hosts_and_others() {
        let referrers = Referrers::builtin();
        for (referrer, medium, source) in [
            ("https://www.facebook.com/", "social", "Facebook"),
            ("https://l.facebook.com/l.php?u=http", "social", "Facebook"),
            ("https://lm.facebook.com/", "social", "Facebook"),
            ("https://t.co/abc", "social", "X"),
            ("https://x.com/", "social", "X"),
            ("https://old.reddit.com/r/rust", "social", "Reddit"),
            ("android-app://com.linkedin.android/", "social", "LinkedIn"),
            ("android-app://com.Slack/", "social", "Slack"),
            ("https://www.pinterest.co.uk/pin/1", "social", "Pinterest"),
            ("https://m.youtube.com/watch?v=1", "social", "YouTube"),
            ("https://away.vk.com/", "social", "VK"),
            ("https://tieba.baidu.com/p/1", "social", "Tieba"),
            ("https://news.ycombinator.com/", "social", "Hacker News"),
            ("https://mail.google.com/mail/u/0/", "email", "Gmail"),
            ("android-app://com.google.android.gm", "email", "Gmail"),
            ("https://outlook.live.com/", "email", "Outlook"),
            ("https://us-mg5.mail.yahoo.com/neo/launch", "email", "Yahoo! Mail"),
            ("https://mail.yandex.ru/", "email", "Yandex Mail"),
            ("https://e.mail.ru/", "email", "Mail.ru"),
            ("https://navigator.gmx.net/", "email", "GMX"),
            ("https://suche.gmx.net/", "search", "GMX"),
        ] {
            assert_eq!(
                answer(&referrers, referrer),
                format!(r#"{{"medium":"{medium}","source":"{source}"}}"#),
                "{referrer}"
            );
        }
        for referrer in [
            "https://example.com/search?q=x",
            "https://www.google.com/maps/place/x",
            "https://docs.google.com/document",
            "https://developers.google.com/search",
            "https://www.google.com/searching",
            "https://yandex.ru/maps",
            "https://disk.yandex.ru/",
            "https://notgoogle.com/",
            "https://google.com.evil.example/search?q=x",
            "https://google.example/",
            "https://com/",
            "http://10.0.0.1/",
        ] {
            assert_eq!(answer(&referrers, referrer), UNKNOWN, "{referrer}");
        }
        for nothing in ["", "-", "/path", "junk", "https:///x"] {
            assert_eq!(answer(&referrers, nothing), "", "{nothing}");
        }
    }

    #[test]
    fn no_host_of_our_table_is_two_things() {
        let table = builtin();
        for (host, rules) in &table.hosts {
            let host = String::from_utf8_lossy(host);
            assert_eq!(rules.len(), 1, "{host} stands twice in the table");
            assert!(host.is_ascii() && !host.contains(['*', '=', '/']), "{host}");
            let answer = answer(&Referrers::builtin(), &format!("https://{host}/"));
            assert!(
                answer.starts_with("{\"medium\":\"s") || answer.starts_with("{\"medium\":\"email"),
                "{host}: {answer}"
            );
        }
        for row in table::TABLE {
            assert!(["search", "social", "email"].contains(&row.medium));
            assert_ne!(row.hosts.contains('*'), row.endings.is_empty(), "{}", row.source);
        }
        println!("{} sources, {} hosts", table.sources.len(), table.hosts.len());
    }

    #[test]
    fn the_operator_is_asked_first() {
        let yaml = b"paid:\n  Ads:\n    domains:\n      - google.com/aclk\n      - ads.example\nsearch:\n  Ours:\n    domains:\n\
                     \x20     - find.example/go\n      - find.example\n      - bing.com\n    parameters:\n      - words\n      - q\n\
                     internal:\n  Wiki:\n    domains: [wiki.example]\n";
        let referrers = Referrers::with_operator("referers.yml", yaml).expect("a table");
        for (referrer, want) in [
            ("https://www.google.com/aclk?q=x", r#"{"medium":"paid","source":"Ads"}"#),
            ("https://www.google.com/search?q=x", r#"{"medium":"search","source":"Google","term":"x"}"#),
            ("https://a.ads.example/", r#"{"medium":"paid","source":"Ads"}"#),
            ("https://find.example/?q=b&words=a", r#"{"medium":"search","source":"Ours","term":"a"}"#),
            ("https://www.bing.com/?q=b", r#"{"medium":"search","source":"Ours","term":"b"}"#),
            ("https://wiki.example/", r#"{"medium":"internal","source":"Wiki"}"#),
            ("https://other.example/", UNKNOWN),
        ] {
            assert_eq!(answer(&referrers, referrer), want, "{referrer}");
        }
        let versions = Answer::versions(&referrers);
        assert!(versions.len() == 2 && versions[0].starts_with("referers-") && versions[1] == BUILTIN_VERSION);
    }
}
