//! What an agent string gives away by itself, without a list of names: it says that it is a program, it is a library's
//! default, it is a browser without a screen, or it cannot be what it says.
//!
//! The words were chosen on published agents of bots, and thrown out again where agents of people have them; figures are
//! in docs/enrichers/bot.md. The comment in which an Android agent names its device is left out: makers name phones Spider,
//! M bot and Phantom.

use std::ops::Range;
use std::sync::LazyLock;

use crate::agent::kind;
use crate::words::Edges::{Any, Begins, Both, Ends};
use crate::words::{Edges, Words};

/// Why an agent is taken for a program; each is a reason of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Judgement {
    pub says_so: bool,
    pub http_client: bool,
    pub headless: bool,
    pub impossible_agent: bool,
}

impl Judgement {
    pub(super) fn is_bot(self) -> bool {
        self != Judgement::default()
    }
}

/// The part of a word: it counts as `AhrefsBot`, `bot/2` or `bots`, not as `bottom` or `CUBOT`.
const BOT: u64 = 1 << 0;
/// What only programs say.
const SAYS: u64 = 1 << 1;
/// What programs say, and apps on phones and televisions too.
const HINTS: u64 = 1 << 2;
const URL: u64 = 1 << 3;
/// The end of a domain, where nothing follows it.
const DOMAIN: u64 = 1 << 4;
const AT: u64 = 1 << 5;
const LIBRARY: u64 = 1 << 6;
const HEADLESS: u64 = 1 << 7;
/// What players and readers of a person's own say, and their office; they also give addresses of their makers.
const OWN: u64 = 1 << 8;
/// Browsers that call themselves compatible.
const COMPATIBLE_BROWSER: u64 = 1 << 9;
/// Browsers that name no system, or nothing that is known here.
const OTHER_BROWSER: u64 = 1 << 13;
/// In the comment on the device, which comes first; behind it, it is a program's.
const COMPATIBLE: u64 = 1 << 10;
/// Templates that nobody filled in, and attempts to break into whoever reads them.
const TEMPLATE: u64 = 1 << 11;
/// It counts in the comment on the device too.
const EVERYWHERE: u64 = URL | TEMPLATE | GOOGLE;
/// Google's programs for its services, in agents of phones.
const GOOGLE: u64 = 1 << 12;

static WORDS: LazyLock<Words> = LazyLock::new(|| Words::of(TABLE));

#[rustfmt::skip]
const TABLE: &[(u64, Edges, &[&str])] = &[
    (BOT, Any, &["bot"]),
    (SAYS, Any, &["robot", "crawl", "spider", "scrap", "slurp", "fetch", "archiv", "indexer", "indexing", "harvest", "validat",
        "analyz", "analys", "linkcheck", "link check", "checker", "monitor", "preview", "screenshot", "thumbnail", "sitemap",
        "webmaster", "synthetic", "statuscake", "pingdom", "uptime", "backlink", "subscriber", "unfurl", "grabber", "httrack", "sucker",
        "webcopier", "retriev", "transcoder", "favicon", "externalhit", "prospecting", "adsbot", "observatory", "diagnostics",
        "sqlmap", "nikto", "nmap", "openvas", "vulnerab", "nessus", "acunetix", "masscan", "zgrab", "zmap", "chatgpt-",
        "anthropic", "facebookcatalog", "gtmetrix", "dareboost", "catchpoint", "lighthouse", "pagespeed"]),
    (SAYS, Both, &["gpt", "llm", "seo", "feedburner", "ai"]),
    (SAYS, Ends, &["agent", "scan", "verify", "imageproxy", "scanner", "parser", "extractor", "detector", "inspector", "auditor", "aggregator", "verifier", "finder"]),
    (GOOGLE, Ends, &["-google"]),
    (GOOGLE, Begins, &["google-", "googleother", "googleadsenseinfeed"]),
    (HINTS, Any, &["search", "sync", "proxy", "security", "download", "discover", "survey", "research", "audit", "inspect",
        "insight", "measure", "optimiz", "summar", "detect", "extract", "collector", "capture", "mirror", "embed", "webhook",
        "callback", "notifier", "subscri", "lookup", "ranking", "verif", "convert", "library", "agent/", "directory",
        "grapher", "reputation", "classif", "categor", "filter", "censys", "shodan", "feed", "news", "blog", "cloud", "flow/"]),
    (HINTS, Both, &["check", "test", "tester", "testing", "probe", "ping", "agent", "reader", "rss", "tool", "tools", "hosting",
        "web", "www", "api", "url", "urls", "link", "http", "https", "bw", "robo"]),
    (URL, Any, &["http://", "https://", "http//", "www."]),
    (DOMAIN, Any, &[".com", ".net", ".org", ".info", ".io", ".ru", ".de", ".ai", ".eu", ".co", ".jp", ".fr", ".cn", ".uk", ".nl",
        ".it", ".pl", ".cz", ".us", ".biz", ".me", ".dev", ".app", ".in", ".br", ".ch", ".se", ".no", ".es", ".ca", ".ly", ".gy"]),
    (AT, Any, &["@"]),
    (LIBRARY, Any, &["curl", "wget", "libwww", "lwp-", "lwp::", "python", "urllib", "httpx", "aiohttp", "okhttp", "go-http",
        "apache-http", "httpclient", "http-client", "http client", "http_client", "guzzle", "node-fetch", "axios", "undici",
        "postmanruntime", "insomnia/", "winhttp", "reqwest", "rest-client", "restclient", "restsharp", "faraday", "typhoeus",
        "mechanize", "httparty", "httpunit", "asynchttp", "http_request", "httprequest", "http request", "urlconnection",
        "snoopy", "fasthttp", "libsoup", "aria2", "jakarta", "wordpress", "drupal", "joomla", "typo3", "nutch", "heritrix",
        "larbin", "request-promise", "superagent", "httpie", "anyevent", "logic-apps", "winhttprequest", "cfhttp", "coldfusion"]),
    (LIBRARY, Begins, &["java/", "java1", "perl", "php", "ruby", "dart/", "dart:", "hyper/", "ureq/", "got/", "got (", "go 1",
        "jersey/", "netty/", "reactornetty", "jetty", "powershell", "windowspowershell", "requests/", "excon", "feign", "colly",
        "zend", "symfony", "typhoeus", "node/", "node.js", "nodejs", "deno/", "bun/", "axel", "pycurl",
        "microsoft url control", "microsoft-webdav", "microsoft office existence", "indy library", "mozilla/3.0 (compatible; indy"]),
    (HEADLESS, Any, &["headless", "phantomjs", "slimerjs", "puppeteer", "playwright", "selenium", "webdriver", "htmlunit",
        "jsdom", "zombie.js", "casperjs", "browserless", "prerender", "rendertron", "cypress/", "splash/", "testcafe",
        "dejaclick", "functionize", "testlocally"]),
    (HEADLESS, Begins, &["ptst"]),
    (OWN, Any, &["pod", "itunes", "player", "radio", "vlc/", "spotify", "tunein", "tuner", "audible", "audio", "kodi", "xbmc",
        "deezer", "music", "sound", "gstreamer", "rhythmbox", "amarok", "foobar2000"]),
    (OWN, Ends, &["cast", "casts"]),
    (OWN, Begins, &["cast", "lavf/", "mpv "]),
    (OWN, Both, &["fm"]),
    (OWN, Any, &["liferea", "netnewswire", "newsbeuter", "newsboat", "feeddemon", "feedstation", "rssbandit", "akregator", "omea",
        "rss reader", "microsoft office", "ms-office", "msoffice", "lotus-notes"]),
    (OTHER_BROWSER, Begins, &["dillo", "lynx", "links", "elinks", "w3m", "amaya", "hotjava", "netsurf", "offbyone", "emacs",
        "the bat!", "amigavoyager", "ncsa_mosaic", "vms_mosaic", "palmscape", "xiino", "jig browser"]),
    (OTHER_BROWSER, Any, &["duckduckgo/"]),
    (COMPATIBLE, Any, &["compatible;"]),
    (COMPATIBLE_BROWSER, Any, &["msie", "trident", "konqueror", "netfront", "polaris", "obigo", "teleca", "opera", "windows ce",
        "palm", "blazer", "icab", "omniweb", "ibrowse", "netpositive", "webpositive", "abrowse", "galeon", "epiphany",
        "avantgo", "elaine", "risc os", "amiga", "iemobile", "maple", "kindle", "ncbrowser", "dillo", "w3m"]),
    (TEMPLATE, Any, &["${", "{{", "<?", "<script", "() {", "%s", "../", "{user", "select(", "' or ", "sleep("]),
];

/// Judges the whole string; `None` of the reasons for an ordinary one.
pub(super) fn judge(agent: &str) -> Judgement {
    let device = device_comment(agent);
    let marks = WORDS
        .found(agent)
        .filter(|(mark, at)| counts(agent, *mark, at))
        .filter(|(mark, at)| mark & EVERYWHERE != 0 || at.start < device.start || at.end > device.end)
        .fold(0, |marks, (mark, _)| marks | mark);
    let has = |mark: u64| marks & mark != 0;

    let kind = kind::of(agent);
    let named = kind::is_named(agent);
    let browser = agent.starts_with("Mozilla/");
    // Apps of phones and televisions say of themselves what they are for, and people use them.
    let handheld = named && kind != "desktop";
    let own = has(OWN) && !has(BOT | SAYS);
    let peoples = handheld || own || has(OTHER_BROWSER);

    let says_so = has(BOT | SAYS | GOOGLE)
        || has(URL | AT) && (browser || has(COMPATIBLE) || !handheld && !own)
        || has(DOMAIN) && browser && kind == "desktop" && !has(COMPATIBLE_BROWSER)
        || has(HINTS | DOMAIN) && !peoples && (!browser || !named)
        || has(COMPATIBLE) && !has(COMPATIBLE_BROWSER) && (!peoples || handheld && compatible_behind(agent))
        || added_to_khtml(agent);
    Judgement {
        says_so,
        http_client: has(LIBRARY) && !peoples,
        headless: has(HEADLESS),
        impossible_agent: has(TEMPLATE) || !named && !peoples || contradicts_itself(agent),
    }
}

/// The word that gives the agent away (`AhrefsBot`, `curl`), if there is one.
pub(super) fn name(agent: &str) -> Option<&str> {
    const LETTERS: fn(&u8) -> bool = |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let telling = |mark: u64| mark & (BOT | SAYS | GOOGLE | LIBRARY | HEADLESS) != 0;
    let found = WORDS.found(agent).filter(|(mark, at)| telling(*mark) && counts(agent, *mark, at));
    // Addresses have such words in them too, and are no names.
    let bytes = agent.as_bytes();
    found.map(|(_, at)| at).find_map(|at| {
        let start = at.start - bytes[..at.start].iter().rev().take_while(|b| LETTERS(b)).count();
        let end = at.end + bytes[at.end..].iter().take_while(|b| LETTERS(b)).count();
        let word = agent.get(start..end)?.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let address = bytes[..start].ends_with(b"/") || bytes[..start].ends_with(b"@") || word.contains('.');
        (!address && word.len() <= 64 && word.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(word)
    })
}

/// Whether a word is what it is taken for, where its edges do not tell.
fn counts(agent: &str, mark: u64, at: &Range<usize>) -> bool {
    let bytes = agent.as_bytes();
    let before = at.start.checked_sub(1).map(|n| bytes[n]);
    let after = bytes.get(at.end).copied();
    match mark {
        BOT => {
            let cubot = ends_with(&bytes[..at.start], b"cu");
            let ends = match after {
                Some(b's' | b'S') => !bytes.get(at.end + 1).is_some_and(u8::is_ascii_alphabetic),
                next => !next.is_some_and(|b| b.is_ascii_alphabetic()),
            };
            // `HubbleBotChecker`
            let hump = bytes[at.start] == b'B'
                && before.is_some_and(|b| b.is_ascii_lowercase())
                && after.is_some_and(|b| b.is_ascii_uppercase());
            !cubot && (ends || hump)
        }
        DOMAIN => {
            let whole = before.is_some_and(|b| b.is_ascii_alphanumeric())
                && !after.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
            whole && !ends_with(&bytes[..at.start], b"asp")
        }
        // An app by which people photograph documents.
        SAYS => !(agent[at.clone()].eq_ignore_ascii_case("scanner") && ends_with(&bytes[..at.start], b"cam")),
        AT => {
            before.is_some_and(|b| b.is_ascii_alphanumeric())
                && bytes[at.end..].iter().take_while(|b| !matches!(b, b' ' | b')' | b';')).any(|b| *b == b'.')
                && after.is_some_and(|b| b.is_ascii_alphabetic())
        }
        _ => true,
    }
}

/// The comment in which an Android agent says what it runs on; empty if there is none. Some have lost their parentheses.
pub(super) fn device_comment(agent: &str) -> Range<usize> {
    let Some(android) = find(agent, "android").or_else(|| find(agent, "linux; u;")) else { return 0..0 };
    let Some(open) = agent[..android].rfind('(') else {
        return 0..find(agent, "applewebkit").unwrap_or(agent.len());
    };
    let mut depth = 0;
    for (at, byte) in agent.bytes().enumerate().skip(open) {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open..at;
        }
    }
    open..agent.len()
}

/// Whether it calls itself compatible behind its first comment.
fn compatible_behind(agent: &str) -> bool {
    agent.starts_with("Mozilla/") && agent.find(')').is_some_and(|end| agent[end..].contains("compatible;"))
}

/// `(KHTML, like Gecko; compatible; ...)`: browsers add nothing there.
fn added_to_khtml(agent: &str) -> bool {
    let Some(at) = find(agent, "like gecko") else { return false };
    let rest = agent[at + "like gecko".len()..].trim_start();
    rest.starts_with(';')
        || rest.strip_prefix(',').is_some_and(|rest| !rest.trim_start().starts_with("Safari") && !rest.contains("HEVC"))
}

/// Versions that there are not for centuries to come, at their pace.
const MAJOR_MAX: u32 = 999;

/// Systems that exclude each other, browsers in one another, and versions that never were.
fn contradicts_itself(agent: &str) -> bool {
    let has = |word: &str| agent.contains(word);
    let windows = has("Windows NT") && !has("Windows Phone") && !has("like iPhone");
    let systems =
        has("X11; Windows") || windows && (has("Macintosh;") || has("iPhone;") || has("iPad;") || has("; Android "));
    let browsers = has("Firefox/") && (has("Chrome/") || has("MSIE "));
    let versions =
        ["Chrome/", "Firefox/"].iter().any(|name| number_after(agent, name).is_some_and(|n| n > MAJOR_MAX || n == 0))
            || number_after(agent, "MSIE ").is_some_and(|n| n > 11);
    let windows_nt = windows && number_after(agent, "Windows NT ").is_some_and(|n| n > 10 || matches!(n, 7..=9));
    systems || browsers || versions || windows_nt
}

fn number_after(agent: &str, word: &str) -> Option<u32> {
    let rest = &agent[agent.find(word)? + word.len()..];
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    // A number too large to be read is larger than any there is.
    (digits > 0).then(|| rest[..digits].parse().unwrap_or(u32::MAX))
}

fn ends_with(text: &[u8], word: &[u8]) -> bool {
    text.len() >= word.len() && text[text.len() - word.len()..].eq_ignore_ascii_case(word)
}

/// Where a word in lower case is, in any case.
fn find(agent: &str, word: &str) -> Option<usize> {
    agent.as_bytes().windows(word.len()).position(|w| w.eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `s`ays so, `h`ttp client, head`l`ess, `i`mpossible.
    fn letters(agent: &str) -> String {
        let j = judge(agent);
        let all = [(j.says_so, 's'), (j.http_client, 'h'), (j.headless, 'l'), (j.impossible_agent, 'i')];
        all.iter().filter(|(is, _)| *is).map(|(_, c)| c).collect()
    }

    const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36";

    #[test]
    fn programs_and_why() {
        for (agent, why) in [
            ("Mozilla/5.0 (compatible; NewBot/1.0; +https://example.org/bot)", "si"),
            ("NewBot2/1.0 (Linux)", "s"),
            ("somebots/1.0", "si"),
            ("HubbleBotChecker (Linux)", "s"),
            ("Mozilla/5.0 (X11; Linux x86_64; somebody@example.org)", "s"),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36 (compatible; Google-Thing)",
                "s",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko; Something) Chrome/120.0.0.0 Safari/537.36",
                "s",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Name (name.com)",
                "s",
            ),
            ("python-requests/2.32.3", "hi"),
            ("okhttp/4.12.0", "hi"),
            ("Java/17.0.2", "hi"),
            ("curl/8.5.0 (x86_64-pc-linux-gnu)", "h"),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0.0.0 Safari/537.36",
                "l",
            ),
            ("Mozilla/5.0", "i"),
            ("Mozilla/4.0 (compatible;)", "si"),
            ("x", "i"),
            ("SomeWord", "i"),
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; ${jndi:ldap})", "i"),
            ("Mozilla/5.0 (Windows NT 10.0; iPhone; CPU) AppleWebKit/537.36 Chrome/120.0", "i"),
            (
                "Mozilla/5.0 (Windows NT 8.1; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
                "i",
            ),
            ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/12345.0 Safari/537.36", "i"),
            ("Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/120.0 Chrome/120.0", "i"),
            ("Mozilla/4.0 (compatible; MSIE 99.0; Windows NT 6.1)", "i"),
        ] {
            assert_eq!(letters(agent), why, "{agent}");
        }
    }

    #[test]
    fn people() {
        for agent in [
            CHROME,
            // Phones that are called so, one of them outside of its comment.
            "Mozilla/5.0 (Linux; Android 7.0; CUBOT MAX) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/83.0 Mobile Safari/537.36",
            "mozilla/5.0 (linux; android 6.0; cubot echo) applewebkit/537.36 (khtml, like gecko) chrome/70.0 mobile safari/537.36",
            "CUBOT_X18 (Linux; U; Android 7.0)",
            "Mozilla/5.0 (Linux; Android 7.0; M bot 51) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/81.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 13; Spider 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 8.1.0; Perla) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/83.0 Mobile Safari/537.36",
            "Mozilla/5.0 Linux; Android 7.0; M bot 51 AppleWebKit/537.36 KHTML, like Gecko Chrome/81.0 Mobile Safari/537.36",
            // Apps, players and other programs that people use.
            "Mozilla/5.0 (Linux; Android 14; SM-S918B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/124.0 Mobile Safari/537.36 CamScanner/4.8.5",
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/81.0 Mobile Safari/537.36 YandexSearch/7.52",
            "DS podcast/1.0.5 (be.standaard.audio; Android 10; Model: SM-J600FN) OkHttp/4.9.1",
            "App/1.0 CFNetwork/1402 Darwin/22.2.0",
            "Dalvik/2.1.0 (Linux; U; Android 13; SM-G991B)",
            "gPodder/3.5.2 (+http://gpodder.org/)",
            "Lynx/2.8.8pre.3 libwww-FM/2.14",
            "Mozilla/5.0 (Mobile; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5.1",
            "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; .NET CLR 2.0.50727; InfoPath.2; QQDownload 691)",
            "Mozilla/5.0 (Windows NT 6.3; ARM; Trident/7.0; Touch; rv:11.0) like Gecko",
            "Mozilla/5.0 (compatible; Konqueror/3.5; OpenBSD) KHTML/3.5.9 (like Gecko)",
        ] {
            assert_eq!(letters(agent), "", "{agent}");
        }
    }

    #[test]
    fn names() {
        for (agent, expected) in [
            ("Mozilla/5.0 (compatible; NewBot/1.0; +https://example.org/crawler)", Some("NewBot")),
            ("My-Crawler_2 (Linux)", Some("My-Crawler_2")),
            ("python-requests/2.32.3", Some("python-requests")),
            ("Mozilla/5.0 (compatible; +http://example.org/bot.html)", None),
            ("Mozilla/5.0", None),
        ] {
            assert_eq!(name(agent), expected, "{agent}");
        }
    }
}
