//! The bases of both forms of a commitment, out of halo2's parameters.

use std::io::{self, Write};

use halo2_proofs::{
    SerdeFormat,
    halo2curves::{
        bn256::{Bn256, Fq, G1Affine},
        serde::SerdeObject,
    },
    poly::{
        commitment::{Params as _, ParamsProver as _},
        kzg::commitment::ParamsKZG,
    },
};

use crate::aligned::AlignedPoints;
use crate::error::EngineError;

/// Bytes of a point in the raw format: two coordinates of four limbs in Montgomery form.
const POINT: usize = 64;

/// Bases of commitments to coefficients and to values, copied to where they are read fast.
#[derive(Debug)]
pub struct Bases {
    k: u32,
    monomial: AlignedPoints,
    lagrange: AlignedPoints,
}

impl Bases {
    /// The bases of `params`. The library keeps the Lagrange basis to itself but writes it: this reads what it writes.
    ///
    /// Errors: [`EngineError::Srs`].
    pub fn new(params: &ParamsKZG<Bn256>) -> Result<Self, EngineError> {
        let n = params.n() as usize;
        let mut reader = LagrangeReader {
            skip: 4 + n * POINT,
            point: Vec::with_capacity(POINT),
            points: AlignedPoints::with_capacity(n),
            n,
        };
        params
            .write_custom(&mut reader, SerdeFormat::RawBytesUnchecked)
            .map_err(|e| EngineError::Srs(e.to_string()))?;
        if reader.points.len() != n {
            return Err(EngineError::Srs(format!("{} Lagrange bases, expected {n}", reader.points.len())));
        }
        Ok(Self { k: params.k(), monomial: params.get_g().into(), lagrange: reader.points })
    }

    /// log2 of the number of bases.
    pub fn k(&self) -> u32 {
        self.k
    }

    /// Bases for coefficients, constant term first.
    pub fn monomial(&self) -> &[G1Affine] {
        &self.monomial
    }

    /// Bases for values over the domain.
    pub fn lagrange(&self) -> &[G1Affine] {
        &self.lagrange
    }
}

/// Takes the second block of points of the raw format and drops the rest.
struct LagrangeReader {
    skip: usize,
    point: Vec<u8>,
    points: AlignedPoints,
    n: usize,
}

impl Write for LagrangeReader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.skip > 0 {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            return Ok(skipped);
        }
        if self.points.len() == self.n {
            return Ok(bytes.len());
        }
        let taken = (POINT - self.point.len()).min(bytes.len());
        self.point.extend_from_slice(&bytes[..taken]);
        if self.point.len() == POINT {
            let (x, y) = self.point.split_at(POINT / 2);
            self.points.push(G1Affine { x: Fq::from_raw_bytes_unchecked(x), y: Fq::from_raw_bytes_unchecked(y) });
            self.point.clear();
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
