//! MariaDB.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::install;
use super::server::{ANSWER, Home, Kind, Server, USER};

pub const KIND: Kind = Kind {
    name: "mariadb",
    variable: "OUZEL_TEST_MARIADB",
    // Without Debian's service, its cluster and its Perl.
    packages: &["mariadb-server-core", "mariadb-client-core"],
    install: install::debian,
    users: &["mysql", "nobody"],
    // It has no children; asked to end, it would first write what is thrown away.
    end: libc::SIGKILL,
    find,
};

struct MariaDb {
    server: PathBuf,
    install_db: PathBuf,
    client: PathBuf,
}

fn find() -> Option<Box<dyn Server>> {
    let server = install::find(&["mariadbd", "mysqld"], &[])?;
    // The old names are MySQL's too, which is another server with other tools; but only MariaDB has this program.
    let install_db = install::find(&["mariadb-install-db"], &[])?;
    let client = install::find(&["mariadb", "mysql"], &[])?;
    Some(Box::new(MariaDb { server, install_db, client }))
}

impl Server for MariaDb {
    fn program(&self) -> &Path {
        &self.server
    }

    fn prepare(&self, home: &Home) -> Result<()> {
        // No test database and nobody without a password; its root comes in by its socket only.
        let mut command = home.command(&self.install_db);
        command.args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=socket"]);
        command.arg(setting("--datadir", &home.dir.join("data"))).args(QUICK);
        home.run(command)?;
        home.write(
            "init.sql",
            &format!(
                "CREATE DATABASE ouzel CHARACTER SET utf8mb4;\n\
                 CREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{}';\n\
                 GRANT ALL ON *.* TO '{USER}'@'127.0.0.1' WITH GRANT OPTION;\n",
                home.password
            ),
        )?;
        Ok(())
    }

    fn serve(&self, home: &Home, port: u16) -> Command {
        let mut command = home.command(&self.server);
        command.arg("--no-defaults").arg(setting("--datadir", &home.dir.join("data")));
        command.arg(setting("--tmpdir", &home.dir)).arg(setting("--init-file", &home.dir.join("init.sql")));
        // The socket is relative to the data: paths of sockets may not be long.
        command.args([
            "--bind-address=127.0.0.1",
            "--port",
            &port.to_string(),
            "--socket=socket",
            "--skip-name-resolve",
        ]);
        command.args(QUICK);
        command
    }

    fn ask(&self, home: &Home, port: u16) -> Command {
        let mut command = home.command(&self.client);
        command.args(["--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--port", &port.to_string()]);
        command.args(["--user", USER, "--connect-timeout=3", "--batch", "--skip-column-names"]);
        command.args(["--execute", &format!("select {ANSWER}"), "ouzel"]).env("MYSQL_PWD", &home.password);
        command
    }

    fn url(&self, home: &Home, port: u16) -> String {
        format!("mysql://{USER}:{}@127.0.0.1:{port}/ouzel", home.password)
    }
}

/// In one argument, for one of its programs is a script that takes no two.
fn setting(name: &str, path: &Path) -> OsString {
    let mut setting = OsString::from(name);
    setting.push("=");
    setting.push(path);
    setting
}

/// Nothing is kept, so nothing is synced: the first start takes half a second instead of four.
const QUICK: [&str; 7] = [
    "--debug-no-sync",
    "--skip-log-bin",
    "--performance-schema=OFF",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=16M",
];
