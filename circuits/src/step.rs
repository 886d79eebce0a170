//! The step circuit: one optimizer step of one chunk (spec `statement`).
//!
//! | module | purpose |
//! |---|---|
//! | [`shape`] | k, limb width, rows per parameter |
//! | [`plan`] | slots, limbs and lookups of one block |
//! | [`gate`] | columns and constraints |
//! | [`witness`] | cell values from an update |
//! | [`circuit`] | the halo2 circuit that joins them |
//! | `hints` | what makes commitments to the helpers cheaper |

pub mod circuit;
pub mod gate;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod hints;
pub mod plan;
pub mod shape;
pub mod witness;
