//! Proving keys in files, for whoever made them: a digest of the file is the keeper's to check.
//!
//! `"cairnpk1"`, the verifying key as halo2 writes it (points compressed), then columns of 2^k elements of 32 bytes
//! (Montgomery form, little-endian), as many as the circuit has: three Lagrange polynomials; values, then coefficients of the
//! fixed columns; values, then coefficients of the permutation.

use std::io::{self, Read, Write};

use halo2_proofs::{
    SerdeFormat,
    halo2curves::{
        bn256::{Fr, G1Affine},
        serde::SerdeObject,
    },
    plonk::{Circuit, ProvingKey, permutation},
};

use crate::error::EngineError;

/// First bytes of every file, with the version of the format.
const MAGIC: &[u8; 8] = b"cairnpk1";
/// Bytes of an element.
const ELEMENT: usize = 32;
/// Elements that are read or written at a time.
const CHUNK: usize = 1 << 12;

/// Writes a key for [`read_key`].
///
/// Errors: those of the output.
pub fn write_key(pk: &ProvingKey<G1Affine>, out: &mut impl Write) -> io::Result<()> {
    out.write_all(MAGIC)?;
    pk.get_vk().write(out, SerdeFormat::Processed)?;
    for column in [pk.l0(), pk.l_last(), pk.l_active_row()] {
        write_column(column, out)?;
    }
    pk.fixed_values().iter().try_for_each(|column| write_column(column, out))?;
    pk.fixed_polys().iter().try_for_each(|column| write_column(column, out))?;
    pk.permutation().permutations().iter().try_for_each(|column| write_column(column, out))?;
    pk.permutation().polys().iter().try_for_each(|column| write_column(column, out))
}

/// Reads the key of the circuit `C` with 2^`k` rows. The verifying key is checked as [`vkey::read`] does; what follows is
/// believed to be what [`write_key`] wrote, but for its length.
///
/// Errors: [`EngineError::KeyFile`], [`EngineError::Key`].
pub fn read_key<C: Circuit<Fr>>(
    input: &mut impl Read,
    k: u32,
    params: C::Params,
) -> Result<ProvingKey<G1Affine>, EngineError> {
    let mut magic = [0; 8];
    input.read_exact(&mut magic).map_err(vkey::KeyError::from)?;
    if &magic != MAGIC {
        return Err(EngineError::KeyFile { expected: *MAGIC, got: magic });
    }
    let vk = vkey::read_from::<C>(input, k, params)?;
    let (n_fixed, n_permuted) = (vk.fixed_commitments().len(), vk.permutation().commitments().len());
    let domain = vk.get_domain().clone();
    let n = 1 << k;
    let mut columns = |number: usize| -> Result<Vec<Vec<Fr>>, vkey::KeyError> {
        (0..number).map(|_| Ok(read_column(input, n)?)).collect()
    };
    let mut lagrange = columns(3)?.into_iter().map(|values| domain.coeff_from_vec(values));
    // Three were read.
    let [l0, l_last, l_active] = [(); 3].map(|()| lagrange.next().unwrap_or_else(|| domain.empty_coeff()));
    let fixed_values = columns(n_fixed)?.into_iter().map(|values| domain.lagrange_from_vec(values)).collect();
    let fixed_polys = columns(n_fixed)?.into_iter().map(|values| domain.coeff_from_vec(values)).collect();
    let sigmas = columns(n_permuted)?.into_iter().map(|values| domain.lagrange_from_vec(values)).collect();
    let sigma_polys = columns(n_permuted)?.into_iter().map(|values| domain.coeff_from_vec(values)).collect();
    if input.read(&mut [0]).map_err(vkey::KeyError::from)? != 0 {
        return Err(vkey::KeyError::Trailing.into());
    }
    let permutation = permutation::ProvingKey::from_parts(sigmas, sigma_polys);
    Ok(ProvingKey::from_parts(vk, l0, l_last, l_active, fixed_values, fixed_polys, permutation))
}

fn write_column(column: &[Fr], out: &mut impl Write) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(CHUNK * ELEMENT);
    for chunk in column.chunks(CHUNK) {
        bytes.clear();
        chunk.iter().try_for_each(|element| element.write_raw(&mut bytes))?;
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// Nothing is reserved before the bytes are there.
fn read_column(input: &mut impl Read, n: usize) -> io::Result<Vec<Fr>> {
    let mut out = Vec::new();
    let mut bytes = vec![0; CHUNK.min(n) * ELEMENT];
    while out.len() < n {
        input.read_exact(&mut bytes)?;
        if out.is_empty() {
            out.reserve_exact(n);
        }
        out.extend(bytes.chunks_exact(ELEMENT).map(Fr::from_raw_bytes_unchecked));
    }
    Ok(out)
}
