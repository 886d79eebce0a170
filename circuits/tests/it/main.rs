//! Integration tests of `circuits`, one module for each property.

mod completeness;
mod golden;
mod linking;
mod memory;
mod reference_vectors;
mod soundness;
mod support;
mod tampering;
