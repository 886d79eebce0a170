//! Just enough of HTTP to answer trackers' clients and monitors: one GET, one answer, and the connection ends.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::SwarmError;
use super::gate::accept;

/// Longest request, and how long it may take.
const MAX_REQUEST_BYTES: usize = 8 << 10;
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// What a request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// 200.
    Body {
        /// Media type.
        kind: &'static str,
        /// What is sent.
        body: Vec<u8>,
    },
    /// 404.
    NotFound,
}

impl Reply {
    /// Plain text.
    pub fn text(body: impl Into<Vec<u8>>) -> Self {
        Self::Body { kind: "text/plain", body: body.into() }
    }
}

/// A port that answers GET requests. Closed when dropped.
pub struct Endpoint {
    listen: SocketAddr,
    task: AbortHandle,
}

impl Endpoint {
    /// Opens the port; `answer` is given the target of each request (`/path?query`) and the address that asks.
    ///
    /// **Errors**: [`SwarmError::Listen`].
    pub async fn start(
        address: SocketAddr,
        answer: impl Fn(&str, IpAddr) -> Reply + Send + Sync + 'static,
    ) -> Result<Self, SwarmError> {
        let failed = |source| SwarmError::Listen { address, source: Arc::new(source) };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let listen = listener.local_addr().map_err(failed)?;
        let answer = Arc::new(answer);
        let serving = accept(listener, move |stream| {
            let answer = Arc::clone(&answer);
            async move { serve(stream, &*answer).await }
        });
        Ok(Self { listen, task: tokio::spawn(serving).abort_handle() })
    }

    /// Where it is.
    pub fn listen_addr(&self) -> SocketAddr {
        self.listen
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, answer: &(dyn Fn(&str, IpAddr) -> Reply + Send + Sync)) -> io::Result<()> {
    let from = stream.peer_addr()?.ip().to_canonical();
    let mut request = Vec::new();
    let read = async {
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            if request.len() >= MAX_REQUEST_BYTES || stream.read_buf(&mut request).await? == 0 {
                return Ok(false);
            }
        }
        Ok::<_, io::Error>(true)
    };
    let is_whole = tokio::time::timeout(REQUEST_TIME, read).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let line = request.split(|byte| *byte == b'\r').next().and_then(|line| std::str::from_utf8(line).ok());
    let mut words = line.unwrap_or_default().split(' ');
    let (status, kind, body) = match (is_whole, words.next(), words.next()) {
        (true, Some("GET"), Some(target)) => match answer(target, from) {
            Reply::Body { kind, body } => ("200 OK", kind, body),
            Reply::NotFound => ("404 Not Found", "text/plain", Vec::new()),
        },
        _ => ("400 Bad Request", "text/plain", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.shutdown().await
}
