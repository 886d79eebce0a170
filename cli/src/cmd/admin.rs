//! `cairn admin`: what a run's owner does besides anchoring.

use anyhow::Context;
use chain::{Announcement, SubmitterRight};
use clap::{Args, Subcommand};
use ledger::{Address, Digest, TreeSize};

use crate::cmd::deploy::SignerArgs;
use crate::cmd::target::{Acted, RunTarget};
use crate::cmd::{Global, block_on};
use crate::output::Output;

/// What is done to a run.
#[derive(Subcommand)]
pub enum Admin {
    /// End a run: no epoch can follow, children may start. Nothing happens if it has ended.
    #[command(after_help = "Example: cairn admin finalize --run DIR --rpc http://127.0.0.1:8545 --key-file KEY")]
    Finalize {
        #[command(flatten)]
        run: RunArgs,
    },
    /// Say on the chain where the bundle of a run's first steps is.
    #[command(
        after_help = "Example: cairn admin announce --run DIR --rpc URL --key-file KEY --size 8 --manifest-digest 0x… --infohash-v1 HEX --infohash-v2 0x…"
    )]
    Announce {
        #[command(flatten)]
        run: RunArgs,
        /// Steps in the bundle; they must be anchored.
        #[arg(long, value_name = "STEPS")]
        size: TreeSize,
        /// SHA-256 of the bundle's manifest.
        #[arg(long)]
        manifest_digest: Digest,
        /// SHA-1 infohash (BEP 3), 40 hex digits.
        #[arg(long, value_parser = infohash_v1)]
        infohash_v1: [u8; 20],
        /// SHA-256 infohash (BEP 52).
        #[arg(long)]
        infohash_v2: Digest,
    },
    /// Allow or forbid an account to anchor and announce.
    #[command(after_help = "Example: cairn admin submitter --run DIR --rpc URL --key-file KEY --account 0x… --allow")]
    Submitter {
        #[command(flatten)]
        run: RunArgs,
        /// The account.
        #[arg(long)]
        account: Address,
        #[command(flatten)]
        right: Right,
    },
    /// Offer a run to another account, which becomes its owner by accepting.
    #[command(after_help = "Example: cairn admin offer --run DIR --rpc URL --key-file KEY --to 0x…")]
    Offer {
        #[command(flatten)]
        run: RunArgs,
        #[command(flatten)]
        to: Recipient,
    },
    /// Take an offered run over. Submitters of the owner before are not the new owner's.
    #[command(after_help = "Example: cairn admin accept --run 0x… --rpc URL --contract 0x… --key-file KEY")]
    Accept {
        #[command(flatten)]
        run: RunArgs,
    },
}

/// A run, and who signs.
#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    target: RunTarget,
    #[command(flatten)]
    signer: SignerArgs,
}

/// One of two.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Right {
    /// It may from now on.
    #[arg(long)]
    allow: bool,
    /// It may no longer.
    #[arg(long)]
    forbid: bool,
}

/// Who gets something.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Recipient {
    /// The account that may accept.
    #[arg(long)]
    to: Option<Address>,
    /// Withdraw the offer.
    #[arg(long)]
    withdraw: bool,
}

impl Recipient {
    /// The account; none withdraws.
    pub fn account(&self) -> Option<Address> {
        self.to
    }
}

impl Admin {
    /// Runs the command.
    pub fn run(self, _: &Global, out: &Output) -> anyhow::Result<()> {
        out.result(&block_on(self.act())?, Acted::text)
    }

    async fn act(self) -> anyhow::Result<Acted> {
        let args = match &self {
            Self::Finalize { run } | Self::Accept { run } => run,
            Self::Announce { run, .. } | Self::Submitter { run, .. } | Self::Offer { run, .. } => run,
        };
        let target = args.target.resolve()?;
        let writer = target.writer(&args.target.rpc, &args.signer).await?;
        let (contract, run) = (target.contract, target.run);
        let (action, sent) = match &self {
            Self::Finalize { .. } => ("finalize", writer.finalize(contract, run).await?.into_inner()),
            Self::Announce { size, manifest_digest, infohash_v1, infohash_v2, .. } => {
                let bundle = Announcement {
                    size: *size,
                    manifest_digest: *manifest_digest,
                    infohash_v1: *infohash_v1,
                    infohash_v2: *infohash_v2,
                };
                ("announce", Some(writer.announce(contract, run, &bundle).await?))
            }
            Self::Submitter { account, right, .. } => {
                let right = if right.allow { SubmitterRight::Granted } else { SubmitterRight::Withdrawn };
                ("submitter", Some(writer.set_submitter(contract, run, *account, right).await?))
            }
            Self::Offer { to, .. } => ("offer", Some(writer.offer_run(contract, run, to.account()).await?)),
            Self::Accept { .. } => ("accept", Some(writer.accept_run(contract, run).await?)),
        };
        Ok(Acted::new(action, &writer, contract, run, sent))
    }
}

/// 20 bytes of hex, with or without `0x`: magnets write it without.
fn infohash_v1(text: &str) -> anyhow::Result<[u8; 20]> {
    let mut hash = [0; 20];
    hex::decode_to_slice(text.trim_start_matches("0x"), &mut hash).context("expected 40 hex digits")?;
    Ok(hash)
}
