//! What the commands beside a running process may ask of it, with the token that stands in `DIR/lock`: who can read that
//! file owns the directory.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::engine::World;
use crate::savepoint::{self, Made, SavepointError};
use crate::status::Status;

/// The lines of `DIR/lock` that say where a process is, and what it wants to be shown.
pub const HTTP_LINE: &str = "http ";
pub const TOKEN_LINE: &str = "token ";

#[derive(Default)]
pub struct Admin {
    ready: OnceLock<Ready>,
    /// Somebody asked for the process to end as by a signal.
    pub stop: AtomicBool,
}

struct Ready {
    token: String,
    world: World,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SavepointAsked {
    /// Absolute: the two processes may stand in different directories.
    to: PathBuf,
}

impl Admin {
    /// Answers from now on. Gives the token.
    pub fn open(&self, world: &World) -> String {
        let token = format!("{:032x}", world.rng.next_u128());
        let _ = self.ready.set(Ready { token: token.clone(), world: world.clone() });
        token
    }

    pub fn answer(
        &self,
        status: &Status,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &[u8],
    ) -> Option<(u16, String)> {
        if !matches!(path, "/admin/savepoint" | "/admin/stop") {
            return None;
        }
        let ready = self.ready.get().filter(|ready| token == Some(&ready.token));
        let Some(ready) = ready else {
            return Some(error(
                401,
                "token",
                "this needs the token that stands in the file `lock` of the data directory",
            ));
        };
        if method != "POST" {
            return Some(error(405, "method_not_allowed", &format!("{path} takes POST")));
        }
        Some(match path {
            "/admin/stop" => {
                self.stop.store(true, Relaxed);
                (202, json!({"stopping": true}).to_string() + "\n")
            }
            _ => savepoint(status, &ready.world, body),
        })
    }
}

fn savepoint(status: &Status, world: &World, body: &[u8]) -> (u16, String) {
    let asked = serde_json::from_slice(body).ok().filter(|asked: &SavepointAsked| asked.to.is_absolute());
    let Some(SavepointAsked { to }) = asked else {
        return error(400, "bad_body", "this takes {\"to\": \"/an/absolute/path\"}");
    };
    let Some(sessions) = status.sessions.get() else {
        return refused(&SavepointError::Nothing);
    };
    let give_up = || {
        let stopping = status.draining.load(Relaxed).then(|| "the process is stopping".to_owned());
        stopping.or_else(|| status.trouble().filter(|t| t.fatal).map(|t| t.reason))
    };
    match savepoint::of_running(sessions, &*status.carrier.log(), &status.data, &to, world, give_up) {
        Ok(made) => (200, said(&made).to_string() + "\n"),
        Err(e) => refused(&e),
    }
}

/// A savepoint that was made, for machines.
pub fn said(made: &Made) -> Value {
    let partitions: Vec<Value> = made
        .savepoint
        .partitions
        .iter()
        .map(|p| json!({"stage": p.operator, "partition": p.partition, "position": p.position}))
        .collect();
    json!({
        "savepoint": made.at.display().to_string(), "written_at": made.savepoint.written_at, "bytes": made.bytes,
        "of": made.savepoint.of, "unread": made.unread, "partitions": partitions,
    })
}

fn refused(e: &SavepointError) -> (u16, String) {
    let (status, code) = match e {
        SavepointError::There(_) => (409, "there"),
        SavepointError::Nothing => (404, "nothing"),
        SavepointError::Stage(_) => (503, "stage"),
        _ => (500, "failed"),
    };
    error(status, code, &e.to_string())
}

fn error(status: u16, code: &str, message: &str) -> (u16, String) {
    (status, json!({"code": code, "message": message}).to_string() + "\n")
}

/// The address and the token that a process announced.
pub fn announced(lines: &[String]) -> (Option<&str>, Option<&str>) {
    let find = |prefix: &str| lines.iter().find_map(|l| l.strip_prefix(prefix));
    (find(HTTP_LINE), find(TOKEN_LINE))
}

/// The directory of a savepoint by name, or of one made now.
pub fn savepoint_dir(data: &Path, name: &str) -> PathBuf {
    data.join(savepoint::SAVEPOINTS_DIR).join(name)
}
