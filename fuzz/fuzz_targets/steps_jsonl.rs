//! Target `steps_jsonl`; see `cairn_fuzz::formats`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::formats::steps_jsonl(data));
