//! `cairn registry`: who verifies, and how to stop it.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use chain::LogSteps;
use clap::{Args, Subcommand, ValueEnum};
use ledger::{Address, Digest, Selector};
use serde::{Deserialize, Serialize};

use crate::cmd::admin::Recipient;
use crate::cmd::deploy::SignerArgs;
use crate::cmd::target::Acted;
use crate::cmd::{Global, block_on};
use crate::output::Output;

/// What is done to the registry of verifiers.
#[derive(Subcommand)]
pub enum Registry {
    /// Show owner, guardian and delay and, with --selector, whether it is stopped and which verifiers it has.
    #[command(after_help = "Example: cairn registry show --rpc URL --contract 0x… --selector 0x684c87c8")]
    Show {
        #[command(flatten)]
        place: Place,
        /// Circuit family.
        #[arg(long)]
        selector: Option<Selector>,
    },
    #[command(flatten)]
    Act(Action),
}

/// What sends a transaction.
#[derive(Subcommand)]
pub enum Action {
    /// Stop a circuit family at once and for ever; guardian or owner. Nothing happens if it is stopped.
    #[command(after_help = "Example: cairn registry freeze --rpc URL --contract 0x… --selector 0x… --key-file KEY")]
    Freeze {
        #[command(flatten)]
        signed: Signed,
        /// Circuit family.
        #[arg(long)]
        selector: Selector,
    },
    /// Stop a circuit family by showing that a verifier of it accepts what its circuit makes impossible; anybody.
    #[command(
        after_help = "The evidence is a JSON file: {\"instances\": [\"0x…\", …], \"proof\": \"0x…\"}, 18 words and one for each step; they need not be field elements.\n\nExample: cairn registry prove-broken --rpc URL --contract 0x… --selector 0x… --epoch-size 4 --evidence FILE --key-file KEY"
    )]
    ProveBroken {
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        verifier: VerifierPlace,
        /// Proof and instances that the verifier accepts.
        #[arg(long, value_name = "FILE")]
        evidence: PathBuf,
    },
    /// Withdraw the proposal of a verifier; owner.
    #[command(
        after_help = "Example: cairn registry cancel --rpc URL --contract 0x… --selector 0x… --epoch-size 4 --key-file KEY"
    )]
    Cancel {
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        verifier: VerifierPlace,
    },
    /// Offer a role to another account, which has it by accepting; who has it now.
    #[command(
        after_help = "Example: cairn registry offer --role guardian --rpc URL --contract 0x… --to 0x… --key-file KEY"
    )]
    Offer {
        #[command(flatten)]
        signed: Signed,
        /// What is offered.
        #[arg(long, value_enum, default_value_t)]
        role: Role,
        #[command(flatten)]
        to: Recipient,
    },
    /// Take an offered role over.
    #[command(after_help = "Example: cairn registry accept --role guardian --rpc URL --contract 0x… --key-file KEY")]
    Accept {
        #[command(flatten)]
        signed: Signed,
        /// What was offered.
        #[arg(long, value_enum, default_value_t)]
        role: Role,
    },
}

/// Who decides what in a registry.
#[derive(Clone, Copy, Default, ValueEnum)]
pub enum Role {
    /// Proposes and adds verifiers.
    #[default]
    Owner,
    /// Freezes circuit families.
    Guardian,
}

/// A registry, by the anchor that uses it.
#[derive(Args)]
pub struct Place {
    /// Address of the node.
    #[arg(long)]
    rpc: String,
    /// RunAnchor; its registry is meant.
    #[arg(long)]
    contract: Address,
}

/// A registry, and who signs.
#[derive(Args)]
pub struct Signed {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    signer: SignerArgs,
}

/// One verifier's place in the registry.
#[derive(Args)]
pub struct VerifierPlace {
    /// Circuit family.
    #[arg(long)]
    selector: Selector,
    /// Steps of its epochs, a power of two.
    #[arg(long, value_parser = log_steps, value_name = "STEPS")]
    epoch_size: LogSteps,
}

/// What shows that a verifier is broken.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Evidence {
    /// 32 bytes each, any value.
    instances: Vec<Digest>,
    /// `0x` hex, as the verifier takes it.
    proof: String,
}

#[derive(Serialize)]
struct Report {
    chain_id: u64,
    registry: Address,
    owner: Address,
    pending_owner: Option<Address>,
    guardian: Address,
    pending_guardian: Option<Address>,
    delay_secs: u64,
    selector: Option<Selector>,
    frozen: Option<bool>,
    verifiers: Vec<Standing>,
}

#[derive(Serialize)]
struct Standing {
    epoch_size: u64,
    address: Address,
    bytes: usize,
}

/// Largest epoch, 2^16 steps.
const MAX_LOG_STEPS: u8 = 16;

impl Registry {
    /// Runs the command.
    pub fn run(self, _: &Global, out: &Output) -> anyhow::Result<()> {
        match self {
            Self::Show { place, selector } => out.result(&block_on(show(&place, selector))?, text),
            Self::Act(action) => out.result(&block_on(action.act())?, Acted::text),
        }
    }
}

impl Action {
    fn signed(&self) -> &Signed {
        match self {
            Self::Freeze { signed, .. } | Self::ProveBroken { signed, .. } | Self::Cancel { signed, .. } => signed,
            Self::Offer { signed, .. } | Self::Accept { signed, .. } => signed,
        }
    }

    async fn act(self) -> anyhow::Result<Acted> {
        let Signed { place, signer } = self.signed();
        let writer = signer.writer(&place.rpc).await?;
        let client = writer.client();
        let registry = client.registry_of(place.contract).await?;
        let all = registry.to_string();
        let (action, subject, sent) = match &self {
            Self::Freeze { selector, .. } => {
                let stopped = client.is_frozen(registry, *selector).await?;
                let sent = if stopped { None } else { Some(writer.freeze(registry, *selector).await?) };
                ("freeze", selector.to_string(), sent)
            }
            Self::ProveBroken { verifier: VerifierPlace { selector, epoch_size }, evidence, .. } => {
                let (instances, proof) = Evidence::read(evidence)?;
                let sent = writer.freeze_by_proof(registry, *selector, *epoch_size, &proof, &instances).await?;
                ("prove-broken", selector.to_string(), Some(sent))
            }
            Self::Cancel { verifier: VerifierPlace { selector, epoch_size }, .. } => {
                let sent = writer.cancel_proposal(registry, *selector, *epoch_size).await?;
                ("cancel", selector.to_string(), Some(sent))
            }
            Self::Offer { to, role, .. } => {
                let sent = match role {
                    Role::Owner => writer.offer_registry(registry, to.account()).await?,
                    Role::Guardian => writer.offer_guardian(registry, to.account()).await?,
                };
                ("offer", all, Some(sent))
            }
            Self::Accept { role, .. } => {
                let sent = match role {
                    Role::Owner => writer.accept_registry(registry).await?,
                    Role::Guardian => writer.accept_guardian(registry).await?,
                };
                ("accept", all, Some(sent))
            }
        };
        Ok(Acted::new(action, &writer, registry, subject, sent))
    }
}

async fn show(place: &Place, selector: Option<Selector>) -> anyhow::Result<Report> {
    let client = crate::rpc::connect(&place.rpc).await?;
    let registry = client.registry_of(place.contract).await?;
    let facts = client.registry_facts(registry).await?;
    let frozen = match selector {
        Some(selector) => Some(client.is_frozen(registry, selector).await?),
        None => None,
    };
    let mut verifiers = Vec::new();
    // Verifiers of a stopped family are not handed out.
    if let (Some(selector), Some(false)) = (selector, frozen) {
        for log in 0..=MAX_LOG_STEPS {
            if let Some(address) = client.verifier_of(registry, selector, LogSteps(log)).await? {
                let bytes = client.code_len(address).await?;
                verifiers.push(Standing { epoch_size: 1 << log, address, bytes });
            }
        }
    }
    Ok(Report {
        chain_id: client.chain().0,
        registry,
        owner: facts.owner,
        pending_owner: facts.pending_owner,
        guardian: facts.guardian,
        pending_guardian: facts.pending_guardian,
        delay_secs: facts.delay.0,
        selector,
        frozen,
        verifiers,
    })
}

fn text(r: &Report) -> String {
    let mut lines = vec![
        format!("registry {} on chain {}", r.registry, r.chain_id),
        format!("owner    {}", r.owner),
        format!("guardian {}", r.guardian),
        format!("delay    {} s", r.delay_secs),
    ];
    if let Some(pending) = r.pending_owner {
        lines.push(format!("offered to {pending}"));
    }
    if let Some(pending) = r.pending_guardian {
        lines.push(format!("guardian's right offered to {pending}"));
    }
    if let (Some(selector), Some(frozen)) = (r.selector, r.frozen) {
        lines.push(format!("circuit  {selector}{}", if frozen { ", stopped" } else { "" }));
    }
    lines.extend(
        r.verifiers.iter().map(|v| format!("verifier {} of {} steps, {} bytes", v.address, v.epoch_size, v.bytes)),
    );
    lines.join("\n")
}

impl Evidence {
    /// Reads instances and proof.
    fn read(path: &Path) -> anyhow::Result<(Vec<[u8; 32]>, Vec<u8>)> {
        let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let evidence: Self = serde_json::from_slice(&bytes).with_context(|| format!("evidence {}", path.display()))?;
        let digits =
            evidence.proof.strip_prefix("0x").with_context(|| format!("{}: proof is not 0x hex", path.display()))?;
        let proof = hex::decode(digits).with_context(|| format!("{}: proof", path.display()))?;
        Ok((evidence.instances.into_iter().map(|word| word.0).collect(), proof))
    }
}

/// A power of two, up to 2^16.
fn log_steps(text: &str) -> anyhow::Result<LogSteps> {
    let steps: u64 = text.parse()?;
    ensure!(steps.is_power_of_two(), "expected a power of two, got {steps}");
    let log = steps.ilog2() as u8;
    ensure!(log <= MAX_LOG_STEPS, "expected at most {} steps, got {steps}", 1 << MAX_LOG_STEPS);
    Ok(LogSteps(log))
}
