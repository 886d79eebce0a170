//! The binary `cairn`, as users run it: processes, exit codes, files.
//!
//! Models are tiny, so that a step takes well under a second; aggregation is exercised by the demo. What needs an anchored run
//! uses the real one of `testdata/anchor`, on a node of its own.

mod admin;
mod attest;
mod bundle;
mod deployment;
mod exit_codes;
mod gate;
mod lifecycle;
mod lineage;
mod openings;
mod resume;
mod support;
mod tampering;
