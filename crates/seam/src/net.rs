//! Listening. Connections are served by `door` on the listener it gets from here.

use std::io;
use std::net::{SocketAddr, TcpListener};

pub trait Net: Send + Sync {
    /// A non-blocking listener.
    fn listen(&self, addr: SocketAddr) -> io::Result<TcpListener>;
}

pub struct RealNet;

impl Net for RealNet {
    #[allow(clippy::disallowed_methods)] // the one place that binds
    fn listen(&self, addr: SocketAddr) -> io::Result<TcpListener> {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}
