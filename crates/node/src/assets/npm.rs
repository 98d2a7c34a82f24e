//! npm, as a child process: it has a time limit, its output is bounded, and it is ended with all its children when it is
//! not wanted any more. Its own configuration holds (registry, proxy, certificates, tokens): we pass none of these.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use seam::Fs;
use serde_json::Value;

use super::manifest::is_version;
use super::{AssetError, Step, Work};

/// For a question. npm itself waits 10 s and 60 s before its second and third attempt, and its reason is better than ours.
const ASK_LIMIT: Duration = Duration::from_secs(150);
/// For a package. 64 MiB in half an hour are 300 kbit/s.
const PACK_LIMIT: Duration = Duration::from_secs(30 * 60);
/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// Between two looks at the child.
const TICK: Duration = Duration::from_millis(50);
/// Bytes kept of each of its outputs. Its longest answer, the list of a package's files, has some thousand.
const OUTPUT_MAX: usize = 256 << 10;
/// How long we wait for the rest of its output once it has ended: somebody it started may still hold the pipe.
const REST: Duration = Duration::from_millis(500);
/// Characters of a reason.
const REASON_MAX: usize = 300;

/// How npm is started.
#[derive(Clone, Debug)]
pub struct Npm {
    /// A name that is looked for on PATH, or a path.
    pub program: PathBuf,
    pub ask_limit: Duration,
    pub pack_limit: Duration,
}

impl Default for Npm {
    fn default() -> Self {
        Npm { program: "npm".into(), ask_limit: ASK_LIMIT, pack_limit: PACK_LIMIT }
    }
}

/// The newest version of a package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Latest {
    pub version: String,
    /// Its hash, which npm checks when it downloads, and we when we unpack.
    pub integrity: Option<String>,
}

impl Npm {
    /// Asks for the newest version. `dir` is where npm runs: a directory of ours, so that no `package.json` of somebody
    /// else's changes what it does.
    pub(crate) fn latest(&self, dir: &Path, fs: &dyn Fs, work: &mut Work<'_>) -> Result<Latest, AssetError> {
        let package = format!("{}@latest", work.asset.entry().package);
        let args = ["view", &package, "version", "dist.integrity", "--json"];
        let run = Run { args: &args, dir, limit: self.ask_limit, step: Step::Ask, of: 0 };
        parse_latest(&self.run(run, fs, work)?)
    }

    /// Downloads a package into the empty directory `dir`, checked by npm, and says where it is.
    pub(crate) fn pack(
        &self,
        version: &str,
        dir: &Path,
        fs: &dyn Fs,
        work: &mut Work<'_>,
    ) -> Result<PathBuf, AssetError> {
        let package = format!("{}@{version}", work.asset.entry().package);
        let to = dir.display().to_string();
        let args = ["pack", &package, "--pack-destination", &to, "--json"];
        let of = work.asset.entry().download_bytes;
        self.run(Run { args: &args, dir, limit: self.pack_limit, step: Step::Download, of }, fs, work)?;
        // The directory was empty. What the answer says is not asked: older versions of npm write another name into it
        // than they give the file.
        let doing = AssetError::io(format!("cannot look into {}", dir.display()));
        let mut found = fs.list(dir).map_err(doing)?;
        found.retain(|name| name.ends_with(".tgz"));
        match found.as_slice() {
            [name] => Ok(dir.join(name)),
            [] => Err(AssetError::Junk { what: "it ended well, and no package is there".to_owned() }),
            _ => Err(AssetError::Junk { what: "it left more than one package".to_owned() }),
        }
    }

    /// Runs it to its end; its standard output.
    fn run(&self, run: Run<'_>, fs: &dyn Fs, work: &mut Work<'_>) -> Result<Vec<u8>, AssetError> {
        let mut command = Command::new(&self.program);
        command.args(run.args).args(["--loglevel", "error", "--no-update-notifier", "--no-progress"]);
        command.current_dir(run.dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: Ctrl-C is heard by us, who then end all of it.
        command.process_group(0);
        let child = command.spawn().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => AssetError::NoNpm,
            _ => AssetError::io("cannot start npm")(e),
        })?;
        let mut group = Group { child, ended: None };
        let stdout = collect(group.child.stdout.take());
        let stderr = collect(group.child.stderr.take());
        let begun = work.clock.elapsed();
        let written = PathBuf::from(format!("/proc/{}/io", group.child.id()));
        let status = loop {
            if let Some(status) = group.child.try_wait().map_err(AssetError::io("cannot wait for npm"))? {
                group.ended = Some(status);
                break status;
            }
            if work.clock.elapsed() - begun > run.limit {
                return Err(AssetError::Slow { limit: run.limit });
            }
            let bytes = (run.of > 0).then(|| written_bytes(fs, &written)).flatten();
            work.at(run.step, bytes.map(|b| b.min(run.of)), run.of)?;
            std::thread::sleep(TICK);
        };
        let stdout = stdout.recv_timeout(REST).unwrap_or_default();
        let stderr = stderr.recv_timeout(REST).unwrap_or_default();
        if status.success() { Ok(stdout) } else { Err(failed(status, &stdout, &stderr)) }
    }
}

/// One call.
struct Run<'a> {
    args: &'a [&'a str],
    dir: &'a Path,
    limit: Duration,
    step: Step,
    /// Bytes that it will write, about; 0: not told of.
    of: u64,
}

/// A child that leads a group of processes, ended with all of it when dropped.
struct Group {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Group {
    fn signal(&self, signal: libc::c_int) {
        // SAFETY: no memory effects. The child was not waited for, so its id, which is the group's, is nobody else's.
        unsafe { libc::kill(-(self.child.id() as libc::pid_t), signal) };
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.ended.is_some() {
            return;
        }
        self.signal(libc::SIGTERM);
        // By ticks and not by a clock: a drop has none.
        for _ in 0..GRACE.as_millis() / TICK.as_millis() {
            // IMPORTANT: looked at without taking it (`try_wait` would), or the id may be another's when it is killed.
            if has_ended(&self.child) {
                break;
            }
            std::thread::sleep(TICK);
        }
        // Also where the leader has ended: its children may not have.
        self.signal(libc::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Whether it has ended, leaving it to be waited for.
fn has_ended(child: &Child) -> bool {
    // SAFETY: `info` is plain data, and all zeros is a value of it; the call writes it.
    unsafe {
        let mut info = std::mem::zeroed::<libc::siginfo_t>();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_PID, child.id() as libc::id_t, &mut info, flags) == 0 && info.si_pid() != 0
    }
}

/// Reads a pipe to its end on a thread and keeps its beginning. Not joined: a pipe may stay open for as long as somebody
/// has it.
fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    if let Some(mut pipe) = pipe {
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            let _ = (&mut pipe).take(OUTPUT_MAX as u64).read_to_end(&mut kept);
            // The rest is taken too, or a talkative child would wait for us, and we for it.
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
            let _ = send.send(kept);
        });
    }
    receive
}

/// Bytes a process has written since it began, where the system says so (Linux). npm writes what it downloads into its
/// own cache as it comes, and hardly anything else.
fn written_bytes(fs: &dyn Fs, path: &Path) -> Option<u64> {
    let mut text = [0; 512];
    let n = fs.open_read(path).ok()?.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(&text[..n]).ok()?;
    text.lines().find_map(|line| line.strip_prefix("wchar: ")?.trim().parse().ok())
}

fn parse_latest(answer: &[u8]) -> Result<Latest, AssetError> {
    let junk = |what: &str| AssetError::Junk { what: what.to_owned() };
    let json: Value = serde_json::from_slice(answer).map_err(|_| junk("it is no JSON"))?;
    // One version is an object; a list of one has been seen too, and where there is no hash, only the version.
    let json = match &json {
        Value::Array(list) => list.last().unwrap_or(&Value::Null),
        json => json,
    };
    let version = json["version"].as_str().or(json.as_str()).ok_or_else(|| junk("there is no version in it"))?;
    if !is_version(version) {
        return Err(junk("its version is no version"));
    }
    let integrity = json["dist.integrity"].as_str().and_then(|all| all.split_whitespace().find(|h| is_sha512(h)));
    Ok(Latest { version: version.to_owned(), integrity: integrity.map(str::to_owned) })
}

/// `sha512-` and 64 bytes in base64. Weaker ones are left to npm.
fn is_sha512(hash: &str) -> bool {
    hash.len() == "sha512-".len() + 88 && hash.starts_with("sha512-") && hash.is_ascii()
}

/// Codes for: the registry was not reached. Of Node, of npm's HTTP client, of TLS behind a proxy.
const NETWORK: [&str; 16] = [
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ECONNECTIONTIMEOUT",
    "EIDLETIMEOUT",
    "ERESPONSETIMEOUT",
    "ETRANSFERTIMEOUT",
    "ERR_SOCKET_TIMEOUT",
    "ETIMEDOUT",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "ENETDOWN",
    "EPROTO",
    "SELF_SIGNED_CERT_IN_CHAIN",
    "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
];

/// npm's own reason, in one line.
fn failed(status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> AssetError {
    let answer: Value = serde_json::from_slice(stdout).unwrap_or_default();
    let stderr = String::from_utf8_lossy(stderr);
    let said: Vec<&str> = stderr.lines().map(|l| l.trim().trim_start_matches("npm error").trim()).collect();
    let code = answer["error"]["code"].as_str().or_else(|| said.iter().find_map(|l| l.strip_prefix("code ")));
    let code = code.unwrap_or_default();
    let about = ["code ", "syscall ", "errno ", "A complete log", "at "];
    let first = said.iter().find(|line| !line.is_empty() && !about.iter().any(|a| line.starts_with(a)));
    let text = answer["error"]["summary"].as_str().filter(|s| !s.trim().is_empty()).or(first.copied());
    let reason = match text {
        Some(text) => one_line(text),
        None => format!("it ended with {status} and said nothing"),
    };
    let code = if code.is_empty() || reason.contains(code) { String::new() } else { format!(" ({})", one_line(code)) };
    AssetError::Npm {
        network: NETWORK.iter().any(|n| *n == code.trim_matches([' ', '(', ')']) || reason.contains(n)),
        reason: format!("npm: {reason}{code}"),
    }
}

/// One line for people: no control characters, no password in a URL, not endless.
fn one_line(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_whitespace() {
        let secret = word.find("://").and_then(|at| Some((at + 3, at + 3 + word[at + 3..].rfind('@')?)));
        if !out.is_empty() {
            out.push(' ');
        }
        match secret {
            Some((from, to)) => out.extend([&word[..from], "***", &word[to..]]),
            None => out.push_str(word),
        }
    }
    out.retain(|c| !c.is_control());
    match out.char_indices().nth(REASON_MAX) {
        Some((at, _)) => format!("{}...", &out[..at]),
        None => out,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn answers_of_several_versions_of_npm() {
        let hash = format!("sha512-{}==", "A".repeat(86));
        let good = |integrity: Option<&str>| {
            Some(Latest { version: "0.18.0".to_owned(), integrity: integrity.map(str::to_owned) })
        };
        for (answer, want) in [
            (format!(r#"{{"version":"0.18.0","dist.integrity":"{hash}"}}"#), good(Some(&hash))),
            (format!(r#"[{{"version":"0.18.0","dist.integrity":"{hash}"}}]"#), good(Some(&hash))),
            (format!(r#"{{"version":"0.18.0","dist.integrity":"sha1-abc {hash}"}}"#), good(Some(&hash))),
            (r#"{"version":"0.18.0","dist.integrity":"sha1-abc"}"#.to_owned(), good(None)),
            (r#""0.18.0""#.to_owned(), good(None)),
            (r#"{"version":"--registry=x"}"#.to_owned(), None),
            (r#"{"version":"1 || rm"}"#.to_owned(), None),
            ("{}".to_owned(), None),
            ("[]".to_owned(), None),
            (String::new(), None),
            ("npm notice\n".to_owned(), None),
        ] {
            assert_eq!(parse_latest(answer.as_bytes()).ok(), want, "{answer}");
        }
    }

    #[test]
    fn reasons_are_one_line_and_hold_no_secret() {
        let offline = r#"{"error":{"code":"ENOTFOUND","summary":"request to http://r.invalid/uap-core failed,\n reason: getaddrinfo ENOTFOUND r.invalid","detail":"d"}}"#;
        let missing = r#"{"error":{"code":"E404","summary":"Not Found - GET http://u:p@r.invalid/x","detail":""}}"#;
        for (stdout, stderr, want, network) in [
            (
                offline,
                "",
                "npm: request to http://r.invalid/uap-core failed, reason: getaddrinfo ENOTFOUND r.invalid",
                true,
            ),
            (missing, "", "npm: Not Found - GET http://***@r.invalid/x (E404)", false),
            (
                "",
                "npm error code ECONNREFUSED\nnpm error syscall connect\nnpm error FetchError: no\nnpm error A complete log",
                "npm: FetchError: no (ECONNREFUSED)",
                true,
            ),
            ("", "env: 'node': No such file or directory\n", "npm: env: 'node': No such file or directory", false),
            ("", "\u{1b}[31mred\u{1b}[0m\n", "npm: [31mred[0m", false),
            ("junk", "", "npm: it ended with exit status: 1 and said nothing", false),
        ] {
            match failed(ExitStatus::from_raw(1 << 8), stdout.as_bytes(), stderr.as_bytes()) {
                AssetError::Npm { reason, network: found } => assert_eq!((reason.as_str(), found), (want, network)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(one_line(&"x".repeat(5000)).len(), REASON_MAX + 3);
    }
}
