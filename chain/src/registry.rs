//! The registry of verifiers.

use alloy::{eips::BlockId, primitives::U256, sol_types::SolCall};
use ledger::{Address, Selector};

use crate::{
    bindings::IVerifierRegistry as abi,
    client::Client,
    convert,
    deploy::DelaySecs,
    error::ChainError,
    head::LogSteps,
    writer::{Sent, Writer},
};

/// How far the addition of a verifier is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifierAddition {
    /// It accepts epochs. The transactions that were needed now; none if it stood already.
    Active(Vec<Sent>),
    /// It is proposed and can be added from `ready_at` (unix seconds) on.
    Waiting {
        /// When the delay has passed.
        ready_at: u64,
        /// The transaction that proposed it; none if it was proposed already.
        sent: Option<Sent>,
    },
}

/// Who decides about verifiers, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistryFacts {
    /// Proposes and adds verifiers.
    pub owner: Address,
    /// Who was offered the registry; none if nobody.
    pub pending_owner: Option<Address>,
    /// Freezes circuit families.
    pub guardian: Address,
    /// Who was offered the guardian's right; none if nobody.
    pub pending_guardian: Option<Address>,
    /// Seconds between a proposal and its addition.
    pub delay: DelaySecs,
}

impl Client {
    /// Who decides about verifiers, now.
    ///
    /// # Errors
    /// If the node fails, or there is no such contract.
    pub async fn registry_facts(&self, registry: Address) -> Result<RegistryFacts, ChainError> {
        let latest = BlockId::latest();
        let owner = self.view("registry owner", registry, &abi::ownerCall {}, latest).await?;
        let next_owner = self.view("registry owner", registry, &abi::pendingOwnerCall {}, latest).await?;
        let guardian = self.view("guardian", registry, &abi::guardianCall {}, latest).await?;
        let next_guardian = self.view("guardian", registry, &abi::pendingGuardianCall {}, latest).await?;
        let delay = self.view("delay", registry, &abi::delayCall {}, latest).await?;
        Ok(RegistryFacts {
            owner: convert::address_back(owner),
            pending_owner: (!next_owner.is_zero()).then(|| convert::address_back(next_owner)),
            guardian: convert::address_back(guardian),
            pending_guardian: (!next_guardian.is_zero()).then(|| convert::address_back(next_guardian)),
            delay: DelaySecs(delay),
        })
    }

    /// The verifier of a family and an epoch size; none if there is none.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `SelectorFrozen` if the guardian stopped the family.
    pub async fn verifier_of(
        &self,
        registry: Address,
        selector: Selector,
        size: LogSteps,
    ) -> Result<Option<Address>, ChainError> {
        let call = abi::verifierOfCall { selector: convert::selector(selector), logSteps: size.0 };
        match self.view("verifier", registry, &call, BlockId::latest()).await {
            Ok(verifier) => Ok(Some(convert::address_back(verifier))),
            Err(ChainError::Reverted { revert, .. }) if revert.name() == Some("VerifierMissing") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the guardian stopped a family.
    ///
    /// # Errors
    /// If the node fails.
    pub async fn is_frozen(&self, registry: Address, selector: Selector) -> Result<bool, ChainError> {
        let call = abi::isFrozenCall { selector: convert::selector(selector) };
        self.view("frozen", registry, &call, BlockId::latest()).await
    }
}

impl Writer {
    /// Brings a verifier as far as the delay allows: proposes it, and adds it once it may be. Call again later if it
    /// answers [`VerifierAddition::Waiting`].
    ///
    /// # Errors
    /// [`ChainError::OtherVerifier`] if the place is taken; [`ChainError::Reverted`] if this account is not the
    /// registry's owner, the verifier has no code or the family is frozen.
    pub async fn add_verifier(
        &self,
        registry: Address,
        selector: Selector,
        size: LogSteps,
        verifier: Address,
    ) -> Result<VerifierAddition, ChainError> {
        let client = self.client();
        if let Some(got) = client.verifier_of(registry, selector, size).await? {
            return if got == verifier {
                Ok(VerifierAddition::Active(Vec::new()))
            } else {
                let steps = 1u64.checked_shl(size.0.into()).unwrap_or_default();
                Err(ChainError::OtherVerifier { steps, expected: verifier, got })
            };
        }
        let (family, log) = (convert::selector(selector), size.0);
        let mut proposed = None;
        let proposal = abi::proposalOfCall { selector: family, logSteps: log };
        let mut standing = client.view("proposal", registry, &proposal, BlockId::latest()).await?;
        if convert::address_back(standing.verifier) != verifier {
            let call =
                abi::proposeVerifierCall { selector: family, logSteps: log, verifier: convert::address(verifier) };
            let receipt = self.send("propose verifier", registry, call.abi_encode()).await?;
            proposed = Some(Sent::from(&receipt));
            standing = client.view("proposal", registry, &proposal, BlockId::latest()).await?;
        }
        let call = abi::addVerifierCall { selector: family, logSteps: log };
        match self.send("add verifier", registry, call.abi_encode()).await {
            Ok(receipt) => Ok(VerifierAddition::Active(proposed.into_iter().chain([Sent::from(&receipt)]).collect())),
            Err(ChainError::Reverted { revert, .. }) if revert.name() == Some("ProposalNotReady") => {
                Ok(VerifierAddition::Waiting { ready_at: standing.readyAt, sent: proposed })
            }
            Err(error) => Err(error),
        }
    }

    /// Stops a family of circuits at once and for ever; guardian or owner.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `NotGuardian` or `SelectorFrozen`.
    pub async fn freeze(&self, registry: Address, selector: Selector) -> Result<Sent, ChainError> {
        let call = abi::freezeCall { selector: convert::selector(selector) };
        Ok(Sent::from(&self.send("freeze", registry, call.abi_encode()).await?))
    }

    /// Stops a family of circuits at once and for ever, by showing that one of its verifiers accepts what the circuit makes
    /// impossible. Anybody may.
    ///
    /// `proof` is what the verifier takes, `instances` all its instances in order; they need not be field elements.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `NothingImpossible` if a valid proof could have these instances, `VerifierRefuses` if
    /// the verifier does not accept them, `VerifierMissing`, `SelectorFrozen`.
    pub async fn freeze_by_proof(
        &self,
        registry: Address,
        selector: Selector,
        size: LogSteps,
        proof: &[u8],
        instances: &[[u8; 32]],
    ) -> Result<Sent, ChainError> {
        let call = abi::freezeByProofCall {
            selector: convert::selector(selector),
            logSteps: size.0,
            proof: proof.to_vec().into(),
            instances: instances.iter().copied().map(U256::from_be_bytes).collect(),
        };
        Ok(Sent::from(&self.send("freeze by proof", registry, call.abi_encode()).await?))
    }

    /// Withdraws the proposal of a verifier; owner.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `NotRegistryOwner` or `NoProposal`.
    pub async fn cancel_proposal(
        &self,
        registry: Address,
        selector: Selector,
        size: LogSteps,
    ) -> Result<Sent, ChainError> {
        let call = abi::cancelProposalCall { selector: convert::selector(selector), logSteps: size.0 };
        Ok(Sent::from(&self.send("cancel proposal", registry, call.abi_encode()).await?))
    }

    /// Offers the registry to another account, or (none) withdraws the offer; owner.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `NotRegistryOwner`.
    pub async fn offer_registry(&self, registry: Address, to: Option<Address>) -> Result<Sent, ChainError> {
        let call = abi::transferOwnershipCall { to: to.map(convert::address).unwrap_or_default() };
        Ok(Sent::from(&self.send("offer registry", registry, call.abi_encode()).await?))
    }

    /// Takes an offered registry over.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `NotPendingRegistryOwner`.
    pub async fn accept_registry(&self, registry: Address) -> Result<Sent, ChainError> {
        Ok(Sent::from(&self.send("accept registry", registry, abi::acceptOwnershipCall {}.abi_encode()).await?))
    }

    /// Offers the guardian's right to another account, which becomes guardian by accepting; none withdraws. Guardian.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `NotGuardian`.
    pub async fn offer_guardian(&self, registry: Address, to: Option<Address>) -> Result<Sent, ChainError> {
        let call = abi::transferGuardianCall { to: to.map(convert::address).unwrap_or_default() };
        Ok(Sent::from(&self.send("offer guardian", registry, call.abi_encode()).await?))
    }

    /// Takes the offered guardian's right over.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `NotPendingGuardian`.
    pub async fn accept_guardian(&self, registry: Address) -> Result<Sent, ChainError> {
        Ok(Sent::from(&self.send("accept guardian", registry, abi::acceptGuardianCall {}.abi_encode()).await?))
    }
}
