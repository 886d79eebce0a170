//! Many independent additions of affine points that share one inversion, eight side by side.

use std::arch::x86_64::__mmask8;

use halo2_proofs::halo2curves::{
    bn256::{Fq, G1Affine},
    ff::Field,
};

use super::Ifma;
use super::lanes::{Lanes, Prime};
use super::memory::{load, load_from, store, store_to};
use crate::batch_affine::{NEGATIVE, invert};
use crate::prefetch::Table;
use crate::words::{IDENTITY, ONE};

const LANES: usize = 8;
/// How many eights ahead points are fetched.
const AHEAD: usize = 8;
/// Chains of products that run side by side, because one multiplication has to wait for the last of its chain.
const CHAINS: usize = 2;

/// Working space kept between calls.
#[derive(Debug, Default)]
pub(crate) struct PointAdder {
    denominators: Vec<Lanes<Fq>>,
    prefixes: Vec<Lanes<Fq>>,
}

/// Lanes that need no slope, or another one.
struct Special {
    /// The first point is the identity.
    left: __mmask8,
    /// The second is.
    right: __mmask8,
    /// Opposite points.
    opposite: __mmask8,
    /// Equal points.
    equal: __mmask8,
}

impl Special {
    fn any(&self) -> bool {
        self.left | self.right | self.opposite | self.equal != 0
    }
}

/// Coordinates of eight pairs.
struct Points {
    px: Lanes<Fq>,
    py: Lanes<Fq>,
    qx: Lanes<Fq>,
    qy: Lanes<Fq>,
}

/// Where the x coordinates of eight pairs are, and which points are to be subtracted.
struct Addresses {
    p: [*const Fq; LANES],
    q: [*const Fq; LANES],
    negative_p: __mmask8,
    negative_q: __mmask8,
}

impl Addresses {
    /// Of at most eight pairs; the identity stands for those that are missing.
    #[inline]
    fn new(table: &[G1Affine], pairs: &[[u32; 2]]) -> Self {
        let mut out = Self {
            p: [(&raw const IDENTITY.x); LANES],
            q: [(&raw const IDENTITY.x); LANES],
            negative_p: 0,
            negative_q: 0,
        };
        for (lane, [p, q]) in pairs.iter().enumerate().take(LANES) {
            out.p[lane] = &raw const table[(p & !NEGATIVE) as usize].x;
            out.q[lane] = &raw const table[(q & !NEGATIVE) as usize].x;
            out.negative_p |= ((p >> 31) as u8) << lane;
            out.negative_q |= ((q >> 31) as u8) << lane;
        }
        out
    }

    /// The x coordinates.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    #[expect(unsafe_code, reason = "loads by address")]
    fn x(&self) -> [Lanes<Fq>; 2] {
        // SAFETY: `new` took the addresses from points that the borrowed table holds.
        unsafe { [load_from(self.p), load_from(self.q)] }
    }

    /// All coordinates, signs as in memory.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    #[expect(unsafe_code, reason = "loads by address")]
    fn points(&self) -> Points {
        let [px, qx] = self.x();
        let above = |x: *const Fq| x.wrapping_add(1);
        // SAFETY: as above; y stands after x (asserted in `memory`).
        let [py, qy] = unsafe { [load_from(self.p.map(above)), load_from(self.q.map(above))] };
        Points { px, py, qx, qy }
    }

    /// Where the general case may not apply.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn suspects(px: Lanes<Fq>, qx: Lanes<Fq>) -> bool {
        px.both_zero(px) | qx.both_zero(qx) | px.equal(qx) != 0
    }
}

impl Points {
    /// Gives the points their signs and looks for special lanes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn special(&mut self, addresses: &Addresses) -> Special {
        let left = self.px.both_zero(self.py);
        let right = self.qx.both_zero(self.qy);
        // Subtracted points are negated; the identity stays what it is.
        let zero = Lanes::splat([0; 4]);
        self.py = self.py.but(addresses.negative_p & !left, zero.minus(self.py, Fq::P));
        self.qy = self.qy.but(addresses.negative_q & !right, zero.minus(self.qy, Fq::P));
        let same_x = self.px.equal(self.qx) & !left & !right;
        let same_y = self.py.equal(self.qy);
        Special { left, right, opposite: same_x & !same_y, equal: same_x & same_y }
    }

    /// What the slopes are divided by, below 2p; 1 where no slope is needed. Never zero modulo p: no point has y = 0,
    /// because the order of the curve is odd.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn denominators(&self, special: &Special) -> Lanes<Fq> {
        let mut d = self.qx.minus(self.px, Fq::P);
        if special.any() {
            d = d.but(special.left | special.right | special.opposite, Lanes::splat(ONE));
            d = d.but(special.equal, self.py.plus(self.py));
        }
        d
    }

    /// The sums, given the inverses of the denominators, below 2p.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn sums(&self, special: &Special, inverses: Lanes<Fq>) -> (Lanes<Fq>, Lanes<Fq>) {
        let mut rise = self.qy.minus(self.py, Fq::P);
        if special.equal != 0 {
            let square = self.px.mul(self.px).reduced();
            rise = rise.but(special.equal, square.plus(square).plus(square).reduced());
        }
        let slope = rise.mul(inverses);
        // Below 1.8p, and 2p more.
        let x = slope.mul(slope).minus(self.px.plus(self.qx), Fq::P2).reduced();
        let y = slope.mul(self.px.minus(x, Fq::P)).minus(self.py, Fq::P).reduced();
        if !special.any() {
            return (x, y);
        }
        let zero = Lanes::splat([0; 4]);
        (
            x.but(special.opposite, zero).but(special.right, self.px).but(special.left, self.qx),
            y.but(special.opposite, zero).but(special.right, self.py).but(special.left, self.qy),
        )
    }
}

impl PointAdder {
    /// Pairs that one inversion is shared by.
    pub(crate) const BATCH: usize = 2048;

    /// As [`crate::batch_affine::BatchAdder::add`], for one batch.
    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    pub(crate) fn add(&mut self, _: Ifma, table: Table<'_>, pairs: &[[u32; 2]], out: &mut [G1Affine], places: &[u32]) {
        assert_eq!(pairs.len(), places.len());
        // SAFETY: `Ifma` exists only where the instructions do.
        unsafe { self.add_eights(table, pairs, out, places) };
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    #[expect(unsafe_code, reason = "loads and stores by address")]
    fn add_eights(&mut self, table: Table<'_>, pairs: &[[u32; 2]], out: &mut [G1Affine], places: &[u32]) {
        self.denominators.clear();
        self.prefixes.clear();
        let mut products = [Lanes::splat(ONE); CHAINS];
        for (i, eight) in pairs.chunks(LANES).enumerate() {
            for index in pairs.get((i + AHEAD) * LANES..).unwrap_or_default().iter().take(LANES).flatten() {
                table.prefetch(index & !NEGATIVE);
            }
            let addresses = Addresses::new(&table, eight);
            let [px, qx] = addresses.x();
            let denominators = if Addresses::suspects(px, qx) {
                let mut points = addresses.points();
                let special = points.special(&addresses);
                points.denominators(&special)
            } else {
                qx.minus(px, Fq::P)
            };
            self.denominators.push(denominators);
            let product = &mut products[i % CHAINS];
            self.prefixes.push(*product);
            *product = product.mul(denominators);
        }
        let mut all = [Fq::ZERO; CHAINS * LANES];
        for (products, all) in products.iter().zip(all.as_chunks_mut::<LANES>().0) {
            // SAFETY: eight elements.
            unsafe { store(all.as_mut_ptr(), products.reduced()) };
        }
        let all = invert(all);
        let mut inverses = products;
        for (inverses, all) in inverses.iter_mut().zip(all.as_chunks::<LANES>().0) {
            // SAFETY: eight elements.
            *inverses = unsafe { load(all.as_ptr()) };
        }
        for (i, (eight, places)) in pairs.chunks(LANES).zip(places.chunks(LANES)).enumerate().rev() {
            let addresses = Addresses::new(&table, eight);
            let mut points = addresses.points();
            let special = points.special(&addresses);
            let inverse = &mut inverses[i % CHAINS];
            let (x, y) = points.sums(&special, inverse.mul(self.prefixes[i]));
            *inverse = inverse.mul(self.denominators[i]);
            let mut spare = IDENTITY;
            let mut to = [&raw mut spare.x; LANES];
            for (to, place) in to.iter_mut().zip(places) {
                *to = &raw mut out[*place as usize].x;
            }
            // SAFETY: each address is a point's in `out`, which is borrowed for writing, or the spare's.
            unsafe {
                store_to(to, x);
                store_to(to.map(|x| x.wrapping_add(1)), y);
            }
        }
    }
}
