//! The crate against a real node: `anvil`, one for each test.

mod support;

mod anchoring;
mod attestations;
mod batch;
mod deployment;
mod faults;
mod history;
mod lineage;
mod proofs;
mod real_proof;
mod record;
mod reverts;
