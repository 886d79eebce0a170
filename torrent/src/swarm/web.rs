//! Web seeds (BEP 19): HTTP servers that have the files, mixed with peers.
//!
//! The engine knows peers only. So each web seed is given to it as one: a peer on the loopback interface of this process
//! that has everything, and answers each request for a block with what the server says to a range request. Pieces, rate
//! limits, hashes and stalls are then the engine's business, as with any peer.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rand_core::{OsRng, RngCore};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OnceCell, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use super::SwarmError;
use super::gate::accept;
use crate::infohash::InfohashV1;
use crate::metainfo::{Metadata, WebSeed};

/// Requests to one server at a time.
const MAX_REQUESTS: usize = 8;
/// Bytes of pieces that are kept, as the engine asks for them block by block.
const MAX_KEPT_BYTES: usize = 64 << 20;
/// Longest block that peers ask for, and longest message of the engine: a bitfield.
const MAX_BLOCK: u32 = 128 << 10;
const MAX_MESSAGE: u32 = 1 << 20;
/// What a path component of an address keeps as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
const UNCHOKE: [u8; 5] = [0, 0, 0, 1, 1];
const BITFIELD: u8 = 5;
const REQUEST: u8 = 6;
const PIECE: u8 = 7;

/// A web seed as a peer. Ends when dropped.
pub(super) struct WebPeer {
    address: SocketAddr,
    task: AbortHandle,
}

/// Where a piece is on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    url: Arc<str>,
    /// In the file.
    offset: u64,
    /// Bytes of the file; the rest of the piece is padding.
    len: u32,
    /// With padding.
    piece_len: u32,
    /// Whether this is the whole file.
    is_whole: bool,
}

type Piece = Arc<OnceCell<Arc<[u8]>>>;

struct Server {
    infohash: InfohashV1,
    parts: Vec<Part>,
    client: reqwest::Client,
    requests: Semaphore,
    /// Newest last.
    kept: Mutex<(HashMap<u32, Piece>, VecDeque<u32>)>,
    max_kept: usize,
}

impl WebPeer {
    /// Opens a port of the loopback interface; the server is asked when the engine asks.
    pub(super) async fn start(
        metadata: &Metadata,
        seed: &WebSeed,
        client: reqwest::Client,
    ) -> Result<Self, SwarmError> {
        let here = (Ipv4Addr::LOCALHOST, 0).into();
        let failed = |source| SwarmError::Listen { address: here, source: Arc::new(source) };
        let listener = TcpListener::bind(here).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let server = Arc::new(Server {
            infohash: metadata.infohash_v1(),
            parts: parts(metadata, seed),
            client,
            requests: Semaphore::new(MAX_REQUESTS),
            kept: Mutex::default(),
            max_kept: (MAX_KEPT_BYTES / metadata.piece_length().bytes() as usize).max(MAX_REQUESTS),
        });
        let serving = accept(listener, move |stream| serve(Arc::clone(&server), stream));
        Ok(Self { address, task: tokio::spawn(serving).abort_handle() })
    }

    /// Where the engine finds it.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for WebPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks web servers.
pub(super) fn client(patience: Duration) -> Result<reqwest::Client, SwarmError> {
    let builder = reqwest::Client::builder().user_agent("cairn").connect_timeout(patience).read_timeout(patience);
    let built = builder.redirect(reqwest::redirect::Policy::limited(3)).build();
    built.map_err(|error| SwarmError::Engine { operation: "start an HTTP client", reason: error.to_string() })
}

/// Every piece in order: each is part of one file, as every file begins one.
fn parts(metadata: &Metadata, seed: &WebSeed) -> Vec<Part> {
    let piece = u64::from(metadata.piece_length().bytes());
    let last = metadata.files().files().iter().rposition(|file| file.len > 0);
    let mut parts = Vec::new();
    for (at, file) in metadata.files().files().iter().enumerate() {
        let components = std::iter::once(metadata.name()).chain(file.path.components().iter().map(String::as_str));
        let path: Vec<String> = components.map(|part| utf8_percent_encode(part, PATH).to_string()).collect();
        let url: Arc<str> = format!("{}{}", seed.as_str(), path.join("/")).into();
        for offset in (0..file.len).step_by(piece as usize) {
            let len = piece.min(file.len - offset);
            // Nothing follows the last byte.
            let piece_len = if Some(at) == last { len } else { piece };
            // Pieces are at most 16 MiB.
            let (len, piece_len) = (len as u32, piece_len as u32);
            let is_whole = u64::from(len) == file.len;
            parts.push(Part { url: Arc::clone(&url), offset, len, piece_len, is_whole });
        }
    }
    parts
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl Server {
    /// The bytes of a piece without padding: kept, or asked for once however many want it.
    async fn piece(&self, index: u32) -> io::Result<Arc<[u8]>> {
        let part = self.parts.get(index as usize).ok_or_else(|| invalid("no such piece"))?;
        let piece = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let (pieces, order) = &mut *kept;
            if !pieces.contains_key(&index) {
                while order.len() >= self.max_kept {
                    order.pop_front().and_then(|oldest| pieces.remove(&oldest));
                }
                order.push_back(index);
            }
            Arc::clone(pieces.entry(index).or_default())
        };
        let bytes = piece.get_or_try_init(|| async {
            let _permit = self.requests.acquire().await.map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.ask(part).await
        });
        bytes.await.cloned()
    }

    async fn ask(&self, part: &Part) -> io::Result<Arc<[u8]>> {
        let last = part.offset + u64::from(part.len) - 1;
        let request = self.client.get(&*part.url).header("Range", format!("bytes={}-{last}", part.offset));
        let mut answer = request.send().await.map_err(io::Error::other)?;
        let expected = match answer.status().as_u16() {
            206 => true,
            // Servers that know no ranges are of use for files of one piece.
            200 => part.is_whole,
            _ => false,
        };
        if !expected {
            return Err(invalid(format!("{}: status {}", part.url, answer.status())));
        }
        let mut bytes = Vec::with_capacity(part.len as usize);
        while let Some(chunk) = answer.chunk().await.map_err(io::Error::other)? {
            if bytes.len() + chunk.len() > part.len as usize {
                return Err(invalid(format!("{}: more than {} bytes", part.url, part.len)));
            }
            bytes.extend_from_slice(&chunk);
        }
        if bytes.len() != part.len as usize {
            return Err(invalid(format!("{}: expected {} bytes, got {}", part.url, part.len, bytes.len())));
        }
        Ok(bytes.into())
    }

    /// The message with a block.
    async fn block(&self, index: u32, begin: u32, len: u32) -> io::Result<Vec<u8>> {
        let piece_len = self.parts.get(index as usize).map_or(0, |part| part.piece_len);
        if len > MAX_BLOCK || begin.checked_add(len).is_none_or(|end| end > piece_len) {
            return Err(invalid("a block outside of its piece"));
        }
        let piece = self.piece(index).await?;
        let mut message = Vec::with_capacity(13 + len as usize);
        message.extend((9 + len).to_be_bytes());
        message.push(PIECE);
        message.extend(index.to_be_bytes());
        message.extend(begin.to_be_bytes());
        let (begin, end) = ((begin as usize).min(piece.len()), ((begin + len) as usize).min(piece.len()));
        message.extend(&piece[begin..end]);
        // What is behind the file is padding.
        message.resize(13 + len as usize, 0);
        Ok(message)
    }

    /// A peer's first words: it is one, of this torrent, and has everything.
    fn hello(&self) -> Vec<u8> {
        let mut id = *b"-CW0001-............";
        OsRng.fill_bytes(&mut id[8..]);
        let mut bits = vec![0xff_u8; self.parts.len().div_ceil(8)];
        if let Some(last) = bits.last_mut().filter(|_| !self.parts.len().is_multiple_of(8)) {
            *last <<= 8 - self.parts.len() % 8;
        }
        let mut hello = [&PROTOCOL[..], &[0; 8], self.infohash.as_bytes(), &id].concat();
        // At most 2^23 pieces fit in a message.
        hello.extend((bits.len() as u32 + 1).to_be_bytes());
        hello.push(BITFIELD);
        hello.extend(bits);
        hello.extend(UNCHOKE);
        hello
    }
}

/// One connection of the engine.
async fn serve(server: Arc<Server>, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (from, mut to) = stream.into_split();
    let mut from = BufReader::new(from);
    let mut handshake = [0; 68];
    from.read_exact(&mut handshake).await?;
    if handshake[..20] != PROTOCOL[..] || handshake[28..48] != server.infohash.as_bytes()[..] {
        return Err(invalid("another torrent"));
    }
    to.write_all(&server.hello()).await?;
    let (ready, mut blocks) = mpsc::channel::<io::Result<Vec<u8>>>(MAX_REQUESTS);
    let read = async {
        let mut asking = JoinSet::new();
        while let Ok(len) = from.read_u32().await {
            if len > MAX_MESSAGE {
                return Err(invalid("a message that is too long"));
            }
            let mut message = vec![0; len as usize];
            from.read_exact(&mut message).await?;
            while asking.try_join_next().is_some() {}
            // Whatever else it says changes nothing: everything is here, for whoever asks.
            let Some([REQUEST, request @ ..]) = message.first_chunk::<13>() else { continue };
            let word = |at: usize| u32::from_be_bytes([request[at], request[at + 1], request[at + 2], request[at + 3]]);
            let (index, begin, len) = (word(0), word(4), word(8));
            let (server, ready) = (Arc::clone(&server), ready.clone());
            asking.spawn(async move { ready.send(server.block(index, begin, len).await).await.ok() });
        }
        Ok::<(), io::Error>(())
    };
    let write = async {
        while let Some(block) = blocks.recv().await {
            // The engine calls again, later.
            to.write_all(&block?).await?;
        }
        Ok::<(), io::Error>(())
    };
    tokio::select! {
        ended = read => ended,
        ended = write => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, ContentPath, FileEntry, FileList, Metainfo, Options, PieceLength, Source};

    struct Zeros(FileList);

    impl Content for Zeros {
        fn open(&self, path: &ContentPath) -> io::Result<Box<dyn Source>> {
            let file = self.0.files().iter().find(|file| file.path == *path).ok_or(io::ErrorKind::NotFound)?;
            Ok(Box::new(vec![0; file.len as usize]))
        }
    }

    #[test]
    fn every_piece_is_a_range_of_one_file() {
        let file = |name: &str, len| FileEntry { path: ContentPath::new(&[name]).expect("a path"), len };
        let files = FileList::new(vec![file("a b", 40_000), file("c", 0), file("d", 16_384), file("e", 5)]);
        let (files, piece) = (files.expect("files"), PieceLength::new(16_384).expect("a length"));
        let hashes = crate::hash(&files, piece, &Zeros(files.clone()), &|_| ()).expect("zeros");
        let torrent = Metainfo::new("n#", files, piece, hashes, Options::default()).expect("a torrent");
        let seed = "http://127.0.0.1:1/x/".parse().expect("an address");
        let parts = parts(torrent.metadata(), &seed);
        assert_eq!(parts.len(), torrent.hashes().pieces().len());
        let seen: Vec<_> = parts.iter().map(|p| (&*p.url, p.offset, p.len, p.piece_len, p.is_whole)).collect();
        let at = |name: &str| format!("http://127.0.0.1:1/x/n%23/{name}");
        let (a, d, e) = (at("a%20b"), at("d"), at("e"));
        let expected = [
            (a.as_str(), 0, 16_384, 16_384, false),
            (&a, 16_384, 16_384, 16_384, false),
            (&a, 32_768, 7_232, 16_384, false),
            (&d, 0, 16_384, 16_384, true),
            (&e, 0, 5, 5, true),
        ];
        assert_eq!(seen, expected);
    }
}
