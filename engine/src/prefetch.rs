//! Points asked for before they are needed: bases are taken in random order, so that each would be waited for.

use std::ops::Deref;

use halo2_proofs::halo2curves::bn256::G1Affine;

/// Points that are read by their indices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    points: &'a [G1Affine],
    in_order: bool,
}

impl<'a> Table<'a> {
    /// Read in random order.
    pub(crate) fn scattered(points: &'a [G1Affine]) -> Self {
        Self { points, in_order: false }
    }

    /// Read nearly as they lie: the processor sees to it that they are there.
    pub(crate) fn in_order(points: &'a [G1Affine]) -> Self {
        Self { points, in_order: true }
    }

    /// The points.
    pub(crate) fn points(self) -> &'a [G1Affine] {
        self.points
    }

    /// Asks for a point, unless they are read in order; any index will do. Where there is no instruction for it, nothing happens.
    #[inline]
    pub(crate) fn prefetch(self, index: u32) {
        if self.in_order {
            return;
        }
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let at = self.points.as_ptr().wrapping_add(index as usize).cast::<i8>();
            #[expect(unsafe_code, reason = "takes an address")]
            // SAFETY: a prefetch reads nothing; points need not begin where a cache line does, hence two.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(at);
                _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(size_of::<G1Affine>() - 1));
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = index;
    }
}

impl Deref for Table<'_> {
    type Target = [G1Affine];

    fn deref(&self) -> &[G1Affine] {
        self.points
    }
}
