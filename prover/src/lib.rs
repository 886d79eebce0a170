//! Proving optimizer steps, and the reference trainer (layer L2).
//!
//! | module | purpose |
//! |---|---|
//! | [`step`] | proving one step, chunk by chunk, linked to its neighbours |
//! | `service` | the prover service: steps in over HTTP, proofs in the log (feature `service`) |
//! | [`session`] | one run on disk: made, continued, step by step; its parent |
//! | [`lineage`] | runs that start from another's final state |
//! | [`data`] | labelled data, split, order of batches |
//! | [`train`] | the reference trainer and its fidelity to float64 Adam |

pub mod data;
pub mod lineage;
#[cfg(feature = "service")]
pub mod service;
pub mod session;
pub mod step;
pub mod train;

pub use circuits::{state_file, weights};
