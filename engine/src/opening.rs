//! The openings of all polynomials in one proof of two points.
//!
//! Source: Boneh, Drake, Fisch, Gabizon, eprint 2020/081 ("SHPLONK"), as the library's verifier reads it: polynomials opened
//! at the same points form a set; y folds the polynomials of a set, v the sets.

use halo2_proofs::{
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
use crate::poly::{Division, Poly, combine, divide_onto};
use crate::room::Room;

/// A polynomial (a number that the caller gives it), and a point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query {
    pub(crate) poly: usize,
    pub(crate) point: Fr,
}

/// Polynomials opened at the same points.
struct Set {
    points: Vec<Fr>,
    members: Vec<usize>,
}

/// Groups the queries; sets and members in the order in which their first query stands.
fn sets(queries: &[Query]) -> Vec<Set> {
    let mut by_poly: Vec<(usize, Vec<Fr>)> = Vec::new();
    for Query { poly, point } in queries {
        let i = by_poly.iter().position(|(p, _)| p == poly).unwrap_or_else(|| {
            by_poly.push((*poly, Vec::new()));
            by_poly.len() - 1
        });
        let points = &mut by_poly[i].1;
        if !points.contains(point) {
            points.push(*point);
        }
    }
    let mut sets: Vec<Set> = Vec::new();
    for (poly, points) in by_poly {
        let same = |set: &Set| set.points.len() == points.len() && set.points.iter().all(|p| points.contains(p));
        match sets.iter().position(same) {
            Some(i) => sets[i].members.push(poly),
            None => sets.push(Set { points, members: vec![poly] }),
        }
    }
    sets
}

/// Proves the queries. `terms` gives the polynomials that a number stands for, with factors; how much is done at once is `work`'s to
/// say.
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

    // Of each set: Σ y^j·P_j.
    let all: Vec<Vec<(Fr, Poly<'p>)>> = sets
        .iter()
        .map(|set| {
            let powers = std::iter::successors(Some(Fr::ONE), |p| Some(*p * y));
            let scaled = |(poly, power): (&usize, Fr)| terms(*poly).into_iter().map(move |(f, p)| (f * power, p));
            set.members.iter().zip(powers).flat_map(scaled).collect()
        })
        .collect();
    let room = Room::new(n);
    let folded: Vec<Vec<Fr>> = match work {
        Work::AtOnce => all.par_iter().with_max_len(1).map(|terms| combine(terms, &room)).collect(),
        Work::OneByOne => all.iter().map(|terms| combine(terms, &room)).collect(),
    };
    let mut points: Vec<Fr> = Vec::new();
    for point in sets.iter().flat_map(|set| &set.points) {
        if !points.contains(point) {
            points.push(*point);
        }
    }
    let v_powers: Vec<Fr> = std::iter::successors(Some(Fr::ONE), |p| Some(*p * v)).take(sets.len()).collect();
    let at_once = match work {
        Work::AtOnce => sets.len().saturating_sub(1),
        Work::OneByOne => 1,
    };
    let mut h = room.take();
    h.fill(Fr::ZERO);
    // What is left is not for the divisions and sums.
    drop(room);
    divide_onto(&mut h, &divisions(&sets, &folded, &v_powers, &points), at_once);
    transcript.write_point(commit(&[&h], bases, work)[0])?;

    let u: Fr = *transcript.squeeze_challenge_scalar::<()>();
    let vanishing = |points: &mut dyn Iterator<Item = &Fr>| points.map(|p| u - p).product::<Fr>();
    let differences: Vec<Fr> =
        sets.iter().map(|set| vanishing(&mut points.iter().filter(|p| !set.points.contains(p)))).collect();
    // The verifier's equation is scaled so that the first set has factor 1.
    let scale: Fr = differences.first().and_then(|d| Option::from(d.invert())).unwrap_or(Fr::ONE);
    let factors = differences.iter().zip(&v_powers).map(|(difference, power)| scale * difference * power);
    let mut linear: Vec<(Fr, &[Fr])> = factors.zip(folded.iter().map(Vec::as_slice)).collect();
    linear.push((-scale * vanishing(&mut points.iter()), &h));
    // The values that are claimed make this zero at u; they change the constant term, on which the quotient does not depend.
    let mut last = vec![Fr::ZERO; n];
    divide_onto(&mut last, &[Division { root: u, terms: linear }], 1);
    transcript.write_point(commit(&[&last], bases, work)[0])?;
    Ok(())
}

/// What adds up to `Σ v^j·(P_j − R_j) / Z_j`, where P_j is the folded set j, Z_j vanishes at its points, and R_j has the same
/// values there; `points` are all that occur.
///
/// By partial fractions that is `Σ_p (Q_p − Q_p(p)) / (X − p)` over all points, where Q_p is the sum of the `v^j·P_j / Z_j'(p)`
/// of the sets that have the point: one division a point, however many sets have it.
fn divisions<'a>(sets: &[Set], folded: &'a [Vec<Fr>], v_powers: &[Fr], points: &[Fr]) -> Vec<Division<'a>> {
    let of_point = |point: &Fr| {
        let here = sets.iter().zip(folded).zip(v_powers).filter(|((set, _), _)| set.points.contains(point));
        let terms = here.map(|((set, folded), power)| {
            let slope: Fr = set.points.iter().filter(|p| *p != point).map(|p| *point - p).product();
            // Points of a set differ.
            let inverse: Fr = Option::from(slope.invert()).unwrap_or(Fr::ZERO);
            (*power * inverse, folded.as_slice())
        });
        Division { root: *point, terms: terms.collect() }
    };
    points.iter().map(of_point).collect()
}
