//! One multi-scalar multiplication for many proofs: scalars of equal bases are summed first.

use std::collections::BTreeMap;

use halo2_proofs::halo2curves::CurveAffine;
use snark_verifier::loader::{EcPointLoader, Loader};

/// What a base is, so that equal bases meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// The SRS generator.
    Generator,
    /// A commitment of the step key, the same in every proof.
    Fixed(usize),
    /// Advice commitment (proof, column).
    Witness(usize, usize),
    /// Piece of a quotient (proof, piece).
    Quotient(usize, usize),
    /// W of a proof.
    W(usize),
    /// W' of a proof.
    WPrime(usize),
}

/// Scalars collected by base.
#[derive(Debug)]
pub struct MergedMsm<C: CurveAffine, L: Loader<C>> {
    terms: BTreeMap<Base, (L::LoadedScalar, L::LoadedEcPoint)>,
}

impl<C: CurveAffine, L: Loader<C>> Default for MergedMsm<C, L> {
    fn default() -> Self {
        Self { terms: BTreeMap::new() }
    }
}

impl<C: CurveAffine, L: Loader<C>> MergedMsm<C, L> {
    /// Adds `scalar·point` to the term of `base`.
    pub fn add(&mut self, base: Base, scalar: &L::LoadedScalar, point: &L::LoadedEcPoint) {
        match self.terms.get_mut(&base) {
            Some((sum, _)) => *sum += scalar,
            None => {
                self.terms.insert(base, (scalar.clone(), point.clone()));
            }
        }
    }

    /// Number of distinct bases.
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Each base with its scalar, in the order of [`Base`].
    pub fn terms(&self) -> impl Iterator<Item = (&L::LoadedScalar, &L::LoadedEcPoint)> {
        self.terms.values().map(|(scalar, point)| (scalar, point))
    }

    /// The sum, by the loader. Panics if nothing was added.
    pub fn evaluate(&self) -> L::LoadedEcPoint {
        let pairs: Vec<_> = self.terms.values().map(|(scalar, point)| (scalar, point)).collect();
        <L as EcPointLoader<C>>::multi_scalar_multiplication(&pairs)
    }
}
