//! `cairn deploy`.

use std::path::{Path, PathBuf};

use chain::{Client, DelaySecs, DeployPlan, Deployed, InitCode, LogSteps, Signer, VerifierAddition, Writer};
use clap::Args;
use ledger::{Address, Digest, FieldElement, Salt, Selector};
use serde::Serialize;

use crate::cmd::{Global, block_on, verifier};
use crate::output::Output;
use crate::rpc::RpcArgs;
use crate::run::open;

/// How transactions are signed.
#[derive(Args)]
pub struct SignerArgs {
    /// File with the private key in hex; else the variable CAIRN_PRIVATE_KEY.
    #[arg(long)]
    key_file: Option<PathBuf>,
    /// Sign with anvil's public development key. For development chains only.
    #[arg(long, conflicts_with = "key_file")]
    anvil_dev_key: bool,
    #[command(flatten)]
    rpc: RpcArgs,
}

impl SignerArgs {
    /// The signer.
    pub fn signer(&self) -> anyhow::Result<Signer> {
        Ok(match (&self.key_file, self.anvil_dev_key) {
            (Some(path), _) => Signer::from_file(path)?,
            (None, true) => Signer::anvil_development_key()?,
            (None, false) => Signer::from_env()?,
        })
    }

    /// A connection that writes.
    pub async fn writer(&self, rpc: &str) -> anyhow::Result<Writer> {
        Ok(Writer::new(Client::connect(rpc, self.rpc.options()).await?, self.signer()?))
    }
}

/// Deploy registry and anchor and, with --run, the verifier of the run's epochs. Repeating it changes nothing.
#[derive(Args)]
#[command(after_help = "Example: cairn deploy --rpc http://127.0.0.1:8545 --anvil-dev-key --run DIR --solc solc")]
pub struct Deploy {
    /// Address of the node.
    #[arg(long)]
    rpc: String,
    #[command(flatten)]
    signer: SignerArgs,
    /// Guardian, who may freeze a verifier; the signer if not given.
    #[arg(long)]
    guardian: Option<Address>,
    /// Seconds between proposal and addition of a verifier.
    #[arg(long, default_value_t = 0)]
    delay: u64,
    /// Also deploy the verifiers of this run's epochs.
    #[arg(long = "run", value_name = "DIR", requires = "solc")]
    dir: Option<PathBuf>,
    /// Compiler for the verifiers, speaks --standard-json.
    #[arg(long)]
    solc: Option<PathBuf>,
    /// Where the verifiers' sources are kept; not kept if not given.
    #[arg(long)]
    sources: Option<PathBuf>,
}

#[derive(Serialize)]
struct VerifierReport {
    address: Address,
    n_steps: u64,
    verifier_bytes: usize,
    verifier_deploy_gas: Option<u64>,
    active: bool,
}

#[derive(Serialize)]
struct Report {
    chain_id: u64,
    owner: Address,
    registry: Address,
    contract: Address,
    selector: Option<Selector>,
    verifiers: Vec<VerifierReport>,
    transactions: Vec<String>,
    gas: u64,
}

/// Circuit family of a step key: the first bytes of a hash of its digest.
pub fn selector(step_key_digest: FieldElement) -> Selector {
    let mut bytes = b"cairn/selector/v1".to_vec();
    bytes.extend_from_slice(step_key_digest.as_bytes());
    let Digest(hash) = Digest::of(&bytes);
    Selector([hash[0], hash[1], hash[2], hash[3]])
}

impl Deploy {
    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let codes = match (&self.dir, &self.solc) {
            (Some(dir), Some(solc)) => self.verifier_codes(global, out, dir, solc)?,
            _ => Vec::new(),
        };
        let family = match &self.dir {
            Some(dir) => Some(selector(open(dir)?.run().description().policy.step_key_digest)),
            None => None,
        };
        let report = block_on(self.deploy(out, family, codes))?;
        out.result(&report, |r| {
            let mut lines = vec![
                format!("chain    {}", r.chain_id),
                format!("registry {}", r.registry),
                format!("anchor   {}", r.contract),
            ];
            for v in &r.verifiers {
                let gas = v.verifier_deploy_gas.map_or_else(|| "was there".to_owned(), |g| format!("{g} gas"));
                lines
                    .push(format!("verifier {} for {} steps, {} bytes, {gas}", v.address, v.n_steps, v.verifier_bytes));
            }
            lines.join("\n")
        })
    }

    /// Creation code for each size of epoch that the run has or will have.
    fn verifier_codes(
        &self,
        global: &Global,
        out: &Output,
        dir: &Path,
        solc: &Path,
    ) -> anyhow::Result<Vec<(u64, verifier_gen::Compiled)>> {
        let home = global.home(out)?;
        let dir = open(dir)?;
        let run = dir.run().description();
        let mut sizes = vec![run.epoch_len.steps()];
        for epoch in 0..dir.n_epochs()? {
            sizes.push(dir.epoch(ledger::EpochIndex(epoch))?.record().n_steps());
        }
        sizes.sort_unstable();
        sizes.dedup();
        let mut codes = Vec::new();
        for n_steps in sizes {
            let source = verifier::generate(&home, run, n_steps as usize)?;
            if let Some(sources) = &self.sources {
                std::fs::create_dir_all(sources)?;
                std::fs::write(sources.join(format!("EpochVerifier{n_steps}.sol")), &source.solidity)?;
            }
            codes.push((n_steps, verifier::compile(solc, &source)?));
        }
        Ok(codes)
    }

    async fn deploy(
        &self,
        out: &Output,
        family: Option<Selector>,
        codes: Vec<(u64, verifier_gen::Compiled)>,
    ) -> anyhow::Result<Report> {
        let writer = self.signer.writer(&self.rpc).await?;
        let owner = writer.address();
        let plan = DeployPlan::new(owner, self.guardian.unwrap_or(owner), DelaySecs(self.delay), Salt([0; 32]))?;
        let (mut transactions, mut gas) = (Vec::new(), 0);
        let mut count = |sent: Option<chain::Sent>| {
            if let Some(sent) = sent {
                transactions.push(sent.tx.to_string());
                gas += sent.gas;
            }
        };
        let registry = writer.deploy(&plan.registry).await?;
        count(registry.sent);
        let anchor = writer.deploy(&plan.anchor).await?;
        count(anchor.sent);
        let mut verifiers = Vec::new();
        for (n_steps, compiled) in codes {
            let code = InitCode::verifier(compiled.creation, Salt([0; 32]));
            let Deployed { address, code_len, sent } = writer.deploy(&code).await?;
            count(sent);
            let Some(family) = family else { continue };
            let size = LogSteps(n_steps.ilog2() as u8);
            let active = match writer.add_verifier(registry.address, family, size, address).await? {
                VerifierAddition::Active(sent) => {
                    sent.into_iter().for_each(|s| count(Some(s)));
                    true
                }
                VerifierAddition::Waiting { ready_at, sent } => {
                    count(sent);
                    out.note(format!("verifier {address} can be added from {ready_at} (unix seconds); run this again"));
                    false
                }
            };
            verifiers.push(VerifierReport {
                address,
                n_steps,
                verifier_bytes: code_len,
                verifier_deploy_gas: sent.map(|s| s.gas),
                active,
            });
        }
        Ok(Report {
            chain_id: writer.client().chain().0,
            owner,
            registry: registry.address,
            contract: anchor.address,
            selector: family,
            verifiers,
            transactions,
            gas,
        })
    }
}
