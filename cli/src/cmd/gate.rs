//! `cairn gate`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use ledger::{Address, EpochIndex, FieldElement, GateRefusal, RunFacts, RunId, Selector};
use serde::Serialize;
use store::RunDir;

use crate::cmd::target::{RunTarget, Target};
use crate::cmd::{Global, block_on};
use crate::output::{NOT_PROVED, Output, failed};

/// Whether something may rely on a run: is it anchored at a state, by enough steps, under an allowed policy and circuit that is
/// not stopped, and final? The same answer as `AnchoredRun` gives a contract; all that is refused is named.
#[derive(Args)]
#[command(
    after_help = "The policy is a JSON file with exactly these keys:\n  {\"min_steps\": 8, \"must_be_final\": true, \"policies\": [\"0x…\"], \"selectors\": [\"0x…\"], \"v\": 1}\nA list without entries lets no run pass. `cairn status --json` shows a run's policy and selector.\n\nExample: cairn gate --policy gate.json --rpc http://127.0.0.1:8545 --contract 0x… --run 0x… --state 0x…"
)]
pub struct Gate {
    /// What the run must show; a JSON file.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    #[command(flatten)]
    target: RunTarget,
    /// Digest of the state that is offered; with a directory, the state after its last epoch if not given.
    #[arg(long)]
    state: Option<FieldElement>,
}

#[derive(Serialize)]
struct Report {
    run: RunId,
    chain_id: u64,
    contract: Address,
    /// Number and hash of the block that all facts are from.
    block: u64,
    block_hash: String,
    state: FieldElement,
    passes: bool,
    /// None: the contract does not know the run.
    facts: Option<Facts>,
    /// In the order of the checks; a contract names the first.
    refusals: Vec<Refusal>,
    not_proved: &'static str,
}

/// What the chain says of a run.
#[derive(Serialize)]
pub struct Facts {
    selector: Selector,
    #[serde(rename = "final")]
    finalized: bool,
    frozen: bool,
    steps: u64,
    state: FieldElement,
    policy: FieldElement,
}

impl Facts {
    /// One line for people.
    pub fn text(&self) -> String {
        let is_final = if self.finalized { "final" } else { "not final" };
        let stopped = if self.frozen { ", which is stopped" } else { "" };
        let Self { steps, state, policy, selector, .. } = self;
        format!("{steps} steps, {is_final}, state {state}, policy {policy}, circuit {selector}{stopped}")
    }
}

impl From<RunFacts> for Facts {
    fn from(facts: RunFacts) -> Self {
        let RunFacts { selector, finalized, frozen, steps, state, policy } = facts;
        Self { selector, finalized, frozen, steps: steps.0, state, policy }
    }
}

#[derive(Serialize)]
struct Refusal {
    requirement: &'static str,
    expected: String,
    got: String,
}

impl From<&GateRefusal> for Refusal {
    fn from(refusal: &GateRefusal) -> Self {
        Self { requirement: refusal.name(), expected: refusal.expected(), got: refusal.got() }
    }
}

impl Gate {
    /// Runs the command.
    pub fn run(self, _: &Global, out: &Output) -> anyhow::Result<()> {
        let bytes = std::fs::read(&self.policy).with_context(|| format!("read {}", self.policy.display()))?;
        let gate = ledger::Gate::parse(&bytes).with_context(|| format!("{}", self.policy.display()))?;
        let target = self.target.resolve()?;
        let state = match (self.state, &target.dir) {
            (Some(state), _) => state,
            (None, Some(dir)) => last_state(dir)?,
            (None, None) => anyhow::bail!("--state is missing: an id does not say which state is offered"),
        };
        let (block, facts) = block_on(facts(&target, &self.target.rpc))?;
        let refusals = gate.refusals(facts.as_ref(), state);
        let report = Report {
            run: target.run,
            chain_id: block.0,
            contract: target.contract,
            block: block.1.number,
            block_hash: block.1.hash.to_string(),
            state,
            passes: refusals.is_empty(),
            facts: facts.map(Facts::from),
            refusals: refusals.iter().map(Refusal::from).collect(),
            not_proved: NOT_PROVED,
        };
        out.result(&report, text)?;
        if refusals.is_empty() {
            return Ok(());
        }
        let details: Vec<_> = refusals.iter().map(|refusal| format!("{}: {refusal}", refusal.name())).collect();
        Err(failed("gate", details.join("; ")))
    }
}

async fn facts(target: &Target, rpc: &str) -> anyhow::Result<((u64, chain::BlockRef), Option<RunFacts>)> {
    let client = target.client(rpc).await?;
    let block = client.latest_block().await?;
    let facts = client.facts_at(target.contract, target.run, block).await?;
    Ok(((client.chain().0, block), facts))
}

/// State after the last epoch of a directory; the one before step 0 if there is none.
pub fn last_state(dir: &RunDir) -> anyhow::Result<FieldElement> {
    match dir.n_epochs()?.checked_sub(1) {
        Some(last) => Ok(dir.epoch(EpochIndex(last))?.record().state_out),
        None => Ok(dir.run().description().genesis_state),
    }
}

fn text(r: &Report) -> String {
    let mut lines = vec![format!("run {} on chain {}, block {}", r.run, r.chain_id, r.block)];
    lines.extend(r.facts.as_ref().map(|facts| format!("  {}", facts.text())));
    for refusal in &r.refusals {
        lines.push(format!("  FAIL {}: expected {}, got {}", refusal.requirement, refusal.expected, refusal.got));
    }
    lines.push(if r.passes {
        format!("the run passes; {} are not proved", r.not_proved)
    } else {
        "the run is refused".to_owned()
    });
    lines.join("\n")
}
