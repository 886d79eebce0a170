//! Epoch proofs and their keys, verified without the crates that make them.
//!
//! An epoch's circuit is built with halo2-base and verifies step proofs with snark-verifier; neither compiles for browsers, and
//! neither is needed to verify what it made. A verifier needs the circuit's constraints, which are few ([`columns`]), the rules of
//! the transcript ([`transcript`]), halo2's own verifier, and the pairing of the accumulator among the instances ([`accumulator`]).
//! `cairn`, the portal and a visitor's browser call the same function, [`EpochVerifyingKey::verify`]. Tests compare keys,
//! transcripts and answers with those of halo2-base and snark-verifier.
//!
//! **Layer**: L1; above `ledger`, `vkey` and `circuits`. No files, no clock; wasm-safe.
//!
//! | module | purpose |
//! |---|---|
//! | [`columns`] | constraints of the circuits, from the columns that a key names |
//! | [`transcript`] | challenges as a verifier on chain draws them |
//! | [`accumulator`] | twelve limbs, two points, one pairing |
//! | [`key`] | keys from anybody's bytes, and verification |

pub mod accumulator;
pub mod columns;
mod error;
pub mod key;
pub mod transcript;

pub use accumulator::AccumulatorError;
pub use columns::{Columns, ColumnsError};
pub use error::EpochProofError;
pub use key::{EpochProof, EpochShape, EpochVerifyingKey};
