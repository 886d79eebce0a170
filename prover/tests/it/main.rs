//! Integration tests of `prover`.

mod data;
mod train;
