//! Exit codes that mean something, and the error a command ends with.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    Fine = 0,
    /// The thing looked for failed: a check, a comparison.
    Failed = 1,
    /// Usage or configuration.
    Usage = 2,
    /// Data damaged, or not ours.
    Data = 3,
    /// The directory is in use by another process.
    InUse = 4,
    /// Disk, permissions, network.
    Environment = 5,
    /// Ctrl-C, as shells say it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// An error on its way to the user: what is wrong and what to do, and the exit code.
#[derive(Debug)]
pub struct Failed {
    pub exit: Exit,
    pub message: String,
}

pub type Result<T = Exit> = std::result::Result<T, Failed>;

impl Failed {
    pub fn new(exit: Exit, message: impl Into<String>) -> Failed {
        Failed { exit, message: message.into() }
    }

    pub fn usage(message: impl Into<String>) -> Failed {
        Failed::new(Exit::Usage, message)
    }

    pub fn environment(doing: &str, e: &dyn std::fmt::Display) -> Failed {
        Failed::new(Exit::Environment, format!("{doing}: {e}"))
    }

    pub fn print(&self, json: bool) {
        if json {
            eprintln!("{}", serde_json::json!({"error": self.message, "exit": self.exit as u8}));
        } else {
            // A message of several parts (configuration) has its own layout.
            let plain = if self.message.starts_with("error") { "" } else { "error: " };
            eprintln!("{plain}{}", self.message.trim_end());
        }
    }
}

/// What is wrong, and below it, as under a configuration's mistake, what to do.
pub fn with_help(what: &str, help: &str) -> String {
    format!("{what}\n  = {help}")
}

/// An I/O error without its number: `os error 13` says nothing that the words before it do not.
pub fn plain(e: &std::io::Error) -> String {
    let text = e.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_owned())
}

/// What to do about an I/O error in a data directory.
fn io_help(e: &std::io::Error) -> Option<&'static str> {
    use std::io::ErrorKind;
    Some(match e.kind() {
        ErrorKind::PermissionDenied => {
            "this user may not do that: give it the directory (`chown -R USER DIR`), or name another with --data DIR"
        }
        ErrorKind::NotADirectory => "a part of this path is a file: name another place with --data DIR",
        ErrorKind::StorageFull => "make room on this disk, or name a directory on another with --data DIR",
        ErrorKind::ReadOnlyFilesystem => "this disk is mounted read-only: name a directory on another with --data DIR",
        _ => return None,
    })
}

/// The log's errors are one sentence, as `/readyz` shows them; on a terminal there is room for what to do, with the
/// directory in it.
impl From<log::LogError> for Failed {
    fn from(e: log::LogError) -> Failed {
        use log::LogError;
        let text = e.to_string();
        match e {
            LogError::Damaged { file, at, what } => {
                // A segment lies in DIR/journal.
                let dir = std::path::Path::new(&file).parent().and_then(|p| p.parent());
                let dir = dir.map_or("DIR".to_owned(), |d| d.display().to_string());
                let help = format!(
                    "nothing was changed. `ouzel data verify --data {dir}` shows all damage; `ouzel data repair \
                     --quarantine --data {dir}` moves it aside and says what is lost"
                );
                Failed::new(Exit::Data, with_help(&format!("{file} is damaged at byte {at}: {what}"), &help))
            }
            LogError::Format { ref found, known, ref dir } => {
                let newer = found.parse::<u32>().is_ok_and(|found| found > known);
                let help = if newer {
                    "a newer ouzel wrote it: run that version, or name another directory with --data DIR; nothing was \
                     changed"
                        .to_owned()
                } else {
                    format!(
                        "{dir}/format is not as ouzel wrote it: put it back, or name another directory with --data DIR"
                    )
                };
                Failed::new(Exit::Data, with_help(&text, &help))
            }
            LogError::InUse { dir, pid } => {
                // Empty in the moment between taking the lock and writing into it.
                let who = if pid.is_empty() { "another process".to_owned() } else { format!("process {pid}") };
                let help = "one process writes to a directory: stop that one, or name another directory with --data DIR. \
                            `ouzel tail`, `topics`, `dlq` and `data verify` look into it while it runs";
                Failed::new(Exit::InUse, with_help(&format!("{dir} is in use by {who}"), help))
            }
            LogError::Io { doing, source } => {
                let text = format!("{doing}: {}", plain(&source));
                let message = io_help(&source).map_or(text.clone(), |help| with_help(&text, help));
                Failed::new(Exit::Environment, message)
            }
            LogError::Partitions { dir, stored, asked } => Failed::usage(with_help(
                &format!("{dir} has {stored} partitions per topic and the configuration asks for {asked}"),
                &format!(
                    "the number never changes in place: set `data.partitions = {stored}`, or name a new directory with \
                     --data DIR"
                ),
            )),
            LogError::OutOfRange { .. } | LogError::NoTopic(_) => Failed::usage(text),
            LogError::Stopped(_) => Failed::new(Exit::Environment, text),
        }
    }
}

impl From<state::StateError> for Failed {
    fn from(e: state::StateError) -> Failed {
        let text = e.to_string();
        match e {
            state::StateError::Store { name, source } => {
                let text = format!("{name}: {}", plain(&source));
                Failed::new(Exit::Environment, io_help(&source).map_or(text.clone(), |help| with_help(&text, help)))
            }
            state::StateError::Damaged { .. } => Failed::new(Exit::Data, text),
            state::StateError::NotSavepoint { what } => {
                let help = "a savepoint is a directory that `ouzel savepoint` wrote, whole";
                Failed::new(Exit::Data, with_help(&format!("this is no savepoint: {what}"), help))
            }
        }
    }
}

impl From<node::divergence::DivergenceError> for Failed {
    fn from(e: node::divergence::DivergenceError) -> Failed {
        use node::divergence::DivergenceError;
        match e {
            DivergenceError::Log(e) => Failed::from(e),
            DivergenceError::State(e) => Failed::from(e),
            DivergenceError::Beyond { .. } => Failed::new(Exit::Data, e.to_string()),
        }
    }
}

impl From<node::savepoint::SavepointError> for Failed {
    fn from(e: node::savepoint::SavepointError) -> Failed {
        use node::savepoint::SavepointError;
        let text = e.to_string();
        let (exit, help) = match e {
            SavepointError::Log(e) => return Failed::from(e),
            SavepointError::State(state::StateError::Damaged { name, what }) => {
                let help = "nothing was written. Take another savepoint";
                return Failed::new(Exit::Data, with_help(&format!("{name} is damaged: {what}"), help));
            }
            SavepointError::State(e) => return Failed::from(e),
            SavepointError::Io { doing, source } => {
                let text = format!("{doing}: {}", plain(&source));
                let message = io_help(&source).map_or(text.clone(), |help| with_help(&text, help));
                return Failed::new(Exit::Environment, message);
            }
            SavepointError::There(_) => (Exit::Usage, "nothing is written over: name another place"),
            SavepointError::Unfinished(_) => (Exit::Usage, "nobody needs it: remove it, then restore again"),
            SavepointError::Nothing => {
                (Exit::Failed, "no sessions were made yet, or `sessions.enabled` is false: there is nothing to save")
            }
            SavepointError::NotClean { .. } => (
                Exit::Failed,
                "start it (`ouzel run`), and ask again while it runs or after it was stopped with Ctrl-C or SIGTERM; \
                 `ouzel savepoint --stop` does both",
            ),
            SavepointError::OtherStage(_) => (Exit::Data, "restore it with the version that wrote it, or a later one"),
            SavepointError::Stage(_) => return Failed::new(Exit::Environment, text),
        };
        Failed::new(exit, with_help(&text, help))
    }
}

impl From<node::assets::AssetError> for Failed {
    fn from(e: node::assets::AssetError) -> Failed {
        Failed::from(&e)
    }
}

impl From<&node::assets::AssetError> for Failed {
    fn from(e: &node::assets::AssetError) -> Failed {
        use node::assets::{AssetError, Kind};
        let exit = match e.kind() {
            Kind::Environment => Exit::Environment,
            Kind::Data => Exit::Data,
            Kind::InUse => Exit::InUse,
            Kind::Stopped => Exit::Interrupted,
        };
        let help = match e {
            AssetError::NoNpm => Some(
                "install Node.js, which brings npm; or copy the cache directory of a machine that has it, and take it \
                 from there: `ouzel assets fetch --from DIR`",
            ),
            AssetError::Npm { network: true, .. } | AssetError::Slow { .. } => Some(
                "what was there stays in use. Behind a proxy, npm's own configuration is what counts (`npm config`); \
                 without a network, `ouzel assets fetch --from DIR` takes files from a directory",
            ),
            AssetError::Npm { .. } | AssetError::Junk { .. } => Some("what was there stays in use"),
            AssetError::Damaged { .. } => Some("nothing of it was taken; what was there stays in use"),
            AssetError::InUse { .. } => Some("one process writes there at a time: wait until it has ended"),
            AssetError::Io { .. } | AssetError::Stopped => None,
        };
        let text = e.to_string();
        Failed::new(exit, help.map_or(text.clone(), |help| with_help(&text, help)))
    }
}
