//! From the steps of a log to the witness of an epoch circuit, with every check that can be made without a circuit.

use circuits::claim::{ClaimError, check_follows, check_policy, check_schedule, check_start, chunk_instances};
use circuits::digest::{policy_digest, state_after, state_digest, step_digest};
use ledger::{ChunkIndex, EpochInstances, FieldElement, Policy, StepStatement};

use crate::epoch::{EpochWitness, ProofInput};
use crate::error::AggregateError;
use crate::statement::Witness;

/// One step of an epoch: its statement and the proof of each chunk.
#[derive(Clone, Debug)]
pub struct StepInput {
    /// What is claimed.
    pub statement: StepStatement,
    /// Proof bytes, `[K]`.
    pub proofs: Vec<Vec<u8>>,
}

/// The steps of one epoch with the policy and the products before the first step.
#[derive(Clone, Debug)]
pub struct EpochInput {
    /// The run's policy.
    pub policy: Policy,
    /// (P1, P2) of the state before the first step.
    pub products: (u64, u64),
    /// The steps, consecutive.
    pub steps: Vec<StepInput>,
}

/// What the epoch's instances must be, accumulator apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// S_in.
    pub state_in: FieldElement,
    /// S_out.
    pub state_out: FieldElement,
    /// Policy digest.
    pub policy_digest: FieldElement,
    /// D_t of each step.
    pub digests: Vec<FieldElement>,
}

impl EpochInput {
    /// Checks the statements: policy, consecutive steps, links, schedule, alignment. Proofs are not verified here.
    ///
    /// Errors: [`AggregateError::Claim`] with the check that failed, [`AggregateError::Shape`] for a wrong number of steps.
    pub fn check(&self) -> Result<Expected, AggregateError> {
        let rule = self.policy.rule;
        let Some(first) = self.steps.first() else {
            return Err(AggregateError::Shape("an epoch has at least one step".to_owned()));
        };
        let n = self.steps.len() as u64;
        if !n.is_power_of_two() || !first.statement.step.0.is_multiple_of(n) {
            let at = first.statement.step;
            return Err(AggregateError::Shape(format!("{n} steps from step {at} are no aligned power of two")));
        }
        for step in &self.steps {
            check_policy(&self.policy, &step.statement)?;
            let (expected, got) = (step.statement.chunks.len(), step.proofs.len());
            if expected != got {
                let step = step.statement.step;
                return Err(ClaimError::ChunkCount { step, what: "proofs", expected, got }.into());
            }
        }
        if first.statement.fresh {
            check_start(rule, &first.statement)?;
        }
        check_schedule(rule, self.products, &first.statement)?;
        for pair in self.steps.windows(2) {
            check_follows(rule, &pair[0].statement, &pair[1].statement)?;
        }
        let last = &self.steps[self.steps.len() - 1].statement;
        Ok(Expected {
            state_in: state_digest(self.products, first.statement.chunks.iter().map(|c| &c.input))?,
            state_out: state_after(last)?,
            policy_digest: policy_digest(&self.policy),
            digests: self.steps.iter().map(|s| step_digest(&s.statement)).collect::<Result<_, _>>()?,
        })
    }

    /// The circuit's witness. Call [`Self::check`] first: this one checks nothing.
    pub fn witness(&self) -> EpochWitness {
        let rule = self.policy.rule;
        let proofs = self
            .steps
            .iter()
            .map(|s| {
                (0..)
                    .map(ChunkIndex)
                    .zip(&s.proofs)
                    .map(|(chunk, proof)| ProofInput {
                        instances: chunk_instances(rule, &s.statement, chunk).to_vec(),
                        proof: proof.clone(),
                    })
                    .collect()
            })
            .collect();
        let steps = self.steps.iter().map(|s| (s.statement.hyper, s.statement.schedule)).collect();
        EpochWitness { proofs, statement: Witness { policy: self.policy, products: self.products, steps } }
    }
}

impl Expected {
    /// Compares with what the circuit shows.
    ///
    /// Errors: [`AggregateError::Mismatch`] naming the first instance that differs.
    pub fn compare(&self, got: &EpochInstances) -> Result<(), AggregateError> {
        let mut pairs = vec![
            ("S_in".to_owned(), self.state_in, got.state_in),
            ("S_out".to_owned(), self.state_out, got.state_out),
            ("policy digest".to_owned(), self.policy_digest, got.policy_digest),
        ];
        for (i, (a, b)) in self.digests.iter().zip(&got.digests).enumerate() {
            pairs.push((format!("D of step {}", got.first_step.0 + i as u64), *a, *b));
        }
        match pairs.into_iter().find(|(_, expected, got)| expected != got) {
            Some((what, expected, got)) => Err(AggregateError::Mismatch { what, expected, got }),
            None => Ok(()),
        }
    }
}
