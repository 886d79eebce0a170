//! What can go wrong between service, broker and workers.

use ledger::{ChunkIndex, StepIndex};

use crate::state_file::StateFileError;

/// Why the queue does not get on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The credentials cannot be read.
    #[error("credentials {path}: {reason}")]
    Credentials {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The broker cannot be reached or does not let us in.
    #[error("no NATS server at {url}: {reason}")]
    Connect {
        /// Its address, without user and password.
        url: String,
        /// Why.
        reason: String,
    },
    /// The broker refused, or the connection broke.
    #[error("NATS server, {operation}: {reason}")]
    Broker {
        /// What was asked.
        operation: &'static str,
        /// What came back.
        reason: String,
    },
    /// The broker did not answer.
    #[error("NATS server, {operation}: no answer in {seconds} s")]
    Silent {
        /// What was asked.
        operation: &'static str,
        /// Seconds waited.
        seconds: u64,
    },
    /// A chunk has no bytes.
    #[error(transparent)]
    Job(#[from] StateFileError),
    /// Workers sent nothing but wrong proofs of a chunk.
    #[error("step {step}, chunk {chunk}: {refusals} proofs refused, the last of worker {worker}: {reason}")]
    Refused {
        /// The step.
        step: StepIndex,
        /// The chunk.
        chunk: ChunkIndex,
        /// Proofs refused in a row.
        refusals: u32,
        /// Name of the last worker, by its own word.
        worker: String,
        /// What is wrong with the last one.
        reason: String,
    },
    /// It was asked to stop.
    #[error("stopped")]
    Stopped,
}
