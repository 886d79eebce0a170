//! Arbitrary calldata for generated verifiers: the contract accepts exactly what halo2 accepts, and stops only with one of
//! its errors. The body runs on stable too: `verifier-gen/tests/it/calldata.rs`. Needs solc: `cargo xtask setup`, then
//! `CAIRN_SOLC=.cache/tools/bin/solc cargo +nightly fuzz run verifier_calldata`.

#![no_main]

#[path = "../../verifier-gen/tests/it/calldata.rs"]
#[allow(dead_code, reason = "shared with the tests of verifier-gen")]
mod calldata;
#[path = "../../verifier-gen/tests/it/circuits.rs"]
#[allow(dead_code, reason = "shared with the tests of verifier-gen")]
mod circuits;
#[path = "../../verifier-gen/tests/it/evm.rs"]
#[allow(dead_code, reason = "shared with the tests of verifier-gen")]
mod evm;
#[path = "../../verifier-gen/tests/it/verifier.rs"]
#[allow(dead_code, reason = "shared with the tests of verifier-gen")]
mod verifier;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    calldata::agrees(data);
});
