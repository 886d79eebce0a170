//! All checks of a capsule, one after the other.

use ledger::{Digest, StepIndex};

use super::read::Capsule;
use crate::epochs;
use crate::error::{AuditError, Reason};
use crate::report::Checks;
use crate::run::{Facts, RunAudit, Steps};
use crate::weights::{self, ExpectedState};

impl Capsule {
    /// Makes every check of a capsule that this build can make, without asking anybody; says which it cannot.
    ///
    /// `block_hash`: the one that its block has to have.
    ///
    /// Errors: a failed check.
    pub fn audit(&self, steps: Steps, block_hash: Option<Digest>, checks: &mut Checks<'_>) -> Result<(), AuditError> {
        let dir = checks.pass_on(self.run())?;
        let run = dir.run().description();
        let audit = RunAudit { dir: &dir, keys: self, steps, parent: None };
        let Facts { log, step, .. } = audit.check_files(checks, |checks, log, files| {
            checks.note("capsule", self.check_run(log, files), |()| self.describe(None))
        })?;
        audit.check_steps(&log, &step, checks)?;
        epochs::check(self, &dir, &log, &step, checks)?;
        let evidence = checks.pass_on(self.evidence())?;
        evidence.note(run, &log, block_hash, checks)?;
        #[cfg(feature = "native")]
        {
            let n = checks.pass_on(self.check_verifiers(run, None))?;
            let detail = format!("{n} verifiers, with every number of key and reference string");
            checks.passed("contract sources, verifier code", detail);
        }
        #[cfg(not(feature = "native"))]
        {
            checks.pass_on(self.check_sources())?;
            checks.passed("contract sources", "those that this program was built with");
            let n = checks.pass_on(self.check_verifier_numbers(run))?;
            checks.passed("epoch keys", format!("{n} verifiers, each with its key's digest and τH"));
            checks.not_covered("verifier code", "`cairn verify --capsule` makes it from the key and compares");
        }
        Ok(())
    }

    /// Whether a weights file with its opening is a state of the capsule's run. Log and keys are checked for that, proofs
    /// are not.
    ///
    /// Errors: a failed check.
    pub fn check_weights(&self, weights: &[u8], opening: &[u8], checks: &mut Checks<'_>) -> Result<(), AuditError> {
        let dir = checks.pass_on(self.run())?;
        let run = dir.run().description();
        let audit = RunAudit { dir: &dir, keys: self, steps: Steps::Sample(0), parent: None };
        let Facts { log, step, .. } = audit.check_files(checks, |_, _, _| Ok(()))?;
        let evidence = checks.pass_on(self.evidence())?;
        evidence.note(run, &log, None, checks)?;
        let index = checks.pass_on(weights::state_of(opening))?;
        let digest = log.log.state_before(StepIndex(index)).ok_or_else(|| Reason::Differs {
            what: "state of the opening",
            expected: format!("at most {}", log.log.size()),
            got: index.to_string(),
        });
        let digest = checks.note("state", digest, |digest| format!("state {index} is {digest}"))?;
        weights::check(run, &step, ExpectedState { index, digest }, (weights, opening), checks)
    }
}
