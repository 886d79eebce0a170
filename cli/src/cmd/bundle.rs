//! `cairn bundle`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use ledger::Address;
use serde::Serialize;
use store::layout::{RunFile, run_dir_name};
use store::{FilesReport, ProofFiles, RunDir};
use torrent::{
    ContentHashes, Directory, FileList, Metainfo, Options, PieceLength, Tracker, Visibility, WebSeed, bundle_files,
};

use crate::capsule::{self, Made};
use crate::cmd::{Global, block_on};
use crate::output::{Output, failed};
use crate::progress;
use crate::rpc;
use crate::run::open;

/// Make the .torrent and the magnet links of a run's bundle.
///
/// The bundle is the run's directory as its manifest lists it: log, proofs, epochs, anchors; never weights or secrets. The
/// same run gives the same infohashes on every machine. Nothing is sent anywhere.
#[derive(Args)]
#[command(
    after_help = "Example: cairn bundle --run DIR --web-seed https://example.org/runs/\nExample: cairn bundle --run DIR --capsule FILE --rpc URL --contract 0x…"
)]
pub struct Bundle {
    /// Run directory.
    #[arg(long = "run", value_name = "DIR")]
    dir: PathBuf,
    /// Where the .torrent goes; DIR.torrent if not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// HTTP address below which the run's directory is (BEP 19); may be repeated.
    #[arg(long = "web-seed", value_name = "URL")]
    web_seeds: Vec<WebSeed>,
    /// Tracker, http, https or udp; may be repeated. Trackers, and whoever asks them, learn who has the run.
    #[arg(long = "tracker", value_name = "URL")]
    trackers: Vec<Tracker>,
    /// Clients may find peers by the trackers only (BEP 27). Changes the infohashes.
    #[arg(long)]
    private: bool,
    /// Name of a closed network, to keep its swarm apart. Changes the infohashes.
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// Also write a capsule: one file that verifies with no network at all.
    #[arg(long, value_name = "FILE", requires = "rpc")]
    capsule: Option<PathBuf>,
    /// Address of a node that keeps the proofs of its newest block, for the capsule.
    #[arg(long, requires_all = ["capsule", "contract"])]
    rpc: Option<String>,
    /// RunAnchor, for the capsule.
    #[arg(long, requires = "rpc")]
    contract: Option<Address>,
}

#[derive(Serialize)]
struct Report {
    run: String,
    steps: u64,
    root: String,
    files: u64,
    bytes: u64,
    piece_length: u32,
    pieces: u64,
    manifest_digest: String,
    infohash_v1: String,
    infohash_v2: String,
    torrent: PathBuf,
    torrent_bytes: u64,
    magnet_v1: String,
    magnet: String,
    #[serde(flatten)]
    capsule: Option<Made>,
}

impl Bundle {
    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let dir = open(&self.dir)?;
        let target = self.target(&dir)?;
        let log = dir.verify_log(ProofFiles::Check).map_err(|error| failed("log", error))?;
        let listed = dir.verify_files().map_err(|error| failed("manifest", error))?;
        let capsule = match (&self.capsule, &self.rpc, self.contract) {
            (Some(file), Some(rpc), Some(contract)) => {
                outside(&dir.path().canonicalize()?, file)?;
                let home = global.home(out)?;
                let made = block_on(async {
                    let client = rpc::connect(rpc).await?;
                    capsule::make(&home, (&dir, &log, &listed), (&client, contract), file).await
                })?;
                Some(made)
            }
            _ => None,
        };
        let visibility = if self.private { Visibility::Private } else { Visibility::Public };
        let options = Options { visibility, source: self.source, trackers: self.trackers, web_seeds: self.web_seeds };
        let torrent = make(out, &dir, &listed, options)?;
        let run = dir.run().run();
        write(&target, torrent.as_bytes())?;
        let report = Report {
            run: run.to_string(),
            steps: listed.manifest.size().0,
            root: listed.manifest.root().to_string(),
            files: torrent.files().files().len() as u64,
            bytes: torrent.files().bytes(),
            piece_length: torrent.piece_length().bytes(),
            pieces: torrent.hashes().pieces().len() as u64,
            manifest_digest: listed.manifest_digest.to_string(),
            infohash_v1: format!("0x{}", torrent.infohash_v1()),
            infohash_v2: format!("0x{}", torrent.infohash_v2()),
            torrent: target,
            torrent_bytes: torrent.as_bytes().len() as u64,
            magnet_v1: torrent.magnet_v1().to_string(),
            magnet: torrent.magnet().to_string(),
            capsule,
        };
        out.result(&report, text)
    }

    /// Where the `.torrent` goes: outside of the run, whose directory has nothing but the run.
    fn target(&self, dir: &RunDir) -> anyhow::Result<PathBuf> {
        let run = dir.path().canonicalize().with_context(|| format!("find {}", dir.path().display()))?;
        let target = self.out.clone().unwrap_or_else(|| beside(&run));
        outside(&run, &target)?;
        Ok(target)
    }
}

/// Refuses a file in the directory of a run, found as it is on the disk: nothing is in it but the run.
fn outside(run: &Path, target: &Path) -> anyhow::Result<()> {
    let above = target.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let above = above.canonicalize().with_context(|| format!("find the directory of {}", target.display()))?;
    anyhow::ensure!(!above.starts_with(run), "{} is inside of the run's directory", target.display());
    Ok(())
}

/// Where the torrent of a run's directory is unless another place is named.
pub fn beside(run: &Path) -> PathBuf {
    let mut beside = run.to_owned().into_os_string();
    beside.push(".torrent");
    beside.into()
}

/// The torrent of a run whose files were just compared with its manifest.
pub fn make(out: &Output, dir: &RunDir, listed: &FilesReport, options: Options) -> anyhow::Result<Metainfo> {
    let files = files(dir, listed)?;
    let piece_length = PieceLength::for_total(files.bytes());
    let hashes = hash(out, dir, &files, piece_length)?;
    Ok(Metainfo::new(&run_dir_name(dir.run().run()), files, piece_length, hashes, options)?)
}

/// The files of the bundle, whose lengths were just compared with the manifest.
fn files(dir: &RunDir, listed: &FilesReport) -> anyhow::Result<FileList> {
    let path = dir.file(RunFile::Manifest);
    let manifest_len = std::fs::metadata(&path).with_context(|| path.display().to_string())?.len();
    Ok(bundle_files(&listed.manifest, manifest_len)?)
}

fn hash(out: &Output, dir: &RunDir, files: &FileList, piece_length: PieceLength) -> anyhow::Result<ContentHashes> {
    let bar = progress::bytes(out, files.bytes(), "hashing");
    let content = Directory(dir.path().to_owned());
    let hashes = torrent::hash(files, piece_length, &content, &|bytes| bar.inc(bytes));
    bar.finish_and_clear();
    hashes.with_context(|| format!("hash the files of {}", dir.path().display()))
}

/// Replaces the file at once.
pub fn write(target: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut temporary = target.to_owned().into_os_string();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    std::fs::write(&temporary, bytes).with_context(|| format!("write {}", temporary.display()))?;
    std::fs::rename(&temporary, target).with_context(|| format!("write {}", target.display()))
}

fn text(r: &Report) -> String {
    format!(
        "run       {}\nbundle    {} steps, {} files, {} bytes in {} pieces of {}\nroot      {}\nmanifest  {}\nv1        {}\nv2        {}\ntorrent   {}\nmagnet    {}\nv1 magnet {}",
        r.run,
        r.steps,
        r.files,
        r.bytes,
        r.pieces,
        r.piece_length,
        r.root,
        r.manifest_digest,
        r.infohash_v1,
        r.infohash_v2,
        r.torrent.display(),
        r.magnet,
        r.magnet_v1
    )
}
