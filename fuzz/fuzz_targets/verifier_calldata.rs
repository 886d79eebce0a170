//! Target `verifier_calldata`: contract and halo2 agree on any call of a generated verifier.
//!
//! The body is `agrees` of `verifier-gen/tests/it/calldata.rs`, which `cargo test -p verifier-gen` runs on seeded mutations.
//! Two small circuits are keyed, proved, generated and compiled when it starts, so it needs the compiler that
//! `cargo xtask setup` installs.
#![no_main]
#![allow(dead_code, reason = "the tests of verifier-gen use all of it")]

#[path = "../../verifier-gen/tests/it/calldata.rs"]
mod calldata;
#[path = "../../verifier-gen/tests/it/circuits.rs"]
mod circuits;
#[path = "../../verifier-gen/tests/it/evm.rs"]
mod evm;
#[path = "../../verifier-gen/tests/it/verifier.rs"]
mod verifier;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    calldata::agrees(data);
});
