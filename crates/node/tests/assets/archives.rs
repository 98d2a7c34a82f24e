//! An archive is trusted with nothing.

use ouzel_node::assets::{Asset, AssetError, Kind};

use super::support::*;

/// Each archive is that of a good package with something bad in it.
#[test]
fn hostile_archives_are_refused_and_change_nothing() {
    let with = |bad: &dyn Fn(&mut Archive)| {
        let mut archive = Archive::new();
        archive.file("package/package.json", br#"{"name": "uap-core", "version": "2.0.0"}"#);
        bad(&mut archive);
        archive.file("package/regexes.yaml", &rules("2.0.0"));
        archive.finish()
    };
    let giant = 10u64 << 30;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a name with ..", with(&|a| a.file("package/../../regexes.yaml", b"x")), "leads out"),
        ("a name with .. in the middle", with(&|a| a.file("package/docs/../regexes.yaml", b"x")), "leads out"),
        ("an absolute name", with(&|a| a.file("/etc/cron.d/x", b"x")), "leads out"),
        ("a symbolic link", with(&|a| a.entry(b'2', b"package/regexes.yaml", "/etc/passwd", 0, b"")), "link"),
        ("a hard link", with(&|a| a.entry(b'1', b"package/regexes.yaml", "package/x", 0, b"")), "link"),
        ("a link with a long target", with(&|a| a.entry(b'K', b"././@LongLink", "", 3, b"abc")), "link"),
        ("a pipe", with(&|a| a.entry(b'6', b"package/regexes.yaml", "", 0, b"")), "no file"),
        ("a device", with(&|a| a.entry(b'4', b"package/regexes.yaml", "", 0, b"")), "no file"),
        ("a sparse file", with(&|a| a.entry(b'S', b"package/regexes.yaml", "", giant, b"")), "bytes"),
        ("a small sparse file", with(&|a| a.entry(b'S', b"package/regexes.yaml", "", 512, b"x")), "sparse"),
        ("10 GB that we want", with(&|a| a.entry(b'0', b"package/regexes.yaml", "", giant, b"x")), "bytes"),
        ("10 GB that we do not want", with(&|a| a.entry(b'0', b"package/x", "", giant, b"x")), "bytes"),
        ("100 MB that we want", with(&|a| a.entry(b'0', b"package/regexes.yaml", "", 100 << 20, b"x")), "may have"),
        ("a file twice", with(&|a| a.file("package/regexes.yaml", &rules("1"))), "twice"),
        (
            "a package.json of 1 MB",
            {
                let mut archive = Archive::new();
                archive.file("package/package.json", &vec![b' '; 1 << 20]);
                archive.finish()
            },
            "package.json has",
        ),
        ("too many files", with(&|a| (0..10_001).for_each(|_| a.file("package/x", b""))), "more than 10000"),
        ("no file we want", package("uap-core", "2.0.0", &[("regexes.yml", b"x")]), "has no regexes.yaml"),
        ("another package", package("uap-cores", "2.0.0", &[("regexes.yaml", &rules("2"))]), "is not uap-core 2.0.0"),
        ("another version", agents("1.9.9"), "is not uap-core 2.0.0"),
        (
            "no package.json",
            {
                let mut archive = Archive::new();
                archive.file("package/regexes.yaml", &rules("2"));
                archive.finish()
            },
            "no package.json",
        ),
        ("what is not gzip", b"<html>not found</html>".to_vec(), "no archive"),
        ("nothing", Vec::new(), "cut off"),
        ("no rules", package("uap-core", "2.0.0", &[("regexes.yaml", b"hello")]), "user_agent_parsers"),
    ];
    for (what, archive, says) in cases {
        let machine = Machine::new();
        machine.npm_has("1.0.0", &agents("1.0.0"));
        machine.fetch(Asset::Agents).expect("the first");
        machine.npm_has("2.0.0", &archive);
        let e = machine.fetch(Asset::Agents).expect_err(what);
        assert_eq!(e.kind(), Kind::Data, "{what}: {e}");
        assert!(e.to_string().contains(says), "{what}: {e}");
        assert_eq!(machine.version(Asset::Agents).as_deref(), Some("1.0.0"), "{what}");
        assert!(!machine.path("regexes.yaml").exists() && !machine.cache().join("regexes.yaml").exists(), "{what}");
    }
}

/// Extension headers may be as long as they like; they are never read into memory, and never name a file of ours.
#[test]
fn extension_headers_are_passed_over() {
    let mut archive = Archive::new();
    let long = vec![b'a'; 8 << 20];
    archive.entry(b'L', b"././@LongLink", "", long.len() as u64, &long);
    archive.file("package/aaaa", b"x");
    archive.entry(b'x', b"package/PaxHeader", "", 30, b"30 path=package/../../x       ");
    archive.file("package/regexes.yaml", &rules("2.0.0"));
    archive.entry(b'g', b"pax_global_header", "", 0, b"");
    archive.file("package/package.json", br#"{"name": "uap-core", "version": "2.0.0"}"#);
    let machine = Machine::new();
    machine.npm_has("2.0.0", &archive.finish());
    machine.fetch(Asset::Agents).expect("good");
    assert_eq!(machine.version(Asset::Agents).as_deref(), Some("2.0.0"));
}

/// 3 GiB of zeros are 3 MB of gzip. They are skipped, not kept, and not for ever.
#[test]
fn a_bomb_ends_at_the_limit() {
    let zeros = gzip(&vec![0; 64 << 20]);
    let mut bomb = Vec::new();
    for _ in 0..2 {
        let mut archive = Archive::new();
        archive.entry(b'0', b"package/x", "", 24 * (64 << 20), b"");
        bomb.extend_from_slice(&archive.unfinished());
        (0..24).for_each(|_| bomb.extend_from_slice(&zeros));
    }
    let machine = Machine::new();
    machine.npm_has("2.0.0", &bomb);
    let said = error(machine.fetch(Asset::Agents));
    assert!(said.contains("inflates to more than"), "{said}");
    assert_eq!(machine.version(Asset::Agents), None);
}

/// Cut anywhere, a package is never taken for a whole one.
#[test]
fn a_package_that_is_cut_off_is_not_taken() {
    let whole = agents("2.0.0");
    for len in (0..whole.len()).step_by(7) {
        let machine = Machine::new();
        // The registry's hash is of what came, so that the hash does not find it first.
        machine.npm_has("2.0.0", &whole[..len]);
        match machine.fetch(Asset::Agents) {
            Err(AssetError::Damaged { .. }) => assert_eq!(machine.version(Asset::Agents), None, "{len}"),
            // Only the end of the archive was missing, which holds nothing.
            Ok(_) => assert_eq!(machine.version(Asset::Agents).as_deref(), Some("2.0.0"), "{len}"),
            Err(e) => panic!("{len}: {e}"),
        }
    }
}

#[test]
fn the_hash_of_the_registry_counts() {
    let machine = Machine::new();
    machine.npm_has_with("1.0.0", &integrity(b"another"), &agents("1.0.0"));
    let said = error(machine.fetch(Asset::Agents));
    assert!(said.contains("hash"), "{said}");
    assert_eq!(machine.version(Asset::Agents), None);
}
