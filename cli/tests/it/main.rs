//! The binary `cairn`, as users run it: processes, exit codes, files.
//!
//! Models are tiny, so that a step takes well under a second; aggregation is exercised by the demo. What needs an anchored run
//! uses the real one of `testdata/anchor`, on a node of its own.

mod admin;
mod anchoring;
mod attest;
mod browser;
mod bundle;
mod capsule;
mod deployment;
mod exit_codes;
mod fetching;
mod formats;
mod gate;
mod hostile;
mod interrupts;
mod lifecycle;
mod lineage;
mod memory;
mod networks;
mod node;
mod openings;
mod optimizers;
mod portal;
mod resume;
mod rpc;
mod service;
mod support;
mod tampering;
mod visitor;
mod wrap;
