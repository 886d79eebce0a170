//! A run's log against itself, its proofs, its epochs and its anchors.
//!
//! Everything here is hashing: that the proofs *hold* is checked by `circuits` and `aggregator`.

use ledger::{Anchor, AnchorLog, Checkpoint, Digest, EpochIndex, EpochRecord, SealedRecord, StepIndex, TreeSize};
use rayon::prelude::*;

use crate::dir::{MAX_PROOF_BYTES, RunDir, root_line};
use crate::error::{Disagreement, StoreError};
use crate::layout::RunFile;
use crate::log::{LogIndex, Tail};

/// How often a read is repeated because a writer moved the checkpoint meanwhile.
const ATTEMPTS: usize = 5;

/// Whether the proof files of steps are read and compared with their records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofFiles {
    /// Every file must be there and have the recorded digest.
    Check,
    /// Only the log itself is looked at.
    Skip,
}

/// A log that was checked.
#[derive(Clone, Debug)]
pub struct VerifiedLog {
    /// The checkpoint, which agrees with the log.
    pub checkpoint: Checkpoint,
    /// The log.
    pub log: LogIndex,
    /// The epochs, in order; each agrees with the log and has its proof.
    pub epochs: Vec<EpochRecord>,
    /// The anchors, each of which agrees with its epoch.
    pub anchors: AnchorLog,
    /// How many proof files of steps were compared with their records.
    pub n_proofs: u64,
}

impl RunDir {
    /// Checks the log: every record canonical and continuing the one before under the run's policy; every
    /// proof the recorded one; checkpoint and `merkle_root.txt` equal to the tree; epochs and anchors in
    /// agreement with the log.
    ///
    /// Spec: `log-verify`.
    ///
    /// **Errors**: the first [`StoreError`] found, by file and line.
    pub fn verify_log(&self, proofs: ProofFiles) -> Result<VerifiedLog, StoreError> {
        let mut attempts = 0;
        let (checkpoint, log, n_proofs) = loop {
            attempts += 1;
            let checkpoint = self.checkpoint()?;
            match self.verify_at(&checkpoint, proofs) {
                Ok((log, n_proofs)) => break (checkpoint, log, n_proofs),
                Err(error) if attempts == ATTEMPTS || self.checkpoint()? == checkpoint => {
                    return Err(error);
                }
                // A writer moved on while we read; what we saw may have been half of the old and half of the new.
                Err(_) => {}
            }
        };
        let mut epochs = Vec::new();
        for epoch in (0..self.n_epochs()?).map(EpochIndex) {
            let record = self.epoch(epoch)?.into_record();
            self.check_epoch(&record, epoch, epochs.last(), &log)?;
            let got = Digest::of(&self.epoch_proof(epoch)?);
            Disagreement::check("SHA-256", record.proof, got)
                .map_err(|source| StoreError::EpochDisagrees { path: self.file(RunFile::EpochProof(epoch)), source })?;
            epochs.push(record);
        }
        let anchors = self.anchors()?;
        for anchor in anchors.anchors() {
            self.check_anchor(anchor, &epochs)?;
        }
        Ok(VerifiedLog { checkpoint, log, epochs, anchors, n_proofs })
    }

    fn verify_at(&self, checkpoint: &Checkpoint, proofs: ProofFiles) -> Result<(LogIndex, u64), StoreError> {
        let mut n_proofs = 0;
        let (log, tail) = self.scan_to(checkpoint, &mut |records| {
            if proofs == ProofFiles::Check {
                n_proofs += check_proofs(self, records)?;
            }
            Ok(())
        })?;
        if tail != Tail::Clean {
            let path = self.file(RunFile::Steps);
            return Err(StoreError::UncommittedTail { path, size: checkpoint.size });
        }
        let text = self.root_text()?;
        if text != root_line(checkpoint.root) {
            let (expected, got) = (checkpoint.root.to_string(), text.trim_end().to_owned());
            let source = Disagreement { field: "root", expected, got };
            return Err(StoreError::RootDisagrees { path: self.file(RunFile::Root), source });
        }
        Ok((log, n_proofs))
    }

    /// Compares an epoch's record with its place, the epoch before it, and the log.
    pub(crate) fn check_epoch(
        &self,
        record: &EpochRecord,
        epoch: EpochIndex,
        before: Option<&EpochRecord>,
        log: &LogIndex,
    ) -> Result<(), StoreError> {
        let path = self.file(RunFile::EpochRecord(epoch));
        let run = self.run().description();
        let (first, n_steps) = (record.first_step, record.n_steps());
        let in_tree = |source| StoreError::EpochTree { path: path.clone(), source };
        let epoch_root = log.tree().subtree_root(first, record.log_steps()).map_err(in_tree)?;
        let root_after = log.tree().root_at(record.size_after()).map_err(in_tree)?;
        let starts_at = before.map_or(TreeSize(0), EpochRecord::size_after).next_step();
        // The tree has these steps, or there would be no root; so all of the following are there.
        let last = StepIndex(record.size_after().0.saturating_sub(1));
        let (state_in, state_out) = (log.state_before(first), log.state_after(last));
        let compared = Disagreement::check("run", run.run, record.run)
            .and_then(|()| Disagreement::check("epoch", epoch, record.epoch))
            .and_then(|()| Disagreement::check("first_step", starts_at, first))
            .and_then(|()| Disagreement::check("policy_digest", run.policy_digest, record.policy_digest))
            .and_then(|()| {
                let shown = |wrap: Option<u32>| wrap.map_or_else(|| "none".to_owned(), |k| k.to_string());
                let expected = before.map_or(record.wrap_k, |before| before.wrap_k);
                Disagreement::check("wrap_k", shown(expected), shown(record.wrap_k))
            })
            .and_then(|()| {
                let fresh = first == StepIndex(0) && run.parent.is_none();
                Disagreement::check("fresh", fresh, record.fresh)
            })
            .and_then(|()| {
                Disagreement::check("state_in", state_in.unwrap_or_default(), record.state_in)?;
                Disagreement::check("state_out", state_out.unwrap_or_default(), record.state_out)?;
                let digests = log.digests(first, n_steps).unwrap_or_default();
                digests
                    .iter()
                    .zip(&record.digests)
                    .try_for_each(|(expected, got)| Disagreement::check("digests", *expected, *got))
            })
            .and_then(|()| Disagreement::check("epoch_root", epoch_root, record.epoch_root))
            .and_then(|()| Disagreement::check("root_after", root_after, record.root_after));
        compared.map_err(|source| StoreError::EpochDisagrees { path: path.clone(), source })
    }

    /// Compares an anchor with its epoch and the run.
    pub(crate) fn check_anchor(&self, anchor: &Anchor, epochs: &[EpochRecord]) -> Result<(), StoreError> {
        let path = self.file(RunFile::Anchors);
        let counter = anchor.counter;
        let at = counter.checked_sub(1).and_then(|at| usize::try_from(at).ok());
        let Some(epoch) = at.and_then(|at| epochs.get(at)) else {
            let n_epochs = epochs.len() as u64;
            return Err(StoreError::AnchorWithoutEpoch { path, counter, n_epochs });
        };
        let identity = self.run().description().identity;
        let compared = Disagreement::check("chain_id", identity.chain_id, anchor.chain_id)
            .and_then(|()| Disagreement::check("contract", identity.contract, anchor.contract))
            .and_then(|()| Disagreement::check("size", epoch.size_after(), anchor.size))
            .and_then(|()| Disagreement::check("root", epoch.root_after, anchor.root))
            .and_then(|()| Disagreement::check("state", epoch.state_out, anchor.state));
        compared.map_err(|source| StoreError::AnchorDisagrees { path, counter, source })
    }
}

/// Compares the proof files of `records` with them, on all cores. Returns how many there were.
pub(crate) fn check_proofs(dir: &RunDir, records: &[SealedRecord]) -> Result<u64, StoreError> {
    let n_chunks = dir.n_chunks();
    let check = |record: &SealedRecord| {
        let step = record.record().step();
        for (chunk, expected) in record.record().proofs() {
            let file = RunFile::proof(step, chunk, n_chunks);
            let got = Digest::of(&dir.read(file, MAX_PROOF_BYTES)?);
            if got != expected {
                return Err(StoreError::ProofDigest { path: dir.file(file), step, chunk, expected, got });
            }
        }
        Ok(record.record().proofs.len() as u64)
    };
    // The first failure in the order of steps, so that a report does not depend on the scheduler.
    let checked: Vec<Result<u64, StoreError>> = records.par_iter().map(check).collect();
    checked.into_iter().sum()
}
