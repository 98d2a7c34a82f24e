use super::*;

/// A shell script that stands in for a server, whose `ask` is another.
struct Script {
    serve: &'static str,
    ask: &'static str,
}

impl Script {
    fn sh(&self, home: &Home, script: &str, port: u16) -> Command {
        let mut command = home.command(Path::new("/bin/sh"));
        command.args(["-c", script, "sh", &port.to_string()]);
        command
    }
}

impl Server for Script {
    fn program(&self) -> &Path {
        Path::new("/bin/sh")
    }

    fn prepare(&self, _: &Home) -> Result<()> {
        Ok(())
    }

    fn serve(&self, home: &Home, port: u16) -> Command {
        self.sh(home, self.serve, port)
    }

    fn ask(&self, home: &Home, port: u16) -> Command {
        self.sh(home, self.ask, port)
    }

    fn url(&self, _: &Home, port: u16) -> String {
        format!("script://{port}")
    }
}

const KIND: Kind = Kind {
    name: "script",
    variable: "OUZEL_TEST_SCRIPT",
    packages: &[],
    install: install::debian,
    users: &["no-such-user", "nobody"],
    end: libc::SIGTERM,
    find: || None,
};

struct Try {
    place: place::Place,
    stop: Arc<AtomicBool>,
}

impl Try {
    fn new() -> Try {
        Try { place: place::Place::new().expect("a place"), stop: Arc::default() }
    }

    /// On ports from 1, which nobody binds.
    fn start(&self, serve: &'static str, ask: &'static str) -> Result<Running> {
        let home = Home::new(&KIND, self.place.path(), &self.stop)?;
        let mut port = 0;
        Running::start(&Script { serve, ask }, home, || {
            port += 1;
            Ok(port)
        })
    }
}

/// The process that wrote its id into the file `id`.
fn is_alive(id: &Path) -> bool {
    let id = std::fs::read_to_string(id).expect("the script says its id");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn a_taken_port_is_given_up_for_another() {
    let busy = "[ $1 -lt 3 ] && { echo 'bind: Address already in use'; exit 1; }; touch up; exec sleep 60";
    let running = Try::new().start(busy, "[ -e up ] && echo 42").expect("the third is free");
    assert_eq!(running.port(), 3);
    let why = Try::new().start("echo Address already in use; exit 1", "false").err().expect("none is free");
    assert_eq!(why.to_string(), "5 ports in a row were taken by others before it could listen");
}

#[test]
fn a_server_that_ends_says_why() {
    let why = Try::new().start("echo no room; exit 3", "false").err().expect("it ended").to_string();
    assert!(why.contains("exit status: 3") && why.contains("no room"), "{why}");
    let mut running = Try::new().start("touch up; sleep 0.3; echo tired", "[ -e up ] && echo 42").expect("it answers");
    let begun = Instant::now();
    let why = loop {
        if let Some(why) = running.ended() {
            break why;
        }
        assert!(begun.elapsed() < START_MAX, "it did not end");
        std::thread::sleep(TICK);
    };
    assert!(why.contains("exit status: 0"), "{why}");
}

#[test]
fn an_answer_must_be_the_right_one() {
    let ask = "[ -e asked ] && echo 42; touch asked; echo NOAUTH";
    let home = Try::new();
    let kept = Home::new(&KIND, home.place.path(), &home.stop).expect("a home");
    let server = Script { serve: "", ask };
    assert!(asked(&server, &kept, 1).is_err());
    let why = asked(&server, &kept, 1).expect_err("more than the answer").to_string();
    assert_eq!(why, "its client said: 42\nNOAUTH");
}

#[test]
fn the_end_of_a_server_is_the_end_of_its_children() {
    let tree = Try::new();
    // Deaf to the polite signal, with a child in its group.
    let script = "trap '' TERM; sleep 60 & echo $! > child; echo $$ > id; wait; sleep 60";
    let running = tree.start(script, "[ -s id ] && echo 42").expect("it answers");
    let (id, child) = (running.home().dir.join("id"), running.home().dir.join("child"));
    assert!(is_alive(&id) && is_alive(&child));
    drop(running);
    assert!(!is_alive(&id), "it was waited for");
    let begun = Instant::now();
    while is_alive(&child) {
        assert!(begun.elapsed() < END_MAX, "its child is alive");
        std::thread::sleep(TICK);
    }
}

#[test]
fn whoever_is_asked_to_end_does_not_wait_for_an_answer() {
    let tree = Try::new();
    let stop = Arc::clone(&tree.stop);
    let asking = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
    });
    let begun = Instant::now();
    let why = tree.start("exec sleep 60", "exec sleep 60").err().expect("it was asked to end").to_string();
    assert_eq!(why, "asked to end while it was starting");
    assert!(begun.elapsed() < ASK_MAX);
    asking.join().expect("the thread");
}

#[test]
fn users_by_name() {
    let users =
        "root:x:0:0:root:/:/bin/bash\npostgres:x:101:104:PostgreSQL administrator,,,:/var:/bin/bash\nodd:x:a:b\n";
    assert_eq!(Owner::parse(users, "postgres"), Some(Owner { user: 101, group: 104 }));
    for nobody in ["post", "odd", "", "mysql"] {
        assert_eq!(Owner::parse(users, nobody), None, "{nobody}");
    }
}

#[test]
fn a_free_port_can_be_bound() {
    let port = free_port().expect("a port");
    assert!(port > 0);
    TcpListener::bind(("127.0.0.1", port)).expect("it is free");
}

#[test]
fn what_it_writes_is_its_own() {
    use std::os::unix::fs::MetadataExt;
    let tree = Try::new();
    let home = Home::new(&KIND, tree.place.path(), &tree.stop).expect("a home");
    let file = home.write("secret", &home.password).expect("write");
    let (file, dir) = (file.metadata().expect("there"), home.dir.metadata().expect("there"));
    assert_eq!((file.mode() & 0o777, dir.mode() & 0o777), (0o600, 0o700));
    assert_eq!((file.uid(), file.gid()), (dir.uid(), dir.gid()));
    assert_ne!(file.uid(), 0, "servers refuse root");
}
