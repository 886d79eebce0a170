//! A run's log against the chain.

use ::chain::{Client, Head, RunOnChain};
use ledger::{Address, MerkleTree, Root, RunDescription, RunId, TreeSize};
use store::VerifiedLog;

use super::Checks;
use crate::output::failed;
use crate::run::selector;

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

/// How a log stands to the head on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The log's epochs are all that the chain has; steps behind them may not be anchored yet.
    Head,
    /// Every step of the log is anchored; the chain may have later ones. So it is with bundles.
    Anchored,
}

/// Compares a log that was checked with the chain: registration, head, every epoch event.
///
/// Returns the root on chain of what the log has, and whether the run has ended with it.
///
/// Errors: a failed check; the node fails.
pub async fn compare(
    client: &Client,
    place: Place,
    run: &RunDescription,
    log: &VerifiedLog,
    checks: &mut Checks,
) -> anyhow::Result<(Root, bool)> {
    let Place { contract, from_block, scope } = place;
    let identity = if run.identity.contract == contract && run.identity.chain_id == client.chain() {
        Ok(())
    } else {
        Err(format!(
            "the run is for chain {} contract {}, asked about chain {} contract {contract}",
            run.identity.chain_id,
            run.identity.contract,
            client.chain()
        ))
    };
    checks.note("chain and contract", identity, |()| format!("chain {}, {contract}", client.chain()))?;
    let found = client.run(contract, run.run).await?.ok_or_else(|| "the contract does not know the run".to_owned());
    let registered = found.and_then(|found| check_registration(run, log, &found).map(|()| found));
    checks.note("registration on chain", registered, |r| format!("owner {}", r.owner))?;
    if let Some(parent) = run.parent {
        let head = client.head(contract, parent).await?;
        let steps = |(): &()| format!("{parent}, final after {} steps", head.as_ref().map_or(0, |head| head.size.0));
        checks.note("parent on chain", check_parent(run, parent, head.as_ref()), steps)?;
    }
    let head =
        client.head(contract, run.run).await?.ok_or_else(|| failed("head", "the contract does not know the run"))?;
    let (_, size, root) = checks.note(
        "counter, size, root, state on chain",
        check_head(scope, run, log, &head),
        |(counter, size, root)| format!("epoch {counter} of {}, {size} steps, root {root}", head.counter),
    )?;
    let events = client.epoch_events(contract, run.run, from_block).await?;
    // The chain may be ahead of a bundle.
    let is_enough = match scope {
        Scope::Head => events.len() == log.epochs.len(),
        Scope::Anchored => events.len() >= log.epochs.len(),
    };
    let compared = is_enough
        && events.iter().zip(&log.epochs).all(|(event, epoch)| {
            event.digests == epoch.digests
                && Some(event.record_hashes.as_slice()) == log.log.record_hashes(epoch.first_step, epoch.n_steps())
                && (event.root, event.state_in, event.state_out) == (epoch.root_after, epoch.state_in, epoch.state_out)
        });
    let compared = if compared {
        Ok(())
    } else {
        Err(format!("{} events do not carry the log's {} epochs", events.len(), log.epochs.len()))
    };
    checks.note("epoch events", compared, |()| {
        let txs = events.iter().take(log.epochs.len()).map(|e| e.tx.to_string()).collect::<Vec<_>>().join(" ");
        format!("{} epochs: {txs}", log.epochs.len())
    })?;
    Ok((root, head.finalized && head.size == size))
}

/// Compares what a run is registered with.
pub fn check_registration(run: &RunDescription, log: &VerifiedLog, found: &RunOnChain) -> Result<(), String> {
    let family = selector(run.policy.step_key_digest, log.epochs.first().and_then(|epoch| epoch.wrap_k));
    let expected = (family, run.genesis_state, run.policy_digest, run.parent);
    let got = (found.selector, found.genesis_state, found.policy_digest, found.parent);
    if expected == got {
        Ok(())
    } else {
        Err(format!("selector, genesis, policy, parent: expected {expected:?}, got {got:?}"))
    }
}

/// Compares the end of a run's parent with the run's beginning.
pub fn check_parent(run: &RunDescription, parent: RunId, head: Option<&Head>) -> Result<(), String> {
    match head {
        None => Err(format!("the contract does not know parent {parent}")),
        Some(head) if !head.finalized => Err(format!("parent {parent} is not final")),
        Some(head) if head.state != run.genesis_state => {
            Err(format!("the run starts from {}, parent {parent} ended in {}", run.genesis_state, head.state))
        }
        Some(_) => Ok(()),
    }
}

/// Compares a log with a head; returns the log's epochs, steps in them, and their root.
pub fn check_head(
    scope: Scope,
    run: &RunDescription,
    log: &VerifiedLog,
    head: &Head,
) -> Result<(u64, TreeSize, Root), String> {
    let (counter, size, root, state) = match log.epochs.last() {
        Some(e) => (log.epochs.len() as u64, e.size_after(), e.root_after, e.state_out),
        None => (0, TreeSize(0), MerkleTree::new().root(), run.genesis_state),
    };
    match scope {
        Scope::Head if (counter, size, root, state) != (head.counter, head.size, head.root, head.state) => {
            Err(format!(
                "counter, size, root, state: log has {counter}, {size}, {root}, {state}; chain has {}, {}, {}, {}",
                head.counter, head.size, head.root, head.state
            ))
        }
        Scope::Anchored if counter == 0 => Err("no epoch of it is aggregated, so none is anchored".to_owned()),
        Scope::Anchored if log.log.size() != size => {
            Err(format!("the log has {} steps, its epochs {size}: the rest is not anchored", log.log.size()))
        }
        Scope::Anchored if head.counter < counter => {
            Err(format!("the log has {counter} epochs, the chain {}", head.counter))
        }
        _ => Ok((counter, size, root)),
    }
}
