//! Whether a weights file, with its opening, is the state that a run had.

use circuits::weights::{Opening, from_safetensors};
use ledger::{FieldElement, RunDescription};
use srs::{Srs, SrsSize, dev};

use crate::error::{AuditError, Reason};
use crate::keys::StepKey;
use crate::report::Checks;

/// The state that weights are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedState {
    /// Its index: the state before step `index`.
    pub index: u64,
    /// Its digest.
    pub digest: FieldElement,
}

/// The index of the state that an opening is of, before anything of it is checked.
///
/// Errors: a failed check `opening`.
pub fn state_of(opening: &[u8]) -> Result<u64, AuditError> {
    Ok(parse(opening).map_err(|reason| AuditError::failed("opening", reason))?.state)
}

fn parse(opening: &[u8]) -> Result<Opening, Reason> {
    serde_json::from_slice(opening).map_err(Reason::other)
}

/// Compares weights with a state of the run. The reference string's powers are made here if it is the development string,
/// unless the key comes with all of it.
///
/// Errors: a failed check; the reference string is not at hand.
pub fn check(
    run: &RunDescription,
    step: &StepKey,
    expected: ExpectedState,
    (weights, opening): (&[u8], &[u8]),
    checks: &mut Checks<'_>,
) -> Result<(), AuditError> {
    let parsed = parse(opening).and_then(|opening| {
        Reason::same("run", &run.run, &opening.run)?;
        Reason::same("state", &expected.index, &opening.state)?;
        Ok(opening)
    });
    let opening = checks.note("opening", parsed, |opening| format!("of state {}", opening.state))?;
    let w = from_safetensors(&run.layout, weights);
    let w = checks.note("weights file", w, |w| format!("{} parameters, exact in q24", w.len()))?;
    let made;
    let srs: &Srs = match &step.whole {
        Some(srs) => srs,
        None if step.srs.is_development() => {
            made = dev::generate(SrsSize::new(step.key.shape().k)?, &srs::silent)?;
            &made
        }
        None => {
            checks.not_covered("weights", "needs the powers of the reference string: `cairn check-weights` has them");
            return Ok(());
        }
    };
    let n_chunks = run.policy.n_chunks as usize;
    let compared = opening.check(srs.params(), &step.key, n_chunks, expected.digest, w);
    checks.note("weights", compared, |()| {
        format!("these are the weights at state {} of run {}, digest {}", expected.index, run.run, expected.digest)
    })
}
