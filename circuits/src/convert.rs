//! Between ledger's byte types and halo2's field and curve types.

use halo2_proofs::halo2curves::{
    Coordinates, CurveAffine,
    bn256::{Fq, Fr, G1Affine},
    ff::PrimeField,
    group::prime::PrimeCurveAffine,
};
use ledger::{CurvePoint, FieldElement};

/// Bytes that are no element of BN254's groups or fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// Coordinates are not below the base-field modulus, or the point is not on the curve.
    #[error("{0} is not a point of BN254 G1")]
    NotOnCurve(CurvePoint),
    /// The point at infinity commits to nothing and is never accepted.
    #[error("the point at infinity is not a commitment")]
    Infinity,
}

/// A canonical field element as halo2's.
pub fn to_fr(x: FieldElement) -> Fr {
    // FieldElement's constructors refuse everything that is not below the modulus.
    Option::from(Fr::from_repr(x.to_le_bytes())).expect("FieldElement is canonical")
}

/// halo2's field element as canonical bytes.
pub fn from_fr(x: &Fr) -> FieldElement {
    FieldElement::from_le_bytes(x.to_repr()).expect("to_repr is canonical")
}

/// A commitment as a curve point.
///
/// Errors: [`ConvertError`].
pub fn to_g1(point: &CurvePoint) -> Result<G1Affine, ConvertError> {
    let (x, y) = point.coordinates();
    if x == [0; 32] && y == [0; 32] {
        return Err(ConvertError::Infinity);
    }
    let coordinate = |mut be: [u8; 32]| {
        be.reverse();
        Option::<Fq>::from(Fq::from_repr(be))
    };
    coordinate(x)
        .zip(coordinate(y))
        .and_then(|(x, y)| Option::from(G1Affine::from_xy(x, y)))
        .ok_or(ConvertError::NotOnCurve(*point))
}

/// A curve point as bytes.
///
/// Errors: [`ConvertError::Infinity`].
pub fn from_g1(point: &G1Affine) -> Result<CurvePoint, ConvertError> {
    // This curve library gives the point at infinity the coordinates (0, 0) rather than none.
    if bool::from(point.is_identity()) {
        return Err(ConvertError::Infinity);
    }
    let coordinates: Coordinates<G1Affine> = Option::from(point.coordinates()).ok_or(ConvertError::Infinity)?;
    let mut bytes = [0; 64];
    for (half, x) in bytes.chunks_mut(32).zip([coordinates.x(), coordinates.y()]) {
        half.copy_from_slice(x.to_repr().as_ref());
        half.reverse();
    }
    CurvePoint::from_bytes(bytes).map_err(|_| ConvertError::Infinity)
}
