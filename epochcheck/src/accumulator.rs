//! The accumulator among an epoch's instances: what the circuit leaves to one pairing.
//!
//! Source: `docs/spec/epoch.md`, "Instances". Two points, lhs and rhs, as twelve words: x and y of each in three limbs of 88 bits,
//! low first, so that a third limb has 80. It holds if e(lhs, [1]₂) = e(rhs, [τ]₂).

use halo2_proofs::{
    halo2curves::{
        CurveAffine,
        bn256::{Bn256, Fq, Fr, G1Affine},
        ff::{Field, PrimeField},
        group::Group,
        pairing::{MillerLoopResult, MultiMillerLoop},
    },
    poly::kzg::commitment::ParamsKZG,
};

/// Words of the accumulator.
pub use ledger::instances::ACCUMULATOR_LIMBS;

/// Limbs of a coordinate.
const LIMBS: usize = 3;
/// Bytes of a limb, 88 bits.
const LIMB_BYTES: usize = 11;

/// Bytes that the limb `index` may have: the third of a coordinate goes on to 256 bits.
const fn limb_bytes(index: usize) -> usize {
    if index % LIMBS == LIMBS - 1 { 32 - (LIMBS - 1) * LIMB_BYTES } else { LIMB_BYTES }
}

/// Why an accumulator does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccumulatorError {
    /// Another number of words.
    #[error("expected {ACCUMULATOR_LIMBS} limbs, got {got}")]
    Limbs {
        /// Words there are.
        got: usize,
    },
    /// A limb is wider than its coordinate allows.
    #[error("limb {index} has more than {} bits", 8 * limb_bytes(*.index))]
    Wide {
        /// Which, from 0.
        index: usize,
    },
    /// A point at infinity: 0 = 0 proves nothing.
    #[error("point {point} is the point at infinity")]
    Infinity {
        /// 0 (lhs) or 1 (rhs).
        point: usize,
    },
    /// A coordinate that is not below the modulus, or a pair of them that no point has.
    #[error("point {point} is not a curve point")]
    NotOnCurve {
        /// 0 (lhs) or 1 (rhs).
        point: usize,
    },
    /// The pairing does not hold.
    #[error("the pairing of the accumulated step proofs fails")]
    Pairing,
}

/// `e(lhs, [1]₂) = e(rhs, [τ]₂)` for the accumulator in `limbs`, `[12]`.
///
/// Errors: [`AccumulatorError`].
pub fn check(params: &ParamsKZG<Bn256>, limbs: &[Fr]) -> Result<(), AccumulatorError> {
    let [lhs, rhs] = decode(limbs)?;
    let terms = [(&lhs, &params.g2().into()), (&-rhs, &params.s_g2().into())];
    let result = Bn256::multi_miller_loop(&terms).final_exponentiation();
    if bool::from(result.is_identity()) { Ok(()) } else { Err(AccumulatorError::Pairing) }
}

/// Both points of an accumulator, finite.
///
/// Errors: [`AccumulatorError`], but for [`AccumulatorError::Pairing`].
pub fn decode(limbs: &[Fr]) -> Result<[G1Affine; 2], AccumulatorError> {
    let limbs: &[Fr; ACCUMULATOR_LIMBS] = limbs.try_into().map_err(|_| AccumulatorError::Limbs { got: limbs.len() })?;
    let is_wide = |(index, limb): (usize, &Fr)| limb.to_repr()[limb_bytes(index)..].iter().any(|byte| *byte != 0);
    if let Some(index) = limbs.iter().enumerate().position(is_wide) {
        return Err(AccumulatorError::Wide { index });
    }
    Ok([point(0, &limbs[..2 * LIMBS])?, point(1, &limbs[2 * LIMBS..])?])
}

fn point(point: usize, limbs: &[Fr]) -> Result<G1Affine, AccumulatorError> {
    if limbs.iter().all(|limb| bool::from(limb.is_zero())) {
        return Err(AccumulatorError::Infinity { point });
    }
    let (x, y) = limbs.split_at(LIMBS);
    let found = coordinate(x).zip(coordinate(y)).and_then(|(x, y)| Option::from(G1Affine::from_xy(x, y)));
    found.ok_or(AccumulatorError::NotOnCurve { point })
}

/// Σ limb·2^(88·i), if it is below p.
fn coordinate(limbs: &[Fr]) -> Option<Fq> {
    let mut bytes = [0; 32];
    for (part, limb) in bytes.chunks_mut(LIMB_BYTES).zip(limbs) {
        part.copy_from_slice(&limb.to_repr()[..part.len()]);
    }
    Option::from(Fq::from_repr(bytes))
}
