//! Points asked for before they are needed: bases are taken in random order, so that each would be waited for.

use halo2_proofs::halo2curves::bn256::G1Affine;

/// Asks for a point; any index will do. Where there is no instruction for it, nothing happens.
#[inline]
pub(crate) fn prefetch(table: &[G1Affine], index: u32) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let at = table.as_ptr().wrapping_add(index as usize).cast::<i8>();
        #[expect(unsafe_code, reason = "takes an address")]
        // SAFETY: a prefetch reads nothing; points need not begin where a cache line does, hence two.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(at);
            _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(size_of::<G1Affine>() - 1));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (table, index);
}
