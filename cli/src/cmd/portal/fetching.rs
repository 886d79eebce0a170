//! Announced bundles, each fetched by a `cairn fetch` of its own: what peers send can take that process along, not the portal.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use ledger::{Address, ChainId};
use portal::bundles::{FetchOptions, Transfer, TransferError, Transferring, Wanted};
use serde::Deserialize;
use store::layout::run_dir_name;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use torrent::swarm::Discovery;
use torrent::{InfohashV1, InfohashV2, Magnet, Tracker};

use crate::cmd::Global;
use crate::rpc;
use crate::swarm::{SwarmArgs, leaks};

/// Longest report that is read, bytes.
const MAX_REPORT: u64 = 4 << 20;

/// How much of what it says on standard error is kept, from the end.
const MAX_SAID: usize = 4 << 10;

/// What a fetching process gets of the environment. The rest may hold passwords, and it talks to strangers.
const ENVIRONMENT: [&str; 14] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "RUST_BACKTRACE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "ALL_PROXY",
];

/// Whether and how announced bundles are fetched.
#[derive(Args)]
pub struct FetchArgs {
    /// Fetch bundles of anchored runs that were announced on chain and are not in the folder, or have fewer steps there; each
    /// by `cairn fetch` in a process of its own. Directories that did not come so or by upload are never replaced.
    #[arg(long, requires = "bundles")]
    fetch: bool,
    /// How many are fetched at once. Limits of rates are for each.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "fetch", value_parser = jobs)]
    fetch_jobs: usize,
    /// Seconds that one may take. The next attempt goes on with what came.
    #[arg(long, value_name = "SECONDS", default_value = "3600", requires = "fetch", value_parser = rpc::seconds)]
    fetch_time: Duration,
    /// Bytes in the folder of bundles above which nothing more is fetched.
    #[arg(long, value_name = "BYTES", default_value_t = 200_000_000_000, requires = "fetch")]
    fetch_space: u64,
    /// Tracker to ask for every bundle; may be repeated. The chain names none.
    #[arg(long = "tracker", value_name = "URL", requires = "trackers")]
    tracker_urls: Vec<Tracker>,
    #[command(flatten)]
    swarm: SwarmArgs,
}

fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=64) => Ok(n),
        _ => Err(format!("expected 1 to 64, got {text:?}")),
    }
}

/// Nodes, by what is read there.
pub type Nodes = BTreeMap<(ChainId, Address), String>;

impl FetchArgs {
    /// How bundles are fetched into a folder, if they are. Says once in the log what others will learn.
    ///
    /// Errors: nobody to ask is named.
    pub fn options(&self, global: &Global, folder: &Path, nodes: &Nodes) -> anyhow::Result<Option<FetchOptions>> {
        if !self.fetch {
            return Ok(None);
        }
        let discovery: BTreeSet<Discovery> = self.swarm.discovery().collect();
        let by_tracker = discovery.contains(&Discovery::Trackers);
        anyhow::ensure!(
            by_tracker != self.tracker_urls.is_empty(),
            "--trackers: the chain names no trackers; --tracker URL does"
        );
        anyhow::ensure!(
            !self.swarm.peers.is_empty() || !discovery.is_empty(),
            "--fetch: nobody to ask: give --peer, --dht, --lsd, or --trackers with --tracker URL"
        );
        leaks(&discovery).for_each(|leak| tracing::warn!("fetching: {leak}"));
        let mut arguments: Vec<OsString> = ["fetch", "--json", "--quiet", "--until-eof"].map(OsString::from).to_vec();
        arguments.extend(["--home".into(), global.home.clone().into_os_string()]);
        arguments.extend(["--out".into(), folder.as_os_str().to_owned()]);
        arguments.push(format!("--rpc-timeout={}", global.rpc_timeout.as_secs_f64()).into());
        arguments.extend(self.swarm.arguments().into_iter().map(OsString::from));
        let child = Child {
            program: std::env::current_exe().context("where this program is")?,
            arguments,
            folder: folder.to_owned(),
            nodes: nodes.clone(),
            trackers: self.tracker_urls.clone(),
        };
        Ok(Some(FetchOptions {
            transfer: Arc::new(child),
            n_jobs: self.fetch_jobs,
            time_limit: self.fetch_time,
            space: self.fetch_space,
        }))
    }
}

/// Fetches by `cairn fetch`.
struct Child {
    program: PathBuf,
    /// What is the same for all.
    arguments: Vec<OsString>,
    folder: PathBuf,
    nodes: Nodes,
    trackers: Vec<Tracker>,
}

/// What is read of its report.
#[derive(Deserialize)]
struct Report {
    quarantine: Option<PathBuf>,
}

fn unable(what: &str, error: impl std::fmt::Display) -> TransferError {
    TransferError::Unable { reason: format!("{what}: {error}") }
}

impl Transfer for Child {
    fn transfer(&self, wanted: Wanted) -> Transferring {
        let run = wanted.offer.name.run;
        let quarantine = self.folder.join(format!("{}.quarantine", run_dir_name(run)));
        let command = self.command(wanted);
        Box::pin(async move { fetched(command?, &quarantine).await })
    }
}

impl Child {
    fn command(&self, Wanted { offer, max_bytes }: Wanted) -> Result<Command, TransferError> {
        let (name, bundle) = (offer.name, offer.announcement);
        let node = self.nodes.get(&(name.chain, name.contract));
        // Another portal may follow more contracts into the same index.
        let node = node.ok_or_else(|| unable("node", format!("no --chain is for contract {}", name.contract)))?;
        let link = Magnet {
            v1: InfohashV1(bundle.infohash_v1),
            v2: Some(InfohashV2(bundle.infohash_v2)),
            name: Some(run_dir_name(name.run)),
            trackers: self.trackers.clone(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
        };
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command.args([format!("--magnet={link}"), format!("--rpc={node}"), format!("--contract={}", name.contract)]);
        command.args([format!("--from-block={}", offer.first_block), format!("--max-bytes={max_bytes}")]);
        command.env_clear();
        command.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }
}

/// Runs the command to its end. What it put aside is removed: whoever wants to look at it can fetch it.
async fn fetched(mut command: Command, quarantine: &Path) -> Result<(), TransferError> {
    let mut child = command.spawn().map_err(|error| unable("start cairn fetch", error))?;
    // Open as long as the portal wants it to run, and closed by the system if the portal is killed.
    let _stdin = child.stdin.take();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (report, said) = tokio::join!(report(stdout), said(stderr));
    let status = child.wait().await.map_err(|error| unable("cairn fetch", error))?;
    if let Some(aside) = report.and_then(|report| report.quarantine) {
        let is_ours = aside.parent() == quarantine.parent()
            && aside.as_os_str().as_encoded_bytes().starts_with(quarantine.as_os_str().as_encoded_bytes());
        let removed = if is_ours { tokio::fs::remove_dir_all(&aside).await } else { Ok(()) };
        if let Err(error) = removed {
            tracing::warn!(%error, "fetching: {} is left behind: {error}", aside.display());
        }
    }
    let reason = match last_line(&said) {
        Some(line) => line.strip_prefix("cairn: ").unwrap_or(line).to_owned(),
        None => format!("cairn fetch: {status}"),
    };
    match status.code() {
        Some(0) => Ok(()),
        Some(1) => Err(TransferError::Refused { reason }),
        _ => Err(TransferError::Unable { reason }),
    }
}

async fn report(stdout: Option<impl AsyncRead + Unpin>) -> Option<Report> {
    let mut text = Vec::new();
    // What cannot be read is no report.
    stdout?.take(MAX_REPORT).read_to_end(&mut text).await.ok()?;
    serde_json::from_slice(&text).ok()
}

/// The end of what it says.
async fn said(stderr: Option<impl AsyncRead + Unpin>) -> String {
    let (mut text, mut piece) = (Vec::new(), [0; 1024]);
    let Some(mut stderr) = stderr else { return String::new() };
    while let Ok(n @ 1..) = stderr.read(&mut piece).await {
        text.extend_from_slice(&piece[..n]);
        let above = text.len().saturating_sub(MAX_SAID);
        text.drain(..above);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn last_line(said: &str) -> Option<&str> {
    said.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with("hint: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_line_that_is_no_hint() {
        let said = "cairn: one\ncairn: check failed: manifest\nhint: is a node running at that address?\n\n";
        assert_eq!(last_line(said), Some("cairn: check failed: manifest"));
        assert_eq!(last_line("\n"), None);
    }

    #[tokio::test]
    async fn only_the_end_of_what_it_says_is_kept() {
        let long = [vec![b'x'; 100_000], b"\nthe end".to_vec()].concat();
        let said = said(Some(&long[..])).await;
        assert_eq!((said.len(), last_line(&said)), (MAX_SAID, Some("the end")));
    }
}
