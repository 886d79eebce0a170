//! Runs: register, anchor, announce, finalize, and read back.

use alloy::{
    eips::BlockId,
    network::TransactionBuilder,
    primitives::B256,
    rpc::types::{TransactionReceipt, TransactionRequest},
    sol_types::SolCall,
};
use ledger::{
    Address, Anchor, ChainId, CompactRange, ConsistencyProof, Digest, EpochIndex, EpochRecord, FieldElement, Root,
    RunFacts, RunId, RunIdentity, Salt, Selector, TreeSize, instances::ACCUMULATOR_LIMBS,
};

use crate::{
    bindings::IRunAnchor as abi,
    client::Client,
    convert,
    error::ChainError,
    events::EpochEvent,
    head::{BlockRef, Head, RunOnChain},
    writer::{Outcome, Sent, Writer},
};

/// What a run is registered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Free choice of the owner; the run id depends on it.
    pub salt: Salt,
    /// Circuit family.
    pub selector: Selector,
    /// Digest of the state before step 0.
    pub genesis_state: FieldElement,
    /// Digest of the policy.
    pub policy_digest: FieldElement,
    /// A finalized run whose last state is `genesis_state`.
    pub parent: Option<RunId>,
}

/// One epoch to be anchored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochSubmission {
    /// The run.
    pub run: RunId,
    /// Position of the epoch in the run, from 0; the contract counts it one higher.
    pub epoch: EpochIndex,
    /// Digest of the state after it.
    pub state_out: FieldElement,
    /// D_t of its steps. **Shape**: `[N]`, N a power of two.
    pub digests: Vec<FieldElement>,
    /// A_t of its steps. **Shape**: `[N]`.
    pub record_hashes: Vec<Digest>,
    /// Roots of the perfect subtrees of the run's tree before the epoch, largest first: the contract stores only the
    /// root, and checks that they give it.
    pub peaks: Vec<Digest>,
    /// The accumulator words of the proof's instances.
    pub accumulator: [FieldElement; ACCUMULATOR_LIMBS],
    /// The proof, as the verifier contract reads it behind the instances.
    pub proof: Vec<u8>,
    /// Root of the run's tree once the epoch is part of it. Not sent: the contract computes its own, and the two are
    /// compared.
    pub root_after: Root,
}

/// Where the bundle of a run's first steps is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Steps in the bundle.
    pub size: TreeSize,
    /// SHA-256 of its manifest.
    pub manifest_digest: Digest,
    /// SHA-1 infohash (BEP 3).
    pub infohash_v1: [u8; 20],
    /// SHA-256 infohash (BEP 52).
    pub infohash_v2: Digest,
}

impl Client {
    /// What a run is bound to; none if the contract does not know it.
    ///
    /// # Errors
    /// If the node fails, or there is no such contract.
    pub async fn run(&self, contract: Address, run: RunId) -> Result<Option<RunOnChain>, ChainError> {
        let operation = "run";
        let call = abi::runOfCall { run: convert::run(run) };
        let Some(found) = known(self.view(operation, contract, &call, BlockId::latest()).await)? else {
            return Ok(None);
        };
        let parent = field(operation, found.parent)?;
        Ok(Some(RunOnChain {
            owner: convert::address_back(found.owner),
            selector: Selector(found.selector.0),
            genesis_state: field(operation, found.genesisState)?,
            policy_digest: field(operation, found.policy)?,
            parent: (parent != FieldElement::ZERO).then(|| parent.into()),
        }))
    }

    /// Whether a run is registered, and then with these values.
    ///
    /// # Errors
    /// [`ChainError::RegisteredOtherwise`]; the node fails, or there is no such contract.
    pub async fn is_registered(
        &self,
        contract: Address,
        run: RunId,
        registration: &Registration,
    ) -> Result<bool, ChainError> {
        match self.run(contract, run).await? {
            Some(found) => registration.compare(run, &found).map(|()| true),
            None => Ok(false),
        }
    }

    /// The head of a run at the newest block; none if the contract does not know the run.
    ///
    /// Read at that block's hash, so a reorganisation in between cannot mix two histories; a block that vanished is
    /// replaced by the then newest, once.
    ///
    /// # Errors
    /// If the node fails, or there is no such contract.
    pub async fn head(&self, contract: Address, run: RunId) -> Result<Option<Head>, ChainError> {
        let block = self.latest_block().await?;
        match self.head_at(contract, run, block).await {
            Err(ChainError::Rpc { .. }) => {
                let newer = self.latest_block().await?;
                self.head_at(contract, run, newer).await
            }
            answer => answer,
        }
    }

    /// The head of a run at one block.
    ///
    /// # Errors
    /// As [`Client::head`]; [`ChainError::Rpc`] if the block is not part of the chain any more.
    pub async fn head_at(&self, contract: Address, run: RunId, block: BlockRef) -> Result<Option<Head>, ChainError> {
        let operation = "head";
        let call = abi::headCall { run: convert::run(run) };
        let at = BlockId::hash_canonical(B256::from(block.hash.0));
        let Some(found) = known(self.view(operation, contract, &call, at).await)? else {
            return Ok(None);
        };
        Ok(Some(Head {
            root: Root(found.root.0),
            state: field(operation, found.state)?,
            counter: found.epoch,
            size: TreeSize(found.steps),
            anchored_at: found.anchoredAt,
            finalized: found.finalized,
            block,
        }))
    }

    /// What a gate asks of a run, at the newest block; none if the contract does not know it.
    ///
    /// # Errors
    /// If the node fails, or there is no such contract.
    pub async fn facts(&self, contract: Address, run: RunId) -> Result<Option<RunFacts>, ChainError> {
        self.facts_in(contract, run, BlockId::latest()).await
    }

    /// What a gate asks of a run, at one block.
    ///
    /// # Errors
    /// As [`Client::facts`]; [`ChainError::Rpc`] if the block is not part of the chain any more.
    pub async fn facts_at(
        &self,
        contract: Address,
        run: RunId,
        block: BlockRef,
    ) -> Result<Option<RunFacts>, ChainError> {
        self.facts_in(contract, run, BlockId::hash_canonical(B256::from(block.hash.0))).await
    }

    async fn facts_in(&self, contract: Address, run: RunId, block: BlockId) -> Result<Option<RunFacts>, ChainError> {
        let operation = "facts";
        let call = abi::factsOfCall { run: convert::run(run) };
        let found = self.view(operation, contract, &call, block).await?;
        if found.owner.is_zero() {
            return Ok(None);
        }
        Ok(Some(RunFacts {
            selector: Selector(found.selector.0),
            finalized: found.finalized,
            frozen: found.frozen,
            steps: TreeSize(found.steps),
            state: field(operation, found.state)?,
            policy: field(operation, found.policy)?,
        }))
    }

    /// Gas of one transaction, sent by `from`, that anchors these epochs, as the node simulates it now. Nothing is sent; the
    /// epochs must be the next ones of runs that are registered.
    ///
    /// # Errors
    /// As [`Writer::anchor_batch`].
    pub async fn estimate_anchor(
        &self,
        contract: Address,
        from: Address,
        submissions: &[EpochSubmission],
    ) -> Result<u64, ChainError> {
        let input = match submissions {
            [only] => only.to_call().abi_encode(),
            several => {
                let items = several.iter().map(EpochSubmission::to_item).collect();
                abi::anchorBatchCall { items }.abi_encode()
            }
        };
        let request = TransactionRequest::default()
            .with_from(convert::address(from))
            .with_to(convert::address(contract))
            .with_input(input);
        self.ask_gas("estimate gas", request).await
    }

    /// Whether the contract finds that the run's first steps had this root.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `UnknownRun`.
    pub async fn verify_consistency(
        &self,
        contract: Address,
        run: RunId,
        root: Root,
        proof: &ConsistencyProof,
    ) -> Result<bool, ChainError> {
        let call = abi::verifyConsistencyCall {
            run: convert::run(run),
            size: proof.old.0,
            root: convert::bytes32(root.0),
            path: proof.path.iter().map(|hash| convert::bytes32(hash.0)).collect(),
        };
        self.view("verify consistency", contract, &call, BlockId::latest()).await
    }

    /// The registry that an anchor asks for verifiers.
    ///
    /// # Errors
    /// If the node fails, or there is no such contract.
    pub async fn registry_of(&self, contract: Address) -> Result<Address, ChainError> {
        let registry = self.view("registry", contract, &abi::registryCall {}, BlockId::latest()).await?;
        Ok(convert::address_back(registry))
    }

    /// Whether the contract finds a step with these hashes under the run's root.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `UnknownRun`.
    pub async fn verify_inclusion(
        &self,
        contract: Address,
        run: RunId,
        step: ledger::StepIndex,
        digest: FieldElement,
        record_hash: Digest,
        path: &[Digest],
    ) -> Result<bool, ChainError> {
        let call = abi::verifyInclusionCall {
            run: convert::run(run),
            step: step.0,
            digest: convert::word(digest),
            recordHash: convert::bytes32(record_hash.0),
            path: path.iter().map(|hash| convert::bytes32(hash.0)).collect(),
        };
        self.view("verify inclusion", contract, &call, BlockId::latest()).await
    }
}

impl Writer {
    /// The id of the run that this account registers with `salt`.
    pub fn run_identity(&self, contract: Address, salt: Salt) -> RunIdentity {
        RunIdentity { chain_id: self.client().chain(), contract, owner: self.address(), salt }
    }

    /// Registers a run unless it is registered with the same values.
    ///
    /// # Errors
    /// [`ChainError::RegisteredOtherwise`]; [`ChainError::Reverted`] with `ParentNotFinal`, `ParentStateMismatch`,
    /// `SelectorFrozen`.
    pub async fn register_run(
        &self,
        contract: Address,
        registration: &Registration,
    ) -> Result<Outcome<(RunId, Option<Sent>)>, ChainError> {
        let run = self.run_identity(contract, registration.salt).run_id();
        if self.client().is_registered(contract, run, registration).await? {
            return Ok(Outcome::Already((run, None)));
        }
        let call = abi::registerRunCall {
            salt: convert::bytes32(registration.salt.0),
            selector: convert::selector(registration.selector),
            genesisState: convert::word(registration.genesis_state),
            policy: convert::word(registration.policy_digest),
            parent: registration.parent.map(convert::run).unwrap_or_default(),
        };
        let receipt = self.send("register run", contract, call.abi_encode()).await?;
        Ok(Outcome::Done((run, Some(Sent::from(&receipt)))))
    }

    /// Anchors an epoch unless the very same one is anchored, so that it can be repeated after an interruption between
    /// the transaction and its record. `from_block` is where the search for an earlier transaction starts.
    ///
    /// # Errors
    /// [`ChainError::AnchoredOtherwise`] if other content stands at this counter; [`ChainError::Reverted`] with
    /// `EpochNotNext`, `NotSubmitter`, `ProofRejected`, `RunFinal`, `VerifierMissing`, `SelectorFrozen`, …
    pub async fn anchor(
        &self,
        contract: Address,
        submission: &EpochSubmission,
        from_block: u64,
    ) -> Result<Outcome<Anchor>, ChainError> {
        if let Some(anchor) = self.anchored(contract, submission, from_block).await? {
            return Ok(Outcome::Already(anchor));
        }
        let receipt = self.send("anchor", contract, submission.to_call().abi_encode()).await?;
        Ok(Outcome::Done(submission.found_in(self.client().chain(), contract, &receipt)?))
    }

    /// Anchors several epochs, of one run or of several, in one transaction: all of them or none. Those which are anchored
    /// already are left out, so that it can be repeated as [`Writer::anchor`]. The gas of each is the whole transaction's.
    ///
    /// # Errors
    /// As [`Writer::anchor`].
    pub async fn anchor_batch(
        &self,
        contract: Address,
        submissions: &[EpochSubmission],
        from_block: u64,
    ) -> Result<Vec<Outcome<Anchor>>, ChainError> {
        let mut standing = Vec::with_capacity(submissions.len());
        for submission in submissions {
            standing.push(self.anchored(contract, submission, from_block).await?);
        }
        let items: Vec<_> = submissions
            .iter()
            .zip(&standing)
            .filter(|(_, anchor)| anchor.is_none())
            .map(|(submission, _)| submission.to_item())
            .collect();
        if items.is_empty() {
            return Ok(standing.into_iter().flatten().map(Outcome::Already).collect());
        }
        let receipt = self.send("anchor batch", contract, abi::anchorBatchCall { items }.abi_encode()).await?;
        let outcome = |(submission, anchor): (&EpochSubmission, Option<Anchor>)| match anchor {
            Some(anchor) => Ok(Outcome::Already(anchor)),
            None => Ok(Outcome::Done(submission.found_in(self.client().chain(), contract, &receipt)?)),
        };
        submissions.iter().zip(standing).map(outcome).collect()
    }

    /// The same epoch, if it is anchored; an error if another one stands at its counter.
    async fn anchored(
        &self,
        contract: Address,
        submission: &EpochSubmission,
        from_block: u64,
    ) -> Result<Option<Anchor>, ChainError> {
        let (client, run, counter) = (self.client(), submission.run, submission.epoch.counter());
        if client.head(contract, run).await?.is_none_or(|head| head.counter < counter) {
            return Ok(None);
        }
        let event = client.epoch_event(contract, run, counter, from_block).await?.ok_or(ChainError::EventMissing {
            run,
            counter,
            from_block,
        })?;
        submission.compare(&event)?;
        let gas = client.gas_of(event.tx).await?;
        Ok(Some(event.to_anchor(client.chain(), contract, gas)))
    }

    /// Announces a bundle.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `SizeNotAnchored` or `NotSubmitter`.
    pub async fn announce(&self, contract: Address, run: RunId, bundle: &Announcement) -> Result<Sent, ChainError> {
        let call = abi::announceCall {
            run: convert::run(run),
            size: bundle.size.0,
            manifestDigest: convert::bytes32(bundle.manifest_digest.0),
            infohashV1: bundle.infohash_v1.into(),
            infohashV2: convert::bytes32(bundle.infohash_v2.0),
        };
        Ok(Sent::from(&self.send("announce", contract, call.abi_encode()).await?))
    }

    /// Ends a run unless it has ended.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `UnknownRun`, `NotOwner` or `NothingAnchored`.
    pub async fn finalize(&self, contract: Address, run: RunId) -> Result<Outcome<Option<Sent>>, ChainError> {
        if self.client().head(contract, run).await?.is_some_and(|head| head.finalized) {
            return Ok(Outcome::Already(None));
        }
        let call = abi::finalizeCall { run: convert::run(run) };
        let receipt = self.send("finalize", contract, call.abi_encode()).await?;
        Ok(Outcome::Done(Some(Sent::from(&receipt))))
    }

    /// Allows or forbids an account to anchor and announce.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `UnknownRun` or `NotOwner`.
    pub async fn set_submitter(
        &self,
        contract: Address,
        run: RunId,
        submitter: Address,
        right: SubmitterRight,
    ) -> Result<Sent, ChainError> {
        let call = abi::setSubmitterCall {
            run: convert::run(run),
            submitter: convert::address(submitter),
            allowed: right == SubmitterRight::Granted,
        };
        Ok(Sent::from(&self.send("set submitter", contract, call.abi_encode()).await?))
    }
}

impl Writer {
    /// Offers a run to another account, or (none) withdraws the offer; owner.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `UnknownRun` or `NotOwner`.
    pub async fn offer_run(&self, contract: Address, run: RunId, to: Option<Address>) -> Result<Sent, ChainError> {
        let call = abi::transferRunCall { run: convert::run(run), to: to.map(convert::address).unwrap_or_default() };
        Ok(Sent::from(&self.send("offer run", contract, call.abi_encode()).await?))
    }

    /// Takes an offered run over.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `UnknownRun` or `NotPendingOwner`.
    pub async fn accept_run(&self, contract: Address, run: RunId) -> Result<Sent, ChainError> {
        let call = abi::acceptRunCall { run: convert::run(run) };
        Ok(Sent::from(&self.send("accept run", contract, call.abi_encode()).await?))
    }
}

/// Whether an account may submit for a run's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitterRight {
    /// It may.
    Granted,
    /// It may not, or no longer.
    Withdrawn,
}

impl Registration {
    fn compare(&self, run: RunId, found: &RunOnChain) -> Result<(), ChainError> {
        let parent = |parent: Option<RunId>| parent.map_or_else(|| "none".to_owned(), |run| run.to_string());
        let pairs = [
            ("selector", self.selector.to_string(), found.selector.to_string()),
            ("genesis state", self.genesis_state.to_string(), found.genesis_state.to_string()),
            ("policy", self.policy_digest.to_string(), found.policy_digest.to_string()),
            ("parent", parent(self.parent), parent(found.parent)),
        ];
        for (what, expected, got) in pairs {
            if expected != got {
                return Err(ChainError::RegisteredOtherwise { run, what, expected, got });
            }
        }
        Ok(())
    }
}

impl EpochSubmission {
    /// From the run's tree before the epoch, its record, the A_t of its steps, and its proof.
    pub fn new(before: &CompactRange, record: &EpochRecord, record_hashes: Vec<Digest>, proof: Vec<u8>) -> Self {
        Self {
            run: record.run,
            epoch: record.epoch,
            state_out: record.state_out,
            digests: record.digests.clone(),
            record_hashes,
            peaks: before.peaks().to_vec(),
            accumulator: record.accumulator,
            proof,
            root_after: record.root_after,
        }
    }

    /// The argument `proof` of `anchor`: the accumulator's words, then the proof.
    pub fn proof_bytes(&self) -> Vec<u8> {
        let limbs = self.accumulator.iter().flat_map(|limb| *limb.as_bytes());
        limbs.chain(self.proof.iter().copied()).collect()
    }

    fn to_call(&self) -> abi::anchorCall {
        abi::anchorCall { run: convert::run(self.run), epoch: self.epoch.counter(), input: self.to_input() }
    }

    fn to_item(&self) -> abi::BatchItem {
        abi::BatchItem { run: convert::run(self.run), epoch: self.epoch.counter(), input: self.to_input() }
    }

    fn to_input(&self) -> abi::AnchorInput {
        abi::AnchorInput {
            stateOut: convert::word(self.state_out),
            digests: self.digests.iter().copied().map(convert::word).collect(),
            recordHashes: self.record_hashes.iter().map(|hash| convert::bytes32(hash.0)).collect(),
            peaks: self.peaks.iter().map(|hash| convert::bytes32(hash.0)).collect(),
            proof: self.proof_bytes().into(),
        }
    }

    /// The event of a receipt that tells of this epoch.
    fn found_in(&self, chain: ChainId, contract: Address, receipt: &TransactionReceipt) -> Result<Anchor, ChainError> {
        let (run, counter, sent) = (self.run, self.epoch.counter(), Sent::from(receipt));
        let event = receipt
            .logs()
            .iter()
            .filter_map(|log| EpochEvent::from_log(contract, log))
            .find(|event| matches!(event, Ok(event) if event.run == run && event.counter == counter))
            .ok_or(ChainError::EventMissing { run, counter, from_block: sent.block })??;
        self.compare(&event)?;
        Ok(event.to_anchor(chain, contract, sent.gas))
    }

    /// Refuses an event of other content; the proof itself is not in the event.
    fn compare(&self, event: &EpochEvent) -> Result<(), ChainError> {
        let differ = |what, expected: String, got: String| ChainError::AnchoredOtherwise {
            run: self.run,
            counter: event.counter,
            what,
            expected,
            got,
        };
        let pairs = [
            ("number of steps", self.digests.len().to_string(), event.digests.len().to_string()),
            ("state", self.state_out.to_string(), event.state_out.to_string()),
        ];
        let digests = self.digests.iter().zip(&event.digests);
        let digests = digests.map(|(ours, theirs)| ("statement digest", ours.to_string(), theirs.to_string()));
        let records = self.record_hashes.iter().zip(&event.record_hashes);
        let records = records.map(|(ours, theirs)| ("record hash", ours.to_string(), theirs.to_string()));
        // Last, as any of the above changes it too; alone, it tells of an earlier epoch that differs.
        let root = [("root", self.root_after.to_string(), event.root.to_string())];
        let mut all = pairs.into_iter().chain(digests).chain(records).chain(root);
        all.find(|(_, expected, got)| expected != got)
            .map_or(Ok(()), |(what, expected, got)| Err(differ(what, expected, got)))
    }
}

/// `UnknownRun` is an answer, not a failure.
fn known<T>(answer: Result<T, ChainError>) -> Result<Option<T>, ChainError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(ChainError::Reverted { revert, .. }) if revert.name() == Some("UnknownRun") => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn field(operation: &'static str, word: alloy::primitives::U256) -> Result<FieldElement, ChainError> {
    convert::word_back(word).map_err(|error| ChainError::Answer { operation, reason: error.to_string() })
}
