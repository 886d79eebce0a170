//! Passes of the transforms, eight elements at a time.
//!
//! Between passes elements are not reduced: below 4p in decimation in time, below 2p in decimation in frequency.

use halo2_proofs::halo2curves::bn256::Fr;

use super::Ifma;
use super::lanes::{Lanes, Prime};
use super::memory::{load, load_apart, store, store_apart};
use crate::fft::{Butterflies, Quads, TILE, Twiddles, eights, eights_mut, quads};
use crate::words::limbs;

const LANES: usize = 8;
const _: () = assert!(TILE == LANES * LANES);

type Eight = Lanes<Fr>;

/// Differences are raised by 2p, which is above what is subtracted.
const RAISE: [u64; 5] = Fr::P2;

/// One butterfly of decimation in time: below 4p in and out.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn merge(a: &mut Eight, b: &mut Eight, w: Eight) {
    let t = b.mul(w);
    let low = a.less(RAISE);
    *b = low.minus(t, RAISE);
    *a = low.plus(t);
}

/// One butterfly of decimation in frequency: below 2p in and out.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn split(a: &mut Eight, b: &mut Eight, w: Eight) {
    let t = a.minus(*b, RAISE);
    *a = a.plus(*b).less(RAISE);
    *b = t.mul(w);
}

impl Butterflies for Ifma {
    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    fn time_leaf(self, a: &mut [Fr], w: &Twiddles, last: bool) {
        // SAFETY: `Ifma` exists only where the instructions do.
        unsafe { time_leaf(a, w, last) }
    }

    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    fn frequency_leaf(self, a: &mut [Fr], w: &Twiddles, scale: Fr) {
        // SAFETY: `Ifma` exists only where the instructions do.
        unsafe { frequency_leaf(a, w, scale) }
    }

    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    fn time_pass(self, quads: Quads<'_>, last: bool) {
        // SAFETY: `Ifma` exists only where the instructions do.
        unsafe { time_pass(quads, last) }
    }

    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    fn frequency_pass(self, quads: Quads<'_>) {
        // SAFETY: `Ifma` exists only where the instructions do.
        unsafe { frequency_pass(quads) }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
#[expect(unsafe_code, reason = "loads by address")]
fn load_eight(from: &[Fr; LANES]) -> Eight {
    // SAFETY: eight elements.
    unsafe { load(from.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
#[expect(unsafe_code, reason = "stores by address")]
fn store_eight(to: &mut [Fr; LANES], lanes: Eight) {
    // SAFETY: eight elements.
    unsafe { store(to.as_mut_ptr(), lanes) }
}

/// Eight vectors of a tile: lane i of the j-th is element 8i + j.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
#[expect(unsafe_code, reason = "loads by address")]
fn load_tile(tile: &[Fr; TILE]) -> [Eight; LANES] {
    let mut eights = [Eight::splat([0; 4]); LANES];
    for (j, eight) in eights.iter_mut().enumerate() {
        // SAFETY: 64 elements, of which these are the j-th, the (8 + j)-th … the (56 + j)-th.
        *eight = unsafe { load_apart(tile.as_ptr().wrapping_add(j), LANES) };
    }
    eights
}

/// The inverse of [`load_tile`].
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
#[expect(unsafe_code, reason = "stores by address")]
fn store_tile(tile: &mut [Fr; TILE], eights: [Eight; LANES]) {
    for (j, eight) in eights.into_iter().enumerate() {
        // SAFETY: as in `load_tile`.
        unsafe { store_apart(tile.as_mut_ptr().wrapping_add(j), LANES, eight) };
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn time_pass((((a, b), (c, d)), (inner, (outer, outer_odd))): Quads<'_>, last: bool) {
    eights_mut!(a, b, c, d);
    eights!(inner, outer, outer_odd);
    for i in 0..a.len() {
        let [mut va, mut vb, mut vc, mut vd] =
            [load_eight(&a[i]), load_eight(&b[i]), load_eight(&c[i]), load_eight(&d[i])];
        let w = load_eight(&inner[i]);
        merge(&mut va, &mut vb, w);
        merge(&mut vc, &mut vd, w);
        merge(&mut va, &mut vc, load_eight(&outer[i]));
        merge(&mut vb, &mut vd, load_eight(&outer_odd[i]));
        if last {
            [va, vb, vc, vd] = [va.reduced(), vb.reduced(), vc.reduced(), vd.reduced()];
        }
        store_eight(&mut a[i], va);
        store_eight(&mut b[i], vb);
        store_eight(&mut c[i], vc);
        store_eight(&mut d[i], vd);
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn frequency_pass((((a, b), (c, d)), (inner, (outer, outer_odd))): Quads<'_>) {
    eights_mut!(a, b, c, d);
    eights!(inner, outer, outer_odd);
    for i in 0..a.len() {
        let [mut va, mut vb, mut vc, mut vd] =
            [load_eight(&a[i]), load_eight(&b[i]), load_eight(&c[i]), load_eight(&d[i])];
        split(&mut va, &mut vc, load_eight(&outer[i]));
        split(&mut vb, &mut vd, load_eight(&outer_odd[i]));
        let w = load_eight(&inner[i]);
        split(&mut va, &mut vb, w);
        split(&mut vc, &mut vd, w);
        store_eight(&mut a[i], va);
        store_eight(&mut b[i], vb);
        store_eight(&mut c[i], vc);
        store_eight(&mut d[i], vd);
    }
}

/// The factors of the three lowest levels, each in all lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn lowest(w: &Twiddles) -> [Eight; 7] {
    let [w2, w4, w8] = [w.level(2), w.level(4), w.level(8)];
    let all = |w: &Fr| Eight::splat(limbs(w));
    [all(&w2[0]), all(&w4[0]), all(&w4[1]), all(&w8[0]), all(&w8[1]), all(&w8[2]), all(&w8[3])]
}

/// One level of blocks of `2·half` elements, in pairs of eights.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn level(a: &mut [Fr], half: usize, w: &[Fr], time: bool) {
    eights!(w);
    for block in a.chunks_exact_mut(2 * half) {
        let (low, high) = block.split_at_mut(half);
        eights_mut!(low, high);
        for i in 0..low.len() {
            let (mut va, mut vb) = (load_eight(&low[i]), load_eight(&high[i]));
            if time {
                merge(&mut va, &mut vb, load_eight(&w[i]));
            } else {
                split(&mut va, &mut vb, load_eight(&w[i]));
            }
            store_eight(&mut low[i], va);
            store_eight(&mut high[i], vb);
        }
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn time_leaf(a: &mut [Fr], w: &Twiddles, last: bool) {
    let n = a.len();
    let w_low = lowest(w);
    for tile in a.as_chunks_mut::<TILE>().0 {
        let mut v = load_tile(tile);
        let [v0, v1, v2, v3, v4, v5, v6, v7] = &mut v;
        merge(v0, v1, w_low[0]);
        merge(v2, v3, w_low[0]);
        merge(v4, v5, w_low[0]);
        merge(v6, v7, w_low[0]);
        merge(v0, v2, w_low[1]);
        merge(v1, v3, w_low[2]);
        merge(v4, v6, w_low[1]);
        merge(v5, v7, w_low[2]);
        merge(v0, v4, w_low[3]);
        merge(v1, v5, w_low[4]);
        merge(v2, v6, w_low[5]);
        merge(v3, v7, w_low[6]);
        store_tile(tile, v);
    }
    let mut m = 2 * LANES;
    if n.trailing_zeros().is_multiple_of(2) {
        // An odd number of levels is left.
        level(a, m / 2, w.level(m), true);
        m *= 2;
    }
    while m < n {
        for block in a.chunks_exact_mut(2 * m) {
            time_pass(quads(block, w), last && 2 * m == n);
        }
        m *= 4;
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn frequency_leaf(a: &mut [Fr], w: &Twiddles, scale: Fr) {
    let mut m = a.len();
    while m >= 4 * LANES {
        for block in a.chunks_exact_mut(m) {
            frequency_pass(quads(block, w));
        }
        m /= 4;
    }
    if m == 2 * LANES {
        level(a, LANES, w.level(m), false);
    }
    let w_low = lowest(w);
    let scale = Eight::splat(limbs(&scale));
    for tile in a.as_chunks_mut::<TILE>().0 {
        let mut v = load_tile(tile);
        let [v0, v1, v2, v3, v4, v5, v6, v7] = &mut v;
        split(v0, v4, w_low[3]);
        split(v1, v5, w_low[4]);
        split(v2, v6, w_low[5]);
        split(v3, v7, w_low[6]);
        split(v0, v2, w_low[1]);
        split(v1, v3, w_low[2]);
        split(v4, v6, w_low[1]);
        split(v5, v7, w_low[2]);
        split(v0, v1, w_low[0]);
        split(v2, v3, w_low[0]);
        split(v4, v5, w_low[0]);
        split(v6, v7, w_low[0]);
        for v in &mut v {
            *v = v.mul(scale).reduced();
        }
        store_tile(tile, v);
    }
}
