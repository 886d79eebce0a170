//! Integration tests of `prover`.

mod data;
mod lineage;
mod train;
