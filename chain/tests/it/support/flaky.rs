//! A relay between client and node that loses requests or answers, as networks do.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What is lost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The request: the node never sees it.
    Request,
    /// The answer: the node acted, and nobody is told.
    Answer,
}

/// Relays to `url`; the first `times` requests that contain `method` suffer the loss. Returns the relay's address and
/// the number of requests with that method that reached the relay.
pub async fn relay(url: &str, method: &'static str, loss: Loss, times: usize) -> (String, Arc<AtomicUsize>) {
    let node = url.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound above");
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (node, counter) = (node.clone(), counter.clone());
            // A lost connection is what is being tested.
            tokio::spawn(async move { serve(client, &node, method, loss, times, &counter).await.ok() });
        }
    });
    (format!("http://{address}"), seen)
}

async fn serve(
    mut client: TcpStream,
    node: &str,
    method: &str,
    loss: Loss,
    times: usize,
    seen: &AtomicUsize,
) -> std::io::Result<()> {
    loop {
        let request = message(&mut client).await?;
        let hit = String::from_utf8_lossy(&request).contains(method) && seen.fetch_add(1, Ordering::SeqCst) < times;
        if hit && loss == Loss::Request {
            return Ok(());
        }
        let mut upstream = TcpStream::connect(node).await?;
        upstream.write_all(&request).await?;
        let answer = message(&mut upstream).await?;
        if hit {
            return Ok(());
        }
        client.write_all(&answer).await?;
    }
}

/// One HTTP message with a `content-length`.
async fn message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..n]);
        let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|value| value.trim().parse::<usize>().ok())
            .unwrap_or(0);
        if bytes.len() >= head + 4 + length {
            return Ok(bytes);
        }
    }
}
