//! Links, schedules and digests: everything that a log's records say of one another's statements.

use circuits::claim::{check_child_start, check_follows, check_start};
use circuits::digest::{state_after, state_digest, step_digest};
use circuits::notes::genesis_products;
use ledger::{FieldElement, Rule, RunDescription, StepIndex, StepRecord, StepStatement, TreeSize};
use store::{ProofFiles, RunDir, VerifiedLog};

use crate::error::Reason;

/// Recomputes every statement digest and state digest of a log, and checks every link and schedule; returns how many steps
/// there are.
///
/// Errors: the first [`Reason`] found.
pub fn check_log(dir: &RunDir, log: &VerifiedLog) -> Result<TreeSize, Reason> {
    let run = dir.run().description();
    let mut before: Option<StepStatement> = None;
    for step in (0..log.log.size().0).map(StepIndex) {
        let record = dir.record(&log.log, step)?.into_record();
        check_link(run, before.as_ref(), &record)?;
        check_digests(&record)?;
        before = Some(record.statement);
    }
    Ok(log.log.size())
}

/// Checks that a record's statement continues the one before or, without one, that it is where the run starts.
///
/// Errors: [`Reason::Claim`], [`Reason::Genesis`], [`Reason::Note`], [`Reason::Convert`].
pub fn check_link(run: &RunDescription, before: Option<&StepStatement>, record: &StepRecord) -> Result<(), Reason> {
    let (rule, s): (Rule, _) = (run.policy.rule, &record.statement);
    let Some(before) = before else {
        let products = genesis_products(run)?;
        match run.parent {
            None => check_start(rule, s)?,
            Some(_) => check_child_start(rule, products, s)?,
        }
        let got = state_digest(products, s.chunks.iter().map(|c| &c.input))?;
        let expected = run.genesis_state;
        return if expected == got { Ok(()) } else { Err(Reason::Genesis { expected, got }) };
    };
    Ok(check_follows(rule, before, s)?)
}

/// Compares a record's digests with its statement.
///
/// Errors: [`Reason::StatementDigest`], [`Reason::StateAfter`], [`Reason::Convert`].
pub fn check_digests(record: &StepRecord) -> Result<(), Reason> {
    let step = record.statement.step;
    let (expected, got) = (step_digest(&record.statement)?, record.digest);
    if expected != got {
        return Err(Reason::StatementDigest { step, expected, got });
    }
    let (expected, got) = (state_after(&record.statement)?, record.state_out);
    if expected != got {
        return Err(Reason::StateAfter { step, expected, got });
    }
    Ok(())
}

/// Checks that the run starts where the log of `parent` ends; returns the state they share.
///
/// Errors: [`Reason::OtherParent`], [`Reason::EmptyParent`], [`Reason::ParentState`], [`Reason::ParentLink`],
/// [`Reason::Store`].
pub fn check_parent_log(parent: &RunDir, dir: &RunDir, log: &VerifiedLog) -> Result<FieldElement, Reason> {
    let (run, id) = (dir.run().description(), parent.run().run());
    if run.parent != Some(id) {
        return Err(Reason::OtherParent { expected: run.parent, got: id });
    }
    let theirs = parent.verify_log(ProofFiles::Check)?;
    let size = theirs.log.size();
    let last = size.0.checked_sub(1).ok_or(Reason::EmptyParent { parent: id })?;
    let last = parent.record(&theirs.log, StepIndex(last))?;
    let last = last.record();
    let (expected, got) = (state_after(&last.statement)?, run.genesis_state);
    if expected != got {
        return Err(Reason::ParentState { size, expected, got });
    }
    if log.log.size().0 > 0 {
        let first = dir.record(&log.log, StepIndex(0))?;
        for ((chunk, a), (_, b)) in last.statement.chunks().zip(first.record().statement.chunks()) {
            let (expected, got) = (a.output, b.input);
            if expected != got {
                return Err(Reason::ParentLink { chunk, expected, got });
            }
        }
    }
    Ok(expected)
}
