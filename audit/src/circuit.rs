//! Which circuits a run's epochs are proved with.

use circuits::notes::{NoteError, epoch_k};
use epochcheck::EpochShape;
use ledger::{Digest, EpochIndex, FieldElement, RunDescription, Selector};
use store::{RunDir, StoreError};

/// A circuit whose proofs are anchored: the epoch's, or its wrap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EpochCircuit {
    /// Steps per epoch.
    pub n_steps: usize,
    /// Chunks per step.
    pub n_chunks: usize,
    /// log2 of the rows of the epoch circuit.
    pub epoch_k: u32,
    /// log2 of the rows of the wrap, if epochs are wrapped.
    pub wrap_k: Option<u32>,
}

impl EpochCircuit {
    /// Of epochs of `n_steps`.
    ///
    /// Errors: [`NoteError`].
    pub fn new(run: &RunDescription, n_steps: usize, wrap_k: Option<u32>) -> Result<Self, NoteError> {
        Ok(Self { n_steps, n_chunks: run.policy.n_chunks as usize, epoch_k: epoch_k(run)?, wrap_k })
    }

    /// Shape of the epoch circuit.
    pub fn shape(&self) -> EpochShape {
        EpochShape { n_steps: self.n_steps, n_chunks: self.n_chunks, k: self.epoch_k }
    }

    /// log2 of the rows of the circuit whose proof is anchored.
    pub fn k(&self) -> u32 {
        self.wrap_k.unwrap_or(self.epoch_k)
    }

    /// Shape of the circuit whose proof is anchored: as many steps and chunks, in its own rows.
    pub fn anchored_shape(&self) -> EpochShape {
        EpochShape { k: self.k(), ..self.shape() }
    }
}

/// log2 of the rows of the wrap of a run's epochs, none if they are not wrapped; the first one decides, so none before it.
///
/// Errors: [`StoreError`].
pub fn wrap_k(dir: &RunDir) -> Result<Option<u32>, StoreError> {
    if dir.n_epochs()? == 0 {
        return Ok(None);
    }
    Ok(dir.epoch(EpochIndex(0))?.record().wrap_k)
}

/// Family of the circuits whose proofs are anchored: the first bytes of a hash of the step key's digest and, if epochs are
/// wrapped, of the wrap's size.
pub fn selector(step_key_digest: FieldElement, wrap_k: Option<u32>) -> Selector {
    let mut bytes = match wrap_k {
        None => b"cairn/selector/v1".to_vec(),
        Some(k) => [&b"cairn/selector/wrap/v1"[..], &k.to_be_bytes()].concat(),
    };
    bytes.extend_from_slice(step_key_digest.as_bytes());
    let Digest(hash) = Digest::of(&bytes);
    Selector([hash[0], hash[1], hash[2], hash[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_runs_have_selectors_of_their_own() {
        let digest = "0x153b3286475d3c83c51fb4bc98c471d29df51593179dc90068104571ebdf9b7c".parse().expect("a digest");
        let plain = selector(digest, None);
        assert_eq!(plain.to_string(), "0x684c87c8", "the demo's, as it is registered");
        assert!(selector(digest, Some(21)) != plain && selector(digest, Some(22)) != selector(digest, Some(21)));
    }
}
