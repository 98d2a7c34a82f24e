//! The manifests of `examples/kubernetes`, judged without a cluster: by Kubernetes' own schemas where there are any, and by what
//! they say of each other and of the configuration. The judge is `manifests/check.py`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use crate::python::Environment;
use crate::{Stop, step, workspace};

pub const REQUIREMENTS: &str = include_str!("manifests/requirements.txt");
const CHECK: &str = "xtask/src/manifests/check.py";
const SCHEMAS: Environment = Environment { package: "kubernetes-validate", requirements: REQUIREMENTS };

const DIR: &str = "examples/kubernetes";
/// What the pods are configured by.
const CONFIG: &str = "examples/kafka.toml";

/// `cargo xtask manifests`.
pub fn run() -> Result<()> {
    let root = workspace::root();
    match check(&root.join(DIR), &root.join(CONFIG))? {
        Ok(containers) => {
            step::say(&format!("manifests: {DIR}, {} containers, nothing found", containers.len()));
            Ok(())
        }
        Err(findings) => {
            findings.iter().for_each(|finding| step::say(&format!("error: {finding}")));
            Err(Stop::failed(format!("manifests: {} found", findings.len())).into())
        }
    }
}

/// What is wrong with the manifests of a directory, or else the arguments that each container gives to the program.
fn check(dir: &Path, config: &Path) -> Result<Result<Vec<Vec<String>>, Vec<String>>> {
    let mut command = Command::new(python()?);
    command.args(["-I", "-B"]).arg(workspace::root().join(CHECK)).args([dir, config]);
    let out = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let lines = || said.lines().map(str::to_owned).collect::<Vec<_>>();
    match out.status.code() {
        Some(0) => Ok(Ok(lines().iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?)),
        // It says 1 too when it fails itself.
        Some(1) if out.stderr.is_empty() => Ok(Err(lines())),
        _ => Err(Stop::failed(format!("{CHECK} failed:\n{}", String::from_utf8_lossy(&out.stderr))).into()),
    }
}

/// Of the environment with the schemas, which is made if it is not there.
fn python() -> Result<PathBuf> {
    static ONE: Mutex<()> = Mutex::new(());
    let _alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if SCHEMAS.python().is_none() {
        step::say(&format!("    installing the schemas of Kubernetes by pip, into {}", SCHEMAS.home().display()));
        let missing = |what| Stop::missing(format!("the schemas of Kubernetes are not installed: {what}")).into();
        SCHEMAS.install(&|| Ok(()), &missing)?;
    }
    Ok(SCHEMAS.python().expect("installed just now"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A copy of all that is checked.
    struct Copy(PathBuf);

    impl Copy {
        fn new(name: &str) -> Copy {
            let root = workspace::root();
            let dir = std::env::temp_dir().join(format!("ouzel-manifests-{name}-{}", std::process::id()));
            std::fs::create_dir(&dir).expect("make it");
            for entry in std::fs::read_dir(root.join(DIR)).expect("manifests").flatten() {
                std::fs::copy(entry.path(), dir.join(entry.file_name())).expect("copied");
            }
            Copy(dir)
        }

        /// Puts something wrong in the place of what is right, and gives what is found.
        fn with(&self, file: &str, right: &str, wrong: &str) -> Vec<String> {
            let path = self.0.join(file);
            let text = std::fs::read_to_string(&path).expect("the file");
            assert!(text.contains(right), "{file} has no {right:?} any more");
            std::fs::write(&path, text.replacen(right, wrong, 1)).expect("written");
            let found = check(&self.0, &workspace::root().join(CONFIG)).expect("it judges");
            std::fs::write(&path, text).expect("as it was");
            found.err().unwrap_or_default()
        }
    }

    impl Drop for Copy {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_manifests_are_right() {
        let root = workspace::root();
        let found = check(&root.join(DIR), &root.join(CONFIG)).expect("it judges");
        assert_eq!(found.expect("nothing is found").len(), 3);
    }

    /// Each is a slip that somebody would make, and what is said of it.
    #[test]
    fn what_is_wrong_is_found() {
        let copy = Copy::new("wrong");
        let slips = [
            // Members that are not there, and values of another kind, by the schemas.
            ("worker.yaml", "readinessProbe:", "readynessProbe:", "readynessProbe"),
            ("worker.yaml", "replicas: 4", "replicas: four", "spec.replicas"),
            ("collect.yaml", "seconds: 5", "second: 5", "second"),
            ("hpa.yaml", "autoscaling/v2", "autoscaling/v3", "autoscaling/v3"),
            ("network.yaml", "policyTypes: [Ingress, Egress]", "policyTypes: Ingress", "spec.policyTypes"),
            ("lookup.yaml", "  replicas: 2", "  replicas: 2\n  replicas: 3", "twice"),
            // What the schemas do not know.
            ("keda.yaml", "scaleTargetRef:", "scaleTarget:", "there is no `scaleTarget`"),
            ("keda.yaml", "lagThreshold: \"20000\"", "lagThreshold: 20000", "KEDA takes texts only"),
            ("keda.yaml", "stabilizationWindowSeconds: 900", "stabilizationWindowSecs: 900", "stabilizationWindowSecs"),
            ("keda.yaml", "consumerGroup: ouzel.enrich", "consumerGroup: enrich", "by the configuration ouzel.enrich"),
            ("kustomization.yaml", "configMapGenerator:", "configMapGenerators:", "there is no `configMapGenerators`"),
            ("kustomization.yaml", "- worker.yaml", "- workers.yaml", "there is no workers.yaml"),
            ("kustomization.yaml", "- hpa.yaml", "- hpa.yaml\n  - keda.yaml", "one of them"),
            // What names what is not there.
            (
                "collect.yaml",
                "  selector:\n    app.kubernetes.io/name: ouzel",
                "  selector:\n    app: ouzel",
                "no pods have",
            ),
            ("collect.yaml", "name: ouzel-kafka-ca", "name: kafka-ca", "in a secret kafka-ca"),
            ("disruption.yaml", "component: worker", "component: lookup", "PodDisruptionBudgets are for it"),
            ("hpa.yaml", "maxReplicas: 24", "maxReplicas: 25", "more than 24 pods"),
            (
                "worker.yaml",
                "port: http\n            periodSeconds: 3",
                "port: web\n            periodSeconds: 3",
                "readinessProbe",
            ),
            ("worker.yaml", "enrich,sessions", "enrich,session", "there are no roles ['session']"),
            ("collect.yaml", ", --slot, \"$(POD_NAME)\"", "", "--slot is needed"),
            ("worker.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "it may run as root"),
            ("secret.example.yaml", "REDIS_URL: ", "REDIS: ", "from the environment"),
            ("service-account.yaml", "name: ouzel", "name: ouzel\n  namespace: shop", "it names a namespace"),
            ("ouzel.toml", "partitions = 48", "partitions = 12", "copy it"),
        ];
        for (file, right, wrong, says) in slips {
            let found = copy.with(file, right, wrong);
            assert!(found.iter().any(|f| f.contains(says)), "{file}: {wrong:?} gives {found:?}, and not {says:?}");
        }
    }

    /// The program that was built beside this test, if it was, with Kafka.
    fn ouzel() -> Option<PathBuf> {
        let exe = std::env::current_exe().expect("where this is");
        let ouzel = exe.parent()?.parent()?.join("ouzel");
        let config = workspace::root().join(CONFIG);
        let out = Command::new(&ouzel).args(["check", "--config"]).arg(config).stdin(Stdio::null()).output().ok()?;
        let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        (!said.contains("was built without")).then_some(ouzel)
    }

    #[test]
    fn the_program_takes_what_the_pods_give_it() {
        let Some(ouzel) = ouzel() else {
            let why = "there is no `ouzel` with Kafka beside this test: `cargo xtask test` builds one";
            assert!(std::env::var_os("CI").is_none(), "{why}");
            eprintln!("SKIPPED: {why}");
            return;
        };
        let run = |args: &[&str]| {
            let mut command = Command::new(&ouzel);
            command.args(args).current_dir(workspace::root()).stdin(Stdio::null());
            let secrets =
                [("KAFKA_PASSWORD", "p"), ("REDIS_URL", "redis://cache"), ("USERS_DB", "postgres://me:p@db/users")];
            let out = command.envs(secrets).output().expect("it starts");
            let said = String::from_utf8_lossy(&[&*out.stdout, &*out.stderr].concat()).into_owned();
            assert!(out.status.success(), "{args:?}: {said}");
            said
        };
        run(&["check", "--config", CONFIG]);
        let root = workspace::root();
        let containers = check(&root.join(DIR), &root.join(CONFIG)).expect("it judges").expect("nothing is found");
        for args in containers {
            let (command, flags) = args.split_first().expect("a command");
            let help = run(&[command, "--help"]);
            for flag in flags.iter().filter(|arg| arg.starts_with("--")) {
                let has = help.split([' ', ',', '\n', '=', '[']).any(|word| word == flag);
                assert!(has, "`ouzel {command}` has no {flag}:\n{help}");
            }
        }
    }
}
