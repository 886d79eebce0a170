//! A node, a deployment on it, and epochs to anchor.

pub mod anvil;
pub mod demo;
pub mod epochs;
pub mod flaky;
pub mod world;

/// The second account of development nodes: publicly known.
pub const STRANGER_KEY: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

/// Name of the custom error that an operation was refused with.
#[track_caller]
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, chain::ChainError>) -> chain::Revert {
    match answer {
        Err(chain::ChainError::Reverted { revert, .. }) => revert,
        other => panic!("expected a refusal by the contract, got {other:?}"),
    }
}
