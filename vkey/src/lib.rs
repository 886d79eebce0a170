//! halo2 verifying keys without a prover's tables, read from anybody's bytes.
//!
//! The library makes the factors of all its transforms when it makes a domain: about a gigabyte for a verifying key of
//! 2^21 rows, which holds a dozen points. Nobody here transforms with them: the prover is `engine`, and a verifier has
//! nothing to transform. [`domain`] is the library's without these factors, [`read`] gives keys on such a domain.
//!
//! Layer L0: no files, no clock, no threads; wasm-safe. Errors: [`KeyError`].

mod domain;
mod read;

pub use domain::domain;
pub use read::{KeyError, read, read_constraints, read_from};
