//! A run's directory, wherever its files are: nothing but them is believed.

use std::collections::BTreeSet;

use circuits::claim::verify_step;
use ledger::{ChunkIndex, RunDescription, StepIndex, TreeSize};
use rand_core::{OsRng, RngCore};
use srs::SrsSize;
use store::{FilesReport, ProofFiles, RunDir, VerifiedLog};

use crate::error::{AuditError, Reason};
use crate::keys::{Keys, StepKey};
use crate::report::{Checks, Progress};
use crate::statements;

/// Which step proofs are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Steps {
    /// Every one.
    All,
    /// So many, chosen at random without repetition.
    Sample(u64),
    /// These.
    These(Vec<u64>),
}

impl Steps {
    /// The positions among `size` steps, in order.
    pub fn of(&self, size: TreeSize) -> Vec<u64> {
        match self {
            Self::These(steps) => steps.clone(),
            Self::Sample(n) if *n < size.0 => {
                let mut chosen = BTreeSet::new();
                while (chosen.len() as u64) < *n {
                    chosen.insert(OsRng.next_u64() % size.0);
                }
                chosen.into_iter().collect()
            }
            Self::All | Self::Sample(_) => (0..size.0).collect(),
        }
    }
}

/// What is verified of a run, and with which keys.
pub struct RunAudit<'a> {
    /// The run.
    pub dir: &'a RunDir,
    /// The keys.
    pub keys: &'a dyn Keys,
    /// The step proofs.
    pub steps: Steps,
    /// The parent's directory, if its log is checked too.
    pub parent: Option<&'a RunDir>,
}

/// What was found of a run that holds.
pub struct Facts {
    /// The log.
    pub log: VerifiedLog,
    /// The manifest, and what was compared with it.
    pub files: FilesReport,
    /// The step key.
    pub step: StepKey,
}

/// Mean time of the proofs of one step, and how many were verified.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepProofs {
    /// Steps.
    pub n_steps: u64,
    /// Milliseconds each.
    pub ms_each: f64,
}

/// A line about a log that holds.
pub fn describe(log: &VerifiedLog) -> String {
    format!("{} steps, {} proof files, {} epochs", log.log.size(), log.n_proofs, log.epochs.len())
}

impl RunAudit<'_> {
    fn run(&self) -> &RunDescription {
        self.dir.run().description()
    }

    /// Log, manifest, keys, links: everything but proofs. `more` makes a caller's checks of log and files, before any key
    /// is made.
    ///
    /// Errors: a failed check; [`AuditError`] where one could not be made.
    pub fn check_files<'c>(
        &self,
        checks: &mut Checks<'c>,
        more: impl FnOnce(&mut Checks<'c>, &VerifiedLog, &FilesReport) -> Result<(), AuditError>,
    ) -> Result<Facts, AuditError> {
        let (dir, run) = (self.dir, self.run());
        let log = dir.verify_log(ProofFiles::Check);
        let log = checks.note("log, records, proof files, tree, epochs", log, describe)?;
        let files = checks.note("manifest", dir.verify_files(), |f| format!("{} bytes", f.bytes))?;
        more(checks, &log, &files)?;
        let step = checks.pass_on(self.keys.step(run))?;
        let digests = format!("policy {}, step key {}", run.policy_digest, run.policy.step_key_digest);
        checks.passed("policy and step key", digests);
        self.check_statements(&log, checks)?;
        if let Some(parent) = self.parent {
            let compared = statements::check_parent_log(parent, dir, &log);
            checks.note("parent's log", compared, |state| format!("ends in {state}"))?;
        }
        Ok(Facts { log, files, step })
    }

    /// Links, schedules and digests of a log.
    ///
    /// Errors: a failed check.
    pub fn check_statements(&self, log: &VerifiedLog, checks: &mut Checks<'_>) -> Result<(), AuditError> {
        let checked = statements::check_log(self.dir, log);
        checks.note("links, schedule, digests", checked, |n| format!("{n} steps")).map(drop)
    }

    /// The chosen step proofs.
    ///
    /// Errors: a failed check.
    pub fn check_steps(
        &self,
        log: &VerifiedLog,
        step: &StepKey,
        checks: &mut Checks<'_>,
    ) -> Result<StepProofs, AuditError> {
        let chosen = self.steps.of(log.log.size());
        let verified = self.verify_steps(log, step, &chosen, checks);
        checks.note("step proofs", verified, |proofs| match &self.steps {
            Steps::These(_) => format!("{} steps, {:.1} ms each", proofs.n_steps, proofs.ms_each),
            _ => format!("{} of {} steps, {:.1} ms each", proofs.n_steps, log.log.size(), proofs.ms_each),
        })
    }

    fn verify_steps(
        &self,
        log: &VerifiedLog,
        step_key: &StepKey,
        chosen: &[u64],
        checks: &mut Checks<'_>,
    ) -> Result<StepProofs, Reason> {
        let (dir, run) = (self.dir, self.run());
        let params = step_key.srs.params(SrsSize::new(step_key.key.shape().k)?);
        let (mut ms, total) = (0.0, chosen.len() as u64);
        for (step, done) in chosen.iter().copied().map(StepIndex).zip(1..) {
            let record = dir.record(&log.log, step)?;
            let proofs = (0..run.policy.n_chunks).map(|c| dir.proof(step, ChunkIndex(c)));
            let proofs = proofs.collect::<Result<Vec<_>, _>>()?;
            let start = checks.now_ms();
            verify_step(&step_key.key, &params, &run.policy, &record.record().statement, &proofs)?;
            ms += checks.now_ms() - start;
            checks.tell(Progress::StepProofs { done, total });
        }
        Ok(StepProofs { n_steps: total, ms_each: ms / chosen.len().max(1) as f64 })
    }
}
