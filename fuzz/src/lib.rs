//! Fuzzing of everything that strangers write; see `docs/fuzzing.md`.

pub mod formats;
