//! A proving engine for halo2-axiom circuits on BN254 with KZG and SHPLONK.
//!
//! Serves provers: given the library's proving key it makes the proofs that the library's verifier, snark-verifier and the
//! Solidity verifier accept. Soundness does not rest on it, because the verifier is the library's;
//! zero-knowledge does, which is why it draws the same randomness in the same order and number as the library
//! (docs/adr/0011). Layer L1: depends on `vkey` only, opens no files: a stored key is read in bytes that the caller mapped.
//!
//! | module | purpose |
//! |---|---|
//! | [`prove`](mod@prove) | the rounds of a proof |
//! | `keygen`, `stored` | keys, and their files |
//! | `view`, `place` | a key's columns, wherever they are |
//! | `key` | what is prepared once for a key |
//! | `memory` | how much memory a proof takes, and how it takes less |
//! | `witness` | synthesis, and commitments phase by phase |
//! | `constraints` | gates, permutation and lookups as one program |
//! | `program` | expressions compiled, evaluated over blocks of rows |
//! | `quotient` | the quotient by the vanishing polynomial |
//! | `room` | columns that are used again |
//! | `grand_product`, `lookup` | running products, permuted columns |
//! | `opening` | SHPLONK |
//! | `poly` | evaluation, linear combination, division |
//! | [`fft`] | values and coefficients |
//! | [`msm`], `batch_affine` | commitments |
//! | `few` | commitments to columns of which more is known |
//! | `ifma`, `fma` | eight elements at a time, where the processor can |
//! | `aligned` | points where they are read fast |
//! | `kernel`, `words` | which of them; elements as they lie in memory |
//! | [`bases`] | bases out of halo2's parameters |
//! | `watch` | progress and cancellation |
//! | `error` | the refusals |

pub mod bases;
pub mod fft;
pub mod msm;
pub mod prove;

mod aligned;
mod batch_affine;
mod constraints;
mod error;
mod few;
#[cfg(target_arch = "x86_64")]
mod fma;
mod grand_product;
#[cfg(target_arch = "x86_64")]
mod ifma;
mod kernel;
mod key;
mod keygen;
mod lookup;
mod memory;
mod opening;
mod place;
mod poly;
mod prefetch;
mod program;
mod quotient;
mod room;
#[cfg(all(test, target_arch = "x86_64"))]
mod samples;
mod stored;
mod view;
mod watch;
mod witness;
#[cfg(target_arch = "x86_64")]
mod words;

pub use error::EngineError;
pub use few::{FewValues, Hints, NoHints, hint_bytes};
pub use key::{CosetCache, PreparedKey};
pub use keygen::{generate_key, generate_verifying_key};
pub use memory::{CircuitBytes, KeyPlace, MemoryLimit, check_memory};
pub use msm::Term;
pub use prove::{prove, prove_hinted, prove_watched};
pub use stored::{Key, StoredKey, read_key, write_key};
pub use view::KeyView;
pub use watch::{Phase, Unwatched, Watch};
