//! Conditions: what they mean, which texts are none and with which words they are refused, and that neither texts nor
//! events do harm.

use ouzel_enrich::condition::{Condition, Given, PATHS_MAX, TEXT_MAX, Undecided};
use ouzel_enrich::path::{Base, Path};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The value of a path in `{"event": {...}, "enriched": {...}}`.
fn at<'v>(world: &'v Value, path: &Path) -> Option<&'v Value> {
    let mut at = match &path.base {
        Base::Field(name) => world["event"].get(name)?,
        Base::Member(name) => world["enriched"].get(name)?,
        Base::Pointer(pointer) => world["event"].pointer(pointer)?,
    };
    for name in &path.rest {
        at = match at {
            Value::Array(elements) => elements.get(name.parse::<usize>().ok()?)?,
            other => other.get(name)?,
        };
    }
    Some(at)
}

fn holds(condition: &Condition, world: &Value) -> Result<bool, Undecided> {
    let values: Vec<Option<String>> = condition.paths().iter().map(|p| at(world, p).map(Value::to_string)).collect();
    condition.holds(|place| values[place].as_ref().map(|json| Given::Json(json.as_bytes())))
}

fn world() -> Value {
    json!({
        "event": {
            "user": "u-7", "visitor": "v", "type": "Product Viewed", "url": "https://shop.example/caf\u{e9}?a=\"b\"",
            "number": 42, "price": 10.0, "huge": 18446744073709551615u64, "small": -3, "yes": true, "no": false, "empty": "",
            "null": null, "nothing": null, "tags": ["new", "sale", 3], "items": [{"sku": "a", "n": 1}, {"sku": "b"}],
            "campaign": {"source": "mail", "deep": {"er": [1, [2]]}}, "home-country": "DE", "escaped": "a\"b\\c\n\u{e9}",
        },
        "enriched": {"user": {"plan": "pro", "since": null, "a b": 1}, "geo": {"country": "US", "lat": 38.25}},
    })
}

#[test]
fn conditions_mean_what_they_say() {
    let error: Result<bool, Undecided> = Err(Undecided);
    for (text, expected) in [
        // Null and absent are the same.
        ("event.user != null", Ok(true)),
        ("event.gone != null", Ok(false)),
        ("event['null'] == null", Ok(true)),
        ("event.campaign.gone == null", Ok(true)),
        ("event.user.gone.further == null", Ok(true)),
        ("has(event.user)", Ok(true)),
        ("has(event.gone)", Ok(false)),
        ("has(event.nothing)", Ok(false)),
        ("!has(event.campaign.deep.er)", Ok(false)),
        ("enriched.user.since == null && enriched.nobody.x == null", Ok(true)),
        // Texts.
        ("event.user == 'u-7'", Ok(true)),
        ("event.user == \"u-8\"", Ok(false)),
        ("event.user != 'u-8'", Ok(true)),
        ("event.empty == ''", Ok(true)),
        ("event.empty != null", Ok(true)),
        ("event.url.startsWith('https://shop.')", Ok(true)),
        ("event.url.endsWith('?a=\"b\"')", Ok(true)),
        ("event.url.contains('caf\u{e9}')", Ok(true)),
        ("event.escaped == 'a\"b\\\\c\\n\\u00e9'", Ok(true)),
        ("event.user < 'u-8'", Ok(true)),
        ("size(event.user) == 3 && event.user.size() == 3", Ok(true)),
        ("event.user + '!' == 'u-7!'", Ok(true)),
        // Numbers of all kinds compare with one another.
        ("event.number == 42", Ok(true)),
        ("event.number == 42.0", Ok(true)),
        ("event.number == 42u", Ok(true)),
        ("event.price == 10", Ok(true)),
        ("event.price >= 9.5 && event.price < 11", Ok(true)),
        ("event.huge > 1", Ok(true)),
        ("event.huge == 18446744073709551615u", Ok(true)),
        ("event.small < 0", Ok(true)),
        ("-event.small == 3", Ok(true)),
        ("event.number % 10 == 2 && event.number / 10 == 4", Ok(true)),
        // A number is not a text of its digits, as keys are.
        ("event.number == '42'", Ok(false)),
        ("string(event.number) == '42' && int('7') == 7", Ok(true)),
        ("enriched.geo.lat > 38.0", Ok(true)),
        // Booleans.
        ("event.yes", Ok(true)),
        ("!event.no", Ok(true)),
        ("event.yes == true && event.no == false", Ok(true)),
        ("true", Ok(true)),
        ("event.no ? false : event.yes", Ok(true)),
        // Lists and objects.
        ("event.type in ['Product Viewed', 'Order Completed']", Ok(true)),
        ("event.gone in ['a', null]", Ok(true)),
        ("'sale' in event.tags", Ok(true)),
        ("3 in event.tags && !('x' in event.tags)", Ok(true)),
        ("event.tags[0] == 'new'", Ok(true)),
        ("event.tags == ['new', 'sale', 3]", Ok(true)),
        ("size(event.tags) == 3 && size(event.campaign) == 2", Ok(true)),
        ("event.tags.exists(t, t == 'sale')", Ok(true)),
        ("event.items.exists(i, i.sku == 'b')", Ok(true)),
        ("event.items.all(i, i.sku in ['a', 'b'])", Ok(true)),
        ("event.items.exists(i, has(i.n) && i.n == 1)", Ok(true)),
        ("event.items.filter(i, i.sku == 'a').size() == 1", Ok(true)),
        ("event.items[1].sku == 'b'", Ok(true)),
        ("event.items[0] == event.items[0]", Ok(false)),
        ("event.campaign.deep.er[1][0] == 2", Ok(true)),
        ("'source' in event.campaign && !('x' in event.campaign)", Ok(true)),
        ("event.campaign['source'] == 'mail' && event['home-country'] == 'DE'", Ok(true)),
        ("enriched.user['a b'] == 1", Ok(true)),
        // A JSON Pointer into the event.
        ("event['/campaign/source'] == 'mail'", Ok(true)),
        ("event['/campaign'].source == 'mail'", Ok(true)),
        ("event['/items/1/sku'] == 'b'", Ok(true)),
        ("event['/items/2/sku'] == null", Ok(true)),
        ("type(event.user) == string && type(event.tags) == list && type(event.campaign) == map", Ok(true)),
        // What cannot be compared is undecided, unless the other side decides.
        ("event.user > 3", error),
        ("event.gone > 3", error),
        ("event.user", error),
        ("event.gone", error),
        ("!event.user", error),
        ("event.gone.startsWith('a')", error),
        ("event.tags[9] == 1", error),
        ("event.items[1].n == 1", error),
        ("event.items.all(i, i.n == 1)", error),
        ("event.number / 0 == 1", error),
        ("int(event.user) == 1", error),
        ("event.campaign.exists(k, k == 'source')", error),
        ("event.user > 3 || event.yes", Ok(true)),
        ("event.yes || event.user > 3", Ok(true)),
        ("event.user > 3 && event.no", Ok(false)),
        ("event.gone != null && event.gone > 3", Ok(false)),
        ("event.user > 3 && event.yes", error),
    ] {
        let condition = Condition::compile(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(holds(&condition, &world()), expected, "{text}");
    }
}

#[test]
fn it_says_what_it_reads() {
    for (text, paths) in [
        ("event.user != null && has(event.user) && event['user'] == 'a'", &["event.user"][..]),
        (
            "event.campaign.source == 'x' || event['/a/b'].c > 1 || enriched.user.plan in [enriched.geo.country]",
            &["event.campaign.source", "/a/b.c", "enriched.user.plan", "enriched.geo.country"],
        ),
        ("event.tags.exists(t, t == event.user)", &["event.tags", "event.user"]),
        ("event.tags[0].x == 1", &["event.tags"]),
        ("true", &[]),
    ] {
        let shown: Vec<String> = Condition::compile(text).expect(text).paths().iter().map(Path::to_string).collect();
        assert_eq!(shown, paths, "{text}");
    }
}

#[test]
fn texts_that_are_not_json_are_texts() {
    let text = "event.ip == '1.2.3.4' && event.user_agent.contains('fire')";
    let condition = Condition::compile(text).expect("a condition");
    let given = [Given::Text(b"1.2.3.4"), Given::Text(b"\xff firefox")];
    assert_eq!(condition.holds(|place| Some(given[place])), Ok(true));
}

#[test]
fn only_what_is_read_is_asked_for_and_once() {
    let condition = Condition::compile("event.a == 1 || event.b == 1 || event.a == 2").expect("a condition");
    let mut asked = Vec::new();
    let _ = condition.holds(|place| {
        asked.push(place);
        None
    });
    assert_eq!(asked, [0, 1]);
}

/// Every example of the documentation's table is a condition.
#[test]
#[allow(clippy::disallowed_methods)] // it reads the page
fn the_documentation_is_right() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/enrichers/lookup.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let (_, section) = page.split_once("## Conditions").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("the next one");
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let spans = rows.flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    let whole =
        |span: &String| ["event", "enriched", "has(", "size(", "\""].iter().any(|begin| span.starts_with(begin));
    let examples: Vec<String> = spans.filter(whole).collect();
    assert!(examples.len() >= 16, "{examples:?}");
    for example in examples {
        if let Err(e) = Condition::compile(&example) {
            panic!("{example}: {e}");
        }
    }
}

#[test]
fn what_is_no_condition_is_refused_where_it_goes_wrong() {
    let long = format!("event.user == '{}'", "x".repeat(TEXT_MAX));
    let calls = format!("{}1{} == 1", "int(".repeat(200), ")".repeat(200));
    let lists = format!("{}1{} == 1", "[".repeat(200), "]".repeat(200));
    let sums = format!("1{} == 1", "+1".repeat(400));
    let many: String = (0..=PATHS_MAX).map(|n| format!("event.a{n} == 1 || ")).collect::<String>() + "true";
    for (text, position, says) in [
        ("", 0, "the condition is empty: leave `when` out"),
        ("  ", 2, "the condition is empty"),
        ("event.user !=", 13, "ends too early"),
        ("event.user = 'a'", 11, "write `==`"),
        ("event.user == 'a' event.no", 18, "is an operator missing"),
        ("event.user & event.no", 11, "expected '&&'"),
        ("event.user == 'abc", 14, "unterminated string"),
        ("'\u{fc}' == event.user )", 19, "`)` does not go on"),
        ("event.null == 1", 6, "write it as event[\"name\"]"),
        ("event.", 6, "a name is missing"),
        ("user != null", 0, "`user` is neither of `event` nor of `enriched`: write event.user"),
        ("event.user == pro", 14, "or \"pro\" for a text"),
        ("event != null", 0, "name what of `event`, like event.user"),
        ("'a' == 'event' && size(enriched) > 0", 23, "name what of `enriched`"),
        ("enriched.geo != null", 9, "name a member of `enriched.geo`"),
        ("event[''] == 1", 0, "a name is missing"),
        ("event['/a~2'] == 1", 7, "`~` is written `~0`"),
        ("event.user.lower() == 'a'", 11, "there is no function `lower`; there are size, contains"),
        ("event.url.matches('a.*')", 10, "there is no `matches`: use startsWith"),
        ("duration('1s') == event.a", 0, "there is no function `duration`"),
        ("has(event)", 4, "`has` takes one path"),
        ("has(event.a, event.b)", 0, "`has` takes one path"),
        ("event.tags.exists(t)", 11, "`exists` takes a list, a name and a condition"),
        ("event.tags.exists(event, true)", 0, "`event` is taken"),
        ("event.tags.exists(t, event.items.exists(i, i == t))", 40, "that could take any time"),
        ("event.tags.map(t, event.items.map(u, u)).size() == 1", 34, "that could take any time"),
        ("{'a': 1} == event.a", 0, "compare their members"),
        ("event.a == b'x'", 0, "no bytes in JSON"),
        ("A{b: 1} == event.a", 0, "no condition"),
        ("event.?user == null", 5, ""),
        ("'pro'", 0, "this gives a text; a condition is true or false"),
        ("42", 0, "this gives a number"),
        ("null", 0, "this gives null"),
        ("event.a + 1", 0, "this gives a number or a text"),
        ("size(event.a)", 0, "this gives a number"),
        ("[event.a]", 0, "this gives a list"),
        (&long, 0, "at most 2048 bytes; this one has 2064"),
        (&calls, 0, "levels"),
        (&lists, 0, "levels"),
        (&sums, 0, "levels"),
        (&many, 0, "at most 16 different paths"),
    ] {
        let Err(error) = Condition::compile(text) else { panic!("{text} is a condition") };
        assert!(error.message.contains(says), "{text}: {error}");
        if says != "levels" {
            assert_eq!(error.position, position, "{text}: {error}");
        }
    }
}

#[test]
fn what_only_looks_deep_is_not() {
    for text in [
        format!("{}event.yes{}", "(".repeat(1000), ")".repeat(1000)),
        format!("{}event.yes", "!".repeat(2000)),
        (0..90).map(|n| format!("event.user == '{n}'")).collect::<Vec<_>>().join("||") + "||event.yes",
    ] {
        let condition = Condition::compile(&text).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(holds(&condition, &world()), Ok(true));
    }
}

#[test]
fn long_lists_are_left_undecided_rather_than_gone_through() {
    let condition = Condition::compile("event.tags.exists(t, t == 'x')").expect("a condition");
    let with = |n: usize| json!({"event": {"tags": vec!["a"; n]}});
    assert_eq!(holds(&condition, &with(1000)), Ok(false));
    assert_eq!(holds(&condition, &with(1100)), Err(Undecided));
}

/// A condition of the usual forms, and what it gives: a reference to check the library and our values against, written
/// from the documentation's table alone.
#[derive(Clone, Debug)]
enum Expr {
    Compare(&'static str, &'static str, Value),
    In(&'static str, Vec<Value>),
    StartsWith(&'static str, String),
    Flag(&'static str),
    Not(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
}

impl Expr {
    fn text(&self) -> String {
        match self {
            Expr::Compare(path, op, literal) => format!("{path} {op} {literal}"),
            Expr::In(path, list) => format!("{path} in {}", Value::from(list.clone())),
            Expr::StartsWith(path, start) => format!("{path}.startsWith({})", Value::from(start.clone())),
            Expr::Flag(path) => (*path).to_owned(),
            Expr::Not(e) => format!("!({})", e.text()),
            Expr::And(a, b) => format!("({} && {})", a.text(), b.text()),
            Expr::Or(a, b) => format!("({} || {})", a.text(), b.text()),
        }
    }

    fn decide(&self, world: &Value) -> Option<bool> {
        let value = |path: &str| at(world, &Path::parse(path).expect("a path")).cloned().unwrap_or(Value::Null);
        match self {
            Expr::Compare(path, op, literal) => compare(&value(path), op, literal),
            Expr::In(path, list) => Some(list.iter().any(|l| equal(&value(path), l))),
            Expr::StartsWith(path, start) => Some(value(path).as_str()?.starts_with(start)),
            Expr::Flag(path) => value(path).as_bool(),
            Expr::Not(e) => e.decide(world).map(|b| !b),
            Expr::And(a, b) => match (a.decide(world), b.decide(world)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (a, b) => Some(a? && b?),
            },
            Expr::Or(a, b) => match (a.decide(world), b.decide(world)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (a, b) => Some(a? || b?),
            },
        }
    }
}

fn compare(value: &Value, op: &str, literal: &Value) -> Option<bool> {
    let order = match (op, value, literal) {
        ("==", a, b) => return Some(equal(a, b)),
        ("!=", a, b) => return Some(!equal(a, b)),
        (_, Value::String(a), Value::String(b)) => a.as_str().cmp(b),
        (_, Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (_, Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?)?,
        _ => return None,
    };
    Some(match op {
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    })
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}

fn literal() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..3).prop_map(Value::from),
        (-3i64..3).prop_map(|n| Value::from(n as f64 / 2.0)),
        "[ab]{0,2}".prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![4 => literal(), 1 => "[a\"\\\\\n\u{e9}]{0,3}".prop_map(Value::from)];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[ab]", inner, 0..3).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

const PATHS: [&str; 5] = ["event.a", "event.b", "event.a.b", "enriched.a.b", "enriched.b.a.b"];
const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

fn expr() -> impl Strategy<Value = Expr> {
    let path = || prop::sample::select(&PATHS[..]);
    let leaf = prop_oneof![
        3 => (path(), prop::sample::select(&COMPARISONS[..]), literal())
            .prop_map(|(path, op, literal)| Expr::Compare(path, op, literal)),
        1 => (path(), prop::collection::vec(literal(), 0..4)).prop_map(|(path, list)| Expr::In(path, list)),
        1 => (path(), "[ab]{0,1}").prop_map(|(path, start)| Expr::StartsWith(path, start)),
        1 => path().prop_map(Expr::Flag),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|e| Expr::Not(Box::new(e))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Expr::And(Box::new(a), Box::new(b))),
            (inner.clone(), inner).prop_map(|(a, b)| Expr::Or(Box::new(a), Box::new(b))),
        ]
    })
}

/// CEL's own pieces, which mostly mean nothing when put together.
#[rustfmt::skip]
const PIECES: [&str; 68] = [
    "event", ".user", ".tags", "['a']", "[0]", "enriched.a.b", "x", ".exists(x, ", ".map(x, ", ".all(x, ", "has(", "size(",
    "(", ")", "[", "]", ",", "!", "-", " && ", " || ", " == ", " != ", " < ", " in ", "+", "*", "%", "/", "?", ":", "'a'",
    "9223372036854775807", "-9223372036854775808", "0", "1.5", "1u", "null", "true", "{", "}", "type(", "int(", "dyn(",
    "\"", "r'\\'", "b'", "'''", "\\", "`", "@result", "$0", "optional.of(", ".?a", "[?0]", "\u{e9}", "//", "\n",
    "event.user", " ", "event.user", "event.tags", "x", ")", ")", "uint(", "double(", "string(",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn it_decides_as_the_documentation_says(
        expr in expr(),
        event in prop::collection::btree_map("[ab]", value(), 0..3),
        enriched in prop::collection::btree_map("[ab]", value(), 0..3),
    ) {
        let world = json!({"event": event, "enriched": enriched});
        let condition = Condition::compile(&expr.text()).unwrap_or_else(|e| panic!("{}: {e}", expr.text()));
        prop_assert_eq!(holds(&condition, &world).ok(), expr.decide(&world), "{} of {}", expr.text(), world);
    }

    #[test]
    fn no_text_does_harm(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..24), value in value()) {
        let text = pieces.concat();
        match Condition::compile(&text) {
            Ok(condition) => {
                let json = value.to_string();
                let first = condition.holds(|_| Some(Given::Json(json.as_bytes())));
                prop_assert_eq!(first, condition.holds(|_| Some(Given::Json(json.as_bytes()))));
                let _ = condition.holds(|_| None);
            }
            Err(error) => {
                prop_assert!(error.position <= text.len() && text.is_char_boundary(error.position), "{}", text);
                prop_assert!(!error.message.is_empty());
            }
        }
    }

    #[test]
    fn any_text_is_a_condition_or_refused(text in ".{0,60}") {
        if let Err(error) = Condition::compile(&text) {
            prop_assert!(text.is_char_boundary(error.position));
        }
    }
}
