//! SHPLONK verification that stops before the multi-scalar multiplication.
//!
//! snark-verifier evaluates one MSM for each proof. Here a proof yields only the scalars that multiply its
//! commitments, so that the epoch circuit can sum equal bases (fixed columns, generator, linked states) of all its
//! proofs in the scalar field and evaluate a single MSM. Generic over the loader: the tests compare the native result
//! with snark-verifier's own accumulator.
//!
//! Source: Boneh, Drake, Fisch, Gabizon, eprint 2020/081, in the form halo2's `VerifierSHPLONK` uses: one polynomial
//! of evaluations per rotation set, sets combined by powers of γ, polynomials of a set by powers of μ, everything
//! scaled so that the first set has coefficient 1.

use std::collections::BTreeMap;

use halo2_proofs::halo2curves::CurveAffine;
use snark_verifier::{
    Error,
    loader::{LoadedScalar, Loader},
    pcs::{AccumulationScheme, PolynomialCommitmentScheme, Query, kzg::KzgSuccinctVerifyingKey},
    util::{
        arithmetic::{PrimeField, Rotation},
        msm::Msm,
        transcript::TranscriptRead,
    },
};

/// The scheme, for use as a type parameter of snark-verifier's `PlonkProof`.
#[derive(Clone, Debug)]
pub struct DeferredShplonk;

/// What a SHPLONK proof contributes to a transcript.
#[derive(Clone, Debug)]
pub struct OpeningProof<C: CurveAffine, L: Loader<C>> {
    mu: L::LoadedScalar,
    gamma: L::LoadedScalar,
    /// Commitment W.
    pub w: L::LoadedEcPoint,
    z_prime: L::LoadedScalar,
    /// Commitment W'.
    pub w_prime: L::LoadedEcPoint,
}

/// The pairing check of one proof, unevaluated:
/// `e(Σ poly_k·C_k + generator·G + w·W + w_prime·W', [1]) = e(W', [τ])`.
#[derive(Clone, Debug)]
pub struct DeferredOpening<C: CurveAffine, L: Loader<C>> {
    /// Scalar of each queried polynomial's commitment, by snark-verifier's polynomial index.
    pub polys: BTreeMap<usize, L::LoadedScalar>,
    /// Scalar of the generator.
    pub generator: L::LoadedScalar,
    /// Scalar of W.
    pub w: L::LoadedScalar,
    /// Scalar of W'.
    pub w_prime: L::LoadedScalar,
}

/// Polynomials that are opened at the same rotations.
struct RotationSet<'a, T> {
    shifts: Vec<Rotation>,
    /// (polynomial, evaluations in the order of `shifts`)
    polys: Vec<(usize, Vec<&'a T>)>,
}

/// Groups queries as halo2 does: polynomials in order of first appearance, sets likewise.
fn rotation_sets<T>(queries: &[Query<Rotation, T>]) -> Vec<RotationSet<'_, T>> {
    let mut polys: Vec<(usize, Vec<(Rotation, &T)>)> = Vec::new();
    for query in queries {
        let at = polys.iter().position(|(poly, _)| *poly == query.poly).unwrap_or_else(|| {
            polys.push((query.poly, Vec::new()));
            polys.len() - 1
        });
        let openings = &mut polys[at].1;
        if openings.iter().all(|(shift, _)| *shift != query.shift) {
            openings.push((query.shift, &query.eval));
        }
    }
    let mut sets: Vec<RotationSet<'_, T>> = Vec::new();
    for (poly, openings) in polys {
        let same = |set: &RotationSet<'_, T>| {
            set.shifts.len() == openings.len() && openings.iter().all(|(shift, _)| set.shifts.contains(shift))
        };
        match sets.iter_mut().find(|set| same(set)) {
            Some(set) => {
                let evals = set
                    .shifts
                    .iter()
                    .filter_map(|shift| openings.iter().find(|(s, _)| s == shift).map(|(_, eval)| *eval))
                    .collect();
                set.polys.push((poly, evals));
            }
            None => {
                let (shifts, evals) = openings.into_iter().unzip();
                sets.push(RotationSet { shifts, polys: vec![(poly, evals)] });
            }
        }
    }
    sets
}

impl<C, L> PolynomialCommitmentScheme<C, L> for DeferredShplonk
where
    C: CurveAffine,
    L: Loader<C>,
{
    type VerifyingKey = KzgSuccinctVerifyingKey<C>;
    type Proof = OpeningProof<C, L>;
    type Output = DeferredOpening<C, L>;

    fn read_proof<T>(_: &Self::VerifyingKey, _: &[Query<Rotation>], transcript: &mut T) -> Result<Self::Proof, Error>
    where
        T: TranscriptRead<C, L>,
    {
        let mu = transcript.squeeze_challenge();
        let gamma = transcript.squeeze_challenge();
        let w = transcript.read_ec_point()?;
        let z_prime = transcript.squeeze_challenge();
        let w_prime = transcript.read_ec_point()?;
        Ok(OpeningProof { mu, gamma, w, z_prime, w_prime })
    }

    fn verify(
        _: &Self::VerifyingKey,
        _: &[Msm<'_, C, L>],
        z: &L::LoadedScalar,
        queries: &[Query<Rotation, L::LoadedScalar>],
        proof: &Self::Proof,
    ) -> Result<Self::Output, Error> {
        let OpeningProof { mu, gamma, z_prime, .. } = proof;
        let loader = z.loader();
        let sets = rotation_sets(queries);
        let empty = || Error::InvalidProtocol("a proof without queries".to_owned());

        // ω^shift, a constant of the domain in every loader: what is computed from these alone costs no cells.
        let mut shifts: BTreeMap<Rotation, &L::LoadedScalar> = BTreeMap::new();
        for query in queries {
            shifts.insert(query.shift, &query.loaded_shift);
        }
        // 1 / (z' − z·ω^s) for every shift s, and 1 / z.
        let mut inverses: BTreeMap<Rotation, L::LoadedScalar> =
            shifts.iter().map(|(shift, omega)| (*shift, z_prime.clone() - z.clone() * *omega)).collect();
        let differences = inverses.clone();
        let mut z_inverse = z.clone();
        L::batch_invert(inverses.values_mut().chain(std::iter::once(&mut z_inverse)));

        let product = |of: &BTreeMap<Rotation, L::LoadedScalar>, set: &RotationSet<'_, L::LoadedScalar>| {
            let factors: Vec<_> = set.shifts.iter().map(|shift| &of[shift]).collect();
            loader.product(&factors)
        };
        let first = sets.first().ok_or_else(empty)?;
        let z_first = product(&differences, first);
        let widest = sets.iter().map(|set| set.shifts.len()).max().ok_or_else(empty)?;
        let most = sets.iter().map(|set| set.polys.len()).max().ok_or_else(empty)?;
        let z_inverse_powers = z_inverse.powers(widest);
        let mu_powers = mu.powers(most);
        let gamma_powers = gamma.powers(sets.len());

        let mut polys: BTreeMap<usize, L::LoadedScalar> = BTreeMap::new();
        let mut generator_terms = Vec::with_capacity(sets.len());
        for (i, (set, gamma_power)) in sets.iter().zip(&gamma_powers).enumerate() {
            // Coefficient of the set: Π_{first}(z' − x) / Π_{set}(z' − x).
            let coefficient =
                if i == 0 { gamma_power.clone() } else { product(&inverses, set) * &z_first * gamma_power };
            for ((poly, _), mu_power) in set.polys.iter().zip(&mu_powers) {
                polys.insert(*poly, coefficient.clone() * mu_power);
            }
            // Interpolation at z': the Lagrange basis of x_k = z·ω_k is
            // ℓ_k(z') = Π(z' − x) / ((z' − x_k) · z^{m−1} · Π_{l≠k}(ω_k − ω_l)).
            let scale = gamma_power.clone() * &z_first * &z_inverse_powers[set.shifts.len() - 1];
            let mut interpolated = Vec::with_capacity(set.shifts.len());
            for (k, shift) in set.shifts.iter().enumerate() {
                let evals: Vec<_> = set.polys.iter().map(|(_, evals)| evals[k]).zip(&mu_powers).collect();
                let combined = loader.sum_products(&evals);
                let spread = set
                    .shifts
                    .iter()
                    .filter(|other| *other != shift)
                    .map(|other| shifts[shift].clone() - shifts[other])
                    .reduce(|a, b| a * b);
                let weight = match spread {
                    // Differences of distinct roots of unity are constants and not zero.
                    Some(spread) => spread.invert().ok_or_else(empty)? * &inverses[shift],
                    None => inverses[shift].clone(),
                };
                interpolated.push((weight, combined));
            }
            let pairs: Vec<_> = interpolated.iter().map(|(weight, eval)| (weight, eval)).collect();
            generator_terms.push(loader.sum_products(&pairs) * scale);
        }
        let generator = -loader.sum(&generator_terms.iter().collect::<Vec<_>>());
        Ok(DeferredOpening { polys, generator, w: -z_first, w_prime: z_prime.clone() })
    }
}

/// Required by snark-verifier's proof type; openings are combined by the epoch circuit instead.
impl<C, L> AccumulationScheme<C, L> for DeferredShplonk
where
    C: CurveAffine,
    L: Loader<C>,
{
    type Accumulator = DeferredOpening<C, L>;
    type VerifyingKey = ();
    type Proof = ();

    fn read_proof<T>(_: &(), _: &[Self::Accumulator], _: &mut T) -> Result<(), Error>
    where
        T: TranscriptRead<C, L>,
    {
        Err(Error::InvalidProtocol("deferred openings are not accumulated one by one".to_owned()))
    }

    fn verify(_: &(), _: &[Self::Accumulator], _: &()) -> Result<Self::Accumulator, Error> {
        Err(Error::InvalidProtocol("deferred openings are not accumulated one by one".to_owned()))
    }
}

/// z^n to the powers 0..m: the coefficients of the quotient's pieces.
pub fn piece_coefficients<F: PrimeField, T: LoadedScalar<F>>(z: &T, k: usize, pieces: usize) -> Vec<T> {
    z.pow_const(1 << k).powers(pieces)
}
