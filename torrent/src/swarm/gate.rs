//! Keeps peer exchange out.
//!
//! The engine takes and gives addresses of peers (BEP 11) in every torrent that is not private, and has no switch for it.
//! Unless it is wanted, every connection goes through this gate: calls from outside come to it, and the engine's calls go
//! through it as a SOCKS5 proxy (RFC 1928, 1929) that only this process has the password of. It takes the offer of peer
//! exchange out of both sides' extended handshakes (BEP 10), and drops such messages should one come all the same.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rand_core::{OsRng, RngCore};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::task::{AbortHandle, JoinSet};

use super::SwarmError;

/// Connections at a time; further ones wait.
const MAX_CONNECTIONS: usize = 1024;
/// Longest message of a peer: a bitfield of 2²³ pieces, far above any block.
const MAX_MESSAGE: u32 = 1 << 20;
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
const HANDSHAKE_BYTES: usize = 68;
/// BEP 10: messages of extensions, and of these the handshake.
const EXTENDED: u8 = 20;
const EXTENDED_HANDSHAKE: u8 = 0;
/// How the offer begins; its number follows.
const OFFER: &[u8] = b"6:ut_pexi";
const USER: &str = "cairn";

/// The two ways through.
pub(super) struct Gate {
    listen: Option<SocketAddr>,
    listener: std::sync::Mutex<Option<TcpListener>>,
    proxy: SocketAddr,
    password: String,
    tasks: std::sync::Mutex<Vec<AbortHandle>>,
}

impl Gate {
    /// Opens the port, and the proxy for the engine. Calls wait until [`Gate::open`].
    pub(super) async fn bind(listen: Option<SocketAddr>, patience: Duration) -> Result<Self, SwarmError> {
        let bind = async |address| {
            let listener = TcpListener::bind(address).await;
            let bound = listener.and_then(|listener| Ok((listener.local_addr()?, listener)));
            bound.map_err(|source| SwarmError::Listen { address, source: Arc::new(source) })
        };
        let (listen, listener) = match listen {
            Some(address) => Some(bind(address).await?).unzip(),
            None => (None, None),
        };
        let (proxy, calls) = bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
        let mut secret = [0; 16];
        OsRng.fill_bytes(&mut secret);
        let password: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected: Arc<str> = password.as_str().into();
        let accept = accept(calls, move |mut engine| {
            let expected = Arc::clone(&expected);
            async move {
                let peer = tokio::time::timeout(patience, answer(&mut engine, &expected)).await;
                relay(peer.map_err(|_| io::ErrorKind::TimedOut)??, engine).await
            }
        });
        let tasks = vec![tokio::spawn(accept).abort_handle()];
        Ok(Self { listen, listener: listener.into(), proxy, password, tasks: tasks.into() })
    }

    /// Where peers call.
    pub(super) fn listen(&self) -> Option<SocketAddr> {
        self.listen
    }

    /// The engine's way out.
    pub(super) fn proxy(&self) -> String {
        format!("socks5://{USER}:{}@{}", self.password, self.proxy)
    }

    /// Lets calls through to the engine at `engine`.
    pub(super) fn open(&self, engine: SocketAddr) {
        let Ok(mut listener) = self.listener.lock() else { return };
        let Some(listener) = listener.take() else { return };
        let accept = accept(listener, move |peer| async move { relay(peer, TcpStream::connect(engine).await?).await });
        if let Ok(mut tasks) = self.tasks.lock() {
            tasks.push(tokio::spawn(accept).abort_handle());
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Ok(tasks) = self.tasks.get_mut() {
            tasks.iter().for_each(AbortHandle::abort);
        }
    }
}

/// Serves every call; all end with the returned future.
pub(super) async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut calls = JoinSet::new();
    loop {
        // Calls that ended are taken out; why one ended does not matter to the others.
        while calls.len() >= MAX_CONNECTIONS {
            calls.join_next().await;
        }
        while calls.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                calls.spawn(serve(stream));
            }
            // Too many open files, for one: it may pass.
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

fn refused(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Answers a call of the engine to its proxy, and connects where it wants.
async fn answer(engine: &mut TcpStream, password: &str) -> io::Result<TcpStream> {
    let mut head = [0; 2];
    engine.read_exact(&mut head).await?;
    let mut methods = vec![0; usize::from(head[1])];
    engine.read_exact(&mut methods).await?;
    if head[0] != 5 || !methods.contains(&2) {
        engine.write_all(&[5, 0xff]).await?;
        return Err(refused("no password was offered"));
    }
    engine.write_all(&[5, 2]).await?;
    engine.read_exact(&mut head).await?;
    let mut user = vec![0; usize::from(head[1])];
    engine.read_exact(&mut user).await?;
    let mut given = vec![0; usize::from(engine.read_u8().await?)];
    engine.read_exact(&mut given).await?;
    if user != USER.as_bytes() || given != password.as_bytes() {
        engine.write_all(&[1, 1]).await?;
        return Err(refused("another password"));
    }
    engine.write_all(&[1, 0]).await?;
    let mut request = [0; 4];
    engine.read_exact(&mut request).await?;
    let host = match request {
        [5, 1, _, 1] => IpAddr::from(Ipv4Addr::from(engine.read_u32().await?)).to_string(),
        [5, 1, _, 4] => IpAddr::from(Ipv6Addr::from(engine.read_u128().await?)).to_string(),
        [5, 1, _, 3] => {
            let mut name = vec![0; usize::from(engine.read_u8().await?)];
            engine.read_exact(&mut name).await?;
            String::from_utf8(name).map_err(|_| refused("a name that is not UTF-8"))?
        }
        _ => return Err(refused("another request than to connect")),
    };
    let port = engine.read_u16().await?;
    let connected = async {
        let addresses: Vec<SocketAddr> = lookup_host((host.as_str(), port)).await?.collect();
        TcpStream::connect(addresses.as_slice()).await
    };
    match connected.await {
        Ok(peer) => {
            engine.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
            Ok(peer)
        }
        Err(error) => {
            engine.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
            Err(error)
        }
    }
}

/// Joins two connections until one of them ends.
async fn relay(peer: TcpStream, engine: TcpStream) -> io::Result<()> {
    peer.set_nodelay(true)?;
    engine.set_nodelay(true)?;
    let ((peer_in, peer_out), (engine_in, engine_out)) = (peer.into_split(), engine.into_split());
    let (of_peer, of_engine) = (Offered::default(), Offered::default());
    tokio::select! {
        ended = filter(peer_in, engine_out, &of_peer, &of_engine) => ended,
        ended = filter(engine_in, peer_out, &of_engine, &of_peer) => ended,
    }
}

/// The number by which a side would have taken peer exchange; none until it offered it.
struct Offered(AtomicU16);

impl Default for Offered {
    fn default() -> Self {
        Self(AtomicU16::new(u16::MAX))
    }
}

/// Passes on what comes from one side, without peer exchange. What is no BitTorrent (a tracker's answer) passes as it is.
async fn filter(from: OwnedReadHalf, to: OwnedWriteHalf, of_from: &Offered, of_to: &Offered) -> io::Result<()> {
    let (mut from, mut to) = (BufReader::with_capacity(64 << 10, from), BufWriter::with_capacity(64 << 10, to));
    let mut handshake = [0; HANDSHAKE_BYTES];
    let mut got = 0;
    while got < HANDSHAKE_BYTES {
        let read = from.read(&mut handshake[got..]).await?;
        to.write_all(&handshake[got..got + read]).await?;
        to.flush().await?;
        got += read;
        let compared = got.min(PROTOCOL.len());
        if read == 0 || handshake[..compared] != PROTOCOL[..compared] {
            tokio::io::copy_buf(&mut from, &mut to).await?;
            return to.shutdown().await;
        }
    }
    loop {
        if from.fill_buf().await?.is_empty() {
            return to.shutdown().await;
        }
        let len = from.read_u32().await?;
        if len > MAX_MESSAGE {
            return Err(refused("a message that is too long"));
        }
        let id = if len == 0 { None } else { Some(from.read_u8().await?) };
        if id == Some(EXTENDED) {
            let mut body = vec![0; len as usize - 1];
            from.read_exact(&mut body).await?;
            if !extended(&mut body, of_from, of_to) {
                continue;
            }
            // Not longer than it was.
            to.write_u32(body.len() as u32 + 1).await?;
            to.write_u8(EXTENDED).await?;
            to.write_all(&body).await?;
        } else {
            to.write_u32(len).await?;
            if let Some(id) = id {
                to.write_u8(id).await?;
                let rest = u64::from(len) - 1;
                if tokio::io::copy_buf(&mut (&mut from).take(rest), &mut to).await? != rest {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        // What came together goes on together.
        if from.buffer().is_empty() {
            to.flush().await?;
        }
    }
}

/// Takes the offer out of a handshake. Whether the message goes on: not if it is what the other side's offer asked for.
fn extended(body: &mut Vec<u8>, of_from: &Offered, of_to: &Offered) -> bool {
    let Some(kind) = body.first().copied() else { return true };
    if kind != EXTENDED_HANDSHAKE {
        return u16::from(kind) != of_to.0.load(Ordering::Relaxed);
    }
    while let Some(at) = body.windows(OFFER.len()).position(|window| window == OFFER) {
        let digits = body[at + OFFER.len()..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, end) = (at + OFFER.len(), at + OFFER.len() + digits);
        let number = std::str::from_utf8(&body[number..end]).ok().and_then(|text| text.parse::<u8>().ok());
        if let Some(number) = number.filter(|number| *number != EXTENDED_HANDSHAKE) {
            of_from.0.store(u16::from(number), Ordering::Relaxed);
        }
        let end = if body.get(end) == Some(&b'e') { end + 1 } else { end };
        body.drain(at..end);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Vec<u8> {
        [&[EXTENDED_HANDSHAKE], text.as_bytes()].concat()
    }

    #[test]
    fn the_offer_is_taken_out_and_what_it_asks_for_is_dropped() {
        let (of_from, of_to) = (Offered::default(), Offered::default());
        let mut handshake = body("d1:md11:ut_metadatai3e6:ut_pexi17ee1:v5:cairne");
        assert!(extended(&mut handshake, &of_from, &of_to));
        assert_eq!(handshake, body("d1:md11:ut_metadatai3ee1:v5:cairne"));
        // The other side sends by the number that it was offered.
        assert!(!extended(&mut vec![17, b'd', b'e'], &of_to, &of_from));
        assert!(extended(&mut vec![3, b'd', b'e'], &of_to, &of_from));
        assert!(extended(&mut vec![17, b'd', b'e'], &of_from, &of_to));
    }

    #[test]
    fn nonsense_passes_or_goes_but_does_not_panic() {
        let (of_from, of_to) = (Offered::default(), Offered::default());
        for text in ["", "d", "6:ut_pexi", "6:ut_pexi9", "6:ut_pexi999999999999e", "6:ut_pexie6:ut_pexi1e", "i-1e"] {
            let mut handshake = body(text);
            assert!(extended(&mut handshake, &of_from, &of_to));
            assert!(!handshake.windows(OFFER.len()).any(|window| window == OFFER), "{text}");
        }
        assert!(extended(&mut Vec::new(), &of_from, &of_to));
    }
}
