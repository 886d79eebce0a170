//! A multi-layer perceptron in f64: forward, softmax cross-entropy, backward.
//!
//! Single-threaded, sums in a fixed order, `exp` and `log` from `libm`: the same weights and rows give the same bits on every
//! machine.

use circuits::reference::SIGNED_LIMIT;
use ledger::Layout;
use rand_core::RngCore;

use super::TrainError;
use crate::data::{LabelledData, Seed, derived_rng};

/// One unit of w and g is 2^−24.
pub const UNIT: f64 = 1.0 / (1u64 << 24) as f64;
/// Largest number of parameters: 2^24, far above what one step proof takes.
const MAX_PARAMS: u64 = 1 << 24;

/// Layer sizes from inputs to classes, such as 64-32-10, with ReLU between layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mlp {
    sizes: Vec<usize>,
    layout: Layout,
}

/// Loss and its gradient on one batch.
#[derive(Clone, Debug, PartialEq)]
pub struct LossGradient {
    /// Mean cross-entropy, nats.
    pub loss: f64,
    /// Its derivative by every parameter, in the order of the layout.
    pub gradient: Vec<f64>,
}

/// Weights and bias of one layer inside the vector of parameters.
#[derive(Clone, Copy)]
struct Layer {
    n_in: usize,
    n_out: usize,
    weight: usize,
    bias: usize,
}

impl Mlp {
    /// A model of the given layer sizes.
    ///
    /// Layout: `fc1.weight [out, in]`, `fc1.bias [out]`, `fc2.weight` … row-major, one after the other.
    ///
    /// Errors: [`TrainError::Sizes`] if there are fewer than two sizes, one is zero, or there are too many parameters.
    pub fn new(sizes: &[usize]) -> Result<Self, TrainError> {
        let refuse = || TrainError::Sizes { got: sizes.to_vec(), max_params: MAX_PARAMS };
        if sizes.len() < 2 || sizes.contains(&0) || sizes.iter().any(|&s| s as u64 > MAX_PARAMS) {
            return Err(refuse());
        }
        let tensors = sizes.windows(2).enumerate().flat_map(|(i, pair)| {
            let (n_in, n_out) = (pair[0] as u64, pair[1] as u64);
            let name = |part| format!("fc{}.{part}", i + 1);
            [(name("weight"), vec![n_out, n_in]), (name("bias"), vec![n_out])]
        });
        let layout = Layout::contiguous(tensors).map_err(|_| refuse())?;
        if layout.n_params() > MAX_PARAMS {
            return Err(refuse());
        }
        Ok(Self { sizes: sizes.to_vec(), layout })
    }

    /// Layer sizes.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Names, shapes and offsets of the parameters.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of parameters.
    pub fn n_params(&self) -> usize {
        self.layers().map(|l| (l.n_in + 1) * l.n_out).sum()
    }

    /// Initial raw weights: biases 0, weights uniform in ±sqrt(6 / fan-in).
    ///
    /// Source: He et al., arXiv:1502.01852, eq. 10 (variance 2 / fan-in), as a uniform distribution.
    /// Scale: Q24. Range: |w| ≤ 2.45, as a fan-in is at least 1.
    pub fn init(&self, seed: Seed) -> Vec<i64> {
        let mut rng = derived_rng(seed, "weights", 0);
        let mut w = vec![0; self.n_params()];
        for layer in self.layers() {
            let bound = (6.0 / layer.n_in as f64).sqrt();
            for w in &mut w[layer.weight..layer.bias] {
                // 53 random bits: uniform in [0, 1).
                let uniform = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
                *w = ((2.0 * uniform - 1.0) * bound / UNIT).round_ties_even() as i64;
            }
        }
        w
    }

    /// Mean loss and gradient over `rows`. `params` has one entry a parameter.
    pub fn loss_gradient(&self, params: &[f64], data: &LabelledData, rows: &[usize]) -> LossGradient {
        let layers: Vec<Layer> = self.layers().collect();
        let mut gradient = vec![0.0; params.len()];
        let mut loss = 0.0;
        for &row in rows {
            let activations = self.forward(params, data.features(row));
            let mut delta = softmax(&activations[layers.len()]);
            loss -= libm::log(delta[data.label(row)].max(f64::MIN_POSITIVE));
            delta[data.label(row)] -= 1.0;
            for (i, layer) in layers.iter().enumerate().rev() {
                let input = &activations[i];
                let mut below = vec![0.0; layer.n_in];
                for (out, &d) in delta.iter().enumerate() {
                    gradient[layer.bias + out] += d;
                    let start = layer.weight + out * layer.n_in;
                    for (j, &x) in input.iter().enumerate() {
                        gradient[start + j] += d * x;
                        below[j] += d * params[start + j];
                    }
                }
                // The derivative of ReLU is 0 where its output is 0. The inputs of the first layer have no use for this.
                for (below, &x) in below.iter_mut().zip(input) {
                    *below = if x > 0.0 { *below } else { 0.0 };
                }
                delta = below;
            }
        }
        let n = rows.len().max(1) as f64;
        gradient.iter_mut().for_each(|g| *g /= n);
        LossGradient { loss: loss / n, gradient }
    }

    /// Share of `rows` whose largest output is their label, 0..=1; 0 for no rows.
    pub fn accuracy(&self, params: &[f64], data: &LabelledData, rows: &[usize]) -> f64 {
        let right = rows.iter().filter(|&&row| {
            let outputs = self.forward(params, data.features(row)).pop().unwrap_or_default();
            let best = outputs.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            best.is_some_and(|(class, _)| class == data.label(row))
        });
        right.count() as f64 / rows.len().max(1) as f64
    }

    /// Outputs of every layer, the input first; the last are logits.
    fn forward(&self, params: &[f64], input: &[f64]) -> Vec<Vec<f64>> {
        let mut activations = vec![input.to_vec()];
        let last = self.sizes.len() - 2;
        for (i, layer) in self.layers().enumerate() {
            let x = &activations[i];
            let outputs = (0..layer.n_out).map(|out| {
                let row = &params[layer.weight + out * layer.n_in..][..layer.n_in];
                let sum = row.iter().zip(x).fold(params[layer.bias + out], |sum, (w, x)| sum + w * x);
                if i < last { sum.max(0.0) } else { sum }
            });
            let outputs = outputs.collect();
            activations.push(outputs);
        }
        activations
    }

    fn layers(&self) -> impl Iterator<Item = Layer> + '_ {
        self.sizes.windows(2).scan(0, |offset, pair| {
            let (n_in, n_out) = (pair[0], pair[1]);
            let layer = Layer { n_in, n_out, weight: *offset, bias: *offset + n_in * n_out };
            *offset = layer.bias + n_out;
            Some(layer)
        })
    }
}

/// Raw Q24 values as f64, exactly.
pub fn dequantize(raw: &[i64]) -> Vec<f64> {
    raw.iter().map(|&x| x as f64 * UNIT).collect()
}

/// f64 values to raw Q24, rounded to nearest, halves to even.
///
/// Errors: index and value of the first that is not finite or outside −2^31 ≤ raw < 2^31.
pub fn quantize(values: &[f64]) -> Result<Vec<i64>, (usize, f64)> {
    let limit = SIGNED_LIMIT as f64;
    let raw = |(i, &x): (usize, &f64)| {
        let scaled = (x / UNIT).round_ties_even();
        if (-limit..limit).contains(&scaled) { Ok(scaled as i64) } else { Err((i, x)) }
    };
    values.iter().enumerate().map(raw).collect()
}

/// exp(z_i) / Σ exp(z_j), shifted by the largest.
fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = logits.iter().map(|z| libm::exp(z - largest)).collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|e| e / sum).collect()
}
