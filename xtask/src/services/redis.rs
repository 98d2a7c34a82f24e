//! Redis, or Valkey.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::install;
use super::server::{ANSWER, Home, Kind, Server};

pub const KIND: Kind = Kind {
    name: "redis",
    variable: "OUZEL_TEST_REDIS",
    packages: &["redis-server", "redis-tools"],
    install: install::debian,
    users: &["redis", "valkey", "nobody"],
    // It has no children, and nothing to write.
    end: libc::SIGKILL,
    find,
};

struct Redis {
    server: PathBuf,
    client: PathBuf,
}

fn find() -> Option<Box<dyn Server>> {
    let server = install::find(&["redis-server", "valkey-server"], &[])?;
    let client = install::find(&["redis-cli", "valkey-cli"], &[])?;
    Some(Box::new(Redis { server, client }))
}

impl Server for Redis {
    fn program(&self) -> &Path {
        &self.server
    }

    fn prepare(&self, home: &Home) -> Result<()> {
        let settings = "bind 127.0.0.1\nsave \"\"\nappendonly no\ndaemonize no\n";
        home.write("redis.conf", &format!("{settings}requirepass {}\n", home.password))?;
        Ok(())
    }

    fn serve(&self, home: &Home, port: u16) -> Command {
        let mut command = home.command(&self.server);
        command.args(["redis.conf", "--port", &port.to_string()]);
        command
    }

    fn ask(&self, home: &Home, port: u16) -> Command {
        let mut command = home.command(&self.client);
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "ECHO", ANSWER]);
        command.env("REDISCLI_AUTH", &home.password);
        command
    }

    fn url(&self, home: &Home, port: u16) -> String {
        format!("redis://:{}@127.0.0.1:{port}", home.password)
    }
}
