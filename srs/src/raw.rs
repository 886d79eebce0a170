//! The raw halo2 format: `k` as u32 little-endian, G1 powers, Lagrange basis, H, τH; a coordinate is 32 bytes, a G1 point
//! 64, a G2 point 128, all little-endian Montgomery.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
};

use halo2_proofs::{
    SerdeFormat,
    halo2curves::{
        bn256::{Bn256, G1Affine, G2Affine},
        serde::SerdeObject,
    },
    poly::kzg::commitment::ParamsKZG,
};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::types::{OnProgress, Progress, SrsDigest, SrsSize, Stage};

/// Bytes of a G1 point.
pub(crate) const G1_LEN: usize = 64;
/// Bytes of a G2 point.
pub(crate) const G2_LEN: usize = 128;
/// Bytes of the leading `k`.
pub(crate) const K_LEN: usize = 4;
/// Points read, hashed and decoded at a time.
const CHUNK: usize = 1 << 16;

/// Length of the raw format for size `k`.
pub(crate) fn body_len(k: SrsSize) -> u64 {
    (K_LEN + 2 * G2_LEN) as u64 + 2 * (G1_LEN as u64) * k.n_points() as u64
}

/// SHA-256 of the raw bytes, without keeping them.
pub(crate) fn digest(params: &ParamsKZG<Bn256>) -> SrsDigest {
    let mut hasher = Sha256::new();
    // A hasher takes every write, so there is no error to pass on.
    let _ = write_body(params, &mut hasher);
    SrsDigest(hasher.finalize().into())
}

/// Writes the raw format.
pub(crate) fn write_body(params: &ParamsKZG<Bn256>, out: impl Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    params.write_custom(&mut out, SerdeFormat::RawBytesUnchecked)?;
    out.flush()
}

/// Reads the raw format of known size without looking at the points, and returns the digest of what was read.
///
/// The bytes must come from ourselves: the caller compares the digest before it uses the points.
pub(crate) fn read_body_unchecked(
    input: &mut impl Read,
    k: SrsSize,
    on_progress: OnProgress<'_>,
) -> io::Result<(ParamsKZG<Bn256>, u32, SrsDigest)> {
    let mut hasher = Sha256::new();
    let mut k_bytes = [0; K_LEN];
    input.read_exact(&mut k_bytes)?;
    hasher.update(k_bytes);
    let total = body_len(k);
    let mut done = 0;
    let mut buffer = vec![0; CHUNK.min(k.n_points()) * G1_LEN];
    let mut basis = || -> io::Result<Vec<G1Affine>> {
        let mut points = Vec::with_capacity(k.n_points());
        while points.len() < k.n_points() {
            // n is a power of two, so the chunks divide it.
            input.read_exact(&mut buffer)?;
            rayon::join(
                || hasher.update(&buffer),
                || points.par_extend(buffer.par_chunks_exact(G1_LEN).map(G1Affine::from_raw_bytes_unchecked)),
            );
            done += buffer.len() as u64;
            on_progress(Progress { stage: Stage::Read, done, total });
        }
        Ok(points)
    };
    let (g, g_lagrange) = (basis()?, basis()?);
    let mut tail = [0; 2 * G2_LEN];
    input.read_exact(&mut tail)?;
    hasher.update(tail);
    let (h, tau_h) = tail.split_at(G2_LEN);
    let [h, tau_h] = [h, tau_h].map(G2Affine::from_raw_bytes_unchecked);
    let params = from_parts(k, g, g_lagrange, h, tau_h);
    Ok((params, u32::from_le_bytes(k_bytes), SrsDigest(hasher.finalize().into())))
}

/// Reads the last point of a file in raw format, τH; returns the identity for bytes that are no curve point.
pub(crate) fn read_last_point(file: &mut File) -> io::Result<G2Affine> {
    file.seek(SeekFrom::End(-(G2_LEN as i64)))?;
    let mut bytes = [0; G2_LEN];
    file.read_exact(&mut bytes)?;
    Ok(G2Affine::from_raw_bytes(&bytes).unwrap_or_default())
}

/// Builds halo2's parameters from points. `from_parts` of the library is a method without need of its receiver.
pub(crate) fn from_parts(
    k: SrsSize,
    g: Vec<G1Affine>,
    g_lagrange: Vec<G1Affine>,
    g2: G2Affine,
    s_g2: G2Affine,
) -> ParamsKZG<Bn256> {
    let receiver = ParamsKZG::<Bn256>::setup(1, rand_core::OsRng);
    receiver.from_parts(k.k(), g, Some(g_lagrange), g2, s_g2)
}
