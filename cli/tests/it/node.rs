//! A node that answers what a test wants: nothing, nonsense, or another node's answers with something changed.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;

/// What a request gets.
pub enum Reply {
    /// This body, as JSON.
    Body(Vec<u8>),
    /// The connection stays open and nothing comes.
    Silence,
}

/// Starts a node with these answers; it ends with the process. Returns its address.
pub fn node(answer: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound above");
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let answer = answer.clone();
            // A client that goes away is what is being tested.
            std::thread::spawn(move || serve(client, &*answer).ok());
        }
    });
    format!("http://{address}")
}

/// The answer of the node at `url` to a request.
pub fn forward(url: &str, request: &Value) -> Value {
    let host = url.trim_start_matches("http://");
    let body = serde_json::to_vec(request).expect("JSON");
    let mut node = TcpStream::connect(host).expect("the node listens");
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    node.write_all(&[head.as_bytes(), &body].concat()).expect("the node reads");
    let (_, body) = message(&mut node).expect("the node answers");
    serde_json::from_slice(&body).expect("JSON")
}

/// A node that changes the answers of the one at `url`.
pub fn liar(url: &str, lie: impl Fn(&Value, &mut Value) + Send + Sync + 'static) -> String {
    let url = url.to_owned();
    node(move |request| {
        let mut answer = forward(&url, request);
        lie(request, &mut answer);
        Reply::Body(serde_json::to_vec(&answer).expect("JSON"))
    })
}

fn serve(mut client: TcpStream, answer: &dyn Fn(&Value) -> Reply) -> std::io::Result<()> {
    loop {
        let (_, body) = message(&mut client)?;
        match answer(&serde_json::from_slice(&body)?) {
            Reply::Body(body) => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                client.write_all(&[head.as_bytes(), &body].concat())?;
            }
            Reply::Silence => loop {
                std::thread::sleep(Duration::from_secs(1));
            },
        }
    }
}

/// Head and body of one HTTP message with a `content-length`.
fn message(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..n]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|value| value.trim().parse::<usize>().ok()).unwrap_or(0);
        if bytes.len() >= end + 4 + length {
            return Ok((head, bytes[end + 4..end + 4 + length].to_vec()));
        }
    }
}
