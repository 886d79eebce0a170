//! Epochs: one proof for the steps of an epoch, verified by snark-verifier inside a halo2-base circuit.
//!
//! An epoch proof shows that every step proof of the epoch verifies under the pinned step key, that each step starts
//! from the commitments the one before ended in, that all follow the run's policy, and it exposes the statement
//! digests and the states at both ends. Verification is `epochcheck`'s, which needs none of these crates.
//! Spec: `docs/spec/epoch.md`. Layer L2.
//!
//! | module | purpose |
//! |---|---|
//! | [`input`] | steps of a log, checked, to the circuit's witness |
//! | [`epoch`] | the circuit: verification of the step proofs |
//! | [`statement`] | the circuit: links, policy, schedule, digests |
//! | [`shplonk`] | SHPLONK verification that leaves the multi-scalar multiplication open |
//! | [`merge`] | scalars of equal bases, over all proofs |
//! | [`fq`] | equations over the base field |
//! | [`curve`] | addition and doubling |
//! | [`msm`] | multi-scalar multiplication |
//! | [`wrap`] | the circuit that verifies an epoch proof with fewer columns |
//! | [`keys`] | key generation, proving |
//! | [`error`] | errors |

pub mod curve;
pub mod epoch;
pub mod error;
pub mod fq;
pub mod input;
pub mod keys;
pub mod merge;
pub mod msm;
pub mod shplonk;
pub mod statement;
pub mod wrap;

pub use engine::{Phase, Unwatched, Watch};
pub use error::AggregateError;
pub use input::{EpochInput, StepInput};
pub use keys::{EpochProof, EpochProvingKey, EpochShape, EpochVerifyingKey};
