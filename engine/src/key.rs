//! What proving needs of a key beyond the library's: the compiled constraints, the domain, and on wish the values of the
//! key's own columns on all cosets.

use std::collections::HashMap;

use halo2_proofs::{
    halo2curves::{
        bn256::{Fr, G1Affine},
        ff::{Field, PrimeField},
    },
    plonk::ProvingKey,
};
use rayon::prelude::*;

use crate::constraints::{Part, compressed, numerator};
use crate::error::EngineError;
use crate::fft::{Coset, Domain, bit_reverse, powers_from};
use crate::program::{Column, Program};

/// What is kept of the key's own columns (fixed, permutation, Lagrange) between proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CosetCache {
    /// Their values on all cosets, if these take at most so many bytes.
    UpTo(usize),
    /// Nothing: each proof transforms them anew.
    Off,
}

/// A proving key made ready. Holds nothing secret.
#[derive(Debug)]
pub struct PreparedKey {
    digest: Fr,
    pub(crate) domain: Domain,
    /// Of the cosets on which the quotient is computed.
    pub(crate) shifts: Vec<Fr>,
    pub(crate) numerator: Vec<Part>,
    /// Input and table of each lookup.
    pub(crate) lookups: Vec<[Program; 2]>,
    cached: Vec<HashMap<Column, Vec<Fr>>>,
}

impl PreparedKey {
    /// Prepares a key.
    ///
    /// Errors: [`EngineError::Unsupported`].
    pub fn new(pk: &ProvingKey<G1Affine>, cache: CosetCache) -> Result<Self, EngineError> {
        let cs = pk.get_vk().cs();
        let n = pk.l0().len();
        let domain = Domain::new(n.trailing_zeros());
        // h has degree below (degree − 1)·n: that many cosets determine it. Powers of the generator of the whole group give
        // cosets that differ from each other and from the subgroup itself.
        let shifts = powers_from(Fr::MULTIPLICATIVE_GENERATOR, Fr::MULTIPLICATIVE_GENERATOR, cs.degree() - 1);
        let numerator = numerator(cs)?;
        let lookups = cs
            .lookups()
            .iter()
            .map(|l| Ok([compressed(l.input_expressions())?, compressed(l.table_expressions())?]))
            .collect::<Result<_, EngineError>>()?;
        let mut key =
            Self { digest: pk.get_vk().transcript_repr(), domain, shifts, numerator, lookups, cached: Vec::new() };
        let own: Vec<Column> = key.numerator.iter().flat_map(|p| &p.loads).copied().filter(|c| is_own(*c)).collect();
        let bytes = key.shifts.len() * own.len() * n * size_of::<Fr>();
        if matches!(cache, CosetCache::UpTo(most) if bytes <= most) {
            let on_coset = |shift: &Fr| {
                let coset = key.domain.coset(*shift);
                own.par_iter().filter_map(|c| Some((*c, key.own_values(pk, &coset, *c)?))).collect()
            };
            key.cached = key.shifts.iter().map(on_coset).collect();
        }
        Ok(key)
    }

    /// Bytes of cached values.
    pub fn cached_bytes(&self) -> usize {
        self.cached.iter().flat_map(HashMap::values).map(|v| v.len() * size_of::<Fr>()).sum()
    }

    /// Refuses a proving key that this was not prepared from.
    ///
    /// Errors: [`EngineError::KeyMismatch`].
    pub(crate) fn check(&self, pk: &ProvingKey<G1Affine>) -> Result<(), EngineError> {
        if pk.get_vk().transcript_repr() != self.digest { Err(EngineError::KeyMismatch) } else { Ok(()) }
    }

    /// Cached values of a column of the key on a coset.
    pub(crate) fn cached(&self, coset: usize, column: Column) -> Option<&[Fr]> {
        self.cached.get(coset)?.get(&column).map(Vec::as_slice)
    }

    /// Values of a column of the key on a coset; `None` if it is not one of the key's.
    pub(crate) fn own_values(&self, pk: &ProvingKey<G1Affine>, coset: &Coset, column: Column) -> Option<Vec<Fr>> {
        let polynomial: &[Fr] = match column {
            Column::Fixed(i) => &pk.fixed_polys()[i],
            Column::First => pk.l0(),
            Column::Last => pk.l_last(),
            Column::Active => pk.l_active_row(),
            Column::Sigma(j) => &pk.permutation().polys()[j],
            Column::Point => return Some(powers_from(coset.shift(), self.domain.omega(), self.domain.n())),
            _ => return None,
        };
        let mut values = bit_reverse(polynomial);
        self.domain.to_values(coset, &mut values);
        Some(values)
    }

    /// `X^n − 1` on the coset of a shift, where it is constant.
    pub(crate) fn vanishing(&self, shift: &Fr) -> Fr {
        shift.pow_vartime([self.domain.n() as u64]) - Fr::ONE
    }
}

fn is_own(column: Column) -> bool {
    matches!(
        column,
        Column::Fixed(_) | Column::First | Column::Last | Column::Active | Column::Sigma(_) | Column::Point
    )
}
