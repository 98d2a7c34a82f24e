use std::path::Path;

use super::*;
use crate::config::{Config, LoadArgs};

const CONFIG: &str = r#"
version = 1
[[source]]
name = "shop"
kind = "file"
path = "none.ndjson"
preset = "ouzel"
[source.map]
time = { pointer = "/at", zone = "Europe/Berlin" }
account = "/account/id"
[[source]]
name = "web"
kind = "http"
[[source]]
name = "rows"
kind = "stdin"
preset = "csv"
[[lookup]]
name = "plan"
kind = "file"
path = "none.csv"
key = "event.user"
when = "event.user != null"
[[lookup]]
name = "network_of"
kind = "mmdb"
path = "none.mmdb"
[[lookup]]
name = "price"
kind = "file"
path = "none.csv"
key = "enriched.plan.id"
"#;

fn config() -> Config {
    Config::load_with(&LoadArgs::default(), |_| Ok(CONFIG.to_owned())).unwrap_or_else(|e| panic!("{e}")).config
}

fn read_all(content: &str) -> Result<Vec<Case>, String> {
    let config = config();
    let runner = Runner::new(&config).expect("no file is required");
    let known = Known { config: &config, members: runner.members() };
    read("tests/x.toml", content.to_owned(), Path::new("/base"), &known).map_err(|e| e.to_string())
}

/// What is different in each case of a file.
fn run(content: &str) -> Vec<Vec<String>> {
    let config = config();
    let runner = Runner::new(&config).expect("no file is required");
    let cases = read_all(content).unwrap_or_else(|e| panic!("{e}"));
    let all: Vec<&Case> = cases.iter().collect();
    let gives = |case: &&Case, name: &str| case.lookups.iter().any(|(lookup, _)| lookup == name);
    let missed = ["plan", "network_of", "price"].into_iter().filter(|name| !all.iter().all(|case| gives(case, name)));
    assert_eq!(runner.without(&all).count(), missed.count(), "none of its files is there");
    let show = |d: Difference| {
        let event = d.event.map_or(String::new(), |n| format!("{n}"));
        format!("{event}{}: {} / {}", d.pointer, d.expected, d.got)
    };
    let differences = |case: &Case| runner.run(case).expect("it runs").differences.into_iter().map(show).collect();
    cases.iter().map(differences).collect()
}

fn passes(content: &str) {
    let found = run(content);
    assert!(found.iter().all(Vec::is_empty), "{found:?}\n{content}");
}

#[test]
fn a_case_goes_the_whole_way() {
    passes(
        r#"
[[case]]
name = "everything at its default"
input = '''
{
    "type": "view", "user": "u-1", "ip": "203.0.113.7",
    "at": "2024-07-01 12:00:00", "account": {"id": 7}, "id": "e-1"
}
'''
[case.given]
geo = { country = "DE", lat = 48.5, cities = ["a", "b"] }
[case.given.lookups]
plan.rows."u-1" = { id = "p-1", name = "pro" }
plan.rows."u-2" = "timeout"
price = '{"amount": 480, "currency": null}'
network_of.rows."::ffff:203.0.113.7" = { number = 64500 }
[case.expect.enriched]
v = 1
at = "2026-01-01T00:00:00.000000Z"
geo = { country = "DE", lat = 48.5, cities = ["a", "b"] }
plan = { name = "pro" }
price.amount = 480.0
network_of.number = 64_500
visitor = { id = "user:u-1", how = "user" }
status = {}
data_versions = { plan = "given", price = "given" }
[case.expect.fields]
id = "e-1"
type = "view"
time = 2024-07-01T12:00:00+02:00
user = "u-1"
account = "7"
visitor = "user:u-1"

[[case]]
name = "each status"
received = 2026-11-22T19:33:00.5Z
input = [{ type = "view", user = "u-2", ip = "198.51.100.1" }, '{"type":"view","ip":"198.51.100.1"}']
[case.given]
geo = "open"
[case.given.lookups]
plan.rows."u-2" = "timeout"
network_of = "error:damaged"
[case.expect]
enriched = [
    { at = "2026-11-22T19:33:00.500000Z", status = { geo = "open", plan = "timeout", network_of = "error:damaged", price = "skipped" } },
    '{"plan": null, "geo": null, "status": {"plan": "skipped", "network_of": "error:damaged"}}',
]

[[case]]
name = "refused, set aside, and sent twice"
input = """
{"type":"view","id":"1","user":"u"}
{"type":"view","id":"1","user":"u"}
{"type":"cart","id":"1","user":"u"}
{"id":"2"}
[1]
"""
[case.expect]
enriched = { visitor.id = "user:u" }
dlq = ["missing_field", "not_object", "conflicting_duplicate"]
duplicates = 1

[[case]]
name = "a request with its connection"
source = "web"
connection = { ip = "203.0.113.9", user_agent = "curl/8" }
input = '{"batch":[{"type":"page","context":{"ip":"203.0.113.7"}},{"type":"page","messageId":"m"}],"anonymousId":"v-1"}'
[case.given.lookups]
network_of.rows."203.0.113.9" = { own = false }
network_of.rows."203.0.113.7" = { own = true }
[case.expect]
enriched = [{ network_of.own = true, visitor.how = "given" }, { network_of.own = false }]
fields = [{ ip = "203.0.113.7", user_agent = "curl/8" }, { ip = "203.0.113.9", id = "m" }]

[[case]]
name = "rows with their header"
source = "rows"
input = ["user_id,event", "u-1,view", "u-2,cart"]
expect.fields = [{ type = "view", user = "u-1" }, { type = "cart", user = "u-2" }]

[[case]]
name = "nothing comes out"
input = "{}"
expect.dlq = "missing_field"
"#,
    );
}

#[test]
fn what_is_not_as_expected_is_told_with_its_place() {
    let found = run(r#"
[[case]]
name = "values"
input = '{"type":"view","user":"u-1"}'
given.lookups.plan = { id = "p", deep = { list = [1, 2] } }
expect.enriched = { plan = { id = "q", deep = { list = [1] }, missing = true }, price.amount = 1, geo.country = "DE" }
[[case]]
name = "how many"
input = ['{"type":"view"}', '{"type":"view"}', "{}"]
expect.enriched = [{}]
[[case]]
name = "none"
input = "x"
expect.enriched = {}
[[case]]
name = "more than was said"
input = ['{"type":"view","id":"1"}', '{"type":"view","id":"1"}']
expect.dlq = []
[[case]]
name = "fields"
input = '{"type":"view","user":"u-1"}'
expect.fields = { type = "cart", session = "s", time = "2026-01-01T00:00:01Z" }
"#);
    let expected: [&[&str]; 5] = [
        &[
            "0/plan/id: \"q\" / \"p\"",
            "0/plan/deep/list: [1] / [1,2]",
            "0/plan/missing: true / nothing",
            "0/price: {\"amount\":1} / nothing (its status is \"miss\")",
            "0/geo: {\"country\":\"DE\"} / nothing (its status is \"skipped\")",
        ],
        &[
            ": no dead letter / dead letters: missing_field\nmissing_field at /type: the event has no type: nothing at /type",
            ": one enriched event / 2 enriched events",
        ],
        &[
            ": no dead letter / dead letters: not_json\nnot_json: a value was expected, at byte 0",
            ": one enriched event / no enriched event",
        ],
        &[": 0 duplicates / 1 duplicates", ": no enriched event / 1 of them"],
        &[
            "0fields /type: \"cart\" / \"view\"",
            "0fields /session: \"s\" / nothing",
            "0fields /time: \"2026-01-01T00:00:01.000000Z\" / \"2026-01-01T00:00:00.000000Z\"",
        ],
    ];
    for (found, expected) in found.iter().zip(expected) {
        let price = found.iter().position(|f| f.starts_with("0/price"));
        // Without a given row the file that is not there has nothing to say, and the run goes on without it.
        if let Some(at) = price {
            assert!(found[at].contains("status"), "{found:?}");
        }
        let others = |all: &[String]| all.iter().filter(|f| !f.starts_with("0/price")).cloned().collect::<Vec<_>>();
        let expected: Vec<String> = expected.iter().map(|e| (*e).to_owned()).collect();
        assert_eq!(others(found), others(&expected));
    }
    assert_eq!(found.len(), 5);
}

#[test]
fn a_mistake_in_a_file_is_told_with_its_place() {
    let case =
        |more: &str| format!("[[case]]\nname = \"x\"\ninput = \"{{}}\"\nexpect.dlq = \"missing_field\"\n{more}\n");
    for (content, says) in [
        ("".to_owned(), &["there is no case"][..]),
        ("[[cases]]\n".to_owned(), &["did you mean `case`?", "1:3"]),
        ("case = 1\n".to_owned(), &["a list of tables, not a whole number"]),
        ("[[case]]\n".to_owned(), &["no `name`", "no `input`", "no `expect`", "3 problems"]),
        (case("inputs = 1"), &["unknown key `inputs`", "did you mean `input`?", "x.toml:5:1"]),
        (case("source = \"shp\""), &["no [[source]] \"shp\"", "did you mean `shop`?"]),
        (case("received = \"soon\""), &["a time with a zone"]),
        (case("received = 2026-11-22"), &["a time with a zone"]),
        (case("connection = { ip = \"::1\" }"), &["kind file: it has no connection"]),
        (
            case("source = \"web\"\nconnection = { agent = \"x\" }"),
            &["unknown key `agent` in `connection`", "user_agent"],
        ),
        (case("input_file = \"x\""), &["not both"]),
        (case("given.goe = {}"), &["enriched.goe", "did you mean `geo`?"]),
        (case("given.plan = {}"), &["write given.lookups.plan"]),
        (case("given.lookups.plam = {}"), &["no [[lookup]] \"plam\"", "did you mean `plan`?"]),
        (case("given.lookups.plan = \"mis\""), &["neither JSON nor a status", "did you mean \"miss\"?"]),
        (case("given.lookups.plan = \"error:\""), &["neither JSON nor a status", "error:CODE"]),
        (case("given.lookups.plan = '{\"a\":}'"), &["not valid JSON at its character 6"]),
        (case("given.lookups.plan = '''\n{\n\"a\": x}\n'''"), &["not valid JSON in line 2 of it"]),
        (case("given.lookups.plan = 7"), &["not a whole number"]),
        (case("given.lookups.network_of.rows.\"x\" = {}"), &["asked by address, and \"x\" is none"]),
        (case("given.geo = { a = nan }"), &["JSON has no such number"]),
        (case("[case.given]\ngeo = { a = 99999999999999999999 }"), &["no such number"]),
        (case("expect.enriched = []\nexpect.dql = \"x\""), &["unknown key `dql`", "did you mean `dlq`?"]),
        (case("expect.duplicates = -1"), &["a whole number"]),
        (case("expect.enriched = '[1]'"), &["not an object"]),
        (case("expect.enriched = 1"), &["a list of them, not a whole number"]),
        (case("expect.fields = { time = \"x\" }"), &["a time with a zone"]),
        (
            case("").replace("missing_field", "mising_field"),
            &["no dead letter with the code", "did you mean `missing_field`?"],
        ),
        (case("").replace("\"missing_field\"", "\"future\""), &["no dead letter with the code \"future\""]),
        (case("") + &case(""), &["a case \"x\" already"]),
        (case("").replace("input = \"{}\"", "input = 1"), &["a text or a table, not a whole number"]),
        (case("").replace("name = \"x\"", "name = \"\""), &["a text, not an empty one"]),
        ("[[case]]\nname = x\n".to_owned(), &["not valid TOML", "x.toml:2:8"]),
    ] {
        let error = read_all(&content).err().unwrap_or_else(|| panic!("it was read:\n{content}"));
        for says in says {
            assert!(error.contains(says), "no `{says}` in\n{error}");
        }
    }
}

#[test]
fn a_case_says_the_same_every_time() {
    let content = r#"
[[case]]
name = "an event without an id"
input = '{"type":"view"}'
expect.enriched = {}
"#;
    let config = config();
    let runner = Runner::new(&config).expect("no file is required");
    let case = &read_all(content).expect("a case")[0];
    let outcome = || {
        let outcome = runner.run(case).expect("it runs");
        (outcome.enriched, outcome.fields)
    };
    let first = outcome();
    assert_eq!(first, outcome());
    assert_eq!(first.1[0]["id"], "case:0:0");
    assert_eq!(RECEIVED.to_string(), "2026-01-01T00:00:00.000000Z");
}

/// A source over a connection is given by the text of its key, and a list of texts where it takes several; nobody is asked.
#[cfg(feature = "remote")]
#[test]
fn sources_over_a_connection_are_given() {
    let config = r#"
version = 1
[[source]]
name = "shop"
kind = "stdin"
preset = "ouzel"
[[lookup]]
name = "user"
kind = "sql"
url = { env = "USERS_DB" }
query = "SELECT id FROM users WHERE id = ANY($1)"
key = "event.user"
[[lookup]]
name = "price"
kind = "redis"
url = "redis://127.0.0.1:1"
template = "{1}:{2}"
key = ["event.source", "enriched.user.plan"]
"#;
    let config =
        Config::load_with(&LoadArgs::default(), |_| Ok(config.to_owned())).unwrap_or_else(|e| panic!("{e}")).config;
    let runner = Runner::new(&config).expect("nothing is opened");
    let known = Known { config: &config, members: runner.members() };
    let cases =
        |content: &str| read("tests/x.toml", content.to_owned(), Path::new("/base"), &known).map_err(|e| e.to_string());
    let given = r#"
[[case]]
name = "given"
input = ['{"type":"view","user":"u-1"}', '{"type":"view","user":"u-2"}', '{"type":"view"}']
[case.given.lookups]
user.rows."u-1" = { plan = "pro" }
user.rows."u-2" = "open"
price.rows.'["shop", "pro"]' = { amount = 480 }
[case.expect]
enriched = [
    { user.plan = "pro", price.amount = 480, data_versions = { user = "given" } },
    { status = { user = "open", price = "skipped" } },
    { status = { user = "skipped", price = "skipped" } },
]
[[case]]
name = "wanted"
input = '{"type":"view","user":"u-1"}'
expect.enriched = { status = { user = "skipped", price = "skipped" } }
[[case]]
name = "not wanted"
input = '{"type":"view"}'
expect.enriched = { status = { user = "skipped" } }
"#;
    let unasked: Vec<Vec<String>> = cases(given)
        .unwrap_or_else(|e| panic!("{e}"))
        .iter()
        .map(|case| {
            let outcome = runner.run(case).expect("it runs");
            assert_eq!(outcome.differences, [], "{}: {:?}", case.name, outcome.enriched);
            outcome.unasked
        })
        .collect();
    assert_eq!(unasked, [vec![], vec!["user".to_owned()], vec![]]);
    assert_eq!(runner.without(&[]).count(), 0);
    for key in ["shop", "[\"shop\"]", "[\"a\", \"b\", \"c\"]", "[\"a\", 1]"] {
        let case = format!(
            "[[case]]\nname = \"x\"\ninput = \"{{}}\"\nexpect.dlq = \"missing_field\"\ngiven.lookups.price.rows.'{key}' = {{}}\n"
        );
        let error = cases(&case).err().unwrap_or_else(|| panic!("{key} was read"));
        assert!(error.contains("is no list of as many texts") && error.contains("rows.'[\"shop-1\""), "{error}");
    }
}
