//! Many independent additions of affine points with one field inversion (Montgomery's trick): about six multiplications
//! each instead of the eleven of a mixed Jacobian addition.

use halo2_proofs::halo2curves::{
    bn256::{Fq, G1Affine},
    ff::Field,
    group::prime::PrimeCurveAffine,
};

/// Chains of products that run side by side, because one multiplication has to wait for the last of its chain.
const LANES: usize = 4;

/// Pairs that one inversion is shared by: enough to make it cheap, few enough to stay in the second-level cache.
pub(crate) const BATCH: usize = 1024;

/// Working space kept between calls.
#[derive(Default)]
pub(crate) struct BatchAdder {
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

impl BatchAdder {
    /// Replaces the first point of every pair by the pair's sum. Equal, opposite and neutral points are allowed.
    pub(crate) fn add(&mut self, pairs: &mut [(G1Affine, G1Affine)]) {
        if pairs.is_empty() {
            return;
        }
        self.denominators.clear();
        self.prefixes.clear();
        let mut products = [Fq::ONE; LANES];
        for chunk in pairs.chunks(LANES) {
            for ((p, q), product) in chunk.iter().zip(&mut products) {
                let d = denominator(p, q);
                self.prefixes.push(*product);
                self.denominators.push(d);
                *product *= d;
            }
        }
        let mut inverses = invert(products);
        let prefixes = self.prefixes.chunks(LANES).rev();
        let denominators = self.denominators.chunks(LANES).rev();
        for ((chunk, prefixes), denominators) in pairs.chunks_mut(LANES).rev().zip(prefixes).zip(denominators) {
            for (((pair, prefix), d), inverse) in chunk.iter_mut().zip(prefixes).zip(denominators).zip(&mut inverses) {
                pair.0 = sum(&pair.0, &pair.1, *inverse * prefix);
                *inverse *= d;
            }
        }
    }
}

/// Inverses of non-zero elements.
fn invert(elements: [Fq; LANES]) -> [Fq; LANES] {
    let mut prefixes = [Fq::ONE; LANES];
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
