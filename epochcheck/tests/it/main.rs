//! Keys, transcripts and verdicts are those of halo2-base and snark-verifier; what is no key, proof or accumulator is refused for
//! its own reason.

mod accumulator;
mod keys;
mod proofs;
mod support;
mod transcript;
