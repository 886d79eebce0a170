//! Asking a node.

use chain::{Client, EpochEvent};
use ledger::{Address, Root, RunDescription};
use store::VerifiedLog;

use super::{Mismatch, Scope, check_head, check_parent, check_place, check_registration};
use crate::error::AuditError;
use crate::report::Checks;

/// Where a run is anchored, and how much of it has to be.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// RunAnchor.
    pub contract: Address,
    /// Block to read events from.
    pub from_block: u64,
    /// What is compared.
    pub scope: Scope,
}

/// What the chain says of a log that agrees with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The root on chain of what the log has.
    pub root: Root,
    /// Whether the run has ended with it.
    pub is_final: bool,
}

/// Compares a log that was checked with the chain: registration, head, every epoch event.
///
/// Errors: a failed check; the node fails.
pub async fn compare(
    client: &Client,
    place: Place,
    run: &RunDescription,
    log: &VerifiedLog,
    checks: &mut Checks<'_>,
) -> Result<Compared, AuditError> {
    let Place { contract, from_block, scope } = place;
    let identity = check_place(run, client.chain(), contract);
    checks.note("chain and contract", identity, |()| format!("chain {}, {contract}", client.chain()))?;
    let found = client.run(contract, run.run).await?.ok_or(Mismatch::UnknownRun);
    let registered = found.and_then(|found| check_registration(run, log, &found).map(|()| found));
    checks.note("registration on chain", registered, |r| format!("owner {}", r.owner))?;
    if let Some(parent) = run.parent {
        let head = client.head(contract, parent).await?;
        let steps = |(): &()| format!("{parent}, final after {} steps", head.as_ref().map_or(0, |head| head.size.0));
        checks.note("parent on chain", check_parent(run, parent, head.as_ref()), steps)?;
    }
    let head = client.head(contract, run.run).await?;
    let head = head.ok_or_else(|| AuditError::failed("head", Mismatch::UnknownRun));
    let head = checks.pass_on(head)?;
    let reached =
        checks.note("counter, size, root, state on chain", check_head(scope, run, log, &head), |reached| {
            format!("epoch {} of {}, {} steps, root {}", reached.counter, head.counter, reached.size, reached.root)
        })?;
    let events = client.epoch_events(contract, run.run, from_block).await?;
    checks.note("epoch events", check_events(scope, log, &events), |()| {
        let txs = events.iter().take(log.epochs.len()).map(|e| e.tx.to_string()).collect::<Vec<_>>().join(" ");
        format!("{} epochs: {txs}", log.epochs.len())
    })?;
    Ok(Compared { root: reached.root, is_final: head.finalized && head.size == reached.size })
}

fn check_events(scope: Scope, log: &VerifiedLog, events: &[EpochEvent]) -> Result<(), Mismatch> {
    // The chain may be ahead of a bundle.
    let is_enough = match scope {
        Scope::Head => events.len() == log.epochs.len(),
        Scope::Anchored => events.len() >= log.epochs.len(),
    };
    let are_same = events.iter().zip(&log.epochs).all(|(event, epoch)| {
        event.digests == epoch.digests
            && Some(event.record_hashes.as_slice()) == log.log.record_hashes(epoch.first_step, epoch.n_steps())
            && (event.root, event.state_in, event.state_out) == (epoch.root_after, epoch.state_in, epoch.state_out)
    });
    if is_enough && are_same {
        Ok(())
    } else {
        Err(Mismatch::Events { n_events: events.len(), n_epochs: log.epochs.len() })
    }
}
