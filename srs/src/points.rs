//! Points from foreign bytes: canonical coordinates, on the curve, not at infinity.

use std::{
    io::{self, Read},
    path::Path,
};

use halo2_proofs::halo2curves::{
    CurveAffine,
    bn256::{Fq, Fq2, G1Affine, G2Affine},
    serde::SerdeObject,
};
use rayon::prelude::*;

use crate::{
    error::SrsError,
    raw::{G1_LEN, G2_LEN},
    types::{OnProgress, Progress, Stage},
};

/// Points read and decoded at a time.
const CHUNK: usize = 1 << 16;

/// A part of a file that is being read: its name for errors, and where progress goes.
pub(crate) struct Part<'a> {
    pub(crate) file: &'a Path,
    pub(crate) name: &'static str,
    pub(crate) on_progress: OnProgress<'a>,
}

/// Why bytes are no point.
pub(crate) enum Refusal {
    NotCanonical,
    NotOnCurve,
    Infinity,
}

impl Part<'_> {
    /// Reads `n` G1 points, checked. Memory grows with what was read, not with what was promised.
    pub(crate) fn read_g1(&self, input: &mut impl Read, n: usize) -> Result<Vec<G1Affine>, SrsError> {
        let mut points = vec![];
        let mut buffer = vec![0; CHUNK.min(n) * G1_LEN];
        while points.len() < n {
            let bytes = &mut buffer[..CHUNK.min(n - points.len()) * G1_LEN];
            input.read_exact(bytes).map_err(|e| self.io(e))?;
            let start = points.len();
            let chunk: Vec<G1Affine> = bytes
                .par_chunks_exact(G1_LEN)
                .enumerate()
                .map(|(i, bytes)| decode::<Fq, G1Affine>(bytes).map_err(|r| self.refuse(r, start + i)))
                .collect::<Result<_, _>>()?;
            points.extend(chunk);
            let (done, total) = (points.len() as u64, n as u64);
            (self.on_progress)(Progress { stage: Stage::Read, done, total });
        }
        Ok(points)
    }

    /// Reads one G2 point, the `index`-th of its part, checked; the subgroup is the caller's to check.
    pub(crate) fn read_g2(&self, input: &mut impl Read, index: usize) -> Result<G2Affine, SrsError> {
        let mut bytes = [0; G2_LEN];
        input.read_exact(&mut bytes).map_err(|e| self.io(e))?;
        decode::<Fq2, G2Affine>(&bytes).map_err(|r| self.refuse(r, index))
    }

    fn io(&self, source: io::Error) -> SrsError {
        SrsError::Io { file: self.file.to_owned(), source }
    }

    fn refuse(&self, refusal: Refusal, index: usize) -> SrsError {
        let (file, part, index) = (self.file.to_owned(), self.name, index as u64);
        match refusal {
            Refusal::NotCanonical => SrsError::NotCanonical { file, part, index },
            Refusal::NotOnCurve => SrsError::NotOnCurve { file, part, index },
            Refusal::Infinity => SrsError::Infinity { file, part, index },
        }
    }
}

/// `x ‖ y`, little-endian Montgomery.
pub(crate) fn decode<F: SerdeObject, C: CurveAffine<Base = F>>(bytes: &[u8]) -> Result<C, Refusal> {
    if bytes.iter().all(|&b| b == 0) {
        return Err(Refusal::Infinity);
    }
    let (x, y) = bytes.split_at(bytes.len() / 2);
    let (Some(x), Some(y)) = (F::from_raw_bytes(x), F::from_raw_bytes(y)) else {
        return Err(Refusal::NotCanonical);
    };
    Option::from(C::from_xy(x, y)).ok_or(Refusal::NotOnCurve)
}
