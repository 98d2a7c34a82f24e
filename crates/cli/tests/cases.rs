//! `ouzel test`: the examples pass, and a case that should not pass does not.

#![allow(clippy::disallowed_methods)] // tests look at real files

mod support;

use std::path::Path;

use support::{data, fine, json, output, ouzel, text};

fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

#[test]
fn the_cases_of_the_examples_pass() {
    let out = fine(ouzel().args(["test", "-c"]).arg(examples().join("github.toml")));
    assert_eq!(text(&out.stdout), "5 passed, 0 failed\n");
    let listed = fine(ouzel().args(["test", "--list", "-c"]).arg(examples().join("github.toml")));
    assert_eq!(text(&listed.stdout).lines().count(), 5);
}

#[test]
fn a_case_uses_the_files_of_the_configuration_and_leaves_nothing_behind() {
    let tmp = tempfile::tempdir().expect("a directory");
    let config = format!(
        "version = 1\n[geo]\ndatabase = {:?}\n[[lookup]]\nname = \"plan\"\nkind = \"file\"\npath = \"plans.csv\"\nkey = \"event.user\"\n",
        data("geo/country-pddl.mmdb")
    );
    std::fs::create_dir(tmp.path().join("tests")).expect("made");
    std::fs::write(tmp.path().join("ouzel.toml"), config).expect("written");
    std::fs::write(tmp.path().join("plans.csv"), "id,plan\nu-1,pro\nu-2,free\n").expect("written");
    let cases = r#"
[[case]]
name = "from the files"
input = '{"type":"page","userId":"u-1","context":{"ip":"8.8.8.8"}}'
expect.enriched = { geo.country = "US", plan.plan = "pro" }
[[case]]
name = "given instead"
input = '{"type":"page","userId":"u-1","context":{"ip":"8.8.8.8"}}'
given = { geo.country = "DE", lookups.plan = "timeout" }
expect.enriched = { geo.country = "DE", status.plan = "timeout" }
[[case]]
name = "from the files again"
input = '{"type":"page","userId":"u-3","context":{"ip":"8.8.8.8"}}'
expect.enriched = '{"geo": {"country": "US"}, "plan": null, "status": {"plan": "miss"}}'
"#;
    std::fs::write(tmp.path().join("tests/all.toml"), cases).expect("written");
    let out = fine(ouzel().current_dir(&tmp).arg("test"));
    assert_eq!((text(&out.stdout), text(&out.stderr)), ("3 passed, 0 failed\n".into(), String::new()));
    assert!(!tmp.path().join("ouzel-data").exists(), "no data directory is made");
}

#[test]
fn what_fails_is_told_and_the_exit_code_says_so() {
    let tmp = tempfile::tempdir().expect("a directory");
    let good = "[[case]]\nname = \"good\"\ninput = '{\"type\":\"page\"}'\nexpect.enriched = {}\n";
    let bad =
        "[[case]]\nname = \"bad\"\ninput = '{\"type\":\"page\"}'\nexpect.enriched = { visitor.how = \"given\" }\n";
    std::fs::write(tmp.path().join("good.toml"), good).expect("written");
    std::fs::write(tmp.path().join("bad.toml"), format!("{good}{bad}")).expect("written");
    std::fs::write(tmp.path().join("wrong.toml"), "[[case]]\nnaem = \"x\"\n").expect("written");
    let run = |args: &[&str]| {
        let out = output(ouzel().current_dir(&tmp).arg("test").args(args));
        (out.status.code().expect("a code"), text(&out.stdout), text(&out.stderr))
    };
    assert_eq!(run(&["good.toml"]).0, 0);
    let (code, said, _) = run(&["bad.toml"]);
    assert_eq!(code, 1);
    assert!(said.contains("FAILED  bad.toml:5  bad") && said.contains("1 passed, 1 failed"), "{said}");
    assert!(said.contains("/visitor/how\n    expected  \"given\"\n    got       \"hash\""), "{said}");
    assert!(run(&["bad.toml", "-v"]).1.contains("\"revision\": 0"));
    assert_eq!(run(&["bad.toml", "--filter", "good"]).0, 0);
    assert_eq!(run(&["bad.toml", "--filter", "nothing"]).0, 2);
    assert_eq!(run(&["wrong.toml"]).0, 2);
    assert_eq!(run(&["good.toml", "wrong.toml"]).0, 2, "nothing runs when a file is wrong");
    assert_eq!(run(&["not-there.toml"]).0, 2);
    assert_eq!(run(&[]).0, 2, "there is no directory of cases");
    assert_eq!(run(&["."]).0, 2, "a directory is all of its files");
    let (code, said, _) = run(&["bad.toml", "--json"]);
    let report = json(said.as_bytes());
    assert_eq!((code, &report["ok"], &report["passed"], &report["failed"]), (1, &false.into(), &1.into(), &1.into()));
    assert_eq!(report["cases"][1]["differences"][0]["pointer"], "/visitor/how");
}

/// Cases on a page pass with the configuration of that page.
#[test]
fn the_cases_of_the_documentation_pass() {
    let page = examples().join("../docs/pipeline-tests.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let blocks = |fence: &str| -> Vec<String> {
        let begin = format!("```{fence}\n");
        page.split(begin.as_str()).skip(1).filter_map(|b| b.split("```").next()).map(str::to_owned).collect()
    };
    let tmp = tempfile::tempdir().expect("a directory");
    let config = format!("version = 1\n{}", blocks("toml").concat());
    std::fs::write(tmp.path().join("ouzel.toml"), config).expect("written");
    let cases = blocks("toml case");
    assert_eq!(cases.len(), 3);
    for (n, case) in cases.iter().enumerate() {
        std::fs::write(tmp.path().join(format!("{n}.toml")), case).expect("written");
    }
    let out = output(ouzel().current_dir(&tmp).args(["test", "."]).arg("0.toml").arg("1.toml").arg("2.toml"));
    let said = text(&out.stdout) + &text(&out.stderr);
    // "." has ouzel.toml in it, too, which is no file of cases.
    assert!(!out.status.success() && said.contains("unknown key `version`"), "{said}");
    let out = fine(ouzel().current_dir(&tmp).args(["test", "-q", "0.toml", "1.toml", "2.toml"]));
    assert_eq!(text(&out.stdout), "");
}
