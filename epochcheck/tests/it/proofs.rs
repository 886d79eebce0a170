//! Verdicts on real epoch proofs are those of halo2 with halo2-base's key and snark-verifier's transcript, for good proofs and for
//! hundreds of bad ones.

use std::time::Instant;

use epochcheck::{EpochProof, EpochProofError};
use halo2_proofs::{
    halo2curves::bn256::{Bn256, Fr, G1Affine},
    plonk::{VerifyingKey, verify_proof},
    poly::kzg::{commitment::KZGCommitmentScheme, multiopen::VerifierSHPLONK, strategy::SingleStrategy},
};
use ledger::{EpochInstances, InstanceSlot};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::{DEMO, Real, WIDE, library_key, params};
use crate::transcript::theirs;

/// Without the accumulator, which stands among instances that the proof is of.
fn theirs_takes(real: &Real, key: &VerifyingKey<G1Affine>, proof: &EpochProof) -> bool {
    let words: Vec<Fr> = proof.instances.to_words().into_iter().map(circuits::convert::to_fr).collect();
    let mut transcript = theirs(&proof.proof);
    verify_proof::<KZGCommitmentScheme<Bn256>, VerifierSHPLONK<'_, Bn256>, _, _, _>(
        &real.params,
        key,
        SingleStrategy::new(&real.params),
        &[&[&words]],
        &mut transcript,
    )
    .is_ok()
}

fn cases(real: &Real, name: &str, per_word: usize) {
    let key = library_key(&real.columns, &real.halo2_key);
    let start = Instant::now();
    real.key.verify(&real.params, &real.proof).expect("a good proof");
    println!("{name}: {} bytes verified in {:.1} ms", real.proof.proof.len(), 1e3 * start.elapsed().as_secs_f64());
    assert!(theirs_takes(real, &key, &real.proof));

    let mut rng = StdRng::seed_from_u64(11);
    let mut n_refused = 0;
    let mut both = |proof: &EpochProof, what: &str| {
        let ours = real.key.verify(&real.params, proof);
        assert!(matches!(ours, Err(EpochProofError::Refused(_))), "{what}: {ours:?}");
        assert!(!theirs_takes(real, &key, proof), "{what}");
        n_refused += 1;
    };
    let n_words = real.proof.proof.len() / 32;
    for word in 0..n_words {
        for _ in 0..per_word {
            let (byte, bit) = (rng.gen_range(0..32), rng.gen_range(0..8));
            let mut changed = real.proof.clone();
            changed.proof[32 * word + byte] ^= 1 << bit;
            both(&changed, &format!("word {word}, byte {byte}, bit {bit}"));
        }
    }
    // A point at infinity, and a scalar that is zero.
    for word in [0, n_words - 2] {
        let mut changed = real.proof.clone();
        changed.proof[32 * word..][..64].fill(0);
        both(&changed, &format!("infinity at word {word}"));
    }
    for len in [0, 31, 32, 64 * 7, real.proof.proof.len() - 32, real.proof.proof.len() - 1] {
        let proof = real.proof.proof[..len].to_vec();
        both(&EpochProof { proof, ..real.proof.clone() }, &format!("cut to {len} bytes"));
    }
    let words = real.proof.instances.to_words();
    for slot in InstanceSlot::all(real.proof.instances.digests.len()) {
        let mut changed = words.clone();
        let at = slot.index();
        changed[at] = match slot {
            InstanceSlot::Fresh => u64::from(!real.proof.instances.fresh).into(),
            _ => circuits::convert::from_fr(&(circuits::convert::to_fr(words[at]) + Fr::one())),
        };
        let instances = EpochInstances::from_words(&changed).expect("still parses");
        both(&EpochProof { instances, proof: real.proof.proof.clone() }, &format!("{slot:?}"));
    }
    println!("{name}: {n_refused} bad proofs refused by both");
    assert!(n_refused >= 200, "{n_refused}");
}

#[test]
fn the_demos_epoch_is_judged_as_the_libraries_do() {
    cases(&DEMO, "k = 21, 3 + 1 columns", 4);
}

#[test]
fn an_earlier_epoch_is_judged_as_the_libraries_do() {
    cases(&WIDE, "k = 20, 9 + 1 columns", 2);
}

#[test]
fn each_reason_is_told() {
    let Real { key, proof, params, .. } = &*DEMO;
    let mut longer = proof.clone();
    longer.proof.push(0);
    let refused = key.verify(params, &longer);
    assert!(matches!(refused, Err(EpochProofError::Trailing { got: 1 })), "{refused:?}");
    let mut more = proof.clone();
    more.instances.digests.extend(proof.instances.digests.clone());
    let refused = key.verify(params, &more);
    assert!(matches!(refused, Err(EpochProofError::Instances { expected: 22, got: 26 })), "{refused:?}");
    let refused = key.verify(&self::params(20), proof);
    let told = "epoch proof refused: the reference string has k = 20, the key k = 21";
    assert_eq!(refused.expect_err("another size").to_string(), told);
    // The key of another circuit: another number of columns, and the same columns with two commitments exchanged.
    let wide = WIDE.key.verify(&WIDE.params, proof);
    assert!(matches!(wide, Err(EpochProofError::Refused(_))), "{wide:?}");
    let mut bytes = key.to_bytes().expect("a buffer");
    let at = bytes.len() - 64;
    bytes[at..].rotate_left(32);
    let other = epochcheck::EpochVerifyingKey::read(&mut &bytes[..]).expect("a key");
    assert_ne!(other.digest(), key.digest());
    let refused = other.verify(params, proof);
    assert!(matches!(refused, Err(EpochProofError::Refused(_))), "{refused:?}");
    // Another reference string.
    let told = key.verify(&another_string(), proof);
    assert!(matches!(told, Err(EpochProofError::Refused(_))), "{told:?}");
}

/// The same size with another τ.
fn another_string() -> halo2_proofs::poly::kzg::commitment::ParamsKZG<Bn256> {
    use halo2_proofs::halo2curves::{bn256::G2Affine, group::Curve, serde::SerdeObject};
    let point = (G2Affine::generator() * Fr::from(5)).to_affine();
    let bytes: [u8; srs::SrsVerifier::LEN] = point.to_raw_bytes().try_into().expect("as long");
    let verifier = srs::SrsVerifier::from_bytes(&bytes).expect("a point");
    verifier.params(srs::SrsSize::new(21).expect("a size"))
}
