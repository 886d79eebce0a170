//! Telling a caller how far a proof is, and being told to stop.

use std::ops::ControlFlow;

use crate::error::EngineError;

/// What of a proof comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The circuit fills its columns, which are committed.
    Witness,
    /// Permuted columns of the lookups.
    Lookups,
    /// Running products of permutation and lookups.
    Products,
    /// The random polynomial, and all columns as coefficients.
    Coefficients,
    /// The constraints on one of the cosets.
    Coset {
        /// Which, from 0.
        index: usize,
        /// How many there are.
        of: usize,
    },
    /// The pieces of the quotient.
    Pieces,
    /// Evaluations and the opening.
    Opening,
}

impl Phase {
    /// About how much of a proof's time is over when this begins, 0 to 1: measured on the epoch circuit at k = 21.
    pub fn done(&self) -> f64 {
        match *self {
            Self::Witness => 0.0,
            Self::Lookups => 0.22,
            Self::Products => 0.30,
            Self::Coefficients => 0.46,
            Self::Coset { index, of } => 0.55 + 0.21 * index as f64 / of.max(1) as f64,
            Self::Pieces => 0.76,
            Self::Opening => 0.87,
        }
    }
}

/// Is asked before each phase; `Break` ends the proof with [`EngineError::Cancelled`].
pub trait Watch {
    /// The phase that is about to begin.
    fn next(&mut self, phase: Phase) -> ControlFlow<()>;
}

/// Lets every proof run to its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn next(&mut self, _: Phase) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<F: FnMut(Phase) -> ControlFlow<()>> Watch for F {
    fn next(&mut self, phase: Phase) -> ControlFlow<()> {
        self(phase)
    }
}

/// Asks the watcher.
pub(crate) fn enter(watch: &mut dyn Watch, phase: Phase) -> Result<(), EngineError> {
    match watch.next(phase) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(EngineError::Cancelled { before: phase }),
    }
}
