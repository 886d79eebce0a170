//! Randomness that links steps: the blinding rows of a state column come from the state's seed, so that the column
//! `state_out` of one proof and `state_in` of the next have the same commitment (spec `commitment`).
//!
//! halo2-axiom 0.5.3 draws the blinding rows of first-phase advice columns from the caller's generator, column by
//! column in order of creation, eight `next_u64` a row, before it draws anything else. `state_in` and `state_out` are
//! the first two columns. `tests/it/linking.rs` fails if that order ever changes.

use halo2_proofs::halo2curves::{bn256::Fr, ff::Field};
use hkdf::Hkdf;
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, RngCore, SeedableRng};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Secret of a run, from which the seeds of all its states are derived.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RunSecret(pub [u8; 32]);

/// Seed of one state (all chunks). Giving it away with the weights opens that state and no other.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct StateSeed(pub [u8; 32]);

/// Seed of one chunk's column in one state.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ColumnSeed([u8; 32]);

/// Seed of what one proof draws besides its state columns: first the blinding rows of the gradient, then the rest.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ProofSeed(pub [u8; 32]);

impl ProofSeed {
    /// The generator to prove with: ChaCha20 keyed with the seed.
    pub fn rng(&self) -> ChaCha20Rng {
        ChaCha20Rng::from_seed(self.0)
    }
}

impl std::fmt::Debug for ProofSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProofSeed(..)")
    }
}

impl std::fmt::Debug for ColumnSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ColumnSeed(..)")
    }
}

impl std::fmt::Debug for RunSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RunSecret(..)")
    }
}

impl std::fmt::Debug for StateSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StateSeed(..)")
    }
}

impl RunSecret {
    /// Seed of state `state` of run `run`: the state before step `state`.
    ///
    /// HKDF-SHA256 (RFC 5869), no salt, info `"cairn/state/v1" ‖ run id (32, little-endian) ‖ state (u64 big-endian)`.
    pub fn state_seed(&self, run: &Fr, state: u64) -> StateSeed {
        let mut info = b"cairn/state/v1".to_vec();
        info.extend_from_slice(&run.to_bytes());
        info.extend_from_slice(&state.to_be_bytes());
        StateSeed(expand(&self.0, &info))
    }

    /// Seed of all else that is random in one chunk's proof, for a proof that others make: whoever makes it makes the same
    /// bytes, and the commitment of the gradient is known beforehand. `content` is the SHA-256 of everything that is proved,
    /// so that no seed serves two witnesses.
    ///
    /// HKDF-SHA256, no salt, info `"cairn/proof/v1" ‖ content (32)`.
    pub fn proof_seed(&self, content: &[u8; 32]) -> ProofSeed {
        let mut info = b"cairn/proof/v1".to_vec();
        info.extend_from_slice(content);
        ProofSeed(expand(&self.0, &info))
    }
}

impl StateSeed {
    /// Seed of chunk `chunk`. HKDF-SHA256, info `"cairn/column/v1" ‖ chunk (u32 big-endian)`.
    pub fn column_seed(&self, chunk: u32) -> ColumnSeed {
        let mut info = b"cairn/column/v1".to_vec();
        info.extend_from_slice(&chunk.to_be_bytes());
        ColumnSeed(expand(&self.0, &info))
    }
}

fn expand(key: &[u8; 32], info: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    Hkdf::<Sha256>::new(None, key).expand(info, &mut out).expect("32 bytes are within HKDF's limit");
    out
}

impl ColumnSeed {
    /// The seed that somebody else derived, see [`Self::expose`].
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes. With the values they open this chunk of this state, and nothing else.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The column's generator: ChaCha20 keyed with the seed.
    fn rng(&self) -> ChaCha20Rng {
        ChaCha20Rng::from_seed(self.0)
    }

    /// The first `rows` blinding values, top row first.
    pub fn blinding(&self, rows: usize) -> Vec<Fr> {
        blinding(self.rng(), rows)
    }
}

/// The blinding values of the first column that a generator blinds.
pub(crate) fn blinding(mut rng: impl RngCore, rows: usize) -> Vec<Fr> {
    (0..rows).map(|_| Fr::random(&mut rng)).collect()
}

/// `next_u64` calls that one field element takes.
const DRAWS_PER_ROW: usize = 8;

/// The generator handed to `create_proof`: first the two state columns' seeds, then `rest`.
pub struct LinkedRng<R> {
    columns: [ChaCha20Rng; 2],
    left: [usize; 2],
    rest: R,
}

impl<R: RngCore + CryptoRng> LinkedRng<R> {
    /// `blinding_rows`: blinding rows of each column, see `StepConfig::blinding_rows`.
    pub fn new(blinding_rows: usize, state_in: &ColumnSeed, state_out: &ColumnSeed, rest: R) -> Self {
        let draws = blinding_rows * DRAWS_PER_ROW;
        Self { columns: [state_in.rng(), state_out.rng()], left: [draws, draws], rest }
    }
}

impl<R: RngCore + CryptoRng> RngCore for LinkedRng<R> {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        for (column, left) in self.columns.iter_mut().zip(&mut self.left) {
            if *left > 0 {
                *left -= 1;
                return column.next_u64();
            }
        }
        self.rest.next_u64()
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        for chunk in dest.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl<R: RngCore + CryptoRng> CryptoRng for LinkedRng<R> {}
