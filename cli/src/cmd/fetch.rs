//! `cairn fetch`: a run from peers, checked against the chain before it counts as here.

mod arrival;
mod place;
mod source;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use audit::Check;
use clap::Args;
use ledger::{Address, RunId};
use rand_core::{OsRng, RngCore};
use serde::Serialize;
use store::layout::RunFile;
use torrent::swarm::{Discovery, Fetch as Transfer, Progress, Swarm, SwarmError};
use torrent::{ContentPath, Directory, Magnet, Metadata, Metainfo, Options, WebSeed};

use self::arrival::Arrival;
use self::place::Target;
use self::source::{Found, Source, Wanted};
use crate::cmd::verify::mark;
use crate::cmd::{Global, block_on};
use crate::output::{NOT_PROVED, Output, failed, is_failure};
use crate::progress;
use crate::rpc;
use crate::swarm::SwarmArgs;

/// Fetch a run from peers, and check it against the chain.
///
/// The run is named by its id, its .torrent or its magnet link; with --rpc and --contract the chain says which bundle is
/// meant before any peer is asked. It arrives in a hidden directory beside the place it goes to and is compared with its
/// manifest, the announced manifest and the anchored root. Only then does it get its name; what does not hold is put
/// aside as run-0x….quarantine. An earlier copy stays as it is until then, and what it has is not fetched again.
#[derive(Args)]
#[command(
    after_help = "Example: cairn fetch --run 0x… --rpc URL --contract 0x… --peer 192.0.2.7:6881 --out runs\nExample: cairn fetch --magnet 'magnet:?…' --rpc URL --contract 0x… --dht --out runs"
)]
pub struct Fetch {
    /// Id of the run: the chain says which bundle it has.
    #[arg(long, value_name = "ID", requires = "rpc", conflicts_with_all = ["torrent", "magnet"])]
    run: Option<RunId>,
    /// File of the torrent.
    #[arg(long, value_name = "FILE", conflicts_with = "magnet")]
    torrent: Option<PathBuf>,
    /// Magnet link.
    #[arg(long, value_name = "LINK", required_unless_present_any = ["run", "torrent"])]
    magnet: Option<Magnet>,
    /// Address of a node.
    #[arg(long, requires = "contract", required_unless_present = "without_chain")]
    rpc: Option<String>,
    /// RunAnchor.
    #[arg(long, requires = "rpc")]
    contract: Option<Address>,
    /// Block to read events from.
    #[arg(long, default_value_t = 0)]
    from_block: u64,
    /// Do not ask a chain: the run is then compared with its own manifest only, which proves nothing about who made it.
    #[arg(long, conflicts_with = "rpc")]
    without_chain: bool,
    /// Directory that gets the run's directory.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// `all`, or `sampled`: manifest, log, checkpoint, epochs and the proofs of --k steps, into run-0x….sampled.
    #[arg(long, value_enum, default_value_t = Only::All)]
    only: Only,
    /// Steps to sample.
    #[arg(long, value_name = "N", default_value_t = 4)]
    k: usize,
    /// Also verify the zero-knowledge proofs of the steps that were fetched.
    #[arg(long)]
    proofs: bool,
    /// Also fetch from the HTTP servers that the torrent or link names. They learn what is fetched.
    #[arg(long)]
    web_seeds: bool,
    /// Where peers may call meanwhile; not at all if not given.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Give up when nothing arrived for so many seconds.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = rpc::seconds)]
    stall: Duration,
    /// Largest bundle that is taken, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 100_000_000_000)]
    max_bytes: u64,
    /// End as soon as standard input does: for programs that start this one and are not to leave it behind.
    #[arg(long)]
    until_eof: bool,
    #[command(flatten)]
    swarm: SwarmArgs,
}

/// How much of a run is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    All,
    Sampled,
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    run: String,
    dir: Option<PathBuf>,
    quarantine: Option<PathBuf>,
    steps: u64,
    sampled: Option<Vec<u64>>,
    infohash_v1: String,
    infohash_v2: String,
    bytes: u64,
    /// With what clients of v1 have between the files.
    padded_bytes: u64,
    received: u64,
    fetch_ms: u64,
    chain_root: Option<String>,
    checks: Vec<Check>,
    not_proved: &'static str,
}

impl Fetch {
    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        if self.until_eof {
            std::thread::Builder::new().name("stdin".to_owned()).spawn(end_with_stdin)?;
        }
        let found = block_on(self.find())?;
        let web_seeds = if self.web_seeds { Some(Discovery::WebSeeds) } else { None };
        let options = self.swarm.options(self.listen, web_seeds, out);
        let runtime = tokio::runtime::Runtime::new()?;
        let swarm = runtime.block_on(Swarm::start(options))?;
        let metadata = runtime.block_on(self.metadata(&swarm, &found))?;
        found.check(&metadata)?;
        let bytes = metadata.files().bytes();
        anyhow::ensure!(bytes <= self.max_bytes, "the bundle has {bytes} bytes, --max-bytes allows {}", self.max_bytes);
        let run = found.run(&metadata)?;
        let sample = self.sample(&metadata)?;
        let target = Target::new(&self.out, run, sample.is_some())?;
        target.prepare(&metadata, found.announced())?;
        let only = sample.as_ref().map(|sample| sample.files.clone());
        let start = std::time::Instant::now();
        let done = runtime.block_on(self.transfer(&swarm, &metadata, &found, &target, only.as_ref(), out));
        runtime.block_on(swarm.stop());
        let ((done, roots), fetch_ms) = (done?, start.elapsed().as_millis() as u64);

        let sampled = sample.map(|sample| sample.steps);
        let arrival = Arrival { dir: target.staging(), run, found: &found, roots, sampled: sampled.as_deref() };
        let mut checks = Vec::new();
        let checked = arrival.check(self.proofs, global, out, &mut checks);
        let mut report = Report {
            ok: checked.is_ok(),
            run: run.to_string(),
            dir: None,
            quarantine: None,
            steps: checked.as_ref().map_or(0, |held| held.steps.0),
            sampled,
            infohash_v1: format!("0x{}", metadata.infohash_v1()),
            infohash_v2: format!("0x{}", metadata.infohash_v2()),
            bytes,
            padded_bytes: done.total,
            received: done.received,
            fetch_ms,
            chain_root: checked.as_ref().ok().and_then(|held| held.root).map(|root| root.to_string()),
            checks,
            not_proved: NOT_PROVED,
        };
        match checked {
            Ok(_) => {
                let torrent = match &report.sampled {
                    None => self.torrent_of(&metadata, &found, &target)?,
                    Some(_) => None,
                };
                report.dir = Some(target.accept(torrent.as_ref())?);
                out.result(&report, text)
            }
            Err(error) if is_failure(&error) => {
                report.quarantine = Some(target.quarantine()?);
                out.result(&report, text)?;
                Err(error)
            }
            // A check that could not be made says nothing about the run: the same command goes on.
            Err(error) => Err(error),
        }
    }

    /// What is meant, by the chain if there is one.
    async fn find(&self) -> anyhow::Result<Found> {
        let source = match (&self.run, &self.torrent, &self.magnet) {
            (Some(run), ..) => Source::Run(*run),
            (_, Some(file), _) => {
                let bytes = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
                Source::Torrent(Box::new(Metainfo::parse(&bytes).map_err(|error| failed("torrent", error))?))
            }
            (.., Some(link)) => Source::Link(Box::new(link.clone())),
            (None, None, None) => anyhow::bail!("none of --run, --torrent and --magnet is given"),
        };
        match (&self.rpc, self.contract) {
            (Some(rpc), Some(contract)) => Found::on_chain(source, rpc, contract, self.from_block).await,
            _ => Ok(Found::without_chain(source)),
        }
    }

    async fn metadata(&self, swarm: &Swarm, found: &Found) -> anyhow::Result<Metadata> {
        let link = match found.wanted(&self.swarm.peers)? {
            Wanted::Known(metadata) => return Ok(*metadata),
            Wanted::Ask(link) => link,
        };
        swarm.resolve(&link, self.stall).await.map_err(|error| match error {
            error @ (SwarmError::Metadata(_) | SwarmError::OtherV2 { .. }) => failed("metadata", error),
            error => error.into(),
        })
    }

    /// How it ended, and whether what came has the roots of v2.
    async fn transfer(
        &self,
        swarm: &Swarm,
        metadata: &Metadata,
        found: &Found,
        target: &Target,
        only: Option<&BTreeSet<ContentPath>>,
        out: &Output,
    ) -> anyhow::Result<(Progress, Result<(), SwarmError>)> {
        let bytes = metadata.files().bytes();
        anyhow::ensure!(bytes <= self.max_bytes, "the bundle has {bytes} bytes, --max-bytes allows {}", self.max_bytes);
        let bar = progress::bytes(out, bytes, "fetching");
        let peers = found.peers(&self.swarm.peers);
        let transfer = Transfer {
            metadata,
            dir: target.staging(),
            peers: &peers,
            trackers: found.trackers(),
            web_seeds: found.web_seeds(),
            only,
            stall: self.stall,
        };
        let last = Cell::new(Progress::default());
        let told = |progress: Progress| {
            last.set(progress);
            bar.set_length(progress.total);
            bar.set_position(progress.have);
        };
        let done = swarm.fetch(&transfer, &told).await;
        bar.finish_and_clear();
        match done {
            Ok(done) => Ok((done, Ok(()))),
            // Everything came, and is not what it was called.
            Err(error @ SwarmError::OtherRoot { .. }) => Ok((last.get(), Err(error))),
            Err(error) => Err(error.into()),
        }
    }

    /// Files and steps of a sample; none if everything is wanted.
    fn sample(&self, metadata: &Metadata) -> anyhow::Result<Option<Sample>> {
        if self.only == Only::All {
            return Ok(None);
        }
        anyhow::ensure!(self.k > 0, "--k is 0: a sample has at least one step");
        let files = || metadata.files().files().iter().filter_map(|file| Some((file, source::run_file(&file.path)?)));
        let step_of = |file: RunFile| match file {
            RunFile::Proof(step) | RunFile::ChunkProof(step, _) => Some(step.0),
            _ => None,
        };
        let mut left: Vec<u64> = files().filter_map(|(_, file)| step_of(file)).collect();
        left.dedup();
        let mut steps = BTreeSet::new();
        while steps.len() < self.k && !left.is_empty() {
            // The bias of the remainder is below 2^-32 for any run.
            let at = (OsRng.next_u64() % left.len() as u64) as usize;
            steps.insert(left.swap_remove(at));
        }
        let wanted = |file: RunFile| step_of(file).is_none_or(|step| steps.contains(&step));
        let files = files().filter(|(_, file)| wanted(*file)).map(|(file, _)| file.path.clone()).collect();
        Ok(Some(Sample { files, steps: steps.into_iter().collect() }))
    }

    /// The whole torrent, so that others can be given it; none if a stranger laid it out in another way.
    fn torrent_of(&self, metadata: &Metadata, found: &Found, target: &Target) -> anyhow::Result<Option<Metainfo>> {
        let content = Directory(target.staging().to_owned());
        let hashes = torrent::hash(metadata.files(), metadata.piece_length(), &content, &|_| ())?;
        let web_seeds: Vec<WebSeed> = found.web_seeds().to_vec();
        let options = Options {
            visibility: metadata.visibility(),
            source: metadata.source().map(str::to_owned),
            trackers: found.trackers().to_vec(),
            web_seeds,
        };
        let torrent =
            Metainfo::new(metadata.name(), metadata.files().clone(), metadata.piece_length(), hashes, options)?;
        Ok(Some(torrent).filter(|torrent| torrent.infohash_v1() == metadata.infohash_v1()))
    }
}

/// Ends the process when nobody writes to it any more. What has arrived stays, as after a kill.
fn end_with_stdin() {
    let ended = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
    let why = ended.err().map(|error| format!(": {error}")).unwrap_or_default();
    // Whoever would read it may be gone as well, so that it cannot be written.
    let _ = writeln!(std::io::stderr(), "cairn: standard input ended{why}");
    std::process::exit(2);
}

/// What `--only sampled` fetches.
struct Sample {
    files: BTreeSet<ContentPath>,
    steps: Vec<u64>,
}

fn text(r: &Report) -> String {
    let mut lines =
        vec![format!("run {}, {} steps, {} of {} bytes received", r.run, r.steps, r.received, r.padded_bytes)];
    for c in &r.checks {
        lines.push(format!("  {} {:42} {}", mark(c), c.check, c.detail));
    }
    if let Some(dir) = &r.dir {
        lines.push(format!("here       {}", dir.display()));
    }
    if let Some(dir) = &r.quarantine {
        lines.push(format!("put aside {}", dir.display()));
    }
    lines.push(match (r.ok, &r.chain_root) {
        (true, Some(_)) => format!("it is what is anchored; {} are not proved", r.not_proved),
        (true, None) => "it agrees with itself; no chain was asked whether it is anchored".to_owned(),
        (false, _) => "it does not hold".to_owned(),
    });
    lines.join("\n")
}
