//! Target `state_proof`; see `cairn_fuzz::formats`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::formats::state_proof(data));
