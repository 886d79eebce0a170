//! How much memory proofs take, and how they take less.
//!
//! The estimate counts what a proof asks the allocator for, phase by phase, as the code of that phase does: columns of 2^k elements
//! of 32 bytes, points of 64, and the working space of sums. It is an upper bound (tests/memory.rs holds it against an allocator
//! that counts). Not counted are the program itself, its stacks, and what is mapped from files, whose pages the system can take
//! back.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
};

use halo2_proofs::{
    halo2curves::bn256::{Fr, G1Affine},
    plonk::{Circuit, ConstraintSystem},
};

use crate::constraints::{Part, last_rotation, numerator, set_len};
use crate::error::EngineError;
use crate::msm;
use crate::program::Column;

/// Bytes of an element.
const ELEMENT: u64 = size_of::<Fr>() as u64;
/// Bytes of a point.
const POINT: u64 = size_of::<G1Affine>() as u64;
/// Bytes a row that permuting one lookup takes besides its columns: both sides with their keys (64 each), the permuted columns
/// and the lists of left-over entries while they grow.
const PERMUTE: u64 = 376;
/// Programs, tables of small things, registers.
const SMALL: u64 = 1 << 20;

/// Most bytes that proofs with one key may hold at a time: key, reference string, the circuit's witness and all working space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemoryLimit(pub u64);

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Bytes that belong to a proof and that the engine does not see, until the circuit has filled its columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CircuitBytes {
    /// The witness inside of the circuit.
    pub witness: u64,
    /// What its hints take ([`crate::hint_bytes`]); they are not asked when memory is scarce.
    pub hints: u64,
}

/// How many independent things are done side by side. Proofs are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// All columns of a round are committed at once, and a column on a coset stays until nobody reads it.
    AtOnce,
    /// One after the other, each by all threads; columns on a coset are transformed anew for each part that reads them.
    OneByOne,
}

/// The least memory with which the circuit `C` of 2^`k` rows is proved, by a key that is `stored` elsewhere or held in memory.
/// Nothing but the constraints is made for it.
///
/// Errors: [`EngineError::Memory`] if that is above the limit; [`EngineError::Unsupported`].
pub fn check_memory<C: Circuit<Fr>>(
    k: u32,
    params: C::Params,
    place: KeyPlace,
    circuit: CircuitBytes,
    limit: MemoryLimit,
) -> Result<u64, EngineError> {
    let mut cs = ConstraintSystem::default();
    C::configure_with_params(&mut cs, params);
    let selectors = vec![vec![false]; cs.num_selectors()];
    let (cs, _) = cs.directly_convert_selectors_to_fixed(selectors);
    let parts = numerator(&cs)?;
    let sizes = Sizes::new(k, &cs);
    let held = match place {
        KeyPlace::InMemory => sizes.key(),
        KeyPlace::Stored => 0,
    };
    let need = sizes.need(&parts, held, circuit, &BTreeSet::new(), Work::OneByOne);
    if need > limit.0 { Err(EngineError::Memory { limit, need }) } else { Ok(need) }
}

/// Where the columns of a key are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// In this process's memory, as a key that was generated.
    InMemory,
    /// In a mapped file ([`crate::StoredKey`]).
    Stored,
}

/// Numbers of a circuit that decide how much memory its proofs take.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    n: u64,
    advice: u64,
    /// Advice columns of the largest phase.
    phase: u64,
    instances: u64,
    fixed: u64,
    permuted: u64,
    /// Running products of the permutation.
    products: u64,
    lookups: u64,
    /// Pieces of the quotient, and cosets it is computed on.
    pieces: u64,
    /// Sets of polynomials that are opened at the same points.
    point_sets: u64,
    threads: usize,
}

impl Sizes {
    /// Of a finished constraint system: selectors are fixed columns.
    pub(crate) fn new(k: u32, cs: &ConstraintSystem<Fr>) -> Self {
        let phases = cs.advice_column_phase();
        let of_phase = |phase: u8| phases.iter().filter(|p| **p == phase).count();
        let permuted = cs.permutation().get_columns().len();
        Self {
            n: 1 << k,
            advice: cs.num_advice_columns() as u64,
            phase: phases.iter().map(|p| of_phase(*p)).max().unwrap_or(0) as u64,
            instances: cs.num_instance_columns() as u64,
            fixed: cs.num_fixed_columns() as u64,
            permuted: permuted as u64,
            products: permuted.div_ceil(set_len(cs)) as u64,
            lookups: cs.lookups().len() as u64,
            pieces: cs.degree() as u64 - 1,
            point_sets: point_sets(cs) as u64,
            threads: rayon::current_num_threads(),
        }
    }

    /// Bytes of so many columns.
    pub(crate) fn columns(&self, number: u64) -> u64 {
        number * self.n * ELEMENT
    }

    /// Bytes of the columns of a key.
    pub(crate) fn key(&self) -> u64 {
        self.columns(3 + 2 * self.fixed + 2 * self.permuted)
    }

    /// Bytes of a column of the key on all cosets.
    pub(crate) fn cached(&self, number: usize) -> u64 {
        self.columns(self.pieces * number as u64)
    }

    /// Bytes that a proof holds at most, with these columns of the key kept on all cosets. `held`: of the key's columns.
    pub(crate) fn need(
        &self,
        parts: &[Part],
        held: u64,
        circuit: CircuitBytes,
        cached: &BTreeSet<Column>,
        work: Work,
    ) -> u64 {
        // Both bases of the reference string and the engine's own copies; the factors of the transform back.
        let always = held + self.cached(cached.len()) + 4 * self.n * POINT + self.columns(1) + SMALL;
        always + self.phases(parts, circuit, cached, work).into_iter().max().unwrap_or(0)
    }

    /// Bytes that each phase takes at most.
    fn phases(&self, parts: &[Part], circuit: CircuitBytes, cached: &BTreeSet<Column>, work: Work) -> [u64; 6] {
        let columns = |number: u64| self.columns(number);
        let one_sum = msm::working_space(self.n as usize, self.threads);
        let one_more = msm::working_space(self.n as usize, 0);
        let commit = |number: u64| match work {
            _ if number == 0 => 0,
            Work::AtOnce => one_sum + (number - 1) * one_more,
            Work::OneByOne => one_sum,
        };
        let first = self.advice + self.instances;
        let (sets, lookups) = (self.products, self.lookups);
        // All columns of the witness.
        let all = first + sets + 3 * lookups;
        let permute = if lookups == 0 { 0 } else { self.n * PERMUTE };
        let (quotients, hints) = match work {
            Work::AtOnce => (self.point_sets + 1, circuit.hints),
            Work::OneByOne => (2, 0),
        };
        [
            // The witness.
            columns(self.advice) + circuit.witness + hints + commit(self.phase),
            // The lookups: compressed and permuted columns.
            columns(first + 4 * lookups) + permute.max(commit(2 * lookups)),
            // The products, with what segments of rows multiply to; then their commitments.
            (columns(first + 5 * lookups + sets + 1)).max(columns(first + 3 * lookups + sets) + commit(sets + lookups)),
            // The cosets: factors, columns, and a value a row for each coset.
            columns(all + 1 + self.pieces + live(parts, cached, work)),
            // The pieces, out of the values on all cosets.
            (columns(all + 2 * self.pieces)).max(columns(all + self.pieces) + commit(self.pieces)),
            // The opening: folded sets, each twice meanwhile; the quotient and what is divided at once; then both commitments.
            columns(all + self.pieces + self.point_sets)
                + columns(quotients.max(2)).max(columns(1) + commit(1)).max(columns(3)).max(columns(2) + commit(1)),
        ]
    }
}

/// Columns that are on a coset at a time, but for those of the cache.
fn live(parts: &[Part], cached: &BTreeSet<Column>, work: Work) -> u64 {
    let mut most = 0;
    let mut now: HashSet<Column> = HashSet::new();
    for part in parts {
        let (loads, drops) = match work {
            Work::AtOnce => (&part.loads, &part.drops),
            Work::OneByOne => (&part.reads, &part.reads),
        };
        now.extend(loads.iter().filter(|column| !cached.contains(column)));
        most = most.max(now.len());
        now.retain(|column| !drops.contains(column));
    }
    most as u64
}

/// How many different sets of rotations polynomials are opened at.
fn point_sets(cs: &ConstraintSystem<Fr>) -> usize {
    let mut sets: BTreeSet<BTreeSet<i32>> = BTreeSet::new();
    let advice = cs.advice_queries().iter().map(|(column, rotation)| ((0, column.index()), rotation.0));
    let fixed = cs.fixed_queries().iter().map(|(column, rotation)| ((1, column.index()), rotation.0));
    let mut columns: std::collections::BTreeMap<(u8, usize), BTreeSet<i32>> = std::collections::BTreeMap::new();
    for (column, rotation) in advice.chain(fixed) {
        columns.entry(column).or_default().insert(rotation);
    }
    sets.extend(columns.into_values());
    // The permutation itself, the quotient, the random polynomial.
    sets.insert([0].into());
    if !cs.permutation().get_columns().is_empty() {
        sets.extend([[0, 1].into(), [0, 1, last_rotation(cs)].into()]);
    }
    if !cs.lookups().is_empty() {
        sets.extend([[0, 1].into(), [0, -1].into()]);
    }
    sets.len()
}
