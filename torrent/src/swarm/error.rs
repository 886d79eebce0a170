//! What goes wrong in a swarm.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ledger::Digest;

use crate::hash::HashError;
use crate::infohash::{InfohashV1, InfohashV2};
use crate::metainfo::MetainfoError;
use crate::path::ContentPath;

/// Why a transfer did not happen.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SwarmError {
    /// The port is taken, or not one of this machine.
    #[error("listen at {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// Reading or writing a file of the bundle: no space, no permission, a failing disk.
    #[error("{operation} {}: {source}", path.display())]
    Disk {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says; [`io::ErrorKind::StorageFull`] if the disk is full.
        source: Arc<io::Error>,
    },
    /// There is a link where the bundle has a file or directory: it could lead anywhere.
    #[error("{} is a symbolic link", path.display())]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// Nobody to ask: no peers were named and no discovery is switched on.
    #[error("no peers are named and no way of finding some is switched on")]
    NobodyToAsk,
    /// No peer sent the metadata of the link in time.
    #[error("no peer sent the metadata of {infohash} within {} s: {reason}", patience.as_secs())]
    NoMetadata {
        /// The torrent.
        infohash: InfohashV1,
        /// How long it was waited for.
        patience: Duration,
        /// What went wrong last.
        reason: String,
    },
    /// What a peer sent for a link, or a file, is not the metadata of a bundle.
    #[error("metadata: {0}")]
    Metadata(#[from] MetainfoError),
    /// The metadata has the link's v1 infohash but not its v2 infohash.
    #[error("infohash v2: expected {expected}, got {got}")]
    OtherV2 {
        /// Of the link.
        expected: InfohashV2,
        /// Of the metadata.
        got: InfohashV2,
    },
    /// A file has v1's hashes, but not its root of v2: the metadata was made of two contents.
    #[error("{path}: expected the v2 root {}, got {}: it has the v1 hashes", root(expected), root(got))]
    OtherRoot {
        /// The file.
        path: ContentPath,
        /// Root in the metadata.
        expected: Option<Digest>,
        /// Root of what arrived.
        got: Option<Digest>,
    },
    /// What arrived cannot be read again, or was changed meanwhile.
    #[error("read what arrived: {0}")]
    ReadBack(Arc<HashError>),
    /// Nothing new arrived for too long.
    #[error(
        "nothing arrived for {} s: {have} of {total} bytes are here, {refused} bytes that came were not what was promised",
        patience.as_secs()
    )]
    Stalled {
        /// How long it was waited for.
        patience: Duration,
        /// Bytes here that have the right hash.
        have: u64,
        /// Bytes wanted.
        total: u64,
        /// Bytes that came and were thrown away.
        refused: u64,
    },
    /// A directory to be seeded does not have all of the torrent's bytes.
    #[error("{}: {have} of {total} bytes are those of the torrent", path.display())]
    NotWhole {
        /// The directory.
        path: PathBuf,
        /// Bytes with the right hash.
        have: u64,
        /// Bytes of the torrent.
        total: u64,
    },
    /// The torrent is already there.
    #[error("torrent {infohash} is already in the swarm")]
    Twice {
        /// The torrent.
        infohash: InfohashV1,
    },
    /// The torrent is not there.
    #[error("torrent {infohash} is not in the swarm")]
    Unknown {
        /// The torrent.
        infohash: InfohashV1,
    },
    /// The BitTorrent engine failed in another way.
    #[error("{operation}: {reason}")]
    Engine {
        /// What was tried.
        operation: &'static str,
        /// What it says.
        reason: String,
    },
}

impl SwarmError {
    /// An error of the engine.
    pub(super) fn engine(operation: &'static str) -> impl FnOnce(anyhow::Error) -> Self {
        move |error| Self::Engine { operation, reason: format!("{error:#}") }
    }
}

/// In words.
fn root(root: &Option<Digest>) -> String {
    root.map_or_else(|| "of an empty file".to_owned(), |root| root.to_string())
}
