//! Tensor frames: safetensors, values as raw integers or as floats that are exact in `q24` (spec `service`, "Frames").

use std::collections::HashMap;

use circuits::reference::{SIGNED_LIMIT, State};
use ledger::Layout;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::de::DeserializeOwned;

use super::refusal::Refusal;

/// 2²⁴.
const ONE: f64 = (1 << 24) as f64;

/// A frame that was parsed.
pub struct Frame<'b> {
    tensors: SafeTensors<'b>,
    metadata: HashMap<String, String>,
}

/// Signed Q24 values of a tensor, raw.
fn signed_values(name: &str, view: &TensorView<'_>) -> Result<Vec<i64>, Refusal> {
    let data = view.data();
    let range = |index: usize, value: String| Refusal::Range {
        tensor: name.to_owned(),
        index: Some(index as u64),
        reason: format!("{name}[{index}] = {value} is not a multiple of 2^-24 with |x| < 128"),
    };
    let exact = |(index, value): (usize, f64)| {
        let raw = value * ONE;
        // Not a number is outside every range.
        let inside = raw.fract() == 0.0 && (-(SIGNED_LIMIT as f64)..SIGNED_LIMIT as f64).contains(&raw);
        if inside { Ok(raw as i64) } else { Err(range(index, value.to_string())) }
    };
    match view.dtype() {
        Dtype::I32 => Ok(data.as_chunks().0.iter().map(|c| i64::from(i32::from_le_bytes(*c))).collect()),
        Dtype::F32 => {
            data.as_chunks().0.iter().map(|c| f64::from(f32::from_le_bytes(*c))).enumerate().map(exact).collect()
        }
        Dtype::F64 => data.as_chunks().0.iter().map(|c| f64::from_le_bytes(*c)).enumerate().map(exact).collect(),
        other => Err(Refusal::Tensor {
            tensor: name.to_owned(),
            expected: "I32 (raw), F32 or F64".to_owned(),
            got: format!("{other:?}"),
        }),
    }
}

impl<'b> Frame<'b> {
    /// Parses a whole frame; a truncated one is refused.
    ///
    /// Errors: [`Refusal::Malformed`].
    pub fn parse(bytes: &'b [u8]) -> Result<Self, Refusal> {
        let fail = |e: safetensors::SafeTensorError| Refusal::Malformed { what: "frame", reason: e.to_string() };
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(fail)?;
        let metadata = metadata.metadata().clone().unwrap_or_default();
        Ok(Self { tensors: SafeTensors::deserialize(bytes).map_err(fail)?, metadata })
    }

    /// A text of the frame's metadata.
    pub fn text(&self, key: &'static str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// JSON in the frame's metadata; none if the key is not there.
    ///
    /// Errors: [`Refusal::Malformed`].
    pub fn json<T: DeserializeOwned>(&self, key: &'static str) -> Result<Option<T>, Refusal> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let parsed = serde_json::from_str(text);
        parsed.map(Some).map_err(|e| Refusal::Malformed { what: key, reason: e.to_string() })
    }

    /// Names and shapes of all tensors, sorted by name. A tensor without dimensions has shape `[1]`.
    pub fn shapes(&self) -> Vec<(String, Vec<u64>)> {
        let shape = |view: &TensorView<'_>| match view.shape() {
            [] => vec![1],
            dimensions => dimensions.iter().map(|d| *d as u64).collect(),
        };
        let mut shapes: Vec<_> = self.tensors.iter().map(|(name, view)| (name.to_owned(), shape(&view))).collect();
        shapes.sort();
        shapes
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    /// The only tensors that a frame may have.
    ///
    /// Errors: [`Refusal::Tensor`].
    pub fn only(&self, names: &[&str]) -> Result<(), Refusal> {
        match self.tensors.names().into_iter().find(|name| !names.contains(name)) {
            None => Ok(()),
            Some(other) => Err(Refusal::Tensor {
                tensor: other.chars().take(128).collect(),
                expected: format!("one of {}", names.join(", ")),
                got: "an unknown name".to_owned(),
            }),
        }
    }

    /// A vector of `len` signed Q24 values, raw.
    ///
    /// Errors: [`Refusal::Tensor`], [`Refusal::Range`].
    pub fn signed(&self, name: &str, len: usize) -> Result<Vec<i64>, Refusal> {
        signed_values(name, &self.view(name, len)?)
    }

    /// A vector of `len` second moments, raw Q48, as U64.
    ///
    /// Errors: [`Refusal::Tensor`].
    pub fn second_moments(&self, name: &str, len: usize) -> Result<Vec<u64>, Refusal> {
        let view = self.view(name, len)?;
        match view.dtype() {
            Dtype::U64 => Ok(view.data().as_chunks().0.iter().map(|c| u64::from_le_bytes(*c)).collect()),
            other => {
                Err(Refusal::Tensor { tensor: name.to_owned(), expected: "U64".to_owned(), got: format!("{other:?}") })
            }
        }
    }

    /// Weights in the tensors and the order of a layout, raw Q24.
    ///
    /// Errors: [`Refusal::Tensor`], [`Refusal::Range`].
    pub fn weights(&self, layout: &Layout) -> Result<Vec<i64>, Refusal> {
        let names: Vec<&str> = layout.tensors().iter().map(|t| t.name.as_str()).collect();
        self.only(&names)?;
        let mut w = Vec::new();
        for t in layout.tensors() {
            let view = self.tensors.tensor(&t.name).map_err(|_| Refusal::Tensor {
                tensor: t.name.clone(),
                expected: format!("shape {:?}", t.shape),
                got: "nothing".to_owned(),
            })?;
            let values = signed_values(&t.name, &view)?;
            if values.len() as u64 != t.len {
                return Err(Refusal::Tensor {
                    tensor: t.name.clone(),
                    expected: format!("shape {:?}", t.shape),
                    got: format!("{:?}", view.shape()),
                });
            }
            w.extend(values);
        }
        Ok(w)
    }

    fn view(&self, name: &str, len: usize) -> Result<TensorView<'_>, Refusal> {
        let wrong = |got: String| Refusal::Tensor { tensor: name.to_owned(), expected: format!("shape [{len}]"), got };
        let view = self.tensors.tensor(name).map_err(|_| wrong("nothing".to_owned()))?;
        if view.shape() != [len] {
            return Err(wrong(format!("shape {:?}", view.shape())));
        }
        Ok(view)
    }
}

/// A state as a frame: `w`, `m` (I32) and `v` (U64), raw, with P1, P2 and further texts as metadata.
///
/// Errors: [`Refusal::Internal`].
pub fn of_state(state: &State, more: &[(&str, String)]) -> Result<Vec<u8>, Refusal> {
    let signed = |values: &[i64]| -> Result<Vec<u8>, Refusal> {
        let mut out = Vec::with_capacity(4 * values.len());
        for value in values {
            out.extend_from_slice(&i32::try_from(*value).map_err(Refusal::internal)?.to_le_bytes());
        }
        Ok(out)
    };
    let (w, m) = (signed(&state.w)?, signed(&state.m)?);
    let v: Vec<u8> = state.v.iter().flat_map(|x| x.to_le_bytes()).collect();
    let shape = vec![state.len()];
    let view = |dtype, bytes| TensorView::new(dtype, shape.clone(), bytes).map_err(Refusal::internal);
    let tensors = [("w", view(Dtype::I32, &w)?), ("m", view(Dtype::I32, &m)?), ("v", view(Dtype::U64, &v)?)];
    let mut metadata =
        HashMap::from([("p1".to_owned(), state.p1.to_string()), ("p2".to_owned(), state.p2.to_string())]);
    metadata.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    safetensors::serialize(tensors, Some(metadata)).map_err(Refusal::internal)
}
