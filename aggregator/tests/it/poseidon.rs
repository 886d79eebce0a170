//! Hash and transcript of `circuits` equal snark-verifier's, which the epoch circuit runs.

use circuits::poseidon::{PoseidonTranscript, hash};
use halo2_proofs::{
    halo2curves::{
        bn256::{Fr, G1Affine},
        ff::Field,
        group::{Curve, prime::PrimeCurveAffine},
    },
    transcript::{EncodedChallenge, Transcript, TranscriptWrite, TranscriptWriterBuffer},
};
use rand::{SeedableRng, rngs::StdRng};
use snark_verifier::{
    loader::native::{LOADER, NativeLoader},
    util::{
        hash::Poseidon,
        transcript::{Transcript as TheirTranscriptTrait, TranscriptRead as _},
    },
};
use snark_verifier_sdk::halo2::{POSEIDON_SPEC, PoseidonTranscript as TheirTranscript};

#[test]
fn hash_equals_snark_verifiers_for_every_length() {
    let mut rng = StdRng::seed_from_u64(1);
    for len in 0..40 {
        let words: Vec<Fr> = (0..len).map(|_| Fr::random(&mut rng)).collect();
        let mut theirs = Poseidon::<Fr, Fr, 3, 2>::from_spec(&LOADER, POSEIDON_SPEC.clone());
        theirs.update(&words);
        assert_eq!(hash(&words), theirs.squeeze(), "{len} words");
    }
}

/// One proof stream written by ours and read by theirs: same bytes, same challenges after every step.
#[test]
fn transcript_equals_snark_verifiers() {
    let mut rng = StdRng::seed_from_u64(2);
    let mut ours = PoseidonTranscript::<Vec<u8>>::init(Vec::new());
    let mut challenges = Vec::new();
    let mut written = Vec::new();
    let common = Fr::random(&mut rng);
    Transcript::common_scalar(&mut ours, common).expect("absorbs");
    for i in 0..12 {
        let point = (G1Affine::generator() * Fr::random(&mut rng)).to_affine();
        let scalar = Fr::random(&mut rng);
        ours.write_point(point).expect("writes");
        if i % 3 == 0 {
            ours.write_scalar(scalar).expect("writes");
        }
        challenges.push(ours.squeeze_challenge().get_scalar());
        if i % 4 == 0 {
            challenges.push(ours.squeeze_challenge().get_scalar());
        }
        written.push((point, scalar));
    }
    let bytes = ours.finalize();
    let mut theirs = TheirTranscript::<NativeLoader, &[u8]>::from_spec(&bytes[..], POSEIDON_SPEC.clone());
    TheirTranscriptTrait::<G1Affine, NativeLoader>::common_scalar(&mut theirs, &common).expect("absorbs");
    let mut got = Vec::new();
    for (i, (point, scalar)) in written.into_iter().enumerate() {
        assert_eq!(theirs.read_ec_point().expect("reads"), point);
        if i % 3 == 0 {
            assert_eq!(theirs.read_scalar().expect("reads"), scalar);
        }
        got.push(TheirTranscriptTrait::<G1Affine, NativeLoader>::squeeze_challenge(&mut theirs));
        if i % 4 == 0 {
            got.push(TheirTranscriptTrait::<G1Affine, NativeLoader>::squeeze_challenge(&mut theirs));
        }
    }
    assert_eq!(got, challenges);
}

#[test]
fn point_at_infinity_is_not_absorbed() {
    let mut ours = PoseidonTranscript::<Vec<u8>>::init(Vec::new());
    let refusal = Transcript::common_point(&mut ours, G1Affine::identity()).expect_err("infinity");
    assert_eq!(refusal.kind(), std::io::ErrorKind::InvalidData);
    assert!(ours.write_point(G1Affine::identity()).is_err());
}
