//! The accept loop: how many connections there may be, what happens when there are no more descriptors, and how it all
//! ends.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Front;
use super::answer::Reply;
use super::guard::{Guarded, Phase};
use super::limits::{CONNECTION_BUFFER, Hosts};

/// Why an address is not listened on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "listening on {0} would let others on the network send and read events: there are no keys and no TLS yet. Listen on a loopback address (127.0.0.1 or [::1]), or say `--insecure`"
)]
pub struct NotLoopback(pub SocketAddr);

/// Whether `addr` may be listened on: loopback always, another address only when asked for in so many words.
pub fn check_address(addr: SocketAddr, insecure: bool) -> Result<(), NotLoopback> {
    if insecure || addr.ip().to_canonical().is_loopback() { Ok(()) } else { Err(NotLoopback(addr)) }
}

/// Where the front line is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Open,
    /// No new connections and no new requests; what has begun is finished.
    Draining,
    /// The deadline is over: what is left is cut off.
    Over,
}

/// A listening front line. Dropping it stops nothing; call [`Server::stop`].
pub struct Server {
    addr: SocketAddr,
    stage: watch::Sender<Stage>,
    open: Arc<Open>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves `front` on a non-blocking listener (as [`seam::Net::listen`] gives it) until stopped. Must be called in a
    /// tokio runtime with its time and I/O drivers on; the connections run there.
    pub fn start(listener: std::net::TcpListener, front: Arc<Front>) -> io::Result<Server> {
        let listener = TcpListener::from_std(listener)?;
        let addr = listener.local_addr()?;
        let local_hosts = front.limits.hosts == Hosts::AsListener && addr.ip().to_canonical().is_loopback();
        front.local_hosts.store(local_hosts, Relaxed);
        let stage = front.stage.clone();
        let open = Arc::new(Open { front, places: Mutex::default(), count: watch::Sender::new(0) });
        let accepting = tokio::spawn(accept_loop(listener, Arc::clone(&open), stage.subscribe()));
        Ok(Server { addr, stage, open, accepting })
    }

    /// Where it listens; the port is the real one when 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops accepting at once, lets requests that have begun finish, and cuts off what is left after `deadline`.
    /// Gives the number of connections that were cut off.
    pub async fn stop(self, deadline: Duration) -> usize {
        self.stage.send_replace(Stage::Draining);
        let _ = self.accepting.await;
        let mut count = self.open.count.subscribe();
        let left = match tokio::time::timeout(deadline, count.wait_for(|n| *n == 0)).await {
            Ok(_) => 0,
            Err(_) => *self.open.count.borrow(),
        };
        self.stage.send_replace(Stage::Over);
        let _ = count.wait_for(|n| *n == 0).await;
        left
    }
}

/// The connections that are open.
struct Open {
    front: Arc<Front>,
    places: Mutex<Places>,
    count: watch::Sender<usize>,
}

#[derive(Default)]
struct Places {
    by_address: HashMap<IpAddr, usize>,
    total: usize,
    /// Connections that are being told that there is no place.
    refusing: usize,
}

/// A connection's place, given back when dropped.
struct Place {
    open: Arc<Open>,
    address: IpAddr,
}

enum Refusal {
    Full,
    AddressFull,
}

/// Connections that are told why they are refused, at one time; beyond, they are closed without a word.
const REFUSING_MAX: usize = 64;
/// How long such a connection may take to send its request and read the answer.
const REFUSING_TIME_MAX: Duration = Duration::from_secs(1);

impl Open {
    fn place(self: &Arc<Open>, peer: SocketAddr) -> Result<Place, Refusal> {
        let limits = &self.front.limits;
        let address = counted_as(peer.ip());
        let mut places = self.places.lock().expect("no panic holds it");
        if places.total >= limits.connections {
            return Err(Refusal::Full);
        }
        let of_address = places.by_address.entry(address).or_default();
        if *of_address >= limits.connections_per_address {
            return Err(Refusal::AddressFull);
        }
        *of_address += 1;
        places.total += 1;
        self.count.send_replace(places.total);
        drop(places);
        self.front.counters.connections_open.add(1);
        Ok(Place { open: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.open.places.lock().expect("no panic holds it");
        places.total -= 1;
        if let Some(n) = places.by_address.get_mut(&self.address) {
            *n -= 1;
            if *n == 0 {
                places.by_address.remove(&self.address);
            }
        }
        self.open.count.send_replace(places.total);
        drop(places);
        self.open.front.counters.connections_open.sub(1);
    }
}

/// A subscriber has a whole /64 of IPv6 addresses, so those count as one.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

/// Waits after the first and the last of a row of failures to accept.
const BACKOFF_FIRST: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

async fn accept_loop(listener: TcpListener, open: Arc<Open>, mut stage: watch::Receiver<Stage>) {
    let counters = Arc::clone(&open.front.counters);
    let mut backoff = BACKOFF_FIRST;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stage.wait_for(|s| *s != Stage::Open) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                backoff = BACKOFF_FIRST;
                counters.connections_total.add(1);
                match open.place(peer) {
                    Ok(place) => drop(tokio::spawn(serve(stream, peer, place, stage.clone()))),
                    Err(refusal) => {
                        counters.connections_refused.add(1);
                        refuse(&open, stream, refusal);
                    }
                }
            }
            // Without a descriptor the connection stays in the kernel's queue and `accept` would fail again at once: a
            // loop at full speed on a machine that is short of everything already.
            Err(e) if is_exhaustion(&e) => {
                if backoff == BACKOFF_FIRST {
                    tracing::warn!(error = %e, "cannot accept connections now; raise the limit of open files (ulimit -n)");
                }
                counters.accept_backoffs.add(1);
                tokio::select! {
                    _ = stage.wait_for(|s| *s != Stage::Open) => return,
                    () = tokio::time::sleep(backoff) => {}
                }
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
            // The client gave up before we got to it; the listener is fine.
            Err(e) => tracing::debug!(error = %e, "a connection was gone before it was accepted"),
        }
    }
}

fn is_exhaustion(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

async fn serve(stream: TcpStream, peer: SocketAddr, place: Place, mut stage: watch::Receiver<Stage>) {
    let front = Arc::clone(&place.open.front);
    let limits = &front.limits;
    // An answer is one small packet; Nagle's algorithm would hold it back for the one before.
    let _ = stream.set_nodelay(true);
    let phase = Arc::new(Phase::default());
    let io =
        Guarded::new(stream, Arc::clone(&phase), Arc::clone(&front.counters), limits.header_time, limits.write_stall);
    let session = Session { front: Arc::clone(&front), phase, peer: peer.ip().to_canonical() };
    let mut builder = http1::Builder::new();
    builder
        // IMPORTANT: without a timer hyper has no time limits at all, and does not say so.
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_time)
        .max_header_size(limits.header_bytes)
        .max_buf_size(CONNECTION_BUFFER);
    let connection = builder.serve_connection(io, session);
    tokio::pin!(connection);
    let mut draining = false;
    loop {
        let stop = async {
            let past = stage.wait_for(|s| if draining { *s == Stage::Over } else { *s != Stage::Open }).await;
            past.map_or(Stage::Over, |s| *s)
        };
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(e) = ended {
                    tracing::debug!(error = %e, "a connection ended early");
                }
                return;
            }
            stage = stop => {
                if stage == Stage::Over {
                    return;
                }
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// One connection's requests.
struct Session {
    front: Arc<Front>,
    phase: Arc<Phase>,
    peer: IpAddr,
}

impl Service<Request<Incoming>> for Session {
    type Response = Response<Reply>;
    type Error = std::convert::Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let front = Arc::clone(&self.front);
        let serving = self.phase.begin();
        let peer = self.peer;
        Box::pin(async move {
            let mut answer = front.handle(request, peer).await;
            front.counters.answered(answer.status().as_u16());
            answer.body_mut().serving = Some(serving);
            Ok(answer)
        })
    }
}

/// Says why there is no place, to as many as is cheap.
fn refuse(open: &Arc<Open>, mut stream: TcpStream, refusal: Refusal) {
    {
        let mut places = open.places.lock().expect("no panic holds it");
        if places.refusing >= REFUSING_MAX {
            return;
        }
        places.refusing += 1;
    }
    let open = Arc::clone(open);
    tokio::spawn(async move {
        let (status, body) = match refusal {
            Refusal::Full => (
                "503 Service Unavailable",
                "{\"code\":\"too_many_connections\",\"message\":\"all connections are taken; try again\"}\n",
            ),
            Refusal::AddressFull => (
                "429 Too Many Requests",
                "{\"code\":\"too_many_connections\",\"message\":\"all connections of this address are taken; reuse one\"}\n",
            ),
        };
        open.front.counters.answered(if matches!(refusal, Refusal::Full) { 503 } else { 429 });
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let said = async {
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
            // Closing on bytes nobody read resets the connection, and the answer with it.
            let mut unread = [0; 4096];
            while stream.read(&mut unread).await? > 0 {}
            io::Result::Ok(())
        };
        let _ = tokio::time::timeout(REFUSING_TIME_MAX, said).await;
        open.places.lock().expect("no panic holds it").refusing -= 1;
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_listened_on_unless_asked_for() {
        for (addr, ok) in [
            ("127.0.0.1:7070", true),
            ("127.8.8.8:1", true),
            ("[::1]:7070", true),
            ("[::ffff:127.0.0.1]:7070", true),
            ("0.0.0.0:7070", false),
            ("[::]:7070", false),
            ("192.168.1.5:7070", false),
        ] {
            let addr: SocketAddr = addr.parse().expect("an address");
            assert_eq!(check_address(addr, false).is_ok(), ok, "{addr}");
            assert!(check_address(addr, true).is_ok());
        }
        let message = check_address("0.0.0.0:7070".parse().expect("an address"), false).expect_err("refused");
        assert!(message.to_string().contains("`--insecure`"));
    }

    #[test]
    fn a_whole_ipv6_network_counts_as_one_address() {
        let a: IpAddr = "2001:db8:1:2:3:4:5:6".parse().expect("an address");
        let b: IpAddr = "2001:db8:1:2:ffff::1".parse().expect("an address");
        let c: IpAddr = "2001:db8:1:3::1".parse().expect("an address");
        assert_eq!(counted_as(a), counted_as(b));
        assert_ne!(counted_as(a), counted_as(c));
        assert_eq!(counted_as("::ffff:10.0.0.1".parse().expect("an address")).to_string(), "10.0.0.1");
    }
}
