//! Running products of fractions, as the permutation and lookup arguments commit to them.

use halo2_proofs::halo2curves::{
    bn256::Fr,
    ff::{BatchInvert, Field},
};
use rayon::prelude::*;

use crate::fft::powers_from;
#[cfg(target_arch = "x86_64")]
use crate::fma::{Fma, products, sums};
use crate::poly::{GROUP, SEGMENT};

/// Segments whose denominators share one inversion and one task.
const INVERTED: usize = 1 << 10;

/// One fraction of each row, the product of which the running product takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fraction<'a> {
    pub(crate) numerator: Linear<'a>,
    pub(crate) denominator: Linear<'a>,
}

/// `values + plus`, and more, in each row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear<'a> {
    pub(crate) values: &'a [Fr],
    pub(crate) plus: Fr,
    pub(crate) more: More<'a>,
}

/// What else is added in row i.
#[derive(Clone, Copy, Debug)]
pub(crate) enum More<'a> {
    Nothing,
    /// This times ω^i.
    Power(Fr),
    /// So many times the i-th element.
    Multiple(Fr, &'a [Fr]),
}

/// `z[0] = first`, `z[i + 1] = z[i]·(the product of the fractions in row i)`, as long as the columns; x/0 is 0, as in the library.
///
/// With N the product of the numerators before row i of a segment, S that of the denominators from row i on, and D that of all of
/// its denominators, the product of its fractions before row i is N·S/D: only D has to be inverted. A denominator that is zero
/// makes the rows behind it zero whatever it is, so that another number can stand for it.
pub(crate) fn running_product(first: Fr, omega: Fr, fractions: &[Fraction<'_>]) -> Vec<Fr> {
    let n = fractions.first().map_or(0, |fraction| fraction.numerator.values.len());
    let mut z = vec![Fr::ZERO; n];
    let powers = powers_from(Fr::ONE, omega.pow_vartime([GROUP as u64]), n.div_ceil(GROUP));
    #[cfg(target_arch = "x86_64")]
    let eights = Fma::detect().map(|shown| products::Segments::new(shown, fractions, omega));
    let group = |start: usize, power: Fr, z: &mut [Fr]| {
        #[cfg(target_arch = "x86_64")]
        if let (Some(eights), Some(z)) = (&eights, z.as_mut_array()) {
            return eights.run(start, power, z).to_vec();
        }
        segments(fractions, start, power, omega, z)
    };
    let totals: Vec<[Fr; 2]> = z
        .par_chunks_mut(GROUP)
        .zip(&powers)
        .enumerate()
        .flat_map_iter(|(i, (z, power))| group(i * GROUP, *power, z))
        .collect();
    let mut factors: Vec<Fr> = totals.iter().map(|[_, denominator]| *denominator).collect();
    factors.par_chunks_mut(INVERTED).for_each(|chunk| {
        chunk.batch_invert();
    });
    let mut start = first;
    for (factor, [numerator, _]) in factors.iter_mut().zip(&totals) {
        *factor *= start;
        start = *factor * numerator;
    }
    z.par_chunks_mut(GROUP).zip(factors.par_chunks(GROUP / SEGMENT)).for_each(|(z, factors)| {
        for (z, factor) in z.chunks_mut(SEGMENT).zip(factors) {
            scale(z, *factor);
        }
    });
    z
}

/// Writes N·S of each row of a group (see [`running_product`]); N of all rows and D of each segment. `power` is ω to the first
/// row, which is `start`.
fn segments(fractions: &[Fraction<'_>], start: usize, power: Fr, omega: Fr, out: &mut [Fr]) -> Vec<[Fr; 2]> {
    let [mut numerators, mut denominators] = [[Fr::ONE; GROUP]; 2];
    for fraction in fractions {
        fraction.numerator.multiply(start, power, omega, &mut numerators[..out.len()]);
        fraction.denominator.multiply(start, power, omega, &mut denominators[..out.len()]);
    }
    let rows = numerators.chunks(SEGMENT).zip(denominators.chunks_mut(SEGMENT));
    let segments = out.chunks_mut(SEGMENT).zip(rows).map(|(out, (numerators, denominators))| {
        let mut before = Fr::ONE;
        for ((out, numerator), denominator) in out.iter_mut().zip(numerators).zip(denominators.iter_mut()) {
            *out = before;
            before *= numerator;
            if bool::from(denominator.is_zero()) {
                (before, *denominator) = (Fr::ZERO, Fr::ONE);
            }
        }
        let mut after = Fr::ONE;
        for (out, denominator) in out.iter_mut().zip(denominators.iter()).rev() {
            after *= denominator;
            *out *= after;
        }
        [before, after]
    });
    segments.collect()
}

impl Linear<'_> {
    /// Multiplies what belongs to the rows from `start` on.
    fn multiply(&self, start: usize, power: Fr, omega: Fr, rows: &mut [Fr]) {
        let rows = rows.iter_mut().zip(self.values[start..].iter().map(|value| *value + self.plus));
        match self.more {
            More::Nothing => rows.for_each(|(row, value)| *row *= value),
            More::Power(shift) => {
                let mut label = shift * power;
                for (row, value) in rows {
                    *row *= value + label;
                    label *= omega;
                }
            }
            More::Multiple(factor, others) => {
                for ((row, value), other) in rows.zip(&others[start..]) {
                    *row *= value + factor * other;
                }
            }
        }
    }
}

fn scale(values: &mut [Fr], factor: Fr) {
    #[cfg(target_arch = "x86_64")]
    if let Some(shown) = Fma::detect()
        && values.len() == SEGMENT
    {
        return sums::scale(shown, values, factor);
    }
    for x in values {
        *x *= factor;
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::samples::elements;

    /// Row by row, a denominator that is zero making everything behind it zero.
    fn plain(first: Fr, omega: Fr, fractions: &[Fraction<'_>]) -> Vec<Fr> {
        let (mut z, mut label) = (first, Fr::ONE);
        let rows = fractions[0].numerator.values.len();
        (0..rows)
            .map(|i| {
                let value = |linear: &Linear<'_>| {
                    let more = match linear.more {
                        More::Nothing => Fr::ZERO,
                        More::Power(shift) => shift * label,
                        More::Multiple(factor, others) => factor * others[i],
                    };
                    linear.values[i] + linear.plus + more
                };
                let here = z;
                let denominator: Fr = fractions.iter().map(|f| value(&f.denominator)).product();
                let inverse: Fr = Option::from(denominator.invert()).unwrap_or(Fr::ZERO);
                z *= fractions.iter().map(|f| value(&f.numerator)).product::<Fr>() * inverse;
                label *= omega;
                here
            })
            .collect()
    }

    fn compare(first: Fr, omega: Fr, fractions: &[Fraction<'_>]) {
        let (got, want) = (running_product(first, omega, fractions), plain(first, omega, fractions));
        let different = got.iter().zip(&want).position(|(got, want)| got != want);
        assert_eq!((got.len(), different), (want.len(), None), "{} fractions a row", fractions.len());
    }

    /// Columns without a value that makes a fraction zero, but for the rows that are asked for.
    fn columns(n: usize, number: usize, seed: u64, plus: Fr, zeros: &[usize]) -> Vec<Vec<Fr>> {
        (0..number)
            .map(|c| {
                let mut column: Vec<Fr> = elements(n, seed + c as u64);
                column.iter_mut().filter(|x| **x == -plus).for_each(|x| *x = Fr::ONE);
                zeros.iter().filter(|_| c == 0).for_each(|row| column[*row] = -plus);
                column
            })
            .collect()
    }

    #[test]
    fn products_are_those_of_the_rows() {
        let omega = Fr::from(5).pow_vartime([77]);
        for n in [1, 2, 31, 32, 33, 255, 256, 257, 512, 1000, 1024, 4352] {
            for pairs in 1..5 {
                let [plus, shift, factor, first] = elements::<Fr>(4, 90 + n as u64)[..] else { unreachable!() };
                let others = columns(n, pairs, 1, Fr::ZERO, &[]);
                for zeros in [vec![], vec![n - 1], vec![n / 2], vec![0], vec![n / 3, n / 3, 2 * n / 3]] {
                    let below = columns(n, pairs, 50, plus, &zeros);
                    for values in [columns(n, pairs, 20, plus, &[]), columns(n, pairs, 20, plus, &zeros)] {
                        let fractions: Vec<Fraction<'_>> = (0..pairs)
                            .map(|i| {
                                let numerator = Linear { values: &values[i], plus, more: More::Nothing };
                                let denominator = Linear { values: &below[i], plus, more: More::Nothing };
                                Fraction { numerator, denominator }
                            })
                            .collect();
                        compare(first, omega, &fractions);
                        let fractions: Vec<Fraction<'_>> = fractions
                            .into_iter()
                            .zip(&others)
                            .map(|(f, others)| Fraction {
                                numerator: Linear { more: More::Power(shift), ..f.numerator },
                                denominator: Linear { more: More::Multiple(factor, others), ..f.denominator },
                            })
                            .collect();
                        compare(first, omega, &fractions);
                    }
                }
            }
        }
        assert_eq!(running_product(Fr::ONE, omega, &[]), []);
    }

    #[test]
    fn denominators_may_be_zero_everywhere() {
        for n in [8, 256, 300] {
            let (zero, one) = (vec![Fr::ZERO; n], vec![-Fr::ONE; n]);
            let linear = |values| Linear { values, plus: Fr::ZERO, more: More::Nothing };
            for numerator in [&zero, &one] {
                let fractions = [Fraction { numerator: linear(numerator), denominator: linear(&zero) }];
                let z = running_product(-Fr::ONE, Fr::ONE, &fractions);
                assert_eq!(z[0], -Fr::ONE);
                assert!(z[1..].iter().all(|x| *x == Fr::ZERO));
            }
        }
    }
}
