//! A log against what the chain says of its run.

#[cfg(feature = "native")]
mod node;

#[cfg(feature = "native")]
pub use self::node::{Compared, Place, compare};

use chain::{Head, RunOnChain};
use ledger::{Address, ChainId, FieldElement, MerkleTree, Root, RunDescription, RunId, Selector, TreeSize};
use store::VerifiedLog;

use crate::circuit::selector;

/// How a log stands to the head on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The log's epochs are all that the chain has; steps behind them may not be anchored yet.
    Head,
    /// Every step of the log is anchored; the chain may have later ones. So it is with bundles.
    Anchored,
}

/// Selector, genesis state, policy, parent.
pub type Registered = (Selector, FieldElement, FieldElement, Option<RunId>);

/// Epochs, steps, root over them, state after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Epochs.
    pub counter: u64,
    /// Steps.
    pub size: TreeSize,
    /// Root.
    pub root: Root,
    /// State.
    pub state: FieldElement,
}

/// What the chain has otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The run is for another contract or chain.
    #[error(
        "the run is for chain {} contract {}, asked about chain {} contract {}",
        .expected.0, .expected.1, .got.0, .got.1
    )]
    Place {
        /// The run's.
        expected: (ChainId, Address),
        /// Where it was looked for.
        got: (ChainId, Address),
    },
    /// The run is not registered.
    #[error("the contract does not know the run")]
    UnknownRun,
    /// It is registered with something else.
    #[error("selector, genesis, policy, parent: expected {expected:?}, got {got:?}")]
    Registration {
        /// By the run's description.
        expected: Box<Registered>,
        /// On chain.
        got: Box<Registered>,
    },
    /// The parent is not registered.
    #[error("the contract does not know parent {parent}")]
    UnknownParent {
        /// The parent.
        parent: RunId,
    },
    /// The parent can still go on.
    #[error("parent {parent} is not final")]
    ParentNotFinal {
        /// The parent.
        parent: RunId,
    },
    /// The parent ended elsewhere.
    #[error("the run starts from {got}, parent {parent} ended in {expected}")]
    ParentState {
        /// The parent.
        parent: RunId,
        /// Its last state.
        expected: FieldElement,
        /// The run's first.
        got: FieldElement,
    },
    /// The head is not the log's.
    #[error(
        "counter, size, root, state: log has {}, {}, {}, {}; chain has {}, {}, {}, {}",
        .log.counter, .log.size, .log.root, .log.state, .chain.counter, .chain.size, .chain.root, .chain.state
    )]
    Head {
        /// The log.
        log: Box<Reached>,
        /// The chain.
        chain: Box<Reached>,
    },
    /// The log has no epochs.
    #[error("no epoch of it is aggregated, so none is anchored")]
    NoEpochs,
    /// The log goes on behind its epochs.
    #[error("the log has {got} steps, its epochs {expected}: the rest is not anchored")]
    Rest {
        /// Steps in epochs.
        expected: TreeSize,
        /// Steps of the log.
        got: TreeSize,
    },
    /// The chain has fewer epochs than the log.
    #[error("the log has {got} epochs, the chain {expected}")]
    Behind {
        /// Epochs on chain.
        expected: u64,
        /// Epochs of the log.
        got: u64,
    },
    /// The events are not those of the log's epochs.
    #[error("{n_events} events do not carry the log's {n_epochs} epochs")]
    Events {
        /// Events found.
        n_events: usize,
        /// Epochs of the log.
        n_epochs: usize,
    },
}

/// Checks that a run is looked for where it says that it is anchored.
///
/// Errors: [`Mismatch::Place`].
pub fn check_place(run: &RunDescription, chain: ChainId, contract: Address) -> Result<(), Mismatch> {
    let (expected, got) = ((run.identity.chain_id, run.identity.contract), (chain, contract));
    if expected == got { Ok(()) } else { Err(Mismatch::Place { expected, got }) }
}

/// Compares what a run is registered with.
///
/// Errors: [`Mismatch::Registration`].
pub fn check_registration(run: &RunDescription, log: &VerifiedLog, found: &RunOnChain) -> Result<(), Mismatch> {
    let family = selector(run.policy.step_key_digest, log.epochs.first().and_then(|epoch| epoch.wrap_k));
    let expected = (family, run.genesis_state, run.policy_digest, run.parent);
    let got = (found.selector, found.genesis_state, found.policy_digest, found.parent);
    if expected == got { Ok(()) } else { Err(Mismatch::Registration { expected: expected.into(), got: got.into() }) }
}

/// Compares the end of a run's parent with the run's beginning.
///
/// Errors: [`Mismatch::UnknownParent`], [`Mismatch::ParentNotFinal`], [`Mismatch::ParentState`].
pub fn check_parent(run: &RunDescription, parent: RunId, head: Option<&Head>) -> Result<(), Mismatch> {
    match head {
        None => Err(Mismatch::UnknownParent { parent }),
        Some(head) if !head.finalized => Err(Mismatch::ParentNotFinal { parent }),
        Some(head) if head.state != run.genesis_state => {
            Err(Mismatch::ParentState { parent, expected: head.state, got: run.genesis_state })
        }
        Some(_) => Ok(()),
    }
}

/// Compares a log with a head; returns what the log's epochs reach.
///
/// Errors: [`Mismatch::Head`], [`Mismatch::NoEpochs`], [`Mismatch::Rest`], [`Mismatch::Behind`].
pub fn check_head(scope: Scope, run: &RunDescription, log: &VerifiedLog, head: &Head) -> Result<Reached, Mismatch> {
    let counter = log.epochs.len() as u64;
    let ours = match log.epochs.last() {
        Some(e) => Reached { counter, size: e.size_after(), root: e.root_after, state: e.state_out },
        None => Reached { counter, size: TreeSize(0), root: MerkleTree::new().root(), state: run.genesis_state },
    };
    let theirs = Reached { counter: head.counter, size: head.size, root: head.root, state: head.state };
    match scope {
        Scope::Head if ours != theirs => Err(Mismatch::Head { log: ours.into(), chain: theirs.into() }),
        Scope::Anchored if counter == 0 => Err(Mismatch::NoEpochs),
        Scope::Anchored if log.log.size() != ours.size => {
            Err(Mismatch::Rest { expected: ours.size, got: log.log.size() })
        }
        Scope::Anchored if head.counter < counter => Err(Mismatch::Behind { expected: head.counter, got: counter }),
        _ => Ok(ours),
    }
}
