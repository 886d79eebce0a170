//! Runs that start from the final state of another run.
//!
//! A state that is final in its run is opened in that run's last proof and in the first proof of every child, always with
//! the same blinding rows. So the number of its children is bounded by the step circuit (spec `commitment`, "Counting"),
//! and whoever has not the parent's private directory, where they are counted, cannot make one.

use circuits::keys::StepVerifyingKey;
use circuits::step::shape::StepShape;
use ledger::{FieldElement, RunDescription, RunId, StepIndex};

/// Why a run cannot be the child of another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineageError {
    /// The parent has no steps, so that its state may be another run's.
    #[error("parent {parent} has no steps: expected one or more")]
    EmptyParent {
        /// The parent.
        parent: RunId,
    },
    /// The model or its cut in chunks differs.
    #[error("parent {parent} has {what} {expected}, the child {got}")]
    Model {
        /// The parent.
        parent: RunId,
        /// What differs.
        what: &'static str,
        /// The parent's.
        expected: String,
        /// The child's.
        got: String,
    },
    /// The private state or its seed is not what the parent's log ends with.
    #[error("parent {parent}: its log ends in state {expected}, its private directory has {got}")]
    State {
        /// The parent.
        parent: RunId,
        /// Digest in the log.
        expected: FieldElement,
        /// Digest of the private state.
        got: FieldElement,
    },
    /// The number of random rows does not suffice for one more child.
    #[error("state {state} of run {parent} may have {max} children to stay hidden, this would be number {got}")]
    ParentExhausted {
        /// The parent.
        parent: RunId,
        /// The state: steps done.
        state: StepIndex,
        /// Children that a state may have.
        max: usize,
        /// Children with the new one.
        got: usize,
    },
    /// The run has children, which were promised its final state.
    #[error("run {parent} has {n_children} children that start from its state {state}: it cannot go on")]
    ParentClosed {
        /// The run.
        parent: RunId,
        /// The state: steps done.
        state: StepIndex,
        /// Children of that state.
        n_children: usize,
    },
}

/// Checks that a child with this layout, chunks and circuit can start where `parent` ended: its state columns have to be
/// laid out alike.
///
/// Errors: [`LineageError::Model`].
pub fn check_model(
    parent: &RunDescription,
    parent_shape: &StepShape,
    layout: &ledger::Layout,
    n_chunks: u32,
    shape: &StepShape,
) -> Result<(), LineageError> {
    let differ = |what, expected: String, got: String| {
        if expected == got { Ok(()) } else { Err(LineageError::Model { parent: parent.run, what, expected, got }) }
    };
    differ("chunks", parent.policy.n_chunks.to_string(), n_chunks.to_string())?;
    differ("step circuit", parent_shape.to_string(), shape.to_string())?;
    if parent.layout == *layout {
        return Ok(());
    }
    let tensors = |layout: &ledger::Layout| {
        let names = layout.tensors().iter().map(|t| format!("{} {:?}", t.name, t.shape));
        format!("tensors {}", names.collect::<Vec<_>>().join(", "))
    };
    differ("parameters", tensors(&parent.layout), tensors(layout))
}

/// Checks that `child` may start from state `state` of `parent`, whose children so far are `children`.
///
/// A child that is among them already may go on.
///
/// Errors: [`LineageError::EmptyParent`], [`LineageError::ParentExhausted`].
pub fn admit_child(
    key: &StepVerifyingKey,
    parent: RunId,
    state: StepIndex,
    children: &[RunId],
    child: RunId,
) -> Result<(), LineageError> {
    if state == StepIndex(0) {
        return Err(LineageError::EmptyParent { parent });
    }
    let (max, got) = (key.max_children(), children.len() + 1);
    if got > max && !children.contains(&child) {
        return Err(LineageError::ParentExhausted { parent, state, max, got });
    }
    Ok(())
}

/// Checks that `run` may take a step from `state`: it may not if a child started there.
///
/// Errors: [`LineageError::ParentClosed`].
pub fn check_open(run: RunId, state: StepIndex, children: &[RunId]) -> Result<(), LineageError> {
    match children.len() {
        0 => Ok(()),
        n_children => Err(LineageError::ParentClosed { parent: run, state, n_children }),
    }
}
