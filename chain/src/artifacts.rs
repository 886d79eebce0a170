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

/// Code of a contract as it is committed, and part of this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedCode {
    /// Name of the contract.
    pub what: &'static str,
    /// Creation code without constructor arguments.
    pub creation: Vec<u8>,
    /// Runtime code with zeros in place of the immutable.
    pub runtime: Vec<u8>,
}

/// Code of registry, anchor and attestations: what a fresh compilation of the sources must give.
///
/// # Errors
/// If the program was built with damaged files.
pub fn committed_code() -> Result<[CommittedCode; 3], ChainError> {
    let read = |text: ArtifactText| {
        let Artifact { bytecode: creation, runtime, .. } = text.parse()?;
        Ok(CommittedCode { what: text.what, creation, runtime })
    };
    Ok([read(VERIFIER_REGISTRY)?, read(RUN_ANCHOR)?, read(ATTESTATIONS)?])
}

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
    /// Runtime code with zeros in place of the immutable.
    pub runtime: Vec<u8>,
    /// Where it repeats the immutable, a word each.
    pub immutable_offsets: Vec<usize>,
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
        let code = |key: &str| {
            let text = file[key].as_str().ok_or_else(|| bad(&format!("no {key}")))?;
            hex::decode(text.trim_start_matches("0x")).map_err(|error| bad(&error.to_string()))
        };
        let (bytecode, runtime) = (code("bytecode")?, code("deployed_bytecode")?);
        let offset = |value: &Value| value.as_u64().and_then(|offset| usize::try_from(offset).ok());
        let offsets = file["immutable_offsets"].as_array().and_then(|list| list.iter().map(offset).collect());
        let immutable_offsets = offsets.ok_or_else(|| bad("no immutable_offsets"))?;
        Ok(Artifact { bytecode, runtime, immutable_offsets, abi: file["abi"].take() })
    }
}

impl Artifact {
    /// Runtime code as the constructor leaves it behind.
    ///
    /// # Errors
    /// If a place of the immutable is outside of the code.
    pub(crate) fn runtime_with(&self, immutable: [u8; 32]) -> Result<Vec<u8>, ChainError> {
        let mut code = self.runtime.clone();
        for &offset in &self.immutable_offsets {
            let place = offset.checked_add(32).and_then(|end| code.get_mut(offset..end));
            let reason = format!("immutable at {offset} of {} bytes", self.runtime.len());
            place.ok_or(ChainError::Answer { operation: "read artifact", reason })?.copy_from_slice(&immutable);
        }
        Ok(code)
    }
}
