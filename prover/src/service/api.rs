//! What the service takes and answers, as JSON. 64-bit fixed-point values are decimal strings, hashes `0x` hex.

use std::collections::BTreeMap;

use ledger::{Address, Dataset, EpochLen, Layout, Rule, RunId, Salt};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A new run: the text `run` in the metadata of the frame that `POST /v1/runs` takes.
///
/// Weights are the frame's tensors, laid out sorted by name. A run with a parent starts from the parent's final state and needs
/// none; if it has them, they must be the parent's.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    /// Update rule.
    #[schema(value_type = String, example = "adamw", pattern = "^(adamw|sgd)$")]
    pub rule: Rule,
    /// β1 or momentum, raw Q32.
    #[serde(with = "ledger::canonical::decimal")]
    #[schema(value_type = String, example = "3865470566")]
    pub beta1: u64,
    /// β2, raw Q32; 0 for SGD.
    #[serde(with = "ledger::canonical::decimal")]
    #[schema(value_type = String, example = "4290672329")]
    pub beta2: u64,
    /// ε, raw Q32; 0 for SGD.
    #[serde(with = "ledger::canonical::decimal")]
    #[schema(value_type = String, example = "2749")]
    pub eps: u64,
    /// Weight decay, raw Q32.
    #[serde(with = "ledger::canonical::decimal")]
    #[schema(value_type = String, example = "0")]
    pub weight_decay: u64,
    /// Largest learning rate of any step, raw Q32.
    #[serde(with = "ledger::canonical::decimal")]
    #[schema(value_type = String, example = "12884902")]
    pub lr_max: u64,
    /// Chunks of a step.
    #[serde(default = "one")]
    pub n_chunks: u32,
    /// Steps of a full epoch, a power of two.
    #[serde(default = "epoch_len")]
    #[schema(value_type = u64, example = 4)]
    pub epoch_len: EpochLen,
    /// k of the epoch circuit; with 20 epochs of 4 steps are proved a third faster and cost some 50,000 gas more on chain.
    #[serde(default = "epoch_k")]
    pub epoch_k: u32,
    /// k of the step circuit; chosen if not given.
    #[serde(default)]
    pub step_k: Option<u32>,
    /// Chain that the run will be anchored on.
    #[serde(default = "chain_id")]
    pub chain_id: u64,
    /// RunAnchor that the run will be anchored in.
    #[serde(default)]
    #[schema(value_type = String, example = "0x0000000000000000000000000000000000000000")]
    pub contract: Address,
    /// Account that will register the run.
    #[serde(default)]
    #[schema(value_type = String, example = "0x0000000000000000000000000000000000000000")]
    pub owner: Address,
    /// Salt of the run id: chosen by the caller, so that asking twice makes one run.
    #[schema(value_type = String, example = "0x0101010101010101010101010101010101010101010101010101010101010101")]
    pub salt: Salt,
    /// The run whose final state this one starts from.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub parent: Option<RunId>,
    /// The data, if it can be named: SHA-256 and name.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub dataset: Option<Dataset>,
    /// What people should know. Keys are 1 to 64 of `a-z 0-9 _`.
    #[serde(default)]
    pub notes: BTreeMap<String, String>,
}

fn one() -> u32 {
    1
}

fn epoch_len() -> EpochLen {
    EpochLen::from_log(2).unwrap_or_else(|| unreachable!("2^2 is a power of two up to 2^16"))
}

fn epoch_k() -> u32 {
    21
}

fn chain_id() -> u64 {
    31337
}

/// Where a run stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunStatus {
    /// The run.
    #[schema(value_type = String)]
    pub run: RunId,
    /// Its directory on the service's machine.
    pub run_dir: String,
    /// The run that it started from.
    #[schema(value_type = Option<String>)]
    pub parent: Option<RunId>,
    /// Names, shapes and offsets of the parameters.
    #[schema(value_type = Object)]
    pub layout: Layout,
    /// Parameters.
    pub n_params: u64,
    /// Chunks of a step.
    pub n_chunks: u32,
    /// Steps accepted, which is the index of the next.
    pub accepted_steps: u64,
    /// Steps proved and in the log.
    pub proved_steps: u64,
    /// Chunks of the next step that are here.
    pub pending_chunks: Vec<u32>,
    /// SHA-256 of the state before the next step, as a state file.
    pub state_sha256: String,
    /// Whether it takes no more steps.
    pub finished: bool,
    /// Whether every accepted step is in the log and, if finished, the manifest is written.
    pub settled: bool,
    /// Root of the log.
    pub root: String,
    /// What the next proof waits for, if it does.
    pub waits_for: Option<WaitsFor>,
    /// Why proving does not get on, if it does not; it is tried again.
    pub error: Option<String>,
}

/// What a proof waits for, although nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// Its chunks were given away, and no worker takes one or is at work.
    Workers,
}

/// All runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Runs {
    /// Sorted by id.
    pub runs: Vec<RunStatus>,
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Some of its chunks are here.
    Incomplete,
    /// All of its chunks are here, and it waits for its proof.
    Accepted,
    /// In the log.
    Proved,
}

/// Answer to an upload, and to a question about a step.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StepStatus {
    /// The step.
    pub step: u64,
    /// Where it stands.
    pub state: StepState,
    /// SHA-256 of the state after it, as a state file, while the run has not gone on; else none.
    pub state_sha256: Option<String>,
    /// Whether the upload was here before.
    pub repeated: bool,
}

/// Who writes the run from now on: the one of the header `Cairn-Writer`.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeWriter {
    /// Replace another writer. Chunks of an incomplete step are dropped.
    #[serde(default)]
    pub take_over: bool,
}

/// Whether the service is up.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok` or `draining`.
    pub status: &'static str,
}

/// Something that happened in a run: an event of `GET /v1/runs/{run}/events`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// All chunks of a step are here.
    Accepted {
        /// The step.
        step: u64,
    },
    /// A chunk of a step is proved.
    Proving {
        /// The step.
        step: u64,
        /// Chunks done.
        done: usize,
        /// Chunks in all.
        of: usize,
    },
    /// A step is in the log.
    Proved {
        /// The step.
        step: u64,
        /// Time it took, milliseconds.
        prove_ms: u64,
        /// Root of the log after it.
        root: String,
    },
    /// The run takes no more steps.
    Finished {},
    /// The manifest is written.
    Settled {},
    /// An attempt to prove failed; it is repeated.
    Failed {
        /// The step.
        step: u64,
        /// Why.
        reason: String,
    },
}

impl Event {
    /// The name of the event in the stream.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Proving { .. } => "proving",
            Self::Proved { .. } => "proved",
            Self::Finished {} => "finished",
            Self::Settled {} => "settled",
            Self::Failed { .. } => "failed",
        }
    }
}
