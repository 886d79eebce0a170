//! Many independent additions of affine points with one field inversion (Montgomery's trick): about six multiplications
//! each instead of the eleven of a mixed Jacobian addition.

#[cfg(target_arch = "x86_64")]
use crate::{
    fma::{self, Fma},
    ifma::{self, Ifma},
};
use crate::{kernel::Kernel, prefetch::Table};
use halo2_proofs::halo2curves::{
    bn256::{Fq, G1Affine},
    ff::Field,
    group::prime::PrimeCurveAffine,
};

/// Chains of products that run side by side, because one multiplication has to wait for the last of its chain.
const LANES: usize = 4;

/// Pairs that one inversion is shared by: enough to make it cheap, few enough to stay in the second-level cache.
const BATCH: usize = 1024;

/// How many pairs ahead points are fetched.
const AHEAD: usize = 16;

/// Set in an index of a point when the point is to be subtracted.
pub(crate) const NEGATIVE: u32 = 1 << 31;

/// The point that an index stands for.
///
/// # Panics
/// If the table is shorter.
pub(crate) fn term(table: &[G1Affine], index: u32) -> G1Affine {
    let G1Affine { x, y } = table[(index & !NEGATIVE) as usize];
    // Signs are as good as random: no branch. The negative of the identity is itself.
    G1Affine { x, y: [y, -y][(index >> 31) as usize] }
}

/// Adds points by their indices in a table.
pub(crate) enum BatchAdder {
    #[cfg(target_arch = "x86_64")]
    Ifma(Ifma, ifma::PointAdder),
    #[cfg(target_arch = "x86_64")]
    Fma(Fma, fma::PointAdder),
    Portable(OneByOne),
}

impl Default for BatchAdder {
    fn default() -> Self {
        match Kernel::detect() {
            #[cfg(target_arch = "x86_64")]
            Kernel::Ifma(shown) => Self::Ifma(shown, ifma::PointAdder::default()),
            #[cfg(target_arch = "x86_64")]
            Kernel::Fma(shown) => Self::Fma(shown, fma::PointAdder::default()),
            Kernel::Portable => Self::Portable(OneByOne::default()),
        }
    }
}

impl BatchAdder {
    /// Puts the sum of each pair of indices into its place of `out`. Equal, opposite and neutral points are allowed.
    ///
    /// # Panics
    /// If the table or `out` is shorter than an index or place says, or there are not as many places as pairs.
    pub(crate) fn add(&mut self, table: Table<'_>, pairs: &[[u32; 2]], out: &mut [G1Affine], places: &[u32]) {
        assert_eq!(pairs.len(), places.len(), "a place for each pair");
        let batch = match self {
            #[cfg(target_arch = "x86_64")]
            Self::Ifma(..) => ifma::PointAdder::BATCH,
            #[cfg(target_arch = "x86_64")]
            Self::Fma(..) => fma::PointAdder::BATCH,
            Self::Portable(_) => BATCH,
        };
        for (pairs, places) in pairs.chunks(batch).zip(places.chunks(batch)) {
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Ifma(shown, adder) => adder.add(*shown, table, pairs, out, places),
                #[cfg(target_arch = "x86_64")]
                Self::Fma(shown, adder) => adder.add(*shown, table, pairs, out, places),
                Self::Portable(adder) => adder.add(table, pairs, out, places),
            }
        }
    }
}

/// The portable adder with its working space.
#[derive(Default)]
pub(crate) struct OneByOne {
    pairs: Vec<[G1Affine; 2]>,
    denominators: Vec<Fq>,
    prefixes: Vec<Fq>,
}

fn is_identity(p: &G1Affine) -> bool {
    p.x == Fq::ZERO && p.y == Fq::ZERO
}

/// What the slope of `p + q` is divided by; 1 where the sum needs no slope. Never zero: no point has y = 0, because the
/// order of the curve is odd.
fn denominator(p: &G1Affine, q: &G1Affine) -> Fq {
    let d = q.x - p.x;
    if is_identity(p) || is_identity(q) {
        Fq::ONE
    } else if d != Fq::ZERO {
        d
    } else if p.y == q.y {
        p.y.double()
    } else {
        Fq::ONE
    }
}

/// `p + q`, given the inverse of [`denominator`].
fn sum(p: &G1Affine, q: &G1Affine, inverse: Fq) -> G1Affine {
    if is_identity(p) {
        return *q;
    }
    if is_identity(q) {
        return *p;
    }
    let slope = if p.x != q.x {
        (q.y - p.y) * inverse
    } else if p.y == q.y {
        let square = p.x.square();
        (square.double() + square) * inverse
    } else {
        return G1Affine::identity();
    };
    let x = slope.square() - p.x - q.x;
    G1Affine { x, y: slope * (p.x - x) - p.y }
}

/// `p + q`, with an inversion of its own.
#[cfg(target_arch = "x86_64")]
pub(crate) fn add_one(p: &G1Affine, q: &G1Affine) -> G1Affine {
    let d = denominator(p, q);
    if d == Fq::ONE {
        return sum(p, q, d);
    }
    let [inverse] = invert([d]);
    sum(p, q, inverse)
}

impl OneByOne {
    fn add(&mut self, table: Table<'_>, pairs: &[[u32; 2]], out: &mut [G1Affine], places: &[u32]) {
        self.pairs.clear();
        self.pairs.extend(pairs.iter().enumerate().map(|(at, pair)| {
            for index in pairs.get(at + AHEAD).into_iter().flatten() {
                table.prefetch(index & !NEGATIVE);
            }
            pair.map(|index| term(&table, index))
        }));
        self.add_pairs();
        for (place, [sum, _]) in places.iter().zip(&self.pairs) {
            out[*place as usize] = *sum;
        }
    }

    /// Replaces the first point of every pair by the pair's sum.
    fn add_pairs(&mut self) {
        self.denominators.clear();
        self.prefixes.clear();
        let mut products = [Fq::ONE; LANES];
        for chunk in self.pairs.chunks(LANES) {
            for ([p, q], product) in chunk.iter().zip(&mut products) {
                let d = denominator(p, q);
                self.prefixes.push(*product);
                self.denominators.push(d);
                *product *= d;
            }
        }
        let mut inverses = invert(products);
        let prefixes = self.prefixes.chunks(LANES).rev();
        let denominators = self.denominators.chunks(LANES).rev();
        for ((chunk, prefixes), denominators) in self.pairs.chunks_mut(LANES).rev().zip(prefixes).zip(denominators) {
            for (((pair, prefix), d), inverse) in chunk.iter_mut().zip(prefixes).zip(denominators).zip(&mut inverses) {
                pair[0] = sum(&pair[0], &pair[1], *inverse * prefix);
                *inverse *= d;
            }
        }
    }
}

/// Inverses of non-zero elements.
pub(crate) fn invert<const N: usize>(elements: [Fq; N]) -> [Fq; N] {
    let mut prefixes = [Fq::ONE; N];
    let mut product = Fq::ONE;
    for (prefix, e) in prefixes.iter_mut().zip(&elements) {
        *prefix = product;
        product *= e;
    }
    // A product of non-zero elements of a field is not zero.
    let mut inverse = product.invert().expect("denominators are not zero");
    let mut out = elements;
    for (e, prefix) in out.iter_mut().zip(&prefixes).rev() {
        let next = inverse * *e;
        *e = inverse * prefix;
        inverse = next;
    }
    out
}
