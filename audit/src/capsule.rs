//! Capsules: one file that verifies with no network at all (`docs/spec/capsule.md`).
//!
//! A capsule is an archive of a run's public directory, the verifying keys, sources and code of the contracts, and the
//! proof that these contracts store the run's head in a block with a given hash.

pub mod contents;
mod error;
mod read;
pub mod sources;
#[cfg(feature = "native")]
mod verifiers;
mod whole;

pub use self::contents::{Contents, Program};
pub use self::error::CapsuleError;
pub use self::read::{Capsule, Evidence};
