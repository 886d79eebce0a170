//! Solidity verifiers for epoch proofs.
//!
//! This version emits the contract through snark-verifier's EVM loader: a fallback function whose calldata is the
//! instances, 32 bytes each, followed by the proof; it reverts when the proof is wrong and returns nothing when it is
//! right. Layer L2.
//!
//! | module | purpose |
//! |---|---|
//! | [`generate`] | verifying key → Solidity source |
//! | `compact` | the loader's assembly, small enough for EIP-170 |
//! | [`compile`] | Solidity source → deployment bytecode, with a `solc` that speaks standard JSON |

mod compact;
pub mod compile;
pub mod generate;

pub use compile::{CompileError, Compiled, compile};
pub use generate::{VerifierSource, generate};
