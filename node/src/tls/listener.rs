//! A listener for the HTTP servers: a bounded number of connections, with TLS or without.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};
use tokio_rustls::{Accept, TlsAcceptor, server::TlsStream};

use super::TlsServer;
use crate::monitor::Metrics;

/// A handshake must be done within this.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// A listener that accepts only so many connections at once; further ones wait in the kernel's queue.
pub struct Bounded {
    tcp: TcpListener,
    connections: Arc<Semaphore>,
    tls: Option<(Arc<TlsServer>, Arc<Metrics>)>,
}

impl Bounded {
    /// Takes a port that is bound, for at most `max` connections at once.
    #[must_use]
    pub fn new(tcp: TcpListener, max: usize, tls: Option<Arc<TlsServer>>, metrics: &Arc<Metrics>) -> Self {
        let tls = tls.map(|tls| (tls, Arc::clone(metrics)));
        Self { tcp, connections: Arc::new(Semaphore::new(max.max(1))), tls }
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    fn dress(&self, tcp: TcpStream) -> Stream {
        let Some((tls, metrics)) = &self.tls else { return Stream::Plain(tcp) };
        Stream::Shaking(Box::new(Handshake {
            accept: TlsAcceptor::from(tls.config()).accept(tcp),
            deadline: Box::pin(tokio::time::sleep(HANDSHAKE_WITHIN)),
            metrics: Arc::clone(metrics),
        }))
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Nobody closes the semaphore; if it were closed, there would be nothing left to serve.
        let Ok(permit) = self.connections.clone().acquire_owned().await else { return std::future::pending().await };
        loop {
            match self.tcp.accept().await {
                Ok((tcp, address)) => {
                    let _ = tcp.set_nodelay(true);
                    return (Connection { stream: self.dress(tcp), _permit: permit }, address);
                }
                Err(e) => {
                    // Out of file handles, most likely: wait until some are given back.
                    tracing::warn!(error = %e, "a server cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// A connection with its permit. The handshake is part of it, so that nobody's handshake keeps others waiting.
pub struct Connection {
    stream: Stream,
    _permit: OwnedSemaphorePermit,
}

enum Stream {
    Plain(TcpStream),
    Shaking(Box<Handshake>),
    Tls(Box<TlsStream<TcpStream>>),
    Failed,
}

struct Handshake {
    accept: Accept<TcpStream>,
    deadline: Pin<Box<Sleep>>,
    metrics: Arc<Metrics>,
}

impl Handshake {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<TlsStream<TcpStream>>> {
        let done = match Pin::new(&mut self.accept).poll(cx) {
            Poll::Ready(done) => done,
            Poll::Pending => {
                ready!(self.deadline.as_mut().poll(cx));
                Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long"))
            }
        };
        self.metrics.tls_handshake(if done.is_ok() { "ok" } else { "failed" });
        if let Err(e) = &done {
            tracing::debug!("TLS handshake failed: {e}");
        }
        Poll::Ready(done)
    }
}

impl Connection {
    /// The stream, once its handshake is done.
    fn ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut Stream>> {
        if let Stream::Shaking(handshake) = &mut self.stream {
            match ready!(handshake.poll(cx)) {
                Ok(tls) => self.stream = Stream::Tls(Box::new(tls)),
                Err(e) => {
                    self.stream = Stream::Failed;
                    return Poll::Ready(Err(e));
                }
            }
        }
        Poll::Ready(Ok(&mut self.stream))
    }
}

fn failed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the TLS handshake has failed")
}

/// Calls the same method of whichever stream it is.
macro_rules! on_stream {
    ($self:ident, $cx:ident, $method:ident $(, $argument:expr)*) => {
        match ready!($self.get_mut().ready($cx))? {
            Stream::Plain(s) => Pin::new(s).$method($cx $(, $argument)*),
            Stream::Tls(s) => Pin::new(s.as_mut()).$method($cx $(, $argument)*),
            Stream::Shaking(_) | Stream::Failed => Poll::Ready(Err(failed())),
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, cx, poll_read, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on_stream!(self, cx, poll_write, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, cx, poll_write_vectored, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(s) => s.is_write_vectored(),
            // As rustls has it.
            _ => true,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, cx, poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Of a connection without a handshake there is nothing to take leave of.
        if matches!(self.stream, Stream::Shaking(_) | Stream::Failed) {
            return Poll::Ready(Ok(()));
        }
        on_stream!(self, cx, poll_shutdown)
    }
}
