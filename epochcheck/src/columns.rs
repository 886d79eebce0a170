//! Constraints of the circuits that epochs and their wraps are proved with.
//!
//! They are those of halo2-base 0.5.5, `gates::circuit::BaseConfig`, with one phase, lookups and one instance column. What a key's
//! digest covers is the order of columns, queries, gates, copies and lookups; so columns are made in this order:
//!
//! | columns | |
//! |---|---|
//! | lookup table | fixed, 0 … 2^`lookup_bits` − 1 in rising order |
//! | constants | `num_fixed` fixed columns, each copied from |
//! | values | `num_advice` advice columns, each copied, with a selector q of its own and the gate `q·(a₀ + a₁·a₂ − a₃) = 0` over four rows |
//! | looked-up values | `num_lookup` advice columns, each copied, each in a lookup of its own; if there is only one column of values, none but a selector for its lookup |
//! | instances | one, copied from |

use halo2_proofs::{
    halo2curves::bn256::Fr,
    plonk::{Advice, Column, ConstraintSystem},
    poly::Rotation,
};
use serde::{Deserialize, Serialize};

/// Sizes of epoch circuits that keys are read of.
const MIN_K: u32 = 8;
/// With the extension of constraints of degree five this is the field's largest domain.
const MAX_K: u32 = 26;
/// Most columns of a kind that keys are read of.
const MAX_COLUMNS: usize = 1024;

/// Columns of a circuit of halo2-base: the JSON of its `BaseCircuitParams`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// log2 of the rows.
    pub k: usize,
    /// Columns of values, by phase.
    pub num_advice_per_phase: Vec<usize>,
    /// Columns of constants.
    pub num_fixed: usize,
    /// Columns of values that are looked up, by phase.
    pub num_lookup_advice_per_phase: Vec<usize>,
    /// The lookup table has 2^this rows.
    pub lookup_bits: Option<usize>,
    /// Columns of instances.
    #[serde(default)]
    pub num_instance_columns: usize,
}

/// Columns that no circuit of an epoch has. One variant for each of [`Columns`]' fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnsError {
    /// log2 of the rows is outside the range, or not the shape's.
    #[error("k: expected {expected}, from {MIN_K} to {MAX_K}, got {got}")]
    K {
        /// By the shape.
        expected: u32,
        /// Of the columns.
        got: usize,
    },
    /// Columns of values, in the first phase only.
    #[error("num_advice_per_phase: expected 1 to {MAX_COLUMNS} columns in the first phase alone, got {got:?}")]
    Advice {
        /// By phase.
        got: Vec<usize>,
    },
    /// Columns of constants.
    #[error("num_fixed: expected 1 to {MAX_COLUMNS}, got {got}")]
    Fixed {
        /// How many.
        got: usize,
    },
    /// Columns that are looked up, in the first phase only.
    #[error("num_lookup_advice_per_phase: expected 1 to {MAX_COLUMNS} columns in the first phase alone, got {got:?}")]
    Lookup {
        /// By phase.
        got: Vec<usize>,
    },
    /// The table has half of the rows.
    #[error("lookup_bits: expected {expected}, got {got:?}")]
    LookupBits {
        /// k − 1.
        expected: u32,
        /// Of the columns.
        got: Option<usize>,
    },
    /// One instance column.
    #[error("num_instance_columns: expected 1, got {got}")]
    Instances {
        /// How many.
        got: usize,
    },
}

/// Constraints of columns that were checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Constraints {
    n_advice: usize,
    n_fixed: usize,
    n_lookup: usize,
}

/// Columns of the first phase, if they are neither none nor too many and no other phase has any.
fn first_phase(per_phase: &[usize]) -> Option<usize> {
    match per_phase {
        [first, rest @ ..] if rest.len() <= 2 && rest.iter().all(|n| *n == 0) => {
            Some(*first).filter(|n| (1..=MAX_COLUMNS).contains(n))
        }
        _ => None,
    }
}

impl Columns {
    /// Refuses columns that no circuit of 2^`k` rows of an epoch has, before anything is made of them.
    ///
    /// Errors: [`ColumnsError`].
    pub(crate) fn check(&self, k: u32) -> Result<Constraints, ColumnsError> {
        if !(MIN_K..=MAX_K).contains(&k) || self.k != k as usize {
            return Err(ColumnsError::K { expected: k, got: self.k });
        }
        let advice = || ColumnsError::Advice { got: self.num_advice_per_phase.clone() };
        let lookup = || ColumnsError::Lookup { got: self.num_lookup_advice_per_phase.clone() };
        let n_advice = first_phase(&self.num_advice_per_phase).ok_or_else(advice)?;
        if !(1..=MAX_COLUMNS).contains(&self.num_fixed) {
            return Err(ColumnsError::Fixed { got: self.num_fixed });
        }
        let n_lookup = first_phase(&self.num_lookup_advice_per_phase).ok_or_else(lookup)?;
        if self.lookup_bits != Some(k as usize - 1) {
            return Err(ColumnsError::LookupBits { expected: k - 1, got: self.lookup_bits });
        }
        if self.num_instance_columns != 1 {
            return Err(ColumnsError::Instances { got: self.num_instance_columns });
        }
        Ok(Constraints { n_advice, n_fixed: self.num_fixed, n_lookup })
    }
}

impl Constraints {
    /// Makes the columns and what holds in them, in the order of the table above.
    pub(crate) fn configure(self, cs: &mut ConstraintSystem<Fr>) {
        let table = cs.lookup_table_column();
        for _ in 0..self.n_fixed {
            let constants = cs.fixed_column();
            cs.enable_equality(constants);
        }
        let values: Vec<_> = (0..self.n_advice).map(|_| values(cs)).collect();
        if let [only] = values[..] {
            let is_looked_up = cs.complex_selector();
            cs.lookup("values", |cs| {
                let is_looked_up = cs.query_selector(is_looked_up);
                vec![(is_looked_up * cs.query_advice(only, Rotation::cur()), table)]
            });
        } else {
            let looked_up: Vec<_> = (0..self.n_lookup).map(|_| copied(cs)).collect();
            for column in looked_up {
                cs.lookup("looked-up values", |cs| vec![(cs.query_advice(column, Rotation::cur()), table)]);
            }
        }
        let instances = cs.instance_column();
        cs.enable_equality(instances);
    }
}

fn copied(cs: &mut ConstraintSystem<Fr>) -> Column<Advice> {
    let column = cs.advice_column();
    cs.enable_equality(column);
    column
}

/// A column of values with its gate.
fn values(cs: &mut ConstraintSystem<Fr>) -> Column<Advice> {
    let column = copied(cs);
    let selector = cs.selector();
    cs.create_gate("a0 + a1 * a2 = a3", |cs| {
        let selector = cs.query_selector(selector);
        let [a0, a1, a2, a3] = [0, 1, 2, 3].map(|row| cs.query_advice(column, Rotation(row)));
        vec![selector * (a0 + a1 * a2 - a3)]
    });
    column
}
