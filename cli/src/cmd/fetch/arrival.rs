//! What arrived, against its manifest and the chain.

use std::path::Path;

use audit::chain::compare;
use audit::run::describe;
use audit::{Check, Checks, Reason};
use ledger::{Digest, Root, RunId, StepIndex, TreeSize};
use store::layout::RunFile;
use store::{ProofFiles, RunDir, StoreError, VerifiedLog};
use torrent::swarm::SwarmError;

use super::source::Found;
use crate::cmd::verify::{Verify, checks};
use crate::cmd::{Global, block_on};
use crate::output::Output;
use crate::rpc;

/// Files that have the torrent's v1 hashes, which says nothing about the run yet.
pub struct Arrival<'a> {
    /// Where they are.
    pub dir: &'a Path,
    /// The run that they should be.
    pub run: RunId,
    /// What the chain says.
    pub found: &'a Found,
    /// Whether they have the torrent's v2 roots, too.
    pub roots: Result<(), SwarmError>,
    /// The steps whose proofs are here; all if none.
    pub sampled: Option<&'a [u64]>,
}

/// A run that holds.
pub struct Held {
    /// Its steps.
    pub steps: TreeSize,
    /// Its root on chain, if one was asked.
    pub root: Option<Root>,
}

impl Arrival<'_> {
    /// Makes every check; those made are left in `made`, also if one fails.
    ///
    /// Errors: a failed check; the node fails.
    pub fn check(
        &self,
        with_proofs: bool,
        global: &Global,
        out: &Output,
        made: &mut Vec<Check>,
    ) -> anyhow::Result<Held> {
        let mut checks = checks(out);
        let held = self.all(with_proofs, global, out, &mut checks);
        *made = checks.into_made();
        held
    }

    fn all(&self, with_proofs: bool, global: &Global, out: &Output, checks: &mut Checks<'_>) -> anyhow::Result<Held> {
        let roots = self.roots.clone().map_err(Reason::other);
        checks.note("v2 roots", roots, |()| "those of the torrent".to_owned())?;
        // A file that is no run is the bundle's fault.
        let dir = checks.note("run.json", RunDir::open(self.dir), |dir| dir.run().run().to_string())?;
        let same = if dir.run().run() == self.run {
            Ok(())
        } else {
            Err(format!("expected {}, got {}", self.run, dir.run().run()))
        };
        checks.note("run", same, |()| self.run.to_string())?;
        if let Some(bundle) = self.found.announced() {
            let path = dir.file(RunFile::Manifest);
            let bytes =
                checks.note("manifest is there", std::fs::read(path), |bytes| format!("{} bytes", bytes.len()))?;
            let got = Digest::of(&bytes);
            let same = if got == bundle.manifest_digest {
                Ok(())
            } else {
                Err(format!("announced {}, got {got}", bundle.manifest_digest))
            };
            checks.note("announced manifest", same, |()| got.to_string())?;
        }
        let log = match self.sampled {
            None => {
                checks.note("manifest", dir.verify_files(), |files| format!("{} bytes", files.bytes))?;
                checks.note("log, records, proof files, tree, epochs", dir.verify_log(ProofFiles::Check), describe)?
            }
            Some(steps) => {
                checks.note("manifest", sampled_files(&dir), |n| format!("{n} files of the sample"))?;
                let log = checks.note("log, records, tree, epochs", dir.verify_log(ProofFiles::Skip), describe)?;
                let proofs = sampled_proofs(&dir, &log, steps);
                checks.note("proof files of the sample", proofs, |n| format!("{n} files of {} steps", steps.len()))?;
                log
            }
        };
        let steps = log.log.size();
        let mut root = None;
        if let Some(bundle) = self.found.announced() {
            let same =
                if steps == bundle.size { Ok(()) } else { Err(format!("announced {}, got {steps}", bundle.size)) };
            checks.note("announced steps", same, |()| steps.to_string())?;
        }
        if let Some((rpc, place)) = self.found.chain() {
            let run = dir.run().description();
            let compared = block_on(async {
                let client = rpc::connect(rpc).await?;
                Ok(compare(&client, place, run, &log, checks).await?)
            })?;
            root = Some(compared.root);
        }
        if with_proofs {
            let verify = Verify::proofs(self.dir);
            match self.sampled {
                None => verify.check(global, out, checks)?,
                Some(steps) => verify.check_steps(global, out, &dir, &log, steps, checks)?,
            }
        }
        Ok(Held { steps, root })
    }
}

/// Compares the files of the manifest that are here with it.
fn sampled_files(dir: &RunDir) -> Result<usize, Reason> {
    let mut n_files = 0;
    for entry in dir.manifest()?.files() {
        let path = dir.path().join(entry.path.as_str());
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        let got = Digest::of(&bytes);
        if got != entry.sha256 {
            return Err(format!("{}: expected {}, got {got}", entry.path, entry.sha256).into());
        }
        n_files += 1;
    }
    Ok(n_files)
}

/// Compares the proofs of `steps` with their records.
fn sampled_proofs(dir: &RunDir, log: &VerifiedLog, steps: &[u64]) -> Result<u64, StoreError> {
    let mut n_files = 0;
    for step in steps.iter().copied().map(StepIndex) {
        let record = dir.record(&log.log, step)?;
        for (chunk, expected) in record.record().proofs() {
            let got = Digest::of(&dir.proof(step, chunk)?);
            if got != expected {
                let path = dir.file(RunFile::proof(step, chunk, dir.run().description().policy.n_chunks));
                return Err(StoreError::ProofDigest { path, step, chunk, expected, got });
            }
            n_files += 1;
        }
    }
    Ok(n_files)
}
