//! Committed bytecode and ABI of what is deployed (`cargo xtask contracts build` makes the files).

use serde_json::Value;

use crate::error::ChainError;

/// The anchor.
pub(crate) const RUN_ANCHOR: ArtifactText =
    ArtifactText { what: "RunAnchor", json: include_str!("../../contracts/artifacts/RunAnchor.json") };
/// The registry of verifiers.
pub(crate) const VERIFIER_REGISTRY: ArtifactText =
    ArtifactText { what: "VerifierRegistry", json: include_str!("../../contracts/artifacts/VerifierRegistry.json") };
/// Attestations of auditors.
pub(crate) const ATTESTATIONS: ArtifactText =
    ArtifactText { what: "Attestations", json: include_str!("../../contracts/artifacts/Attestations.json") };

/// What generated verifiers have in common: errors only, no bytecode.
pub(crate) const EPOCH_VERIFIER: ArtifactText =
    ArtifactText { what: "IEpochVerifier", json: include_str!("../../contracts/artifacts/IEpochVerifier.json") };

/// One committed file.
#[derive(Clone, Copy)]
pub(crate) struct ArtifactText {
    /// Name of the contract.
    pub what: &'static str,
    json: &'static str,
}

/// What is read from it.
pub(crate) struct Artifact {
    /// Creation code without constructor arguments.
    pub bytecode: Vec<u8>,
    /// The JSON ABI.
    pub abi: Value,
}

impl ArtifactText {
    /// Reads the file.
    pub(crate) fn parse(&self) -> Result<Artifact, ChainError> {
        let bad = |reason: &str| ChainError::Answer {
            operation: "read artifact",
            reason: format!("{}: {reason}", self.what),
        };
        let mut file: Value = serde_json::from_str(self.json).map_err(|error| bad(&error.to_string()))?;
        let text = file["bytecode"].as_str().ok_or_else(|| bad("no bytecode"))?;
        let bytecode = hex::decode(text.trim_start_matches("0x")).map_err(|error| bad(&error.to_string()))?;
        Ok(Artifact { bytecode, abi: file["abi"].take() })
    }
}
