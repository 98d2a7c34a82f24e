//! A connection to a host: TCP, and TLS in it.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::resolver::{self, Reach};
use super::tls::{self, Tls};
use super::{Failure, Kind};

pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A host, and how it is reached.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) reach: Reach,
    pub(super) tls: Option<Tls>,
    /// From the name to a connection that can be written to.
    pub(super) connect_timeout: Duration,
}

impl Host {
    /// A connection; whatever a protocol says first goes within the same time, see [`Host::in_time`].
    pub(super) async fn connect(&self) -> Result<Box<dyn Duplex>, Failure> {
        let tcp = self.connect_tcp().await?;
        Ok(match &self.tls {
            None => Box::new(tcp),
            Some(tls) => {
                let connecting = tls.connector.connect(tls.name.clone(), tcp);
                Box::new(connecting.await.map_err(|e| tls::failure(&e))?)
            }
        })
    }

    /// Addresses are tried in the order in which the resolver gives them.
    pub(super) async fn connect_tcp(&self) -> Result<TcpStream, Failure> {
        let mut why = None;
        for address in resolver::resolve(&self.name, self.port, self.reach).await? {
            match TcpStream::connect(address).await {
                Ok(tcp) => {
                    // Without it a small request may wait for an answer to the one before. Its failure costs only that.
                    let _ = tcp.set_nodelay(true);
                    return Ok(tcp);
                }
                Err(e) => why = Some(e.kind()),
            }
        }
        let why = why.map_or_else(String::new, |kind| format!(": {kind}"));
        Err(Failure::new(Kind::Connection, format!("{} cannot be reached at port {}{why}", self.name, self.port)))
    }

    /// Bounds what makes a connection.
    pub(super) async fn in_time<T>(&self, connecting: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let late = |_| {
            let message = format!("no connection to {} within {:?}", self.name, self.connect_timeout);
            Err(Failure::new(Kind::Timeout, message))
        };
        tokio::time::timeout(self.connect_timeout, connecting).await.unwrap_or_else(late)
    }
}
