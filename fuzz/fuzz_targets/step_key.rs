//! Target `step_key`; see `cairn_fuzz::formats`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::formats::step_key(data));
