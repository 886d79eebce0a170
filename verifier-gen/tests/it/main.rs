//! Verifiers compiled by solc and run by revm, with real proofs.

mod circuits;
mod differential;
mod evm;
mod golden;
mod refusals;
