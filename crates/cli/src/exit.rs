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

impl From<log::LogError> for Failed {
    fn from(e: log::LogError) -> Failed {
        let exit = match &e {
            log::LogError::Damaged { .. } | log::LogError::Format { .. } => Exit::Data,
            log::LogError::InUse { .. } => Exit::InUse,
            log::LogError::OutOfRange { .. } | log::LogError::NoTopic(_) | log::LogError::Partitions { .. } => Exit::Usage,
            log::LogError::Io { .. } | log::LogError::Stopped(_) => Exit::Environment,
        };
        Failed::new(exit, e.to_string())
    }
}
