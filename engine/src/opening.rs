//! The openings of all polynomials in one proof of two points.
//!
//! Source: Boneh, Drake, Fisch, Gabizon, eprint 2020/081 ("SHPLONK"), as the library's verifier reads it: polynomials opened
//! at the same points form a set; y folds the polynomials of a set, v the sets.

use halo2_proofs::{
    arithmetic::{eval_polynomial, lagrange_interpolate},
    halo2curves::{
        bn256::{Fr, G1Affine},
        ff::Field,
    },
    transcript::{EncodedChallenge, TranscriptWrite},
};
use rayon::prelude::*;

use crate::error::EngineError;
use crate::memory::Work;
use crate::msm::commit;
use crate::poly::{Poly, combine, divide};

/// A polynomial (a number that the caller gives it), a point, and the value there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query {
    pub(crate) poly: usize,
    pub(crate) point: Fr,
    pub(crate) value: Fr,
}

/// Polynomials opened at the same points.
struct Set {
    points: Vec<Fr>,
    /// Polynomial, and its values at the points.
    members: Vec<(usize, Vec<Fr>)>,
}

/// Groups the queries; sets and members in the order in which their first query stands.
fn sets(queries: &[Query]) -> Vec<Set> {
    let mut by_poly: Vec<(usize, Vec<(Fr, Fr)>)> = Vec::new();
    for Query { poly, point, value } in queries {
        let i = by_poly.iter().position(|(p, _)| p == poly).unwrap_or_else(|| {
            by_poly.push((*poly, Vec::new()));
            by_poly.len() - 1
        });
        let values = &mut by_poly[i].1;
        if !values.iter().any(|(p, _)| p == point) {
            values.push((*point, *value));
        }
    }
    let mut sets: Vec<Set> = Vec::new();
    for (poly, values) in by_poly {
        let value_at = |p: &Fr| values.iter().find(|(point, _)| point == p).map(|(_, value)| *value);
        let found = sets.iter_mut().find_map(|set| {
            let at_points: Option<Vec<Fr>> = set.points.iter().map(value_at).collect();
            at_points.filter(|v| v.len() == values.len()).map(|v| (&mut set.members, v))
        });
        match found {
            Some((members, at_points)) => members.push((poly, at_points)),
            None => {
                let (points, at_points) = values.into_iter().unzip();
                sets.push(Set { points, members: vec![(poly, at_points)] });
            }
        }
    }
    sets
}

/// Proves the queries. `terms` gives the polynomials that a number stands for, with factors; how many quotients are made at once
/// is `work`'s to say.
///
/// Errors: [`EngineError::Transcript`].
pub(crate) fn open<'p, E, T>(
    n: usize,
    bases: &[G1Affine],
    queries: &[Query],
    terms: impl Fn(usize) -> Vec<(Fr, Poly<'p>)>,
    work: Work,
    transcript: &mut T,
) -> Result<(), EngineError>
where
    E: EncodedChallenge<G1Affine>,
    T: TranscriptWrite<G1Affine, E>,
{
    let y: Fr = *transcript.squeeze_challenge_scalar::<()>();
    let sets = sets(queries);
    let v: Fr = *transcript.squeeze_challenge_scalar::<()>();

    // Of each set: Σ y^j·P_j, and the polynomial of low degree with the same values at the set's points.
    let folded: Vec<(Vec<Fr>, Vec<Fr>)> = sets
        .iter()
        .map(|set| {
            let mut all = Vec::new();
            let mut values = vec![Fr::ZERO; set.points.len()];
            let mut power = Fr::ONE;
            for (poly, at_points) in &set.members {
                all.extend(terms(*poly).into_iter().map(|(factor, p)| (factor * power, p)));
                for (sum, value) in values.iter_mut().zip(at_points) {
                    *sum += power * value;
                }
                power *= y;
            }
            (combine(n, &all), lagrange_interpolate(&set.points, &values))
        })
        .collect();
    let v_powers: Vec<Fr> = std::iter::successors(Some(Fr::ONE), |p| Some(*p * v)).take(sets.len()).collect();
    let h = quotient(n, &sets, &folded, &v_powers, work);
    transcript.write_point(commit(&[&h], bases, work)[0])?;

    let u: Fr = *transcript.squeeze_challenge_scalar::<()>();
    let mut points: Vec<Fr> = Vec::new();
    for point in sets.iter().flat_map(|set| &set.points) {
        if !points.contains(point) {
            points.push(*point);
        }
    }
    let vanishing = |points: &mut dyn Iterator<Item = &Fr>| points.map(|p| u - p).product::<Fr>();
    let differences: Vec<Fr> =
        sets.iter().map(|set| vanishing(&mut points.iter().filter(|p| !set.points.contains(p)))).collect();
    let mut constant = Fr::ZERO;
    let mut linear: Vec<(Fr, Poly<'_>)> = Vec::new();
    for (((sum, low), difference), power) in folded.iter().zip(&differences).zip(&v_powers) {
        let factor = *difference * power;
        linear.push((factor, Poly::natural(sum)));
        constant += factor * eval_polynomial(low, u);
    }
    linear.push((-vanishing(&mut points.iter()), Poly::natural(&h)));
    let mut last = combine(n, &linear);
    last[0] -= constant;
    divide(&mut last, u);
    // The verifier's equation is scaled so that the first set has factor 1.
    let scale: Fr = differences.first().and_then(|d| Option::from(d.invert())).unwrap_or(Fr::ONE);
    last.par_iter_mut().with_min_len(1 << 10).for_each(|c| *c *= scale);
    transcript.write_point(commit(&[&last], bases, work)[0])?;
    Ok(())
}

/// `Σ v^j·(sum_j − low_j) / Z_j`, where Z_j vanishes at the points of set j.
fn quotient(n: usize, sets: &[Set], folded: &[(Vec<Fr>, Vec<Fr>)], v_powers: &[Fr], work: Work) -> Vec<Fr> {
    let of_set = |set: &Set, (sum, low): &(Vec<Fr>, Vec<Fr>)| {
        let mut quotient = sum.clone();
        for (c, l) in quotient.iter_mut().zip(low) {
            *c -= l;
        }
        for point in &set.points {
            divide(&mut quotient, *point);
        }
        quotient
    };
    match work {
        Work::AtOnce => {
            let quotients: Vec<Vec<Fr>> =
                sets.par_iter().zip(folded).map(|(set, folded)| of_set(set, folded)).collect();
            let terms: Vec<_> = v_powers.iter().copied().zip(quotients.iter().map(|q| Poly::natural(q))).collect();
            combine(n, &terms)
        }
        Work::OneByOne => {
            let mut out = vec![Fr::ZERO; n];
            for ((set, folded), power) in sets.iter().zip(folded).zip(v_powers) {
                let quotient = of_set(set, folded);
                out.par_iter_mut().zip(&quotient).with_min_len(1 << 10).for_each(|(o, q)| *o += *power * q);
            }
            out
        }
    }
}
