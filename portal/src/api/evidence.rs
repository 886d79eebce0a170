//! What evidence of a step looks like, for the description: it is made and read by `audit`.

use serde::Deserialize;
use utoipa::ToSchema;

/// Evidence of a step, version 2: all that a visitor needs to check it but a node (`docs/spec/evidence.md`).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is described and not built")]
pub(crate) struct StepEvidence {
    /// Version, 2.
    v: u64,
    /// `run.json`.
    run: String,
    /// The step's line of `steps.jsonl`, without its newline.
    record: String,
    /// The line before; null for step 0.
    before: Option<String>,
    /// The line behind; null for the last step.
    after: Option<String>,
    /// That the step is under the anchored root.
    inclusion: Inclusion,
    /// The root that `inclusion` is for.
    root: String,
    /// Earlier roots of the run, and that the present one extends them.
    earlier: Vec<Earlier>,
    /// `epoch_NNNN.json` of the step's epoch; null if it has none.
    epoch: Option<String>,
    /// Key of that epoch's proof, in hex.
    epoch_key: Option<String>,
    /// `epoch_NNNN.proof`, in hex.
    epoch_proof: Option<String>,
    /// The step key, in hex.
    step_key: String,
    /// τH of the reference string, in hex.
    tau_h: String,
    /// The step's proofs, one for each chunk, in hex.
    proofs: Vec<String>,
}

/// That a leaf is under a root (RFC 9162, 2.1.3).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is described and not built")]
pub(crate) struct Inclusion {
    /// Position of the leaf.
    index: u64,
    /// Siblings from the leaf to the root.
    path: Vec<String>,
    /// Leaves of the tree.
    size: u64,
}

/// An earlier root.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is described and not built")]
pub(crate) struct Earlier {
    /// The root.
    root: String,
    /// That the tree with `root` in the evidence extends it.
    proof: Consistency,
}

/// That one tree extends another (RFC 9162, 2.1.4).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is described and not built")]
pub(crate) struct Consistency {
    /// Leaves of the larger tree.
    new: u64,
    /// Leaves of the smaller tree.
    old: u64,
    /// Nodes, smallest subtree first.
    path: Vec<String>,
}
