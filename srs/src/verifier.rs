//! What verification needs of a reference string, apart from its powers.

use halo2_proofs::{
    halo2curves::{
        bn256::{Bn256, Fq2, Fr, G1Affine, G2Affine},
        ff::{Field, PrimeField},
        group::Curve,
        serde::SerdeObject,
    },
    poly::kzg::commitment::ParamsKZG,
};

use crate::{
    dev,
    error::SrsError,
    points::{Refusal, decode},
    raw::{self, G2_LEN},
    types::{Srs, SrsSize},
};

/// τH, the only thing that one reference string's verification does not share with another's: the generators are those of
/// the curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SrsVerifier {
    tau_h: G2Affine,
}

impl SrsVerifier {
    /// Length in bytes: a G2 point as in the raw format of a whole string.
    pub const LEN: usize = G2_LEN;

    /// Reads a point of the subgroup other than infinity and the generator, in its only spelling.
    ///
    /// Errors: [`SrsError::VerifierPoint`].
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, SrsError> {
        let refuse = |reason| SrsError::VerifierPoint { reason };
        let tau_h = decode::<Fq2, G2Affine>(bytes).map_err(|refusal| {
            refuse(match refusal {
                Refusal::NotCanonical => "a coordinate of the field's order or above",
                Refusal::NotOnCurve => "not on the curve",
                Refusal::Infinity => "the point at infinity",
            })
        })?;
        // (r − 1)·P = −P exactly for the points whose order divides the prime r.
        if (tau_h * -Fr::ONE).to_affine() != -tau_h {
            return Err(refuse("not in the subgroup of prime order"));
        }
        if tau_h == G2Affine::generator() {
            return Err(refuse("the generator: tau = 1"));
        }
        Ok(Self { tau_h })
    }

    /// The point: x, then y.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        raw_bytes(&self.tau_h)
    }

    /// −\[τ\]₂ as verifiers on chain have it for the pairing: x₁, x₀, y₁, y₀, big-endian.
    pub fn pairing_words(&self) -> [[u8; 32]; 4] {
        let point = -self.tau_h;
        [point.x.c1, point.x.c0, point.y.c1, point.y.c0].map(|coordinate| {
            let mut word = coordinate.to_repr();
            word.reverse();
            word
        })
    }

    /// Whether this is the public development string, with which everybody can forge proofs.
    pub fn is_development(&self) -> bool {
        self.tau_h == dev::tau_g2()
    }

    /// Parameters that verify proofs of circuits of 2^k rows. They have one power of τ: nothing can be proved with them.
    pub fn params(&self, k: SrsSize) -> ParamsKZG<Bn256> {
        raw::from_parts(k, vec![G1Affine::generator()], Vec::new(), G2Affine::generator(), self.tau_h)
    }
}

fn raw_bytes(point: &G2Affine) -> [u8; G2_LEN] {
    let mut bytes = [0; G2_LEN];
    let raw = point.to_raw_bytes();
    bytes.copy_from_slice(&raw);
    bytes
}

impl From<&Srs> for SrsVerifier {
    fn from(srs: &Srs) -> Self {
        Self { tau_h: srs.params().s_g2() }
    }
}

#[cfg(test)]
mod tests {
    use halo2_proofs::halo2curves::CurveAffine as _;
    use halo2_proofs::halo2curves::bn256::Fq;
    use halo2_proofs::halo2curves::group::prime::PrimeCurveAffine as _;
    use halo2_proofs::poly::commitment::ParamsProver as _;

    use super::*;
    use crate::{SrsCache, silent};

    fn development(dir: &std::path::Path) -> Srs {
        SrsCache::new(dir).development(SrsSize::new(4).expect("a size"), &silent).expect("the string")
    }

    #[test]
    fn it_is_read_as_it_was_written_and_has_the_strings_point() {
        let dir = tempfile::tempdir().expect("scratch space");
        let srs = development(dir.path());
        let verifier = SrsVerifier::from(&srs);
        assert!(verifier.is_development());
        assert_eq!(SrsVerifier::from_bytes(&verifier.to_bytes()).expect("a point"), verifier);
        let params = verifier.params(SrsSize::new(9).expect("a size"));
        assert_eq!((params.s_g2(), params.g2()), (srs.params().s_g2(), srs.params().g2()));
        assert_eq!(params.get_g(), &srs.params().get_g()[..1]);
    }

    fn refused_bytes(bytes: &[u8; SrsVerifier::LEN]) -> &'static str {
        match SrsVerifier::from_bytes(bytes) {
            Err(SrsError::VerifierPoint { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn points_that_no_string_has_are_refused() {
        let refused = |point: G2Affine| refused_bytes(&raw_bytes(&point));
        assert_eq!(refused(G2Affine::identity()), "the point at infinity");
        assert_eq!(refused(G2Affine::generator()), "the generator: tau = 1");
        let other = SrsVerifier { tau_h: (G2Affine::generator() * Fr::from(7)).to_affine() };
        assert!(!other.is_development() && SrsVerifier::from_bytes(&other.to_bytes()).is_ok());
        let dir = tempfile::tempdir().expect("scratch space");
        let honest = SrsVerifier::from(&development(dir.path())).to_bytes();
        for byte in 0..SrsVerifier::LEN {
            let mut bytes = honest;
            bytes[byte] ^= 1;
            refused_bytes(&bytes);
        }
        assert_eq!(refused_bytes(&[255; SrsVerifier::LEN]), "a coordinate of the field's order or above");
        // Of the twist, which is larger than the group of order r.
        let outside = (1..100).map(|x| Fq2 { c0: Fq::from(x), c1: Fq::ZERO }).find_map(|x| {
            let y: Option<Fq2> = (x.square() * x + G2Affine::b()).sqrt().into();
            Option::<G2Affine>::from(G2Affine::from_xy(x, y?))
        });
        assert_eq!(refused(outside.expect("half of all x")), "not in the subgroup of prime order");
    }
}
