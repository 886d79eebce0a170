//! The binary `cairn`, as users run it: processes, exit codes, files.
//!
//! Models are tiny, so that a step takes well under a second; aggregation and the chain are exercised by the demo.

mod bundle;
mod exit_codes;
mod lifecycle;
mod lineage;
mod openings;
mod resume;
mod support;
mod tampering;
