//! Tests of the ledger's formats, one file for each property.

mod canonical_form;
mod chain_rules;
mod gate;
mod golden;
mod interop;
mod support;
mod text_formats;
mod tree_soundness;
