//! Every region of a proof and every instance, changed one at a time, is refused with the right error.

use circuits::convert::ConvertError;
use circuits::keys::{StepError, StepVerifyingKey};
use circuits::step::gate::N_INSTANCES;
use halo2_proofs::halo2curves::{
    bn256::{Fr, G1Affine},
    ff::{Field, PrimeField},
    group::{GroupEncoding, prime::PrimeCurveAffine},
};
use ledger::Rule;

use crate::support::{Keyed, key, later, prove};

const RULES: [Rule; 2] = [Rule::AdamW, Rule::Sgd];
/// Bytes of a compressed point and of a scalar.
const WORD: usize = 32;
/// Points at the end of a proof: W and W' of the multi-opening.
const OPENING_POINTS: usize = 2;

struct Honest {
    key: &'static Keyed,
    instances: [Fr; N_INSTANCES],
    proof: Vec<u8>,
}

fn honest(rule: Rule) -> Honest {
    let (key, step) = (key(rule), later(rule));
    let proof = prove(rule, step.witness(rule), &step.instances, 1);
    key.vk.verify(&key.params, &step.instances, &proof).expect("honest");
    Honest { key, instances: step.instances, proof }
}

impl Honest {
    fn refused(&self, what: &str, proof: &[u8]) -> String {
        match self.key.vk.verify(&self.key.params, &self.instances, proof) {
            Err(StepError::Refused(reason)) => reason,
            other => panic!("{what}: expected a refusal, got {other:?}"),
        }
    }

    fn with(&self, word: usize, bytes: &[u8]) -> Vec<u8> {
        let mut proof = self.proof.clone();
        proof[word * WORD..][..WORD].copy_from_slice(bytes);
        proof
    }

    fn word(&self, word: usize) -> &[u8] {
        &self.proof[word * WORD..][..WORD]
    }
}

/// Positions of points and of scalars among the words of a proof.
fn layout(vk: &StepVerifyingKey) -> (Vec<usize>, Vec<usize>) {
    let cs = vk.inner().cs();
    let before = cs.num_advice_columns() + 1 + (cs.degree() - 1);
    let words = vk.proof_len() / WORD;
    let points = (0..before).chain(words - OPENING_POINTS..words).collect();
    (points, (before..words - OPENING_POINTS).collect())
}

#[test]
fn layout_covers_the_whole_proof() {
    for rule in RULES {
        let h = honest(rule);
        let (points, scalars) = layout(&h.key.vk);
        assert_eq!((points.len() + scalars.len()) * WORD, h.proof.len());
        for at in points {
            let mut bytes = <G1Affine as GroupEncoding>::Repr::default();
            bytes.as_mut().copy_from_slice(h.word(at));
            assert!(bool::from(G1Affine::from_bytes(&bytes).is_some()), "word {at} is a point");
        }
        for at in scalars {
            let bytes: [u8; WORD] = h.word(at).try_into().expect("one word");
            assert!(bool::from(Fr::from_repr(bytes).is_some()), "word {at} is a scalar");
        }
    }
}

#[test]
fn one_bit_flipped_in_any_word_is_refused() {
    for rule in RULES {
        let h = honest(rule);
        for word in 0..h.proof.len() / WORD {
            // The lowest bit of the first byte, one in the middle, the top one (sign and flags of a point).
            for (byte, bit) in [(0, 0), (WORD / 2, 3), (WORD - 1, 7), (WORD - 1, 6)] {
                let mut proof = h.proof.clone();
                proof[word * WORD + byte] ^= 1 << bit;
                h.refused(&format!("{rule:?}, word {word}, byte {byte}, bit {bit}"), &proof);
            }
        }
    }
}

#[test]
fn each_point_replaced_by_another_is_refused() {
    let h = honest(Rule::AdamW);
    let (points, _) = layout(&h.key.vk);
    for at in points {
        let generator = G1Affine::generator().to_bytes();
        h.refused(&format!("generator in word {at}"), &h.with(at, generator.as_ref()));
        let mut bytes = <G1Affine as GroupEncoding>::Repr::default();
        bytes.as_mut().copy_from_slice(h.word(at));
        let point = Option::<G1Affine>::from(G1Affine::from_bytes(&bytes)).expect("a point");
        h.refused(&format!("negated word {at}"), &h.with(at, (-point).to_bytes().as_ref()));
    }
}

#[test]
fn point_at_infinity_is_refused_everywhere() {
    let h = honest(Rule::AdamW);
    let (points, _) = layout(&h.key.vk);
    let infinity = G1Affine::identity().to_bytes();
    for at in points {
        let proof = h.with(at, infinity.as_ref());
        h.refused(&format!("infinity in word {at}"), &proof);
        if at < 3 {
            match h.key.vk.points(&proof) {
                Err(StepError::Refused(reason)) => {
                    assert!(reason.contains("infinity"), "word {at}: {reason}")
                }
                Err(StepError::Convert(ConvertError::Infinity)) => {}
                other => panic!("word {at}: {other:?}"),
            }
        }
    }
}

#[test]
fn each_scalar_changed_or_not_canonical_is_refused() {
    let h = honest(Rule::AdamW);
    let (_, scalars) = layout(&h.key.vk);
    // r in little-endian: −1 plus one.
    let mut modulus: [u8; WORD] = (-Fr::ONE).to_repr();
    modulus[0] += 1;
    for at in scalars {
        let bytes: [u8; WORD] = h.word(at).try_into().expect("one word");
        let scalar = Option::<Fr>::from(Fr::from_repr(bytes)).expect("a scalar");
        let plus_one: [u8; WORD] = (scalar + Fr::ONE).to_repr();
        h.refused(&format!("word {at} plus one"), &h.with(at, &plus_one));
        h.refused(&format!("word {at} = r"), &h.with(at, &modulus));
        h.refused(&format!("word {at} = 2^256 − 1"), &h.with(at, &[0xff; WORD]));
        // The same scalar in its second encoding, s + r, where that fits 32 bytes.
        let mut carry = 0u16;
        let alias: Vec<u8> = bytes
            .iter()
            .zip(modulus)
            .map(|(a, b)| {
                let sum = u16::from(*a) + u16::from(b) + carry;
                carry = sum >> 8;
                sum as u8
            })
            .collect();
        assert_eq!(carry, 0, "s + r is below 2^256");
        h.refused(&format!("word {at} plus r"), &h.with(at, &alias));
    }
}

#[test]
fn wrong_length_is_refused_with_both_lengths() {
    for rule in RULES {
        let h = honest(rule);
        let expected = h.key.vk.proof_len();
        let check = |proof: &[u8]| {
            for refusal in
                [h.key.vk.verify(&h.key.params, &h.instances, proof).map(|_| ()), h.key.vk.points(proof).map(|_| ())]
            {
                match refusal {
                    Err(StepError::ProofLength { expected: e, got }) => {
                        assert_eq!((e, got), (expected, proof.len()))
                    }
                    other => panic!("{} bytes: {other:?}", proof.len()),
                }
            }
        };
        for len in [0, 1, WORD, expected - WORD, expected - 1] {
            check(&h.proof[..len]);
        }
        for extra in [1, WORD] {
            let mut proof = h.proof.clone();
            proof.resize(expected + extra, 0);
            check(&proof);
        }
    }
}

#[test]
fn each_instance_changed_is_refused() {
    for rule in RULES {
        let h = honest(rule);
        for row in 0..N_INSTANCES {
            for by in [Fr::ONE, -Fr::ONE] {
                let mut instances = h.instances;
                instances[row] += by;
                assert!(
                    matches!(h.key.vk.verify(&h.key.params, &instances, &h.proof), Err(StepError::Refused(_))),
                    "{rule:?}, instance {row}"
                );
            }
        }
    }
}

#[test]
fn proof_under_another_key_is_refused() {
    let h = honest(Rule::AdamW);
    let other = circuits::step::shape::StepShape { n_params: crate::support::N + 1, ..h.key.shape.clone() };
    let other = StepVerifyingKey::generate(&h.key.params, &other).expect("a key");
    assert_eq!(other.proof_len(), h.key.vk.proof_len(), "only the number of parameters differs");
    assert!(matches!(other.verify(&h.key.params, &h.instances, &h.proof), Err(StepError::Refused(_))));
}
