//! The documentation's commands are run. Each page is a story in a directory of its own, block after block; a block is
//! fenced as `sh`, and what stands behind that word says how it is run:
//!
//! | fence | means |
//! |---|---|
//! | `sh` | it is run and must succeed |
//! | `sh background` | it goes on running until the next such block or the end of the page |
//! | `sh fails` | it must not succeed |
//! | `sh not-run: reason` | it is not run |
//!
//! Port 7070 is replaced by a free one.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A block that takes longer hangs: the slowest takes a few seconds.
const BLOCK_MAX: Duration = Duration::from_secs(60);

/// Words that begin a command a reader would type; a block with one of them that is not fenced as `sh` would not be run.
const COMMANDS: [&str; 8] = ["ouzel ", "curl ", "cat ", "cargo ", "npm ", "docker ", "kill ", "export "];

struct Block {
    line: usize,
    fence: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// README.md and every page below docs/.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    let mut dirs = vec![root().join("docs")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("docs").flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

fn blocks(page: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(page).expect("a page");
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (n, line) in text.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(fence)) => {
                open = Some(Block { line: n + 1, fence: fence.trim().to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text += line;
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{}: a fence is not closed", page.display());
    blocks
}

/// A page being lived through.
struct Story {
    page: String,
    dir: tempfile::TempDir,
    port: u16,
    background: Option<Child>,
}

impl Story {
    fn new(page: &Path) -> Story {
        let dir = tempfile::tempdir().expect("a directory");
        copy(&root().join("examples"), &dir.path().join("examples"));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let page = page.strip_prefix(root()).unwrap_or(page).display().to_string();
        Story { page, dir, port, background: None }
    }

    fn shell(&self, block: &Block) -> Command {
        let bin = Path::new(env!("CARGO_BIN_EXE_ouzel")).parent().expect("a directory");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let script = block.text.replace(":7070", &format!(":{}", self.port));
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &script]);
        shell.current_dir(self.dir.path()).env("PATH", path).env("HOME", self.dir.path()).env_remove("XDG_CACHE_HOME");
        // Without an input `run` has a port; with one it would get one it was not meant to have.
        if block.text.lines().any(|l| l.contains("ouzel run") && !l.contains("--input") && !l.contains("--listen")) {
            shell.env("OUZEL__HTTP__LISTEN", format!("127.0.0.1:{}", self.port));
        }
        shell.stdin(Stdio::null());
        shell
    }

    fn run(&mut self, block: &Block) {
        let at = format!("{}:{}", self.page, block.line);
        match block.fence.as_str() {
            "sh" | "sh fails" => {
                let log = self.dir.path().join("said.txt");
                let said = std::fs::File::create(&log).expect("a file");
                let mut shell = self.shell(block);
                shell.stdout(said.try_clone().expect("a file")).stderr(said);
                let mut child = shell.spawn().expect("bash");
                let begun = Instant::now();
                let status = loop {
                    if let Some(status) = child.try_wait().expect("waits") {
                        break status;
                    }
                    if begun.elapsed() > BLOCK_MAX {
                        let _ = child.kill();
                        panic!("{at}: not over in {BLOCK_MAX:?}:\n{}", block.text);
                    }
                    std::thread::sleep(Duration::from_millis(10));
                };
                let said = std::fs::read(&log).expect("what was said");
                let wanted = block.fence == "sh";
                assert!(status.success() == wanted, "{at}: {status}\n{}\n{}", block.text, support::text(&said));
            }
            "sh background" => {
                self.end_background();
                let mut shell = self.shell(block);
                // The program itself is to be the child, for signals.
                shell.stdout(Stdio::null()).stderr(Stdio::null());
                self.background = Some(shell.spawn().expect("bash"));
                let deadline = Instant::now() + BLOCK_MAX;
                let head =
                    format!("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", self.port);
                while support::request(&format!("127.0.0.1:{}", self.port), &head, &[]).is_none() {
                    assert!(Instant::now() < deadline, "{at}: it did not open its port");
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            fence if fence.starts_with("sh not-run: ") => {}
            other => panic!("{at}: what does the fence `{other}` mean?"),
        }
    }

    fn end_background(&mut self) {
        if let Some(mut child) = self.background.take() {
            let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            let _ = child.wait();
        }
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        self.end_background();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("examples").flatten() {
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }
}

#[test]
fn the_commands_of_every_page_work() {
    let mut run = 0;
    for page in pages() {
        let blocks = blocks(&page);
        let mut story = Story::new(&page);
        for block in &blocks {
            let typed = block.text.lines().any(|l| COMMANDS.iter().any(|c| l.starts_with(c)));
            if block.fence.is_empty() && typed {
                panic!("{}:{}: commands are fenced as sh, so that they are run", story.page, block.line);
            }
            if block.fence.split(' ').next() == Some("sh") {
                story.run(block);
                run += usize::from(!block.fence.starts_with("sh not-run"));
            }
        }
    }
    assert!(run >= 10, "only {run} blocks were run");
}

/// What is shown as configuration is one; what is shown as `toml part` belongs into a table.
#[test]
fn the_configurations_of_every_page_are_accepted() {
    let mut seen = 0;
    for page in pages() {
        for block in blocks(&page).iter().filter(|b| b.fence == "toml") {
            let dir = tempfile::tempdir().expect("a directory");
            let text = if block.text.contains("version =") {
                block.text.clone()
            } else {
                format!("version = 1\n{}", block.text)
            };
            std::fs::write(dir.path().join("ouzel.toml"), text).expect("written");
            let out = support::output(support::ouzel().current_dir(dir.path()).arg("check"));
            assert!(out.status.success(), "{}:{}:\n{}", page.display(), block.line, support::text(&out.stderr));
            seen += 1;
        }
    }
    assert!(seen >= 1, "no page shows a configuration");
}
