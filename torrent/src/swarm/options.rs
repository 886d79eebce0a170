//! How a swarm is joined: what is said to whom, and how fast.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use crate::piece::BLOCK_BYTES;

/// A way of finding peers, or sources, that the user did not name. Each tells others which runs this machine has or wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Discovery {
    /// The distributed hash table (BEP 5).
    Dht,
    /// The trackers that the torrent names.
    Trackers,
    /// Peers tell each other of peers (BEP 11).
    PeerExchange,
    /// Multicast in the local network (BEP 14).
    LocalNetwork,
    /// The HTTP servers that the torrent names (BEP 19), to fetch from.
    WebSeeds,
}

impl Discovery {
    /// What others learn once it is switched on.
    pub fn leaks(self) -> &'static str {
        match self {
            Self::Dht => {
                "dht: nodes anywhere, and whoever watches the table, learn this address, the port, and which runs it has or wants"
            }
            Self::Trackers => {
                "trackers: each tracker of the torrent learns this address, the port, how much it has, and when it comes and goes; it tells whoever asks"
            }
            Self::PeerExchange => {
                "peer exchange: every peer learns the addresses of the other peers, and passes this one on"
            }
            Self::LocalNetwork => {
                "local discovery: every machine in the local network learns which runs this one has or wants"
            }
            Self::WebSeeds => {
                "web seeds: the HTTP servers that the torrent names learn this address and what it fetches of the run"
            }
        }
    }
}

/// What every transfer tells those it connects to, with all discovery switched off.
pub const PEERS_LEARN: &str = "peers learn this address and what it has of the run; transfers are not encrypted: the networks between see them too";

/// A limit below one block in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rate limit: expected at least {BLOCK_BYTES} bytes a second, got {got}")]
pub struct RateLimitError {
    /// Bytes in a second.
    pub got: u64,
}

/// Bytes in a second: at least [`BLOCK_BYTES`], as blocks go out whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit(NonZeroU32);

impl RateLimit {
    /// `bytes` in a second; above 2³² − 1 it is that.
    ///
    /// **Errors**: less than a block.
    pub fn new(bytes: u64) -> Result<Self, RateLimitError> {
        let limit = u32::try_from(bytes).unwrap_or(u32::MAX);
        let limit = NonZeroU32::new(limit).filter(|limit| u64::from(limit.get()) >= BLOCK_BYTES as u64);
        limit.map(Self).ok_or(RateLimitError { got: bytes })
    }

    pub(super) fn get(self) -> NonZeroU32 {
        self.0
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RateLimit {
    type Err = String;

    /// A number of bytes, or one with `kB` or `MB` (1,000 and 1,000,000).
    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("kB", 1_000), ("MB", 1_000_000), ("", 1)];
        let split = units.into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
        let bytes = split.and_then(|(number, factor)| number.trim().parse::<u64>().ok()?.checked_mul(factor));
        let bytes =
            bytes.ok_or_else(|| format!("expected bytes in a second, as 500000, 500kB or 2MB, got {text:?}"))?;
        Self::new(bytes).map_err(|error| error.to_string())
    }
}

/// How a [`Swarm`](super::Swarm) behaves.
#[derive(Clone, Debug)]
pub struct SwarmOptions {
    /// Where peers may call; none takes no calls. Port 0 is any free one.
    pub listen: Option<SocketAddr>,
    /// Ways of finding peers; none of them unless named.
    pub discovery: BTreeSet<Discovery>,
    /// What goes out in a second, all torrents together.
    pub upload: Option<RateLimit>,
    /// What comes in.
    pub download: Option<RateLimit>,
    /// How many peers each torrent has at most.
    pub max_peers: usize,
    /// How long a peer may take to answer a call, and to say something.
    pub patience: Duration,
}

impl Default for SwarmOptions {
    fn default() -> Self {
        Self {
            listen: None,
            discovery: BTreeSet::new(),
            upload: None,
            download: None,
            max_peers: 128,
            patience: Duration::from_secs(10),
        }
    }
}

impl SwarmOptions {
    pub(super) fn has(&self, discovery: Discovery) -> bool {
        self.discovery.contains(&discovery)
    }
}
