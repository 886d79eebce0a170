//! Transforms between the values of a polynomial and its coefficients.
//!
//! Coefficients are held in bit-reversed order, which is what decimation in frequency leaves and decimation in time
//! takes: there and back needs no reordering pass. Twiddles are stored, one run of consecutive factors for each level; a
//! coset's shift is part of its factors, so that a transform onto a coset costs what a plain one does.
//!
//! Source: Cooley & Tukey (1965) and Gentleman & Sande (1966), radix 2, two levels to a pass above the cache.

use halo2_proofs::halo2curves::{
    bn256::Fr,
    ff::{Field, PrimeField},
};
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use crate::fma::Fma;
use crate::kernel::Kernel;

/// Values that are transformed without leaving the first-level cache.
pub(crate) const CACHED: usize = 1 << 10;
/// Elements whose lowest levels the kernels for eight do at a time; with less the portable code is used.
pub(crate) const TILE: usize = 1 << 6;
/// Values below which a transform stays on one thread.
const SERIAL: usize = 1 << 13;

/// The subgroup of order 2^k with what transforms over it need.
#[derive(Clone, Debug)]
pub struct Domain {
    k: u32,
    omega: Fr,
    omega_inv: Fr,
    n_inv: Fr,
    kernel: Kernel,
    inverse: Twiddles,
}

/// Factors of one network of butterflies: level `s` (blocks of 2^{s+1} values) has 2^s of them.
#[derive(Clone, Debug)]
pub(crate) struct Twiddles(Vec<Vec<Fr>>);

impl Twiddles {
    /// Factors `shift^{n/m}·root_m^j` of every level `m = 2, 4 … n`, where `root` has order `n = 2^k`, as the kernel takes them.
    fn new(k: u32, root: Fr, shift: Fr, kernel: Kernel) -> Self {
        let factor = match kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Fma(_) => Fma::FACTOR,
            _ => Fr::ONE,
        };
        let mut levels = Vec::with_capacity(k as usize);
        let (mut root, mut shift) = (root, shift);
        for level in (0..k).rev() {
            levels.push(powers_from(shift * factor, root, 1 << level));
            root = root.square();
            shift = shift.square();
        }
        levels.reverse();
        Self(levels)
    }

    /// The factors of the level that makes blocks of so many values.
    pub(crate) fn level(&self, values: usize) -> &[Fr] {
        &self.0[values.trailing_zeros() as usize - 1]
    }
}

/// A coset `shift·H` of the domain's subgroup H.
#[derive(Clone, Debug)]
pub struct Coset {
    shift: Fr,
    twiddles: Twiddles,
}

impl Coset {
    /// The shift.
    pub fn shift(&self) -> Fr {
        self.shift
    }
}

impl Domain {
    /// The subgroup of order 2^k; k ≤ 28 is the caller's to ensure (the field has no larger one).
    ///
    /// # Panics
    /// If k > 28.
    pub fn new(k: u32) -> Self {
        assert!(k <= Fr::S, "the field's subgroups have at most 2^{} elements", Fr::S);
        let omega = (k..Fr::S).fold(Fr::ROOT_OF_UNITY, |root, _| root.square());
        let omega_inv = (k..Fr::S).fold(Fr::ROOT_OF_UNITY_INV, |root, _| root.square());
        let n_inv = (0..k).fold(Fr::ONE, |power, _| power * Fr::TWO_INV);
        let kernel = if 1 << k < TILE { Kernel::Portable } else { Kernel::detect() };
        Self { k, omega, omega_inv, n_inv, kernel, inverse: Twiddles::new(k, omega_inv, Fr::ONE, kernel) }
    }

    /// log2 of the size.
    pub fn k(&self) -> u32 {
        self.k
    }

    /// Number of elements.
    pub fn n(&self) -> usize {
        1 << self.k
    }

    /// Generator.
    pub fn omega(&self) -> Fr {
        self.omega
    }

    /// `omega^i`, for negative `i` too.
    pub fn omega_pow(&self, i: i64) -> Fr {
        let base = if i < 0 { self.omega_inv } else { self.omega };
        base.pow_vartime([i.unsigned_abs()])
    }

    /// The coset with this shift.
    pub fn coset(&self, shift: Fr) -> Coset {
        Coset { shift, twiddles: Twiddles::new(self.k, self.omega, shift, self.kernel) }
    }

    /// Values over H, in place, to coefficients in bit-reversed order.
    ///
    /// # Panics
    /// If `values` has another length than the domain.
    pub fn to_coefficients(&self, values: &mut [Fr]) {
        assert_eq!(values.len(), self.n());
        match self.kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Ifma(kernel) => frequency(kernel, values, &self.inverse, self.n_inv),
            #[cfg(target_arch = "x86_64")]
            Kernel::Fma(kernel) => frequency(kernel, values, &self.inverse, self.n_inv),
            Kernel::Portable => frequency(Portable, values, &self.inverse, self.n_inv),
        }
    }

    /// Coefficients in bit-reversed order, in place, to values over a coset.
    ///
    /// # Panics
    /// If `coefficients` has another length than the domain.
    pub fn to_values(&self, coset: &Coset, coefficients: &mut [Fr]) {
        assert_eq!(coefficients.len(), self.n());
        match self.kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Ifma(kernel) => time(kernel, coefficients, &coset.twiddles, true),
            #[cfg(target_arch = "x86_64")]
            Kernel::Fma(kernel) => time(kernel, coefficients, &coset.twiddles, true),
            Kernel::Portable => time(Portable, coefficients, &coset.twiddles, true),
        }
    }
}

/// `first·ratio^i` for i < n.
pub(crate) fn powers_from(first: Fr, ratio: Fr, n: usize) -> Vec<Fr> {
    let mut out = vec![Fr::ZERO; n];
    write_powers(first, ratio, &mut out);
    out
}

/// Makes element i `first·ratio^i`.
pub(crate) fn write_powers(first: Fr, ratio: Fr, out: &mut [Fr]) {
    let chunk = (out.len() / 64).max(1 << 10);
    out.par_chunks_mut(chunk).enumerate().for_each(|(c, out)| {
        let mut power = first * ratio.pow_vartime([(c * chunk) as u64]);
        for x in out {
            *x = power;
            power *= ratio;
        }
    });
}

/// Bits of an index that a tile of [`bit_reverse`] is wide and high: a row of it fills whole lines of the cache.
const TILE_BITS: u32 = 4;

/// Reorders natural order to bit-reversed order, or back.
///
/// # Panics
/// If the length is no power of two.
pub fn bit_reverse(values: &[Fr]) -> Vec<Fr> {
    let mut out = vec![Fr::ZERO; values.len()];
    write_bit_reversed(values, &mut out);
    out
}

/// [`bit_reverse`] into `out`, whatever it holds.
///
/// Rows of 2^4 neighbours are read and written, tile by tile, so that no line of the cache is fetched for one element alone.
///
/// # Panics
/// If the length is no power of two, or `out` has another.
pub(crate) fn write_bit_reversed(values: &[Fr], out: &mut [Fr]) {
    assert!(values.len().is_power_of_two() && out.len() == values.len());
    let bits = values.len().trailing_zeros();
    if bits < 2 * TILE_BITS {
        for (i, out) in out.iter_mut().enumerate() {
            *out = values[reversed(i, bits)];
        }
        return;
    }
    // An index is (a, b, c), a and c of TILE_BITS bits; it goes to (c, b, a), each of them reversed.
    let side = 1 << TILE_BITS;
    let middle = bits - 2 * TILE_BITS;
    let per_task = (1usize << middle).div_ceil(64);
    let mut tasks: Vec<Vec<&mut [Fr]>> = (0..(1usize << middle).div_ceil(per_task)).map(|_| Vec::new()).collect();
    for strip in out.chunks_exact_mut(values.len() / side) {
        for (task, part) in tasks.iter_mut().zip(strip.chunks_mut(per_task * side)) {
            task.push(part);
        }
    }
    tasks.into_par_iter().enumerate().for_each(|(task, mut strips)| {
        for tile in 0..strips[0].len() / side {
            let b = reversed(task * per_task + tile, middle);
            for a in 0..side {
                let row = &values[(a << (bits - TILE_BITS)) | (b << TILE_BITS)..][..side];
                let at = tile * side + reversed(a, TILE_BITS);
                for (c, value) in row.iter().enumerate() {
                    strips[reversed(c, TILE_BITS)][at] = *value;
                }
            }
        }
    });
}

/// The lowest `bits` bits in reversed order.
fn reversed(index: usize, bits: u32) -> usize {
    if bits == 0 { 0 } else { index.reverse_bits() >> (usize::BITS - bits) }
}

/// Passes over parts of a transform. Elements may be left unreduced between passes of the same kernel.
pub(crate) trait Butterflies: Copy + Send + Sync {
    /// Decimation in time of at most [`CACHED`] elements. What is `last` leaves them reduced.
    fn time_leaf(self, a: &mut [Fr], w: &Twiddles, last: bool);

    /// Decimation in frequency of at most [`CACHED`] elements, which are reduced and multiplied with `scale` at the end.
    fn frequency_leaf(self, a: &mut [Fr], w: &Twiddles, scale: Fr);

    /// The two outer levels of decimation in time, over parts of the quarters.
    fn time_pass(self, quads: Quads<'_>, last: bool);

    /// The two outer levels of decimation in frequency, over parts of the quarters.
    fn frequency_pass(self, quads: Quads<'_>);
}

/// One element at a time, always reduced; runs everywhere.
#[derive(Clone, Copy)]
struct Portable;

impl Butterflies for Portable {
    fn time_leaf(self, a: &mut [Fr], w: &Twiddles, _: bool) {
        let n = a.len();
        let mut m = 2;
        while m <= n {
            let w = w.level(m);
            for block in a.chunks_exact_mut(m) {
                let (lo, hi) = block.split_at_mut(m / 2);
                for ((a, b), w) in lo.iter_mut().zip(hi).zip(w) {
                    merge(a, b, w);
                }
            }
            m *= 2;
        }
    }

    fn frequency_leaf(self, a: &mut [Fr], w: &Twiddles, scale: Fr) {
        let mut m = a.len();
        while m >= 2 {
            let w = w.level(m);
            for block in a.chunks_exact_mut(m) {
                let (lo, hi) = block.split_at_mut(m / 2);
                for ((a, b), w) in lo.iter_mut().zip(hi).zip(w) {
                    split(a, b, w);
                }
            }
            m /= 2;
        }
        for x in a {
            *x *= scale;
        }
    }

    fn time_pass(self, quads: Quads<'_>, _: bool) {
        for_each_quad(quads, |[a, b, c, d], [inner, outer, outer_odd]| {
            merge(a, b, inner);
            merge(c, d, inner);
            merge(a, c, outer);
            merge(b, d, outer_odd);
        });
    }

    fn frequency_pass(self, quads: Quads<'_>) {
        for_each_quad(quads, |[a, b, c, d], [inner, outer, outer_odd]| {
            split(a, c, outer);
            split(b, d, outer_odd);
            split(a, b, inner);
            split(c, d, inner);
        });
    }
}

/// One butterfly of decimation in time.
#[inline(always)]
fn merge(a: &mut Fr, b: &mut Fr, w: &Fr) {
    let t = *b * w;
    *b = *a - t;
    *a += t;
}

/// One butterfly of decimation in frequency.
#[inline(always)]
fn split(a: &mut Fr, b: &mut Fr, w: &Fr) {
    let t = *a - *b;
    *a += *b;
    *b = t * w;
}

/// Runs `f` on the four elements at the same place of each quarter, with the three factors of that place.
#[inline(always)]
fn for_each_quad((((a, b), (c, d)), (inner, (outer, outer_odd))): Quads<'_>, f: impl Fn([&mut Fr; 4], [&Fr; 3])) {
    for (((a, b), (c, d)), (inner, (outer, outer_odd))) in
        a.iter_mut().zip(b).zip(c.iter_mut().zip(d)).zip(inner.iter().zip(outer.iter().zip(outer_odd)))
    {
        f([a, b, c, d], [inner, outer, outer_odd]);
    }
}

/// Decimation in time: bit-reversed order in, natural order out; reduced at the `last` level.
fn time(kernel: impl Butterflies, a: &mut [Fr], w: &Twiddles, last: bool) {
    if a.len() <= CACHED {
        return kernel.time_leaf(a, w, last);
    }
    quarters(a, |quarter| time(kernel, quarter, w, false));
    pass(a, w, |quads| kernel.time_pass(quads, last));
}

/// Decimation in frequency: natural order in, bit-reversed order out, everything times `scale`.
fn frequency(kernel: impl Butterflies, a: &mut [Fr], w: &Twiddles, scale: Fr) {
    if a.len() <= CACHED {
        return kernel.frequency_leaf(a, w, scale);
    }
    pass(a, w, |quads| kernel.frequency_pass(quads));
    quarters(a, |quarter| frequency(kernel, quarter, w, scale));
}

/// Runs `f` on each quarter, on several threads if they are large.
fn quarters(a: &mut [Fr], f: impl Fn(&mut [Fr]) + Send + Sync) {
    let quarter = a.len() / 4;
    if a.len() >= SERIAL {
        a.par_chunks_exact_mut(quarter).for_each(f);
    } else {
        a.chunks_exact_mut(quarter).for_each(f);
    }
}

/// Quarters of a block, with the factors of its two outer levels.
pub(crate) fn quads<'a>(block: &'a mut [Fr], w: &'a Twiddles) -> Quads<'a> {
    let n = block.len();
    let (ab, cd) = block.split_at_mut(n / 2);
    ((ab.split_at_mut(n / 4), cd.split_at_mut(n / 4)), (w.level(n / 2), w.level(n).split_at(n / 4)))
}

/// Runs `f` on the quarters of a block, in parts on several threads if they are large.
fn pass(block: &mut [Fr], w: &Twiddles, f: impl Fn(Quads<'_>) + Send + Sync) {
    let quarter = block.len() / 4;
    let quads = quads(block, w);
    if quarter < SERIAL {
        return f(quads);
    }
    let (((a, b), (c, d)), (inner, (outer, outer_odd))) = quads;
    let chunk = SERIAL / 4;
    let values = (a.par_chunks_mut(chunk).zip(b.par_chunks_mut(chunk)))
        .zip(c.par_chunks_mut(chunk).zip(d.par_chunks_mut(chunk)));
    let factors = inner.par_chunks(chunk).zip(outer.par_chunks(chunk).zip(outer_odd.par_chunks(chunk)));
    values.zip(factors).for_each(f);
}

/// Slices in eights; their lengths are multiples of eight.
#[cfg(target_arch = "x86_64")]
macro_rules! eights {
    ($($name:ident),*) => { $(let $name = $name.as_chunks().0;)* };
}
#[cfg(target_arch = "x86_64")]
macro_rules! eights_mut {
    ($($name:ident),*) => { $(let $name = $name.as_chunks_mut().0;)* };
}
#[cfg(target_arch = "x86_64")]
pub(crate) use {eights, eights_mut};

type Pair<'a> = (&'a mut [Fr], &'a mut [Fr]);

/// Parts of the four quarters of a block, and the factors of the inner level, of the outer level's first half and second.
pub(crate) type Quads<'a> = ((Pair<'a>, Pair<'a>), (&'a [Fr], (&'a [Fr], &'a [Fr])));
