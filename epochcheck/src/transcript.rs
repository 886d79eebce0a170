//! Challenges as a verifier on chain draws them.
//!
//! The rules are those of snark-verifier 0.2.7, `system::halo2::transcript::evm`, and of the generated contracts: what is absorbed
//! is a string of 32-byte big-endian words, a point being x and y. A challenge is the Keccak-256 of the string, reduced modulo r; the
//! whole hash is the string that goes on. A string that is nothing but such a hash gets one byte 1 behind it first.
//!
//! In one thing it is stricter than snark-verifier, and as strict as the contracts (`PointAtInfinity`, `docs/spec/verifier.md`): the
//! point at infinity, which this curve library spells (0, 0), is refused.

use std::io::{self, Read};

use halo2_proofs::{
    halo2curves::{
        CurveAffine,
        bn256::{Fq, Fr, G1Affine},
        ff::{FromUniformBytes, PrimeField},
        group::prime::PrimeCurveAffine,
    },
    transcript::{EncodedChallenge, Transcript, TranscriptRead},
};
use sha3::{Digest, Keccak256};

const WORD: usize = 32;

/// Why a word of a proof is none, or a point cannot be absorbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WordError {
    /// The proof ends within the word.
    #[error("the proof ends in word {word}")]
    Ended {
        /// Which, from 0.
        word: usize,
    },
    /// Not below the scalar field's modulus.
    #[error("word {word} is no scalar: not below the modulus")]
    Scalar {
        /// Which, from 0.
        word: usize,
    },
    /// A coordinate that is not below the base field's modulus, or a point off the curve.
    #[error("words {word} and {next} are no point of the curve", next = .word + 1)]
    Point {
        /// The first of two, from 0.
        word: usize,
    },
    /// The point at infinity.
    #[error("words {word} and {next} are the point at infinity", next = .word + 1)]
    Infinity {
        /// The first of two, from 0.
        word: usize,
    },
    /// The point at infinity, which is not of the proof.
    #[error("the point at infinity cannot be absorbed")]
    Absorbed,
}

impl From<WordError> for io::Error {
    fn from(error: WordError) -> Self {
        let kind = match error {
            WordError::Ended { .. } => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// A challenge, a hash reduced modulo r.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeccakChallenge(Fr);

impl EncodedChallenge<G1Affine> for KeccakChallenge {
    type Input = [u8; WORD];

    fn new(hash: &[u8; WORD]) -> Self {
        let mut wide = [0; 2 * WORD];
        for (to, from) in wide.iter_mut().zip(hash.iter().rev()) {
            *to = *from;
        }
        Self(Fr::from_uniform_bytes(&wide))
    }

    fn get_scalar(&self) -> Fr {
        self.0
    }
}

/// Reads a proof, absorbing what it reads.
#[derive(Clone, Debug)]
pub struct KeccakTranscript<R> {
    proof: R,
    /// Words read of the proof.
    n_read: usize,
    absorbed: Vec<u8>,
}

impl<R> KeccakTranscript<R> {
    /// Nothing is absorbed yet.
    pub fn new(proof: R) -> Self {
        Self { proof, n_read: 0, absorbed: Vec::new() }
    }

    fn absorb(&mut self, little_endian: [u8; WORD]) {
        self.absorbed.extend(little_endian.iter().rev());
    }

    fn absorb_point(&mut self, point: &G1Affine) {
        self.absorb(point.x.to_repr());
        self.absorb(point.y.to_repr());
    }
}

impl<R: Read> KeccakTranscript<R> {
    /// The next word of the proof, little-endian, and which it is.
    fn word(&mut self) -> io::Result<(usize, [u8; WORD])> {
        let (word, mut bytes) = (self.n_read, [0; WORD]);
        self.proof.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => WordError::Ended { word }.into(),
            _ => error,
        })?;
        self.n_read += 1;
        bytes.reverse();
        Ok((word, bytes))
    }
}

impl<R> Transcript<G1Affine, KeccakChallenge> for KeccakTranscript<R> {
    fn squeeze_challenge(&mut self) -> KeccakChallenge {
        if self.absorbed.len() == WORD {
            self.absorbed.push(1);
        }
        let hash: [u8; WORD] = Keccak256::digest(&self.absorbed).into();
        self.absorbed.clear();
        self.absorbed.extend(hash);
        KeccakChallenge::new(&hash)
    }

    fn common_point(&mut self, point: G1Affine) -> io::Result<()> {
        if bool::from(point.is_identity()) {
            return Err(WordError::Absorbed.into());
        }
        self.absorb_point(&point);
        Ok(())
    }

    fn common_scalar(&mut self, scalar: Fr) -> io::Result<()> {
        self.absorb(scalar.to_repr());
        Ok(())
    }
}

impl<R: Read> TranscriptRead<G1Affine, KeccakChallenge> for KeccakTranscript<R> {
    fn read_point(&mut self) -> io::Result<G1Affine> {
        let (word, x) = self.word()?;
        let (_, y) = self.word()?;
        let [x, y] = [x, y].map(|coordinate| Option::<Fq>::from(Fq::from_repr(coordinate)));
        let point = x.zip(y).and_then(|(x, y)| Option::<G1Affine>::from(G1Affine::from_xy(x, y)));
        let point = point.ok_or(WordError::Point { word })?;
        if bool::from(point.is_identity()) {
            return Err(WordError::Infinity { word }.into());
        }
        self.absorb_point(&point);
        Ok(point)
    }

    fn read_scalar(&mut self) -> io::Result<Fr> {
        let (word, bytes) = self.word()?;
        let scalar = Option::<Fr>::from(Fr::from_repr(bytes)).ok_or(WordError::Scalar { word })?;
        self.absorb(bytes);
        Ok(scalar)
    }
}
