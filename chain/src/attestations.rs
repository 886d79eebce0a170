//! What auditors say about runs: EIP-712 statements, signed here or by any wallet, kept by `Attestations`.

use std::borrow::Cow;

use alloy::{
    eips::BlockId,
    primitives::U256,
    sol_types::{Eip712Domain, SolCall, SolStruct},
};
use ledger::{Address, ChainId, ConsistencyProof, Digest, Root, RunId, Salt, TreeSize};
use serde::{Deserialize, Serialize};

use crate::{
    bindings::IAttestations as abi,
    client::Client,
    convert,
    error::ChainError,
    writer::{Sent, Writer},
};

/// Name of the EIP-712 domain; the contract's `eip712Domain` says the same.
const DOMAIN_NAME: &str = "Cairn Attestations";
/// Version of the EIP-712 domain.
const DOMAIN_VERSION: &str = "1";

alloy::sol! {
    /// What an auditor signs to take an attestation back.
    struct Revocation {
        bytes32 attestation;
        string reason;
    }
}

/// An auditor's word: it looked at the first `steps` steps of a run, and wrote this report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// Who says it: an account, or a wallet contract (ERC-1271).
    pub auditor: Address,
    /// The run.
    pub run: RunId,
    /// Steps that were audited, at least 1.
    pub steps: TreeSize,
    /// Root over these steps.
    pub root: Root,
    /// SHA-256 of the report.
    pub report: Digest,
    /// When it ends, unix seconds; none: never.
    pub expires_at: Option<u64>,
    /// Free choice, so that the same words can be said again.
    pub salt: Salt,
}

impl Attestation {
    /// EIP-712 digest for an `Attestations` contract: what the auditor signs, and the attestation's id. Needs no chain.
    pub fn id(&self, chain: ChainId, contract: Address) -> Digest {
        Digest(self.to_abi().eip712_signing_hash(&domain(chain, contract)).0)
    }

    /// EIP-712 digest that the auditor signs to take the attestation back. Needs no chain.
    pub fn revocation_digest(&self, chain: ChainId, contract: Address, reason: &str) -> Digest {
        let revocation =
            Revocation { attestation: convert::bytes32(self.id(chain, contract).0), reason: reason.to_owned() };
        Digest(revocation.eip712_signing_hash(&domain(chain, contract)).0)
    }

    fn to_abi(self) -> abi::Attestation {
        abi::Attestation {
            auditor: convert::address(self.auditor),
            run: convert::run(self.run),
            steps: self.steps.0,
            root: convert::bytes32(self.root.0),
            report: convert::bytes32(self.report.0),
            expiresAt: self.expires_at.unwrap_or_default(),
            salt: convert::bytes32(self.salt.0),
        }
    }
}

impl Client {
    /// The anchor whose runs are attested.
    ///
    /// # Errors
    /// If the node fails, or there is no such contract.
    pub async fn anchor_of(&self, contract: Address) -> Result<Address, ChainError> {
        let anchor = self.view("anchor", contract, &abi::anchorCall {}, BlockId::latest()).await?;
        Ok(convert::address_back(anchor))
    }

    /// Whether an attestation was made, is not revoked and has not expired.
    ///
    /// # Errors
    /// If the node fails, or there is no such contract.
    pub async fn is_attestation_standing(&self, contract: Address, id: Digest) -> Result<bool, ChainError> {
        let call = abi::isStandingCall { id: convert::bytes32(id.0) };
        self.view("attestation", contract, &call, BlockId::latest()).await
    }

    /// Steps of a run that the auditor's last attestation covers; 0 if that one does not stand.
    ///
    /// # Errors
    /// If the node fails, or there is no such contract.
    pub async fn steps_attested(
        &self,
        contract: Address,
        run: RunId,
        auditor: Address,
    ) -> Result<TreeSize, ChainError> {
        let call = abi::stepsAttestedCall { run: convert::run(run), auditor: convert::address(auditor) };
        self.view("steps attested", contract, &call, BlockId::latest()).await.map(TreeSize)
    }
}

impl Writer {
    /// Publishes an attestation. `consistency` shows that its root belongs to what is anchored now; `signature` is the
    /// auditor's of [`Attestation::id`], empty if this account is the auditor.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `NotSignedBy`, `RootNotAnchored`, `AlreadyKnown`, `Expired` or `UnknownRun`.
    pub async fn attest(
        &self,
        contract: Address,
        attestation: &Attestation,
        consistency: &ConsistencyProof,
        signature: &[u8],
    ) -> Result<Sent, ChainError> {
        let call = abi::attestCall {
            attestation: attestation.to_abi(),
            path: consistency.path.iter().map(|hash| convert::bytes32(hash.0)).collect(),
            signature: signature.to_vec().into(),
        };
        Ok(Sent::from(&self.send("attest", contract, call.abi_encode()).await?))
    }

    /// Takes an attestation back, public or not. `signature` is the auditor's of [`Attestation::revocation_digest`], empty
    /// if this account is the auditor.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `NotSignedBy` or `AlreadyRevoked`.
    pub async fn revoke(
        &self,
        contract: Address,
        attestation: &Attestation,
        reason: &str,
        signature: &[u8],
    ) -> Result<Sent, ChainError> {
        let call = abi::revokeCall {
            attestation: attestation.to_abi(),
            reason: reason.to_owned(),
            signature: signature.to_vec().into(),
        };
        Ok(Sent::from(&self.send("revoke", contract, call.abi_encode()).await?))
    }
}

fn domain(chain: ChainId, contract: Address) -> Eip712Domain {
    Eip712Domain::new(
        Some(Cow::Borrowed(DOMAIN_NAME)),
        Some(Cow::Borrowed(DOMAIN_VERSION)),
        Some(U256::from(chain.0)),
        Some(convert::address(contract)),
        None,
    )
}
