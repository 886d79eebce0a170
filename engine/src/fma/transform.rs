//! Passes of the transforms, eight elements at a time.
//!
//! Factors are halves of what they stand for ([`FACTOR`]), because products come out doubled. In memory everything is
//! reduced; bounds between are units and sizes as in [`super::lanes`].

use halo2_proofs::halo2curves::{
    bn256::Fr,
    ff::{Field, PrimeField},
};

use super::Fma;
use super::lanes::Lanes;
use super::memory::{LANES, load, load_from, store};
use crate::fft::{Butterflies, CACHED, Quads, TILE, Twiddles, eights, eights_mut};
use crate::words::limbs;

const _: () = assert!(TILE == LANES * LANES);
/// Levels that are done within a tile.
const TILE_LEVELS: u32 = LANES.trailing_zeros();

type Eight = Lanes<Fr>;

/// One butterfly of decimation in time: from units u, of 3 at most, and size s to units u + 1 and size 1.4·s + 0.51.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn merge(a: &mut Eight, b: &mut Eight, w: &Eight) {
    let t = b.twice_times(w);
    *b = a.minus(&t);
    *a = a.plus(&t);
}

/// One butterfly of decimation in frequency: from 1 unit, or what was just loaded, to 1 unit; sums have twice the size.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn split(a: &mut Eight, b: &mut Eight, w: &Eight) {
    let t = a.minus(b);
    *a = a.plus(b).tidy();
    *b = t.twice_times(w);
}

impl Fma {
    /// What factors are multiplied by before they are used.
    pub(crate) const FACTOR: Fr = Fr::TWO_INV;
}

impl Butterflies for Fma {
    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    fn time_leaf(self, a: &mut [Fr], w: &Twiddles, _: bool) {
        // SAFETY: `Fma` exists only where the instructions do.
        unsafe { time_leaf(a, w) }
    }

    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    fn frequency_leaf(self, a: &mut [Fr], w: &Twiddles, scale: Fr) {
        // SAFETY: `Fma` exists only where the instructions do.
        unsafe { frequency_leaf(a, w, scale) }
    }

    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    fn time_pass(self, quads: Quads<'_>, _: bool) {
        // SAFETY: `Fma` exists only where the instructions do.
        unsafe { time_pass(quads) }
    }

    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    fn frequency_pass(self, quads: Quads<'_>) {
        // SAFETY: `Fma` exists only where the instructions do.
        unsafe { frequency_pass(quads) }
    }
}

/// Eight factors: 1 unit.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn load_factors(from: &[Fr; LANES]) -> Eight {
    load(from).tidy()
}

/// Eight vectors of a tile: lane i of the j-th is element 8i + j.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn load_tile(tile: &[Fr; TILE]) -> [Eight; LANES] {
    let mut eights = [Eight::zero(); LANES];
    for (j, eight) in eights.iter_mut().enumerate() {
        *eight = load_from(std::array::from_fn(|i| &tile[LANES * i + j]));
    }
    eights
}

/// The inverse of [`load_tile`].
#[inline]
#[target_feature(enable = "avx2,fma")]
fn store_tile(tile: &mut [Fr; TILE], eights: [Eight; LANES]) {
    for (j, eight) in eights.into_iter().enumerate() {
        let mut column = [Fr::ZERO; LANES];
        store(&mut column, eight.settled());
        for (i, value) in column.into_iter().enumerate() {
            tile[LANES * i + j] = value;
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn time_pass((((a, b), (c, d)), (inner, (outer, outer_odd))): Quads<'_>) {
    eights_mut!(a, b, c, d);
    eights!(inner, outer, outer_odd);
    for i in 0..a.len() {
        let [mut va, mut vb, mut vc, mut vd] = [load(&a[i]), load(&b[i]), load(&c[i]), load(&d[i])];
        let w = load_factors(&inner[i]);
        merge(&mut va, &mut vb, &w);
        merge(&mut vc, &mut vd, &w);
        // Now 3 units and size 1.9; then 4 and 3.1.
        merge(&mut va, &mut vc, &load_factors(&outer[i]));
        merge(&mut vb, &mut vd, &load_factors(&outer_odd[i]));
        store(&mut a[i], va.settled());
        store(&mut b[i], vb.settled());
        store(&mut c[i], vc.settled());
        store(&mut d[i], vd.settled());
    }
}

#[target_feature(enable = "avx2,fma")]
fn frequency_pass((((a, b), (c, d)), (inner, (outer, outer_odd))): Quads<'_>) {
    eights_mut!(a, b, c, d);
    eights!(inner, outer, outer_odd);
    for i in 0..a.len() {
        let [mut va, mut vb, mut vc, mut vd] = [load(&a[i]), load(&b[i]), load(&c[i]), load(&d[i])];
        split(&mut va, &mut vc, &load_factors(&outer[i]));
        split(&mut vb, &mut vd, &load_factors(&outer_odd[i]));
        // Sums have size 2 now, then 4.
        let w = load_factors(&inner[i]);
        split(&mut va, &mut vb, &w);
        split(&mut vc, &mut vd, &w);
        store(&mut a[i], va.settled());
        store(&mut b[i], vb.settled());
        store(&mut c[i], vc.settled());
        store(&mut d[i], vd.settled());
    }
}

/// The factors of the three lowest levels, each in all lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn lowest(w: &Twiddles) -> [Eight; 7] {
    let [w2, w4, w8] = [w.level(2), w.level(4), w.level(8)];
    let all = |w: &Fr| Eight::splat(limbs(w));
    [all(&w2[0]), all(&w4[0]), all(&w4[1]), all(&w8[0]), all(&w8[1]), all(&w8[2]), all(&w8[3])]
}

/// The levels above a tile, of a whole leaf that stays in digits in between: every second one settles what it leaves.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn levels(
    a: &mut [Fr],
    w: &Twiddles,
    levels: impl Iterator<Item = u32>,
    butterfly: impl Fn(&mut Eight, &mut Eight, &Eight),
) {
    eights_mut!(a);
    let mut leaf = [Eight::zero(); CACHED / LANES];
    let leaf = &mut leaf[..a.len()];
    for (eight, a) in leaf.iter_mut().zip(&*a) {
        *eight = load(a);
    }
    for (number, level) in levels.enumerate() {
        let size = 1 << level;
        let half = size / (2 * LANES);
        for (i, w) in w.level(size).as_chunks().0.iter().enumerate() {
            let w = load_factors(w);
            for block in leaf.chunks_exact_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                butterfly(&mut low[i], &mut high[i], &w);
                if number % 2 == 1 {
                    (low[i], high[i]) = (low[i].settled(), high[i].settled());
                }
            }
        }
    }
    for (eight, a) in leaf.iter().zip(a) {
        store(a, eight.settled());
    }
}

#[target_feature(enable = "avx2,fma")]
fn time_leaf(a: &mut [Fr], w: &Twiddles) {
    let w_low = lowest(w);
    for tile in a.as_chunks_mut::<TILE>().0 {
        let mut v = load_tile(tile);
        let [v0, v1, v2, v3, v4, v5, v6, v7] = &mut v;
        merge(v0, v1, &w_low[0]);
        merge(v2, v3, &w_low[0]);
        merge(v4, v5, &w_low[0]);
        merge(v6, v7, &w_low[0]);
        merge(v0, v2, &w_low[1]);
        merge(v1, v3, &w_low[2]);
        merge(v4, v6, &w_low[1]);
        merge(v5, v7, &w_low[2]);
        // 4 units and size 3.1 are too many for what follows.
        for v in &mut v {
            *v = v.settled();
        }
        let [v0, v1, v2, v3, v4, v5, v6, v7] = &mut v;
        merge(v0, v4, &w_low[3]);
        merge(v1, v5, &w_low[4]);
        merge(v2, v6, &w_low[5]);
        merge(v3, v7, &w_low[6]);
        store_tile(tile, v);
    }
    let k = a.len().trailing_zeros();
    levels(a, w, TILE_LEVELS + 1..=k, |a, b, w| merge(a, b, w));
}

#[target_feature(enable = "avx2,fma")]
fn frequency_leaf(a: &mut [Fr], w: &Twiddles, scale: Fr) {
    let k = a.len().trailing_zeros();
    levels(a, w, (TILE_LEVELS + 1..=k).rev(), |a, b, w| split(a, b, w));
    let w_low = lowest(w);
    let scale = Eight::splat(limbs(&(scale * Fma::FACTOR)));
    for tile in a.as_chunks_mut::<TILE>().0 {
        let mut v = load_tile(tile);
        let [v0, v1, v2, v3, v4, v5, v6, v7] = &mut v;
        split(v0, v4, &w_low[3]);
        split(v1, v5, &w_low[4]);
        split(v2, v6, &w_low[5]);
        split(v3, v7, &w_low[6]);
        split(v0, v2, &w_low[1]);
        split(v1, v3, &w_low[2]);
        split(v4, v6, &w_low[1]);
        split(v5, v7, &w_low[2]);
        // The sums of sums have size 4, which is not to be doubled.
        (*v0, *v1) = (v0.settled(), v1.settled());
        split(v0, v1, &w_low[0]);
        split(v2, v3, &w_low[0]);
        split(v4, v5, &w_low[0]);
        split(v6, v7, &w_low[0]);
        for v in &mut v {
            *v = v.twice_times(&scale);
        }
        store_tile(tile, v);
    }
}
