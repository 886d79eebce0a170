//! A service in a process of its own, and the smallest client that can also misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::support::{Scratch, process_in};

/// The usual writer.
pub const WRITER: &str = "writer-of-a-test";

/// A tensor frame that is being put together.
#[derive(Default)]
pub struct Frame {
    header: Map<String, Value>,
    metadata: Map<String, Value>,
    data: Vec<u8>,
}

impl Frame {
    fn tensor(mut self, name: &str, dtype: &str, shape: &[usize], bytes: impl IntoIterator<Item = u8>) -> Self {
        let start = self.data.len();
        self.data.extend(bytes);
        let offsets = [start, self.data.len()];
        self.header.insert(name.to_owned(), json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }));
        self
    }

    pub fn i32(self, name: &str, shape: &[usize], values: &[i32]) -> Self {
        self.tensor(name, "I32", shape, values.iter().flat_map(|x| x.to_le_bytes()))
    }

    pub fn f64(self, name: &str, shape: &[usize], values: &[f64]) -> Self {
        self.tensor(name, "F64", shape, values.iter().flat_map(|x| x.to_le_bytes()))
    }

    pub fn text(mut self, key: &str, text: &str) -> Self {
        self.metadata.insert(key.to_owned(), text.into());
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut header = self.header.clone();
        header.insert("__metadata__".to_owned(), self.metadata.clone().into());
        let header = Value::Object(header).to_string();
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &self.data].concat()
    }
}

/// What the service answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| {
            panic!("no answer: {:?}", String::from_utf8_lossy(bytes));
        });
        let headers = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = headers.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}, {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// The JSON of an answer that is not a refusal.
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}, {}", self.text());
        self.json()
    }

    /// The word for programs; empty if it is no refusal.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The code of a refusal with this status.
    pub fn refused(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}, {}", self.text());
        self.code()
    }
}

/// Who asks.
pub struct Caller {
    address: String,
    token: Option<String>,
    writer: String,
}

impl Caller {
    /// Somebody who shows no token.
    pub fn anonymous(address: &str) -> Self {
        Self { address: address.to_owned(), token: None, writer: WRITER.to_owned() }
    }

    fn connect(&self, method: &str, path: &str, len: usize) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("the service listens");
        stream.set_read_timeout(Some(Duration::from_secs(300))).expect("a socket");
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: cairn\r\nConnection: close\r\nContent-Length: {len}\r\n");
        if let Some(token) = &self.token {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        head += &format!("Cairn-Writer: {}\r\n\r\n", self.writer);
        stream.write_all(head.as_bytes()).expect("the service reads");
        stream
    }

    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect(method, path, body.len());
        // A service that has refused may close before it read everything; its answer counts.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Answer::parse(&answer)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, b"")
    }

    pub fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.request("POST", path, body)
    }

    pub fn put(&self, path: &str, body: &[u8]) -> Answer {
        self.request("PUT", path, body)
    }

    /// Sends only the first `n` bytes of the body and closes; returns whatever came back.
    pub fn break_off(&self, method: &str, path: &str, body: &[u8], n: usize) -> String {
        let mut stream = self.connect(method, path, body.len());
        stream.write_all(&body[..n]).expect("the service reads");
        stream.shutdown(Shutdown::Write).expect("a socket");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The events of a run, until the service stops.
    pub fn events(&self, run: &str) -> impl Iterator<Item = (String, Value)> + use<> {
        let stream = self.connect("GET", &format!("/v1/runs/{run}/events"), 0);
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let mut name = String::new();
        std::iter::from_fn(move || {
            loop {
                let line = lines.next()?;
                if let Some(event) = line.strip_prefix("event: ") {
                    name = event.to_owned();
                } else if let Some(data) = line.strip_prefix("data: ") {
                    return Some((name.clone(), serde_json::from_str(data).expect("JSON")));
                }
            }
        })
    }
}

/// A running service. It is killed when it is dropped.
pub struct Service {
    child: Child,
    caller: Caller,
}

impl std::ops::Deref for Service {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl Service {
    /// Starts a service for the runs in `scratch`, at a free port; another one may have been there before.
    pub fn start(scratch: &Scratch, more: &[&str]) -> Self {
        let (artifacts, token_file) = (scratch.path("artifacts"), scratch.path("token"));
        let mut args =
            vec!["prover", "serve", "--listen", "127.0.0.1:0", "--artifacts", &artifacts, "--token-file", &token_file];
        args.extend(more);
        let mut command = process_in(&scratch.home(), &args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("cairn starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("the service says where it listens");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let address = said["listen"].as_str().and_then(|url| url.strip_prefix("http://")).expect("an address");
        let token = std::fs::read_to_string(&token_file).expect("a token");
        let caller = Caller { address: address.to_owned(), token: Some(token), writer: WRITER.to_owned() };
        Self { child, caller }
    }

    fn caller(&self, token: Option<&str>, writer: &str) -> Caller {
        let address = self.caller.address.clone();
        Caller { address, token: token.map(str::to_owned), writer: writer.to_owned() }
    }

    /// The same service, asked by another writer.
    pub fn as_writer(&self, writer: &str) -> Caller {
        self.caller(self.caller.token.as_deref(), writer)
    }

    /// The same service, asked with another token.
    pub fn with_token(&self, token: &str) -> Caller {
        self.caller(Some(token), WRITER)
    }

    /// A request without token.
    pub fn anonymous(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.caller(None, WRITER).request(method, path, body)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process");
        self.child.wait().expect("a process");
    }

    /// SIGTERM; the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
        self.child.wait().expect("a process").code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
