//! Apache Kafka for tests and benches: the jars of a whole broker, from Maven Central, and where they are.
//!
//! It starts no broker: tests of Kafka want several, and want to kill them. They start their own from
//! `$OUZEL_KAFKA_LIBS` with the Java that is found here, `$JAVA_HOME/bin/java`, else `java` on PATH.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::install;
use crate::{Stop, step, workspace};

/// Where tests find the directory with the jars.
pub const VARIABLE: &str = "OUZEL_KAFKA_LIBS";

/// As in xtask/kafka/pom.xml.
const VERSION: &str = "4.1.1";

/// What Kafka 4 asks for.
const JAVA_MIN: u32 = 17;

/// The jar that holds the broker.
const BROKER: &str = "kafka_2.13-";

/// The directory with the jars, absolute: the one that the environment names, else ours, which is fetched if it is not
/// there yet. `Err` says what to install or to set.
pub fn libs() -> Result<PathBuf> {
    let given = std::env::var_os(VARIABLE).filter(|dir| !dir.is_empty());
    check_java(java().as_deref())?;
    if let Some(dir) = given {
        let dir = std::path::absolute(dir)?;
        if !holds_broker(&dir) {
            let no = format!("{VARIABLE} is {}, where there is no {BROKER}*.jar", dir.display());
            let what_to_do =
                "name a directory with all jars of Apache Kafka 4, as `libs` of its archive is, or unset it";
            return Err(Stop::missing(format!("{no}: {what_to_do}")).into());
        }
        return Ok(dir);
    }
    let dir = workspace::root().join("target/tools").join(format!("kafka-{VERSION}"));
    if !holds_broker(&dir) {
        step::say(&format!("    fetching Apache Kafka {VERSION} (54 MB)"));
        fetch(&dir, copy_jars)?;
    }
    Ok(dir)
}

/// Variables for the environment of tests; none where the one that is set already says it.
pub fn variables() -> Result<Vec<(String, String)>> {
    let libs = libs()?;
    if std::env::var_os(VARIABLE).is_some_and(|dir| Path::new(&dir) == libs) {
        return Ok(Vec::new());
    }
    let text = libs.to_str().with_context(|| format!("{} is not UTF-8", libs.display()))?;
    Ok(vec![(VARIABLE.to_owned(), text.to_owned())])
}

/// The Java that runs brokers and Kafka's tools, and that Maven takes too.
pub fn java() -> Option<PathBuf> {
    let home = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
    let of_home = home.map(|home| Path::new(&home).join("bin/java")).filter(|java| java.is_file());
    of_home.or_else(|| install::find(&["java"], &[]))
}

/// Maven, or what to do without it.
pub fn mvn() -> Result<PathBuf> {
    install::find(&["mvn"], &[]).ok_or_else(|| {
        let what_to_do = "install Maven (in Debian: apt-get install --no-install-recommends maven)";
        Stop::missing(format!("there is no mvn on PATH, which fetches jars: {what_to_do}")).into()
    })
}

/// Runs Maven, which says nothing when all is well. `Err` is the end of what it said.
pub fn run_mvn(command: &mut Command) -> Result<(), String> {
    // No colours and no progress, but the errors.
    command.args(["--quiet", "--batch-mode", "-Dstyle.color=never"]).stdin(Stdio::null());
    let out = command.output().map_err(|e| format!("{} does not start: {e}", command.get_program().display()))?;
    if out.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    Err(step::tail(&without_advice(&text), 12))
}

/// `java` is new enough.
pub fn check_java(java: Option<&Path>) -> Result<()> {
    let install =
        format!("install Java {JAVA_MIN} or later (in Debian: apt-get install openjdk-{JAVA_MIN}-jdk-headless)");
    let Some(java) = java else {
        return Err(Stop::missing(format!("there is no java on PATH, which runs Kafka: {install}")).into());
    };
    let out = Command::new(java).arg("-version").stdin(Stdio::null()).output();
    let out = out.with_context(|| format!("{} does not start: {install}", java.display()))?;
    // It goes to standard error.
    let said = String::from_utf8_lossy(&[out.stderr, out.stdout].concat()).into_owned();
    match version(&said) {
        Some(version) if version >= JAVA_MIN => Ok(()),
        Some(version) => {
            let old = format!("{} is Java {version}, and Kafka 4 needs {JAVA_MIN}", java.display());
            Err(Stop::missing(format!("{old}: {install}, and set JAVA_HOME to it or put it first on PATH")).into())
        }
        None => {
            let why = format!("{} -version does not say which Java it is", java.display());
            Err(Stop::missing(format!("{why}: {install}\n{}", step::tail(&said, 4))).into())
        }
    }
}

/// 17 of `openjdk version "17.0.15" 2025-04-15`, 8 of `java version "1.8.0_392"`.
fn version(said: &str) -> Option<u32> {
    let (_, rest) = said.split_once(" version \"")?;
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    match number(rest)? {
        1 => number(rest.strip_prefix("1.")?),
        version => Some(version),
    }
}

fn holds_broker(dir: &Path) -> bool {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.file_name());
    names.filter_map(|name| name.into_string().ok()).any(|name| name.starts_with(BROKER) && name.ends_with(".jar"))
}

/// Puts a directory there whole or not at all: what `fill` writes gets its name at the end.
fn fetch(dir: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let mut name = dir.file_name().context("a directory without a name")?.to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = dir.with_file_name(name);
    let _ = std::fs::remove_dir_all(&new);
    std::fs::create_dir_all(&new).with_context(|| format!("cannot make {}", new.display()))?;
    let done = fill(&new).and_then(|()| {
        if !holds_broker(&new) {
            return Err(Stop::failed(format!("Maven copied no {BROKER}*.jar: see xtask/kafka/pom.xml")).into());
        }
        match std::fs::rename(&new, dir) {
            // Somebody else was faster, with the same.
            Err(_) if holds_broker(dir) => Ok(()),
            renamed => renamed.with_context(|| format!("cannot make {}: remove what is there", dir.display())),
        }
    });
    let _ = std::fs::remove_dir_all(&new);
    done
}

fn copy_jars(dir: &Path) -> Result<()> {
    let or_set = format!("or set {VARIABLE} to a directory with the jars of Apache Kafka 4");
    let mvn = mvn().with_context(|| format!("Apache Kafka {VERSION} cannot be fetched, {or_set}"))?;
    let mut output = std::ffi::OsString::from("-DoutputDirectory=");
    output.push(dir);
    let mut command = Command::new(mvn);
    command
        .arg("-f")
        .arg(workspace::root().join("xtask/kafka/pom.xml"))
        .arg("dependency:copy-dependencies")
        .arg(output);
    run_mvn(&mut command).map_err(|why| {
        Stop::missing(format!("Maven did not fetch Apache Kafka {VERSION}; mend what it says, {or_set}\n{why}")).into()
    })
}

/// Maven ends its errors with how to ask for more of them.
fn without_advice(text: &str) -> String {
    const ADVICE: [&str; 5] = ["To see the full", "Re-run Maven", "For more information", "[Help ", "After correcting"];
    let lines = text.lines().filter(|line| {
        let said = line.trim_start_matches("[ERROR]").trim();
        !said.is_empty() && !ADVICE.iter().any(|advice| said.starts_with(advice))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str) -> Temporary {
            let path = std::env::temp_dir().join(format!("ouzel-kafka-{name}-{}", std::process::id()));
            std::fs::create_dir(&path).expect("make it");
            Temporary(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(&self.0).expect("it is there").flatten();
            entries.map(|e| e.file_name().into_string().expect("UTF-8")).collect()
        }

        /// A program that says this.
        fn says(&self, name: &str, script: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, script).expect("write");
            path
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn put_broker(dir: &Path) -> Result<()> {
        Ok(std::fs::write(dir.join("kafka_2.13-9.jar"), "")?)
    }

    #[test]
    fn the_version_is_that_of_the_pom() {
        let pom = std::fs::read_to_string(workspace::root().join("xtask/kafka/pom.xml")).expect("the pom");
        assert!(pom.contains(&format!("<kafka.version>{VERSION}</kafka.version>")), "{VERSION}");
    }

    #[test]
    fn versions_of_java() {
        for (said, is) in [
            ("openjdk version \"17.0.15\" 2025-04-15\n", Some(17)),
            ("Picked up JAVA_TOOL_OPTIONS: -Dx=1\nopenjdk version \"21-ea\" 2023\n", Some(21)),
            ("java version \"1.8.0_392\"\n", Some(8)),
            ("openjdk version \"x\"", None),
            ("", None),
        ] {
            assert_eq!(version(said), is, "{said:?}");
        }
    }

    #[test]
    fn a_java_that_is_missing_or_old_is_named_with_what_to_install() {
        let why = check_java(None).expect_err("none").to_string();
        assert!(why.contains("no java on PATH") && why.contains("openjdk-17"), "{why}");
        let why = format!("{:#}", check_java(Some(Path::new("/nowhere/java"))).expect_err("none"));
        assert!(why.contains("/nowhere/java does not start"), "{why}");
        // It does not say a version.
        let why = check_java(Some(Path::new("/bin/echo"))).expect_err("no version").to_string();
        assert!(why.contains("does not say which Java"), "{why}");
    }

    #[test]
    fn a_directory_is_there_whole_or_not_at_all() {
        let temporary = Temporary::new("whole");
        let dir = temporary.0.join("kafka-9");
        let torn = fetch(&dir, |new| put_broker(new).and_then(|()| anyhow::bail!("no network")));
        assert_eq!(torn.expect_err("torn").to_string(), "no network");
        let none = fetch(&dir, |_| Ok(())).expect_err("no broker").to_string();
        assert!(none.contains("copied no kafka_2.13-*.jar"), "{none}");
        assert_eq!(temporary.names(), Vec::<String>::new());

        fetch(&dir, put_broker).expect("fetched");
        // Another process was faster.
        fetch(&dir, put_broker).expect("the same");
        assert_eq!(temporary.names(), ["kafka-9"]);
        assert!(holds_broker(&dir));
    }

    #[test]
    fn what_maven_says_is_in_the_error_without_its_advice() {
        let temporary = Temporary::new("mvn");
        let script = temporary.says(
            "mvn",
            "echo '[ERROR] Failed: no such artifact -> [Help 1]'\necho '[ERROR] '\n\
             echo '[ERROR] Re-run Maven using the -X switch'\nexit 1\n",
        );
        let why = run_mvn(Command::new("sh").arg(&script)).expect_err("it failed");
        assert_eq!(why, "[ERROR] Failed: no such artifact -> [Help 1]");
        assert_eq!(run_mvn(Command::new("sh").arg(temporary.says("fine", "exit 0"))), Ok(()));
        let why = run_mvn(&mut Command::new("/nowhere/mvn")).expect_err("nothing there");
        assert!(why.starts_with("/nowhere/mvn does not start"), "{why}");
    }
}
