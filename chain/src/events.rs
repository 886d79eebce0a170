//! What happened to a run, from the chain's logs.

use alloy::{
    primitives::B256,
    rpc::types::{Filter, Log, TransactionReceipt},
    sol_types::SolEvent,
};
use ledger::{
    Address, Anchor, ChainId, Digest, FieldElement, MerkleTree, Root, RunId, StepIndex, TreeSize, TxHash,
    tree::step_leaf,
};

use crate::{
    bindings::{IAttestations as audits, IRunAnchor as abi},
    client::Client,
    convert,
    error::ChainError,
    runs::{Announcement, field},
};

/// What is being done when a receipt is asked for.
const RECEIPT: &str = "receipt";

/// One accepted epoch: all that is needed to rebuild its part of the run's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochEvent {
    /// The run.
    pub run: RunId,
    /// The contract's counter, from 1.
    pub counter: u64,
    /// First step of the epoch.
    pub first_step: StepIndex,
    /// Steps of the run after it.
    pub size: TreeSize,
    /// Digest of the state before it.
    pub state_in: FieldElement,
    /// Digest of the state after it.
    pub state_out: FieldElement,
    /// Root over `size` leaves.
    pub root: Root,
    /// The verifier that accepted the proof.
    pub verifier: Address,
    /// Who sent it.
    pub submitter: Address,
    /// D_t of its steps.
    pub digests: Vec<FieldElement>,
    /// A_t of its steps.
    pub record_hashes: Vec<Digest>,
    /// Block that holds the transaction.
    pub block: u64,
    /// The transaction.
    pub tx: TxHash,
}

/// A bundle that was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleEvent {
    /// What was announced.
    pub announcement: Announcement,
    /// By whom.
    pub announcer: Address,
    /// Block that holds the transaction.
    pub block: u64,
    /// The transaction.
    pub tx: TxHash,
}

/// What an auditor made public about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttestationEvent {
    /// It stands by its word.
    Attested {
        /// EIP-712 digest of the attestation.
        id: Digest,
        /// Who.
        auditor: Address,
        /// Steps that were audited.
        steps: TreeSize,
        /// Root over these steps.
        root: Root,
        /// SHA-256 of the report.
        report: Digest,
        /// When it ends, unix seconds; none: never.
        expires_at: Option<u64>,
        /// Block that holds the transaction.
        block: u64,
        /// The transaction.
        tx: TxHash,
    },
    /// It takes its word back, which need not have been public.
    Revoked {
        /// EIP-712 digest of the attestation.
        id: Digest,
        /// Who.
        auditor: Address,
        /// Why.
        reason: String,
        /// Block that holds the transaction.
        block: u64,
        /// The transaction.
        tx: TxHash,
    },
}

impl Client {
    /// What auditors said about a run from a block on, in order. `contract` is the `Attestations`.
    ///
    /// # Errors
    /// If the node fails or an event does not decode.
    pub async fn attestation_events(
        &self,
        contract: Address,
        run: RunId,
        from_block: u64,
    ) -> Result<Vec<AttestationEvent>, ChainError> {
        let kinds = vec![audits::Attested::SIGNATURE_HASH, audits::Revoked::SIGNATURE_HASH];
        let filter = Filter::new().address(convert::address(contract)).event_signature(kinds).topic2(convert::run(run));
        let logs = self.logs(filter, from_block).await?;
        logs.iter().map(AttestationEvent::from_log).collect()
    }

    /// All epochs of a run from a block on, in order.
    ///
    /// # Errors
    /// If the node fails or an event does not decode.
    pub async fn epoch_events(
        &self,
        contract: Address,
        run: RunId,
        from_block: u64,
    ) -> Result<Vec<EpochEvent>, ChainError> {
        let filter = run_filter(contract, abi::EpochAnchored::SIGNATURE_HASH, run);
        let logs = self.logs(filter, from_block).await?;
        logs.iter().filter_map(|log| EpochEvent::from_log(contract, log)).collect()
    }

    /// The tree of a run's anchored steps, rebuilt from its events and checked against the contract's root.
    ///
    /// # Errors
    /// [`ChainError::EventMissing`] if an epoch's event was not found from `from_block` on,
    /// [`ChainError::AnchoredOtherwise`] if the events do not give the root; none if the contract does not know the run.
    pub async fn anchored_tree(
        &self,
        contract: Address,
        run: RunId,
        from_block: u64,
    ) -> Result<Option<MerkleTree>, ChainError> {
        let Some(head) = self.head(contract, run).await? else { return Ok(None) };
        let events = self.epoch_events(contract, run, from_block).await?;
        let mut tree = MerkleTree::new();
        for counter in 1..=head.counter {
            let event = events.iter().find(|event| event.counter == counter);
            let event = event.ok_or(ChainError::EventMissing { run, counter, from_block })?;
            for (digest, record) in event.digests.iter().zip(&event.record_hashes) {
                tree.push(step_leaf(tree.size().next_step(), *digest, *record));
            }
        }
        if tree.root() != head.root {
            let (expected, got) = (head.root.to_string(), tree.root().to_string());
            return Err(ChainError::AnchoredOtherwise { run, counter: head.counter, what: "root", expected, got });
        }
        Ok(Some(tree))
    }

    /// One epoch of a run.
    ///
    /// # Errors
    /// As [`Client::epoch_events`].
    pub async fn epoch_event(
        &self,
        contract: Address,
        run: RunId,
        counter: u64,
        from_block: u64,
    ) -> Result<Option<EpochEvent>, ChainError> {
        let filter = run_filter(contract, abi::EpochAnchored::SIGNATURE_HASH, run)
            .topic2(B256::left_padding_from(&counter.to_be_bytes()));
        let logs = self.logs(filter, from_block).await?;
        logs.iter().find_map(|log| EpochEvent::from_log(contract, log)).transpose()
    }

    /// All announced bundles of a run from a block on, in order.
    ///
    /// # Errors
    /// If the node fails or an event does not decode.
    pub async fn bundle_events(
        &self,
        contract: Address,
        run: RunId,
        from_block: u64,
    ) -> Result<Vec<BundleEvent>, ChainError> {
        let filter = run_filter(contract, abi::BundleAnnounced::SIGNATURE_HASH, run);
        let logs = self.logs(filter, from_block).await?;
        logs.iter().map(BundleEvent::from_log).collect()
    }

    /// Gas that a mined transaction used.
    pub(crate) async fn gas_of(&self, tx: TxHash) -> Result<u64, ChainError> {
        let none = || ChainError::Answer { operation: RECEIPT, reason: format!("no receipt of {tx}") };
        Ok(self.receipt(tx).await?.ok_or_else(none)?.gas_used)
    }

    /// Gas that a transaction used in the block of this hash; none if the node has no receipt of it there.
    ///
    /// # Errors
    /// If the node fails.
    pub async fn gas_in(&self, tx: TxHash, block: Digest) -> Result<Option<u64>, ChainError> {
        let receipt = self.receipt(tx).await?;
        Ok(receipt.filter(|found| found.block_hash == Some(B256::from(block.0))).map(|found| found.gas_used))
    }

    async fn receipt(&self, tx: TxHash) -> Result<Option<TransactionReceipt>, ChainError> {
        self.ask_receipt(B256::from(tx.0)).await
    }

    /// Logs from a block to the newest.
    async fn logs(&self, filter: Filter, from_block: u64) -> Result<Vec<Log>, ChainError> {
        let last = self.latest_block().await?.number;
        self.logs_between(filter, from_block, last).await
    }

    /// Logs from a block to another, both included, asked for in pages, as nodes limit the range.
    pub(crate) async fn logs_between(
        &self,
        filter: Filter,
        from_block: u64,
        last: u64,
    ) -> Result<Vec<Log>, ChainError> {
        let page = self.options.log_page.max(1);
        let mut logs = Vec::new();
        let mut from = from_block;
        while from <= last {
            let to = last.min(from.saturating_add(page - 1));
            let part = filter.clone().from_block(from).to_block(to);
            logs.extend(self.ask_logs(part).await?);
            from = to.saturating_add(1);
        }
        Ok(logs)
    }
}

impl EpochEvent {
    /// Reads a log; none if it is another event or another contract's.
    pub(crate) fn from_log(contract: Address, log: &Log) -> Option<Result<Self, ChainError>> {
        let ours = log.address() == convert::address(contract)
            && log.topic0() == Some(&abi::EpochAnchored::SIGNATURE_HASH)
            && !log.removed;
        ours.then(|| Self::decode(log))
    }

    pub(crate) fn decode(log: &Log) -> Result<Self, ChainError> {
        let operation = "epoch event";
        let event = decode::<abi::EpochAnchored>(operation, log)?;
        let (block, tx) = place(operation, log)?;
        let digests: Result<Vec<_>, _> = event.digests.iter().map(|word| field(operation, *word)).collect();
        Ok(Self {
            run: field(operation, event.run)?.into(),
            counter: event.epoch,
            first_step: StepIndex(event.firstStep),
            size: TreeSize(event.size),
            state_in: field(operation, event.stateIn)?,
            state_out: field(operation, event.stateOut)?,
            root: Root(event.root.0),
            verifier: convert::address_back(event.verifier),
            submitter: convert::address_back(event.submitter),
            digests: digests?,
            record_hashes: event.recordHashes.iter().map(|hash| Digest(hash.0)).collect(),
            block,
            tx,
        })
    }

    /// The line of `anchors.json`.
    pub fn to_anchor(&self, chain_id: ChainId, contract: Address, gas: u64) -> Anchor {
        Anchor {
            block: self.block,
            chain_id,
            contract,
            counter: self.counter,
            gas,
            root: self.root,
            size: self.size,
            state: self.state_out,
            tx: self.tx,
        }
    }
}

impl AttestationEvent {
    pub(crate) fn from_log(log: &Log) -> Result<Self, ChainError> {
        let operation = "attestation event";
        let (block, tx) = place(operation, log)?;
        if log.topic0() == Some(&audits::Revoked::SIGNATURE_HASH) {
            let event = decode::<audits::Revoked>(operation, log)?;
            let (id, auditor) = (Digest(event.id.0), convert::address_back(event.auditor));
            return Ok(Self::Revoked { id, auditor, reason: event.reason, block, tx });
        }
        let event = decode::<audits::Attested>(operation, log)?;
        Ok(Self::Attested {
            id: Digest(event.id.0),
            auditor: convert::address_back(event.auditor),
            steps: TreeSize(event.steps),
            root: Root(event.root.0),
            report: Digest(event.report.0),
            expires_at: (event.expiresAt != 0).then_some(event.expiresAt),
            block,
            tx,
        })
    }
}

impl BundleEvent {
    pub(crate) fn from_log(log: &Log) -> Result<Self, ChainError> {
        let operation = "bundle event";
        let event = decode::<abi::BundleAnnounced>(operation, log)?;
        let (block, tx) = place(operation, log)?;
        Ok(Self {
            announcement: Announcement {
                size: TreeSize(event.size),
                manifest_digest: Digest(event.manifestDigest.0),
                infohash_v1: event.infohashV1.0,
                infohash_v2: Digest(event.infohashV2.0),
            },
            announcer: convert::address_back(event.announcer),
            block,
            tx,
        })
    }
}

fn run_filter(contract: Address, signature: B256, run: RunId) -> Filter {
    Filter::new().address(convert::address(contract)).event_signature(signature).topic1(convert::run(run))
}

pub(crate) fn decode<E: SolEvent>(operation: &'static str, log: &Log) -> Result<E, ChainError> {
    let decoded = log.log_decode_validate::<E>();
    let decoded = decoded.map_err(|error| ChainError::Answer { operation, reason: error.to_string() })?;
    Ok(decoded.inner.data)
}

/// Block and transaction of a log; pending ones have none.
pub(crate) fn place(operation: &'static str, log: &Log) -> Result<(u64, TxHash), ChainError> {
    match (log.block_number, log.transaction_hash) {
        (Some(block), Some(tx)) => Ok((block, TxHash(tx.0))),
        _ => Err(ChainError::Answer { operation, reason: "the event is not in a block".into() }),
    }
}
