//! Who makes the proofs of a step: this process, or others that the service knows how to ask.

use circuits::keys::StepProvingKey;
use ledger::{RunId, StepIndex};
use srs::Srs;
use tokio::sync::watch;

use crate::job::ChunkJob;
use crate::step::{ProveError, prove_here};

/// What is to be proved.
pub struct Work<'a> {
    /// The reference string.
    pub srs: &'a Srs,
    /// The key of all chunks.
    pub key: &'a StepProvingKey,
    /// All chunks of one step, in order.
    pub jobs: &'a [ChunkJob],
    /// The chunks of the steps after it, step by step, as many as [`Provers::ahead`] allows and trainers have sent. Nothing is
    /// returned of them; who has idle hands can begin.
    pub ahead: &'a [&'a [ChunkJob]],
    /// Becomes true when the service stops: then nothing that takes long is begun.
    pub draining: watch::Receiver<bool>,
    /// Called with (done, of) after each chunk.
    pub on_chunk: &'a mut dyn FnMut(usize, usize),
    /// Called with true when nobody takes the chunks, and with false when somebody does after all.
    pub on_wait: &'a mut dyn FnMut(bool),
}

/// Why a step has no proofs yet. It is tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProversError {
    /// The service stops. What was given away comes back at the next start.
    #[error("the service stops")]
    Stopped,
    /// Proving failed here.
    #[error(transparent)]
    Here(#[from] ProveError),
    /// Proving failed elsewhere.
    #[error(transparent)]
    Elsewhere(Box<dyn std::error::Error + Send + Sync>),
}

/// Makes proofs.
pub trait Provers: Send + Sync {
    /// One proof for each job, in order. Each is of its job's values: the service verifies the statement once more, but not
    /// that the commitments are of its own state.
    ///
    /// Errors: [`ProversError`]. Asking again for the same jobs goes on with what was left.
    fn prove(&self, work: Work<'_>) -> Result<Vec<Vec<u8>>, ProversError>;

    /// How many steps after the one that is due it wants to see, if a step has `n_chunks`.
    fn ahead(&self, n_chunks: u32) -> usize;

    /// The step is in the log: nothing that was kept for it is needed any more.
    fn settled(&self, run: RunId, step: StepIndex);
}

/// Proves in this process, chunk after chunk; a proof uses all cores by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Here;

impl Provers for Here {
    fn prove(&self, work: Work<'_>) -> Result<Vec<Vec<u8>>, ProversError> {
        Ok(prove_here(work.srs.params(), work.key, work.jobs, work.on_chunk)?)
    }

    fn ahead(&self, _: u32) -> usize {
        0
    }

    fn settled(&self, _: RunId, _: StepIndex) {}
}
