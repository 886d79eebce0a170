//! Everything that a `RunAnchor` said between two blocks of one history: what an index is made of.

use std::collections::BTreeMap;

use alloy::{
    rpc::types::{Filter, Log},
    sol_types::SolEvent,
};
use ledger::{Address, Digest, FieldElement, Root, RunId, Salt, Selector, TreeSize, TxHash};

use crate::{
    bindings::{IAttestations as audits, IRunAnchor as abi},
    client::{BlockHeader, BlockRef, Client},
    convert,
    error::ChainError,
    events::{AttestationEvent, BundleEvent, EpochEvent, decode, place},
    runs::{Registration, SubmitterRight, field},
};

/// Where a log stands. Block and index together name it for ever: a log that moves in a reorganisation is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPlace {
    /// Its block.
    pub block: BlockHeader,
    /// Its position among all logs of the block, from 0.
    pub log_index: u64,
    /// The transaction that wrote it.
    pub tx: TxHash,
}

/// One log of a `RunAnchor`, or of the `Attestations` beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorLog {
    /// Where it stands.
    pub place: LogPlace,
    /// The run it is about.
    pub run: RunId,
    /// What happened.
    pub event: AnchorEvent,
}

/// What can happen to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnchorEvent {
    /// It may be anchored from now on.
    Registered {
        /// Its first owner.
        owner: Address,
        /// What it is bound to.
        registration: Registration,
    },
    /// An epoch was accepted.
    Anchored(EpochEvent),
    /// No epoch will follow.
    Finalized {
        /// The contract's counter of the last epoch.
        counter: u64,
        /// Steps of the run.
        size: TreeSize,
        /// Digest of the state after the last step.
        state: FieldElement,
        /// Root over all steps.
        root: Root,
    },
    /// Somebody said where a bundle is.
    Announced(BundleEvent),
    /// An account may, or may no longer, anchor and announce for an owner.
    SubmitterSet {
        /// The owner it is for.
        owner: Address,
        /// The account.
        submitter: Address,
        /// What it may from now on.
        right: SubmitterRight,
    },
    /// An account may become the owner by accepting.
    OwnerProposed {
        /// The owner.
        from: Address,
        /// The account; zero takes a proposal back.
        to: Address,
    },
    /// An auditor stands by a word about it, or takes one back.
    Audited(AttestationEvent),
    /// The run has another owner.
    OwnerChanged {
        /// The owner before.
        from: Address,
        /// The owner from now on.
        to: Address,
    },
}

impl Client {
    /// All events of a `RunAnchor`, and of the `Attestations` beside it if it is given, from a block up to `to`, both
    /// included, in the order of the chain.
    ///
    /// That `to` is still the node's block at its height is checked after everything was read, and that each event's
    /// block is the node's as well if its time had to be asked for.
    ///
    /// # Errors
    /// [`ChainError::Reorganised`] if it is not; the node fails, or an event does not decode.
    pub async fn anchor_logs(
        &self,
        contract: Address,
        attestations: Option<Address>,
        from_block: u64,
        to: BlockRef,
    ) -> Result<Vec<AnchorLog>, ChainError> {
        let contracts: Vec<_> = [Some(contract), attestations].into_iter().flatten().map(convert::address).collect();
        let filter = Filter::new().address(contracts.clone()).event_signature(SIGNATURES.to_vec());
        let logs = match self.logs_between(filter, from_block, to.number).await {
            Ok(logs) => logs,
            // Some nodes refuse blocks above their newest: then the chain went back.
            Err(error) => {
                self.header(to).await?;
                return Err(error);
            }
        };
        let mut times: BTreeMap<u64, u64> = BTreeMap::new();
        let mut out = Vec::with_capacity(logs.len());
        for log in logs.iter().filter(|log| !log.removed && contracts.contains(&log.address())) {
            let (tx, at, log_index) = position(log)?;
            let time = match log.block_timestamp.or_else(|| times.get(&at.number).copied()) {
                Some(time) => time,
                None => self.header(at).await?.time,
            };
            times.insert(at.number, time);
            if at.number == to.number && at.hash != to.hash {
                return Err(reorganised(to, Some(at.hash)));
            }
            let place = LogPlace { block: BlockHeader { at, time }, log_index, tx };
            // Each contract says its own events only.
            let is_audit = log.address() != convert::address(contract);
            if let Some((run, event)) =
                read(log)?.filter(|(_, event)| is_audit == matches!(event, AnchorEvent::Audited(_)))
            {
                out.push(AnchorLog { place, run, event });
            }
        }
        self.header(to).await?;
        out.sort_by_key(|log| (log.place.block.at.number, log.place.log_index));
        Ok(out)
    }

    /// The header of a block.
    ///
    /// # Errors
    /// [`ChainError::Reorganised`] if it is not part of the chain any more, or the node fails.
    pub async fn header(&self, at: BlockRef) -> Result<BlockHeader, ChainError> {
        match self.block(at.number).await? {
            Some(header) if header.at == at => Ok(header),
            other => Err(reorganised(at, other.map(|header| header.at.hash))),
        }
    }
}

/// The events that [`read`] knows.
const SIGNATURES: [alloy::primitives::B256; 9] = [
    abi::RunRegistered::SIGNATURE_HASH,
    abi::EpochAnchored::SIGNATURE_HASH,
    abi::RunFinalized::SIGNATURE_HASH,
    abi::BundleAnnounced::SIGNATURE_HASH,
    abi::SubmitterSet::SIGNATURE_HASH,
    abi::RunOwnerProposed::SIGNATURE_HASH,
    abi::RunOwnerChanged::SIGNATURE_HASH,
    audits::Attested::SIGNATURE_HASH,
    audits::Revoked::SIGNATURE_HASH,
];

/// The run and the event of a log; none if the node sent what it was not asked for.
fn read(log: &Log) -> Result<Option<(RunId, AnchorEvent)>, ChainError> {
    let Some(signature) = log.topic0() else { return Ok(None) };
    let (run, event) = match *signature {
        abi::RunRegistered::SIGNATURE_HASH => {
            let operation = "registration event";
            let event = decode::<abi::RunRegistered>(operation, log)?;
            let parent = field(operation, event.parent)?;
            let registration = Registration {
                salt: Salt(event.salt.0),
                selector: Selector(event.selector.0),
                genesis_state: field(operation, event.genesisState)?,
                policy_digest: field(operation, event.policy)?,
                parent: (parent != FieldElement::ZERO).then(|| parent.into()),
            };
            let owner = convert::address_back(event.owner);
            (field(operation, event.run)?, AnchorEvent::Registered { owner, registration })
        }
        abi::EpochAnchored::SIGNATURE_HASH => {
            let event = EpochEvent::decode(log)?;
            (event.run.to_field(), AnchorEvent::Anchored(event))
        }
        abi::RunFinalized::SIGNATURE_HASH => {
            let operation = "finalization event";
            let event = decode::<abi::RunFinalized>(operation, log)?;
            let finalized = AnchorEvent::Finalized {
                counter: event.epoch,
                size: TreeSize(event.steps),
                state: field(operation, event.state)?,
                root: Root(event.root.0),
            };
            (field(operation, event.run)?, finalized)
        }
        abi::BundleAnnounced::SIGNATURE_HASH => {
            let operation = "bundle event";
            let run = decode::<abi::BundleAnnounced>(operation, log)?.run;
            (field(operation, run)?, AnchorEvent::Announced(BundleEvent::from_log(log)?))
        }
        abi::SubmitterSet::SIGNATURE_HASH => {
            let operation = "submitter event";
            let event = decode::<abi::SubmitterSet>(operation, log)?;
            let set = AnchorEvent::SubmitterSet {
                owner: convert::address_back(event.owner),
                submitter: convert::address_back(event.submitter),
                right: if event.allowed { SubmitterRight::Granted } else { SubmitterRight::Withdrawn },
            };
            (field(operation, event.run)?, set)
        }
        abi::RunOwnerProposed::SIGNATURE_HASH => {
            let operation = "owner proposal event";
            let event = decode::<abi::RunOwnerProposed>(operation, log)?;
            let (from, to) = (convert::address_back(event.from), convert::address_back(event.to));
            (field(operation, event.run)?, AnchorEvent::OwnerProposed { from, to })
        }
        abi::RunOwnerChanged::SIGNATURE_HASH => {
            let operation = "owner event";
            let event = decode::<abi::RunOwnerChanged>(operation, log)?;
            let (from, to) = (convert::address_back(event.from), convert::address_back(event.to));
            (field(operation, event.run)?, AnchorEvent::OwnerChanged { from, to })
        }
        audits::Attested::SIGNATURE_HASH => {
            let operation = "attestation event";
            let run = decode::<audits::Attested>(operation, log)?.run;
            (field(operation, run)?, AnchorEvent::Audited(AttestationEvent::from_log(log)?))
        }
        audits::Revoked::SIGNATURE_HASH => {
            let operation = "revocation event";
            let run = decode::<audits::Revoked>(operation, log)?.run;
            // Words about anything can be taken back; those about no run are nobody's here.
            let Ok(run) = field(operation, run) else { return Ok(None) };
            (run, AnchorEvent::Audited(AttestationEvent::from_log(log)?))
        }
        _ => return Ok(None),
    };
    Ok(Some((run.into(), event)))
}

/// Transaction, block and index of a log; pending ones have none.
fn position(log: &Log) -> Result<(TxHash, BlockRef, u64), ChainError> {
    let operation = "event";
    let (number, tx) = place(operation, log)?;
    match (log.block_hash, log.log_index) {
        (Some(hash), Some(index)) => Ok((tx, BlockRef { number, hash: Digest(hash.0) }, index)),
        _ => Err(ChainError::Answer { operation, reason: "the event has no place in its block".into() }),
    }
}

fn reorganised(expected: BlockRef, got: Option<Digest>) -> ChainError {
    ChainError::Reorganised { operation: "events", block: expected.number, expected: expected.hash, got }
}
