//! Many independent additions of affine points that share one inversion, eight side by side.

use halo2_proofs::halo2curves::{
    bn256::{Fq, G1Affine},
    ff::{Field, PrimeField},
};

use super::Fma;
use super::lanes::{Lanes, Signs};
use super::memory::{LANES, load, load_from, store, store_at};
use crate::batch_affine::{NEGATIVE, add_one, invert, term};
use crate::prefetch::Table;
use crate::words::{IDENTITY, ONE};

/// How many steps ahead points are fetched.
const AHEAD: usize = 2;
/// Chains of products that run side by side, because one multiplication has to wait for the last of its chain.
const CHAINS: usize = 2;
/// Pairs of a step.
const STEP: usize = CHAINS * LANES;

/// What the way back needs of eight pairs.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// The x coordinates of the first points.
    px: Lanes<Fq>,
    /// Those of the second less those of the first.
    difference: Lanes<Fq>,
    /// Product of the chain's differences before.
    prefix: Lanes<Fq>,
    /// Pairs that are added one by one.
    apart: u8,
}

/// Working space kept between calls.
#[derive(Debug, Default)]
pub(crate) struct PointAdder {
    steps: Vec<[Kept; CHAINS]>,
}

/// Eight pairs.
struct Eight<'a> {
    p: [&'a G1Affine; LANES],
    q: [&'a G1Affine; LANES],
}

impl<'a> Eight<'a> {
    /// Of at most eight pairs; the identity stands for those that are missing.
    #[inline]
    fn new(table: &'a [G1Affine], pairs: &[[u32; 2]]) -> Self {
        let at = |index: u32| &table[(index & !NEGATIVE) as usize];
        match pairs.first_chunk::<LANES>() {
            Some(pairs) => Self { p: pairs.map(|[p, _]| at(p)), q: pairs.map(|[_, q]| at(q)) },
            None => {
                let of = |side: usize| {
                    std::array::from_fn(|lane| pairs.get(lane).map_or(&IDENTITY, |pair: &[u32; 2]| at(pair[side])))
                };
                Self { p: of(0), q: of(1) }
            }
        }
    }

    /// The x coordinates: 2 units, not negative.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn x(&self) -> [Lanes<Fq>; 2] {
        [load_from(self.p.map(|p| &p.x)), load_from(self.q.map(|q| &q.x))]
    }

    /// The y coordinates: 2 units, not negative.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn y(&self) -> [Lanes<Fq>; 2] {
        [load_from(self.p.map(|p| &p.y)), load_from(self.q.map(|q| &q.y))]
    }
}

impl PointAdder {
    /// Pairs that one inversion is shared by.
    pub(crate) const BATCH: usize = 1024;

    /// As [`crate::batch_affine::BatchAdder::add`], for one batch.
    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    pub(crate) fn add(&mut self, _: Fma, table: Table<'_>, pairs: &[[u32; 2]], out: &mut [G1Affine], places: &[u32]) {
        assert_eq!(pairs.len(), places.len());
        // SAFETY: `Fma` exists only where the instructions do.
        unsafe { self.add_eights(table, pairs, out, places) };
    }

    /// Slopes are held as λ·2^255 instead of λ·2^256, so that what [`Lanes::twice_times`] doubles comes out right. The
    /// inverses that they are made with are therefore smaller by a factor that the one inversion brings in.
    #[target_feature(enable = "avx2,fma")]
    fn add_eights(&mut self, table: Table<'_>, pairs: &[[u32; 2]], out: &mut [G1Affine], places: &[u32]) {
        let one = Lanes::splat(ONE);
        let zero = Lanes::zero();
        let nothing = Kept { px: zero, difference: zero, prefix: zero, apart: 0 };
        let n_steps = pairs.len().div_ceil(STEP);
        if self.steps.len() < n_steps {
            self.steps.resize(n_steps, [nothing; CHAINS]);
        }
        let steps = &mut self.steps[..n_steps];
        let mut products = [one; CHAINS];
        for (i, (pairs_here, step)) in pairs.chunks(STEP).zip(&mut *steps).enumerate() {
            for index in pairs.get((i + AHEAD) * STEP..).unwrap_or_default().iter().take(STEP).flatten() {
                table.prefetch(index & !NEGATIVE);
            }
            for (chain, (product, kept)) in products.iter_mut().zip(step).enumerate() {
                let [px, qx] = Eight::new(table.points(), of_chain(pairs_here, chain)).x();
                // The identity is (0, 0), and no slope is known where both are the same. Others may seem so.
                kept.apart = px.may_equal(&zero) | qx.may_equal(&zero) | px.may_equal(&qx);
                px.copy_to(&mut kept.px);
                kept.difference = qx.minus(&px);
                if kept.apart != 0 {
                    kept.difference = kept.difference.but(kept.apart, &one);
                }
                product.copy_to(&mut kept.prefix);
                kept.prefix.twice_times_to(&kept.difference, product);
            }
        }
        let mut all = [[Fq::ZERO; LANES]; CHAINS];
        for (products, all) in products.iter().zip(&mut all) {
            store(all, products.settled());
        }
        let quarter = Fq::TWO_INV.square();
        let inverted = invert::<STEP>(all.as_flattened().try_into().expect("as many"));
        for (all, inverse) in all.as_flattened_mut().iter_mut().zip(inverted) {
            *all = inverse * quarter;
        }
        // Every second step reads the inverses from one and leaves them in the other.
        let mut inverses = [products; 2];
        for (inverses, all) in inverses[0].iter_mut().zip(&all) {
            *inverses = load(all).tidy();
        }
        let (mut py, mut rise, mut ratio) = ([zero; CHAINS], [zero; CHAINS], [zero; CHAINS]);
        let (mut slope, mut square, mut x) = ([zero; CHAINS], [zero; CHAINS], [zero; CHAINS]);
        // Each step for all chains, so that no product waits for the one before.
        for (i, ((pairs, places), kept)) in pairs.chunks(STEP).zip(places.chunks(STEP)).zip(steps).rev().enumerate() {
            let [even, odd] = &mut inverses;
            let (inverse, next) = if i % 2 == 0 { (&*even, odd) } else { (&*odd, even) };
            for chain in 0..CHAINS {
                let pairs = of_chain(pairs, chain);
                let [p, q] = Eight::new(table.points(), pairs).y();
                let [p_signs, q_signs] = signs(pairs);
                py[chain] = p.negated_by(&p_signs);
                rise[chain] = q.negated_by(&q_signs).minus(&py[chain]).tidy();
            }
            // Sizes: 0.9, 1.2, 2·1.1 + 2, 1.2 + 1.
            for chain in 0..CHAINS {
                inverse[chain].twice_times_to(&kept[chain].prefix, &mut ratio[chain]);
            }
            for chain in 0..CHAINS {
                inverse[chain].twice_times_to(&kept[chain].difference, &mut next[chain]);
            }
            for chain in 0..CHAINS {
                rise[chain].twice_times_to(&ratio[chain], &mut slope[chain]);
            }
            for chain in 0..CHAINS {
                slope[chain].twice_times_to(&slope[chain], &mut square[chain]);
            }
            for chain in 0..CHAINS {
                let twice = square[chain].plus(&square[chain]);
                let Kept { px, difference, .. } = &kept[chain];
                // 6 units before they are tidied.
                x[chain] = twice.minus(&px.plus(px).plus(difference).tidy()).settled();
            }
            for chain in 0..CHAINS {
                let (pairs, places) = (of_chain(pairs, chain), of_chain(places, chain));
                let y = slope[chain].twice_times(&kept[chain].px.minus(&x[chain])).minus(&py[chain]).settled();
                store_at(out, places, |point| &mut point.x, x[chain]);
                store_at(out, places, |point| &mut point.y, y);
                let apart = kept[chain].apart;
                if apart != 0 {
                    for (lane, ([p, q], place)) in pairs.iter().zip(places).enumerate() {
                        if apart >> lane & 1 == 1 {
                            out[*place as usize] = add_one(&term(&table, *p), &term(&table, *q));
                        }
                    }
                }
            }
        }
    }
}

/// Which first points, and which second ones, are to be subtracted.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn signs(pairs: &[[u32; 2]]) -> [Signs; 2] {
    let of = |side: usize| match pairs.first_chunk::<LANES>() {
        Some(pairs) => Signs::new(pairs.map(|pair| pair[side])),
        None => Signs::new(std::array::from_fn(|lane| pairs.get(lane).map_or(0, |pair| pair[side]))),
    };
    [of(0), of(1)]
}

/// The eight of a chain.
fn of_chain<T>(all: &[T], chain: usize) -> &[T] {
    &all[(chain * LANES).min(all.len())..((chain + 1) * LANES).min(all.len())]
}
