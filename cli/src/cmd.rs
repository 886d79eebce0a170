//! The commands; one file each.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::home::Home;
use crate::output::Output;
use crate::rpc;

mod admin;
mod aggregate;
mod anchor;
mod attest;
mod bundle;
mod check_weights;
mod deploy;
mod fetch;
mod gate;
mod keys;
mod open;
mod portal;
mod prover;
mod registry;
mod seed;
mod srs;
mod status;
mod target;
mod tracker;
mod train;
pub mod verifier;
pub mod verify;

/// Options of every command.
#[derive(Args)]
pub struct Global {
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress bars and remarks.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Directory of reference strings, keys and private states.
    #[arg(long, global = true, env = "CAIRN_HOME", default_value = ".cairn")]
    pub home: PathBuf,
    /// Which reference string: `dev` (development, not secure) or the label of an imported one.
    #[arg(long, global = true, default_value = "dev", value_name = "LABEL")]
    pub srs: String,
    /// Seconds given to the node for one request; a request that got no answer is repeated three times.
    #[arg(long, global = true, default_value = "20", value_name = "SECONDS", value_parser = rpc::seconds)]
    pub rpc_timeout: Duration,
}

impl Global {
    /// The home directory.
    pub fn home<'o>(&self, out: &'o Output) -> anyhow::Result<Home<'o>> {
        Home::new(&self.home, &self.srs, out)
    }
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Structured reference strings: make the development one, import a ceremony's, list.
    #[command(subcommand)]
    Srs(srs::Srs),
    /// Generate the keys of a circuit and print their digests.
    Keys(keys::Keys),
    /// Train a model with the reference trainer and prove every step.
    Train(train::Train),
    /// The prover service, for trainers in Python and other languages.
    #[command(subcommand)]
    Prover(prover::Prover),
    /// The audit portal: follow contracts, serve what they say.
    #[command(subcommand)]
    Portal(portal::Portal),
    /// Check a run: log, proofs, links, epochs and, with --rpc, the chain.
    Verify(verify::Verify),
    /// Aggregate the finished epochs of a run.
    Aggregate(aggregate::Aggregate),
    /// Generate the Solidity verifier of a run's epochs.
    Verifier(verifier::Verifier),
    /// Deploy the contracts and the verifier of a run.
    Deploy(deploy::Deploy),
    /// Register a run, anchor its epochs, finalize it.
    Anchor(anchor::Anchor),
    /// What a run's owner does besides: finalize, announce, submitters, transfer.
    #[command(subcommand)]
    Admin(admin::Admin),
    /// Who verifies: show, freeze, prove a verifier broken, hand over.
    #[command(subcommand)]
    Registry(registry::Registry),
    /// What auditors say about runs: sign, publish, revoke, list.
    #[command(subcommand)]
    Attest(attest::Attest),
    /// Check that a run passes a policy, as a contract that relies on it would.
    Gate(gate::Gate),
    /// Make the .torrent and the magnet links of a run.
    Bundle(bundle::Bundle),
    /// Seed runs for others to fetch.
    Seed(seed::Seed),
    /// Fetch a run from peers and check it against the chain.
    Fetch(fetch::Fetch),
    /// Run a tracker for a closed network.
    Tracker(tracker::Tracker),
    /// Show where a run stands.
    Status(status::Status),
    /// Write the weights and the opening of one state, to be given to a buyer.
    Open(open::Open),
    /// Check that weights and an opening are the state of a run at a step.
    CheckWeights(check_weights::CheckWeights),
}

impl Command {
    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        match self {
            Self::Srs(c) => c.run(global, out),
            Self::Keys(c) => c.run(global, out),
            Self::Train(c) => c.run(global, out),
            Self::Prover(c) => c.run(global, out),
            Self::Portal(c) => c.run(global, out),
            Self::Verify(c) => c.run(global, out),
            Self::Aggregate(c) => c.run(global, out),
            Self::Verifier(c) => c.run(global, out),
            Self::Deploy(c) => c.run(global, out),
            Self::Anchor(c) => c.run(global, out),
            Self::Admin(c) => c.run(global, out),
            Self::Registry(c) => c.run(global, out),
            Self::Attest(c) => c.run(global, out),
            Self::Gate(c) => c.run(global, out),
            Self::Bundle(c) => c.run(global, out),
            Self::Seed(c) => c.run(global, out),
            Self::Fetch(c) => c.run(global, out),
            Self::Tracker(c) => c.run(global, out),
            Self::Status(c) => c.run(global, out),
            Self::Open(c) => c.run(global, out),
            Self::CheckWeights(c) => c.run(global, out),
        }
    }
}

/// Runs asynchronous work of one command.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Runtime::new()?.block_on(work)
}

/// Ready at the first SIGINT or SIGTERM. The second ends the process at once, as without a handler.
#[cfg(unix)]
pub fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            std::process::exit(130);
        });
    })
}

#[cfg(not(unix))]
pub fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    Ok(async {
        // Without a handler there is nothing to wait for but the end of the process.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
