//! `cargo xtask services` as it is run: all four servers answer, to their password only and on loopback only, and nothing
//! of them is left, however they end.

#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const VARIABLES: [&str; 4] = ["OUZEL_TEST_POSTGRES", "OUZEL_TEST_MARIADB", "OUZEL_TEST_REDIS", "OUZEL_TEST_S3"];

/// Ends take a fraction of a second; this is for a machine that has others to serve.
const GONE_MAX: Duration = Duration::from_secs(20);

/// A temporary directory in which nobody else's servers are.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Temporary {
        let path = std::env::temp_dir().join(format!("ouzel-test-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).expect("make it");
        // Servers run as other users.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o711)).expect("its mode");
        Temporary(path)
    }

    /// `xtask services` here, with no server but these.
    fn xtask(&self, only: &[&str], args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        // Whoever runs these tests in the background of a shell may have had it ignored.
        // SAFETY: it may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            });
        }
        command.arg("services").args(args).env("TMPDIR", &self.0).env("OUZEL_KAFKA_LIBS", kafka());
        for variable in VARIABLES {
            match only.contains(&variable) {
                true => command.env_remove(variable),
                false => command.env(variable, "elsewhere"),
            };
        }
        command
    }

    fn start(&self, only: &[&str]) -> Servers {
        let mut xtask = self.xtask(only, &[]).stdout(Stdio::piped()).spawn().expect("xtask starts");
        let lines = BufReader::new(xtask.stdout.take().expect("piped")).lines();
        let urls = lines.take(only.len()).map(|line| {
            let line = line.expect("a line");
            let (name, url) = line.strip_prefix("export ").and_then(|l| l.split_once('=')).expect("export NAME=URL");
            assert!(only.contains(&name), "{line}");
            url.to_owned()
        });
        let urls: Vec<String> = urls.collect();
        assert_eq!(urls.len(), only.len(), "xtask ended before its servers answered");
        Servers { xtask, urls }
    }

    /// Processes that are in it.
    fn processes(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir("/proc").expect("/proc").flatten().map(|e| e.path());
        all.filter(|p| std::fs::read_link(p.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&self.0))).collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        std::fs::read_dir(&self.0).expect("it is there").flatten().map(|e| e.path()).collect()
    }

    /// Waits until it has no process, and no file.
    fn is_left(&self) {
        wait_for("processes to end", || self.processes().is_empty());
        wait_for("files to be removed", || self.files().is_empty());
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A directory that passes for Kafka's jars: nothing here starts a broker, so none is fetched.
fn kafka() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kafka");
    std::fs::create_dir_all(&dir).expect("make it");
    std::fs::write(dir.join("kafka_2.13-0.jar"), "").expect("write");
    dir
}

/// A running `xtask services`; killed if the test fails.
struct Servers {
    xtask: Child,
    /// In the order of `VARIABLES`.
    urls: Vec<String>,
}

impl Servers {
    fn signal(&self, signal: libc::c_int) {
        // SAFETY: no memory effects. Nobody waited for it yet, so the id is its own.
        unsafe { libc::kill(self.xtask.id() as libc::pid_t, signal) };
    }

    /// The process that has the servers: xtask's only child.
    fn keeper(&self) -> libc::pid_t {
        let id = self.xtask.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).expect("its children");
        children.trim().parse().expect("one child")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.xtask.kill();
        let _ = self.xtask.wait();
    }
}

/// `scheme://user:password@127.0.0.1:port/db`
fn parts(url: &str) -> (&str, &str, u16, &str) {
    let (_, rest) = url.split_once("://").expect("a scheme");
    let (who, at) = rest.split_once('@').expect("a user");
    let (user, password) = who.split_once(':').expect("a password");
    let (port, db) = at.strip_prefix("127.0.0.1:").expect("loopback").split_once('/').unwrap_or((&at[10..], ""));
    (user, password, port.parse().expect("a port"), db)
}

fn client(program: &str) -> Command {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut dirs: Vec<PathBuf> = debian.map(|e| e.path().join("bin")).collect();
    dirs.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let mut command = Command::new(program);
    command.env("PATH", std::env::join_paths(dirs).expect("no colons"));
    command
}

/// What a server answers to a sum, asked by its own client as the URL says.
fn ask(url: &str) -> String {
    let (user, password, port, db) = parts(url);
    let mut command = match url.split(':').next() {
        Some("postgres") => {
            let mut command = client("psql");
            command.args(["-X", "-w", "-A", "-t", "-c", "create table t (n int); insert into t values (20), (22)"]);
            command.args(["-c", "select sum(n) from t", "-c", "drop table t", "-q", url]);
            command
        }
        Some("mysql") => {
            let mut command = client("mariadb");
            command.args(["--no-defaults", "-N", "-B", "-h", "127.0.0.1", "-P", &port.to_string(), "-u", user, db]);
            let sum = "insert into t values (20), (22); select sum(n) from t";
            command.args(["-e", &format!("create table t (n int); {sum}; drop table t")]).env("MYSQL_PWD", password);
            command
        }
        Some("redis") => {
            let mut command = client("redis-cli");
            // Not by `-u`, for it takes a user that is not named for one without a name.
            command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "incrby", "t", "42"]);
            command.env("REDISCLI_AUTH", password);
            command
        }
        Some("http") => return s3(port, user, password),
        _ => panic!("{url}"),
    };
    let out = command.stdin(Stdio::null()).output().expect("its client starts");
    let (answer, why) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    format!("{answer}{why}").trim().to_owned()
}

/// What S3 says to its user, by moto's own client.
fn s3(port: u16, user: &str, password: &str) -> String {
    let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools");
    let mut tools = std::fs::read_dir(tools).expect("installed").flatten().map(|e| e.path());
    let moto = tools.find(|path| path.to_string_lossy().contains("/moto-")).expect("moto was installed");
    let script = "import sys, botocore.session as b\n\
                  s = b.get_session().create_client('s3', endpoint_url='http://127.0.0.1:'+sys.argv[1],\
                  region_name='us-east-1', aws_access_key_id=sys.argv[2], aws_secret_access_key=sys.argv[3])\n\
                  s.create_bucket(Bucket='sum')\n\
                  s.put_object(Bucket='sum', Key='t', Body=b'42')\n\
                  print(s.get_object(Bucket='sum', Key='t')['Body'].read().decode())";
    let mut command = Command::new(moto.join("bin/python"));
    command.args(["-I", "-c", script, &port.to_string(), user, password]);
    let out = command.stdin(Stdio::null()).output().expect("python starts");
    let (answer, why) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    format!("{answer}{why}").trim().to_owned()
}

/// The addresses that are listened to at a port, as the kernel writes them.
fn listens(port: u16) -> Vec<String> {
    let port = format!(":{port:04X}");
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in std::fs::read_to_string(table).unwrap_or_default().lines() {
            if let [_, local, _, "0A", ..] = line.split_whitespace().collect::<Vec<_>>().as_slice()
                && let Some(address) = local.strip_suffix(&port)
            {
                found.push(address.to_owned());
            }
        }
    }
    found
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < GONE_MAX, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_reached(url: &str) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", parts(url).2)).is_ok()
}

#[test]
fn all_four_answer_and_nothing_is_left_of_them() {
    let temporary = Temporary::new("answers");
    let mut servers = temporary.start(&VARIABLES);
    for (url, scheme) in servers.urls.iter().zip(["postgres://", "mysql://", "redis://", "http://"]) {
        assert!(url.starts_with(scheme), "{url}");
        assert_eq!(ask(url), "42");
        let wrong = url.replace(parts(url).1, "guessed");
        assert_ne!(ask(&wrong), "42", "{scheme} takes any password");
        assert_eq!(listens(parts(url).2), ["0100007F"], "{scheme} is for 127.0.0.1 only");
    }
    assert!(temporary.processes().len() >= 4, "the test sees their processes");
    servers.signal(libc::SIGTERM);
    assert!(servers.xtask.wait().expect("its end").success());
    // It waits for the keeper, so nothing is waited for here.
    assert_eq!((temporary.processes(), temporary.files()), (vec![], vec![]));
    assert!(!servers.urls.iter().any(|url| is_reached(url)));
}

#[test]
fn nothing_is_left_when_xtask_is_killed() {
    let temporary = Temporary::new("killed");
    let servers = temporary.start(&["OUZEL_TEST_POSTGRES", "OUZEL_TEST_REDIS"]);
    servers.signal(libc::SIGKILL);
    temporary.is_left();
    assert!(!servers.urls.iter().any(|url| is_reached(url)));
}

#[test]
fn nothing_is_left_when_xtask_is_interrupted_over_its_command() {
    let temporary = Temporary::new("interrupted");
    let mut command = temporary.xtask(&["OUZEL_TEST_REDIS"], &["--", "sh", "-c", "echo; exec cat"]);
    let mut xtask = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("xtask starts");
    let mut said = BufReader::new(xtask.stdout.take().expect("piped"));
    assert_eq!(said.read_line(&mut String::new()).expect("the command runs"), 1);
    let xtask = Servers { xtask, urls: Vec::new() };
    assert!(!temporary.processes().is_empty());
    xtask.signal(libc::SIGINT);
    temporary.is_left();
}

#[test]
fn nothing_is_left_when_xtask_is_killed_while_they_start() {
    let temporary = Temporary::new("early");
    let mut xtask = temporary.xtask(&VARIABLES, &[]).stdout(Stdio::null()).spawn().expect("xtask starts");
    wait_for("a first process", || !temporary.processes().is_empty());
    xtask.kill().expect("kill it");
    xtask.wait().expect("its end");
    temporary.is_left();
}

#[test]
fn servers_end_with_their_keeper_and_the_next_one_removes_its_files() {
    let temporary = Temporary::new("keeper");
    let mut servers = temporary.start(&VARIABLES);
    // SAFETY: no memory effects. xtask has not waited for it, so the id is its own.
    unsafe { libc::kill(servers.keeper(), libc::SIGKILL) };
    assert!(!servers.xtask.wait().expect("its end").success(), "xtask says that they are gone");
    wait_for("processes to end", || temporary.processes().is_empty());
    assert_eq!(temporary.files().len(), 1, "nobody could remove them");
    let next = temporary.xtask(&["OUZEL_TEST_REDIS"], &["--", "true"]).status().expect("xtask starts");
    assert!(next.success());
    assert_eq!(temporary.files(), Vec::<PathBuf>::new());
}

#[test]
fn the_jars_of_kafka_are_checked_before_a_server_is_started() {
    let temporary = Temporary::new("jars");
    let shown = |libs: PathBuf| {
        let script = "echo $OUZEL_KAFKA_LIBS";
        let out = temporary.xtask(&[], &["--", "sh", "-c", script]).env("OUZEL_KAFKA_LIBS", libs).output();
        let out = out.expect("xtask starts");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (out.status.code(), text(out.stdout), text(out.stderr))
    };
    assert_eq!(shown(kafka()).1, format!("{}\n", kafka().display()));
    let (code, said, why) = shown(temporary.0.clone());
    assert_eq!((code, said.as_str()), (Some(5), ""));
    assert!(why.contains("there is no kafka_2.13-*.jar: name a directory"), "{why}");
}

#[test]
fn a_command_is_given_its_servers_and_its_end_is_theirs() {
    let temporary = Temporary::new("command");
    let script =
        "test \"${OUZEL_TEST_REDIS#redis://:}\" != \"$OUZEL_TEST_REDIS\" && test $OUZEL_TEST_MARIADB = elsewhere";
    for (script, fine) in [(script, true), ("exit 3", false)] {
        let status = temporary.xtask(&["OUZEL_TEST_REDIS"], &["--", "sh", "-c", script]).status();
        assert_eq!(status.expect("xtask starts").success(), fine);
        assert_eq!((temporary.processes(), temporary.files()), (vec![], vec![]));
    }
    let usage = temporary.xtask(&[], &["--"]).status().expect("xtask starts");
    assert_eq!(usage.code(), Some(2));
}
