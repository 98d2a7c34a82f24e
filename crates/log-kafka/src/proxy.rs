//! Stands between clients and one broker, and breaks connections at the worst moment.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Requests of Kafka's protocol, by their number.
pub mod api {
    pub const PRODUCE: i16 = 0;
    pub const FETCH: i16 = 1;
    pub const ADD_PARTITIONS_TO_TXN: i16 = 24;
    pub const END_TXN: i16 = 26;
    pub const TXN_OFFSET_COMMIT: i16 = 28;
}

/// What is done to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The broker gets it, and the connection is cut before the answer.
    CutAfter,
    /// The connection is cut, and the broker does not get it.
    CutBefore,
    /// It waits for so many milliseconds.
    Delay(u64),
}

pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// What is done to the next request of a kind.
    rules: Mutex<Vec<(i16, Fault)>>,
    /// Connections are refused, and those there are cut.
    down: AtomicBool,
    done: AtomicU64,
}

impl Proxy {
    /// # Errors
    /// No port can be had.
    pub fn start(upstream: SocketAddr) -> std::io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let state = shared.clone();
        std::thread::Builder::new().name("kafka-proxy".to_owned()).spawn(move || {
            for client in listener.incoming().flatten() {
                if state.down.load(Relaxed) {
                    continue;
                }
                let state = state.clone();
                std::thread::spawn(move || {
                    let Ok(broker) = TcpStream::connect_timeout(&upstream, Duration::from_secs(2)) else { return };
                    carry(client, broker, &state);
                });
            }
        })?;
        Ok(Proxy { addr, shared })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The next request of this kind has this done to it; returns when one had, or none came for long.
    pub fn break_one(&self, api: i16, fault: Fault) {
        let before = self.broken();
        self.shared.rules.lock().unwrap_or_else(PoisonError::into_inner).push((api, fault));
        let begun = Instant::now();
        while self.broken() == before && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// How many requests had something done to them.
    pub fn broken(&self) -> u64 {
        self.shared.done.load(Relaxed)
    }

    /// No connection goes through, until it is let.
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Relaxed);
    }
}

impl Shared {
    fn fault(&self, api: i16) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let at = rules.iter().position(|(of, _)| *of == api)?;
        self.done.fetch_add(1, Relaxed);
        Some(rules.remove(at).1)
    }
}

fn carry(client: TcpStream, broker: TcpStream, shared: &Arc<Shared>) {
    let _ = client.set_nodelay(true);
    let _ = broker.set_nodelay(true);
    let both = [client.try_clone(), broker.try_clone()];
    let [Ok(mut to_client), Ok(mut from_broker)] = both else { return };
    let cut = Arc::new(AtomicBool::new(false));
    let (ended, state) = (cut.clone(), shared.clone());
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n) = from_broker.read(&mut buffer) {
            if n == 0 || ended.load(Relaxed) || state.down.load(Relaxed) || to_client.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
        let _ = from_broker.shutdown(Shutdown::Both);
    });
    let (mut from_client, mut to_broker) = (client, broker);
    let mut frame = Vec::new();
    while !shared.down.load(Relaxed) {
        let mut size = [0; 4];
        if from_client.read_exact(&mut size).is_err() {
            break;
        }
        frame.clear();
        frame.extend_from_slice(&size);
        frame.resize(4 + u32::from_be_bytes(size) as usize, 0);
        if from_client.read_exact(&mut frame[4..]).is_err() {
            break;
        }
        let fault =
            (frame.len() >= 6).then(|| i16::from_be_bytes([frame[4], frame[5]])).and_then(|api| shared.fault(api));
        match fault {
            Some(Fault::CutBefore) => break,
            Some(Fault::Delay(ms)) => std::thread::sleep(Duration::from_millis(ms)),
            Some(Fault::CutAfter) => {
                // Nothing of the answer goes back, and the broker has all of the request before the end.
                cut.store(true, Relaxed);
                let _ = to_broker.write_all(&frame);
                let _ = from_client.shutdown(Shutdown::Both);
                std::thread::sleep(Duration::from_millis(100));
                break;
            }
            None => {}
        }
        if to_broker.write_all(&frame).is_err() {
            break;
        }
    }
    let _ = from_client.shutdown(Shutdown::Both);
    let _ = to_broker.shutdown(Shutdown::Both);
}
