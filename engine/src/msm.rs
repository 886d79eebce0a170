//! Sums of multiples of the bases: commitments.
//!
//! Scalars are taken as signed numbers min(x, p − x) and split into classes by size, so that a column of 16-bit values,
//! negative ones too, costs one addition a row, however large its few blinding rows are. Each class goes through the
//! bucket method with signed digits; buckets are summed as trees of batch-affine additions, which takes equal points,
//! opposite points and crowded buckets (repeated values) without special cases. Zeros, and zero digits, cost nothing.
//!
//! Source: Pippenger (1976); Booth (1951) for the digits; Montgomery (1987) for the shared inversions.

use std::ops::Range;

use halo2_proofs::halo2curves::{
    bn256::{Fr, G1, G1Affine},
    ff::PrimeField,
    group::{Curve, Group, prime::PrimeCurveAffine},
};
use rayon::prelude::*;

use crate::batch_affine::{BATCH, BatchAdder};

/// Most bits of the magnitudes of each class.
const CLASSES: [usize; 4] = [16, 32, 64, 254];
/// Scalars below which a class is summed by doubling and adding.
const FEW: usize = 24;
/// Scalars that are sorted and summed at a time, which bounds the working space (64 bytes each).
const CHUNK: usize = 1 << 18;
/// Largest digit in bits.
const MAX_WINDOW: usize = 16;
/// Set in an index when the base is to be subtracted.
const NEGATIVE: u32 = 1 << 31;

/// Commitments to several columns over the same bases.
///
/// # Panics
/// If a column is longer than the bases.
pub fn commit_all(columns: &[&[Fr]], bases: &[G1Affine]) -> Vec<G1Affine> {
    let sums: Vec<G1> = columns.par_iter().map(|column| msm(column, bases)).collect();
    let mut out = vec![G1Affine::identity(); sums.len()];
    G1::batch_normalize(&sums, &mut out);
    out
}

/// `Σ scalars[i]·bases[i]`.
///
/// # Panics
/// If there are more scalars than bases, or 2^31 and more.
pub fn msm(scalars: &[Fr], bases: &[G1Affine]) -> G1 {
    assert!(scalars.len() <= bases.len(), "{} scalars for {} bases", scalars.len(), bases.len());
    assert!(scalars.len() < NEGATIVE as usize, "{} scalars", scalars.len());
    let [tiny, small, medium, full] = classify(scalars);
    let full: Entries<4> = full;
    let ((a, b), (c, d)) = rayon::join(
        || rayon::join(|| class_sum(&tiny.narrow(), bases), || class_sum(&small.narrow(), bases)),
        || rayon::join(|| class_sum(&medium.narrow(), bases), || class_sum(&full, bases)),
    );
    a + b + c + d
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
        Self { indices: Vec::new(), magnitudes: Vec::new(), lengths: vec![0; 64 * L + 1] }
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
pub(crate) fn limbs(x: &Fr) -> [u64; 4] {
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
    let mut out = CLASSES.map(|_| Entries::new());
    for part in parts {
        for (all, some) in out.iter_mut().zip(part) {
            all.append(some);
        }
    }
    out
}

fn term(index: u32, bases: &[G1Affine]) -> G1Affine {
    let base = bases[(index & !NEGATIVE) as usize];
    if index & NEGATIVE == 0 { base } else { -base }
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

/// Digit width with the least additions: one for each scalar that reaches a window, two for each of its buckets.
fn best_width(lengths: &[usize]) -> usize {
    let bits = lengths.iter().rposition(|&n| n > 0).unwrap_or(0);
    // reaching[b]: scalars of more than b bits, or as many.
    let mut reaching = vec![0; lengths.len() + 1];
    for b in (0..lengths.len()).rev() {
        reaching[b] = reaching[b + 1] + lengths[b];
    }
    let cost = |width: usize| -> usize {
        (0..(bits + 1).div_ceil(width)).map(|w| reaching[(w * width).min(bits)] + (2 << (width - 1))).sum()
    };
    (2..=MAX_WINDOW).min_by_key(|&width| cost(width)).unwrap_or(MAX_WINDOW)
}

fn class_sum<const L: usize>(entries: &Entries<L>, bases: &[G1Affine]) -> G1 {
    let n = entries.indices.len();
    if n < FEW {
        return entries
            .indices
            .iter()
            .zip(&entries.magnitudes)
            .map(|(&index, magnitude)| multiple(&term(index, bases), magnitude))
            .sum();
    }
    let bits = entries.lengths.iter().rposition(|&n| n > 0).unwrap_or(0);
    let width = best_width(&entries.lengths);
    // A signed digit can carry one bit beyond the highest.
    let windows = (bits + 1).div_ceil(width);
    let parts = (2 * rayon::current_num_threads()).div_ceil(windows).min(n.div_ceil(1 << 15)).max(1);
    let part = n.div_ceil(parts);
    let sums: Vec<G1> = (0..windows * parts)
        .into_par_iter()
        .with_max_len(1)
        .map(|task| {
            let (window, p) = (task / parts, task % parts);
            window_sum(entries, bases, window, width, (p * part).min(n)..((p + 1) * part).min(n))
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
    entries: &Entries<L>,
    bases: &[G1Affine],
    window: usize,
    width: usize,
    range: Range<usize>,
) -> G1 {
    let mut adder = BatchAdder::default();
    let mut buckets = Buckets::new(1 << (width - 1));
    for start in range.clone().step_by(CHUNK) {
        let chunk = start..(start + CHUNK).min(range.end);
        let digits: Vec<i32> = entries.magnitudes[chunk.clone()].iter().map(|m| digit(m, window, width)).collect();
        buckets.add(&mut adder, &digits, &entries.indices[chunk], bases);
    }
    buckets.sum(&mut adder)
}

/// One point for each absolute value of a digit, from 1.
struct Buckets {
    points: Vec<G1Affine>,
    empty: bool,
}

impl Buckets {
    fn new(n: usize) -> Self {
        Self { points: vec![G1Affine::identity(); n], empty: true }
    }

    /// Adds each term to the bucket of its digit.
    fn add(&mut self, adder: &mut BatchAdder, digits: &[i32], indices: &[u32], bases: &[G1Affine]) {
        let n = self.points.len();
        // Terms sorted by bucket; what the bucket holds already comes first.
        let mut ends = vec![0usize; n + 1];
        for &d in digits {
            ends[d.unsigned_abs() as usize] += 1;
        }
        ends[0] = 0;
        if !self.empty {
            for end in &mut ends[1..] {
                *end += 1;
            }
        }
        for i in 1..=n {
            ends[i] += ends[i - 1];
        }
        let total = ends[n];
        let mut order = vec![0u32; total];
        let mut next: Vec<usize> = ends[..n].to_vec();
        let held = usize::from(!self.empty);
        for (&d, &index) in digits.iter().zip(indices) {
            if d != 0 {
                let slot = &mut next[d.unsigned_abs() as usize - 1];
                order[*slot + held] = if d < 0 { index ^ NEGATIVE } else { index };
                *slot += 1;
            }
        }
        let mut terms: Vec<G1Affine> = order.iter().map(|&index| term(index, bases)).collect();
        if !self.empty {
            for (start, point) in ends.iter().zip(&self.points) {
                terms[*start] = *point;
            }
        }
        let mut lists: Vec<(u32, u32)> = ends.windows(2).map(|e| (e[0] as u32, (e[1] - e[0]) as u32)).collect();
        fold_lists(adder, &mut terms, &mut lists);
        for (bucket, (start, len)) in self.points.iter_mut().zip(lists) {
            if len > 0 {
                *bucket = terms[start as usize];
            }
        }
        self.empty = false;
    }

    /// `Σ i·bucket[i]`, counted from 1.
    fn sum(&self, adder: &mut BatchAdder) -> G1 {
        let n = self.points.len();
        if n < 1 << 11 {
            return running_sum(self.points.iter().rev()).1;
        }
        // Lanes of consecutive buckets, in step: first their plain sums and their sums weighted from 1 within the lane.
        let len = 32;
        let lanes = n / len;
        let mut plain = vec![G1Affine::identity(); lanes];
        let mut weighted = plain.clone();
        let mut pairs = Vec::with_capacity(2 * lanes);
        for step in 0..=len {
            pairs.clear();
            // The weighted sums are one step behind, which makes the two additions independent.
            pairs.extend(weighted.iter().copied().zip(plain.iter().copied()));
            if step < len {
                pairs.extend(
                    plain.iter().enumerate().map(|(lane, sum)| (*sum, self.points[(lane + 1) * len - 1 - step])),
                );
            }
            adder.add(&mut pairs);
            for (w, (sum, _)) in weighted.iter_mut().zip(&pairs) {
                *w = *sum;
            }
            for (p, (sum, _)) in plain.iter_mut().zip(pairs.iter().skip(lanes)) {
                *p = *sum;
            }
        }
        // Then the lanes' offsets: lane·len times the plain sum.
        let offsets = running_sum(plain[1..].iter().rev()).1;
        let offsets = (0..len.trailing_zeros()).fold(offsets, |sum, _| sum.double());
        weighted.iter().fold(offsets, |sum, w| sum + w)
    }
}

/// The sum of the points, and the sum weighted with 1 for the last, 2 for the one before, and so on.
fn running_sum<'a>(points: impl Iterator<Item = &'a G1Affine>) -> (G1, G1) {
    points.fold((G1::identity(), G1::identity()), |(plain, weighted), point| {
        let plain = plain + point;
        (plain, weighted + plain)
    })
}

/// Sums every list (start, length) of terms into its first place, pair by pair.
fn fold_lists(adder: &mut BatchAdder, terms: &mut [G1Affine], lists: &mut [(u32, u32)]) {
    let mut pairs: Vec<(G1Affine, G1Affine)> = Vec::with_capacity(BATCH);
    let mut places: Vec<u32> = Vec::with_capacity(BATCH);
    let mut flush = |terms: &mut [G1Affine], pairs: &mut Vec<(G1Affine, G1Affine)>, places: &mut Vec<u32>| {
        adder.add(pairs);
        for (place, (sum, _)) in places.drain(..).zip(pairs.drain(..)) {
            terms[place as usize] = sum;
        }
    };
    loop {
        let mut busy = false;
        for (start, len) in lists.iter_mut() {
            if *len < 2 {
                continue;
            }
            busy = true;
            // Sums go to places whose terms are already in the batch or before it.
            for i in 0..*len / 2 {
                let at = (*start + 2 * i) as usize;
                pairs.push((terms[at], terms[at + 1]));
                places.push(*start + i);
                if pairs.len() == BATCH {
                    flush(terms, &mut pairs, &mut places);
                }
            }
            if *len % 2 == 1 {
                // The odd one out moves up: the term at its new place is in a batch already, and no sum goes there.
                terms[(*start + *len / 2) as usize] = terms[(*start + *len - 1) as usize];
            }
            *len = len.div_ceil(2);
        }
        flush(terms, &mut pairs, &mut places);
        if !busy {
            return;
        }
    }
}
