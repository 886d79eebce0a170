//! Twelve limbs hold, or are refused for what is wrong with them.

use epochcheck::AccumulatorError;
use epochcheck::accumulator::{check, decode};
use halo2_proofs::{
    halo2curves::{
        bn256::{Fq, Fr, G1Affine},
        ff::{Field, PrimeField},
        group::Curve,
    },
    poly::commitment::ParamsProver,
};
use snark_verifier::util::arithmetic::fe_to_limbs;

use crate::support::{DEMO, SRS, params};

fn limbs(points: [G1Affine; 2]) -> Vec<Fr> {
    points.iter().flat_map(|point| [point.x, point.y]).flat_map(fe_to_limbs::<Fq, Fr, 3, 88>).collect()
}

/// e([τ]P, [1]) = e(P, [τ]).
fn holding(factor: u64) -> [G1Affine; 2] {
    let powers = SRS.params().get_g();
    [powers[1], powers[0]].map(|point| (point * Fr::from(factor)).to_affine())
}

#[test]
fn what_holds_holds() {
    for factor in [1, 7, 1_000_000_007] {
        let points = holding(factor);
        let limbs = limbs(points);
        assert_eq!(decode(&limbs), Ok(points));
        assert_eq!(check(&params(9), &limbs), Ok(()));
    }
    let words = DEMO.proof.instances.accumulator.map(circuits::convert::to_fr);
    assert_eq!(check(&DEMO.params, &words), Ok(()));
}

#[test]
fn what_does_not_is_refused_for_its_reason() {
    let [lhs, rhs] = holding(3);
    let refused = |limbs: &[Fr]| check(&params(9), limbs).expect_err("refused");
    assert_eq!(refused(&limbs([rhs, lhs])), AccumulatorError::Pairing);
    assert_eq!(refused(&limbs([(lhs * Fr::from(2)).to_affine(), rhs])), AccumulatorError::Pairing);
    assert_eq!(refused(&limbs([-lhs, rhs])), AccumulatorError::Pairing);
    let good = limbs([lhs, rhs]);
    for got in [0, 11, 13] {
        assert_eq!(refused(&vec![good[0]; got]), AccumulatorError::Limbs { got });
    }
    for index in 0..12 {
        let mut wide = good.clone();
        let bits = if index % 3 == 2 { 80 } else { 88 };
        wide[index] += Fr::from(2).pow([bits]);
        assert_eq!(refused(&wide), AccumulatorError::Wide { index });
        let mut off = good.clone();
        off[index] = Fr::ZERO;
        assert_eq!(refused(&off), AccumulatorError::NotOnCurve { point: index / 6 });
    }
    for point in 0..2 {
        let mut infinity = good.clone();
        infinity[6 * point..][..6].fill(Fr::ZERO);
        assert_eq!(refused(&infinity), AccumulatorError::Infinity { point });
    }
    assert_eq!(refused(&[Fr::ZERO; 12]), AccumulatorError::Infinity { point: 0 });
}

/// A coordinate and the modulus make another spelling of the same point, below 2^256: there is one spelling.
#[test]
fn coordinates_above_the_modulus_are_refused() {
    let points = holding(3);
    let mut spelled = points[0].x.to_repr();
    let last = (-Fq::ONE).to_repr();
    let mut carry = 1; // p − 1 and 1 more.
    for (byte, more) in spelled.iter_mut().zip(last) {
        let sum = u32::from(*byte) + u32::from(more) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(carry, 0, "below 2^256");
    let mut words = limbs(points);
    for (word, part) in words.iter_mut().zip(spelled.chunks(11)) {
        let mut bytes = [0; 32];
        bytes[..part.len()].copy_from_slice(part);
        *word = Option::from(Fr::from_repr(bytes)).expect("a limb");
    }
    assert_eq!(check(&params(9), &words), Err(AccumulatorError::NotOnCurve { point: 0 }));
}
