//! PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::install;
use super::server::{ANSWER, Home, Kind, Server, USER};

pub const KIND: Kind = Kind {
    name: "postgres",
    variable: "OUZEL_TEST_POSTGRES",
    packages: &["postgresql"],
    install: install::debian,
    users: &["postgres", "nobody"],
    // "Immediate shutdown": it waits for its children, which SIGKILL would leave to notice by themselves.
    end: libc::SIGQUIT,
    find,
};

/// All from one directory: `initdb` takes only a server of its own version.
struct Postgres {
    server: PathBuf,
    initdb: PathBuf,
    psql: PathBuf,
}

fn find() -> Option<Box<dyn Server>> {
    let on_path = install::find(&["postgres"], &[]).and_then(|path| path.canonicalize().ok());
    let mut servers: Vec<PathBuf> = on_path.into_iter().collect();
    servers.extend(debian(Path::new("/usr/lib/postgresql")));
    servers.into_iter().find_map(|server| {
        let found = Postgres { initdb: server.with_file_name("initdb"), psql: server.with_file_name("psql"), server };
        let all = [&found.server, &found.initdb, &found.psql].iter().all(|path| path.is_file());
        all.then(|| Box::new(found) as Box<dyn Server>)
    })
}

/// The servers of Debian, `<version>/bin/postgres`, which are on nobody's PATH; the newest first.
fn debian(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut versions: Vec<u32> = entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.iter().map(|version| dir.join(version.to_string()).join("bin/postgres")).collect()
}

impl Server for Postgres {
    fn program(&self) -> &Path {
        &self.server
    }

    fn prepare(&self, home: &Home) -> Result<()> {
        let password = home.write("password", &home.password)?;
        let mut command = home.command(&self.initdb);
        command.args(["--pgdata=data", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        command.arg(format!("--username={USER}")).arg("--pwfile").arg(password);
        home.run(command)
    }

    fn serve(&self, home: &Home, port: u16) -> Command {
        let mut command = home.command(&self.server);
        command.args(["-D", "data", "-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "shared_buffers=32MB",
            "jit=off",
        ] {
            command.args(["-c", setting]);
        }
        command
    }

    fn ask(&self, home: &Home, port: u16) -> Command {
        let mut command = home.command(&self.psql);
        command.args(["--no-psqlrc", "--no-password", "--tuples-only", "--no-align", "--host=127.0.0.1"]);
        command.args([&format!("--port={port}"), &format!("--username={USER}"), "--dbname=postgres"]);
        command.args(["--command", &format!("select {ANSWER}")]);
        command.env("PGPASSWORD", &home.password).env("PGCONNECT_TIMEOUT", "3");
        command
    }

    fn url(&self, home: &Home, port: u16) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{port}/postgres", home.password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_taken_first() {
        let dir = std::env::temp_dir().join(format!("ouzel-versions-{}", std::process::id()));
        for version in ["9.6", "15", "9", "17", "common"] {
            std::fs::create_dir_all(dir.join(version)).expect("make");
        }
        let found = debian(&dir);
        std::fs::remove_dir_all(&dir).expect("remove");
        assert_eq!(found, ["17", "15", "9"].map(|version| dir.join(version).join("bin/postgres")));
    }
}
