//! Running products of fractions, eight segments of a group side by side.

use std::array::from_fn;

use halo2_proofs::halo2curves::{bn256::Fr, ff::Field};

use super::Fma;
use super::lanes::Lanes;
use super::memory::{LANES, load, store};
use super::segments::{load_across, store_across};
use crate::grand_product::{Fraction, Linear, More};
use crate::poly::{GROUP, SEGMENT};
use crate::words::limbs;

/// A number for each row of a group.
type Rows = [Lanes<Fr>; SEGMENT];

/// What all groups of a product have in common.
#[derive(Debug)]
pub(crate) struct Segments<'a> {
    fractions: &'a [Fraction<'a>],
    omega: Fr,
    /// Powers of ω from the first row of the group to that of each segment.
    steps: [Fr; LANES],
    _shown: Fma,
}

impl<'a> Segments<'a> {
    pub(crate) fn new(shown: Fma, fractions: &'a [Fraction<'a>], omega: Fr) -> Self {
        let step = omega.pow_vartime([SEGMENT as u64]);
        let steps = from_fn(|segment| step.pow_vartime([segment as u64]));
        Self { fractions, omega, steps, _shown: shown }
    }

    /// As [`crate::grand_product`]'s `segments`; numerators and denominators are both multiplied by the same power of two, which
    /// no fraction shows.
    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    pub(crate) fn run(&self, start: usize, power: Fr, out: &mut [Fr; GROUP]) -> [[Fr; 2]; LANES] {
        // SAFETY: `Fma` exists only where the instructions do.
        unsafe { self.run_eights(start, power, out) }
    }

    #[target_feature(enable = "avx2,fma")]
    fn run_eights(&self, start: usize, power: Fr, out: &mut [Fr; GROUP]) -> [[Fr; 2]; LANES] {
        let (mut numerators, mut denominators) = ([Lanes::zero(); SEGMENT], [Lanes::zero(); SEGMENT]);
        for (i, fraction) in self.fractions.iter().enumerate() {
            self.multiply(&fraction.numerator, start, power, i == 0, &mut numerators);
            self.multiply(&fraction.denominator, start, power, i == 0, &mut denominators);
        }
        // All sizes are below 1 here, so that zero has no other digits than zero.
        let (zero, one) = (Lanes::zero(), Lanes::splat(limbs(&Fr::ONE)));
        // Halved, for what is before a row and what is after it give twice their product.
        let mut before = Lanes::half(&Fr::ONE);
        for (numerator, denominator) in numerators.iter_mut().zip(&mut denominators) {
            let mut next = before.twice_times(numerator);
            let none = denominator.equal(&zero);
            if none != 0 {
                *denominator = denominator.but(none, &one);
                next = next.but(none, &zero);
            }
            *numerator = before;
            before = next;
        }
        let mut after = one;
        for i in (0..SEGMENT).rev() {
            after = after.twice_times(&denominators[i]);
            store_across(out, i, numerators[i].twice_times(&after).settled());
        }
        let mut totals = [[Fr::ZERO; LANES]; 2];
        store(&mut totals[0], before.plus(&before).settled());
        store(&mut totals[1], after.settled());
        from_fn(|segment| [totals[0][segment], totals[1][segment]])
    }

    /// Multiplies the rows, or makes them what they are `first` multiplied by: 1 unit, size 0.7.
    #[target_feature(enable = "avx2,fma")]
    fn multiply(&self, by: &Linear<'_>, start: usize, power: Fr, first: bool, rows: &mut Rows) {
        let Some(values) = by.values[start..].first_chunk() else { return };
        let plus = Lanes::splat(limbs(&by.plus));
        let mut multiply = |i: usize, more: &Lanes<Fr>| {
            // At most 4 units and size 2.9.
            let factor = load_across(values, i).plus(&plus).plus(more).settled();
            rows[i] = if first { factor } else { rows[i].twice_times(&factor) };
        };
        match by.more {
            More::Nothing => {
                for i in 0..SEGMENT {
                    multiply(i, &Lanes::zero());
                }
            }
            More::Power(shift) => {
                let shift = Lanes::half(&(shift * power));
                let half_omega = Lanes::half(&self.omega);
                let mut label = load(&self.steps).twice_times(&shift);
                for i in 0..SEGMENT {
                    multiply(i, &label);
                    label = label.twice_times(&half_omega);
                }
            }
            More::Multiple(factor, others) => {
                let Some(others) = others[start..].first_chunk() else { return };
                let factor = Lanes::half(&factor);
                for i in 0..SEGMENT {
                    multiply(i, &load_across(others, i).twice_times(&factor));
                }
            }
        }
    }
}
