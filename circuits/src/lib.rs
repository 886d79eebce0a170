//! The audited statement of Cairn: what one step proof says, and how it is verified.
//!
//! A step proof shows that a committed next state is what the declared optimizer makes of the committed state and the
//! committed gradient, in exact integers. It does not show that the gradient is honest, nor that the data was good.
//! Spec: `docs/spec/statement.md`, `docs/spec/commitment.md`.
//!
//! Layer L1; depends on `ledger` and halo2-axiom only, so that the verifier compiles to wasm (without the features
//! `multicore` and `asm`).
//!
//! | module | purpose |
//! |---|---|
//! | [`reference`] | the update rules in plain integers, the oracle |
//! | [`step`] | the halo2 circuit |
//! | [`keys`] | keys, proving and verifying one chunk |
//! | [`claim`] | verifying a step's statement, policy and links |
//! | [`linked`] | seeded blinding, which links commitments |
//! | [`opening`] | commitments of known states |
//! | [`state_file`] | bytes of a private optimizer state |
//! | [`weights`] | weights as safetensors, and the opening of their state |
//! | [`notes`] | what a run's description says of its circuits |
//! | [`digest`] | Poseidon digests of states, steps, policies |
//! | [`poseidon`] | the hash and the transcript |
//! | [`convert`] | ledger's bytes and halo2's types |

pub mod claim;
pub mod convert;
pub mod digest;
pub mod keys;
pub mod linked;
pub mod notes;
pub mod opening;
pub mod poseidon;
pub mod reference;
pub mod state_file;
pub mod step;
pub mod weights;
