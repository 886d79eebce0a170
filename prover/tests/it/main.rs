//! Integration tests of `prover`.

mod bench;
mod data;
mod jobs;
mod lineage;
mod train;
#[cfg(feature = "nats")]
mod workers;
