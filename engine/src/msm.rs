//! Sums of multiples of the bases: commitments.
//!
//! Scalars are taken as signed numbers min(x, p − x) and split into classes by size, so that a column of 16-bit values,
//! negative ones too, costs one addition a row, however large its few blinding rows are. Each class goes through the
//! bucket method with signed digits; buckets are summed as trees of batch-affine additions, which takes equal points,
//! opposite points and crowded buckets (repeated values) without special cases. Zeros, and zero digits, cost nothing.
//!
//! Source: Pippenger (1976); Booth (1951) for the digits; Montgomery (1987) for the shared inversions.

use std::{
    mem,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use halo2_proofs::halo2curves::{
    bn256::{Fr, G1, G1Affine},
    ff::PrimeField,
    group::{Curve, Group, prime::PrimeCurveAffine},
};
use rayon::prelude::*;

use crate::aligned::AlignedPoints;
use crate::batch_affine::{BatchAdder, NEGATIVE, term};
use crate::memory::Work;
use crate::prefetch::Table;

/// Most bits of the magnitudes of each class.
const CLASSES: [usize; 4] = [16, 32, 64, 254];
/// Scalars below which a class is summed by doubling and adding.
const FEW: usize = 24;
/// Scalars that are sorted and summed at a time, which bounds the working space (64 bytes each).
const CHUNK: usize = 1 << 18;
/// Terms that are merged at a time: more of them, because each pass adds up all values' points.
const MERGE_CHUNK: usize = 1 << 19;
/// How many buckets ahead terms are fetched that are copied.
const AHEAD: usize = 8;
/// Largest digit in bits.
const MAX_WINDOW: usize = 16;

/// Commitments to several columns over the same bases.
///
/// # Panics
/// If a column is longer than the bases.
pub fn commit_all(columns: &[&[Fr]], bases: &[G1Affine]) -> Vec<G1Affine> {
    commit(columns, bases, Work::AtOnce)
}

/// [`commit_all`], with as many columns in work at a time as `work` says.
pub(crate) fn commit(columns: &[&[Fr]], bases: &[G1Affine], work: Work) -> Vec<G1Affine> {
    let spare = Spare::new(if work == Work::AtOnce { columns.len() } else { 1 });
    match work {
        Work::AtOnce => normalized(columns.par_iter().map(|column| sum_with(column, bases, &spare)).collect()),
        Work::OneByOne => normalized(columns.iter().map(|column| sum_with(column, bases, &spare)).collect()),
    }
}

/// Sums as affine points.
pub(crate) fn normalized(sums: Vec<G1>) -> Vec<G1Affine> {
    let mut out = vec![G1Affine::identity(); sums.len()];
    G1::batch_normalize(&sums, &mut out);
    out
}

/// `Σ scalars[i]·bases[i]`.
///
/// # Panics
/// If there are more scalars than bases, or 2^31 and more.
pub fn msm(scalars: &[Fr], bases: &[G1Affine]) -> G1 {
    sum_with(scalars, bases, &Spare::new(1))
}

/// [`msm`] in working space that is used again.
pub(crate) fn sum_with(scalars: &[Fr], bases: &[G1Affine], spare: &Spare) -> G1 {
    assert!(scalars.len() <= bases.len(), "{} scalars for {} bases", scalars.len(), bases.len());
    assert!(scalars.len() < NEGATIVE as usize, "{} scalars", scalars.len());
    let [tiny, small, medium, full] = classify(scalars);
    let full: Entries<4> = full;
    let ((a, b), (c, d)) = rayon::join(
        || rayon::join(|| class_sum(&tiny.narrow(), bases, spare), || class_sum(&small.narrow(), bases, spare)),
        || rayon::join(|| class_sum(&medium.narrow(), bases, spare), || class_sum(&full, bases, spare)),
    );
    a + b + c + d
}

/// Bytes that [`msm`] of `n` terms takes besides its operands, at most, on so many threads: the entries, which grow by doubling
/// until they are gathered, and the buckets of one window on each thread.
pub(crate) fn working_space(n: usize, threads: usize) -> u64 {
    // Twice while they grow, once gathered, and a third of it again for what is being doubled.
    const ENTRY: usize = 120;
    let mut lengths = vec![0; CLASSES[3] + 1];
    lengths[CLASSES[3]] = n;
    let buckets = 1 << (best_width(&lengths) - 1);
    let chunk = CHUNK.min(n);
    (ENTRY * n + threads * bucket_space(buckets, chunk)) as u64
}

/// One of the values that a row's value is the sum of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// The row.
    pub row: u32,
    /// Number of the value.
    pub value: u32,
}

/// For each of `n` values the sum of the bases at whose rows it stands.
///
/// # Panics
/// If a row or a value is out of range.
pub(crate) fn merge(terms: &[Term], n: usize, bases: &[G1Affine]) -> AlignedPoints {
    let mut buckets = Buckets::new(n, MERGE_CHUNK.min(terms.len()));
    let (mut digits, mut indices) = (Vec::new(), Vec::new());
    for terms in terms.chunks(MERGE_CHUNK) {
        digits.clear();
        digits.extend(terms.iter().map(|term| term.value as i32 + 1));
        indices.clear();
        indices.extend(terms.iter().map(|term| term.row));
        buckets.add(&digits, &indices, bases);
    }
    // Without terms there are none yet; behind the buckets there may be others.
    buckets.points.resize(n);
    buckets.points
}

/// Bytes that [`merge`] takes besides its operands and its result, at most.
pub(crate) fn merge_space(n: usize, terms: usize) -> u64 {
    let chunk = MERGE_CHUNK.min(terms);
    (bucket_space(n, chunk) + 8 * chunk) as u64
}

/// Bytes that `n` buckets take with their working space, `chunk` terms added at a time.
fn bucket_space(n: usize, chunk: usize) -> usize {
    let (terms, pairs) = (chunk / 2 + n, n.max(chunk / 2));
    // Points while they grow, both lists of terms, pairs with places, order with digits, starts with lists, and one batch.
    64 * (3 * n + 2 * terms) + 12 * pairs + 8 * chunk + 16 * n + (1 << 18)
}

/// Scalars of one class: index with sign, and magnitude in 64-bit limbs, least first.
struct Entries<const L: usize> {
    indices: Vec<u32>,
    magnitudes: Vec<[u64; L]>,
    /// How many magnitudes have each bit length.
    lengths: Vec<usize>,
}

impl<const L: usize> Entries<L> {
    fn new() -> Self {
        Self::with_capacity(0)
    }

    fn with_capacity(n: usize) -> Self {
        Self { indices: Vec::with_capacity(n), magnitudes: Vec::with_capacity(n), lengths: vec![0; 64 * L + 1] }
    }
}

impl Entries<4> {
    /// The same with one limb; only for classes of at most 64 bits.
    fn narrow(self) -> Entries<1> {
        let magnitudes = self.magnitudes.into_iter().map(|m| [m[0]]).collect();
        Entries { indices: self.indices, magnitudes, lengths: self.lengths }
    }

    fn push(&mut self, index: u32, magnitude: [u64; 4], bits: usize) {
        self.indices.push(index);
        self.magnitudes.push(magnitude);
        self.lengths[bits] += 1;
    }

    fn append(&mut self, other: Self) {
        self.indices.extend(other.indices);
        self.magnitudes.extend(other.magnitudes);
        for (a, b) in self.lengths.iter_mut().zip(other.lengths) {
            *a += b;
        }
    }
}

/// Limbs of an element in canonical form, least first.
pub(crate) fn limbs<F: PrimeField<Repr: AsRef<[u8]>>>(x: &F) -> [u64; 4] {
    let bytes = x.to_repr();
    let bytes = bytes.as_ref();
    std::array::from_fn(|i| bytes[8 * i..8 * i + 8].iter().rev().fold(0, |limb, &b| limb << 8 | u64::from(b)))
}

fn bit_length(limbs: &[u64; 4]) -> usize {
    limbs.iter().rposition(|&l| l != 0).map_or(0, |i| 64 * i + 64 - limbs[i].leading_zeros() as usize)
}

/// Sign and magnitude of the representative of least absolute value.
fn signed(x: &Fr) -> (bool, [u64; 4], usize) {
    let value = limbs(x);
    let bits = bit_length(&value);
    if bits <= CLASSES[2] {
        return (false, value, bits);
    }
    let negated = limbs(&-x);
    let negated_bits = bit_length(&negated);
    if negated_bits < bits { (true, negated, negated_bits) } else { (false, value, bits) }
}

fn classify(scalars: &[Fr]) -> [Entries<4>; 4] {
    let chunk = scalars.len().div_ceil(4 * rayon::current_num_threads()).max(1 << 12);
    let parts: Vec<[Entries<4>; 4]> = scalars
        .par_chunks(chunk)
        .enumerate()
        .map(|(c, scalars)| {
            let mut out = CLASSES.map(|_| Entries::new());
            for (i, scalar) in scalars.iter().enumerate() {
                if *scalar == Fr::zero() {
                    continue;
                }
                let (negative, magnitude, bits) = signed(scalar);
                let class = CLASSES.iter().position(|&most| bits <= most).unwrap_or(CLASSES.len() - 1);
                let index = (c * chunk + i) as u32 | if negative { NEGATIVE } else { 0 };
                out[class].push(index, magnitude, bits);
            }
            out
        })
        .collect();
    let mut out =
        std::array::from_fn(|class| Entries::with_capacity(parts.iter().map(|part| part[class].indices.len()).sum()));
    for part in parts {
        for (all, some) in out.iter_mut().zip(part) {
            all.append(some);
        }
    }
    out
}

/// Digit `window` of a signed representation in base 2^width: in −2^{width−1} ..= 2^{width−1}.
fn digit<const L: usize>(magnitude: &[u64; L], window: usize, width: usize) -> i32 {
    // Bits window·width − 1 ..= window·width + width − 1, the lowest of them only rounding; a zero below the number.
    let low = (window * width).wrapping_sub(1);
    let raw = if window == 0 {
        magnitude[0] << 1
    } else {
        let (limb, bit) = (low / 64, low % 64);
        let here = magnitude.get(limb).map_or(0, |l| l >> bit);
        let next = if bit == 0 { 0 } else { magnitude.get(limb + 1).map_or(0, |l| l << (64 - bit)) };
        here | next
    };
    let raw = (raw & ((1 << (width + 1)) - 1)) as i32;
    ((raw + 1) >> 1) - if raw >> width == 1 { 1 << width } else { 0 }
}

/// Digit width with the least additions: one for each scalar that reaches a window but the first of each bucket, two for each
/// of its buckets.
fn best_width(lengths: &[usize]) -> usize {
    let bits = lengths.iter().rposition(|&n| n > 0).unwrap_or(0);
    // reaching[b]: scalars of more than b bits, or as many.
    let mut reaching = vec![0; lengths.len() + 1];
    for b in (0..lengths.len()).rev() {
        reaching[b] = reaching[b + 1] + lengths[b];
    }
    let cost = |width: usize| -> usize {
        let buckets = 1 << (width - 1);
        // The first of each bucket costs nothing; so many buckets have one, nearly, if digits are random.
        let taken = |terms: usize| (terms as u64 * buckets as u64 / (terms + buckets) as u64) as usize;
        let window = |w: usize| {
            let terms = reaching[(w * width).min(bits)];
            terms - taken(terms) + 2 * buckets
        };
        (0..(bits + 1).div_ceil(width)).map(window).sum()
    };
    (2..=MAX_WINDOW).min_by_key(|&width| cost(width)).unwrap_or(MAX_WINDOW)
}

fn class_sum<const L: usize>(entries: &Entries<L>, bases: &[G1Affine], spare: &Spare) -> G1 {
    let n = entries.indices.len();
    if n < FEW {
        return entries
            .indices
            .iter()
            .zip(&entries.magnitudes)
            .map(|(&index, magnitude)| multiple(&term(bases, index), magnitude))
            .sum();
    }
    let bits = entries.lengths.iter().rposition(|&n| n > 0).unwrap_or(0);
    let width = best_width(&entries.lengths);
    // A signed digit can carry one bit beyond the highest.
    let windows = (bits + 1).div_ceil(width);
    let parts = spare.parts(windows).min(n.div_ceil(1 << 15)).max(1);
    let part = n.div_ceil(parts);
    let sums: Vec<G1> = (0..windows * parts)
        .into_par_iter()
        .with_max_len(1)
        .map(|task| {
            let (window, p) = (task / parts, task % parts);
            let mut buckets = spare.take(1 << (width - 1), CHUNK.min(part));
            let sum =
                window_sum(&mut buckets, entries, bases, window, width, (p * part).min(n)..((p + 1) * part).min(n));
            spare.put(buckets);
            sum
        })
        .collect();
    sums.chunks(parts)
        .rev()
        .fold(G1::identity(), |sum, parts| (0..width).fold(sum, |sum, _| sum.double()) + parts.iter().sum::<G1>())
}

fn multiple(base: &G1Affine, magnitude: &[u64]) -> G1 {
    let bits = magnitude.iter().rev().flat_map(|limb| (0..64).rev().map(move |bit| limb >> bit & 1 == 1));
    bits.skip_while(|bit| !bit).fold(G1::identity(), |sum, bit| {
        let sum = sum.double();
        if bit { sum + base } else { sum }
    })
}

/// `Σ digit·base` over one window of a range of scalars.
fn window_sum<const L: usize>(
    buckets: &mut Buckets,
    entries: &Entries<L>,
    bases: &[G1Affine],
    window: usize,
    width: usize,
    range: Range<usize>,
) -> G1 {
    let mut digits = mem::take(&mut buckets.digits);
    for start in range.clone().step_by(CHUNK) {
        let chunk = start..(start + CHUNK).min(range.end);
        digits.clear();
        digits.extend(entries.magnitudes[chunk.clone()].iter().map(|m| digit(m, window, width)));
        buckets.add(&digits, &entries.indices[chunk], bases);
    }
    buckets.digits = digits;
    buckets.sum()
}

/// One point for each absolute value of a digit, from 1, with the working space that filling them takes.
struct Buckets {
    n: usize,
    empty: bool,
    adder: BatchAdder,
    /// Room for the digits of a chunk.
    digits: Vec<i32>,
    /// The buckets, and behind them what is about to be added.
    points: AlignedPoints,
    /// Terms sorted by bucket, and where each bucket's begin.
    order: Vec<u32>,
    starts: Vec<u32>,
    /// Lists (bucket, start, length) of terms that are still to be summed, and the terms.
    lists: Vec<(u32, u32, u32)>,
    terms: AlignedPoints,
    sums: AlignedPoints,
    pairs: Vec<[u32; 2]>,
    places: Vec<u32>,
}

/// Working space that a task has used, for the next one: memory that the system has to clear first took a tenth of the time.
pub(crate) struct Spare {
    /// Sums that are worked on side by side.
    sums: usize,
    buckets: Mutex<Vec<Buckets>>,
}

impl Spare {
    /// For so many sums side by side.
    pub(crate) fn new(sums: usize) -> Self {
        Self { sums, buckets: Mutex::default() }
    }

    /// Parts that a window's terms are split into, each with buckets of its own, so that there is work for all threads.
    fn parts(&self, windows: usize) -> usize {
        match rayon::current_num_threads() {
            1 => 1,
            threads => (2 * threads).div_ceil(windows * self.sums.max(1)),
        }
    }

    /// `n` empty buckets with room for `chunk` terms at a time.
    fn take(&self, n: usize, chunk: usize) -> Buckets {
        // A task that panicked took its buckets with it; the list is whole.
        match self.buckets.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            Some(mut used) => {
                (used.n, used.empty) = (n, true);
                used
            }
            None => Buckets::new(n, chunk),
        }
    }

    fn put(&self, used: Buckets) {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner).push(used);
    }
}

impl Buckets {
    /// `n` buckets with room for `chunk` terms at a time.
    fn new(n: usize, chunk: usize) -> Self {
        let (terms, pairs) = (chunk / 2 + n, n.max(chunk / 2));
        Self {
            n,
            empty: true,
            adder: BatchAdder::default(),
            digits: Vec::with_capacity(chunk),
            points: AlignedPoints::with_capacity(n),
            order: Vec::with_capacity(chunk),
            starts: Vec::with_capacity(n + 1),
            lists: Vec::with_capacity(n.min(chunk / 2)),
            terms: AlignedPoints::with_capacity(terms),
            sums: AlignedPoints::with_capacity(terms),
            pairs: Vec::with_capacity(pairs),
            places: Vec::with_capacity(pairs),
        }
    }

    /// Adds each term to the bucket of its digit.
    fn add(&mut self, digits: &[i32], indices: &[u32], bases: &[G1Affine]) {
        let n = self.n;
        let table = Table::scattered(bases);
        self.sort(digits, indices);
        // What the buckets held stays in front; the sums of this call are put behind.
        let held = if self.empty { 0 } else { n };
        self.points.reach(held + n);
        let points = &mut self.points[held..];

        // First round: out of the bases.
        let mut end = 0;
        self.lists.clear();
        self.pairs.clear();
        self.places.clear();
        self.terms.reach(self.order.len() / 2 + n);
        for (bucket, range) in self.starts.windows(2).enumerate() {
            // The odd ones are copied: asked for some buckets ahead.
            if let Some([start, end]) = self.starts.get(bucket + AHEAD..bucket + AHEAD + 2)
                && (end - start) % 2 == 1
            {
                table.prefetch(self.order[*end as usize - 1] & !NEGATIVE);
            }
            let list = &self.order[range[0] as usize..range[1] as usize];
            let (pairs, rest) = list.as_chunks::<2>();
            if pairs.is_empty() {
                points[bucket] = rest.first().map_or_else(G1Affine::identity, |only| term(bases, *only));
                continue;
            }
            self.lists.push((bucket as u32, end, list.len().div_ceil(2) as u32));
            for pair in pairs {
                self.pairs.push(*pair);
                self.places.push(end);
                end += 1;
            }
            if let [odd] = rest {
                self.terms[end as usize] = term(bases, *odd);
                end += 1;
            }
        }
        self.adder.add(table, &self.pairs, &mut self.terms, &self.places);
        // Further rounds: from one list of terms into the other.
        while !self.lists.is_empty() {
            let mut end = 0;
            self.pairs.clear();
            self.places.clear();
            self.sums.reach(self.terms.len());
            let (terms, sums, all_pairs, places) = (&self.terms, &mut self.sums, &mut self.pairs, &mut self.places);
            self.lists.retain_mut(|(bucket, start, len)| {
                if *len == 1 {
                    points[*bucket as usize] = terms[*start as usize];
                    return false;
                }
                let new_start = end;
                for pair in 0..*len / 2 {
                    all_pairs.push([*start + 2 * pair, *start + 2 * pair + 1]);
                    places.push(end);
                    end += 1;
                }
                if *len % 2 == 1 {
                    sums[end as usize] = terms[(*start + *len - 1) as usize];
                    end += 1;
                }
                (*start, *len) = (new_start, end - new_start);
                true
            });
            self.adder.add(Table::in_order(&self.terms), &self.pairs, &mut self.sums, &self.places);
            mem::swap(&mut self.terms, &mut self.sums);
        }
        if !self.empty {
            self.merge();
        }
        self.empty = false;
    }

    /// Sorts the terms by their digits' absolute values; zeros are dropped.
    fn sort(&mut self, digits: &[i32], indices: &[u32]) {
        let n = self.n;
        self.starts.clear();
        self.starts.resize(n + 1, 0);
        // First how many; then where each bucket ends; filled from behind, where it starts.
        let mut zeros = 0;
        for d in digits {
            match d.unsigned_abs() as usize {
                0 => zeros += 1,
                d => self.starts[d - 1] += 1,
            }
        }
        let mut end = 0;
        for start in &mut self.starts {
            end += *start;
            *start = end;
        }
        self.order.clear();
        self.order.resize(digits.len() - zeros, 0);
        for (d, index) in digits.iter().zip(indices).rev() {
            if *d != 0 {
                let at = &mut self.starts[d.unsigned_abs() as usize - 1];
                *at -= 1;
                self.order[*at as usize] = index ^ (*d as u32 & NEGATIVE);
            }
        }
    }

    /// Adds the second half of the points to the first.
    fn merge(&mut self) {
        let n = self.n as u32;
        self.pairs.clear();
        self.places.clear();
        for bucket in 0..n {
            self.pairs.push([bucket, n + bucket]);
            self.places.push(bucket);
        }
        self.sums.reach(self.n);
        self.adder.add(Table::in_order(&self.points), &self.pairs, &mut self.sums, &self.places);
        mem::swap(&mut self.points, &mut self.sums);
    }

    /// `Σ i·bucket[i]`, counted from 1.
    fn sum(&mut self) -> G1 {
        if self.empty {
            return G1::identity();
        }
        if self.n < 1 << 11 {
            return running_sum(self.points[..self.n].iter().rev()).1;
        }
        // Lanes of consecutive buckets, in step: their plain sums, and their sums weighted from 1 within the lane. Both stand
        // behind the buckets, the weighted first.
        let len = 32;
        let lanes = self.n / len;
        let (weighted, plain) = (self.n, self.n + lanes);
        self.points.resize(self.n);
        self.points.resize(self.n + 2 * lanes);
        self.sums.reach(2 * lanes);
        let places: Vec<u32> = (0..2 * lanes as u32).collect();
        for step in 0..=len {
            self.pairs.clear();
            // The weighted sums are one step behind, which makes the two additions independent.
            self.pairs.extend((0..lanes).map(|lane| [(weighted + lane) as u32, (plain + lane) as u32]));
            if step < len {
                self.pairs.extend((0..lanes).map(|lane| [(plain + lane) as u32, ((lane + 1) * len - 1 - step) as u32]));
            }
            let n = self.pairs.len();
            self.adder.add(Table::in_order(&self.points), &self.pairs, &mut self.sums, &places[..n]);
            self.points[weighted..weighted + n].copy_from_slice(&self.sums[..n]);
        }
        // Then the lanes' offsets: lane·len times the plain sum.
        let offsets = running_sum(self.points[plain + 1..].iter().rev()).1;
        let offsets = (0..len.trailing_zeros()).fold(offsets, |sum, _| sum.double());
        self.points[weighted..plain].iter().fold(offsets, |sum, w| sum + w)
    }
}

/// The sum of the points, and the sum weighted with 1 for the last, 2 for the one before, and so on.
fn running_sum<'a>(points: impl Iterator<Item = &'a G1Affine>) -> (G1, G1) {
    points.fold((G1::identity(), G1::identity()), |(plain, weighted), point| {
        let plain = plain + point;
        (plain, weighted + plain)
    })
}
