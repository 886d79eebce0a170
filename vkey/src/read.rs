//! Keys from bytes.

use std::io::{self, Read};

use halo2_proofs::{
    halo2curves::{
        bn256::{Fr, G1Affine},
        group::GroupEncoding,
    },
    plonk::{Circuit, ConstraintSystem, VerifyingKey, permutation},
};

use crate::domain::domain;

/// First byte of halo2's keys.
const FORMAT: u8 = 2;
/// Selectors are fixed columns: not compressed.
const PLAIN_SELECTORS: u8 = 0;

/// Why bytes are not the key of a circuit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Another format, size or treatment of selectors.
    #[error("begins with {got:?}, expected {expected:?}")]
    Header {
        /// Format, k (u32, little-endian), selectors.
        expected: [u8; 6],
        /// The first bytes.
        got: [u8; 6],
    },
    /// Another number of fixed columns than the circuit has.
    #[error("expected {expected} fixed columns, got {got}")]
    FixedColumns {
        /// Of the circuit, selectors included.
        expected: usize,
        /// Of the key.
        got: usize,
    },
    /// 32 bytes that are no point of the curve.
    #[error("commitment {index} is no point of the curve")]
    Point {
        /// Which, from 0: first those of the fixed columns, then those of the permutation.
        index: usize,
    },
    /// Bytes behind the key.
    #[error("bytes behind it")]
    Trailing,
    /// The input failed or ended.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads what `VerifyingKey::write` wrote with `SerdeFormat::Processed`, up to the input's end, for the circuit `C` with
/// 2^`k` rows. Points are checked to be on the curve, and nothing is reserved that the bytes do not fill. Whether it is *the*
/// key is told by its `transcript_repr`.
///
/// Errors: [`KeyError`].
pub fn read<C: Circuit<Fr>>(
    input: &mut impl Read,
    k: u32,
    params: C::Params,
) -> Result<VerifyingKey<G1Affine>, KeyError> {
    read_constraints(input, k, |cs| drop(C::configure_with_params(cs, params)))
}

/// [`read`] for the constraints that `configure` makes: where nobody has the circuit itself.
///
/// Errors: [`KeyError`].
pub fn read_constraints(
    input: &mut impl Read,
    k: u32,
    configure: impl FnOnce(&mut ConstraintSystem<Fr>),
) -> Result<VerifyingKey<G1Affine>, KeyError> {
    let key = read_part(input, k, configure)?;
    if input.read(&mut [0])? != 0 {
        return Err(KeyError::Trailing);
    }
    Ok(key)
}

/// [`read`] of an input that goes on behind the key.
///
/// Errors: [`KeyError`], but for [`KeyError::Trailing`].
pub fn read_from<C: Circuit<Fr>>(
    input: &mut impl Read,
    k: u32,
    params: C::Params,
) -> Result<VerifyingKey<G1Affine>, KeyError> {
    read_part(input, k, |cs| drop(C::configure_with_params(cs, params)))
}

fn read_part(
    input: &mut impl Read,
    k: u32,
    configure: impl FnOnce(&mut ConstraintSystem<Fr>),
) -> Result<VerifyingKey<G1Affine>, KeyError> {
    let [a, b, c, d] = k.to_le_bytes();
    let expected = [FORMAT, a, b, c, d, PLAIN_SELECTORS];
    let mut got = [0; 6];
    input.read_exact(&mut got)?;
    if got != expected {
        return Err(KeyError::Header { expected, got });
    }
    let mut cs = ConstraintSystem::default();
    configure(&mut cs);
    let domain = domain(cs.degree(), k);

    let mut n_fixed = [0; 4];
    input.read_exact(&mut n_fixed)?;
    let (expected, got) = (cs.num_fixed_columns() + cs.num_selectors(), u32::from_le_bytes(n_fixed) as usize);
    if expected != got {
        return Err(KeyError::FixedColumns { expected, got });
    }
    let n_permuted = cs.permutation().get_columns().len();
    let mut points =
        |range: std::ops::Range<usize>| range.map(|index| point(input, index)).collect::<Result<Vec<_>, _>>();
    let fixed = points(0..expected)?;
    let permuted = points(expected..expected + n_permuted)?;
    let selectors = vec![vec![false]; cs.num_selectors()];
    let (cs, _) = cs.directly_convert_selectors_to_fixed(selectors);
    let permutation = permutation::VerifyingKey::from_commitments(permuted);
    Ok(VerifyingKey::from_parts(domain, fixed, permutation, cs, Vec::new(), false))
}

fn point(input: &mut impl Read, index: usize) -> Result<G1Affine, KeyError> {
    let mut bytes = <G1Affine as GroupEncoding>::Repr::default();
    input.read_exact(bytes.as_mut())?;
    Option::from(G1Affine::from_bytes(&bytes)).ok_or(KeyError::Point { index })
}
