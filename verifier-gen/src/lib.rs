//! Solidity verifiers for halo2 keys.
//!
//! A verifying key of halo2-axiom (KZG on BN254, SHPLONK, Keccak transcript, one instance column, with or without an
//! accumulator of twelve limbs among the instances) becomes a contract with one entry,
//! `verifyProof(bytes proof, uint256[] instances)`, that returns true or reverts with an error that says what is wrong.
//! `proof` is halo2's proof with one word behind it, a hint that spares the contract its only inversion; the
//! [`Encoder`] adds it. Layer L2.
//!
//! | module | purpose |
//! |---|---|
//! | [`generate`] | verifying key → Solidity source |
//! | [`encode`] | proof and instances → calldata |
//! | [`compile`] | Solidity source → deployment bytecode, with a `solc` that speaks standard JSON |
//! | [`baseline`] | the same key through snark-verifier's EVM loader, to compare with |
//! | [`shape`] | what a key asks of its verifier: transcript, openings, rotation sets |
//! | [`layout`] | calldata and memory of the contract, offsets derived |
//! | `sections`, `yul` | the parts of the contract that depend on the key |

pub mod baseline;
pub mod compile;
pub mod encode;
pub mod generate;
pub mod layout;
mod sections;
pub mod shape;
mod yul;

pub use compile::{CompileError, Compiled, compile};
pub use encode::{EncodeError, Encoder};
pub use generate::{GenerateError, Options, Setup, VerifierSource, generate, generate_from};
pub use shape::Accumulator;
