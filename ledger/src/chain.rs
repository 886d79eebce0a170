//! The rules by which a record follows the one before it.

use crate::ids::{ChunkIndex, CurvePoint, Digest, FieldElement, RunId, StepIndex};
use crate::record::{SealedRecord, StepRecord};
use crate::run::{RunDescription, SealedRun};
use crate::statement::{Hyper, Policy};

/// A record that does not follow the one before it, or not the policy of its run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The record is of another run.
    #[error("step {step}: expected run {expected}, got {got}")]
    Run {
        /// Step the record claims to be.
        step: StepIndex,
        /// Run of the log.
        expected: RunId,
        /// Run of the record.
        got: RunId,
    },
    /// A step is missing, repeated or out of order.
    #[error("expected step {expected}, got {got}")]
    Step {
        /// Step that comes next.
        expected: StepIndex,
        /// Step of the record.
        got: StepIndex,
    },
    /// The hash chain is broken: the record before is not the one this record was made after.
    #[error("step {step}: prev: expected {expected}, got {got}")]
    Prev {
        /// The step.
        step: StepIndex,
        /// Hash of the record before.
        expected: Digest,
        /// Hash that the record names.
        got: Digest,
    },
    /// `fresh` must be set exactly at step 0 of a run without a parent.
    #[error("step {step}: fresh: expected {expected}, got {got}")]
    Fresh {
        /// The step.
        step: StepIndex,
        /// Value by the rule.
        expected: bool,
        /// Value in the record.
        got: bool,
    },
    /// The number of chunks is not the policy's.
    #[error("step {step}: expected {expected} chunks, got {got}")]
    ChunkCount {
        /// The step.
        step: StepIndex,
        /// Chunks by the policy.
        expected: usize,
        /// Chunks in the record.
        got: usize,
    },
    /// A chunk does not start from the state in which the step before left it.
    #[error("step {step}, chunk {chunk}: input commitment: expected {expected}, got {got}")]
    Link {
        /// The step.
        step: StepIndex,
        /// The chunk.
        chunk: ChunkIndex,
        /// Output commitment of the step before.
        expected: Box<CurvePoint>,
        /// Input commitment of this step.
        got: Box<CurvePoint>,
    },
    /// A hyper-parameter is not the policy's.
    #[error("step {step}: {field}: expected {expected}, got {got}")]
    Hyper {
        /// The step.
        step: StepIndex,
        /// Which one.
        field: &'static str,
        /// Raw value by the policy.
        expected: u64,
        /// Raw value in the record.
        got: u64,
    },
    /// The learning rate is above the policy's maximum.
    #[error("step {step}: lr: expected at most {max}, got {got}")]
    LearningRate {
        /// The step.
        step: StepIndex,
        /// Largest raw value by the policy.
        max: u64,
        /// Raw value in the record.
        got: u64,
    },
}

/// The end of a valid log: what the next record must continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainHead {
    run: RunId,
    policy: Policy,
    fresh_start: bool,
    next: StepIndex,
    last: Digest,
    state: FieldElement,
    /// Output commitments of the last step; none before the first.
    outputs: Option<Vec<CurvePoint>>,
}

impl ChainHead {
    /// The head of an empty log.
    pub fn genesis(run: &SealedRun) -> Self {
        let RunDescription { run: id, policy, parent, genesis_state, .. } = *run.description();
        Self {
            run: id,
            policy,
            fresh_start: parent.is_none(),
            next: StepIndex(0),
            last: run.digest(),
            state: genesis_state,
            outputs: None,
        }
    }

    /// The step that comes next.
    pub fn next_step(&self) -> StepIndex {
        self.next
    }

    /// Hash of the last record; SHA-256 of `run.json` before the first.
    pub fn last_record(&self) -> Digest {
        self.last
    }

    /// Digest of the state after the last step; the genesis state before the first.
    pub fn state(&self) -> FieldElement {
        self.state
    }

    /// Whether the next step must carry `fresh`.
    pub fn next_is_fresh(&self) -> bool {
        self.fresh_start && self.next == StepIndex(0)
    }

    /// Output commitments of the last step, which the next one must start from; none before the first.
    pub fn outputs(&self) -> Option<&[CurvePoint]> {
        self.outputs.as_deref()
    }

    /// Checks that `record` continues the log and moves the head behind it.
    ///
    /// **Errors**: a [`ChainError`], and the head stays where it was.
    pub fn extend(&mut self, record: &SealedRecord) -> Result<(), ChainError> {
        let fields = record.record();
        self.check(fields)?;
        self.next = self.next.next();
        self.last = record.hash();
        self.state = fields.state_out;
        self.outputs = Some(fields.statement.chunks.iter().map(|chunk| chunk.output).collect());
        Ok(())
    }

    fn check(&self, record: &StepRecord) -> Result<(), ChainError> {
        let statement = &record.statement;
        let step = statement.step;
        if statement.run != self.run {
            return Err(ChainError::Run { step, expected: self.run, got: statement.run });
        }
        if step != self.next {
            return Err(ChainError::Step { expected: self.next, got: step });
        }
        if record.prev != self.last {
            return Err(ChainError::Prev { step, expected: self.last, got: record.prev });
        }
        if statement.fresh != self.next_is_fresh() {
            return Err(ChainError::Fresh { step, expected: self.next_is_fresh(), got: statement.fresh });
        }
        let (expected, got) = (self.policy.n_chunks as usize, statement.chunks.len());
        if expected != got {
            return Err(ChainError::ChunkCount { step, expected, got });
        }
        for (expected, (chunk, commitments)) in self.outputs.iter().flatten().zip(statement.chunks()) {
            if *expected != commitments.input {
                let (expected, got) = (Box::new(*expected), Box::new(commitments.input));
                return Err(ChainError::Link { step, chunk, expected, got });
            }
        }
        self.check_hyper(step, &statement.hyper)
    }

    fn check_hyper(&self, step: StepIndex, hyper: &Hyper) -> Result<(), ChainError> {
        let Policy { beta1, beta2, eps, weight_decay, lr_max, .. } = self.policy;
        for (field, expected, got) in [
            ("beta1", beta1, hyper.beta1),
            ("beta2", beta2, hyper.beta2),
            ("eps", eps, hyper.eps),
            ("weight_decay", weight_decay, hyper.weight_decay),
        ] {
            if expected != got {
                return Err(ChainError::Hyper { step, field, expected, got });
            }
        }
        if hyper.lr > lr_max {
            return Err(ChainError::LearningRate { step, max: lr_max, got: hyper.lr });
        }
        Ok(())
    }
}
