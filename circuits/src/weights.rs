//! Weights as safetensors, and the opening that shows which anchored state they belong to.

use std::collections::HashMap;

use crate::convert::ConvertError;
use crate::digest::state_digest;
use crate::keys::StepVerifyingKey;
use crate::linked::StateSeed;
use crate::opening::commit_state;
use crate::reference::{SIGNED_LIMIT, State};
use halo2_proofs::{halo2curves::bn256::Bn256, poly::kzg::commitment::ParamsKZG};
use ledger::{FieldElement, Layout, RunId};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use crate::state_file;

/// 2²⁴.
const ONE: f64 = (1 << 24) as f64;

/// Why weights or an opening are refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// Not a safetensors file.
    #[error("weights: {0}")]
    Safetensors(String),
    /// A tensor of the layout is missing or has another shape or type.
    #[error("weights: tensor {name}: expected {expected}, got {got}")]
    Tensor {
        /// Name.
        name: String,
        /// Expected form.
        expected: String,
        /// Found.
        got: String,
    },
    /// A weight is no multiple of 2⁻²⁴ in range.
    #[error("weights: tensor {name}[{index}] = {value} is not a multiple of 2^-24 with |w| < 128")]
    Value {
        /// Tensor.
        name: String,
        /// Index in the tensor.
        index: usize,
        /// Value found.
        value: f64,
    },
    /// The opening can't be parsed.
    #[error("opening: {0}")]
    Opening(String),
    /// The number of parameters differs.
    #[error("weights have {weights} parameters, the opening {opening}")]
    Length {
        /// In the weights.
        weights: usize,
        /// In the opening.
        opening: usize,
    },
    /// A commitment can't be made.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The weights and the opening are not the state.
    #[error("these are not the weights at state {state} of run {run}: expected state digest {expected}, got {got}")]
    Mismatch {
        /// Run.
        run: RunId,
        /// State index.
        state: u64,
        /// Digest of the log or the chain.
        expected: FieldElement,
        /// Digest of what was given.
        got: FieldElement,
    },
}

/// What a buyer needs besides the weights: seed and optimizer state of one state.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// Format version, 1.
    pub v: u32,
    /// The run.
    pub run: RunId,
    /// State index: the state before step `state`.
    pub state: u64,
    /// Digest of the state.
    pub digest: FieldElement,
    /// Blinding seed, hex.
    pub seed: String,
    /// First and second moments with P1, P2, as a state file whose weights are zero, hex.
    pub optimizer: String,
}

/// Writes weights as F64 safetensors, exact multiples of 2⁻²⁴, in the tensors of the layout.
///
/// Errors: [`WeightsError::Safetensors`].
pub fn to_safetensors(layout: &Layout, w: &[i64]) -> Result<Vec<u8>, WeightsError> {
    let fail = |e: safetensors::SafeTensorError| WeightsError::Safetensors(e.to_string());
    let data: Vec<(String, Vec<usize>, Vec<u8>)> = layout
        .tensors()
        .iter()
        .map(|t| {
            let range = t.offset as usize..(t.offset + t.len) as usize;
            let bytes = w[range].iter().flat_map(|x| (*x as f64 / ONE).to_le_bytes()).collect();
            (t.name.clone(), t.shape.iter().map(|d| *d as usize).collect(), bytes)
        })
        .collect();
    let views = data
        .iter()
        .map(|(name, shape, bytes)| {
            Ok((name.as_str(), TensorView::new(Dtype::F64, shape.clone(), bytes).map_err(fail)?))
        })
        .collect::<Result<Vec<_>, WeightsError>>()?;
    let metadata = HashMap::from([("format".to_owned(), "cairn q24".to_owned())]);
    safetensors::serialize(views, Some(metadata)).map_err(fail)
}

/// Reads weights; F64 and F32 tensors whose values are exact multiples of 2⁻²⁴ are accepted.
///
/// Errors: [`WeightsError::Safetensors`], [`WeightsError::Tensor`], [`WeightsError::Value`].
pub fn from_safetensors(layout: &Layout, bytes: &[u8]) -> Result<Vec<i64>, WeightsError> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| WeightsError::Safetensors(e.to_string()))?;
    let mut w = Vec::new();
    for t in layout.tensors() {
        let shape: Vec<usize> = t.shape.iter().map(|d| *d as usize).collect();
        let wrong =
            |got: String| WeightsError::Tensor { name: t.name.clone(), expected: format!("F32 or F64 {shape:?}"), got };
        let view = file.tensor(&t.name).map_err(|e| wrong(e.to_string()))?;
        if view.shape() != shape {
            return Err(wrong(format!("{:?} {:?}", view.dtype(), view.shape())));
        }
        let values: Vec<f64> = match view.dtype() {
            Dtype::F64 => {
                view.data().chunks_exact(8).map(|c| f64::from_le_bytes(c.try_into().expect("chunks of 8"))).collect()
            }
            Dtype::F32 => view
                .data()
                .chunks_exact(4)
                .map(|c| f64::from(f32::from_le_bytes(c.try_into().expect("chunks of 4"))))
                .collect(),
            other => return Err(wrong(format!("{other:?}"))),
        };
        for (index, value) in values.into_iter().enumerate() {
            let raw = value * ONE;
            if raw.fract() != 0.0 || raw < -(SIGNED_LIMIT as f64) || raw >= SIGNED_LIMIT as f64 {
                return Err(WeightsError::Value { name: t.name.clone(), index, value });
            }
            w.push(raw as i64);
        }
    }
    Ok(w)
}

impl Opening {
    /// The opening of `state`, to be given away with its weights.
    ///
    /// Errors: [`WeightsError::Opening`].
    pub fn new(
        run: RunId,
        index: u64,
        digest: FieldElement,
        seed: &StateSeed,
        state: &State,
    ) -> Result<Self, WeightsError> {
        let moments = State { w: vec![0; state.len()], ..state.clone() };
        let optimizer = state_file::encode(&moments).map_err(|e| WeightsError::Opening(e.to_string()))?;
        Ok(Self { v: 1, run, state: index, digest, seed: hex::encode(seed.0), optimizer: hex::encode(optimizer) })
    }

    /// Checks that `w` with this opening is the state with digest `expected`.
    ///
    /// Errors: [`WeightsError::Mismatch`] if not; [`WeightsError::Opening`], [`WeightsError::Length`].
    pub fn check(
        &self,
        params: &ParamsKZG<Bn256>,
        key: &StepVerifyingKey,
        n_chunks: usize,
        expected: FieldElement,
        w: Vec<i64>,
    ) -> Result<(), WeightsError> {
        let opening = |e: String| WeightsError::Opening(e);
        if self.v != 1 {
            return Err(opening(format!("version {} is not supported", self.v)));
        }
        let seed: [u8; 32] = hex::decode(&self.seed)
            .ok()
            .and_then(|s| s.try_into().ok())
            .ok_or_else(|| opening("seed is not 32 bytes of hex".to_owned()))?;
        let bytes = hex::decode(&self.optimizer).map_err(|e| opening(format!("optimizer: {e}")))?;
        let mut state = state_file::decode(&bytes).map_err(|e| opening(e.to_string()))?;
        if state.len() != w.len() {
            return Err(WeightsError::Length { weights: w.len(), opening: state.len() });
        }
        state.w = w;
        let points = commit_state(params, key.shape(), key.blinding_rows(), &state, n_chunks, &StateSeed(seed))?;
        let got = state_digest((state.p1, state.p2), points.iter())?;
        if got != expected {
            return Err(WeightsError::Mismatch { run: self.run, state: self.state, expected, got });
        }
        Ok(())
    }
}
