//! A proving key as proving reads it, wherever its columns are.

use halo2_proofs::{
    halo2curves::bn256::{Fr, G1Affine},
    plonk::{ProvingKey, VerifyingKey},
};

/// The verifying key and the columns of a proving key, all borrowed: from the library's key or from a stored one.
#[derive(Clone, Debug)]
pub struct KeyView<'k> {
    pub(crate) vk: &'k VerifyingKey<G1Affine>,
    /// Coefficients, in natural order: 1 at the first row, at the last usable one, at the rows before it.
    pub(crate) lagrange: [&'k [Fr]; 3],
    pub(crate) fixed_values: Vec<&'k [Fr]>,
    pub(crate) fixed_polys: Vec<&'k [Fr]>,
    pub(crate) sigma_values: Vec<&'k [Fr]>,
    pub(crate) sigma_polys: Vec<&'k [Fr]>,
    /// Bytes of the columns that are in this process's own memory.
    pub(crate) held: u64,
}

impl KeyView<'_> {
    /// Every column, in the order in which they are stored.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &[Fr]> {
        let rest = [&self.fixed_values, &self.fixed_polys, &self.sigma_values, &self.sigma_polys];
        self.lagrange.iter().chain(rest.into_iter().flatten()).copied()
    }

    /// Bytes of the columns in this process's own memory; what is mapped is not counted, because the system can take its
    /// pages back.
    pub fn held_bytes(&self) -> u64 {
        self.held
    }
}

impl<'k> From<&'k ProvingKey<G1Affine>> for KeyView<'k> {
    fn from(pk: &'k ProvingKey<G1Affine>) -> Self {
        let mut view = Self {
            vk: pk.get_vk(),
            lagrange: [pk.l0(), pk.l_last(), pk.l_active_row()],
            fixed_values: pk.fixed_values().iter().map(|column| &column[..]).collect(),
            fixed_polys: pk.fixed_polys().iter().map(|column| &column[..]).collect(),
            sigma_values: pk.permutation().permutations().iter().map(|column| &column[..]).collect(),
            sigma_polys: pk.permutation().polys().iter().map(|column| &column[..]).collect(),
            held: 0,
        };
        view.held = view.columns().map(|column| size_of_val(column) as u64).sum();
        view
    }
}
