//! Many independent additions of affine points that share one inversion, eight side by side.

use halo2_proofs::halo2curves::{
    bn256::{Fq, G1Affine},
    ff::{Field, PrimeField},
};

use super::Fma;
use super::lanes::Lanes;
use super::memory::{LANES, load, load_from, store};
use crate::batch_affine::{NEGATIVE, add_one, invert, term};
use crate::prefetch::prefetch;
use crate::words::{IDENTITY, ONE};

/// How many steps of all chains ahead points are fetched.
const AHEAD: usize = 2;
/// Chains of products that run side by side, because one multiplication has to wait for the last of its chain.
const CHAINS: usize = 2;

/// Working space kept between calls.
#[derive(Debug, Default)]
pub(crate) struct PointAdder {
    /// The x coordinates of each eight.
    x: Vec<[Lanes<Fq>; 2]>,
    denominators: Vec<Lanes<Fq>>,
    prefixes: Vec<Lanes<Fq>>,
    /// Pairs of each eight that are added one by one.
    apart: Vec<u8>,
}

/// Eight pairs.
struct Eight<'a> {
    p: [&'a G1Affine; LANES],
    q: [&'a G1Affine; LANES],
    /// Which points are to be subtracted.
    negative_p: u8,
    negative_q: u8,
}

impl<'a> Eight<'a> {
    /// Of at most eight pairs; the identity stands for those that are missing.
    #[inline]
    fn new(table: &'a [G1Affine], pairs: &[[u32; 2]]) -> Self {
        let mut out = Self { p: [&IDENTITY; LANES], q: [&IDENTITY; LANES], negative_p: 0, negative_q: 0 };
        for (lane, [p, q]) in pairs.iter().enumerate().take(LANES) {
            out.p[lane] = &table[(p & !NEGATIVE) as usize];
            out.q[lane] = &table[(q & !NEGATIVE) as usize];
            out.negative_p |= ((p >> 31) as u8) << lane;
            out.negative_q |= ((q >> 31) as u8) << lane;
        }
        out
    }

    /// The x coordinates: 2 units, not negative.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn x(&self) -> [Lanes<Fq>; 2] {
        [load_from(self.p.map(|p| &p.x)), load_from(self.q.map(|q| &q.x))]
    }

    /// The y coordinates with their signs: 2 units.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn y(&self) -> [Lanes<Fq>; 2] {
        let (p, q): (Lanes<Fq>, Lanes<Fq>) = (load_from(self.p.map(|p| &p.y)), load_from(self.q.map(|q| &q.y)));
        [p.negated_at(self.negative_p), q.negated_at(self.negative_q)]
    }
}

impl PointAdder {
    /// Pairs that one inversion is shared by.
    pub(crate) const BATCH: usize = 1024;

    /// As [`crate::batch_affine::BatchAdder::add`], for one batch.
    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    pub(crate) fn add(&mut self, _: Fma, table: &[G1Affine], pairs: &[[u32; 2]], out: &mut [G1Affine], places: &[u32]) {
        assert_eq!(pairs.len(), places.len());
        // SAFETY: `Fma` exists only where the instructions do.
        unsafe { self.add_eights(table, pairs, out, places) };
    }

    /// Slopes are held as λ·2^255 instead of λ·2^256, so that what [`Lanes::twice_times`] doubles comes out right. The
    /// inverses that they are made with are therefore smaller by a factor that the one inversion brings in.
    #[target_feature(enable = "avx2,fma")]
    fn add_eights(&mut self, table: &[G1Affine], pairs: &[[u32; 2]], out: &mut [G1Affine], places: &[u32]) {
        self.x.clear();
        self.denominators.clear();
        self.prefixes.clear();
        self.apart.clear();
        let one = Lanes::splat(ONE);
        let zero = Lanes::zero();
        let mut products = [one; CHAINS];
        for (i, pairs_here) in pairs.chunks(CHAINS * LANES).enumerate() {
            for index in
                pairs.get((i + AHEAD) * CHAINS * LANES..).unwrap_or_default().iter().take(CHAINS * LANES).flatten()
            {
                prefetch(table, index & !NEGATIVE);
            }
            for (chain, product) in products.iter_mut().enumerate() {
                let [px, qx] = Eight::new(table, of_chain(pairs_here, chain)).x();
                // The identity is (0, 0), and no slope is known where both are the same.
                let apart = px.equal(&zero) | qx.equal(&zero) | px.equal(&qx);
                let mut denominators = qx.minus(&px);
                if apart != 0 {
                    denominators = denominators.but(apart, &one);
                }
                self.x.push([px, qx]);
                self.apart.push(apart);
                self.denominators.push(denominators);
                self.prefixes.push(*product);
                *product = product.twice_times(&denominators);
            }
        }
        let mut all = [[Fq::ZERO; LANES]; CHAINS];
        for (products, all) in products.iter().zip(&mut all) {
            store(all, products.settled());
        }
        let quarter = Fq::TWO_INV.square();
        let inverted = invert::<{ CHAINS * LANES }>(all.as_flattened().try_into().expect("as many"));
        for (all, inverse) in all.as_flattened_mut().iter_mut().zip(inverted) {
            *all = inverse * quarter;
        }
        let mut inverses = products;
        for (inverses, all) in inverses.iter_mut().zip(&all) {
            *inverses = load(all).tidy();
        }
        // Each step for all chains, so that no product waits for the one before.
        for (i, (pairs, places)) in pairs.chunks(CHAINS * LANES).zip(places.chunks(CHAINS * LANES)).enumerate().rev() {
            let (mut py, mut rise) = ([zero; CHAINS], [zero; CHAINS]);
            let (mut slope, mut square, mut x) = ([zero; CHAINS], [zero; CHAINS], [zero; CHAINS]);
            for chain in 0..CHAINS {
                let qy;
                [py[chain], qy] = Eight::new(table, of_chain(pairs, chain)).y();
                rise[chain] = qy.minus(&py[chain]).tidy();
            }
            // Sizes: 0.9, 1.2, 2·1.1 + 2, 1.2 + 1.
            for chain in 0..CHAINS {
                slope[chain] = inverses[chain].twice_times(&self.prefixes[CHAINS * i + chain]);
            }
            for chain in 0..CHAINS {
                inverses[chain] = inverses[chain].twice_times(&self.denominators[CHAINS * i + chain]);
            }
            for chain in 0..CHAINS {
                slope[chain] = rise[chain].twice_times(&slope[chain]);
            }
            for chain in 0..CHAINS {
                square[chain] = slope[chain].twice_times(&slope[chain]);
            }
            for chain in 0..CHAINS {
                let twice = square[chain].plus(&square[chain]);
                let [px, qx] = &self.x[CHAINS * i + chain];
                x[chain] = twice.minus(&px.plus(qx).tidy()).settled();
            }
            for chain in 0..CHAINS {
                let [px, _] = &self.x[CHAINS * i + chain];
                let y = slope[chain].twice_times(&px.minus(&x[chain])).minus(&py[chain]).settled();
                let (mut xs, mut ys) = ([Fq::ZERO; LANES], [Fq::ZERO; LANES]);
                store(&mut xs, x[chain]);
                store(&mut ys, y);
                let (pairs, places) = (of_chain(pairs, chain), of_chain(places, chain));
                for (place, (x, y)) in places.iter().zip(xs.into_iter().zip(ys)) {
                    out[*place as usize] = G1Affine { x, y };
                }
                let apart = self.apart[CHAINS * i + chain];
                if apart != 0 {
                    for (lane, ([p, q], place)) in pairs.iter().zip(places).enumerate() {
                        if apart >> lane & 1 == 1 {
                            out[*place as usize] = add_one(&term(table, *p), &term(table, *q));
                        }
                    }
                }
            }
        }
    }
}

/// The eight of a chain.
fn of_chain<T>(all: &[T], chain: usize) -> &[T] {
    &all[(chain * LANES).min(all.len())..((chain + 1) * LANES).min(all.len())]
}
