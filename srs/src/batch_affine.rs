//! Affine additions for many accumulators at once: one field inversion for all of them (Montgomery's trick), so that an
//! addition costs about 6 multiplications and a doubling about 7.

use halo2_proofs::halo2curves::{
    bn256::{Fq, G1Affine},
    ff::Field,
    group::{Curve, prime::PrimeCurveAffine},
};

/// Working space that is kept between calls.
#[derive(Default)]
pub(crate) struct BatchAdder {
    pending: Vec<(usize, G1Affine)>,
    denominators: Vec<Fq>,
    prefixes: Vec<Fq>,
}

impl BatchAdder {
    /// `acc[i] += p` for every `(i, p)`; no index may occur twice. All points may be the identity.
    pub(crate) fn add(&mut self, acc: &mut [G1Affine], addends: impl IntoIterator<Item = (usize, G1Affine)>) {
        self.pending.clear();
        self.denominators.clear();
        for (i, p) in addends {
            let sum = &mut acc[i];
            if bool::from(p.is_identity()) {
                continue;
            }
            if bool::from(sum.is_identity()) {
                *sum = p;
            } else if sum.x == p.x {
                // A doubling or a cancellation: possible for chosen operands only, so it need not be fast.
                *sum = (*sum + p).to_affine();
            } else {
                self.pending.push((i, p));
                self.denominators.push(p.x - sum.x);
            }
        }
        self.invert();
        for (&(i, p), inverse) in self.pending.iter().zip(&self.denominators) {
            let sum = &mut acc[i];
            let slope = (p.y - sum.y) * inverse;
            step(sum, p.x, slope);
        }
    }

    /// Doubles every point.
    pub(crate) fn double(&mut self, acc: &mut [G1Affine]) {
        self.denominators.clear();
        // y = 0 holds for no point but the identity, because the order of the curve is odd.
        let doubled = |p: &&mut G1Affine| !bool::from(p.is_identity());
        self.denominators.extend(acc.iter_mut().filter(doubled).map(|p| p.y.double()));
        self.invert();
        for (p, inverse) in acc.iter_mut().filter(doubled).zip(&self.denominators) {
            let square = p.x.square();
            let slope = (square.double() + square) * inverse;
            step(p, p.x, slope);
        }
    }

    /// Replaces every denominator, none of them zero, by its inverse.
    fn invert(&mut self) {
        self.prefixes.clear();
        let mut product = Fq::ONE;
        for d in &self.denominators {
            self.prefixes.push(product);
            product *= d;
        }
        // A product of non-zero field elements; were it zero, ZERO would give wrong points, which the tests would show.
        let mut inverse = product.invert().unwrap_or(Fq::ZERO);
        for (d, prefix) in self.denominators.iter_mut().zip(&self.prefixes).rev() {
            let next = inverse * *d;
            *d = inverse * prefix;
            inverse = next;
        }
    }
}

/// `p` becomes the third point, mirrored, of the line through it with that slope whose second point has x-coordinate `x`.
fn step(p: &mut G1Affine, x: Fq, slope: Fq) {
    let sum_x = slope.square() - p.x - x;
    p.y = slope * (p.x - sum_x) - p.y;
    p.x = sum_x;
}

#[cfg(test)]
mod tests {
    use halo2_proofs::halo2curves::bn256::Fr;

    use super::*;

    #[test]
    fn every_case_of_addition_and_doubling_equals_the_library() {
        let point = |i: u64| (G1Affine::generator() * Fr::from(i)).to_affine();
        let left: Vec<_> = [0, 0, 5, 5, 5, 5, 9].map(point).into();
        let right: Vec<_> = [point(0), point(3), point(0), point(5), -point(5), point(7), point(1)].into();
        let mut adder = BatchAdder::default();
        let mut sums = left.clone();
        adder.add(&mut sums, right.iter().copied().enumerate());
        for ((sum, a), b) in sums.iter().zip(&left).zip(&right) {
            assert_eq!(*sum, (*a + *b).to_affine());
        }
        let mut doubles = left.clone();
        adder.double(&mut doubles);
        for (double, a) in doubles.iter().zip(&left) {
            assert_eq!(*double, (*a + *a).to_affine());
        }
    }
}
