//! What a caller sends: halo2's proof, the hint behind it, the ABI around both.

use halo2_proofs::{
    arithmetic::Field,
    halo2curves::{
        bn256::{Fr, G1Affine},
        ff::{FromUniformBytes, PrimeField},
    },
    plonk::VerifyingKey,
};
use sha3::{Digest, Keccak256};

use crate::{
    generate::GenerateError,
    layout::{Denominator, Layout, POINT, Region, WORD, denominators},
    shape::{Accumulator, Challenge, Shape},
};

/// `verifyProof(bytes,uint256[])`, the first four bytes of its Keccak-256.
pub const SELECTOR: [u8; 4] = [0x1e, 0x8e, 0x1e, 0x13];

/// Why a proof can't be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The proof has another length than proofs of this key.
    #[error("expected a proof of {expected} bytes, got {got}")]
    ProofLength {
        /// Bytes of a proof.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
    /// Another number of instances than the verifier checks.
    #[error("expected {expected} instances, got {got}")]
    InstanceCount {
        /// Instances of the circuit.
        expected: usize,
        /// Instances given.
        got: usize,
    },
    /// A challenge of this proof hits the domain: no honest proof does.
    #[error("{denominator:?} is zero for this proof's challenges")]
    NotInvertible {
        /// What has no inverse.
        denominator: Denominator,
    },
}

/// Encoder for the verifiers of one key.
#[derive(Clone, Debug)]
pub struct Encoder {
    shape: Shape,
    layout: Layout,
}

/// A word, big-endian.
fn word(value: &Fr) -> [u8; WORD] {
    let mut bytes = value.to_repr();
    bytes.reverse();
    bytes
}

fn length_word(value: usize) -> [u8; WORD] {
    let mut out = [0; WORD];
    out[WORD - 8..].copy_from_slice(&(value as u64).to_be_bytes());
    out
}

/// A hash modulo the field's order.
fn reduce(hash: &[u8; WORD]) -> Fr {
    let mut wide = [0; 64];
    for (to, from) in wide.iter_mut().zip(hash.iter().rev()) {
        *to = *from;
    }
    Fr::from_uniform_bytes(&wide)
}

impl Encoder {
    /// Encoder for a key; `n_instances` and `accumulator` as given to [`crate::generate`].
    ///
    /// Errors: as [`crate::generate`].
    pub fn new(
        vk: &VerifyingKey<G1Affine>,
        n_instances: usize,
        accumulator: Accumulator,
    ) -> Result<Self, GenerateError> {
        let shape = Shape::new(vk, n_instances, accumulator)?;
        // The calldata does not depend on the number of points in the key.
        Ok(Self { layout: Layout::new(&shape, 0), shape })
    }

    /// Pieces of the calldata by the names they have in the contract.
    pub fn calldata_layout(&self) -> &[Region] {
        self.layout.calldata()
    }

    /// Bytes of halo2's proof.
    pub fn halo2_proof_len(&self) -> usize {
        self.layout.halo2_proof_len
    }

    /// The argument `proof`: halo2's proof with the hint behind it. The proof itself is not checked.
    ///
    /// Errors: [`EncodeError`].
    pub fn encode_proof(&self, proof: &[u8], instances: &[Fr]) -> Result<Vec<u8>, EncodeError> {
        let hint = self.hint(proof, instances)?;
        Ok([proof, &word(&hint)].concat())
    }

    /// Calldata of `verifyProof`, selector included.
    ///
    /// Errors: [`EncodeError`].
    pub fn encode_calldata(&self, proof: &[u8], instances: &[Fr]) -> Result<Vec<u8>, EncodeError> {
        let proof = self.encode_proof(proof, instances)?;
        let mut out = SELECTOR.to_vec();
        out.extend(length_word(2 * WORD));
        out.extend(length_word(self.layout.instances_offset));
        out.extend(length_word(proof.len()));
        out.extend(proof);
        out.extend(length_word(instances.len()));
        instances.iter().for_each(|instance| out.extend(word(instance)));
        Ok(out)
    }

    /// Inverse of the product of all denominators.
    fn hint(&self, proof: &[u8], instances: &[Fr]) -> Result<Fr, EncodeError> {
        if proof.len() != self.layout.halo2_proof_len {
            return Err(EncodeError::ProofLength { expected: self.layout.halo2_proof_len, got: proof.len() });
        }
        if instances.len() != self.shape.n_instances {
            return Err(EncodeError::InstanceCount { expected: self.shape.n_instances, got: instances.len() });
        }
        let [x, u] = self.challenges(proof, instances);
        let mut product = Fr::ONE;
        for denominator in denominators(&self.shape) {
            let value = self.denominator(denominator, x, u);
            if bool::from(value.is_zero()) {
                return Err(EncodeError::NotInvertible { denominator });
            }
            product *= value;
        }
        // A product of values that are not zero is not zero.
        Ok(product.invert().unwrap_or(Fr::ZERO))
    }

    /// x and u of the transcript.
    fn challenges(&self, proof: &[u8], instances: &[Fr]) -> [Fr; 2] {
        let mut buffer = word(&self.shape.key_digest).to_vec();
        instances.iter().for_each(|instance| buffer.extend(word(instance)));
        let mut rest = proof;
        let (mut x, mut u) = (Fr::ZERO, Fr::ZERO);
        for round in &self.shape.rounds {
            let evaluations = if round.evaluations { self.shape.evaluations.len() } else { 0 };
            let (absorbed, behind) = rest.split_at(round.commitments.len() * POINT + evaluations * WORD);
            buffer.extend(absorbed);
            rest = behind;
            for challenge in &round.challenges {
                if buffer.len() == WORD {
                    buffer.push(1);
                }
                let hash: [u8; WORD] = Keccak256::digest(&buffer).into();
                buffer = hash.to_vec();
                match challenge {
                    Challenge::X => x = reduce(&hash),
                    Challenge::U => u = reduce(&hash),
                    _ => {}
                }
            }
        }
        [x, u]
    }

    fn omega(&self, rotation: i32) -> Fr {
        omega_power(&self.shape, rotation)
    }

    fn denominator(&self, which: Denominator, x: Fr, u: Fr) -> Fr {
        let rows = |rows: std::ops::Range<i32>| rows.map(|row| x - self.omega(row)).product();
        match which {
            Denominator::Vanishing => x.pow_vartime([1u64 << self.shape.k]) - Fr::ONE,
            Denominator::X => x,
            Denominator::First => x - Fr::ONE,
            Denominator::Last => x - self.omega(self.shape.last_rotation()),
            Denominator::Blinding => rows(-(self.shape.n_blinding as i32)..0),
            Denominator::Instances(rotation) => rows(-rotation..self.shape.n_instances as i32 - rotation),
            Denominator::Opening(rotation) => u - x * self.omega(rotation),
        }
    }
}

/// ω^rotation.
pub(crate) fn omega_power(shape: &Shape, rotation: i32) -> Fr {
    let power = shape.omega.pow_vartime([u64::from(rotation.unsigned_abs())]);
    if rotation < 0 { power.invert().unwrap_or(Fr::ZERO) } else { power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selector_is_the_hash_of_the_signature() {
        assert_eq!(Keccak256::digest(b"verifyProof(bytes,uint256[])")[..4], SELECTOR);
    }

    #[test]
    fn hashes_are_reduced_as_big_endian_numbers() {
        let mut hash = [0; WORD];
        hash[WORD - 1] = 9;
        assert_eq!(reduce(&hash), Fr::from(9));
        // 2^256 − 1 modulo r, from 2^256 computed in the field.
        assert_eq!(reduce(&[0xff; WORD]), Fr::from(2).pow_vartime([256]) - Fr::ONE);
    }
}
