//! The gate: may something rely on a run, by what the chain says of it?
//!
//! A pure function, the same as `AnchoredRun.evaluate` of the contracts: both give the answers of
//! `testdata/gate/cases.json`. What passing means is what the proofs say: each step is what the optimizer makes of the state
//! before it and of a committed gradient; not that the gradient is honest or the data good.

use serde::{Deserialize, Serialize};

use crate::{
    canonical::V1,
    ids::{FieldElement, Selector, TreeSize},
};

/// What a run must show.
///
/// In a file: JSON with exactly these keys. A list without entries lets no run pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Least number of anchored steps.
    pub min_steps: TreeSize,
    /// Whether the run must take no more epochs.
    pub must_be_final: bool,
    /// Digests of the allowed policies.
    pub policies: Vec<FieldElement>,
    /// Allowed circuit families.
    pub selectors: Vec<Selector>,
    /// Format version.
    pub v: V1,
}

/// What the chain says of a run, read at one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunFacts {
    /// Circuit family.
    pub selector: Selector,
    /// Whether it takes no more epochs.
    pub finalized: bool,
    /// Whether its circuit family was stopped.
    pub frozen: bool,
    /// Steps anchored.
    pub steps: TreeSize,
    /// Digest of the state after them.
    pub state: FieldElement,
    /// Digest of the policy that all steps follow.
    pub policy: FieldElement,
}

/// The first check of a gate that a run fails, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GateRefusal {
    /// The contract does not know the run.
    #[error("the run is not registered")]
    UnknownRun,
    /// Epochs can still follow.
    #[error("the run is not final")]
    NotFinal,
    /// The circuit family was stopped.
    #[error("circuit family {selector} was stopped")]
    SelectorFrozen {
        /// The run's.
        selector: Selector,
    },
    /// The gate does not list the circuit family.
    #[error("circuit family {got} is not allowed")]
    SelectorNotAllowed {
        /// The run's.
        got: Selector,
    },
    /// The gate does not list the policy.
    #[error("policy {got} is not allowed")]
    PolicyNotAllowed {
        /// The run's.
        got: FieldElement,
    },
    /// Too little is anchored.
    #[error("expected at least {expected} steps, got {got}")]
    TooFewSteps {
        /// The gate's.
        expected: TreeSize,
        /// The run's.
        got: TreeSize,
    },
    /// The offered state is not the anchored one.
    #[error("expected the anchored state {expected}, got {got}")]
    StateDiffers {
        /// The run's.
        expected: FieldElement,
        /// The offered one.
        got: FieldElement,
    },
}

/// Why a gate's file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// Not JSON of the expected keys, types and version.
    #[error("not a gate: {0}")]
    Json(#[from] serde_json::Error),
}

impl Gate {
    /// Reads a gate's file.
    ///
    /// **Errors**: [`GateError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, GateError> {
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Whether a run passes that is offered at `state`; `facts` is none if the contract does not know it.
    ///
    /// **Errors**: the first check that fails.
    pub fn check(&self, facts: Option<&RunFacts>, state: FieldElement) -> Result<(), GateRefusal> {
        let run = facts.ok_or(GateRefusal::UnknownRun)?;
        if self.must_be_final && !run.finalized {
            return Err(GateRefusal::NotFinal);
        }
        if run.frozen {
            return Err(GateRefusal::SelectorFrozen { selector: run.selector });
        }
        if !self.selectors.contains(&run.selector) {
            return Err(GateRefusal::SelectorNotAllowed { got: run.selector });
        }
        if !self.policies.contains(&run.policy) {
            return Err(GateRefusal::PolicyNotAllowed { got: run.policy });
        }
        if run.steps < self.min_steps {
            return Err(GateRefusal::TooFewSteps { expected: self.min_steps, got: run.steps });
        }
        if run.state != state {
            return Err(GateRefusal::StateDiffers { expected: run.state, got: state });
        }
        Ok(())
    }
}
