//! Which bundle is meant.

use std::net::SocketAddr;

use audit::chain::{Place, Scope};
use chain::Announcement;
use ledger::{Address, RunId};
use store::layout::{RunFile, run_dir_name};
use torrent::{ContentPath, InfohashV1, InfohashV2, Magnet, Metadata, Metainfo, Tracker, WebSeed};

use crate::output::failed;
use crate::rpc;

/// What the user gave.
pub enum Source {
    /// An id, which the chain knows.
    Run(RunId),
    /// A torrent.
    Torrent(Box<Metainfo>),
    /// A link.
    Link(Box<Magnet>),
}

/// What the user gave, compared with the chain.
pub struct Found {
    source: Source,
    announced: Option<(String, Place, RunId, Announcement)>,
}

/// What a torrent is known by before it is fetched.
pub enum Wanted {
    /// Everything that the infohashes cover.
    Known(Box<Metadata>),
    /// Only these.
    Ask(Box<Magnet>),
}

/// The file of a run at a path of a torrent; none if runs have no such file.
pub fn run_file(path: &ContentPath) -> Option<RunFile> {
    RunFile::parse(&path.components().join("/"))
}

impl Source {
    /// The run that the source's name says it is of; the files are compared with it when they are here.
    fn run(&self) -> anyhow::Result<RunId> {
        let name = match self {
            Self::Run(run) => return Ok(*run),
            Self::Torrent(torrent) => Some(torrent.name()),
            Self::Link(link) => link.name.as_deref(),
        };
        named(name.unwrap_or_default())
    }

    fn infohashes(&self) -> Option<(InfohashV1, Option<InfohashV2>)> {
        match self {
            Self::Run(_) => None,
            Self::Torrent(torrent) => Some((torrent.infohash_v1(), Some(torrent.infohash_v2()))),
            Self::Link(link) => Some((link.v1, link.v2)),
        }
    }
}

/// The run that a bundle of this name is of.
fn named(name: &str) -> anyhow::Result<RunId> {
    let run = name.strip_prefix("run-").and_then(|id| id.parse().ok());
    run.filter(|run| run_dir_name(*run) == name)
        .ok_or_else(|| failed("bundle name", format!("expected run-0x<id of the run>, got {name:?}")))
}

impl Found {
    /// Takes the source's word.
    pub fn without_chain(source: Source) -> Self {
        Self { source, announced: None }
    }

    /// Looks up what was announced: for a run its largest bundle, newest first; a torrent or link must be one of them.
    ///
    /// Errors: a failed check `announcement`; the node fails.
    pub async fn on_chain(source: Source, rpc: &str, contract: Address, from_block: u64) -> anyhow::Result<Self> {
        let client = rpc::connect(rpc).await?;
        let run = source.run()?;
        let events = client.bundle_events(contract, run, from_block).await?;
        let n_events = events.len();
        let is_meant = |bundle: &Announcement| match source.infohashes() {
            None => true,
            Some((v1, v2)) => bundle.infohash_v1 == v1.0 && v2.is_none_or(|v2| v2.0 == bundle.infohash_v2),
        };
        let meant = events.into_iter().map(|event| event.announcement).filter(is_meant);
        // Of several of the same size the last one.
        let announced = meant.max_by_key(|bundle| bundle.size).ok_or_else(|| {
            let detail = match source.infohashes() {
                None => format!("{contract} has no bundle of {run}"),
                Some((v1, _)) => format!("none of the {n_events} bundles of {run} at {contract} has infohash {v1}"),
            };
            failed("announcement", detail)
        })?;
        let place = Place { contract, from_block, scope: Scope::Anchored };
        Ok(Self { source, announced: Some((rpc.to_owned(), place, run, announced)) })
    }

    /// What the chain says, if it was asked.
    pub fn announced(&self) -> Option<&Announcement> {
        self.announced.as_ref().map(|(.., announced)| announced)
    }

    /// Where the chain is, if it was asked.
    pub fn chain(&self) -> Option<(&str, Place)> {
        self.announced.as_ref().map(|(rpc, place, ..)| (rpc.as_str(), *place))
    }

    /// The metadata, or the link that peers are asked for it by; `peers` are named beside.
    pub fn wanted(&self, peers: &[SocketAddr]) -> anyhow::Result<Wanted> {
        let link = match (&self.source, self.announced()) {
            (Source::Torrent(torrent), _) => return Ok(Wanted::Known(Box::new(torrent.metadata().clone()))),
            (Source::Link(link), announced) => {
                let v2 = link.v2.or(announced.map(|bundle| InfohashV2(bundle.infohash_v2)));
                Magnet { v2, peers: self.peers(peers), ..(**link).clone() }
            }
            (Source::Run(run), Some(bundle)) => Magnet {
                v1: InfohashV1(bundle.infohash_v1),
                v2: Some(InfohashV2(bundle.infohash_v2)),
                name: Some(run_dir_name(*run)),
                trackers: Vec::new(),
                web_seeds: Vec::new(),
                peers: peers.to_vec(),
            },
            (Source::Run(_), None) => anyhow::bail!("--rpc is missing: an id alone does not say where the bundle is"),
        };
        Ok(Wanted::Ask(Box::new(link)))
    }

    /// Peers that the user or the link names.
    pub fn peers(&self, given: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut peers = given.to_vec();
        if let Source::Link(link) = &self.source {
            peers.extend(link.peers.iter().filter(|peer| !given.contains(peer)));
        }
        peers
    }

    /// Trackers that the source names.
    pub fn trackers(&self) -> &[Tracker] {
        match &self.source {
            Source::Run(_) => &[],
            Source::Torrent(torrent) => torrent.trackers(),
            Source::Link(link) => &link.trackers,
        }
    }

    /// Web seeds that the source names.
    pub fn web_seeds(&self) -> &[WebSeed] {
        match &self.source {
            Source::Run(_) => &[],
            Source::Torrent(torrent) => torrent.web_seeds(),
            Source::Link(link) => &link.web_seeds,
        }
    }

    /// Compares metadata with what was announced, before anything is written.
    ///
    /// Errors: failed checks `infohash` and `bundle files`.
    pub fn check(&self, metadata: &Metadata) -> anyhow::Result<()> {
        if let Some(bundle) = self.announced() {
            let (v1, v2) = (InfohashV1(bundle.infohash_v1), InfohashV2(bundle.infohash_v2));
            let got = (metadata.infohash_v1(), metadata.infohash_v2());
            if (v1, v2) != got {
                let detail = format!("announced {v1} and {v2}, got {} and {}", got.0, got.1);
                return Err(failed("infohash", detail));
            }
        }
        match metadata.files().files().iter().find(|file| run_file(&file.path).is_none()) {
            Some(file) => Err(failed("bundle files", format!("{} is not a file of a run", file.path))),
            None => Ok(()),
        }
    }

    /// The run that the metadata says it is of.
    ///
    /// Errors: a failed check `bundle name`.
    pub fn run(&self, metadata: &Metadata) -> anyhow::Result<RunId> {
        let got = named(metadata.name())?;
        match &self.announced {
            Some((_, _, run, _)) if *run != got => {
                Err(failed("bundle name", format!("expected {run}, the bundle is named after {got}")))
            }
            _ => Ok(got),
        }
    }
}
