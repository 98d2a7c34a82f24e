//! What every store must do, as stories. Each is given a function that reaches an empty place once more, as another process
//! would.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ouzel_state::Store;
use ouzel_state::place::probe;

use crate::support::Chance;

/// Reaches the place.
pub type Reach<'a> = &'a (dyn Fn() -> Arc<dyn Store> + Sync);

type Story = fn(Reach<'_>);

/// All of them, by name. Each needs a place of its own.
pub const STORIES: [(&str, Story); 9] = [
    ("what is put is got", what_is_put_is_got),
    ("nothing is overwritten", nothing_is_overwritten),
    ("of two who write one name one wins", of_two_one_wins),
    ("names come back as they were or are refused", names_come_back_or_are_refused),
    ("large objects", large_objects),
    ("a list has everything of one level", a_list_has_everything),
    ("what is deleted is gone", what_is_deleted_is_gone),
    ("it does what a map does", it_does_what_a_map_does),
    ("it can be probed", it_can_be_probed),
];

pub fn put(store: &dyn Store, name: &str, bytes: &[u8]) -> bool {
    store.put_if_absent(name, bytes, &AtomicBool::new(true)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn get(store: &dyn Store, name: &str) -> Option<Vec<u8>> {
    store.get(name).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn list(store: &dyn Store, prefix: &str) -> Vec<String> {
    store.list(prefix).unwrap_or_else(|e| panic!("{prefix}: {e}"))
}

/// Bytes that no shift, cut or repetition leaves as they are.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut chance = Chance(seed + 1);
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| chance.below(u64::MAX).to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

fn what_is_put_is_got(reach: Reach<'_>) {
    let (store, other) = (reach(), reach());
    assert_eq!(get(&*store, "sessions/0/nothing"), None);
    for (n, length) in [0, 1, 2, 1000, 65_535, 65_536, 65_537, 300_000].into_iter().enumerate() {
        let (name, bytes) = (format!("sessions/0/{n}"), bytes(n as u64, length));
        assert!(put(&*store, &name, &bytes), "{name} is new");
        assert!(get(&*store, &name).as_ref() == Some(&bytes), "{length} bytes");
        assert!(get(&*other, &name) == Some(bytes), "{length} bytes, from elsewhere");
    }
}

fn nothing_is_overwritten(reach: Reach<'_>) {
    let (store, other) = (reach(), reach());
    assert!(put(&*store, "a/0/x", b"first"));
    for store in [&store, &other] {
        for again in [&b"second"[..], b"first", b""] {
            assert!(!put(&**store, "a/0/x", again), "one is there");
            assert_eq!(get(&**store, "a/0/x").as_deref(), Some(&b"first"[..]));
        }
    }
}

fn of_two_one_wins(reach: Reach<'_>) {
    let stores: Vec<_> = (0..4).map(|_| reach()).collect();
    for round in 0..12 {
        let name = format!("race/0/{round}");
        // In the last rounds they write the same: still one of them has written it.
        let object = |n: usize| bytes(if round < 8 { n as u64 } else { 0 }, 20_000);
        let barrier = std::sync::Barrier::new(stores.len());
        let won: Vec<bool> = std::thread::scope(|scope| {
            let race = |(n, store): (usize, &Arc<dyn Store>)| {
                let (store, name, barrier) = (Arc::clone(store), &name, &barrier);
                scope.spawn(move || {
                    let bytes = object(n);
                    barrier.wait();
                    put(&*store, name, &bytes)
                })
            };
            let threads: Vec<_> = stores.iter().enumerate().map(race).collect();
            threads.into_iter().map(|thread| thread.join().expect("it ends")).collect()
        });
        let winner = won.iter().position(|won| *won).expect("one wins");
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}");
        assert!(get(&*stores[0], &name) == Some(object(winner)), "round {round}: the winner's bytes");
    }
}

fn names_come_back_or_are_refused(reach: Reach<'_>) {
    let store = reach();
    let odd = [
        "a b", "a%20b", "a%2Fb", "a+b", "a&b=c", "a#b", "a?b", "~a!*'()", "\"a\"", "<a>", "ü", "Ω-鳥", "a:b;c", "a..b",
        "-",
    ];
    for (n, part) in odd.iter().enumerate() {
        assert!(put(&*store, &format!("odd/0/{part}"), &bytes(n as u64, 10)), "{part} is new");
    }
    for (n, part) in odd.iter().enumerate() {
        assert_eq!(get(&*store, &format!("odd/0/{part}")), Some(bytes(n as u64, 10)), "{part}");
    }
    let mut expected: Vec<String> = odd.iter().map(|part| format!("odd/0/{part}")).collect();
    expected.sort();
    assert_eq!(list(&*store, "odd/0/"), expected);
    let hurry = AtomicBool::new(true);
    for name in
        ["", "/", "a/", "/a", "a//b", "..", "../a", "a/../b", "a/./b", "a\0", "a\nb", "a\\b", ".a", "a.tmp", "a/ b"]
    {
        let kinds = [
            store.put_if_absent(name, b"x", &hurry).map(drop),
            store.get(name).map(drop),
            store.delete(&[name.to_owned()]),
        ]
        .map(|done| done.map_err(|e| e.kind()));
        assert_eq!(kinds, [Err(ErrorKind::InvalidInput); 3], "{name:?}");
    }
    for prefix in ["a", "/", "../", "a//"] {
        assert_eq!(store.list(prefix).map_err(|e| e.kind()), Err(ErrorKind::InvalidInput), "{prefix:?}");
    }
    store.delete(&expected).expect("deleted");
    assert_eq!(list(&*store, "odd/0/"), Vec::<String>::new());
}

fn large_objects(reach: Reach<'_>) {
    let store = reach();
    let large = bytes(5, 20 << 20);
    assert!(put(&*store, "large/0/one", &large));
    assert!(get(&*reach(), "large/0/one") == Some(large), "20 MiB");
}

fn a_list_has_everything(reach: Reach<'_>) {
    const MANY: usize = 2_100;
    let names: Vec<String> = (0..MANY).map(|n| format!("many/7/{n:06}.part")).collect();
    std::thread::scope(|scope| {
        for names in names.chunks(MANY / 6) {
            let store = reach();
            scope.spawn(move || names.iter().for_each(|name| assert!(put(&*store, name, name.as_bytes()))));
        }
    });
    let store = reach();
    for beside in ["SAVEPOINT", "many/7x", "many/70/x", "many/8/x", "man/7/x"] {
        assert!(put(&*store, beside, b"x"));
    }
    assert!(list(&*store, "many/7/") == names, "{} of {MANY}", list(&*store, "many/7/").len());
    assert_eq!(list(&*store, "many/8/"), ["many/8/x"]);
    assert_eq!(list(&*store, "many/"), ["many/7x"], "all others are further below");
    assert_eq!(list(&*store, "many/9/"), Vec::<String>::new());
    assert_eq!(list(&*store, ""), ["SAVEPOINT"]);
    store.delete(&names[..MANY - 1]).expect("deleted, in one call");
    assert_eq!(list(&*store, "many/7/"), names[MANY - 1..]);
    assert_eq!(list(&*store, "many/70/"), ["many/70/x"]);
}

fn what_is_deleted_is_gone(reach: Reach<'_>) {
    let store = reach();
    let names = |of: &[&str]| of.iter().map(|name| format!("gone/0/{name}")).collect::<Vec<_>>();
    store.delete(&[]).expect("nothing to do");
    store.delete(&names(&["never"])).expect("none to delete");
    for name in names(&["a", "b", "c"]) {
        assert!(put(&*store, &name, b"x"));
    }
    store.delete(&names(&["a", "never", "c"])).expect("deleted");
    assert_eq!(list(&*reach(), "gone/0/"), names(&["b"]));
    assert_eq!(get(&*reach(), "gone/0/a"), None);
    assert!(put(&*store, "gone/0/a", b"again"), "it may be written again");
    assert_eq!(get(&*store, "gone/0/a").as_deref(), Some(&b"again"[..]));
}

fn it_does_what_a_map_does(reach: Reach<'_>) {
    let stores = [reach(), reach()];
    let mut model = BTreeMap::<String, Vec<u8>>::new();
    let mut chance = Chance(77);
    for step in 0..300 {
        let store = &*stores[chance.below(2) as usize];
        let name = format!("map/{}/{}", chance.below(2), chance.below(12));
        let what = format!("step {step}, {name}");
        match chance.below(10) {
            0..4 => {
                let bytes = bytes(step, chance.below(200) as usize);
                assert_eq!(put(store, &name, &bytes), !model.contains_key(&name), "{what}");
                model.entry(name).or_insert(bytes);
            }
            4..6 => {
                let also = format!("map/0/{}", chance.below(12));
                store.delete(&[name.clone(), also.clone()]).expect("deleted");
                [name, also].iter().for_each(|name| drop(model.remove(name)));
            }
            6..9 => assert!(get(store, &name).as_ref() == model.get(&name), "{what}"),
            _ => {
                let prefix = format!("map/{}/", chance.below(2));
                let expected: Vec<&String> = model.keys().filter(|name| name.starts_with(&prefix)).collect();
                assert_eq!(list(store, &prefix).iter().collect::<Vec<_>>(), expected, "{what}");
            }
        }
    }
}

fn it_can_be_probed(reach: Reach<'_>) {
    let store = reach();
    for _ in 0..2 {
        probe(&*store, &seam::RealRng).expect("it does what is asked of it");
    }
    assert_eq!(list(&*store, ""), Vec::<String>::new(), "nothing is left");
}
