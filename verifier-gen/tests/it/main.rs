//! Verifiers compiled by solc and run by revm, with real proofs.

mod calldata;
mod circuits;
mod differential;
mod evm;
mod golden;
mod refusals;
mod vector;
mod verifier;
