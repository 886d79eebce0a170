//! What proving needs of a key beyond the library's: the compiled constraints, the domain, and on wish the values of the
//! key's own columns on all cosets.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    sync::OnceLock,
};

use halo2_proofs::halo2curves::{
    bn256::Fr,
    ff::{Field, PrimeField},
};

use crate::constraints::{Part, compressed, numerator};
use crate::error::EngineError;
use crate::fft::{Coset, Domain, powers_from, write_bit_reversed, write_powers};
use crate::memory::{CircuitBytes, MemoryLimit, Sizes, Work};
use crate::program::{Column, Program};
use crate::room::Room;
use crate::view::KeyView;

/// What is kept of the key's own columns (fixed, permutation, Lagrange) between proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CosetCache {
    /// Their values on all cosets from the first proof on, if these take at most so many bytes; under a memory limit, of as many
    /// columns as fit.
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
    /// Values on each coset, filled by the proof that first needs them.
    cached: Vec<HashMap<Column, OnceLock<Vec<Fr>>>>,
    work: Work,
    need: u64,
}

impl PreparedKey {
    /// Prepares a key for proofs that take the memory they like.
    ///
    /// Errors: [`EngineError::Unsupported`].
    pub fn new<'k>(pk: impl Into<KeyView<'k>>, cache: CosetCache) -> Result<Self, EngineError> {
        Self::prepare(&pk.into(), cache, CircuitBytes::default(), None)
    }

    /// Prepares a key for proofs that hold at most `limit`, with circuits that hold `circuit` besides. What does not fit is
    /// computed anew when it is needed: first the values on cosets, column by column, then everything that is done side by side
    /// is done one after the other. Proofs are the same, byte for byte.
    ///
    /// Errors: [`EngineError::Memory`] when no way of proving is within the limit; [`EngineError::Unsupported`].
    pub fn within<'k>(
        pk: impl Into<KeyView<'k>>,
        cache: CosetCache,
        circuit: CircuitBytes,
        limit: MemoryLimit,
    ) -> Result<Self, EngineError> {
        Self::prepare(&pk.into(), cache, circuit, Some(limit))
    }

    fn prepare(
        pk: &KeyView<'_>,
        cache: CosetCache,
        circuit: CircuitBytes,
        limit: Option<MemoryLimit>,
    ) -> Result<Self, EngineError> {
        let cs = pk.vk.cs();
        let k = pk.lagrange[0].len().trailing_zeros();
        let numerator = numerator(cs)?;
        let sizes = Sizes::new(k, cs);
        let own = own_columns(&numerator);
        let plan = Plan::choose(&sizes, &numerator, pk.held, &own, cache, circuit, limit)?;
        let domain = Domain::new(k);
        // h has degree below (degree − 1)·n: that many cosets determine it. Powers of the generator of the whole group give
        // cosets that differ from each other and from the subgroup itself.
        let shifts = powers_from(Fr::MULTIPLICATIVE_GENERATOR, Fr::MULTIPLICATIVE_GENERATOR, cs.degree() - 1);
        let lookups = cs
            .lookups()
            .iter()
            .map(|l| Ok([compressed(l.input_expressions())?, compressed(l.table_expressions())?]))
            .collect::<Result<_, EngineError>>()?;
        let Plan { cached, work, need } = plan;
        let digest = pk.vk.transcript_repr();
        let cached = match cached.is_empty() {
            true => Vec::new(),
            false => shifts.iter().map(|_| cached.iter().map(|c| (*c, OnceLock::new())).collect()).collect(),
        };
        Ok(Self { digest, domain, shifts, numerator, lookups, cached, work, need })
    }

    /// Bytes that a proof with this key holds at most: the key as far as it is in memory, reference string, witness, working space.
    pub fn need(&self) -> u64 {
        self.need
    }

    /// How much is done at once.
    pub(crate) fn work(&self) -> Work {
        self.work
    }

    /// Bytes of the values that are kept from the first proof on.
    pub fn cached_bytes(&self) -> usize {
        self.cached.iter().map(HashMap::len).sum::<usize>() * self.domain.n() * size_of::<Fr>()
    }

    /// Refuses a proving key that this was not prepared from.
    ///
    /// Errors: [`EngineError::KeyMismatch`].
    pub(crate) fn check(&self, pk: &KeyView<'_>) -> Result<(), EngineError> {
        if pk.vk.transcript_repr() != self.digest { Err(EngineError::KeyMismatch) } else { Ok(()) }
    }

    /// Values of a column of the key on the coset of this number, kept if they are to be; `None` if it is not one of the key's.
    pub(crate) fn values_on<'a>(
        &'a self,
        pk: &KeyView<'_>,
        number: usize,
        coset: &Coset,
        column: Column,
        room: &Room,
    ) -> Option<Cow<'a, [Fr]>> {
        let Some(kept) = self.cached.get(number).and_then(|columns| columns.get(&column)) else {
            return self.own_values(pk, coset, column, room).map(Cow::Owned);
        };
        if kept.get().is_none() {
            // Two proofs may both compute them. Waiting for each other could go wrong: a thread that waits for its tasks takes
            // up others, of the other proof too.
            let _ = kept.set(self.own_values(pk, coset, column, room)?);
        }
        kept.get().map(|values| Cow::Borrowed(values.as_slice()))
    }

    /// Values of a column of the key on a coset; `None` if it is not one of the key's.
    fn own_values(&self, pk: &KeyView<'_>, coset: &Coset, column: Column, room: &Room) -> Option<Vec<Fr>> {
        let polynomial = match column {
            Column::Fixed(i) => pk.fixed_polys[i],
            Column::First => pk.lagrange[0],
            Column::Last => pk.lagrange[1],
            Column::Active => pk.lagrange[2],
            Column::Sigma(j) => pk.sigma_polys[j],
            Column::Point => {
                let mut values = room.take();
                write_powers(coset.shift(), self.domain.omega(), &mut values);
                return Some(values);
            }
            _ => return None,
        };
        let mut values = room.take();
        write_bit_reversed(polynomial, &mut values);
        self.domain.to_values(coset, &mut values);
        Some(values)
    }

    /// `X^n − 1` on the coset of a shift, where it is constant.
    pub(crate) fn vanishing(&self, shift: &Fr) -> Fr {
        shift.pow_vartime([self.domain.n() as u64]) - Fr::ONE
    }
}

/// What is kept, and how proofs are made.
struct Plan {
    cached: BTreeSet<Column>,
    work: Work,
    need: u64,
}

impl Plan {
    /// The fastest that fits.
    ///
    /// Errors: [`EngineError::Memory`] if none does.
    fn choose(
        sizes: &Sizes,
        parts: &[Part],
        held: u64,
        own: &[Column],
        cache: CosetCache,
        circuit: CircuitBytes,
        limit: Option<MemoryLimit>,
    ) -> Result<Self, EngineError> {
        let plan = |n_cached: usize, work: Work| {
            let cached = own[..n_cached].iter().copied().collect();
            let need = sizes.need(parts, held, circuit, &cached, work);
            Self { cached, work, need }
        };
        let allowed = |n_cached: usize| match cache {
            CosetCache::UpTo(most) => sizes.cached(n_cached) <= most as u64,
            CosetCache::Off => n_cached == 0,
        };
        let Some(limit) = limit else {
            return Ok(plan(if allowed(own.len()) { own.len() } else { 0 }, Work::AtOnce));
        };
        let at_once = (0..=own.len()).rev().filter(|n| allowed(*n)).map(|n| plan(n, Work::AtOnce));
        let least = plan(0, Work::OneByOne);
        let need = least.need;
        at_once.chain([least]).find(|plan| plan.need <= limit.0).ok_or(EngineError::Memory { limit, need })
    }
}

/// The columns of the key that the constraints read, each once; those first whose values cost a transform.
fn own_columns(parts: &[Part]) -> Vec<Column> {
    let mut own: Vec<Column> = parts.iter().flat_map(|part| &part.loads).copied().filter(|c| is_own(*c)).collect();
    own.sort_by_key(|column| *column == Column::Point);
    own
}

fn is_own(column: Column) -> bool {
    matches!(
        column,
        Column::Fixed(_) | Column::First | Column::Last | Column::Active | Column::Sigma(_) | Column::Point
    )
}
