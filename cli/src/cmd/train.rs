//! `cairn train`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use circuits::opening::chunk_len;
use circuits::reference::State;
use circuits::step::shape::StepShape;
use clap::{Args, ValueEnum};
use ledger::{Address, ChainId, Dataset, Decimal, EpochLen, Rule, RunIdentity, Salt, StepIndex, StepMeta};
use prover::data::{FeatureMax, LabelledData, Seed};
use prover::lineage::check_model;
use prover::session::{Parent, Places, RunPlan, Session};
use prover::train::{Decay, GradientScale, HyperValues, Lineage, LrSchedule, Mlp, Subset, TrainConfig, Trainer};
use rand_core::{OsRng, RngCore};
use serde::Serialize;

use crate::cmd::Global;
use crate::output::{NOT_PROVED, Output};
use crate::progress;
use crate::size::Memory;

/// Optimizers of the reference trainer.
#[derive(Clone, Copy, ValueEnum)]
enum Optimizer {
    /// Adam: AdamW with weight decay 0.
    Adam,
    /// AdamW.
    Adamw,
    /// SGD with momentum.
    Sgd,
}

/// Learning-rate schedules.
#[derive(Clone, Copy, ValueEnum)]
enum LrDecay {
    /// The same after the warm-up.
    Constant,
    /// Half a cosine.
    Cosine,
    /// A straight line.
    Linear,
}

/// Train a multi-layer perceptron and prove every step.
///
/// Repeating the command continues where the last one stopped, also after a kill: give the same --salt or --continue.
#[derive(Args)]
#[command(
    after_help = "Example: cairn train --data testdata/digits.csv.gz --steps 8 --epoch-size 4 --artifacts artifacts"
)]
pub struct Train {
    /// CSV, may be gzipped: features, then the label.
    #[arg(long)]
    data: PathBuf,
    /// Largest feature value; features are divided by it.
    #[arg(long, default_value_t = 16.0)]
    feature_max: f64,
    /// Sizes of the hidden layers.
    #[arg(long, value_delimiter = ',', default_value = "32")]
    hidden: Vec<usize>,
    /// Update rule.
    #[arg(long, value_enum, default_value = "adam")]
    optimizer: Optimizer,
    /// Learning rate.
    #[arg(long, default_value_t = 0.003)]
    lr: f64,
    /// How the learning rate falls, over --steps steps.
    #[arg(long, value_enum, default_value = "constant")]
    lr_schedule: LrDecay,
    /// Steps in which the learning rate rises to --lr.
    #[arg(long, value_name = "STEPS", default_value_t = 0)]
    warmup: u64,
    /// Largest learning rate that the policy allows; the schedule's maximum if not given.
    #[arg(long)]
    lr_max: Option<f64>,
    /// Momentum of SGD.
    #[arg(long, default_value_t = 0.9)]
    momentum: f64,
    /// Weight decay; 0 for adam.
    #[arg(long, default_value_t = 0.0)]
    weight_decay: f64,
    /// Directory of a run to go on from: step 0 starts from its final state. Its private directory must be in this home.
    #[arg(long, value_name = "DIR", conflicts_with = "no_prove")]
    parent: Option<PathBuf>,
    /// Number of steps of the run in all.
    #[arg(long, default_value_t = 8)]
    steps: u64,
    /// Rows per step.
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Seed of initial weights, split and batches.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// log2 of the factor of the loss, see docs/fidelity.md.
    #[arg(long, default_value_t = 6)]
    loss_scale_log2: u32,
    /// Chunks per step.
    #[arg(long, default_value_t = 1)]
    chunks: u32,
    /// Steps per epoch, a power of two.
    #[arg(long, default_value_t = 4)]
    epoch_size: u64,
    /// k of the epoch circuit. 20 proves epochs of 4 steps a third faster, in 0.6 of the memory, for some 50,000 gas more at each anchor
    /// (docs/adr/0021).
    #[arg(long, default_value_t = 21)]
    epoch_k: u32,
    /// k of the step circuit; chosen if not given.
    #[arg(long)]
    step_k: Option<u32>,
    /// Directory that run directories are made in.
    #[arg(long, default_value = "artifacts")]
    artifacts: PathBuf,
    /// Chain that the run will be anchored on.
    #[arg(long, default_value_t = 31337)]
    chain_id: u64,
    /// RunAnchor that the run will be anchored in.
    #[arg(long, default_value = "0x0000000000000000000000000000000000000000")]
    contract: Address,
    /// Account that will register the run.
    #[arg(long, default_value = "0x0000000000000000000000000000000000000000")]
    owner: Address,
    /// Salt of the run id, 32 bytes of hex; random if not given.
    #[arg(long)]
    salt: Option<Salt>,
    /// Train only: no proofs, no run directory; prints the accuracy.
    #[arg(long)]
    no_prove: bool,
    #[command(flatten)]
    memory: Memory,
}

#[derive(Serialize)]
struct Trained {
    run: Option<String>,
    run_dir: Option<PathBuf>,
    params: usize,
    steps: u64,
    loss: Option<f64>,
    test_accuracy: f64,
    train_accuracy: f64,
    step_k: Option<u32>,
    step_columns: Option<usize>,
    step_shape: Option<String>,
    step_prove_ms: Vec<u64>,
    step_proof_bytes: usize,
    step_verify_ms: f64,
    peak_rss_bytes: u64,
    srs: Option<String>,
}

impl Train {
    fn values(&self, lr: f64) -> HyperValues {
        let values = match self.optimizer {
            Optimizer::Adam => return HyperValues::adam(lr),
            Optimizer::Adamw => HyperValues::adam(lr),
            Optimizer::Sgd => HyperValues::sgd(lr, self.momentum),
        };
        HyperValues { weight_decay: self.weight_decay, ..values }
    }

    /// The policy's maximum. The schedule's own maximum is the learning rate itself.
    fn lr_max(&self, config: &TrainConfig) -> anyhow::Result<u64> {
        let Some(lr) = self.lr_max else { return Ok(config.hyper.lr) };
        let max = self.values(lr).quantize(config.rule, config.gradient_scale)?.lr;
        anyhow::ensure!(config.hyper.lr <= max, "--lr {} is above --lr-max {lr}", self.lr);
        Ok(max)
    }

    fn notes(&self, config: &TrainConfig) -> BTreeMap<String, String> {
        let mut notes = BTreeMap::from([
            ("model", format!("mlp {:?}", config.model.sizes())),
            ("batch_size", self.batch.to_string()),
            ("loss_scale_log2", self.loss_scale_log2.to_string()),
        ]);
        // Runs of before there were schedules have no such note and go on.
        if config.lr_schedule != LrSchedule::CONSTANT {
            notes.insert("lr_schedule", config.lr_schedule.to_string());
        }
        notes.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn config(&self, data: &LabelledData) -> anyhow::Result<TrainConfig> {
        let rule = match self.optimizer {
            Optimizer::Adam | Optimizer::Adamw => Rule::AdamW,
            Optimizer::Sgd => Rule::Sgd,
        };
        let decay = match self.lr_schedule {
            LrDecay::Constant => Decay::Constant,
            LrDecay::Cosine => Decay::Cosine,
            LrDecay::Linear => Decay::Linear,
        };
        let gradient_scale = GradientScale::new(self.loss_scale_log2)?;
        let sizes: Vec<usize> = std::iter::once(data.n_features())
            .chain(self.hidden.iter().copied())
            .chain(std::iter::once(data.n_classes()))
            .collect();
        Ok(TrainConfig {
            model: Mlp::new(&sizes)?,
            rule,
            hyper: self.values(self.lr).quantize(rule, gradient_scale)?,
            lr_schedule: LrSchedule::new(decay, self.warmup, self.steps)?,
            gradient_scale,
            batch_size: self.batch,
            seed: Seed(self.seed),
        })
    }

    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let data = LabelledData::read(&self.data, FeatureMax(self.feature_max))
            .with_context(|| format!("dataset {}", self.data.display()))?;
        let config = self.config(&data)?;
        let trained =
            if self.no_prove { self.train_only(out, config, &data)? } else { self.prove(global, out, config, &data)? };
        out.result(&trained, |t| {
            let proved = match (&t.run, &t.run_dir) {
                (Some(run), Some(dir)) => format!(
                    "run {run}\ndirectory {}\n{} steps proved; not proved: {NOT_PROVED}\n",
                    dir.display(),
                    t.steps
                ),
                _ => format!("{} steps, not proved\n", t.steps),
            };
            format!(
                "{proved}{} parameters, loss {:.4}, accuracy {:.1} % (test), {:.1} % (train)",
                t.params,
                t.loss.unwrap_or(f64::NAN),
                100.0 * t.test_accuracy,
                100.0 * t.train_accuracy
            )
        })
    }

    fn train_only(&self, out: &Output, config: TrainConfig, data: &LabelledData) -> anyhow::Result<Trained> {
        let params = config.model.n_params();
        let mut trainer = Trainer::new(config, data)?;
        let bar = progress::bar(out, self.steps, "training");
        let mut loss = None;
        for _ in 0..self.steps {
            loss = Some(trainer.advance()?.loss);
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(Trained {
            run: None,
            run_dir: None,
            params,
            steps: self.steps,
            loss,
            test_accuracy: trainer.accuracy(Subset::Test),
            train_accuracy: trainer.accuracy(Subset::Train),
            step_k: None,
            step_columns: None,
            step_shape: None,
            step_prove_ms: Vec::new(),
            step_proof_bytes: 0,
            step_verify_ms: 0.0,
            peak_rss_bytes: peak_rss(),
            srs: None,
        })
    }

    fn prove(
        &self,
        global: &Global,
        out: &Output,
        config: TrainConfig,
        data: &LabelledData,
    ) -> anyhow::Result<Trained> {
        let home = global.home(out)?.within(&self.memory);
        let lr_max = self.lr_max(&config)?;
        let places = Places { artifacts: self.artifacts.clone(), private: home.private() };
        let parent = self.parent.as_deref().map(|dir| Parent::open(&places, dir)).transpose()?;
        let n_params = config.model.n_params();
        let per_chunk = chunk_len(n_params, self.chunks as usize);
        let shape = match self.step_k {
            None => StepShape::choose(config.rule, per_chunk, 20)?,
            Some(k) => StepShape::choose_at(config.rule, per_chunk, k)?,
        };
        let shape = match &parent {
            // The state columns have to be laid out as the parent's.
            Some(Parent { shape: theirs, .. })
                if self.step_k.is_none() && (theirs.rule, theirs.n_params) == (config.rule, per_chunk) =>
            {
                theirs.clone()
            }
            _ => shape,
        };
        if let Some(parent) = &parent {
            check_model(&parent.run, &parent.shape, config.model.layout(), self.chunks, &shape)?;
        }
        let (srs, key) = home.step_key(&shape)?;
        if !srs.info().secure {
            out.note(format!("{} (fine for trying out, worthless as evidence)", srs::dev::DISCLAIMER));
        }
        let salt = self.salt.unwrap_or_else(|| {
            let mut salt = [0; 32];
            OsRng.fill_bytes(&mut salt);
            Salt(salt)
        });
        let identity =
            RunIdentity { chain_id: ChainId(self.chain_id), contract: self.contract, owner: self.owner, salt };
        let (lineage, start) = match &parent {
            None => (Lineage::Fresh, State::fresh(config.model.init(config.seed))),
            Some(p) => (Lineage::Child, p.state.clone()),
        };
        // Refuses what does not fit before anything is written.
        let mut trainer = Trainer::resume(config.clone(), data, lineage, start.clone(), StepIndex(0))?;
        let plan = RunPlan {
            identity,
            rule: config.rule,
            hyper: config.hyper,
            lr_max,
            layout: config.model.layout().clone(),
            n_chunks: self.chunks,
            epoch_len: EpochLen::try_from(self.epoch_size).map_err(|e| anyhow::anyhow!("--epoch-size: {e}"))?,
            epoch_k: self.epoch_k,
            dataset: Some(Dataset {
                digest: data.digest(),
                name: self.data.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
            }),
            notes: self.notes(&config),
        };
        let (mut session, recovery) = Session::create(&places, &srs, &key, plan, &start, parent.as_ref())?;
        let done = session.steps();
        if done.0 > 0 {
            if !recovery.is_clean() {
                out.note(format!("repaired after an interruption: {recovery:?}"));
            }
            out.note(format!("continuing after {done} steps"));
            trainer = Trainer::resume(config, data, lineage, session.state()?, done)?;
        }
        if done.0 < self.steps {
            session.check_open()?;
        }
        // The parent's lock is held until the child's seed is stored; it may have other children from here on.
        drop(parent);
        let bar = progress::bar(out, self.steps, "training and proving");
        bar.set_position(done.0);
        let (mut prove_ms, mut loss, mut proof_bytes, mut verify_ms) = (Vec::new(), None, 0, 0.0);
        while trainer.step_index().0 < self.steps {
            let step = trainer.advance()?;
            let start = Instant::now();
            let proved =
                session.prove((&srs, &key), &step.before, &step.hyper, &step.gradient, &mut |_, _| bar.tick())?;
            let ms = start.elapsed().as_millis() as u64;
            verify_ms = proved.verify.as_secs_f64() * 1e3;
            anyhow::ensure!(
                proved.next == step.after,
                "step {}: trainer and prover disagree on the next state",
                step.step
            );
            let meta =
                StepMeta { loss: Some(Decimal::from_f64(step.loss)?), prove_ms: Some(ms), ..StepMeta::default() };
            proof_bytes = proved.proofs.iter().map(Vec::len).sum();
            session.append(proved, meta)?;
            prove_ms.push(ms);
            loss = Some(step.loss);
            bar.inc(1);
        }
        bar.finish_and_clear();
        session.write_manifest()?;
        let verifying_key = key.verifying_key();
        let cs = verifying_key.inner().cs();
        let run_dir = session.writer().dir();
        Ok(Trained {
            run: Some(run_dir.run().run().to_string()),
            run_dir: Some(run_dir.path().to_owned()),
            params: n_params,
            steps: session.steps().0,
            loss,
            test_accuracy: trainer.accuracy(Subset::Test),
            train_accuracy: trainer.accuracy(Subset::Train),
            step_k: Some(shape.k),
            step_columns: Some(cs.num_advice_columns()),
            step_shape: Some(shape.to_string()),
            step_prove_ms: prove_ms,
            step_proof_bytes: proof_bytes,
            step_verify_ms: verify_ms,
            peak_rss_bytes: peak_rss(),
            srs: Some(if srs.info().secure { srs.info().label.to_string() } else { srs::dev::DISCLAIMER.to_owned() }),
        })
    }
}

/// Peak resident memory of this process in bytes, 0 where the system does not tell.
pub fn peak_rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
