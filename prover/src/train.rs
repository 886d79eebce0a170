//! The reference trainer: a perceptron whose weights *are* the integer state that is proved.
//!
//! Every step dequantizes w, takes the gradient of one mini-batch in f64, quantizes it and applies
//! [`circuits::reference::State::step`]. The whole run is a function of data, model, hyper-parameters and seed; a step
//! depends on nothing but the state before it and its index, so a run resumes anywhere.
//!
//! | module | purpose |
//! |---|---|
//! | `model` | the perceptron, its gradient, quantization |
//! | `lr` | learning-rate schedules |
//! | [`fidelity`] | how far the integer update is from float64 Adam |

use circuits::reference::{RangeError, State};
use ledger::{Hyper, Layout, Rule, Schedule, StepIndex};

use crate::data::{LabelledData, Seed, Split, batch};

pub mod fidelity;
mod lr;
mod model;

pub use lr::{Decay, LrSchedule};
pub use model::{LossGradient, Mlp, UNIT, dequantize, quantize};

/// Why training stopped or cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The layer sizes are not those of a model.
    #[error("layer sizes {got:?}: expected two or more, none zero, and at most {max_params} parameters")]
    Sizes {
        /// Sizes found.
        got: Vec<usize>,
        /// Limit of parameters.
        max_params: u64,
    },
    /// The first layer does not take the features of the data.
    #[error("the model takes {expected} features, the data have {got}")]
    Features {
        /// Size of the first layer.
        expected: usize,
        /// Features in the data.
        got: usize,
    },
    /// The data have more classes than the last layer.
    #[error("the model has {expected} classes, the data have {got}")]
    Classes {
        /// Size of the last layer.
        expected: usize,
        /// Classes in the data.
        got: usize,
    },
    /// The batch size is 0 or larger than the training set.
    #[error("batch size {got} is outside 1..={max}, the number of training rows")]
    BatchSize {
        /// Batch size found.
        got: usize,
        /// Rows to train on.
        max: usize,
    },
    /// The state is of another model.
    #[error("the state has {got} parameters, the model {expected}")]
    StateLength {
        /// Parameters of the model.
        expected: usize,
        /// Length of the state.
        got: usize,
    },
    /// A hyper-parameter cannot be represented.
    #[error("{what} = {value} is outside {range}")]
    HyperValue {
        /// Name of the hyper-parameter.
        what: &'static str,
        /// Value found.
        value: f64,
        /// Allowed values.
        range: &'static str,
    },
    /// A gradient scale is too large.
    #[error("gradient scale 2^{got} is outside 2^0..=2^16")]
    GradientScale {
        /// Logarithm found.
        got: u32,
    },
    /// The warm-up does not fit in the schedule.
    #[error("warm-up of {got} steps: expected fewer than the {horizon} steps of the schedule, and these at most 2^52")]
    Warmup {
        /// Steps of the schedule.
        horizon: u64,
        /// Steps of the warm-up.
        got: u64,
    },
    /// A comparison with float64 Adam was asked for another rule.
    #[error("expected rule AdamW, got {got:?}")]
    NotAdam {
        /// Rule found.
        got: Rule,
    },
    /// A gradient is outside format `q24`.
    #[error("step {}: scaled gradient of {tensor}[{index}] = {value} is outside −128 ≤ g < 128 (q24)", .step.0)]
    GradientRange {
        /// Step.
        step: StepIndex,
        /// Name of the tensor.
        tensor: String,
        /// Index inside it.
        index: u64,
        /// Value found, after scaling.
        value: f64,
    },
    /// The update of a parameter has no result in format `q24`.
    #[error("step {}: {tensor}[{index}]: {source}", .step.0)]
    Update {
        /// Step.
        step: StepIndex,
        /// Name of the tensor.
        tensor: String,
        /// Index inside it.
        index: u64,
        /// Quantity, index among all parameters, and value.
        source: RangeError,
    },
    /// The update refuses hyper-parameters or lengths.
    #[error("step {}: {source}", .step.0)]
    Reference {
        /// Step.
        step: StepIndex,
        /// What the reference said.
        source: RangeError,
    },
}

/// Base-2 logarithm of the factor by which the loss is multiplied before its gradient is quantized.
///
/// AdamW does not depend on the scale of its gradients, if ε is scaled alike, and SGD does not if its learning rate is divided
/// by it; but m and v keep fractions of a gradient, which vanish below 2^−24 and 2^−48. A scaled loss uses the range that
/// gradients leave free: with 2^6 the weights stay about 50 times closer to float64 Adam's (`docs/`), and |g| < 2.
///
/// Range: 0..=16; checked by [`GradientScale::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GradientScale(u32);

impl GradientScale {
    /// No scaling: |g| < 128.
    pub const ONE: Self = Self(0);

    /// Checks the range.
    ///
    /// Errors: [`TrainError::GradientScale`].
    pub fn new(log2: u32) -> Result<Self, TrainError> {
        if log2 <= 16 { Ok(Self(log2)) } else { Err(TrainError::GradientScale { got: log2 }) }
    }

    /// The logarithm.
    pub fn log2(self) -> u32 {
        self.0
    }

    /// The factor, exactly.
    pub fn factor(self) -> f64 {
        f64::from(1u32 << self.0)
    }
}

impl Default for GradientScale {
    /// 2^6: gradients of a mean cross-entropy with inputs in 0..=1 stay below 1.
    fn default() -> Self {
        Self(6)
    }
}

/// What a run trains, apart from its data.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// The model.
    pub model: Mlp,
    /// Update rule.
    pub rule: Rule,
    /// Hyper-parameters, for gradients scaled by `gradient_scale` ([`HyperValues::quantize`]).
    /// Its learning rate is the schedule's peak.
    pub hyper: Hyper,
    /// The learning rate of each step.
    pub lr_schedule: LrSchedule,
    /// Factor of the loss.
    pub gradient_scale: GradientScale,
    /// Rows per step.
    pub batch_size: usize,
    /// Source of initial weights, split and order of batches.
    pub seed: Seed,
}

/// Whether step 0 of a run starts from nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lineage {
    /// No parent: step 0 is `fresh`, m = v = 0.
    Fresh,
    /// The run continues the anchored state of a parent.
    Child,
}

/// Everything that one step's proof needs, and its loss.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainedStep {
    /// Position in the run.
    pub step: StepIndex,
    /// Whether the statement forces m = v = 0.
    pub fresh: bool,
    /// State before.
    pub before: State,
    /// Gradient of the scaled loss, raw Q24, in the order of the layout.
    pub gradient: Vec<i64>,
    /// State after.
    pub after: State,
    /// Hyper-parameters used.
    pub hyper: Hyper,
    /// Bias corrections used.
    pub schedule: Schedule,
    /// Mean cross-entropy of the batch under the weights before, nats.
    pub loss: f64,
}

/// A training run: an endless iterator over its steps. It stops for good at the first error, which it yields.
#[derive(Clone, Debug)]
pub struct Trainer<'d> {
    config: TrainConfig,
    data: &'d LabelledData,
    split: Split,
    lineage: Lineage,
    state: State,
    step: StepIndex,
    failed: bool,
}

/// Which rows an accuracy is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subset {
    /// Rows trained on.
    Train,
    /// Rows set apart.
    Test,
}

impl<'d> Trainer<'d> {
    /// A fresh run from the initial weights of the configuration's seed.
    ///
    /// Errors: those of [`Self::resume`].
    pub fn new(config: TrainConfig, data: &'d LabelledData) -> Result<Self, TrainError> {
        let state = State::fresh(config.model.init(config.seed));
        Self::resume(config, data, Lineage::Fresh, state, StepIndex(0))
    }

    /// The run of `config` whose next step is `step` and starts from `state`.
    ///
    /// Errors: `Features`, `Classes`, `BatchSize`, `StateLength`, when data, model and state do not fit.
    pub fn resume(
        config: TrainConfig,
        data: &'d LabelledData,
        lineage: Lineage,
        state: State,
        step: StepIndex,
    ) -> Result<Self, TrainError> {
        let sizes = config.model.sizes();
        let (expected, got) = (sizes[0], data.n_features());
        if expected != got {
            return Err(TrainError::Features { expected, got });
        }
        let (expected, got) = (sizes[sizes.len() - 1], data.n_classes());
        if got > expected {
            return Err(TrainError::Classes { expected, got });
        }
        let split = data.split(config.seed);
        let (got, max) = (config.batch_size, split.train.len());
        if !(1..=max).contains(&got) {
            return Err(TrainError::BatchSize { got, max });
        }
        let (expected, got) = (config.model.n_params(), state.len());
        if expected != got {
            return Err(TrainError::StateLength { expected, got });
        }
        Ok(Self { config, data, split, lineage, state, step, failed: false })
    }

    /// The state before the next step.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The next step.
    pub fn step_index(&self) -> StepIndex {
        self.step
    }

    /// Names, shapes and offsets of the parameters.
    pub fn layout(&self) -> &Layout {
        self.config.model.layout()
    }

    /// The configuration.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Training and test rows.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// Share of rows that the present weights classify rightly, 0..=1.
    pub fn accuracy(&self, subset: Subset) -> f64 {
        let rows = match subset {
            Subset::Train => &self.split.train,
            Subset::Test => &self.split.test,
        };
        self.config.model.accuracy(&dequantize(&self.state.w), self.data, rows)
    }

    /// Loss, and gradient of the scaled loss, in f64, of the next step's batch under `params`.
    fn loss_gradient(&self, params: &[f64]) -> LossGradient {
        let rows = batch(&self.split.train, self.config.batch_size, self.config.seed, self.step);
        let mut result = self.config.model.loss_gradient(params, self.data, &rows);
        let factor = self.config.gradient_scale.factor();
        result.gradient.iter_mut().for_each(|g| *g *= factor);
        result
    }

    /// Trains one step.
    ///
    /// Errors: `GradientRange`, `Update` naming tensor, index and value; `Reference` for hyper-parameters. State and step are
    /// unchanged then.
    pub fn advance(&mut self) -> Result<TrainedStep, TrainError> {
        let step = self.step;
        let LossGradient { loss, gradient } = self.loss_gradient(&dequantize(&self.state.w));
        let gradient = quantize(&gradient).map_err(|(param, value)| {
            let (tensor, index) = self.locate(param);
            TrainError::GradientRange { step, tensor, index, value }
        })?;
        let fresh = step == StepIndex(0) && self.lineage == Lineage::Fresh;
        let TrainConfig { rule, hyper: peak, lr_schedule, .. } = self.config;
        let hyper = Hyper { lr: lr_schedule.at(peak.lr, step), ..peak };
        let (after, schedule) = self.state.step(rule, fresh, &hyper, &gradient).map_err(|e| self.explain(step, e))?;
        let before = std::mem::replace(&mut self.state, after.clone());
        self.step = StepIndex(step.0 + 1);
        Ok(TrainedStep { step, fresh, before, gradient, after, hyper, schedule, loss })
    }

    fn locate(&self, param: usize) -> (String, u64) {
        match self.layout().locate(param as u64) {
            Some((tensor, index)) => (tensor.name.clone(), index),
            None => ("parameters".into(), param as u64),
        }
    }

    fn explain(&self, step: StepIndex, source: RangeError) -> TrainError {
        let param = match source {
            RangeError::Signed { index, .. }
            | RangeError::SecondMoment { index, .. }
            | RangeError::Root { index, .. }
            | RangeError::NotFresh { index, .. } => index,
            _ => return TrainError::Reference { step, source },
        };
        let (tensor, index) = self.locate(param);
        TrainError::Update { step, tensor, index, source }
    }
}

impl Iterator for Trainer<'_> {
    type Item = Result<TrainedStep, TrainError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.advance();
        self.failed = step.is_err();
        Some(step)
    }
}

/// Hyper-parameters as people write them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HyperValues {
    /// Learning rate.
    pub lr: f64,
    /// β1, or the momentum of SGD.
    pub beta1: f64,
    /// β2; 0 for SGD.
    pub beta2: f64,
    /// ε; 0 for SGD.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
}

impl HyperValues {
    /// Adam's usual values with the given learning rate. ε is 1e-8, 43 units of 2^−32.
    ///
    /// Source: Kingma & Ba, arXiv:1412.6980, Algorithm 1.
    pub fn adam(lr: f64) -> Self {
        Self { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }

    /// SGD with momentum.
    pub fn sgd(lr: f64, momentum: f64) -> Self {
        Self { lr, beta1: momentum, beta2: 0.0, eps: 0.0, weight_decay: 0.0 }
    }

    /// Raw values for gradients scaled by `scale`: Q32, rounded to nearest; an ε above 0 is at least 1 unit.
    ///
    /// AdamW: ε is multiplied by the scale. SGD: the learning rate is divided by it, and the (coupled) weight decay multiplied.
    ///
    /// Errors: [`TrainError::HyperValue`] naming the first that is outside the range of `rule`.
    pub fn quantize(&self, rule: Rule, scale: GradientScale) -> Result<Hyper, TrainError> {
        const ONE: f64 = Hyper::ONE as f64;
        let raw = |what, value: f64, factor: f64, max: f64, range| {
            let scaled = (value * factor * ONE).round_ties_even();
            if value >= 0.0 && scaled <= max {
                Ok(scaled as u64)
            } else {
                Err(TrainError::HyperValue { what, value, range })
            }
        };
        let below_one = |what, value, factor| raw(what, value, factor, ONE - 1.0, "0 ≤ x < 1 (after scaling)");
        let factor = scale.factor();
        let beta1 = below_one("beta1", self.beta1, 1.0)?;
        match rule {
            Rule::AdamW => {
                let range = "0 < x ≤ 1 (after scaling)";
                let eps = raw("eps", self.eps, factor, ONE, range)?;
                if self.eps == 0.0 {
                    return Err(TrainError::HyperValue { what: "eps", value: self.eps, range });
                }
                Ok(Hyper {
                    beta1,
                    beta2: below_one("beta2", self.beta2, 1.0)?,
                    eps: eps.max(1),
                    lr: below_one("lr", self.lr, 1.0)?,
                    weight_decay: below_one("weight_decay", self.weight_decay, 1.0)?,
                })
            }
            Rule::Sgd => {
                let zero = |what, value| raw(what, value, 1.0, 0.0, "0 (SGD does not use it)");
                Ok(Hyper {
                    beta1,
                    beta2: zero("beta2", self.beta2)?,
                    eps: zero("eps", self.eps)?,
                    lr: below_one("lr", self.lr, 1.0 / factor)?,
                    weight_decay: below_one("weight_decay", self.weight_decay, factor)?,
                })
            }
        }
    }
}
