//! Permuted input and table of a lookup.
//!
//! Source: The halo2 book, "Lookup argument". Equal inputs stand together, the first of each beside its table entry; the
//! other entries fill the remaining rows. The order of the groups is free: the library takes that of a hash map with a
//! random seed, this the order of the values, so that proofs are reproducible. What the verifier sees of both columns is
//! blinded alike (docs/adr/0011).

use halo2_proofs::halo2curves::bn256::Fr;
use rayon::prelude::*;

use crate::msm::limbs;

/// Usable rows of the permuted columns, or `None` if an input is not in the table. Both sides have the same length. There is room
/// for `n` rows, so that blinding them moves nothing.
pub(crate) fn permute(inputs: &[Fr], table: &[Fr], n: usize) -> Option<(Vec<Fr>, Vec<Fr>)> {
    let (inputs, table) = rayon::join(|| sorted(inputs), || sorted(table));
    let mut permuted = Vec::with_capacity(n);
    // Which rows take a left-over entry, and the entries left over.
    let mut free = Vec::new();
    let mut left = Vec::new();
    let mut table = table.into_iter().peekable();
    for (i, (key, input)) in inputs.iter().enumerate() {
        if i > 0 && inputs[i - 1].0 == *key {
            free.push(i);
            permuted.push(*input);
            continue;
        }
        while let Some((_, entry)) = table.next_if(|(entry, _)| entry < key) {
            left.push(entry);
        }
        table.next_if(|(entry, _)| entry == key)?;
        permuted.push(*input);
    }
    left.extend(table.map(|(_, entry)| entry));
    let mut entries = Vec::with_capacity(n);
    entries.extend_from_slice(&permuted);
    for (row, entry) in free.into_iter().zip(left) {
        entries[row] = entry;
    }
    Some((permuted, entries))
}

/// Values with their canonical limbs, highest first, in ascending order.
fn sorted(values: &[Fr]) -> Vec<([u64; 4], Fr)> {
    let mut keyed: Vec<([u64; 4], Fr)> = values
        .par_iter()
        .map(|x| {
            let mut key = limbs(x);
            key.reverse();
            (key, *x)
        })
        .collect();
    keyed.par_sort_unstable_by_key(|(key, _)| *key);
    keyed
}
