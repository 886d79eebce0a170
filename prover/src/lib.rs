//! Proving optimizer steps, and the reference trainer (layer L2).
//!
//! | module | purpose |
//! |---|---|
//! | [`job`] | one chunk of one step, for a prover anywhere |
//! | [`step`] | proving one step, chunk by chunk, linked to its neighbours |
//! | `service` | the prover service: steps in over HTTP, proofs in the log (feature `service`) |
//! | `queue` | workers on other machines, over NATS JetStream (feature `nats`) |
//! | [`session`] | one run on disk: made, continued, step by step; its parent |
//! | [`shelf`] | proving keys in memory |
//! | [`lineage`] | runs that start from another's final state |
//! | [`data`] | labelled data, split, order of batches |
//! | [`train`] | the reference trainer and its fidelity to float64 Adam |

pub mod data;
pub mod job;
pub mod lineage;
#[cfg(feature = "nats")]
pub mod queue;
#[cfg(feature = "service")]
pub mod service;
pub mod session;
pub mod shelf;
pub mod step;
pub mod train;

pub use circuits::{state_file, weights};
