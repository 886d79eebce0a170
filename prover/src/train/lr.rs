//! The learning rate as a function of the step alone, so that a run resumes anywhere.

use ledger::StepIndex;

use super::TrainError;

/// How the learning rate falls after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decay {
    /// Not at all.
    Constant,
    /// In a straight line, to 0 after the last step of the horizon.
    Linear,
    /// Along half a cosine, to 0 after the last step of the horizon.
    ///
    /// Source: Loshchilov & Hutter, arXiv:1608.03983, equation 5, without restarts.
    Cosine,
}

/// A learning-rate schedule: warm-up in a straight line, then decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LrSchedule {
    decay: Decay,
    warmup: u64,
    horizon: u64,
}

impl LrSchedule {
    /// The same learning rate at every step.
    pub const CONSTANT: Self = Self { decay: Decay::Constant, warmup: 0, horizon: 0 };

    /// `warmup`: steps until the full rate. `horizon`: steps of the run in all; not used by [`Decay::Constant`].
    ///
    /// Range: for the others warmup < horizon ≤ 2^52.
    ///
    /// Errors: [`TrainError::Warmup`].
    pub fn new(decay: Decay, warmup: u64, horizon: u64) -> Result<Self, TrainError> {
        match decay {
            Decay::Constant => Ok(Self { decay, warmup, horizon: 0 }),
            Decay::Linear | Decay::Cosine if warmup < horizon && horizon <= 1 << 52 => {
                Ok(Self { decay, warmup, horizon })
            }
            Decay::Linear | Decay::Cosine => Err(TrainError::Warmup { horizon, got: warmup }),
        }
    }

    /// Learning rate of `step`, raw Q32, at most `peak`; 0 past the horizon.
    ///
    /// The warm-up rises to `peak` at its last step. Integers but for the cosine, which is computed without the platform's
    /// mathematics library, so that it is the same everywhere.
    pub fn at(&self, peak: u64, step: StepIndex) -> u64 {
        let t = step.0;
        if t < self.warmup {
            return scaled(peak, t + 1, self.warmup);
        }
        let (left, of) = (self.horizon.saturating_sub(t), self.horizon.saturating_sub(self.warmup));
        match self.decay {
            Decay::Constant => peak,
            Decay::Linear => scaled(peak, left, of),
            Decay::Cosine if left == 0 => 0,
            Decay::Cosine => {
                let done = (of - left) as f64 / of as f64;
                let factor = 0.5 * (1.0 + libm::cos(std::f64::consts::PI * done));
                ((peak as f64 * factor).round_ties_even() as u64).min(peak)
            }
        }
    }
}

/// ⌊peak · n / of⌋.
fn scaled(peak: u64, n: u64, of: u64) -> u64 {
    (u128::from(peak) * u128::from(n) / u128::from(of)) as u64
}

impl std::fmt::Display for LrSchedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.decay {
            Decay::Constant => f.write_str("constant")?,
            Decay::Linear => write!(f, "linear over {} steps", self.horizon)?,
            Decay::Cosine => write!(f, "cosine over {} steps", self.horizon)?,
        }
        if self.warmup > 0 {
            write!(f, ", warm-up {}", self.warmup)?;
        }
        Ok(())
    }
}
