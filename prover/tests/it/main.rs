//! Integration tests of `prover`.

mod bench;
mod data;
mod jobs;
mod lineage;
#[cfg(feature = "nats")]
mod nats;
mod train;
#[cfg(feature = "nats")]
mod workers;
