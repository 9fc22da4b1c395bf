//! A client's socket: what it opens with, and the times that hyper does not watch over.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{self, Instant, Sleep},
};

use super::Activity;
use crate::limits;

/// How a client over HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client opens with, and the bytes read until then.
pub(super) enum Opening {
    Closed,
    Http1(Vec<u8>),
    Http2(Vec<u8>),
}

/// Reads until the protocol is known.
pub(super) async fn open(stream: &TcpStream) -> io::Result<Opening> {
    let mut bytes = [0; PREFACE.len()];
    let mut filled = 0;
    loop {
        stream.readable().await?;
        match stream.try_read(&mut bytes[filled..]) {
            Ok(0) if filled == 0 => return Ok(Opening::Closed),
            Ok(0) => return Ok(Opening::Http1(bytes[..filled].to_vec())),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if bytes[..filled] != PREFACE[..filled] {
            return Ok(Opening::Http1(bytes[..filled].to_vec()));
        }
        if filled == PREFACE.len() {
            return Ok(Opening::Http2(bytes.to_vec()));
        }
    }
}

/// A head that has begun to come.
#[derive(Debug)]
struct Head {
    since: Instant,
    /// How many requests had begun on the connection by then; if there are more now, this head has become one of them.
    begun: usize,
    /// Made only if the head does not come at once.
    timeout: Option<Pin<Box<Sleep>>>,
}

/// A client's socket. A read fails if a head does not come in time, a write if the client takes nothing for too long.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    /// Read while the protocol was unknown, in reverse.
    read: Vec<u8>,
    activity: Arc<Activity>,
    head_timeout: bool,
    head: Option<Head>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, mut read: Vec<u8>, activity: &Arc<Activity>) -> Self {
        read.reverse();
        let activity = Arc::clone(activity);
        Self { stream, read, activity, head_timeout: false, head: None, stalled: None }
    }

    /// From a head's first byte to its last, no more than the limit may pass.
    pub(super) fn with_head_timeout(self) -> Self {
        Self { head_timeout: true, ..self }
    }

    /// Bytes have come, or none.
    fn watch_head(&mut self, context: &mut Context<'_>, read: bool) -> io::Result<()> {
        if !self.head_timeout {
            return Ok(());
        }
        let begun = self.activity.begun();
        if self.activity.busy() || self.head.as_ref().is_some_and(|head| head.begun != begun) {
            self.head = None;
        }
        if read && !self.activity.busy() {
            self.head.get_or_insert_with(|| Head { since: Instant::now(), begun, timeout: None });
        }
        let Some(head) = self.head.as_mut().filter(|_| !read) else { return Ok(()) };
        let deadline = head.since + limits::HEAD_TIMEOUT;
        let timeout = head.timeout.get_or_insert_with(|| Box::pin(time::sleep_until(deadline)));
        if timeout.as_mut().poll(context).is_ready() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    /// A write has been taken, or not.
    fn watch_write<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stall: Duration = self.activity.write_stall();
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(time::sleep(stall)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.read.is_empty() {
            while buffer.remaining() > 0
                && let Some(byte) = self.read.pop()
            {
                buffer.put_slice(&[byte]);
            }
            self.watch_head(context, true)?;
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len() > before;
        if read || result.is_pending() {
            self.watch_head(context, read)?;
        }
        result
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch_write(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watch_write(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    async fn pair(read: &[u8]) -> (TcpStream, Socket, Arc<Activity>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let activity = Arc::new(Activity::default());
        let socket = Socket::new(listener.accept().await.unwrap().0, read.to_vec(), &activity);
        (client, socket.with_head_timeout(), activity)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_is_not_waited_for() {
        let (mut client, mut socket, _) = pair(b"GE").await;
        let (start, mut buffer) = (Instant::now(), [0; 100]);
        assert_eq!(socket.read(&mut buffer).await.unwrap(), 2);
        client.write_all(b"T / HT").await.unwrap();
        assert_eq!(socket.read(&mut buffer).await.unwrap(), 6);
        assert_eq!(socket.read(&mut buffer).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), limits::HEAD_TIMEOUT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn between_two_requests_there_is_more_time() {
        let (_client, mut socket, activity) = pair(b"GET / HTTP/1.1\r\n\r\n").await;
        let mut buffer = [0; 100];
        assert_eq!(socket.read(&mut buffer).await.unwrap(), 18);
        drop(activity.begin());
        let idle = time::timeout(2 * limits::HEAD_TIMEOUT, socket.read(&mut buffer));
        assert!(idle.await.is_err());
    }
}
