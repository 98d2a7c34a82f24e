//! Browsers and systems as uap-core's own cases have them, kinds of devices as a person labelled them, and rules and agents
//! that somebody wrote to do harm.

#![allow(clippy::disallowed_methods)] // it reads the test data and measures

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ouzel_lookup::{AgentRules, LookupError};
use serde_json::Value;

fn rules() -> AgentRules {
    let bytes = std::fs::read(support::data("ua/regexes.yaml")).expect("readable");
    AgentRules::parse("regexes.yaml", &bytes).expect("good rules")
}

fn device(rules: &AgentRules, agent: &str) -> Value {
    let mut out = Vec::new();
    rules.device(agent, &mut out);
    serde_json::from_slice(&out).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out)))
}

/// What is wrong with an answer; cases name up to four parts of a version, and say nothing of the ones they do not name.
fn wrong(case: &BTreeMap<String, String>, got: &Value, name: &str, version: &str) -> Option<String> {
    let parts = ["major", "minor", "patch", "patch_minor"];
    let given: Vec<&str> = parts.iter().filter_map(|p| case.get(*p)).map(String::as_str).collect();
    let expected = given.iter().take_while(|p| !p.is_empty()).copied().collect::<Vec<_>>().join(".");
    let text = got[version].as_str().unwrap_or_default();
    let silent = !case.contains_key("patch_minor") && !expected.is_empty() && text.starts_with(&format!("{expected}."));
    let same = got[name] == case["family"] && (text == expected || silent);
    (!same).then(|| format!("{}: {} {expected}, not {got}", case["user_agent_string"], case["family"]))
}

#[test]
fn every_published_case() {
    let rules = rules();
    for (file, count, name, version) in
        [("ua/test_ua.yaml", 1_601, "browser", "browser_version"), ("ua/test_os.yaml", 483, "os", "os_version")]
    {
        let cases = support::cases(file);
        assert_eq!(cases.len(), count);
        // Twice: the second answers come from what is kept.
        for _ in 0..2 {
            let got = cases.iter().map(|c| (c, device(&rules, &c["user_agent_string"])));
            let wrong: Vec<String> = got.filter_map(|(case, got)| wrong(case, &got, name, version)).collect();
            assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
        }
    }
}

#[test]
fn kinds_of_devices_as_labelled_by_hand() {
    let (rules, none) = (rules(), AgentRules::none());
    let table: Vec<(&str, &str)> = include_str!("devices.tsv")
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.split_once('\t'))
        .collect();
    assert!(table.len() >= 200);
    let wrong: Vec<String> = table
        .iter()
        .filter(|(kind, agent)| device(&rules, agent)["kind"] != *kind || device(&none, agent)["kind"] != *kind)
        .map(|(kind, agent)| format!("{kind}, not {}: {agent}", device(&none, agent)["kind"]))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), table.len(), wrong.join("\n"));
}

#[test]
fn what_is_written() {
    let rules = rules();
    for (agent, expected) in [
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
            r#"{"kind":"desktop","browser":"Chrome","browser_version":"141.0.0.0","os":"Mac OS X","os_version":"10.15.7"}"#,
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
            r#"{"kind":"mobile","browser":"Mobile Safari","browser_version":"18.6","os":"iOS","os_version":"18.6"}"#,
        ),
        ("SomethingNew", r#"{"kind":"other","browser":"Other","os":"Other"}"#),
        ("", r#"{"kind":"other","browser":"Other","os":"Other"}"#),
    ] {
        let mut out = Vec::from(*b"before ");
        rules.device(agent, &mut out);
        assert_eq!(String::from_utf8(out).expect("text"), format!("before {expected}"));
    }
    let mut out = Vec::new();
    AgentRules::none().device("Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X)", &mut out);
    assert_eq!(out, br#"{"kind":"tablet"}"#);
    assert_eq!(AgentRules::none().version(), "none");
    let version = rules.version();
    assert!(version.starts_with("regexes-") && version.len() == "regexes-".len() + 8, "{version}");
}

#[test]
fn rules_of_ones_own() {
    let yaml = br#"
user_agent_parsers:
  # In double quotes, and in any case.
  - regex: "(ACME) Browser/(\\d+)\\.(\\d+)"
    regex_flag: 'i'
    family_replacement: 'Acme $1'
  - regex: (Tool)/(\d+)
    family_replacement: A Tool
    v2_replacement: '7'
os_parsers:
- regex: '(Acme)OS(?:-(\d+))?(?:-(\d+))?'
  os_v2_replacement: 'x$3x'
device_parsers:
  - regex: '(anything'
    deep:
      - [er]
"#;
    let rules = AgentRules::parse("own.yaml", yaml).expect("good rules");
    for (agent, expected) in [
        ("acme browser/3.14 AcmeOS-5-6", ["Acme acme", "3.14", "Acme", "5.x6x"]),
        ("Tool/9 AcmeOS", ["A Tool", "9.7", "Acme", ""]),
        // The first that matches is the one, wherever it stands in the string.
        ("Tool/1 Acme Browser/2.0", ["Acme Acme", "2.0", "Other", ""]),
        ("ACME Browser/2", ["Other", "", "Other", ""]),
    ] {
        let got = device(&rules, agent);
        let members = ["browser", "browser_version", "os", "os_version"].map(|m| got[m].as_str().unwrap_or_default());
        assert_eq!(members, expected, "{agent}");
    }
}

fn refused(yaml: &[u8]) -> String {
    let started = Instant::now();
    let error = match AgentRules::parse("rules.yaml", yaml) {
        Err(e @ LookupError::Rules { .. }) => e.to_string(),
        Err(e) => panic!("another error: {e}"),
        Ok(rules) => {
            panic!("taken, with {} bytes: {}", rules.bytes(), String::from_utf8_lossy(&yaml[..yaml.len().min(200)]))
        }
    };
    assert!(started.elapsed() < Duration::from_secs(20), "{error} took {:?}", started.elapsed());
    error
}

#[test]
fn bad_rules_are_refused_by_their_line() {
    let rule = |regex: &str| {
        format!("user_agent_parsers:\n  - regex: '(ok)'\n\n  - regex: '{regex}'\n    family_replacement: 'x'\n")
    };
    let groups = format!("{}x{}", "(".repeat(5_000), ")".repeat(5_000));
    for (regex, words) in [
        ("(", "unclosed group"),
        ("[a", "unclosed character class"),
        ("(?=x)", "look-around"),
        (r"(a)\1", "backreferences"),
        ("a{1000}{1000}", "too large"),
        ("(?:(?:(?:a{99}){99}){99}){99}", "too large"),
        ("(?:a|b|cd{1,500}){1,500}", "too large"),
        ("a{4294967296}", "decimal literal"),
        (&groups, "nest"),
        (&"x".repeat(20_000), "20000 bytes"),
        (r"\pL{100}", "Unicode"),
    ] {
        let said = refused(rule(regex).as_bytes());
        assert!(said.starts_with("rules.yaml, line 4: ") && said.contains(words), "{said}");
        assert!(said.len() < 300, "{said}");
    }
    for (yaml, words) in [
        ("", "no rule"),
        ("user_agent_parsers:\n", "no rule"),
        ("device_parsers:\n  - regex: '(x)'\n", "no rule"),
        ("user_agent_parsers:\n  - regex: 'x'\n", "line 2: the rule gives no name"),
        ("user_agent_parsers:\n  - family_replacement: 'x'\n", "line 2: the item has no `regex`"),
        ("user_agent_parsers:\n  - regex: '(x)'\n    regex_flag: 'x'\n", "line 2: `regex_flag`"),
        ("os_parsers:\n  - regex: '(x)\n", "line 2: a quoted text does not end"),
        ("os_parsers: &a [*a, *a]\n", "line 1: a section"),
        ("{\"os_parsers\": []}", "line 1: a section"),
    ] {
        let said = refused(yaml.as_bytes());
        assert!(said.contains(words), "{said}");
    }
    let said = refused(b"user_agent_parsers:\n  - regex: '(\xff)'\n");
    assert!(said.contains("line 2: is not UTF-8"), "{said}");
    assert!(refused(&vec![b'#'; 5 << 20]).contains("5242880 bytes"));
}

/// Each is within its own limit; together they are not.
#[test]
fn many_rules_that_are_large_together_are_refused() {
    let file = |rule: &str, count: usize| format!("os_parsers:\n{}", rule.repeat(count)).into_bytes();
    let said = refused(&file("  - regex: '(a{4000})'\n", 9_000));
    assert!(said.contains("the rules up to here take more than"), "{said}");
    let said = refused(&file("  - regex: '(x)'\n", 10_001));
    assert!(said.contains("line 10002: a file may have 10000 rules"), "{said}");
    let names = |rule: usize| (0..40).map(|n| format!("{:0>24}", rule * 40 + n)).collect::<Vec<_>>().join("|");
    let many: String = (0..700).map(|n| format!("  - regex: '({})'\n", names(n))).collect();
    let said = refused(format!("os_parsers:\n{many}").as_bytes());
    assert!(said.contains("come to more than"), "{said}");
}

struct XorShift(u64);

impl XorShift {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize % n
    }
}

/// Pieces of real agents in any order, with bytes of others in between, some far longer than what is looked at.
#[test]
fn agents_that_mean_harm() {
    let rules = rules();
    let agents: Vec<String> =
        support::cases("ua/test_ua.yaml").into_iter().map(|c| c["user_agent_string"].clone()).collect();
    let mut rng = XorShift(0x9e37_79b9_7f4a_7c15);
    let odd = ["é", "漢", "\u{0}", "\"", "\\", "\n", "\u{10ffff}", "((((((", "{", "%00", " "];
    let started = Instant::now();
    for _ in 0..10_000 {
        let mut agent = String::new();
        for _ in 0..rng.below(40) {
            let words: Vec<&str> = agents[rng.below(agents.len())].split_inclusive([' ', '/', ';', '(', ')']).collect();
            agent.push_str(words[rng.below(words.len())]);
            if rng.below(4) == 0 {
                agent.push_str(odd[rng.below(odd.len())]);
            }
            if rng.below(200) == 0 {
                agent.push_str(&odd[rng.below(odd.len())].repeat(1_000));
            }
        }
        let got = device(&rules, &agent);
        assert!(got["kind"].is_string() && got["browser"].is_string() && got["os"].is_string(), "{got}");
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    // What makes backtracking engines explode, as long as it gets.
    for piece in ["Mozilla/5.0 (", "(((", "; ", "a", "0.", "CFNetwork ", "Chrome/1 Safari/1 ", "é"] {
        let started = Instant::now();
        device(&rules, &piece.repeat(100_000));
        assert!(started.elapsed() < Duration::from_secs(1), "{piece}: {:?}", started.elapsed());
    }
}
