//! Seeding and fetching: the one place that speaks BitTorrent.
//!
//! The engine is librqbit, which speaks v1: of a hybrid torrent it seeds and fetches the v1 half, and clients of BEP 52
//! get the same files by it. DHT, trackers, peer exchange and local discovery are off unless named ([`Discovery`]).
//! What arrives is compared with v1's pieces by the engine and with v2's roots here. It has the hashes of the torrent, no
//! more: whether it is a run that holds is checked by others.

mod error;
mod files;
mod gate;
mod http;
mod metrics;
mod options;
mod roots;
mod tracker;
mod web;

pub use error::SwarmError;
pub use http::{Endpoint, Reply};
pub use metrics::metrics;
pub use options::{Discovery, PEERS_LEARN, RateLimit, RateLimitError, SwarmOptions};
pub use tracker::{SwarmCount, TrackerOptions, TrackerServer, TrackerToken, TrackerTokenError};

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use librqbit::api::TorrentIdOrHash;
use librqbit::limits::LimitsConfig;
use librqbit::{
    AddTorrent, AddTorrentOptions, AddTorrentResponse, ConnectionOptions, DhtSessionConfig, ListenerOptions,
    ManagedTorrent, PeerConnectionOptions, Session, SessionOptions, TorrentStatsState,
};

use self::files::{Access, Files};
use self::gate::Gate;
use self::web::WebPeer;
use crate::bencode::{Value, decode, encode};
use crate::infohash::InfohashV1;
use crate::magnet::Magnet;
use crate::metainfo::{LIMITS, Metadata, Metainfo, MetainfoError, Tracker, WebSeed};
use crate::path::ContentPath;

/// How often transfers are looked at.
const TICK: Duration = Duration::from_millis(100);

/// How long peers that could not give metadata are left alone.
const RETRY: Duration = Duration::from_millis(500);

/// Torrents that are seeded and fetched together, from one port.
pub struct Swarm {
    session: Arc<Session>,
    options: SwarmOptions,
    listen: Option<SocketAddr>,
    torrents: Mutex<BTreeMap<InfohashV1, Member>>,
    /// Ends with the swarm.
    _gate: Option<Gate>,
}

#[derive(Clone)]
struct Member {
    handle: Arc<ManagedTorrent>,
    files: Files,
    name: String,
}

/// What is to be fetched, and where to.
#[derive(Clone, Debug)]
pub struct Fetch<'a> {
    /// The torrent.
    pub metadata: &'a Metadata,
    /// The directory that the files go to, which stands for the torrent's name. What it has of them already is kept.
    pub dir: &'a Path,
    /// Peers to ask.
    pub peers: &'a [SocketAddr],
    /// Trackers to ask, if [`Discovery::Trackers`] is on.
    pub trackers: &'a [Tracker],
    /// HTTP servers to ask, if [`Discovery::WebSeeds`] is on.
    pub web_seeds: &'a [WebSeed],
    /// Only these files; all if none. Parts of others that share a piece do not arrive: every file begins a piece.
    pub only: Option<&'a BTreeSet<ContentPath>>,
    /// How long nothing new may arrive before the fetch is given up.
    pub stall: Duration,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes here with the right hash, padding included.
    pub have: u64,
    /// Bytes wanted, padding included.
    pub total: u64,
    /// Bytes that came from peers, whether they were right or not.
    pub received: u64,
    /// Those of them that had the right hash.
    pub accepted: u64,
    /// Peers connected.
    pub peers: u32,
}

/// What a torrent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// What is on the disk is hashed.
    Checking,
    /// Files arrive.
    Fetching,
    /// Everything is here, for others to fetch.
    Seeding,
    /// It failed.
    Failed,
}

impl Activity {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checking => "checking",
            Self::Fetching => "fetching",
            Self::Seeding => "seeding",
            Self::Failed => "failed",
        }
    }
}

/// One torrent of a swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its v1 infohash.
    pub infohash: InfohashV1,
    /// Its name.
    pub name: String,
    /// What it does.
    pub activity: Activity,
    /// How far it is.
    pub progress: Progress,
    /// Bytes sent to peers since it was added.
    pub uploaded: u64,
    /// Peers that were ever heard of.
    pub known_peers: u32,
}

impl Swarm {
    /// Opens the port and, of the ways of finding peers, those that `options` names.
    ///
    /// **Errors**: [`SwarmError::Listen`], [`SwarmError::Engine`].
    pub async fn start(options: SwarmOptions) -> Result<Self, SwarmError> {
        let has = |discovery| options.has(discovery);
        let with_gate = !has(Discovery::PeerExchange);
        let gate = if with_gate { Some(Gate::bind(options.listen, options.patience).await?) } else { None };
        let public = gate.as_ref().map_or(options.listen, Gate::listen);
        // With a gate the engine is behind it, and only this machine reaches it.
        let engine = public.map(|public| if with_gate { (Ipv4Addr::LOCALHOST, 0).into() } else { public });
        let listen = engine.map(|listen_addr| ListenerOptions {
            listen_addr,
            announce_port: public.map(|public| public.port()).filter(|port| *port != 0),
            ..ListenerOptions::default()
        });
        let patience = Some(options.patience);
        let connect = ConnectionOptions {
            proxy_url: gate.as_ref().map(Gate::proxy),
            enable_tcp: true,
            peer_opts: Some(PeerConnectionOptions {
                connect_timeout: patience,
                read_write_timeout: patience,
                ..PeerConnectionOptions::default()
            }),
        };
        let dht = DhtSessionConfig { bootstrap_addrs: None, port: None, persistence: None };
        let session = SessionOptions {
            dht: has(Discovery::Dht).then_some(dht),
            disable_trackers: !has(Discovery::Trackers),
            disable_local_service_discovery: !has(Discovery::LocalNetwork),
            listen,
            connect: Some(connect),
            ratelimits: LimitsConfig {
                upload_bps: options.upload.map(RateLimit::get),
                download_bps: options.download.map(RateLimit::get),
            },
            peer_limit: Some(options.max_peers),
            client_name_and_version: Some("cairn".to_owned()),
            ..SessionOptions::default()
        };
        // Every torrent says where its files are.
        let started = Session::new_with_opts("/nonexistent".into(), session).await;
        let session = started.map_err(SwarmError::engine("start the engine"))?;
        let inner = session.listen_addr();
        if let (Some(gate), Some(inner)) = (&gate, inner) {
            gate.open(inner);
        }
        let listen = if with_gate { public } else { inner };
        Ok(Self { session, options, listen, torrents: Mutex::default(), _gate: gate })
    }

    /// Where peers may call.
    pub fn listen_addr(&self) -> Option<SocketAddr> {
        self.listen
    }

    /// Seeds the torrent from `dir`, which stands for its name and is not changed. `peers` are told that it is here.
    ///
    /// Returns when everything was hashed.
    ///
    /// **Errors**: [`SwarmError::NotWhole`], [`SwarmError::Twice`], [`SwarmError::Engine`].
    pub async fn seed(&self, torrent: &Metainfo, dir: &Path, peers: &[SocketAddr]) -> Result<(), SwarmError> {
        let metadata = torrent.metadata();
        let files = Files::new(metadata, dir, Access::Read);
        let member = self.add(metadata, files, torrent.trackers(), peers, None).await?;
        let checked = member.handle.wait_until_initialized().await;
        let stats = member.handle.stats();
        if checked.is_ok() && stats.finished {
            return Ok(());
        }
        self.remove(metadata.infohash_v1()).await?;
        checked.map_err(SwarmError::engine("check the files"))?;
        Err(SwarmError::NotWhole { path: dir.to_owned(), have: stats.progress_bytes, total: stats.total_bytes })
    }

    /// Asks peers for the metadata of a link, and checks it as that of any stranger.
    ///
    /// **Errors**: [`SwarmError::NobodyToAsk`], [`SwarmError::NoMetadata`], [`SwarmError::Metadata`],
    /// [`SwarmError::OtherV2`].
    pub async fn resolve(&self, link: &Magnet, patience: Duration) -> Result<Metadata, SwarmError> {
        self.somebody_to_ask(&link.peers)?;
        let infohash = link.v1;
        let mut reason = "no peer answered".to_owned();
        let asked = async {
            loop {
                let options = AddTorrentOptions {
                    list_only: true,
                    initial_peers: Some(link.peers.clone()),
                    ..AddTorrentOptions::default()
                };
                match self.session.add_torrent(AddTorrent::from_url(link.to_string()), Some(options)).await {
                    Ok(answer) => break answer,
                    // Everyone known was asked. They may come back, or finish fetching.
                    Err(error) => reason = format!("{error:#}"),
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        let answer = tokio::time::timeout(patience, asked).await;
        let Ok(answer) = answer else { return Err(SwarmError::NoMetadata { infohash, patience, reason }) };
        let AddTorrentResponse::ListOnly(found) = answer else { return Err(SwarmError::Twice { infohash }) };
        let document = decode(&found.torrent_bytes, LIMITS).map_err(MetainfoError::from)?;
        let info = match &document {
            Value::Dict(top) => top.get(b"info"),
            _ => None,
        };
        let metadata = Metadata::parse(&encode(info.ok_or(MetainfoError::Missing { key: "info" })?))?;
        // The engine compared the v1 infohash.
        match link.v2 {
            Some(expected) if expected != metadata.infohash_v2() => {
                Err(SwarmError::OtherV2 { expected, got: metadata.infohash_v2() })
            }
            _ => Ok(metadata),
        }
    }

    /// Fetches what is missing, and returns when it is on the disk. The torrent is not in the swarm afterwards.
    ///
    /// What is in the directory is hashed first, so a fetch that was killed goes on where it was. `progress` is called
    /// about ten times a second.
    ///
    /// All of v1's pieces may be here and the files still not those of v2's roots, if whoever made the metadata took two
    /// contents: the files stay, as bytes that nobody promised.
    ///
    /// **Errors**: [`SwarmError::Stalled`], [`SwarmError::OtherRoot`], [`SwarmError::ReadBack`], [`SwarmError::Disk`],
    /// [`SwarmError::Symlink`], [`SwarmError::NobodyToAsk`], [`SwarmError::Twice`], [`SwarmError::Engine`].
    pub async fn fetch(&self, fetch: &Fetch<'_>, progress: &dyn Fn(Progress)) -> Result<Progress, SwarmError> {
        let metadata = fetch.metadata;
        let (mut peers, mut servers) = (fetch.peers.to_vec(), Vec::new());
        if self.options.has(Discovery::WebSeeds) && !fetch.web_seeds.is_empty() {
            let client = web::client(self.options.patience)?;
            for seed in fetch.web_seeds {
                let server = WebPeer::start(metadata, seed, client.clone()).await?;
                peers.push(server.address());
                servers.push(server);
            }
        }
        self.somebody_to_ask(&peers)?;
        let files = Files::new(metadata, fetch.dir, Access::Write);
        let member = self.add(metadata, files.clone(), fetch.trackers, &peers, fetch.only).await?;
        let result = follow(&member, fetch.stall, progress).await;
        self.remove(metadata.infohash_v1()).await?;
        drop(servers);
        let done = result?;
        files.sync()?;
        let (metadata, dir, only) = (metadata.clone(), fetch.dir.to_owned(), fetch.only.cloned());
        let checked = tokio::task::spawn_blocking(move || roots::check(&metadata, &dir, only.as_ref())).await;
        checked.map_err(|error| SwarmError::engine("compare with v2")(error.into()))??;
        Ok(done)
    }

    /// Stops seeding or fetching a torrent. Its files stay.
    ///
    /// **Errors**: [`SwarmError::Unknown`], [`SwarmError::Engine`].
    pub async fn remove(&self, infohash: InfohashV1) -> Result<(), SwarmError> {
        let member = self.lock().remove(&infohash).ok_or(SwarmError::Unknown { infohash })?;
        let id = TorrentIdOrHash::Id(member.handle.id());
        self.session.delete(id, false).await.map_err(SwarmError::engine("remove a torrent"))
    }

    /// All torrents, by infohash.
    pub fn status(&self) -> Vec<Status> {
        self.lock().iter().map(|(infohash, member)| member.status(*infohash)).collect()
    }

    /// Leaves all swarms.
    pub async fn stop(self) {
        self.session.stop().await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<InfohashV1, Member>> {
        // The map is whole at any time.
        self.torrents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn somebody_to_ask(&self, peers: &[SocketAddr]) -> Result<(), SwarmError> {
        // A fetcher that listens may be called.
        let finds = |discovery: &Discovery| *discovery != Discovery::WebSeeds;
        let nobody = peers.is_empty() && !self.options.discovery.iter().any(finds) && self.listen.is_none();
        if nobody { Err(SwarmError::NobodyToAsk) } else { Ok(()) }
    }

    async fn add(
        &self,
        metadata: &Metadata,
        files: Files,
        trackers: &[Tracker],
        peers: &[SocketAddr],
        only: Option<&BTreeSet<ContentPath>>,
    ) -> Result<Member, SwarmError> {
        let infohash = metadata.infohash_v1();
        let places = |only: &BTreeSet<ContentPath>| {
            let listed = metadata.listed().into_iter().enumerate();
            listed.filter(|(_, file)| file.is_some_and(|file| only.contains(&file.path))).map(|(at, _)| at).collect()
        };
        let options = AddTorrentOptions {
            overwrite: true,
            only_files: only.map(places),
            output_folder: Some("/nonexistent".to_owned()),
            initial_peers: Some(peers.to_vec()),
            storage_factory: Some(files.factory()),
            ..AddTorrentOptions::default()
        };
        let trackers = if self.options.has(Discovery::Trackers) { trackers } else { &[] };
        let torrent = AddTorrent::from_bytes(metadata.to_torrent_v1(trackers));
        let added = self.session.add_torrent(torrent, Some(options)).await;
        let AddTorrentResponse::Added(_, handle) = added.map_err(SwarmError::engine("add a torrent"))? else {
            return Err(SwarmError::Twice { infohash });
        };
        let member = Member { handle, files, name: metadata.name().to_owned() };
        self.lock().insert(infohash, member.clone());
        Ok(member)
    }
}

/// Waits for the last byte.
async fn follow(member: &Member, stall: Duration, progress: &dyn Fn(Progress)) -> Result<Progress, SwarmError> {
    let (mut before, mut since) = (None, Instant::now());
    loop {
        if let Some(error) = member.files.failure() {
            return Err(error);
        }
        let stats = member.handle.stats();
        if let Some(reason) = stats.error {
            return Err(SwarmError::Engine { operation: "fetch", reason });
        }
        let now = member.progress();
        progress(now);
        if stats.finished && matches!(stats.state, TorrentStatsState::Live) {
            return Ok(now);
        }
        let seen = (stats.state.to_string(), now.have);
        if before.as_ref() != Some(&seen) {
            (before, since) = (Some(seen), Instant::now());
        } else if since.elapsed() >= stall {
            let refused = now.received.saturating_sub(now.accepted);
            return Err(SwarmError::Stalled { patience: stall, have: now.have, total: now.total, refused });
        }
        tokio::time::sleep(TICK).await;
    }
}

impl Member {
    fn progress(&self) -> Progress {
        let stats = self.handle.stats();
        let live = stats.live.as_ref().map(|live| &live.snapshot);
        Progress {
            have: stats.progress_bytes,
            total: stats.total_bytes,
            received: live.map_or(0, |live| live.fetched_bytes),
            accepted: live.map_or(0, |live| live.downloaded_and_checked_bytes),
            peers: live.map_or(0, |live| live.peer_stats.live),
        }
    }

    fn status(&self, infohash: InfohashV1) -> Status {
        let stats = self.handle.stats();
        let activity = match stats.state {
            TorrentStatsState::Initializing { .. } => Activity::Checking,
            TorrentStatsState::Error => Activity::Failed,
            _ if stats.finished => Activity::Seeding,
            _ => Activity::Fetching,
        };
        let known_peers = stats.live.as_ref().map_or(0, |live| live.snapshot.peer_stats.seen);
        let (name, progress) = (self.name.clone(), self.progress());
        Status { infohash, name, activity, progress, uploaded: stats.uploaded_bytes, known_peers }
    }
}
