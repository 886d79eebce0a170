//! `cairn seed`: runs for others to fetch.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use ledger::Digest;
use serde::Serialize;
use store::layout::RunFile;
use store::{ProofFiles, RunDir};
use tokio::signal::unix::{SignalKind, signal};
use torrent::swarm::{Endpoint, Reply, Status, Swarm, metrics};
use torrent::{Metainfo, Options};

use crate::cmd::{Global, block_on, bundle};
use crate::output::{Output, failed};
use crate::rpc;
use crate::size::bytes;
use crate::swarm::SwarmArgs;

/// Seed runs until interrupted.
///
/// Every run is checked first: log, proof files, manifest. Its torrent is that of `cairn bundle`, with the options of
/// DIR.torrent if there is one. A run that grows is seeded as its later bundle once its manifest says so. The directories
/// are never changed.
#[derive(Args)]
#[command(
    after_help = "Example: cairn seed --run DIR --listen 0.0.0.0:6881\nExample: cairn seed --watch runs --listen 0.0.0.0:6881 --dht --upload-limit 2MB --metrics 127.0.0.1:9100"
)]
pub struct Seed {
    /// Run directory; may be repeated.
    #[arg(long = "run", value_name = "DIR", required_unless_present = "watch")]
    dirs: Vec<PathBuf>,
    /// Directory whose runs are seeded, also those that come later; those that go are no longer.
    #[arg(long, value_name = "DIR")]
    watch: Option<PathBuf>,
    /// Where peers may call.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// Seed no more than this, as 500MB or 50GB: of the runs that hold, those that the fewest peers have been seen with. Which
    /// these are is learnt while seeding, so the choice changes.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    budget: Option<u64>,
    /// Where to answer monitors: /metrics for Prometheus, /status in JSON.
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,
    /// How often directories are looked at for new bundles.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = rpc::seconds)]
    every: Duration,
    #[command(flatten)]
    swarm: SwarmArgs,
}

#[derive(Serialize)]
struct Report {
    listen: SocketAddr,
    metrics: Option<SocketAddr>,
    runs: Vec<Seeded>,
}

/// One run in the swarm.
#[derive(Clone, Serialize)]
struct Seeded {
    run: String,
    dir: PathBuf,
    steps: u64,
    manifest_digest: Digest,
    infohash_v1: String,
    infohash_v2: String,
    magnet: String,
}

/// A torrent as monitors see it.
#[derive(Serialize)]
struct Figures {
    infohash_v1: String,
    name: String,
    activity: &'static str,
    have_bytes: u64,
    total_bytes: u64,
    uploaded_bytes: u64,
    /// Sent for each byte of the torrent.
    ratio: f64,
    peers: u32,
    known_peers: u32,
}

impl Seed {
    /// Runs the command.
    pub fn run(self, _: &Global, out: &Output) -> anyhow::Result<()> {
        block_on(self.serve(out))
    }

    async fn serve(&self, out: &Output) -> anyhow::Result<()> {
        let swarm = Arc::new(Swarm::start(self.swarm.options(Some(self.listen), None, out)).await?);
        let listen = swarm.listen_addr().context("the port is not open")?;
        let monitor = match self.metrics {
            Some(address) => Some(Endpoint::start(address, monitor(Arc::clone(&swarm))).await?),
            None => None,
        };
        let (peers, budget) = (&self.swarm.peers[..], self.budget);
        let mut seeding = Seeding { swarm: &swarm, peers, budget, out, known: BTreeMap::new() };
        for dir in &self.dirs {
            // A run that was named has to hold; one that is found may be in the making.
            let known = seeding.look(dir)?;
            seeding.known.insert(dir.clone(), known);
        }
        seeding.update(&self.wanted()?).await;
        let held = seeding.known.values().filter_map(|known| known.held.as_ref());
        let runs = held.filter(|held| held.is_seeded).map(|held| held.report.clone()).collect();
        out.result(&Report { listen, metrics: monitor.as_ref().map(Endpoint::listen_addr), runs }, text)?;

        let (mut interrupted, mut ended) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        loop {
            tokio::select! {
                _ = interrupted.recv() => break,
                _ = ended.recv() => break,
                () = tokio::time::sleep(self.every) => seeding.update(&self.wanted()?).await,
            }
        }
        for status in swarm.status() {
            out.note(format_args!("{}: {} bytes sent", status.name, status.uploaded));
        }
        Ok(())
    }

    /// The directories to be seeded, as they are now.
    fn wanted(&self) -> anyhow::Result<BTreeSet<PathBuf>> {
        let mut wanted: BTreeSet<PathBuf> = self.dirs.iter().cloned().collect();
        if let Some(watch) = &self.watch {
            for entry in std::fs::read_dir(watch).with_context(|| format!("list {}", watch.display()))? {
                let path = entry.with_context(|| format!("list {}", watch.display()))?.path();
                let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
                if !is_hidden && RunFile::Manifest.path(&path).is_file() {
                    wanted.insert(path);
                }
            }
        }
        Ok(wanted)
    }
}

/// The directories that were looked at.
struct Seeding<'a> {
    swarm: &'a Swarm,
    peers: &'a [SocketAddr],
    budget: Option<u64>,
    out: &'a Output,
    known: BTreeMap<PathBuf, Known>,
}

/// A directory that was looked at.
struct Known {
    manifest: Digest,
    /// None if it did not hold.
    held: Option<Held>,
}

/// A run that holds.
struct Held {
    torrent: Metainfo,
    report: Seeded,
    is_seeded: bool,
    /// Peers that were seen with it, as long as it was seeded.
    seen_peers: u32,
    /// Whether a peer is connected: who fetches it is not left alone.
    is_wanted: bool,
}

impl Seeding<'_> {
    /// Brings the swarm up to date with the directories.
    async fn update(&mut self, wanted: &BTreeSet<PathBuf>) {
        let gone: Vec<PathBuf> = self.known.keys().filter(|dir| !wanted.contains(*dir)).cloned().collect();
        for dir in gone {
            self.stop(&dir).await;
            self.known.remove(&dir);
        }
        for dir in wanted {
            let manifest = manifest_digest(dir).ok();
            let Some(manifest) = manifest.filter(|now| self.known.get(dir).is_none_or(|known| known.manifest != *now))
            else {
                continue;
            };
            self.stop(dir).await;
            let known = self.look(dir).unwrap_or_else(|error| {
                self.out.note(format_args!("{} is not seeded: {error:#}", dir.display()));
                Known { manifest, held: None }
            });
            self.known.insert(dir.clone(), known);
        }
        for status in self.swarm.status() {
            let held = self.known.values_mut().filter_map(|known| known.held.as_mut());
            let seeded = held.filter(|held| held.is_seeded && held.torrent.infohash_v1() == status.infohash);
            seeded.for_each(|held| (held.seen_peers, held.is_wanted) = (status.known_peers, status.progress.peers > 0));
        }
        let chosen = self.choose();
        let dirs: Vec<PathBuf> = self.known.keys().cloned().collect();
        for dir in dirs.iter().filter(|dir| !chosen.contains(*dir)) {
            self.stop(dir).await;
        }
        for dir in &chosen {
            self.start(dir).await;
        }
    }

    /// The directories that are to be seeded: all that hold or, with a budget, the rarest that fit.
    fn choose(&self) -> BTreeSet<PathBuf> {
        let mut held: Vec<(&PathBuf, &Held)> =
            self.known.iter().filter_map(|(dir, known)| Some((dir, known.held.as_ref()?))).collect();
        held.sort_by_key(|(_, held)| (!held.is_wanted, held.seen_peers, held.torrent.files().bytes()));
        let mut left = self.budget.unwrap_or(u64::MAX);
        let fits = held.into_iter().filter(|(_, held)| {
            let rest = left.checked_sub(held.torrent.files().bytes());
            left = rest.unwrap_or(left);
            rest.is_some()
        });
        fits.map(|(dir, _)| dir.clone()).collect()
    }

    async fn stop(&mut self, dir: &Path) {
        let held = self.known.get_mut(dir).and_then(|known| known.held.as_mut());
        let Some(held) = held.filter(|held| held.is_seeded) else { return };
        (held.is_seeded, held.is_wanted) = (false, false);
        match self.swarm.remove(held.torrent.infohash_v1()).await {
            Ok(()) => self.out.note(format_args!("no longer seeding {}", held.report.run)),
            Err(error) => self.out.note(error),
        }
    }

    async fn start(&mut self, dir: &Path) {
        let held = self.known.get_mut(dir).and_then(|known| known.held.as_mut());
        let Some(held) = held.filter(|held| !held.is_seeded) else { return };
        match self.swarm.seed(&held.torrent, dir, self.peers).await {
            Ok(()) => {
                held.is_seeded = true;
                self.out.note(format_args!("seeding {} of {} steps", held.report.run, held.report.steps));
            }
            Err(error) => self.out.note(format_args!("{} is not seeded: {error}", dir.display())),
        }
    }

    /// Checks a run and makes its torrent.
    fn look(&self, path: &Path) -> anyhow::Result<Known> {
        let dir = crate::run::open(path)?;
        dir.verify_log(ProofFiles::Check).map_err(|error| failed("log", error))?;
        let listed = dir.verify_files().map_err(|error| failed("manifest", error))?;
        let torrent = bundle::make(self.out, &dir, &listed, options(&dir)?)?;
        let report = Seeded {
            run: dir.run().run().to_string(),
            dir: path.to_owned(),
            steps: listed.manifest.size().0,
            manifest_digest: listed.manifest_digest,
            infohash_v1: format!("0x{}", torrent.infohash_v1()),
            infohash_v2: format!("0x{}", torrent.infohash_v2()),
            magnet: torrent.magnet().to_string(),
        };
        let held = Held { torrent, report, is_seeded: false, seen_peers: 0, is_wanted: false };
        Ok(Known { manifest: listed.manifest_digest, held: Some(held) })
    }
}

/// What the torrent beside the run says besides its files: the same bundle is the same swarm.
fn options(dir: &RunDir) -> anyhow::Result<Options> {
    let run = dir.path().canonicalize().with_context(|| format!("find {}", dir.path().display()))?;
    let path = bundle::beside(&run);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Options::default()),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let beside = Metainfo::parse(&bytes).with_context(|| path.display().to_string())?;
    Ok(Options {
        visibility: beside.visibility(),
        source: beside.source().map(str::to_owned),
        trackers: beside.trackers().to_vec(),
        web_seeds: beside.web_seeds().to_vec(),
    })
}

fn manifest_digest(dir: &Path) -> std::io::Result<Digest> {
    std::fs::read(RunFile::Manifest.path(dir)).map(|bytes| Digest::of(&bytes))
}

/// Answers monitors.
fn monitor(swarm: Arc<Swarm>) -> impl Fn(&str, std::net::IpAddr) -> Reply + Send + Sync {
    move |target, _| match target {
        "/metrics" => Reply::Body { kind: "text/plain; version=0.0.4", body: metrics(&swarm.status()).into_bytes() },
        "/status" => {
            let figures: Vec<Figures> = swarm.status().iter().map(Figures::from).collect();
            let body = serde_json::to_vec(&figures).unwrap_or_default();
            Reply::Body { kind: "application/json", body }
        }
        _ => Reply::NotFound,
    }
}

impl From<&Status> for Figures {
    fn from(status: &Status) -> Self {
        let total = status.progress.total;
        Self {
            infohash_v1: format!("0x{}", status.infohash),
            name: status.name.clone(),
            activity: status.activity.as_str(),
            have_bytes: status.progress.have,
            total_bytes: total,
            uploaded_bytes: status.uploaded,
            ratio: status.uploaded as f64 / total.max(1) as f64,
            peers: status.progress.peers,
            known_peers: status.known_peers,
        }
    }
}

fn text(r: &Report) -> String {
    let mut lines = vec![format!("listening {}", r.listen)];
    lines.extend(r.metrics.map(|metrics| format!("monitors  http://{metrics}/metrics and /status")));
    for run in &r.runs {
        lines.push(format!("run       {}, {} steps, in {}", run.run, run.steps, run.dir.display()));
        lines.push(format!("magnet    {}", run.magnet));
    }
    lines.join("\n")
}
