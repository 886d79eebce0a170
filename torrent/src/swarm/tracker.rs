//! A tracker for closed networks: announce and scrape over HTTP (BEP 3, 7, 23, 48), behind a token if wanted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;

use super::SwarmError;
use super::http::{Endpoint, Reply};
use crate::bencode::{Value, encode};
use crate::infohash::InfohashV1;

/// Peers kept of one torrent, and told to one that asks.
const MAX_PEERS: usize = 4_096;
const MAX_ANSWER: usize = 50;
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 8..=128;

/// A secret in the tracker's address, without which it answers nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct TrackerToken(String);

/// Not the secret.
impl fmt::Debug for TrackerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrackerToken(…)")
    }
}

/// A token that does not fit in an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("token: expected 8 to 128 letters, digits, - or _, got {got} characters of which {other} are others")]
pub struct TrackerTokenError {
    /// Number of characters.
    pub got: usize,
    /// Number of characters that cannot be part of one.
    pub other: usize,
}

impl FromStr for TrackerToken {
    type Err = TrackerTokenError;

    fn from_str(text: &str) -> Result<Self, TrackerTokenError> {
        let other = text.chars().filter(|c| !c.is_ascii_alphanumeric() && !"-_".contains(*c)).count();
        if other > 0 || !TOKEN_BYTES.contains(&text.len()) {
            return Err(TrackerTokenError { got: text.chars().count(), other });
        }
        Ok(Self(text.to_owned()))
    }
}

/// How a [`TrackerServer`] behaves.
#[derive(Clone, Debug)]
pub struct TrackerOptions {
    /// Where clients ask; port 0 is any free one.
    pub listen: SocketAddr,
    /// What their address must begin with: `http://host:port/<token>/announce`.
    pub token: Option<TrackerToken>,
    /// How often clients are to ask. Who did not for twice that long is forgotten.
    pub interval: Duration,
}

/// Tells peers of the torrents that it knows of each other. Ends when dropped.
pub struct TrackerServer {
    endpoint: Endpoint,
    torrents: Arc<Torrents>,
}

/// Peers of one torrent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwarmCount {
    /// Peers that have everything.
    pub complete: u64,
    /// Peers that do not.
    pub incomplete: u64,
    /// How often one finished fetching.
    pub downloaded: u64,
}

struct Torrents {
    token: Option<TrackerToken>,
    interval: Duration,
    known: Mutex<BTreeMap<InfohashV1, Peers>>,
}

#[derive(Default)]
struct Peers {
    peers: HashMap<SocketAddr, Peer>,
    downloaded: u64,
}

struct Peer {
    is_complete: bool,
    seen: Instant,
}

impl TrackerServer {
    /// Opens the port. No torrent is known yet.
    ///
    /// **Errors**: [`SwarmError::Listen`].
    pub async fn start(options: TrackerOptions) -> Result<Self, SwarmError> {
        let TrackerOptions { listen, token, interval } = options;
        let torrents = Arc::new(Torrents { token, interval, known: Mutex::default() });
        let asked = Arc::clone(&torrents);
        let endpoint = Endpoint::start(listen, move |target, from| asked.answer(target, from)).await?;
        Ok(Self { endpoint, torrents })
    }

    /// The announce address, with the token.
    pub fn url(&self) -> String {
        let listen = self.endpoint.listen_addr();
        match &self.torrents.token {
            Some(token) => format!("http://{listen}/{}/announce", token.0),
            None => format!("http://{listen}/announce"),
        }
    }

    /// Answers for a torrent from now on.
    pub fn add(&self, infohash: InfohashV1) {
        self.torrents.lock().entry(infohash).or_default();
    }

    /// Forgets a torrent and its peers.
    pub fn remove(&self, infohash: InfohashV1) {
        self.torrents.lock().remove(&infohash);
    }

    /// Peers of every known torrent.
    pub fn counts(&self) -> BTreeMap<InfohashV1, SwarmCount> {
        let mut known = self.torrents.lock();
        known.iter_mut().map(|(infohash, peers)| (*infohash, peers.count(self.torrents.interval))).collect()
    }
}

impl Peers {
    fn count(&mut self, interval: Duration) -> SwarmCount {
        self.peers.retain(|_, peer| peer.seen.elapsed() < 2 * interval);
        let complete = self.peers.values().filter(|peer| peer.is_complete).count() as u64;
        SwarmCount { complete, incomplete: self.peers.len() as u64 - complete, downloaded: self.downloaded }
    }
}

impl Torrents {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<InfohashV1, Peers>> {
        // The map is whole at any time.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer for a target such as `/announce?info_hash=…`.
    fn answer(&self, target: &str, from: IpAddr) -> Reply {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let action = match &self.token {
            Some(token) => path.strip_prefix('/').and_then(|path| path.strip_prefix(token.0.as_str())),
            None => Some(path),
        };
        match action {
            Some("/announce") => Reply::text(self.announce(query, from).unwrap_or_else(failure)),
            Some("/scrape") => Reply::text(self.scrape(query)),
            _ => Reply::NotFound,
        }
    }

    fn announce(&self, query: &str, from: IpAddr) -> Result<Vec<u8>, &'static str> {
        let request = Request::parse(query)?;
        let mut known = self.lock();
        let peers = known.get_mut(&request.infohash).ok_or("this tracker does not know the torrent")?;
        let asking = SocketAddr::new(from, request.port);
        match request.event {
            Event::Stopped => {
                peers.peers.remove(&asking);
            }
            event => {
                if event == Event::Completed {
                    peers.downloaded += 1;
                }
                if peers.peers.len() < MAX_PEERS || peers.peers.contains_key(&asking) {
                    peers.peers.insert(asking, Peer { is_complete: request.left == 0, seen: Instant::now() });
                }
            }
        }
        let count = peers.count(self.interval);
        let wanted = if request.event == Event::Stopped { 0 } else { request.wanted.min(MAX_ANSWER) };
        // Who has everything has no use for others who do.
        let useful = peers.peers.iter().filter(|(at, peer)| **at != asking && !(peer.is_complete && request.left == 0));
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (peer, _) in useful.take(wanted) {
            match peer.ip() {
                IpAddr::V4(ip) => v4.extend(ip.octets().into_iter().chain(peer.port().to_be_bytes())),
                IpAddr::V6(ip) => v6.extend(ip.octets().into_iter().chain(peer.port().to_be_bytes())),
            }
        }
        let seconds = int(self.interval.as_secs().max(1));
        let mut answer = vec![
            (&b"complete"[..], int(count.complete)),
            (b"incomplete", int(count.incomplete)),
            (b"interval", seconds.clone()),
            (b"min interval", seconds),
            (b"peers", Value::Bytes(&v4)),
        ];
        if !v6.is_empty() {
            answer.push((b"peers6", Value::Bytes(&v6)));
        }
        Ok(encode(&Value::Dict(answer.into_iter().collect())))
    }

    fn scrape(&self, query: &str) -> Vec<u8> {
        let asked: BTreeSet<InfohashV1> =
            parts(query).filter(|(key, _)| *key == "info_hash").filter_map(|(_, value)| infohash(value)).collect();
        let mut known = self.lock();
        let chosen = known.iter_mut().filter(|(infohash, _)| asked.is_empty() || asked.contains(infohash));
        let counts: Vec<(InfohashV1, SwarmCount)> =
            chosen.map(|(infohash, peers)| (*infohash, peers.count(self.interval))).collect();
        let file = |count: &SwarmCount| {
            let entries = [
                (&b"complete"[..], int(count.complete)),
                (b"downloaded", int(count.downloaded)),
                (b"incomplete", int(count.incomplete)),
            ];
            Value::Dict(entries.into_iter().collect())
        };
        let files = counts.iter().map(|(infohash, count)| (&infohash.as_bytes()[..], file(count))).collect();
        encode(&Value::Dict([(&b"files"[..], Value::Dict(files))].into_iter().collect()))
    }
}

fn int(number: u64) -> Value<'static> {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn failure(reason: &str) -> Vec<u8> {
    encode(&Value::Dict([(&b"failure reason"[..], Value::Bytes(reason.as_bytes()))].into_iter().collect()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Stopped,
    Completed,
    Other,
}

/// What a client says of itself.
#[derive(Debug)]
struct Request {
    infohash: InfohashV1,
    port: u16,
    left: u64,
    wanted: usize,
    event: Event,
}

impl Request {
    fn parse(query: &str) -> Result<Self, &'static str> {
        let all: HashMap<&str, &str> = parts(query).collect();
        let infohash = all.get("info_hash").and_then(|value| infohash(value)).ok_or("info_hash: expected 20 bytes")?;
        let port = all.get("port").and_then(|port| port.parse().ok()).filter(|port| *port != 0);
        Ok(Self {
            infohash,
            port: port.ok_or("port: expected 1 to 65535")?,
            // Who does not say has nothing.
            left: all.get("left").and_then(|left| left.parse().ok()).unwrap_or(u64::MAX),
            wanted: all.get("numwant").and_then(|wanted| wanted.parse().ok()).unwrap_or(MAX_ANSWER),
            event: match all.get("event") {
                Some(&"stopped") => Event::Stopped,
                Some(&"completed") => Event::Completed,
                _ => Event::Other,
            },
        })
    }
}

fn parts(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter_map(|part| part.split_once('='))
}

fn infohash(value: &str) -> Option<InfohashV1> {
    let bytes: Vec<u8> = percent_decode_str(value).collect();
    bytes.try_into().ok().map(InfohashV1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn torrents(token: Option<&str>) -> Torrents {
        let token = token.map(|token| token.parse().expect("a token"));
        let known = BTreeMap::from([(InfohashV1([7; 20]), Peers::default())]);
        Torrents { token, interval: Duration::from_secs(60), known: known.into() }
    }

    fn body(torrents: &Torrents, target: &str) -> Option<Vec<u8>> {
        match torrents.answer(target, HERE) {
            Reply::Body { body, .. } => Some(body),
            Reply::NotFound => None,
        }
    }

    fn ask(torrents: &Torrents, target: &str) -> String {
        String::from_utf8_lossy(&body(torrents, target).expect("an answer")).into_owned()
    }

    fn announce(port: u16, more: &str) -> String {
        format!("/announce?info_hash={}&port={port}&{more}", "%07".repeat(20))
    }

    #[test]
    fn peers_are_told_of_each_other_until_they_leave() {
        let all = torrents(None);
        let none = "5:peers0:e";
        assert!(ask(&all, &announce(1, "left=0")).ends_with(none), "nobody else is there");
        let told = torrents_answer(&all, &announce(2, "left=9&event=started"));
        assert_eq!(told, [127, 0, 0, 1, 0, 1]);
        assert!(ask(&all, &announce(3, "left=0")).contains("8:completei2e10:incompletei1e"));
        assert_eq!(torrents_answer(&all, &announce(1, "left=0")), [127, 0, 0, 1, 0, 2], "seeders want no seeders");
        let scrape = ask(&all, "/scrape");
        assert!(scrape.contains("8:completei2e10:downloadedi0e10:incompletei1e"), "{scrape}");
        ask(&all, &announce(2, "left=0&event=completed"));
        ask(&all, &announce(1, "left=0&event=stopped"));
        let scrape = ask(&all, &format!("/scrape?info_hash={}", "%07".repeat(20)));
        assert!(scrape.contains("8:completei2e10:downloadedi1e10:incompletei0e"), "{scrape}");
        assert_eq!(ask(&all, &format!("/scrape?info_hash={}", "%08".repeat(20))), "d5:filesdee");
    }

    /// The addresses in an answer.
    fn torrents_answer(torrents: &Torrents, target: &str) -> Vec<u8> {
        let body = body(torrents, target).expect("an answer");
        let at = body.windows(9).position(|window| window == b"5:peers6:").expect("one peer");
        body[at + 9..at + 15].to_vec()
    }

    #[test]
    fn without_token_or_torrent_nothing_is_told() {
        let closed = torrents(Some("secret-token"));
        let target = announce(1, "left=0");
        for wrong in [target.clone(), format!("/secret-tokem{target}"), format!("/secret-token/x{target}"), "/".into()]
        {
            assert_eq!(body(&closed, &wrong), None, "{wrong}");
        }
        assert!(body(&closed, &format!("/secret-token{target}")).is_some());
        let open = torrents(None);
        for (wrong, reason) in [
            (announce(0, ""), "port"),
            ("/announce?port=1".to_owned(), "info_hash"),
            ("/announce?port=1&info_hash=%07".to_owned(), "info_hash"),
            (format!("/announce?port=1&info_hash={}", "%08".repeat(20)), "does not know"),
        ] {
            let answer = ask(&open, &wrong);
            assert!(answer.starts_with("d14:failure reason") && answer.contains(reason), "{wrong}: {answer}");
        }
        assert_eq!("short".parse::<TrackerToken>(), Err(TrackerTokenError { got: 5, other: 0 }));
        assert_eq!("a/b/c/d/e".parse::<TrackerToken>(), Err(TrackerTokenError { got: 9, other: 4 }));
    }
}
