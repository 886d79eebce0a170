//! Capsules: one file that verifies with no network at all (`docs/spec/capsule.md`).
//!
//! A capsule is an archive of a run's public directory, the verifying keys, sources and code of the contracts, and the
//! proof that these contracts store the run's head in a block with a given hash.

mod contents;
mod make;
mod read;
mod sources;

pub use make::{Made, make};
pub use read::Capsule;
