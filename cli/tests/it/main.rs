//! The binary `cairn`, as users run it: processes, exit codes, files.
//!
//! Models are tiny, so that a step takes well under a second; aggregation is exercised by the demo.

mod anchoring;
mod exit_codes;
mod formats;
mod hostile;
mod interrupts;
mod lifecycle;
mod lineage;
mod node;
mod openings;
mod optimizers;
mod resume;
mod rpc;
mod support;
mod tampering;
