//! The development reference string: deterministic, fast, and **not secure**, because everybody can compute τ.
//!
//! τ is the same for every k, so strings of different sizes belong together. Both bases are computed from scalars
//! (`fixed_base`); there is no transform over group elements.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use halo2_proofs::halo2curves::{
    bn256::{Fr, G1Affine, G2Affine},
    ff::FromUniformBytes,
    group::Curve,
};
use sha2::{Digest, Sha256};

use crate::{
    domain::{lagrange_at, powers},
    error::SrsError,
    fixed_base::FixedBase,
    raw,
    types::{OnProgress, Progress, Srs, SrsLabel, SrsSize, SrsSource, Stage},
};

/// Text from which τ is derived. It is public: whoever reads it can forge proofs.
pub const PUBLIC_SEED: &str = "Cairn development SRS, not secure, tau v1";
/// How a development string is called in files, on the command line and on pages.
pub const DISCLAIMER: &str = "development SRS, not secure";

/// Makes the development string of size `k`.
///
/// Deterministic: the same bytes on every machine. About 10 s at k = 20 on two cores.
///
/// Errors: none for a valid size today; the type leaves room for resource limits.
pub fn generate(k: SrsSize, on_progress: OnProgress<'_>) -> Result<Srs, SrsError> {
    let (g, g_lagrange) = points(k, on_progress);
    let params = raw::from_parts(k, g, g_lagrange, G2Affine::generator(), tau_g2());
    Srs::assemble(params, SrsLabel::development(), SrsSource::new(DISCLAIMER))
}

/// The public τ: SHA-256(0 ‖ seed) ‖ SHA-256(1 ‖ seed) as a 512-bit little-endian integer, modulo r.
pub fn tau() -> Fr {
    let mut wide = [0; 64];
    for (i, half) in wide.chunks_exact_mut(32).enumerate() {
        half.copy_from_slice(&Sha256::new().chain_update([i as u8]).chain_update(PUBLIC_SEED).finalize());
    }
    Fr::from_uniform_bytes(&wide)
}

/// τH of the development string, by which one is recognized whatever its label.
pub fn tau_g2() -> G2Affine {
    static POINT: OnceLock<G2Affine> = OnceLock::new();
    *POINT.get_or_init(|| (G2Affine::generator() * tau()).to_affine())
}

/// Both bases: τ^i·G and L_i(τ)·G for 0 ≤ i < 2^k.
pub(crate) fn points(k: SrsSize, on_progress: OnProgress<'_>) -> (Vec<G1Affine>, Vec<G1Affine>) {
    let tau = tau();
    let n = k.n_points();
    let table = FixedBase::new(G1Affine::generator(), n);
    let multiply = |scalars: Vec<Fr>, stage| {
        let done = AtomicU64::new(0);
        table.multiply(&scalars, &|batch| {
            let done = done.fetch_add(batch as u64, Ordering::Relaxed) + batch as u64;
            on_progress(Progress { stage, done, total: n as u64 });
        })
    };
    (multiply(powers(tau, n), Stage::Powers), multiply(lagrange_at(tau, k), Stage::Lagrange))
}

#[cfg(test)]
mod tests {
    use halo2_proofs::halo2curves::ff::Field;

    use super::*;

    #[test]
    fn tau_is_not_a_root_of_unity_nor_small() {
        assert_ne!(tau().pow_vartime([1u64 << 28]), Fr::ONE);
        assert_ne!(tau(), Fr::ZERO);
    }
}
