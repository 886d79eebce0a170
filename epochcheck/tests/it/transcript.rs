//! Challenges are snark-verifier's, word by word.

use epochcheck::transcript::{KeccakChallenge, KeccakTranscript};
use halo2_proofs::{
    halo2curves::{
        bn256::{Fq, Fr, G1Affine},
        ff::{Field, PrimeField},
        group::{Curve, prime::PrimeCurveAffine},
    },
    transcript::{EncodedChallenge, Transcript, TranscriptRead, TranscriptReadBuffer},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use snark_verifier::{
    loader::native::NativeLoader,
    system::halo2::transcript::evm::{ChallengeEvm, EvmTranscript},
};

pub type Theirs<'a> = EvmTranscript<G1Affine, NativeLoader, &'a [u8], Vec<u8>>;

pub fn theirs(proof: &[u8]) -> Theirs<'_> {
    <Theirs<'_> as TranscriptReadBuffer<_, _, _>>::init(proof)
}

fn squeeze_both(ours: &mut KeccakTranscript<&[u8]>, theirs: &mut Theirs<'_>) -> [Fr; 2] {
    let ours: KeccakChallenge = ours.squeeze_challenge();
    let theirs: ChallengeEvm<G1Affine> = Transcript::squeeze_challenge(theirs);
    [ours.get_scalar(), theirs.get_scalar()]
}

fn words(x: impl PrimeField<Repr = [u8; 32]>) -> [u8; 32] {
    let mut word = x.to_repr();
    word.reverse();
    word
}

#[test]
fn any_course_gives_the_same_challenges() {
    let mut rng = StdRng::seed_from_u64(7);
    for _ in 0..50 {
        let course: Vec<u8> = (0..40).map(|_| rng.gen_range(0..5)).collect();
        let mut proof = Vec::new();
        for what in &course {
            match what {
                0 => proof.extend(words(Fr::random(&mut rng))),
                1 => {
                    let point = (G1Affine::generator() * Fr::random(&mut rng)).to_affine();
                    proof.extend([words(point.x), words(point.y)].concat());
                }
                _ => {}
            }
        }
        let (mut ours, mut theirs) = (KeccakTranscript::new(&proof[..]), theirs(&proof));
        for what in course {
            match what {
                0 => {
                    let (a, b) = (ours.read_scalar(), TranscriptRead::read_scalar(&mut theirs));
                    assert_eq!(a.expect("a scalar"), b.expect("a scalar"));
                }
                1 => {
                    let (a, b) = (ours.read_point(), TranscriptRead::read_point(&mut theirs));
                    assert_eq!(a.expect("a point"), b.expect("a point"));
                }
                2 => {
                    let scalar = Fr::random(&mut rng);
                    ours.common_scalar(scalar).expect("absorbed");
                    Transcript::common_scalar(&mut theirs, scalar).expect("absorbed");
                }
                3 => {
                    let point = (G1Affine::generator() * Fr::random(&mut rng)).to_affine();
                    ours.common_point(point).expect("absorbed");
                    Transcript::common_point(&mut theirs, point).expect("absorbed");
                }
                _ => {
                    // Twice: a hash alone is absorbed with a byte behind it.
                    for _ in 0..2 {
                        let [a, b] = squeeze_both(&mut ours, &mut theirs);
                        assert_eq!(a, b);
                    }
                }
            }
        }
        let [a, b] = squeeze_both(&mut ours, &mut theirs);
        assert_eq!(a, b);
    }
}

#[test]
fn hashes_above_the_modulus_are_reduced() {
    for hash in [[0xff; 32], [0; 32], words(-Fr::ONE), [0x80; 32]] {
        let ours = KeccakChallenge::new(&hash).get_scalar();
        let theirs = <ChallengeEvm<G1Affine> as EncodedChallenge<G1Affine>>::new(&hash).get_scalar();
        assert_eq!(ours, theirs);
    }
}

/// What the two make of bytes that should be a scalar, or a point.
fn read_both(proof: &[u8], is_point: bool) -> [Result<(), String>; 2] {
    let told = |error: std::io::Error| error.to_string();
    let (mut ours, mut theirs) = (KeccakTranscript::new(proof), theirs(proof));
    if is_point {
        [ours.read_point().map(drop).map_err(told), TranscriptRead::read_point(&mut theirs).map(drop).map_err(told)]
    } else {
        [ours.read_scalar().map(drop).map_err(told), TranscriptRead::read_scalar(&mut theirs).map(drop).map_err(told)]
    }
}

#[test]
fn words_that_are_none_are_refused_for_their_reason() {
    let refused = |proof: &[u8], is_point: bool, reason: &str| {
        let [ours, theirs] = read_both(proof, is_point);
        assert_eq!(ours, Err(reason.to_owned()));
        assert!(theirs.is_err(), "{reason}");
    };
    let mut order = words(-Fr::ONE);
    assert_eq!(order[31], 0, "r − 1 is even: no carry");
    order[31] = 1;
    refused(&order, false, "word 0 is no scalar: not below the modulus");
    refused(&[0xff; 32], false, "word 0 is no scalar: not below the modulus");
    refused(&[0; 31], false, "the proof ends in word 0");
    refused(&[0; 63], true, "the proof ends in word 1");
    let generator = G1Affine::generator();
    let (x, y) = (words(generator.x), words(generator.y));
    assert!(read_both(&[x, y].concat(), true).iter().all(Result::is_ok));
    let off = "words 0 and 1 are no point of the curve";
    refused(&[y, x].concat(), true, off);
    // x + p, which is below 2^256: the same point in another spelling.
    let mut modulus = words(-Fq::ONE);
    modulus[31] += 1;
    modulus[31] += 1;
    assert_eq!(x[31], 1, "the generator is (1, 2), so this is 1 + p");
    refused(&[modulus, y].concat(), true, off);
    let [ours, theirs] = read_both(&[0; 64], true);
    assert_eq!(ours, Err("words 0 and 1 are the point at infinity".to_owned()));
    // snark-verifier takes it; contracts do not.
    assert_eq!(theirs, Ok(()));
    assert!(bool::from(G1Affine::identity().is_identity()));
    let absorbed = KeccakTranscript::<&[u8]>::new(&[]).common_point(G1Affine::identity());
    assert_eq!(absorbed.expect_err("refused").to_string(), "the point at infinity cannot be absorbed");
}
