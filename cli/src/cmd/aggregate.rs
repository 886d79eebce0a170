//! `cairn aggregate`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use aggregator::{EpochInput, StepInput};
use anyhow::Context;
use circuits::claim::verify_step;
use circuits::convert::from_fr;
use clap::Args;
use ledger::{ChunkIndex, Policy, StepIndex};
use rand_core::OsRng;
use serde::Serialize;
use store::{LogIndex, RunDir, RunWriter};

use crate::cmd::{Global, train::peak_rss};
use crate::output::{Output, failed};
use crate::run::{epoch_shape, genesis_products, step_key};

/// Aggregate the finished epochs of a run, each in one proof. What is aggregated already is left alone.
#[derive(Args)]
#[command(after_help = "Example: cairn aggregate --run artifacts/run-0x…")]
pub struct Aggregate {
    /// Run directory.
    #[arg(long = "run", value_name = "DIR")]
    dir: PathBuf,
    /// Also aggregate what is left after the last full epoch, in smaller powers of two.
    #[arg(long)]
    tail: bool,
}

#[derive(Serialize)]
struct Report {
    epochs: u64,
    steps: u64,
    aggregate_ms: Vec<u64>,
    aggregate_k: Option<u32>,
    aggregate_columns: Option<usize>,
    aggregate_cells_per_step: Option<usize>,
    epoch_key_digest: Option<String>,
    aggregate_peak_rss_bytes: u64,
    proof_bytes: Vec<usize>,
}

/// The input of the epoch of `n_steps` from `first`.
pub fn epoch_input(
    dir: &RunDir,
    log: &LogIndex,
    policy: &Policy,
    first: StepIndex,
    n_steps: u64,
) -> anyhow::Result<EpochInput> {
    let products = match first.0.checked_sub(1) {
        None => genesis_products(dir.run().description())?,
        Some(before) => {
            let schedule = dir.record(log, StepIndex(before))?.record().statement.schedule;
            (schedule.p1, schedule.p2)
        }
    };
    let steps = (first.0..first.0 + n_steps)
        .map(|t| {
            let statement = dir.record(log, StepIndex(t))?.record().statement.clone();
            let proofs =
                (0..policy.n_chunks).map(|c| dir.proof(StepIndex(t), ChunkIndex(c))).collect::<Result<_, _>>()?;
            Ok(StepInput { statement, proofs })
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(EpochInput { policy: *policy, products, steps })
}

/// Number of steps of the next epoch: a full one, or for a tail the largest aligned power of two that is there.
fn next_epoch(done: u64, size: u64, full: u64, tail: bool) -> Option<u64> {
    let left = size - done;
    if left >= full && done.is_multiple_of(full) {
        return Some(full);
    }
    if !tail || left == 0 {
        return None;
    }
    let aligned = if done == 0 { u64::MAX } else { 1 << done.trailing_zeros() };
    Some((1 << left.ilog2()).min(aligned).min(full))
}

impl Aggregate {
    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let home = global.home(out)?;
        let (mut writer, recovery) = open_writer(&self.dir)?;
        if !recovery.is_clean() {
            out.note(format!("repaired after an interruption: {recovery:?}"));
        }
        let run = writer.dir().run().description().clone();
        let (step_srs, key) = step_key(&home, &run)?;
        let mut report = Report {
            epochs: writer.epochs().len() as u64,
            steps: writer.log().size().0,
            aggregate_ms: Vec::new(),
            aggregate_k: None,
            aggregate_columns: None,
            aggregate_cells_per_step: None,
            epoch_key_digest: None,
            aggregate_peak_rss_bytes: 0,
            proof_bytes: Vec::new(),
        };
        let full = run.epoch_len.steps();
        let mut loaded: Option<(u64, srs::Srs, aggregator::EpochProvingKey)> = None;
        while let Some(n_steps) = next_epoch(writer.aggregated().0, writer.log().size().0, full, self.tail) {
            let first = StepIndex(writer.aggregated().0);
            let input = epoch_input(writer.dir(), writer.log(), &run.policy, first, n_steps)?;
            let expected = input.check().map_err(|e| failed("epoch statement", e))?;
            for step in &input.steps {
                verify_step(&key, step_srs.params(), &run.policy, &step.statement, &step.proofs)
                    .map_err(|e| failed("step proof", e))?;
            }
            if loaded.as_ref().is_none_or(|(n, ..)| *n != n_steps) {
                drop(loaded.take());
                let shape = epoch_shape(&run, n_steps as usize)?;
                let (srs, key) = home.epoch_key((&step_srs, &key), &shape)?;
                report.aggregate_k = Some(shape.k);
                report.aggregate_columns = Some(key.stats().columns);
                report.aggregate_cells_per_step = Some(key.stats().cells / n_steps as usize);
                report.epoch_key_digest = Some(from_fr(&key.verifying_key().digest()).to_string());
                loaded = Some((n_steps, srs, key));
            }
            let Some((_, srs, epoch_key)) = &loaded else { unreachable!("loaded above") };
            let start = Instant::now();
            let what = format!("epoch proof of {n_steps}");
            let proof = home.timed(&what, || epoch_key.prove(srs.params(), &input.witness(), OsRng))??;
            report.aggregate_ms.push(start.elapsed().as_millis() as u64);
            epoch_key.verifying_key().verify(srs.params(), &proof).map_err(|e| failed("own epoch proof", e))?;
            expected.compare(&proof.instances).map_err(|e| failed("own epoch proof", e))?;
            writer.append_epoch(&proof.instances, &proof.proof)?;
            report.proof_bytes.push(proof.proof.len());
            out.note(format!("epoch {} proved: steps {first} to {}", writer.epochs().len() - 1, first.0 + n_steps - 1));
        }
        writer.write_manifest()?;
        report.epochs = writer.epochs().len() as u64;
        report.aggregate_peak_rss_bytes = peak_rss();
        out.result(&report, |r| format!("{} epochs over {} steps are aggregated", r.epochs, r.steps))
    }
}

/// Opens a run for writing.
pub fn open_writer(dir: &Path) -> anyhow::Result<(RunWriter, store::Recovery)> {
    RunWriter::open(dir).with_context(|| format!("run directory {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::next_epoch;

    #[test]
    fn tails_are_cut_in_aligned_powers_of_two() {
        let mut done = 0;
        let mut sizes = Vec::new();
        while let Some(n) = next_epoch(done, 11, 4, true) {
            assert!(n.is_power_of_two() && done % n == 0, "{n} steps from {done}");
            sizes.push(n);
            done += n;
        }
        assert_eq!(sizes, [4, 4, 2, 1]);
        assert_eq!(next_epoch(8, 11, 4, false), None);
        assert_eq!(next_epoch(0, 3, 4, true), Some(2));
    }
}
