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

/// A check of a gate that a run fails. Order and names are those of `Refusal` in `AnchoredRun.sol`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GateRefusal {
    /// The contract does not know the run.
    #[error("expected a registered run, got one that the contract does not know")]
    UnknownRun,
    /// Epochs can still follow.
    #[error("expected a final run, got one that takes more epochs")]
    NotFinal,
    /// The circuit family was stopped.
    #[error("expected a circuit family that is not stopped, got {selector}, which is")]
    SelectorFrozen {
        /// The run's.
        selector: Selector,
    },
    /// The gate does not list the circuit family.
    #[error("expected circuit family {}, got {got}", one_of(expected))]
    SelectorNotAllowed {
        /// The gate's.
        expected: Vec<Selector>,
        /// The run's.
        got: Selector,
    },
    /// The gate does not list the policy.
    #[error("expected policy {}, got {got}", one_of(expected))]
    PolicyNotAllowed {
        /// The gate's.
        expected: Vec<FieldElement>,
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
    /// **Errors**: the first check that fails, as `AnchoredRun.requirePasses`.
    pub fn check(&self, facts: Option<&RunFacts>, state: FieldElement) -> Result<(), GateRefusal> {
        self.refusals(facts, state).into_iter().next().map_or(Ok(()), Err)
    }

    /// All checks that a run fails, in their order; none if it passes. Of an unknown run nothing else is asked.
    pub fn refusals(&self, facts: Option<&RunFacts>, state: FieldElement) -> Vec<GateRefusal> {
        let Some(run) = facts else {
            return vec![GateRefusal::UnknownRun];
        };
        let mut refusals = Vec::new();
        let mut refuse = |fails: bool, refusal: GateRefusal| {
            if fails {
                refusals.push(refusal);
            }
        };
        refuse(self.must_be_final && !run.finalized, GateRefusal::NotFinal);
        refuse(run.frozen, GateRefusal::SelectorFrozen { selector: run.selector });
        refuse(
            !self.selectors.contains(&run.selector),
            GateRefusal::SelectorNotAllowed { expected: self.selectors.clone(), got: run.selector },
        );
        refuse(
            !self.policies.contains(&run.policy),
            GateRefusal::PolicyNotAllowed { expected: self.policies.clone(), got: run.policy },
        );
        refuse(run.steps < self.min_steps, GateRefusal::TooFewSteps { expected: self.min_steps, got: run.steps });
        refuse(run.state != state, GateRefusal::StateDiffers { expected: run.state, got: state });
        refusals
    }
}

impl GateRefusal {
    /// Name of the check, as in `testdata/gate/cases.json`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::UnknownRun => "unknown_run",
            Self::NotFinal => "not_final",
            Self::SelectorFrozen { .. } => "selector_frozen",
            Self::SelectorNotAllowed { .. } => "selector_not_allowed",
            Self::PolicyNotAllowed { .. } => "policy_not_allowed",
            Self::TooFewSteps { .. } => "too_few_steps",
            Self::StateDiffers { .. } => "state_differs",
        }
    }

    /// What the gate asks for.
    pub fn expected(&self) -> String {
        match self {
            Self::UnknownRun => "registered".to_owned(),
            Self::NotFinal => "final".to_owned(),
            Self::SelectorFrozen { .. } => "not stopped".to_owned(),
            Self::SelectorNotAllowed { expected, .. } => one_of(expected),
            Self::PolicyNotAllowed { expected, .. } => one_of(expected),
            Self::TooFewSteps { expected, .. } => expected.to_string(),
            Self::StateDiffers { expected, .. } => expected.to_string(),
        }
    }

    /// What there is.
    pub fn got(&self) -> String {
        match self {
            Self::UnknownRun => "unknown".to_owned(),
            Self::NotFinal => "not final".to_owned(),
            Self::SelectorFrozen { selector } => format!("{selector} stopped"),
            Self::SelectorNotAllowed { got, .. } => got.to_string(),
            Self::PolicyNotAllowed { got, .. } => got.to_string(),
            Self::TooFewSteps { got, .. } => got.to_string(),
            Self::StateDiffers { got, .. } => got.to_string(),
        }
    }
}

/// The entries of a list that a run must be in.
fn one_of<T: std::fmt::Display>(list: &[T]) -> String {
    if list.is_empty() {
        return "none at all".to_owned();
    }
    list.iter().map(T::to_string).collect::<Vec<_>>().join(" or ")
}
