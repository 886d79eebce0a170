//! The file that says where the contracts of a deployment are: `deploy/addresses/<chain id>.json`.

use ledger::{Address, ChainId, Digest, Salt, Selector, canonical::V1};
use serde::{Deserialize, Serialize};

use crate::{
    deploy::{DelaySecs, DeployPlan},
    error::ChainError,
    head::LogSteps,
};

/// A deployment: what was chosen, and the addresses that follow from it.
///
/// In a file: JSON with exactly these keys. The three addresses repeat what owner, guardian, delay and salt give, so that
/// a reader needs no Cairn; [`Deployment::plan`] checks them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The contract `RunAnchor`.
    pub anchor: Address,
    /// The contract `Attestations`.
    pub attestations: Address,
    /// The chain.
    pub chain_id: ChainId,
    /// Seconds between proposal and addition of a verifier.
    pub delay_secs: u64,
    /// The first guardian of the registry.
    pub guardian: Address,
    /// The first owner of the registry.
    pub owner: Address,
    /// The contract `VerifierRegistry`.
    pub registry: Address,
    /// CREATE2 salt of the three.
    pub salt: Salt,
    /// Format version.
    pub v: V1,
    /// Verifiers that were proposed to the registry or added to it.
    pub verifiers: Vec<DeployedVerifier>,
}

/// One verifier of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployedVerifier {
    /// Where it stands.
    pub address: Address,
    /// Digest of the verifying key that it was generated from.
    pub key_digest: Digest,
    /// Binary logarithm of the steps of its epochs, 0 to 16.
    pub log_steps: LogSteps,
    /// Its circuit family.
    pub selector: Selector,
}

/// Why a deployment's file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeploymentError {
    /// Not JSON of the expected keys, types and version.
    #[error("not a deployment: {0}")]
    Json(#[from] serde_json::Error),
    /// An address is not the one that owner, guardian, delay and salt give.
    #[error("{what}: owner, guardian, delay and salt give {expected}, the file says {got}")]
    Address {
        /// The contract.
        what: &'static str,
        /// By CREATE2.
        expected: Address,
        /// In the file.
        got: Address,
    },
    /// A value differs from what is recorded already.
    #[error("{what}: recorded is {expected}, this deployment has {got}")]
    Recorded {
        /// Which value.
        what: &'static str,
        /// In the file.
        expected: String,
        /// Of the deployment to be recorded.
        got: String,
    },
    /// The plan cannot be made.
    #[error(transparent)]
    Plan(#[from] ChainError),
}

impl Deployment {
    /// The deployment that a plan makes, without verifiers.
    ///
    /// # Errors
    /// If the committed artifacts cannot be read.
    pub fn new(
        chain_id: ChainId,
        owner: Address,
        guardian: Address,
        delay: DelaySecs,
        salt: Salt,
    ) -> Result<Self, ChainError> {
        let plan = DeployPlan::new(owner, guardian, delay, salt)?;
        Ok(Self {
            anchor: plan.anchor.address(),
            attestations: plan.attestations.address(),
            chain_id,
            delay_secs: delay.0,
            guardian,
            owner,
            registry: plan.registry.address(),
            salt,
            v: V1,
            verifiers: Vec::new(),
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`DeploymentError::Json`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DeploymentError> {
        Ok(serde_json::from_slice(bytes)?)
    }

    /// The file's text: indented, keys in order, verifiers by family and size.
    ///
    /// # Errors
    /// [`DeploymentError::Json`] if a number has no exact form in JSON.
    pub fn to_text(&self) -> Result<String, DeploymentError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// What the values give, once the addresses are checked against it.
    ///
    /// # Errors
    /// [`DeploymentError::Address`].
    pub fn plan(&self) -> Result<DeployPlan, DeploymentError> {
        let plan = DeployPlan::new(self.owner, self.guardian, DelaySecs(self.delay_secs), self.salt)?;
        let pairs =
            [(&plan.registry, self.registry), (&plan.anchor, self.anchor), (&plan.attestations, self.attestations)];
        for (code, got) in pairs {
            let (what, expected) = (code.what(), code.address());
            if expected != got {
                return Err(DeploymentError::Address { what, expected, got });
            }
        }
        Ok(plan)
    }

    /// Adds what another record of the same deployment has more.
    ///
    /// # Errors
    /// [`DeploymentError::Recorded`] if the two are not of the same deployment, or another verifier stands at a place:
    /// verifiers are never replaced.
    pub fn merge(&mut self, newer: &Self) -> Result<(), DeploymentError> {
        let pairs = [
            ("chain", self.chain_id.to_string(), newer.chain_id.to_string()),
            ("owner", self.owner.to_string(), newer.owner.to_string()),
            ("guardian", self.guardian.to_string(), newer.guardian.to_string()),
            ("delay", self.delay_secs.to_string(), newer.delay_secs.to_string()),
            ("salt", self.salt.to_string(), newer.salt.to_string()),
            ("registry", self.registry.to_string(), newer.registry.to_string()),
            ("anchor", self.anchor.to_string(), newer.anchor.to_string()),
            ("attestations", self.attestations.to_string(), newer.attestations.to_string()),
        ];
        for (what, expected, got) in pairs {
            if expected != got {
                return Err(DeploymentError::Recorded { what, expected, got });
            }
        }
        for verifier in &newer.verifiers {
            let place = |other: &&DeployedVerifier| {
                (other.selector, other.log_steps) == (verifier.selector, verifier.log_steps)
            };
            match self.verifiers.iter().find(place) {
                None => self.verifiers.push(verifier.clone()),
                Some(found) if found == verifier => {}
                Some(found) => {
                    let (expected, got) = (found.address.to_string(), verifier.address.to_string());
                    return Err(DeploymentError::Recorded { what: "verifier", expected, got });
                }
            }
        }
        self.verifiers.sort_by_key(|verifier| (verifier.selector, verifier.log_steps));
        Ok(())
    }
}
