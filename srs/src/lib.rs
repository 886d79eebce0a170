//! Structured reference strings for KZG on BN254.
//!
//! Makes the development string, imports ceremony files with every point checked, and keeps strings in a directory from
//! which they load fast. Layer L1: depends on no other crate of ours; talks to files, never to the network.
//!
//! | module | purpose |
//! |---|---|
//! | [`dev`] | the deterministic development string: fast, public τ, **not secure** |
//! | [`cache`] | one file per label and size, digest-guarded, written atomically |
//! | [`ptau`] | import of ceremony files of snarkjs and Hermez |
//! | [`halo2_file`] | import and export of plain halo2 parameter files |
//! | `points` | foreign bytes to points: canonical, on the curve |
//! | `raw` | the raw halo2 format |
//! | `check` | pairing checks on the powers, check of the Lagrange basis |
//! | `group_transform` | the Lagrange basis from the powers |
//! | `fixed_base`, `variable_base`, `batch_affine` | many multiples of one point, of many points; additions in step |
//! | `domain` | scalars of both bases |
//! | `verifier` | what verification needs: τH alone |
//! | `types`, `error` | the words and the refusals |
//!
//! ```
//! # fn main() -> Result<(), srs::SrsError> {
//! # let dir = tempfile::tempdir().expect("temporary directory");
//! let cache = srs::SrsCache::new(dir.path());
//! let srs = cache.development(srs::SrsSize::new(6)?, &srs::silent)?;
//! assert!(!srs.info().secure);
//! # Ok(()) }
//! ```

pub mod cache;
pub mod dev;
pub mod halo2_file;
pub mod ptau;

mod batch_affine;
mod check;
mod domain;
mod error;
mod fixed_base;
mod group_transform;
mod points;
mod raw;
mod types;
mod variable_base;
mod verifier;

pub use cache::SrsCache;
pub use error::SrsError;
pub use types::{OnProgress, Progress, Srs, SrsDigest, SrsInfo, SrsLabel, SrsSize, SrsSource, Stage, silent};
pub use verifier::SrsVerifier;
