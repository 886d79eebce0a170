//! `cairn aggregate`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use aggregator::{EpochInput, EpochProof, EpochProvingKey, StepInput, input::Expected};
use anyhow::Context;
use circuits::claim::verify_step;
use circuits::convert::from_fr;
use circuits::keys::StepVerifyingKey;
use clap::Args;
use ledger::{ChunkIndex, Policy, RunDescription, StepIndex};
use rand_core::OsRng;
use serde::Serialize;
use srs::Srs;
use store::{LogIndex, RunDir, RunWriter};

use crate::cmd::{Global, train::peak_rss};
use crate::home::Home;
use crate::output::{Output, failed};
use crate::run::{WRAP_K, epoch_shape, genesis_products, step_key};
use crate::size::Memory;

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
    /// Verify each epoch proof in one more circuit, of 2^K rows and few columns: anchoring costs less gas, proving more time.
    /// The run's first epoch decides for all of them.
    #[arg(long, value_name = "K", num_args = 0..=1, default_missing_value = WRAP_K)]
    wrap: Option<u32>,
    #[command(flatten)]
    memory: Memory,
}

#[derive(Default, Serialize)]
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
    wrap_ms: Vec<u64>,
    wrap_k: Option<u32>,
    wrap_columns: Option<usize>,
    wrap_cells: Option<usize>,
    wrap_key_digest: Option<String>,
}

/// An epoch that can be aggregated: its steps are checked.
struct Ready {
    first: StepIndex,
    n_steps: u64,
    input: EpochInput,
    expected: Expected,
}

/// A run, and what its epochs are proved with.
struct Job<'a> {
    home: &'a Home<'a>,
    run: &'a RunDescription,
    step: (&'a Srs, &'a StepVerifyingKey),
    out: &'a Output,
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

impl Job<'_> {
    /// The epoch of `n_steps` from `first`, every step checked.
    fn ready(&self, writer: &RunWriter, first: StepIndex, n_steps: u64) -> anyhow::Result<Ready> {
        let policy = &self.run.policy;
        let input = epoch_input(writer.dir(), writer.log(), policy, first, n_steps)?;
        let expected = input.check().map_err(|e| failed("epoch statement", e))?;
        let (srs, key) = self.step;
        for step in &input.steps {
            verify_step(key, srs.params(), policy, &step.statement, &step.proofs)
                .map_err(|e| failed("step proof", e))?;
        }
        Ok(Ready { first, n_steps, input, expected })
    }

    fn epoch_key(&self, n_steps: u64, report: &mut Report) -> anyhow::Result<(Srs, EpochProvingKey)> {
        let shape = epoch_shape(self.run, n_steps as usize)?;
        let (srs, key) = self.home.epoch_key(self.step, &shape)?;
        report.aggregate_k = Some(shape.k);
        report.aggregate_columns = Some(key.stats().columns);
        report.aggregate_cells_per_step = Some(key.stats().cells / n_steps as usize);
        report.epoch_key_digest = Some(from_fr(&key.verifying_key().digest()).to_string());
        Ok((srs, key))
    }

    /// Proves `count` epochs of `n_steps` and appends each.
    fn plain(&self, writer: &mut RunWriter, (n_steps, count): (u64, u64), report: &mut Report) -> anyhow::Result<()> {
        let (srs, key) = self.epoch_key(n_steps, report)?;
        for _ in 0..count {
            let ready = self.ready(writer, StepIndex(writer.aggregated().0), n_steps)?;
            let start = Instant::now();
            let what = format!("epoch proof of {n_steps}");
            let proof = self
                .home
                .phased(&what, |watch| key.prove_watched(srs.params(), &ready.input.witness(), OsRng, watch))?;
            report.aggregate_ms.push(start.elapsed().as_millis() as u64);
            key.verifying_key().verify(srs.params(), &proof).map_err(|e| failed("own epoch proof", e))?;
            self.append(writer, &ready, &proof, None, report)?;
        }
        Ok(())
    }

    /// The same with each proof wrapped. Both keys would not fit in memory together: all are proved before the first is wrapped.
    fn wrapped(
        &self,
        writer: &mut RunWriter,
        (n_steps, count): (u64, u64),
        wrap_k: u32,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let mut proved = Vec::new();
        let epoch_key = {
            let (srs, key) = self.epoch_key(n_steps, report)?;
            let done = writer.aggregated().0;
            for index in 0..count {
                let ready = self.ready(writer, StepIndex(done + index * n_steps), n_steps)?;
                let start = Instant::now();
                let what = format!("epoch proof of {n_steps}");
                let inner = self
                    .home
                    .phased(&what, |watch| key.prove_to_wrap(srs.params(), &ready.input.witness(), OsRng, watch))?;
                report.aggregate_ms.push(start.elapsed().as_millis() as u64);
                key.verifying_key()
                    .verify_to_wrap(srs.params(), &inner.instances, &inner.proof)
                    .map_err(|e| failed("own epoch proof", e))?;
                proved.push((ready, inner));
            }
            key.verifying_key()
        };
        let (srs, key) = self.home.wrap_key(&epoch_key, wrap_k)?;
        report.wrap_k = Some(wrap_k);
        report.wrap_columns = Some(key.stats().columns);
        report.wrap_cells = Some(key.stats().cells);
        report.wrap_key_digest = Some(from_fr(&key.verifying_key().digest()).to_string());
        for (ready, inner) in proved {
            let start = Instant::now();
            let proof = self.home.phased("wrap proof", |watch| key.prove(srs.params(), &inner, OsRng, watch))?;
            report.wrap_ms.push(start.elapsed().as_millis() as u64);
            key.verifying_key().verify(srs.params(), &proof).map_err(|e| failed("own wrap proof", e))?;
            self.append(writer, &ready, &proof, Some(wrap_k), report)?;
        }
        Ok(())
    }

    fn append(
        &self,
        writer: &mut RunWriter,
        ready: &Ready,
        proof: &EpochProof,
        wrap_k: Option<u32>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        ready.expected.compare(&proof.instances).map_err(|e| failed("own epoch proof", e))?;
        match wrap_k {
            None => writer.append_epoch(&proof.instances, &proof.proof)?,
            Some(k) => writer.append_wrapped_epoch(&proof.instances, &proof.proof, k)?,
        };
        report.proof_bytes.push(proof.proof.len());
        let (epoch, first, last) = (writer.epochs().len() - 1, ready.first, ready.first.0 + ready.n_steps - 1);
        self.out.note(format!("epoch {epoch} proved: steps {first} to {last}"));
        Ok(())
    }
}

impl Aggregate {
    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let home = global.home(out)?.within(&self.memory);
        let (mut writer, recovery) = open_writer(&self.dir)?;
        if !recovery.is_clean() {
            out.note(format!("repaired after an interruption: {recovery:?}"));
        }
        let run = writer.dir().run().description().clone();
        let wrap_k = self.wrap_k(&writer)?;
        let (step_srs, key) = step_key(&home, &run)?;
        let job = Job { home: &home, run: &run, step: (&step_srs, &key), out };
        let mut report = Report { steps: writer.log().size().0, ..Report::default() };
        let full = run.epoch_len;
        while let Some(group) = full.next_group(writer.aggregated(), writer.log().size(), self.tail) {
            match wrap_k {
                None => job.plain(&mut writer, group, &mut report)?,
                Some(wrap_k) => job.wrapped(&mut writer, group, wrap_k, &mut report)?,
            }
        }
        writer.write_manifest()?;
        report.epochs = writer.epochs().len() as u64;
        report.aggregate_peak_rss_bytes = peak_rss();
        out.result(&report, |r| format!("{} epochs over {} steps are aggregated", r.epochs, r.steps))
    }

    /// k of the wrap of the epochs to come: as the first epoch, or as asked for if there is none.
    ///
    /// Errors: something else is asked for than the first epoch has.
    fn wrap_k(&self, writer: &RunWriter) -> anyhow::Result<Option<u32>> {
        let Some(first) = writer.epochs().first() else { return Ok(self.wrap) };
        let named = |wrap: Option<u32>| wrap.map_or_else(|| "no wrap".to_owned(), |k| format!("a wrap of k = {k}"));
        anyhow::ensure!(
            self.wrap.is_none() || self.wrap == first.wrap_k,
            "epochs of a run are wrapped alike: epoch 0 has {}, --wrap asks for {}",
            named(first.wrap_k),
            named(self.wrap)
        );
        Ok(first.wrap_k)
    }
}

/// Opens a run for writing.
pub fn open_writer(dir: &Path) -> anyhow::Result<(RunWriter, store::Recovery)> {
    RunWriter::open(dir).with_context(|| format!("run directory {}", dir.display()))
}
