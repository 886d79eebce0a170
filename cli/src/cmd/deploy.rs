//! `cairn deploy`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use chain::{DelaySecs, Deployed, DeployedVerifier, Deployment, InitCode, LogSteps, Signer, VerifierAddition, Writer};
use clap::Args;
use ledger::{Address, Digest, Salt, Selector};
use serde::Serialize;

use crate::cmd::{Global, block_on, verifier};
use crate::output::Output;
use crate::rpc;
use crate::run::{EpochCircuit, open, selector, wrap_k};

mod check;
mod recompile;
mod record;
mod solc;

use recompile::Recompiled;

/// How transactions are signed.
#[derive(Args)]
pub struct SignerArgs {
    /// File with the private key in hex; else the variable CAIRN_PRIVATE_KEY.
    #[arg(long)]
    key_file: Option<PathBuf>,
    /// Sign with anvil's public development key. For development chains only.
    #[arg(long, conflicts_with = "key_file")]
    anvil_dev_key: bool,
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
        Ok(Writer::new(rpc::connect(rpc).await?, self.signer()?))
    }
}

/// Deploy registry, anchor and attestations and, with --run, the verifier of the run's epochs. Repeating it changes nothing.
///
/// With --check nothing is sent: the code on the chain is compared with what the sources (and, with --run, the keys) give.
#[derive(Args)]
#[command(
    after_help = "Example: cairn deploy --rpc http://127.0.0.1:8545 --anvil-dev-key --run DIR --solc solc --record\nExample: cairn deploy --check --rpc http://127.0.0.1:8545 --record --run DIR --solc solc --recompile"
)]
pub struct Deploy {
    /// Address of the node.
    #[arg(long)]
    rpc: String,
    #[command(flatten)]
    signer: SignerArgs,
    /// Owner of the registry, who adds verifiers; the signer if not given.
    #[arg(long)]
    owner: Option<Address>,
    /// Guardian, who may freeze a verifier; the owner if not given.
    #[arg(long)]
    guardian: Option<Address>,
    /// Seconds between proposal and addition of a verifier; 0 if not given.
    #[arg(long)]
    delay: Option<u64>,
    /// CREATE2 salt of the contracts; zero if not given.
    #[arg(long)]
    salt: Option<Salt>,
    /// Also deploy the verifiers of this run's epochs.
    #[arg(long = "run", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Compiler, speaks --standard-json; if not given the one that `cargo xtask setup` installs.
    #[arg(long)]
    solc: Option<PathBuf>,
    /// Where the verifiers' sources are kept; not kept if not given.
    #[arg(long)]
    sources: Option<PathBuf>,
    /// Keep addresses in DIR/<chain id>.json, deploy/addresses if no DIR is given; with --check, compare with them.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = record::DIRECTORY)]
    record: Option<PathBuf>,
    /// Send nothing; compare the code on the chain with what the sources give.
    #[arg(long)]
    check: bool,
    /// With --check, also compile the contracts' sources in DIR, contracts/src if none is given, and compare with the code
    /// that this program carries.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "contracts/src", requires = "check")]
    recompile: Option<PathBuf>,
}

/// Code of one verifier, made from its key.
pub struct VerifierCode {
    n_steps: u64,
    key_digest: Digest,
    compiled: verifier_gen::Compiled,
}

impl VerifierCode {
    fn log_steps(&self) -> LogSteps {
        LogSteps(self.n_steps.ilog2() as u8)
    }
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
    attestations: Address,
    selector: Option<Selector>,
    verifiers: Vec<VerifierReport>,
    transactions: Vec<String>,
    gas: u64,
    /// Where it was recorded.
    record: Option<PathBuf>,
}

impl Deploy {
    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let codes = match &self.dir {
            Some(dir) => self.verifier_codes(global, out, dir, &solc::find(self.solc.as_deref())?)?,
            None => Vec::new(),
        };
        let family = match &self.dir {
            Some(dir) => {
                let dir = open(dir)?;
                Some(selector(dir.run().description().policy.step_key_digest, wrap_k(&dir)?))
            }
            None => None,
        };
        if self.check {
            let recompiled = match &self.recompile {
                Some(sources) => Some(recompile::recompile(&solc::find(self.solc.as_deref())?, sources)?),
                None => None,
            };
            return block_on(self.compare(out, family, &codes, recompiled));
        }
        let report = block_on(self.deploy(out, family, codes))?;
        out.result(&report, |r| {
            let mut lines = vec![
                format!("chain    {}", r.chain_id),
                format!("registry {}", r.registry),
                format!("anchor   {}", r.contract),
                format!("attestations {}", r.attestations),
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
    ) -> anyhow::Result<Vec<VerifierCode>> {
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
            let circuit = EpochCircuit::new(run, n_steps as usize, wrap_k(&dir)?)?;
            let source = verifier::generate(&home, run, &circuit)?;
            if let Some(sources) = &self.sources {
                std::fs::create_dir_all(sources)?;
                std::fs::write(sources.join(format!("EpochVerifier{n_steps}.sol")), &source.solidity)?;
            }
            let compiled = verifier::compile(solc, &source)?;
            codes.push(VerifierCode {
                n_steps,
                key_digest: source.key_digest.parse().context("key digest")?,
                compiled,
            });
        }
        Ok(codes)
    }

    /// What is to be deployed on a chain, by the arguments.
    fn deployment(&self, chain: ledger::ChainId, signer: Option<Address>) -> anyhow::Result<Deployment> {
        let owner = self.owner.or(signer).context("--owner is missing")?;
        let (guardian, delay) = (self.guardian.unwrap_or(owner), DelaySecs(self.delay.unwrap_or_default()));
        Ok(Deployment::new(chain, owner, guardian, delay, self.salt.unwrap_or_default())?)
    }

    /// Compares with the recorded deployment or, without record, with the one that the arguments name.
    async fn compare(
        &self,
        out: &Output,
        family: Option<Selector>,
        codes: &[VerifierCode],
        recompiled: Option<Vec<Recompiled>>,
    ) -> anyhow::Result<()> {
        let client = rpc::connect(&self.rpc).await?;
        let deployment = match &self.record {
            Some(dir) => record::read(dir, client.chain())?
                .with_context(|| format!("{} has no record of chain {}", dir.display(), client.chain()))?,
            None => {
                let signer = if self.owner.is_none() { Some(self.signer.signer()?.address()) } else { None };
                self.deployment(client.chain(), signer)?
            }
        };
        check::check(&client, &deployment, (family, codes), recompiled, out).await
    }

    async fn deploy(&self, out: &Output, family: Option<Selector>, codes: Vec<VerifierCode>) -> anyhow::Result<Report> {
        let writer = self.signer.writer(&self.rpc).await?;
        let mut deployment = self.deployment(writer.client().chain(), Some(writer.address()))?;
        if let Some(dir) = &self.record {
            // Another deployment of this chain is refused before anything is sent.
            record::merged(dir, &deployment)?;
        }
        let plan = deployment.plan()?;
        let (mut transactions, mut gas) = (Vec::new(), 0);
        let mut count = |sent: Option<chain::Sent>| {
            if let Some(sent) = sent {
                transactions.push(sent.tx.to_string());
                gas += sent.gas;
            }
        };
        for contract in [&plan.registry, &plan.anchor, &plan.attestations] {
            count(writer.deploy(contract).await?.sent);
        }
        let mut verifiers = Vec::new();
        for code in codes {
            let (n_steps, size, key_digest) = (code.n_steps, code.log_steps(), code.key_digest);
            let init = InitCode::verifier(code.compiled.creation, Salt([0; 32]));
            let Deployed { address, code_len, sent } = writer.deploy(&init).await?;
            count(sent);
            let Some(selector) = family else { continue };
            let active = match writer.add_verifier(deployment.registry, selector, size, address).await? {
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
            deployment.verifiers.push(DeployedVerifier { address, key_digest, log_steps: size, selector });
            verifiers.push(VerifierReport {
                address,
                n_steps,
                verifier_bytes: code_len,
                verifier_deploy_gas: sent.map(|s| s.gas),
                active,
            });
        }
        let record = match &self.record {
            Some(dir) => Some(record::write(dir, &record::merged(dir, &deployment)?)?),
            None => None,
        };
        Ok(Report {
            chain_id: deployment.chain_id.0,
            owner: deployment.owner,
            registry: deployment.registry,
            contract: deployment.anchor,
            attestations: deployment.attestations,
            selector: family,
            verifiers,
            transactions,
            gas,
            record,
        })
    }
}
