//! `cairn anchor --dry-run`: what would be sent, and what it would cost.

use chain::{Client, EpochSubmission};
use ledger::Address;
use serde::Serialize;

use super::submissions::{DryRun, Submission};
use super::{Anchor, OpenRun};
use crate::cmd::{Global, block_on};
use crate::output::Output;

/// What would be sent for several runs.
#[derive(Serialize)]
struct DryRuns {
    runs: Vec<DryRun>,
    /// Gas of all epochs of all runs that are not anchored, in one transaction; none if a run is not registered, or their
    /// owners differ.
    gas_of_rest: Option<u64>,
}

/// What a node says that the rest of a run would cost.
struct Estimate {
    /// Epochs anchored.
    anchored: u64,
    next: u64,
    rest: u64,
}

/// Prints what would be sent.
pub fn print(anchor: &Anchor, runs: &[OpenRun], global: &Global, out: &Output) -> anyhow::Result<()> {
    let mut submissions = anchor.submissions(runs, global, out)?;
    let mut epochs = Vec::new();
    for run in runs {
        let n_epochs = run.log.epochs().len() as u64;
        epochs.push((0..n_epochs).map(|index| submissions.get(&run.log, index)).collect::<anyhow::Result<Vec<_>>>()?);
    }
    let (mut estimates, mut gas_of_rest) = (Vec::new(), None);
    if let Some(rpc) = &anchor.rpc {
        (estimates, gas_of_rest) = block_on(estimate_all(anchor, rpc, runs, &epochs, out))?;
    }
    let estimates = estimates.into_iter().chain(std::iter::repeat_with(|| None));
    let plan = |((run, epochs), estimate): ((&OpenRun, Vec<EpochSubmission>), Option<Estimate>)| {
        let mut plan = DryRun::of(&run.run, run.selector());
        plan.gas_of_rest = estimate.as_ref().map(|estimate| estimate.rest);
        for (index, epoch) in (0u64..).zip(epochs) {
            plan.submissions.push(Submission {
                epoch: index + 1,
                first_step: run.log.epochs()[index as usize].first_step.0,
                state_out: epoch.state_out,
                proof: format!("0x{}", hex::encode(epoch.proof_bytes())),
                digests: epoch.digests,
                record_hashes: epoch.record_hashes,
                peaks: epoch.peaks,
                root_after: epoch.root_after.to_string(),
                gas: estimate.as_ref().filter(|estimate| estimate.anchored == index).map(|estimate| estimate.next),
            });
        }
        plan
    };
    let mut plans: Vec<DryRun> = runs.iter().zip(epochs).zip(estimates).map(plan).collect();
    match plans.as_mut_slice() {
        [_] => out.result(&plans.remove(0), text),
        _ => out.result(&DryRuns { runs: plans, gas_of_rest }, |several| {
            let mut lines: Vec<String> = several.runs.iter().map(text).collect();
            lines.extend(
                several
                    .gas_of_rest
                    .map(|gas| format!("what is not anchored of all runs, in one transaction: {gas} gas")),
            );
            lines.join("\n")
        }),
    }
}

fn text(plan: &DryRun) -> String {
    let mut lines =
        vec![format!("run {} for {} on chain {}, owner {}", plan.run, plan.contract, plan.chain_id, plan.owner)];
    lines.extend(plan.submissions.iter().map(|s| {
        let steps = s.digests.len();
        let gas = s.gas.map_or_else(String::new, |gas| format!(", {gas} gas"));
        format!("epoch {}: {steps} steps from {}, {} bytes of proof{gas}", s.epoch, s.first_step, s.proof.len() / 2 - 1)
    }));
    lines.extend(plan.gas_of_rest.map(|gas| format!("what is not anchored, in one transaction: {gas} gas")));
    lines.join("\n")
}

/// Asks a node for the gas of what is not anchored, of each run and of all of them.
async fn estimate_all(
    anchor: &Anchor,
    rpc: &str,
    runs: &[OpenRun],
    epochs: &[Vec<EpochSubmission>],
    out: &Output,
) -> anyhow::Result<(Vec<Option<Estimate>>, Option<u64>)> {
    let client = crate::rpc::connect(rpc).await?;
    let contract = anchor.contract(runs);
    let (mut estimates, mut rest, mut is_whole) = (Vec::new(), Vec::new(), true);
    for (run, epochs) in runs.iter().zip(epochs) {
        client.expect_chain(run.run.identity.chain_id)?;
        let Some(head) = client.head(contract, run.run.run).await? else {
            out.note(format!(
                "run {} is not registered, so no gas can be estimated; cairn anchor registers it first",
                run.run.run
            ));
            is_whole = false;
            estimates.push(None);
            continue;
        };
        let left = epochs.get(usize::try_from(head.counter).unwrap_or(usize::MAX)..).unwrap_or_default();
        rest.extend_from_slice(left);
        estimates.push(estimate(&client, contract, run.run.identity.owner, head.counter, left).await?);
    }
    let owner = runs[0].run.identity.owner;
    is_whole &= !rest.is_empty() && runs.iter().all(|run| run.run.identity.owner == owner);
    let whole =
        if is_whole && runs.len() > 1 { Some(client.estimate_anchor(contract, owner, &rest).await?) } else { None };
    Ok((estimates, whole))
}

/// The gas of what is left of a run; none if nothing is.
async fn estimate(
    client: &Client,
    contract: Address,
    owner: Address,
    anchored: u64,
    left: &[EpochSubmission],
) -> anyhow::Result<Option<Estimate>> {
    let [next, ..] = left else { return Ok(None) };
    let next = client.estimate_anchor(contract, owner, std::slice::from_ref(next)).await?;
    let rest = if left.len() == 1 { next } else { client.estimate_anchor(contract, owner, left).await? };
    Ok(Some(Estimate { anchored, next, rest }))
}
