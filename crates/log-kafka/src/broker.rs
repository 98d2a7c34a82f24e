//! Real Apache Kafka brokers on this machine, on loopback and free ports, for tests and benchmarks. They end with this process.
//!
//! The artifacts are found by the environment variable [`LIBS`]; `cargo xtask services -- COMMAND` sets it.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use log::LogError;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::config::KafkaConfig;
use crate::proxy::Proxy;
use crate::topics;

/// Names the directory with Kafka's jars.
pub const LIBS: &str = "OUZEL_KAFKA_LIBS";

/// How long brokers may take to start.
const START: Duration = Duration::from_secs(120);

/// What brokers are started.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    pub brokers: u32,
    /// Of each broker, in mebibytes.
    pub heap: u32,
    /// Whether clients go through a proxy, which can be told to break connections.
    pub proxied: bool,
    /// Where their files are; `None`: in a new directory that is removed afterwards.
    pub dir: Option<PathBuf>,
    /// Further lines of `server.properties`.
    pub properties: Vec<(String, String)>,
    /// For benchmarks: as the JVM is run in earnest, not as it starts fastest.
    pub tuned: bool,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        ClusterConfig { brokers: 1, heap: 384, proxied: false, dir: None, properties: Vec::new(), tuned: false }
    }
}

/// Brokers that run.
pub struct Cluster {
    config: ClusterConfig,
    dir: PathBuf,
    nodes: Vec<Node>,
    libs: PathBuf,
}

struct Node {
    child: Option<Child>,
    /// Of clients, of brokers, of controllers.
    ports: [u16; 3],
    proxy: Option<Proxy>,
}

impl Cluster {
    /// Starts brokers, and waits until they answer.
    ///
    /// # Errors
    /// What is missing or went wrong, for people, with the end of the brokers' logs.
    pub fn start(config: ClusterConfig) -> Result<Cluster, String> {
        let libs = std::env::var_os(LIBS).map(PathBuf::from).ok_or_else(|| {
            format!("{LIBS} is not set: run this as `cargo xtask services -- COMMAND`, which gets Kafka's artifacts")
        })?;
        let dir = match &config.dir {
            Some(dir) => dir.clone(),
            None => std::env::temp_dir().join(format!("ouzel-kafka-{}-{}", std::process::id(), unique())),
        };
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let mut nodes = Vec::new();
        for _ in 0..config.brokers {
            let ports = free_ports()?;
            let upstream = SocketAddr::from(([127, 0, 0, 1], ports[0]));
            let proxy = config.proxied.then(|| Proxy::start(upstream)).transpose().map_err(|e| e.to_string())?;
            nodes.push(Node { child: None, ports, proxy });
        }
        let mut cluster = Cluster { config, dir, nodes, libs };
        for n in 0..cluster.nodes.len() {
            cluster.configure(n)?;
        }
        for n in 0..cluster.nodes.len() {
            cluster.start_broker(n)?;
        }
        cluster.wait_ready()?;
        Ok(cluster)
    }

    /// For clients: all brokers, through their proxies if they have any.
    pub fn brokers(&self) -> String {
        self.nodes.iter().map(|n| format!("127.0.0.1:{}", n.port())).collect::<Vec<_>>().join(",")
    }

    /// A configuration for this cluster, with topics of its own, which are made.
    pub fn fresh(&self, partitions: u32) -> KafkaConfig {
        let config = self.config(partitions);
        let plan = topics::plan(&config, &[]).expect("the brokers answer");
        topics::apply(&config, &plan).expect("topics are made");
        config
    }

    /// The same without making them.
    pub fn config(&self, partitions: u32) -> KafkaConfig {
        KafkaConfig {
            brokers: self.brokers(),
            prefix: format!("t{}-{}.", std::process::id(), unique()),
            partitions,
            replication: self.nodes.len().min(3) as u16,
            ..KafkaConfig::default()
        }
    }

    /// Removes the topics of a configuration, so that their disk and memory are free for others.
    ///
    /// # Errors
    /// What the brokers refuse.
    pub fn remove(&self, config: &KafkaConfig) -> Result<(), LogError> {
        topics::remove(config)
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn proxy(&self, n: usize) -> &Proxy {
        self.nodes[n].proxy.as_ref().expect("it was asked for")
    }

    /// The process of a broker, while it runs.
    pub fn pid(&self, n: usize) -> Option<u32> {
        self.nodes[n].child.as_ref().map(Child::id)
    }

    /// Whether the broker's process is there.
    pub fn is_running(&mut self, n: usize) -> bool {
        let child = &mut self.nodes[n].child;
        if child.as_mut().is_some_and(|c| !matches!(c.try_wait(), Ok(None))) {
            *child = None;
        }
        child.is_some()
    }

    /// SIGKILL.
    pub fn kill(&mut self, n: usize) {
        if let Some(mut child) = self.nodes[n].child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and waits until it has ended.
    pub fn stop(&mut self, n: usize) {
        self.signal(n, libc::SIGTERM);
        if let Some(mut child) = self.nodes[n].child.take() {
            let _ = child.wait();
        }
    }

    /// SIGSTOP, until [`Cluster::resume`].
    pub fn pause(&self, n: usize) {
        self.signal(n, libc::SIGSTOP);
    }

    pub fn resume(&self, n: usize) {
        self.signal(n, libc::SIGCONT);
    }

    /// Starts a broker that was stopped or killed, and does not wait for it.
    pub fn start_broker(&mut self, n: usize) -> Result<(), String> {
        let config = self.node_dir(n).join("server.properties");
        let mut command = self.java(self.config.heap);
        command.arg("kafka.Kafka").arg(config);
        let log = std::fs::File::options().create(true).append(true).open(self.log(n));
        let log = log.map_err(|e| e.to_string())?;
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(|e| e.to_string())?).stderr(log);
        let child = spawn(command);
        self.nodes[n].child =
            Some(child.map_err(|e| format!("java does not start: {e}; Kafka needs Java 17 or newer"))?);
        Ok(())
    }

    /// Waits until all brokers are in the cluster.
    pub fn wait_ready(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        let mut config = KafkaConfig { brokers: self.brokers(), ..KafkaConfig::default() }.client("ready");
        config.set("log_level", "0");
        let consumer: BaseConsumer = config.create().map_err(|e| e.to_string())?;
        loop {
            for (n, node) in self.nodes.iter_mut().enumerate() {
                let ended = node.child.as_mut().and_then(|c| c.try_wait().ok().flatten());
                if let Some(status) = ended {
                    let said = std::fs::read_to_string(self.dir.join(n.to_string()).join("log")).unwrap_or_default();
                    let tail: Vec<&str> = said.lines().rev().take(15).collect();
                    let tail: Vec<&str> = tail.into_iter().rev().collect();
                    return Err(format!("a broker ended with {status}:\n{}", tail.join("\n")));
                }
            }
            let found = consumer.fetch_metadata(None, Duration::from_secs(1)).map(|m| m.brokers().len());
            if found.is_ok_and(|n| n == self.nodes.iter().filter(|n| n.child.is_some()).count()) {
                return Ok(());
            }
            if begun.elapsed() > START {
                return Err(format!("the brokers did not start within {START:?}; see {}", self.dir.display()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn signal(&self, n: usize, signal: i32) {
        if let Some(child) = &self.nodes[n].child {
            // SAFETY: a process of ours that was not waited for yet.
            unsafe { libc::kill(child.id() as i32, signal) };
        }
    }

    fn node_dir(&self, n: usize) -> PathBuf {
        self.dir.join(n.to_string())
    }

    fn log(&self, n: usize) -> PathBuf {
        self.node_dir(n).join("log")
    }

    fn java(&self, heap: u32) -> Command {
        let mut command = Command::new("java");
        command.arg(format!("-Xmx{heap}m")).arg("-Dlog4j2.level=ERROR");
        match self.config.tuned {
            true => command.args([&format!("-Xms{heap}m"), "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]),
            // It is to be there soon, beside other things.
            false => command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]),
        };
        command.arg("-cp").arg(self.libs.join("*"));
        command
    }

    fn configure(&self, n: usize) -> Result<(), String> {
        let dir = self.node_dir(n);
        std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
        let node = &self.nodes[n];
        let [clients, brokers, controllers] = node.ports;
        let voters: Vec<_> =
            self.nodes.iter().enumerate().map(|(n, node)| format!("{}@127.0.0.1:{}", n + 1, node.ports[2])).collect();
        let copies = self.nodes.len().min(3);
        let mut text = format!(
            "process.roles=broker,controller\n\
             node.id={}\n\
             controller.quorum.voters={}\n\
             listeners=CLIENTS://127.0.0.1:{clients},BROKERS://127.0.0.1:{brokers},CONTROLLERS://127.0.0.1:{controllers}\n\
             advertised.listeners=CLIENTS://127.0.0.1:{},BROKERS://127.0.0.1:{brokers}\n\
             listener.security.protocol.map=CLIENTS:PLAINTEXT,BROKERS:PLAINTEXT,CONTROLLERS:PLAINTEXT\n\
             controller.listener.names=CONTROLLERS\n\
             inter.broker.listener.name=BROKERS\n\
             log.dirs={}\n\
             broker.session.timeout.ms=3000\n\
             broker.heartbeat.interval.ms=500\n\
             auto.create.topics.enable=false\n\
             group.initial.rebalance.delay.ms=0\n\
             offsets.topic.replication.factor={copies}\n\
             offsets.topic.num.partitions=8\n\
             transaction.state.log.replication.factor={copies}\n\
             transaction.state.log.min.isr={}\n\
             transaction.state.log.num.partitions=8\n\
             share.coordinator.state.topic.replication.factor={copies}\n\
             share.coordinator.state.topic.min.isr=1\n\
             num.network.threads=2\n\
             num.io.threads=4\n",
            n + 1,
            voters.join(","),
            node.port(),
            dir.join("data").display(),
            copies / 2 + 1,
        );
        for (name, value) in &self.config.properties {
            let _ = writeln!(text, "{name}={value}");
        }
        let file = dir.join("server.properties");
        std::fs::write(&file, text).map_err(|e| e.to_string())?;
        if dir.join("data").join("meta.properties").exists() {
            return Ok(());
        }
        let mut command = self.java(256);
        // All of one cluster are formatted with one id.
        command.args(["kafka.tools.StorageTool", "format", "--cluster-id", "b3V6ZWwtdGVzdC1jbHVzdA", "--config"]);
        let out = command.arg(&file).stdin(Stdio::null()).output();
        let out = out.map_err(|e| format!("java does not start: {e}; Kafka needs Java 17 or newer"))?;
        match out.status.success() {
            true => Ok(()),
            false => Err(format!(
                "a broker's storage could not be formatted:\n{}{}",
                String::from_utf8_lossy(&out.stdout),
                String::from_utf8_lossy(&out.stderr)
            )),
        }
    }

    /// Where the broker's records are.
    pub fn data_dir(&self, n: usize) -> PathBuf {
        self.node_dir(n).join("data")
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.nodes.len()).for_each(|n| self.kill(n));
        if self.config.dir.is_none() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

impl Node {
    fn port(&self) -> u16 {
        self.proxy.as_ref().map_or(self.ports[0], |p| p.addr().port())
    }
}

/// Starts a process that is killed when this one ends, however it ends.
///
/// # Errors
/// Why it does not start.
pub fn spawn(mut command: Command) -> Result<Child, String> {
    // SAFETY: one call, which allocates nothing, between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    // IMPORTANT: by a thread that never ends: the signal comes when the thread ends that forked.
    let (started, child) = channel();
    std::thread::Builder::new()
        .name("spawn".to_owned())
        .spawn(move || {
            let _ = started.send(command.spawn());
            loop {
                std::thread::park();
            }
        })
        .map_err(|e| e.to_string())?;
    let child = child.recv().map_err(|e| e.to_string())?;
    child.map_err(|e| e.to_string())
}

fn free_ports() -> Result<[u16; 3], String> {
    let bound: Vec<TcpListener> =
        (0..3).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let ports: Vec<u16> = bound.iter().filter_map(|l| l.local_addr().ok()).map(|a| a.port()).collect();
    ports.try_into().map_err(|_| "no free ports".to_owned())
}

/// A number that no other call in this process got.
fn unique() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
