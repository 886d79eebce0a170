//! What the prover may know of the auxiliary columns: lookup helpers are sums of inverses of table entries.

use std::sync::Arc;

use engine::{FewValues, Hints, Term};
use halo2_proofs::{
    halo2curves::bn256::Fr,
    plonk::{Circuit, ConstraintSystem},
};

use crate::step::circuit::StepCircuit;
use crate::step::plan::Plan;
use crate::step::shape::StepShape;
use crate::step::witness::{StepWitness, TableInverses};

/// The phase of the auxiliary columns, from 0.
const PHASE: u8 = 1;

/// Hints about one witness.
pub(crate) struct HelperHints {
    shape: StepShape,
    witness: Arc<StepWitness>,
}

impl HelperHints {
    pub(crate) fn new(shape: StepShape, witness: Arc<StepWitness>) -> Self {
        Self { shape, witness }
    }

    /// Bytes that they take while their columns are committed, at most.
    pub(crate) fn bytes(shape: &StepShape) -> u64 {
        let plan = Plan::new(shape);
        let entries = Plan::table_len(shape.rule, shape.limb_bits);
        let per_block = |column: usize| {
            let groups = plan.groups.iter().enumerate();
            let here = groups.filter(|(i, _)| plan.place(plan.helper_slot(*i)).0 == column);
            here.map(|(_, lookups)| lookups.len()).sum::<usize>()
        };
        let columns = (0..plan.aux_columns()).map(|column| per_block(column) * shape.n_blocks());
        let longest = columns.clone().max().unwrap_or(0);
        engine::hint_bytes(shape.k, entries, columns.sum(), longest)
    }
}

impl Hints for HelperHints {
    fn few_values(&self, phase: u8, challenges: &[Fr]) -> FewValues {
        if phase != PHASE {
            return FewValues::default();
        }
        let config = StepCircuit::configure_with_params(&mut ConstraintSystem::default(), self.shape.clone());
        let challenge = |index: usize| challenges.get(index).copied();
        let (Some(alpha), Some(gamma)) = (challenge(config.alpha.index()), challenge(config.gamma.index())) else {
            return FewValues::default();
        };
        let plan = Plan::new(&self.shape);
        let terms = self.witness.helper_terms(&self.shape, &plan);
        let columns = config.aux.iter().zip(terms).map(|(column, terms)| {
            (column.index(), terms.into_iter().map(|(row, value)| Term { row, value }).collect())
        });
        FewValues { columns: columns.collect(), values: TableInverses::new(&self.shape, alpha, gamma).into_values() }
    }
}

#[cfg(test)]
mod tests {
    use halo2_proofs::halo2curves::ff::Field;
    use ledger::Rule;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::reference::{PRODUCTS_START, S, State, StepConstants, next_schedule};

    #[test]
    fn helpers_of_lookups_are_known_but_for_the_sum_and_the_table() {
        for rule in [Rule::AdamW, Rule::Sgd] {
            let n_params = 40;
            let shape = StepShape::at(rule, n_params, 10, 6).expect("a shape");
            let plan = Plan::new(&shape);
            let q32 = |x: f64| (x * S as f64).round() as u64;
            let (beta2, eps) = if rule == Rule::Sgd { (0, 0) } else { (q32(0.999), q32(1e-8)) };
            let hyper = ledger::Hyper { beta1: q32(0.9), beta2, eps, lr: q32(1e-3), weight_decay: 0 };
            let schedule = next_schedule(rule, &hyper, PRODUCTS_START).expect("a schedule");
            let weights: Vec<i64> = (0..n_params as i64).map(|i| (i - 17) << 12).collect();
            let gradient: Vec<i64> = (0..n_params as i64).map(|i| (19 - i) << 9).collect();
            let constants = StepConstants::new(rule, true, &hyper, &schedule);
            let state = State::fresh(weights);
            let witness = StepWitness::honest(&shape, constants, &state, &gradient).expect("in range");
            let mut rng = StdRng::seed_from_u64(1);
            let (alpha, gamma) = (Fr::random(&mut rng), Fr::random(&mut rng));
            let mut columns = witness.aux_columns(&shape, &plan, alpha, gamma);
            let first = 3 + plan.limb_columns();
            let hints = HelperHints::new(shape.clone(), Arc::new(witness));
            assert!(hints.few_values(0, &[alpha, gamma]).columns.is_empty(), "nothing is known of limbs");
            let few = hints.few_values(1, &[alpha, gamma]);
            assert_eq!(few.columns.len(), columns.len());
            for (column, terms) in &few.columns {
                for term in terms {
                    columns[column - first][term.row as usize] -= few.values[term.value as usize];
                }
            }
            let n_lookup_slots = 1..1 + plan.groups.len();
            for (column, values) in columns.iter().enumerate() {
                for (row, value) in values.iter().enumerate() {
                    let slot = column * plan.rows + row % plan.rows;
                    let left = *value != Fr::ZERO;
                    assert!(!left || !n_lookup_slots.contains(&slot), "{rule:?}: slot {slot}, row {row}");
                }
            }
        }
    }
}
