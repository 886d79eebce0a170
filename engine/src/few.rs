//! Columns that are sums of few different values, and commitments that make use of it.
//!
//! In an argument for lookups by logarithmic derivatives (Haböck, eprint 2022/1530) every helper is a sum of inverses `1/(α + t)` of
//! table entries t: values of full size, but no more different ones than the table has entries. The bases at which a value
//! occurs are added first, one addition each; what is left is a sum with as many terms as there are values. A caller that knows of
//! such columns says so by [`FewValues`]. It may be wrong: whatever its terms leave of a column is committed as it is, so that the
//! commitment is always the column's.

use halo2_proofs::halo2curves::{
    bn256::{Fr, G1, G1Affine},
    group::prime::PrimeCurveAffine,
};

use rayon::prelude::*;

use crate::msm::{Spare, Term, merge, merge_space, normalized, sum_with};

/// What is known of one phase's columns.
#[derive(Clone, Debug, Default)]
pub struct FewValues {
    /// The values.
    pub values: Vec<Fr>,
    /// Advice columns with their terms, by the values' places in the list: a row's value is the sum of the values of its terms, at most rows. Rows and values that
    /// there are not are passed over.
    pub columns: Vec<(usize, Vec<Term>)>,
}

/// Knows which columns of a circuit are sums of few values.
pub trait Hints {
    /// Those of a phase, given the challenges that are drawn by then: others are zero.
    fn few_values(&self, phase: u8, challenges: &[Fr]) -> FewValues;
}

/// Knows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHints;

impl Hints for NoHints {
    fn few_values(&self, _: u8, _: &[Fr]) -> FewValues {
        FewValues::default()
    }
}

/// Additions that one term of a sum with full-size scalars takes, roughly.
const ADDITIONS: usize = 20;

impl FewValues {
    /// The terms of a column, if they make its sum cheaper.
    pub(crate) fn worthwhile(&self, column: usize, rows: usize) -> Option<&[Term]> {
        let (_, terms) = self.columns.iter().find(|(c, _)| *c == column)?;
        let distinct = self.values.len().min(terms.len());
        (terms.len() + ADDITIONS * distinct < ADDITIONS * rows / 2).then_some(terms)
    }

    /// The commitment to a column of which `terms` are known.
    fn sum(&self, column: &[Fr], terms: &[Term], bases: &[G1Affine], spare: &Spare) -> G1 {
        let mut left = column.to_vec();
        let mut known = Vec::with_capacity(terms.len());
        for term in terms {
            if let (Some(left), Some(value)) = (left.get_mut(term.row as usize), self.values.get(term.value as usize)) {
                *left -= value;
                known.push(*term);
            }
        }
        let merged = merge(&known, self.values.len(), bases);
        drop(known);
        let (values, points): (Vec<Fr>, Vec<G1Affine>) = self
            .values
            .iter()
            .zip(merged.iter().copied())
            .filter(|(_, point)| !bool::from(point.is_identity()))
            .unzip();
        sum_with(&left, bases, spare) + sum_with(&values, &points, spare)
    }
}

/// Commitments to numbered columns, of some of which more is known; all at once.
pub(crate) fn commit_known(columns: &[(usize, &[Fr])], few: &FewValues, bases: &[G1Affine]) -> Vec<G1Affine> {
    let spare = Spare::new(columns.len());
    let sum = |&(number, column): &(usize, &[Fr])| match few.worthwhile(number, column.len()) {
        Some(terms) => few.sum(column, terms, bases, &spare),
        None => sum_with(column, bases, &spare),
    };
    normalized(columns.par_iter().map(sum).collect())
}

/// Bytes that hints with so many values and terms in all, and so many terms in the longest column, take while a phase of 2^k rows is
/// committed, at most, besides what the commitments themselves take.
pub fn hint_bytes(k: u32, values: usize, terms: usize, longest: usize) -> u64 {
    let threads = rayon::current_num_threads();
    let (element, point, term) = (size_of::<Fr>(), size_of::<G1Affine>(), size_of::<Term>());
    // What is left of the column, the known terms, the merged points twice while they are picked, their values.
    let each = (element << k) + longest * term + values * (2 * point + element);
    // Lists of terms grow, are put together and converted.
    (values * element + 3 * terms * term) as u64
        + (threads * each) as u64
        + threads as u64 * merge_space(values, longest)
}

#[cfg(test)]
mod tests {
    use halo2_proofs::halo2curves::{
        ff::Field,
        group::{Curve, Group},
    };
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    fn bases(n: usize, rng: &mut StdRng) -> Vec<G1Affine> {
        let few: Vec<G1> = (0..5).map(|_| G1::random(&mut *rng)).collect();
        let points = (0..n).map(|i| match rng.gen_range(0..5) {
            0 => few[i % 5],
            1 => -few[i % 5],
            2 if i % 3 == 0 => G1::identity(),
            _ => G1::random(&mut *rng),
        });
        points.map(|point| point.to_affine()).collect()
    }

    #[test]
    fn the_sum_is_the_column_s_whatever_the_terms_say() {
        let mut rng = StdRng::seed_from_u64(11);
        for (n, n_values, n_terms) in
            [(1, 1, 0), (1, 1, 1), (64, 3, 100), (700, 40, 900), (700, 1, 2000), (300, 900, 50)]
        {
            let bases = bases(n, &mut rng);
            let values: Vec<Fr> =
                (0..n_values).map(|i| if i % 7 == 3 { Fr::ZERO } else { Fr::random(&mut rng) }).collect();
            let right: Vec<Term> = (0..n_terms)
                .map(|_| Term { row: rng.gen_range(0..n as u32), value: rng.gen_range(0..n_values as u32) })
                .collect();
            let mut column = vec![Fr::ZERO; n];
            for term in &right {
                column[term.row as usize] += values[term.value as usize];
            }
            let mut partly = column.clone();
            partly.iter_mut().step_by(5).for_each(|x| *x = Fr::random(&mut rng));
            let few = FewValues { values, columns: Vec::new() };
            let mut wrong = right.clone();
            wrong.extend([
                Term { row: n as u32, value: 0 },
                Term { row: 0, value: n_values as u32 },
                Term { row: u32::MAX, value: u32::MAX },
                Term { row: 0, value: 0 },
            ]);
            for column in [&column, &partly] {
                let plain: G1 = column.iter().zip(&bases).map(|(x, base)| *base * x).sum();
                for terms in [&right, &wrong, &Vec::new()] {
                    assert_eq!(
                        few.sum(column, terms, &bases, &Spare::new(1)),
                        plain,
                        "{n} rows, {} terms",
                        terms.len()
                    );
                }
            }
        }
    }

    #[test]
    fn terms_are_used_where_they_save_additions() {
        let term = Term { row: 0, value: 0 };
        let few = |terms: usize, values: usize| FewValues {
            values: vec![Fr::ONE; values],
            columns: vec![(2, vec![term; terms])],
        };
        assert!(few(2000, 100).worthwhile(2, 1000).is_some());
        assert!(few(2000, 100).worthwhile(1, 1000).is_none(), "of another column nothing is known");
        assert!(few(2000, 900).worthwhile(2, 1000).is_none(), "nearly as many values as rows");
        assert!(few(20_000, 10).worthwhile(2, 1000).is_none(), "more terms than additions without them");
    }
}
