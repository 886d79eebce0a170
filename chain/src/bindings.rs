//! Rust bindings of the contracts' interfaces, generated from `contracts/src/interfaces`.
//!
//! What they say is documented there; this crate's own types are what callers see.

#![allow(missing_docs, clippy::too_many_arguments, reason = "generated from the interfaces")]

alloy::sol!("../contracts/src/interfaces/IAttestations.sol");
alloy::sol!("../contracts/src/interfaces/IRunAnchor.sol");
alloy::sol!("../contracts/src/interfaces/IVerifierRegistry.sol");
