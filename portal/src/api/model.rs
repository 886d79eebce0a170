//! What the JSON says: hashes and accounts as `0x` hex, moments as RFC 3339, positions and counts as numbers.

use ledger::{Address, ChainId, Digest, FieldElement, Root, RunId, Selector, StepIndex, TreeSize, TxHash};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    bundles::Uploaded,
    index::{
        Arrival, AttestationEntry, BundleEntry, EpochEntry, Facets, Optimizer, ReportLine, RunEntry, RunEvent,
        SourceEntry, Standing, StepEntry, StepRange, StepWord, Verification, VerifierEntry,
    },
    time::{date, now, rfc3339},
};

/// What no proof says. In every answer about a run.
pub(crate) const NOT_PROVED: &str = "Proved: each committed state is what the declared optimizer makes of the committed state \
    and gradient before it. Not proved: that the gradient is honest, or that the data is good or free of bias.";

/// A registered run.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RunView {
    /// Its id.
    #[schema(value_type = String)]
    run: RunId,
    /// The chain.
    #[schema(value_type = u64)]
    chain_id: ChainId,
    /// The `RunAnchor`.
    #[schema(value_type = String)]
    contract: Address,
    /// What the chain and the checked bundles say together.
    status: &'static str,
    /// The same in words.
    status_words: &'static str,
    /// What is wrong, if events contradict each other.
    conflict: Option<String>,
    /// Block at which the contract's own head said what the events say.
    confirmed_at_block: Option<u64>,
    /// Its owner now.
    #[schema(value_type = String)]
    owner: Address,
    /// The account that registered it.
    #[schema(value_type = String)]
    registered_by: Address,
    /// When it was registered.
    registered_at: String,
    /// When its last epoch was anchored.
    anchored_at: Option<String>,
    /// Which verifier checks its epochs.
    #[schema(value_type = String)]
    selector: Selector,
    /// Digest of the policy that all its steps follow.
    #[schema(value_type = String)]
    policy: FieldElement,
    /// Digest of the state that it started from.
    #[schema(value_type = String)]
    genesis_state: FieldElement,
    /// The run whose final state it started from.
    #[schema(value_type = Option<String>)]
    parent: Option<RunId>,
    /// `adamw`, `sgd`, or `unknown` while no bundle with the policy's words was seen.
    optimizer: &'static str,
    /// Number of parameters, by the same words.
    n_params: Option<u64>,
    /// Anchored epochs that follow one another from the first step on.
    epochs: u64,
    /// Steps in them.
    #[schema(value_type = u64)]
    steps: TreeSize,
    /// Root over these steps.
    #[schema(value_type = String)]
    root: Root,
    /// Digest of the state after them.
    #[schema(value_type = String)]
    state: FieldElement,
    /// Whether no epoch will follow.
    finalized: bool,
    /// Whether its verifiers accept nothing any more.
    frozen: bool,
    /// What the proofs say, and what they do not.
    meaning: &'static str,
}

impl From<&RunEntry> for RunView {
    fn from(entry: &RunEntry) -> Self {
        let (conflict, confirmed_at_block) = match &entry.standing {
            Standing::Conflict(reason) => (Some(reason.clone()), None),
            Standing::Incomplete => (None, None),
            Standing::Registered { block } | Standing::Anchored { block } => (None, Some(*block)),
        };
        Self {
            run: entry.run,
            chain_id: entry.chain,
            contract: entry.contract,
            status: entry.status.code(),
            status_words: entry.status.words(),
            conflict,
            confirmed_at_block,
            owner: entry.owner,
            registered_by: entry.registered_by,
            registered_at: rfc3339(entry.registered_at),
            anchored_at: entry.anchored_at.map(rfc3339),
            selector: entry.registration.selector,
            policy: entry.registration.policy_digest,
            genesis_state: entry.registration.genesis_state,
            parent: entry.registration.parent,
            optimizer: entry.optimizer.code(),
            n_params: entry.n_params,
            epochs: entry.counter,
            steps: entry.size,
            root: entry.root,
            state: entry.state,
            finalized: entry.finalized,
            frozen: entry.frozen,
            meaning: NOT_PROVED,
        }
    }
}

/// A page of runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunsView {
    /// The runs.
    pub(crate) runs: Vec<RunView>,
    /// Parameter `cursor` of the next page; null if this is the last.
    pub(crate) next_cursor: Option<String>,
    /// How many there are of each kind.
    pub(crate) facets: FacetsView,
    /// Steps that the search hit.
    pub(crate) steps: Vec<StepHit>,
}

/// A step that a search hit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepHit {
    /// Its run.
    #[schema(value_type = String)]
    pub(crate) run: RunId,
    /// The `RunAnchor`.
    #[schema(value_type = String)]
    pub(crate) contract: Address,
    /// Its position.
    #[schema(value_type = u64)]
    pub(crate) step: StepIndex,
}

/// How many runs there are of each kind.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FacetsView {
    /// All that the filter lets through.
    total: u64,
    /// By status.
    statuses: Vec<StatusCount>,
    /// By chain.
    chains: Vec<ChainCount>,
    /// By optimizer.
    optimizers: Vec<OptimizerCount>,
    /// By number of anchored steps.
    sizes: Vec<SizeCount>,
    /// By day of registration.
    since: Vec<SinceCount>,
}

/// Runs with an optimizer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OptimizerCount {
    optimizer: &'static str,
    runs: u64,
}

/// Runs of so many steps.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SizeCount {
    min_steps: u64,
    max_steps: Option<u64>,
    runs: u64,
}

/// Runs registered on this day or later.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SinceCount {
    from: String,
    runs: u64,
}

/// Runs with a status.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusCount {
    status: &'static str,
    runs: u64,
}

/// Runs of a chain.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChainCount {
    #[schema(value_type = u64)]
    chain_id: ChainId,
    runs: u64,
}

impl From<&Facets> for FacetsView {
    fn from(facets: &Facets) -> Self {
        let status = |(status, runs): &(crate::index::Status, u64)| StatusCount { status: status.code(), runs: *runs };
        let optimizer =
            |(optimizer, runs): &(Optimizer, u64)| OptimizerCount { optimizer: optimizer.code(), runs: *runs };
        let size =
            |(steps, runs): &(StepRange, u64)| SizeCount { min_steps: steps.min, max_steps: steps.max, runs: *runs };
        let chain = |(chain_id, runs): &(ChainId, u64)| ChainCount { chain_id: *chain_id, runs: *runs };
        Self {
            total: facets.total,
            statuses: facets.statuses.iter().map(status).collect(),
            chains: facets.chains.iter().map(chain).collect(),
            optimizers: facets.optimizers.iter().map(optimizer).collect(),
            sizes: facets.sizes.iter().map(size).collect(),
            since: facets.since.iter().map(|(from, runs)| SinceCount { from: date(*from), runs: *runs }).collect(),
        }
    }
}

/// An anchored epoch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EpochView {
    /// The contract's counter, from 1.
    epoch: u64,
    /// First step.
    #[schema(value_type = u64)]
    first_step: StepIndex,
    /// Steps in it.
    n_steps: u64,
    /// Steps of the run after it.
    #[schema(value_type = u64)]
    steps_after: TreeSize,
    /// Digest of the state before it.
    #[schema(value_type = String)]
    state_in: FieldElement,
    /// Digest of the state after it.
    #[schema(value_type = String)]
    state_out: FieldElement,
    /// Root over all steps so far.
    #[schema(value_type = String)]
    root: Root,
    /// The verifier that accepted its proof.
    #[schema(value_type = String)]
    verifier: Address,
    /// Who sent it.
    #[schema(value_type = String)]
    submitter: Address,
    /// Its block.
    block: u64,
    /// Hash of the block.
    #[schema(value_type = String)]
    block_hash: Digest,
    /// Time of the block.
    at: String,
    /// The transaction.
    #[schema(value_type = String)]
    tx: TxHash,
    /// Gas of the whole transaction, which may have anchored other epochs too; null while it is not known.
    gas: Option<u64>,
}

impl From<&EpochEntry> for EpochView {
    fn from(entry: &EpochEntry) -> Self {
        Self {
            epoch: entry.counter,
            first_step: entry.first_step,
            n_steps: entry.n_steps(),
            steps_after: entry.size,
            state_in: entry.state_in,
            state_out: entry.state_out,
            root: entry.root,
            verifier: entry.verifier,
            submitter: entry.submitter,
            block: entry.block.number,
            block_hash: entry.block.hash,
            at: rfc3339(entry.time),
            tx: entry.tx,
            gas: entry.gas,
        }
    }
}

/// Epochs of a run, in order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EpochsView {
    /// The epochs.
    pub(crate) epochs: Vec<EpochView>,
    /// Parameter `after` of the next page; null if this is the last.
    pub(crate) next_after: Option<u64>,
}

/// A step of an anchored epoch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepView {
    /// Its position.
    #[schema(value_type = u64)]
    step: StepIndex,
    /// D_t: digest of the proved statement.
    #[schema(value_type = String)]
    statement_digest: FieldElement,
    /// A_t: SHA-256 of the record, the submitter's word.
    #[schema(value_type = String)]
    record_hash: Digest,
    /// SHA-256(0x00 ‖ u64be(step) ‖ D_t ‖ A_t).
    #[schema(value_type = String)]
    leaf: Digest,
}

impl From<&StepEntry> for StepView {
    fn from(entry: &StepEntry) -> Self {
        let StepEntry { step, digest, record_hash } = *entry;
        Self { step, statement_digest: digest, record_hash, leaf: entry.leaf() }
    }
}

/// Steps of a run, in order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepsView {
    /// The steps.
    pub(crate) steps: Vec<StepView>,
    /// Parameter `from` of the next page; null if this is the last.
    pub(crate) next_from: Option<u64>,
}

/// A step with the evidence that it is in the anchored root.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepDetail {
    /// The step.
    pub(crate) step: StepView,
    /// The epoch that carries it.
    pub(crate) epoch: EpochView,
    /// Siblings from the leaf to the root (RFC 9162).
    #[schema(value_type = Vec<String>)]
    pub(crate) path: Vec<Digest>,
    /// Leaves of the tree.
    #[schema(value_type = u64)]
    pub(crate) size: TreeSize,
    /// Root of the tree, as the contract has it.
    #[schema(value_type = String)]
    pub(crate) root: Root,
}

/// An announced bundle: the announcer's word.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BundleView {
    #[schema(value_type = u64)]
    steps: TreeSize,
    #[schema(value_type = String)]
    manifest_digest: Digest,
    infohash_v1: String,
    #[schema(value_type = String)]
    infohash_v2: Digest,
    #[schema(value_type = String)]
    announcer: Address,
    block: u64,
    #[schema(value_type = String)]
    tx: TxHash,
}

impl From<&BundleEntry> for BundleView {
    fn from(entry: &BundleEntry) -> Self {
        Self {
            steps: entry.announcement.size,
            manifest_digest: entry.announcement.manifest_digest,
            infohash_v1: format!("0x{}", hex::encode(entry.announcement.infohash_v1)),
            infohash_v2: entry.announcement.infohash_v2,
            announcer: entry.announcer,
            block: entry.block,
            tx: entry.tx,
        }
    }
}

/// An auditor's word about the first steps of a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttestationView {
    /// EIP-712 digest of the attestation.
    #[schema(value_type = String)]
    attestation: Digest,
    #[schema(value_type = String)]
    auditor: Address,
    #[schema(value_type = u64)]
    steps: TreeSize,
    /// Root over these steps.
    #[schema(value_type = String)]
    root: Root,
    /// SHA-256 of the report.
    #[schema(value_type = String)]
    report: Digest,
    /// Whether the auditor stands by it now.
    stands: bool,
    expires_at: Option<String>,
    /// The auditor's reason, if it was taken back.
    revoked: Option<String>,
    block: u64,
    at: String,
    #[schema(value_type = String)]
    tx: TxHash,
}

impl From<&AttestationEntry> for AttestationView {
    fn from(entry: &AttestationEntry) -> Self {
        Self {
            attestation: entry.id,
            auditor: entry.auditor,
            steps: entry.size,
            root: entry.root,
            report: entry.report,
            stands: entry.stands(now()),
            expires_at: entry.expires_at.map(rfc3339),
            revoked: entry.revoked.clone(),
            block: entry.block,
            at: rfc3339(entry.time),
            tx: entry.tx,
        }
    }
}

/// What auditors said of a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttestationsView {
    /// The newest first, with those that do not stand any more.
    pub(crate) attestations: Vec<AttestationView>,
}

/// A bundle that was checked in full.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerificationView {
    #[schema(value_type = String)]
    manifest_digest: Digest,
    #[schema(value_type = u64)]
    steps: TreeSize,
    #[schema(value_type = String)]
    root: Root,
    /// The check that failed and why; null if all passed.
    failure: Option<String>,
    version: String,
    checked_at: String,
}

impl From<&Verification> for VerificationView {
    fn from(entry: &Verification) -> Self {
        Self {
            manifest_digest: entry.manifest,
            steps: entry.size,
            root: entry.root,
            failure: entry.failure.clone(),
            version: entry.version.clone(),
            checked_at: rfc3339(entry.checked_at),
        }
    }
}

/// A line of a report.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LineView {
    check: String,
    /// `passed`, `failed` or `not_covered`.
    state: String,
    detail: String,
    ms: u64,
}

impl From<&ReportLine> for LineView {
    fn from(line: &ReportLine) -> Self {
        let ReportLine { check, state, detail, ms } = line.clone();
        Self { check, state, detail, ms }
    }
}

/// A bundle that came to this portal, or to one that shares its index.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ArrivalView {
    name: String,
    #[schema(value_type = Option<String>)]
    manifest_digest: Option<Digest>,
    /// `queued`, `checking`, `waiting`, `unable`, `refused`, `damaged`, `failed` or `passed`.
    state: &'static str,
    /// Why it stands there.
    detail: Option<String>,
    /// Step proofs that were verified.
    steps_verified: u64,
    /// Step proofs that there are, once they are counted.
    steps: u64,
    /// Checks that were made, in order.
    checks: Vec<LineView>,
    changed_at: String,
}

impl From<&Arrival> for ArrivalView {
    fn from(arrival: &Arrival) -> Self {
        Self {
            name: arrival.name.clone(),
            manifest_digest: arrival.manifest,
            state: arrival.state.code(),
            detail: arrival.detail.clone(),
            steps_verified: arrival.done,
            steps: arrival.total,
            checks: arrival.report.iter().map(Into::into).collect(),
            changed_at: rfc3339(arrival.changed_at),
        }
    }
}

/// An upload that was taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UploadedView {
    #[schema(value_type = String)]
    run: RunId,
    #[schema(value_type = String)]
    manifest_digest: Digest,
    #[schema(value_type = u64)]
    steps: TreeSize,
}

impl From<&Uploaded> for UploadedView {
    fn from(taken: &Uploaded) -> Self {
        Self { run: taken.run, manifest_digest: taken.manifest, steps: taken.size }
    }
}

/// What the submitter says of a step.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PointView {
    #[schema(value_type = u64)]
    step: StepIndex,
    /// Decimal; proved to be within the policy.
    learning_rate: String,
    /// Decimal, the submitter's word.
    loss: Option<String>,
    /// Decimal, the submitter's word.
    gradient_norm: Option<String>,
    /// The submitter's word.
    prove_ms: Option<u64>,
}

impl From<&StepWord> for PointView {
    fn from(word: &StepWord) -> Self {
        Self {
            step: word.step,
            learning_rate: word.rate().to_string(),
            loss: word.loss.clone(),
            gradient_norm: word.gradient_norm.clone(),
            prove_ms: word.prove_ms,
        }
    }
}

/// What the submitter says of the steps of a run, from records whose hashes are under the root.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesView {
    /// In the order of steps; those whose records never came are left out.
    pub(crate) points: Vec<PointView>,
    /// Parameter `from` of the next page; null if this is the last.
    pub(crate) next_from: Option<u64>,
}

/// Bundles of a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BundlesView {
    /// Announced on chain, the newest first.
    pub(crate) announced: Vec<BundleView>,
    /// Checked here, the last checked first.
    pub(crate) checked: Vec<VerificationView>,
    /// Here, and how far their checks are; the last changed first.
    pub(crate) arrived: Vec<ArrivalView>,
}

/// Something that happened to a run on chain.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventView {
    event: &'static str,
    block: u64,
    log_index: u64,
    at: String,
    #[schema(value_type = String)]
    tx: TxHash,
    steps: Option<u64>,
    #[schema(value_type = Option<String>)]
    account: Option<Address>,
}

impl From<&RunEvent> for EventView {
    fn from(event: &RunEvent) -> Self {
        Self {
            event: event.kind,
            block: event.block,
            log_index: event.log_index,
            at: rfc3339(event.time),
            tx: event.tx,
            steps: event.size,
            account: event.account,
        }
    }
}

/// What happened to a run on chain, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryView {
    /// The events.
    pub(crate) events: Vec<EventView>,
}

/// A verifier that accepted epochs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerifierView {
    #[schema(value_type = u64)]
    chain_id: ChainId,
    #[schema(value_type = String)]
    contract: Address,
    #[schema(value_type = String)]
    selector: Selector,
    #[schema(value_type = String)]
    verifier: Address,
    epochs: u64,
    runs: u64,
    frozen: bool,
    last_at: String,
}

impl From<&VerifierEntry> for VerifierView {
    fn from(entry: &VerifierEntry) -> Self {
        Self {
            chain_id: entry.chain,
            contract: entry.contract,
            selector: entry.selector,
            verifier: entry.verifier,
            epochs: entry.n_epochs,
            runs: entry.n_runs,
            frozen: entry.frozen,
            last_at: rfc3339(entry.last_at),
        }
    }
}

/// Verifiers that accepted epochs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerifiersView {
    /// Those that accepted one last come first.
    pub(crate) verifiers: Vec<VerifierView>,
}

/// A contract that is followed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SourceView {
    #[schema(value_type = u64)]
    chain_id: ChainId,
    #[schema(value_type = String)]
    contract: Address,
    first_block: u64,
    /// Last block that was read; null before the first.
    block: Option<u64>,
}

impl From<&SourceEntry> for SourceView {
    fn from(entry: &SourceEntry) -> Self {
        Self {
            chain_id: entry.source.chain,
            contract: entry.source.contract,
            first_block: entry.source.first_block,
            block: entry.position.map(|at| at.number),
        }
    }
}

/// Contracts that are followed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SourcesView {
    /// In the order in which they were added.
    pub(crate) sources: Vec<SourceView>,
}

/// Whether the portal is up and knows the chain.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthView {
    /// `ok`, or `behind` if a node has not answered for a while.
    pub(crate) status: &'static str,
}

/// The status of a run for a badge.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BadgeView {
    /// Left part.
    pub(crate) label: &'static str,
    /// Right part.
    pub(crate) message: String,
    /// The word for programs.
    pub(crate) status: &'static str,
    /// Colour of the right part, CSS.
    pub(crate) color: &'static str,
    /// What the proofs say, and what they do not.
    pub(crate) meaning: &'static str,
}
