//! The programs that Ouzel is measured against: built from `bench/peers`, tested, and told as the command that
//! `ouzel bench kafka --peer` takes. Nothing is written into the source tree.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::services::kafka;
use crate::step::Steps;
use crate::{Stop, workspace};

/// How the peers' README says that its JVM is tuned.
const JVM: [&str; 3] = ["-Xms1g", "-Xmx1g", "-XX:+UseParallelGC"];

pub fn run() -> Result<()> {
    let java = kafka::java();
    kafka::check_java(java.as_deref())?;
    let java = java.expect("it was checked");
    let data = workspace::test_data()?;
    let built = workspace::root().join("target/peers/kafka-streams");
    let mut steps = Steps::new();
    steps.step("bench/peers/kafka-streams (the first time it fetches what it needs)", || {
        let pom = workspace::root().join("bench/peers/kafka-streams/pom.xml");
        let mut command = Command::new(kafka::mvn()?);
        command.arg("-f").arg(&pom).arg("package").env("OUZEL_TEST_DATA", &data);
        command.arg(format!("-Dbuild.dir={}", built.display()));
        kafka::run_mvn(&mut command)
            .map_err(|why| Stop::failed(format!("Maven did not build {}:\n{why}", pom.display())).into())
    })?;
    steps.summary();
    println!("{}", streams(&java, &built));
    Ok(())
}

/// The command of the Kafka Streams job that was built there; the job's own arguments follow it.
fn streams(java: &Path, built: &Path) -> String {
    let jar = built.join("kafka-streams-peer.jar");
    format!("{} {} -jar {}", java.display(), JVM.join(" "), jar.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_one_line() {
        let command = streams(Path::new("/usr/bin/java"), Path::new("/a"));
        assert_eq!(command, "/usr/bin/java -Xms1g -Xmx1g -XX:+UseParallelGC -jar /a/kafka-streams-peer.jar");
    }

    #[test]
    fn the_readme_says_how_the_jvm_is_tuned() {
        let path = workspace::root().join("bench/peers/kafka-streams/README.md");
        let readme = std::fs::read_to_string(path).expect("the README");
        assert!(readme.contains(&format!("`{}`", JVM.join(" "))));
    }
}
