//! Poseidon over BN254's scalar field, and the Fiat–Shamir transcript of step proofs built on it.
//!
//! Source: Grassi et al., eprint 2019/458; T = 3, rate 2, 8 full and 57 partial rounds, x⁵, constants from the
//! Grain LFSR of the reference implementation: the parameters of snark-verifier, against which it is tested.
//! Absorption adds pairs to state[1..]; the padding is a single 1; the output is state[1].

use std::io::{self, Read, Write};
use std::sync::LazyLock;

use halo2_proofs::{
    halo2curves::{
        CurveAffine,
        bn256::{Fq, Fr, G1Affine},
        ff::{Field, PrimeField},
        group::{GroupEncoding, prime::PrimeCurveAffine},
    },
    transcript::{
        EncodedChallenge, Transcript, TranscriptRead, TranscriptReadBuffer, TranscriptWrite, TranscriptWriterBuffer,
    },
};
use poseidon_primitives::poseidon::primitives::Spec;

/// Width of the permutation.
pub const T: usize = 3;
/// Field elements absorbed per permutation.
pub const RATE: usize = 2;
/// Full rounds.
pub const R_F: usize = 8;
/// Partial rounds.
pub const R_P: usize = 57;

#[derive(Debug)]
struct Parameters;

impl Spec<Fr, T, RATE> for Parameters {
    fn full_rounds() -> usize {
        R_F
    }
    fn partial_rounds() -> usize {
        R_P
    }
    fn sbox(x: Fr) -> Fr {
        x.square().square() * x
    }
    fn secure_mds() -> usize {
        0
    }
}

struct Constants {
    rounds: Vec<[Fr; T]>,
    mds: [[Fr; T]; T],
}

static CONSTANTS: LazyLock<Constants> = LazyLock::new(|| {
    let (rounds, mds, _) = Parameters::constants();
    Constants { rounds, mds }
});

/// Incremental Poseidon sponge.
#[derive(Clone, Debug)]
pub struct Poseidon {
    state: [Fr; T],
    buffer: Vec<Fr>,
}

impl Default for Poseidon {
    fn default() -> Self {
        // Capacity value of variable-length hashing with one output: 2⁶⁴ (§4.2).
        Self { state: [Fr::from(1 << 32).square(), Fr::ZERO, Fr::ZERO], buffer: Vec::new() }
    }
}

impl Poseidon {
    /// Buffers elements for absorption.
    pub fn update(&mut self, elements: &[Fr]) {
        self.buffer.extend_from_slice(elements);
    }

    /// Absorbs the buffer and returns state[1]; the state stays for further use.
    pub fn squeeze(&mut self) -> Fr {
        let buffer = std::mem::take(&mut self.buffer);
        for chunk in buffer.chunks(RATE) {
            self.permute(chunk);
        }
        if buffer.len().is_multiple_of(RATE) {
            self.permute(&[]);
        }
        self.state[1]
    }

    fn permute(&mut self, inputs: &[Fr]) {
        for (s, x) in self.state[1..].iter_mut().zip(inputs) {
            *s += x;
        }
        if let Some(s) = self.state.get_mut(1 + inputs.len()) {
            *s += Fr::ONE;
        }
        let Constants { rounds, mds } = &*CONSTANTS;
        for (i, constants) in rounds.iter().enumerate() {
            for (s, c) in self.state.iter_mut().zip(constants) {
                *s += c;
            }
            let full = !(R_F / 2..R_F / 2 + R_P).contains(&i);
            for s in self.state.iter_mut().take(if full { T } else { 1 }) {
                *s = Parameters::sbox(*s);
            }
            self.state = std::array::from_fn(|row| mds[row].iter().zip(&self.state).map(|(m, s)| *m * s).sum());
        }
    }
}

/// Poseidon hash of a sequence of field elements.
pub fn hash(elements: &[Fr]) -> Fr {
    let mut sponge = Poseidon::default();
    sponge.update(elements);
    sponge.squeeze()
}

/// The challenge type of [`PoseidonTranscript`]: a scalar as squeezed.
#[derive(Clone, Copy, Debug)]
pub struct ScalarChallenge(Fr);

impl EncodedChallenge<G1Affine> for ScalarChallenge {
    type Input = Fr;

    fn new(input: &Fr) -> Self {
        Self(*input)
    }

    fn get_scalar(&self) -> Fr {
        self.0
    }
}

/// Poseidon transcript over a stream: `&[u8]` or another reader for verifying, `Vec<u8>` for proving.
///
/// Points are absorbed as their coordinates reduced to the scalar field, and written compressed (32 bytes);
/// scalars as 32 bytes little-endian. The point at infinity is refused in both directions, and so is every encoding
/// but the canonical one: a proof has one byte string.
#[derive(Clone, Debug)]
pub struct PoseidonTranscript<S> {
    sponge: Poseidon,
    stream: S,
}

impl<S> PoseidonTranscript<S> {
    /// A transcript over `stream`.
    pub fn new(stream: S) -> Self {
        Self { sponge: Poseidon::default(), stream }
    }

    /// The rest of the stream.
    pub fn into_stream(self) -> S {
        self.stream
    }
}

/// A base-field element reduced modulo the scalar field.
fn reduce(x: &Fq) -> Fr {
    let bytes = x.to_repr();
    let mut wide = [0u8; 64];
    wide[..32].copy_from_slice(bytes.as_ref());
    <Fr as halo2_proofs::halo2curves::ff::FromUniformBytes<64>>::from_uniform_bytes(&wide)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl<S> Transcript<G1Affine, ScalarChallenge> for PoseidonTranscript<S> {
    fn squeeze_challenge(&mut self) -> ScalarChallenge {
        ScalarChallenge(self.sponge.squeeze())
    }

    fn common_point(&mut self, point: G1Affine) -> io::Result<()> {
        // This curve library gives the point at infinity the coordinates (0, 0) rather than none.
        if bool::from(point.is_identity()) {
            return Err(invalid("point at infinity in transcript"));
        }
        let coordinates =
            Option::from(point.coordinates()).ok_or_else(|| invalid("point without coordinates in transcript"))?;
        let coordinates: halo2_proofs::halo2curves::Coordinates<G1Affine> = coordinates;
        self.sponge.update(&[reduce(coordinates.x()), reduce(coordinates.y())]);
        Ok(())
    }

    fn common_scalar(&mut self, scalar: Fr) -> io::Result<()> {
        self.sponge.update(&[scalar]);
        Ok(())
    }
}

impl<R: Read> TranscriptRead<G1Affine, ScalarChallenge> for PoseidonTranscript<R> {
    fn read_point(&mut self) -> io::Result<G1Affine> {
        let mut bytes = <G1Affine as GroupEncoding>::Repr::default();
        self.stream.read_exact(bytes.as_mut())?;
        let point: G1Affine = Option::from(G1Affine::from_bytes(&bytes)).ok_or_else(|| invalid("not a curve point"))?;
        // `from_bytes` ignores the infinity flag of finite points, which would give each proof many encodings.
        if point.to_bytes().as_ref() != bytes.as_ref() {
            return Err(invalid("not the canonical encoding of a curve point"));
        }
        self.common_point(point)?;
        Ok(point)
    }

    fn read_scalar(&mut self) -> io::Result<Fr> {
        let mut bytes = <Fr as PrimeField>::Repr::default();
        self.stream.read_exact(bytes.as_mut())?;
        let scalar = Option::from(Fr::from_repr(bytes)).ok_or_else(|| invalid("not a canonical scalar"))?;
        self.common_scalar(scalar)?;
        Ok(scalar)
    }
}

impl<W: Write> TranscriptWrite<G1Affine, ScalarChallenge> for PoseidonTranscript<W> {
    fn write_point(&mut self, point: G1Affine) -> io::Result<()> {
        self.common_point(point)?;
        self.stream.write_all(point.to_bytes().as_ref())
    }

    fn write_scalar(&mut self, scalar: Fr) -> io::Result<()> {
        self.common_scalar(scalar)?;
        self.stream.write_all(scalar.to_repr().as_ref())
    }
}

impl<R: Read> TranscriptReadBuffer<R, G1Affine, ScalarChallenge> for PoseidonTranscript<R> {
    fn init(reader: R) -> Self {
        Self::new(reader)
    }
}

impl<W: Write> TranscriptWriterBuffer<W, G1Affine, ScalarChallenge> for PoseidonTranscript<W> {
    fn init(writer: W) -> Self {
        Self::new(writer)
    }

    fn finalize(self) -> W {
        self.stream
    }
}
