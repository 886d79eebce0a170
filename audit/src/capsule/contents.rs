//! What a capsule has, by name, and `capsule.json`, its first file.

use std::collections::BTreeSet;

use chain::LogSteps;
use ledger::{Address, CanonicalError, ChainId, Digest, FieldElement, Root, RunId, TreeSize, canonical};
use serde::{Deserialize, Serialize};

/// Its name.
pub const CONTENTS: &str = "capsule.json";
/// Longest `capsule.json`.
pub const MAX_CONTENTS_BYTES: usize = 1 << 20;
/// Code of `RunAnchor`, as it stands on the chain.
pub const ANCHOR_CODE: &str = "chain/anchor.code";
/// Code of its registry.
pub const REGISTRY_CODE: &str = "chain/registry.code";
/// Header, account and storage proofs.
pub const STATE: &str = "chain/proof.json";
/// Folder of the contracts' sources.
pub const SOURCES: &str = "contracts";
/// The step key.
pub const STEP_KEY: &str = "keys/step.vk";
/// Folder of the run.
pub const RUN: &str = "run";

/// Code of the verifier of epochs of `n_steps`.
pub fn verifier_code(n_steps: u64) -> String {
    format!("chain/verifier_{n_steps}.code")
}

/// Source of that verifier, as its key gives it.
pub fn verifier_source(n_steps: u64) -> String {
    format!("{SOURCES}/verifiers/EpochVerifier{n_steps}.sol")
}

/// Key of epochs of `n_steps`.
pub fn epoch_key(n_steps: u64) -> String {
    format!("keys/epoch_{n_steps}.vk")
}

/// Steps of an epoch of this size.
pub fn steps_of(size: LogSteps) -> u64 {
    1 << size.0.min(63)
}

/// The block of a capsule's proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    // Fields of all these types stand in the order of their JSON keys: the derived encoding is canonical.
    /// Hash of its header: what to compare with a node that one trusts.
    pub hash: Digest,
    /// Its height.
    pub number: u64,
}

/// The program that made a capsule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// SHA-256 of the binary.
    pub sha256: Digest,
    /// Its version.
    pub version: String,
}

/// Epochs of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochKind {
    /// Digest of their key.
    pub key: FieldElement,
    /// Binary logarithm of their number of steps.
    pub log_steps: LogSteps,
    /// Their verifier.
    pub verifier: Address,
}

/// The reference string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceString {
    /// SHA-256 of the string of the step circuit's size.
    pub digest: Digest,
    /// That size.
    pub k: u32,
    /// Its label.
    pub label: String,
    /// τH as in the string's file, in hex.
    pub tau_h: String,
}

/// `capsule.json`: what the other files are about. Every value is compared with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// The block.
    pub block: Block,
    /// What made it.
    pub cairn: Program,
    /// The chain.
    pub chain_id: ChainId,
    /// RunAnchor.
    pub contract: Address,
    /// Sizes of epochs, smallest first.
    pub epochs: Vec<EpochKind>,
    /// SHA-256 of the run's manifest.
    pub manifest: Digest,
    /// Root of the log.
    pub root: Root,
    /// The run.
    pub run: RunId,
    /// Steps of the log.
    pub size: TreeSize,
    /// The reference string.
    pub srs: ReferenceString,
    /// Digest of the step key.
    pub step_key: FieldElement,
    /// Version of the format.
    pub v: canonical::V1,
}

impl Contents {
    /// Reads the canonical JSON.
    ///
    /// Errors: it is not canonical.
    pub fn parse(bytes: &[u8]) -> Result<Self, CanonicalError> {
        canonical::decode(bytes, MAX_CONTENTS_BYTES)
    }

    /// The canonical JSON.
    ///
    /// Errors: it is too long.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::encode(self)
    }

    /// Every file that a capsule has besides the run's, by these contents.
    pub fn files(&self) -> BTreeSet<String> {
        let fixed = [CONTENTS, ANCHOR_CODE, REGISTRY_CODE, STATE, STEP_KEY].map(str::to_owned);
        let mut files: BTreeSet<String> = fixed.into();
        files.extend(super::sources::SOURCES.iter().map(|(name, _)| format!("{SOURCES}/{name}")));
        for epoch in &self.epochs {
            let n_steps = steps_of(epoch.log_steps);
            files.extend([verifier_code(n_steps), verifier_source(n_steps), epoch_key(n_steps)]);
        }
        files
    }
}
