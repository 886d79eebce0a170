//! Which run on which chain a command is about.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::anyhow;
use chain::{Client, Writer};
use clap::Args;
use ledger::{Address, IdError, RunId};
use serde::Serialize;
use store::RunDir;

use crate::cmd::deploy::SignerArgs;
use crate::output::failed;
use crate::run::open;

/// A run by its id or by its directory.
#[derive(Clone, Debug)]
pub enum RunRef {
    /// The id alone.
    Id(RunId),
    /// A directory, which also says chain and contract.
    Dir(PathBuf),
}

impl FromStr for RunRef {
    type Err = IdError;

    /// What begins with `0x` is an id; a directory of such a name is written `./0x…`.
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.starts_with("0x") { text.parse().map(Self::Id) } else { Ok(Self::Dir(PathBuf::from(text))) }
    }
}

/// A run on a chain.
#[derive(Args)]
pub struct RunTarget {
    /// Id of the run, 0x…, or its directory.
    #[arg(long, value_name = "ID|DIR")]
    run: RunRef,
    /// Address of the node.
    #[arg(long)]
    pub rpc: String,
    /// RunAnchor; with a directory, the one the run was made for if not given.
    #[arg(long)]
    contract: Option<Address>,
}

/// What a [`RunTarget`] names.
pub struct Target {
    /// The run.
    pub run: RunId,
    /// Its contract.
    pub contract: Address,
    /// Its directory, if that was given.
    pub dir: Option<RunDir>,
}

impl RunTarget {
    /// Opens the directory, if it is one.
    ///
    /// Errors: no contract is known.
    pub fn resolve(&self) -> anyhow::Result<Target> {
        match &self.run {
            RunRef::Id(run) => {
                let contract = self.contract.ok_or_else(|| anyhow!("--contract is missing: an id does not say it"))?;
                Ok(Target { run: *run, contract, dir: None })
            }
            RunRef::Dir(path) => {
                let dir = open(path)?;
                let run = dir.run().description();
                let contract = self.contract.unwrap_or(run.identity.contract);
                Ok(Target { run: run.run, contract, dir: Some(dir) })
            }
        }
    }
}

impl Target {
    /// Connects, and refuses a chain or contract that the directory's run is not for.
    ///
    /// Errors: a failed check `run identity`; the node fails.
    pub async fn client(&self, rpc: &str) -> anyhow::Result<Client> {
        let client = crate::rpc::connect(rpc).await?;
        if let Some(dir) = &self.dir {
            let identity = &dir.run().description().identity;
            if identity.chain_id != client.chain() || identity.contract != self.contract {
                let detail = format!(
                    "the run is for chain {} contract {}, asked about chain {} contract {}",
                    identity.chain_id,
                    identity.contract,
                    client.chain(),
                    self.contract
                );
                return Err(failed("run identity", detail));
            }
        }
        Ok(client)
    }

    /// As [`Target::client`], to write with.
    pub async fn writer(&self, rpc: &str, signer: &SignerArgs) -> anyhow::Result<Writer> {
        let signer = signer.signer()?;
        Ok(Writer::new(self.client(rpc).await?, signer))
    }
}

/// What a command did on a chain: one transaction, or none if there was nothing to do.
#[derive(Serialize)]
pub struct Acted {
    /// The command.
    pub action: &'static str,
    /// Chain.
    pub chain_id: u64,
    /// Contract that was called.
    pub contract: Address,
    /// The run or circuit family it was about.
    pub subject: String,
    /// Who sent it.
    pub sender: Address,
    /// Hash; none if nothing had to be done.
    pub transaction: Option<String>,
    /// Block that holds it.
    pub block: Option<u64>,
    /// Gas it used.
    pub gas: Option<u64>,
}

impl Acted {
    /// A mined transaction, or none.
    pub fn new(
        action: &'static str,
        writer: &Writer,
        contract: Address,
        subject: impl std::fmt::Display,
        sent: Option<chain::Sent>,
    ) -> Self {
        Self {
            action,
            chain_id: writer.client().chain().0,
            contract,
            subject: subject.to_string(),
            sender: writer.address(),
            transaction: sent.map(|sent| sent.tx.to_string()),
            block: sent.map(|sent| sent.block),
            gas: sent.map(|sent| sent.gas),
        }
    }

    /// One line for people.
    pub fn text(&self) -> String {
        let Self { action, subject, .. } = self;
        match (&self.transaction, self.block, self.gas) {
            (Some(tx), Some(block), Some(gas)) => format!("{action} {subject}: {tx} in block {block}, {gas} gas"),
            _ => format!("{action} {subject}: nothing to do"),
        }
    }
}
