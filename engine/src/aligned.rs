//! Lists of points that begin where cache lines do, so that each point is in one line: they are read in random order, and
//! half as many lines are fetched.

use std::{
    ops::{Deref, DerefMut},
    slice,
};

use halo2_proofs::halo2curves::{bn256::G1Affine, group::prime::PrimeCurveAffine};

/// A point in a line of its own.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line(G1Affine);

// A line is nothing but its point.
const _: () = assert!(size_of::<Line>() == size_of::<G1Affine>() && size_of::<G1Affine>() == 64);

/// A growing list of points, one for each cache line.
#[derive(Clone, Debug, Default)]
pub(crate) struct AlignedPoints(Vec<Line>);

impl AlignedPoints {
    /// None, with room for `n`.
    pub(crate) fn with_capacity(n: usize) -> Self {
        Self(Vec::with_capacity(n))
    }

    /// So many, those that are added the identity.
    pub(crate) fn resize(&mut self, n: usize) {
        self.0.resize(n, Line(G1Affine::identity()));
    }

    /// At least so many, those that are added the identity.
    pub(crate) fn reach(&mut self, n: usize) {
        if self.0.len() < n {
            self.resize(n);
        }
    }

    /// One more.
    pub(crate) fn push(&mut self, point: G1Affine) {
        self.0.push(Line(point));
    }
}

impl From<&[G1Affine]> for AlignedPoints {
    fn from(points: &[G1Affine]) -> Self {
        Self(points.iter().map(|point| Line(*point)).collect())
    }
}

impl Deref for AlignedPoints {
    type Target = [G1Affine];

    #[expect(unsafe_code, reason = "sees lines as points")]
    fn deref(&self) -> &[G1Affine] {
        // SAFETY: a line has the size of its point and begins with it (asserted above).
        unsafe { slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len()) }
    }
}

impl DerefMut for AlignedPoints {
    #[expect(unsafe_code, reason = "sees lines as points")]
    fn deref_mut(&mut self) -> &mut [G1Affine] {
        // SAFETY: as in `deref`; any point is a line.
        unsafe { slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len()) }
    }
}
