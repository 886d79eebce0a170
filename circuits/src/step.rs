//! The step circuit: one optimizer step of one chunk (spec `statement`).
//!
//! | module | purpose |
//! |---|---|
//! | [`shape`] | k, limb width, rows per parameter |
//! | [`plan`] | slots, limbs and lookups of one block |
//! | [`gate`] | columns and constraints |
//! | [`witness`] | cell values from an update |
//! | [`circuit`] | the halo2 circuit that joins them |

pub mod circuit;
pub mod gate;
pub mod plan;
pub mod shape;
pub mod witness;
