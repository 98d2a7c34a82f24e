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
    pub const JOIN_GROUP: i16 = 11;
    pub const INIT_PRODUCER_ID: i16 = 22;
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
    /// Requests of a kind by clients with this in their id are held until then.
    held: Mutex<Option<(i16, String, Instant)>>,
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

    /// For so long, all requests of this kind wait that come from clients with this in their id.
    pub fn hold(&self, api: i16, client: &str, time: Duration) {
        let held = (api, client.to_owned(), Instant::now() + time);
        *self.shared.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
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

    /// Whether it waited at all.
    fn wait_while_held(&self, request: &[u8]) -> bool {
        for waited in 0.. {
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            // After the size: kind, version, number, and the client's id with its length.
            let is_held = held.as_ref().is_some_and(|(api, client, until)| {
                Instant::now() < *until
                    && request.get(4..6).is_some_and(|kind| kind == api.to_be_bytes())
                    && request.get(12..).is_some_and(|rest| rest.windows(client.len()).any(|w| w == client.as_bytes()))
            });
            drop(held);
            if !is_held {
                return waited > 0;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        unreachable!("nothing is held for that long")
    }
}

/// Whether it has hung up: nobody waits for an answer any more.
fn is_gone(client: &TcpStream) -> bool {
    let _ = client.set_nonblocking(true);
    let gone = matches!(client.peek(&mut [0]), Ok(0));
    let _ = client.set_nonblocking(false);
    gone
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
        if shared.wait_while_held(&frame) && is_gone(&from_client) {
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
