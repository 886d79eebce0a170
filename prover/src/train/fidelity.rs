//! How far the integer update is from float64 Adam. Figures for `docs/`; nothing that is proved depends on this.

use circuits::reference::State;
use ledger::{Hyper, Rule, StepIndex};
use rand_core::RngCore;

use super::{GradientScale, Subset, TrainConfig, TrainError, Trainer, dequantize, quantize};
use crate::data::{LabelledData, Seed, derived_rng};

/// 2^32, the denominator of hyper-parameters.
const ONE: f64 = Hyper::ONE as f64;

/// AdamW in f64 with the hyper-parameters' exact raw values, as the float world computes it.
///
/// Source: Loshchilov & Hutter, arXiv:1711.05101, Algorithm 2 (decoupled decay, constant learning rate).
#[derive(Clone, Debug)]
pub struct FloatAdam {
    /// Weights.
    pub w: Vec<f64>,
    m: Vec<f64>,
    v: Vec<f64>,
    power1: f64,
    power2: f64,
}

impl FloatAdam {
    /// A fresh state.
    pub fn new(w: Vec<f64>) -> Self {
        let n = w.len();
        Self { w, m: vec![0.0; n], v: vec![0.0; n], power1: 1.0, power2: 1.0 }
    }

    /// One step. `gradient` has one entry a parameter.
    pub fn step(&mut self, hyper: &Hyper, gradient: &[f64]) {
        let raw = |x: u64| x as f64 / ONE;
        let (b1, b2, lr) = (raw(hyper.beta1), raw(hyper.beta2), raw(hyper.lr));
        self.power1 *= b1;
        self.power2 *= b2;
        for (i, &g) in gradient.iter().enumerate() {
            self.m[i] = b1 * self.m[i] + (1.0 - b1) * g;
            self.v[i] = b2 * self.v[i] + (1.0 - b2) * g * g;
            let m = self.m[i] / (1.0 - self.power1);
            let v = self.v[i] / (1.0 - self.power2);
            self.w[i] -= lr * m / (v.sqrt() + raw(hyper.eps)) + lr * raw(hyper.weight_decay) * self.w[i];
        }
    }
}

/// Distance of two vectors of weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deviation {
    /// Largest difference.
    pub max: f64,
    /// Root of the mean square difference.
    pub rms: f64,
}

impl Deviation {
    fn between(a: &[f64], b: &[f64]) -> Self {
        let differences = || a.iter().zip(b).map(|(a, b)| (a - b).abs());
        let max = differences().fold(0.0, f64::max);
        let mean_square = differences().map(|d| d * d).sum::<f64>() / a.len().max(1) as f64;
        Self { max, rms: mean_square.sqrt() }
    }
}

/// Result of [`compare`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fidelity {
    /// Steps trained.
    pub n_steps: u64,
    /// Test accuracy of the integer run, 0..=1.
    pub integer_accuracy: f64,
    /// Test accuracy of the float64 run, 0..=1.
    pub float_accuracy: f64,
    /// Weights of the integer run against those of a float64 run with gradients of its own.
    pub independent: Deviation,
    /// Weights of the integer run against float64 Adam fed with the integer run's gradients: the arithmetic alone.
    pub same_gradients: Deviation,
}

/// Trains `n_steps` in integers and in float64 from the same weights with the same batches.
///
/// Both see the gradient of the scaled loss: in f64 a power of two changes nothing but the exponents.
///
/// Errors: `NotAdam`; those of the trainer.
pub fn compare(config: &TrainConfig, data: &LabelledData, n_steps: u64) -> Result<Fidelity, TrainError> {
    if config.rule != Rule::AdamW {
        return Err(TrainError::NotAdam { got: config.rule });
    }
    let mut integer = Trainer::new(config.clone(), data)?;
    let start = dequantize(&integer.state().w);
    let (mut float, mut driven) = (FloatAdam::new(start.clone()), FloatAdam::new(start));
    for _ in 0..n_steps {
        // Before the integer run advances, so that both take the batch of the same step.
        let gradient = integer.loss_gradient(&float.w).gradient;
        float.step(&config.hyper, &gradient);
        let step = integer.advance()?;
        driven.step(&config.hyper, &dequantize(&step.gradient));
    }
    let w = dequantize(&integer.state().w);
    Ok(Fidelity {
        n_steps,
        integer_accuracy: integer.accuracy(Subset::Test),
        float_accuracy: config.model.accuracy(&float.w, data, &integer.split().test),
        independent: Deviation::between(&w, &float.w),
        same_gradients: Deviation::between(&w, &driven.w),
    })
}

/// How the signs of synthetic gradients behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signs {
    /// Every parameter's gradient keeps its sign: the moments add up.
    Steady,
    /// Signs are coin flips: the first moment hovers around 0.
    Random,
}

/// Result of [`small_gradients`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmallGradients {
    /// Updates compared: steps times parameters.
    pub n_updates: u64,
    /// Largest |integer update| / |float update|; the quotient is large by nature where the float update crosses 0.
    pub max_ratio: f64,
    /// Largest |integer update| − 2·|float update|, in learning rates: above 0 an update exceeded the float one more than twofold.
    pub max_excess: f64,
}

/// Feeds Adam without weight decay the same gradients of magnitude 0.5 to 1.5 times `scale` in integers and in float64, and compares
/// every single update.
///
/// `hyper` is for gradients scaled by `gradient_scale`, and both sides are fed with scaled ones, as in training.
///
/// Errors: `GradientRange`; `Reference` if a hyper-parameter or an update is out of range.
pub fn small_gradients(
    hyper: &Hyper,
    gradient_scale: GradientScale,
    signs: Signs,
    scale: f64,
    n_params: usize,
    n_steps: u64,
    seed: Seed,
) -> Result<SmallGradients, TrainError> {
    let hyper = Hyper { weight_decay: 0, ..*hyper };
    let mut rng = derived_rng(seed, "small gradients", 0);
    let mut state = State::fresh(vec![0; n_params]);
    let mut float = FloatAdam::new(vec![0.0; n_params]);
    let lr = hyper.lr as f64 / ONE;
    let mut result = SmallGradients { n_updates: 0, max_ratio: 0.0, max_excess: f64::NEG_INFINITY };
    for step in (0..n_steps).map(StepIndex) {
        let gradient: Vec<f64> = (0..n_params)
            .map(|i| {
                let draw = rng.next_u64();
                let magnitude = scale * gradient_scale.factor() * (0.5 + (draw >> 11) as f64 / (1u64 << 53) as f64);
                let negative = match signs {
                    Signs::Steady => i % 2 == 1,
                    Signs::Random => draw & 1 == 1,
                };
                if negative { -magnitude } else { magnitude }
            })
            .collect();
        let raw = quantize(&gradient).map_err(|(param, value)| {
            let tensor = "synthetic".into();
            TrainError::GradientRange { step, tensor, index: param as u64, value }
        })?;
        let fresh = step == StepIndex(0);
        let (next, _) =
            state.step(Rule::AdamW, fresh, &hyper, &raw).map_err(|source| TrainError::Reference { step, source })?;
        let before = float.w.clone();
        float.step(&hyper, &gradient);
        let integer_updates = dequantize(&next.w).into_iter().zip(dequantize(&state.w));
        let float_updates = float.w.iter().zip(&before);
        for ((next, last), (float_next, float_last)) in integer_updates.zip(float_updates) {
            let (integer, float) = ((next - last).abs(), (float_next - float_last).abs());
            result.max_ratio = result.max_ratio.max(integer / float.max(f64::MIN_POSITIVE));
            result.max_excess = result.max_excess.max((integer - 2.0 * float) / lr);
            result.n_updates += 1;
        }
        state = next;
    }
    Ok(result)
}
