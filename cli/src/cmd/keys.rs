//! `cairn keys`.

use aggregator::EpochShape;
use circuits::convert::from_fr;
use circuits::opening::chunk_len;
use circuits::step::shape::StepShape;
use clap::{Args, ValueEnum};
use ledger::Rule;
use serde::Serialize;

use crate::cmd::Global;
use crate::output::Output;
use crate::run::WRAP_K;

/// Circuits.
#[derive(Clone, Copy, ValueEnum)]
enum Circuit {
    /// AdamW (Adam is weight decay 0).
    Adam,
    /// SGD with momentum.
    Sgd,
}

/// Generate the keys for a number of parameters and print their digests. Epoch keys are cached.
#[derive(Args)]
#[command(after_help = "Example: cairn keys --circuit adam --params 2410 --epoch-size 4")]
pub struct Keys {
    /// Update rule.
    #[arg(long, value_enum)]
    circuit: Circuit,
    /// Parameters of the model.
    #[arg(long)]
    params: usize,
    /// Chunks per step.
    #[arg(long, default_value_t = 1)]
    chunks: usize,
    /// Steps per epoch; no epoch key if not given.
    #[arg(long)]
    epoch_size: Option<usize>,
    /// k of the epoch circuit, as the run has it.
    #[arg(long, default_value_t = 21)]
    epoch_k: u32,
    /// Also the key of the wrap of epochs, in a circuit of 2^K rows.
    #[arg(long, value_name = "K", num_args = 0..=1, default_missing_value = WRAP_K, requires = "epoch_size")]
    wrap: Option<u32>,
}

#[derive(Serialize)]
struct Report {
    step_shape: String,
    step_key_digest: String,
    step_columns: usize,
    step_proof_bytes: usize,
    epoch_key_digest: Option<String>,
    epoch_cells: Option<usize>,
    epoch_columns: Option<usize>,
    wrap_key_digest: Option<String>,
    wrap_cells: Option<usize>,
    wrap_columns: Option<usize>,
}

impl Keys {
    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let home = global.home(out)?;
        let rule = match self.circuit {
            Circuit::Adam => Rule::AdamW,
            Circuit::Sgd => Rule::Sgd,
        };
        let shape = StepShape::choose(rule, chunk_len(self.params, self.chunks), 20)?;
        let (srs, key) = home.step_verifying_key(&shape)?;
        let epoch = match self.epoch_size {
            None => None,
            Some(n_steps) => {
                let shape = EpochShape { n_steps, n_chunks: self.chunks, k: self.epoch_k };
                Some(home.epoch_key((&srs, &key), &shape)?.1)
            }
        };
        // What is shown of one proving key is taken from it before the next is made.
        let (epoch, epoch_key) = match epoch {
            Some(key) => (Some(key.stats().clone()), Some(key.verifying_key())),
            None => (None, None),
        };
        let wrap = match (self.wrap, &epoch_key) {
            (Some(wrap_k), Some(epoch_key)) => Some(home.wrap_key(epoch_key, wrap_k)?.1),
            _ => None,
        };
        let report = Report {
            step_shape: shape.to_string(),
            step_key_digest: from_fr(&key.digest()).to_string(),
            step_columns: key.inner().cs().num_advice_columns(),
            step_proof_bytes: key.proof_len(),
            epoch_key_digest: epoch_key.as_ref().map(|k| from_fr(&k.digest()).to_string()),
            epoch_cells: epoch.as_ref().map(|stats| stats.cells),
            epoch_columns: epoch.as_ref().map(|stats| stats.columns),
            wrap_key_digest: wrap.as_ref().map(|k| from_fr(&k.verifying_key().digest()).to_string()),
            wrap_cells: wrap.as_ref().map(|k| k.stats().cells),
            wrap_columns: wrap.as_ref().map(|k| k.stats().columns),
        };
        out.result(&report, |r| {
            let mut lines = vec![
                format!("step circuit {}", r.step_shape),
                format!("step key     {}", r.step_key_digest),
                format!("step proof   {} bytes, {} advice columns", r.step_proof_bytes, r.step_columns),
            ];
            if let (Some(digest), Some(cells), Some(columns)) = (&r.epoch_key_digest, r.epoch_cells, r.epoch_columns) {
                lines.push(format!("epoch key    {digest}"));
                lines.push(format!("epoch        {cells} cells, {columns} columns"));
            }
            if let (Some(digest), Some(cells), Some(columns)) = (&r.wrap_key_digest, r.wrap_cells, r.wrap_columns) {
                lines.push(format!("wrap key     {digest}"));
                lines.push(format!("wrap         {cells} cells, {columns} columns"));
            }
            lines.join("\n")
        })
    }
}
