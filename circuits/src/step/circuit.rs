//! The halo2 circuit of one chunk of one step.

use std::sync::Arc;

use halo2_proofs::{
    circuit::{Layouter, SimpleFloorPlanner, Value},
    halo2curves::bn256::Fr,
    plonk::{Circuit, ConstraintSystem, Error},
};

use crate::step::gate::StepConfig;
use crate::step::plan::Plan;
use crate::step::shape::StepShape;
use crate::step::witness::{StepWitness, table_entries, table_entry};
use ledger::Rule;

/// The step circuit, with a witness for proving or without for key generation.
#[derive(Clone, Debug)]
pub struct StepCircuit {
    shape: StepShape,
    witness: Option<Arc<StepWitness>>,
}

impl StepCircuit {
    /// For key generation.
    pub fn keygen(shape: StepShape) -> Self {
        Self { shape, witness: None }
    }

    /// For proving. The witness must have been made for the same shape.
    pub fn new(shape: StepShape, witness: Arc<StepWitness>) -> Self {
        Self { shape, witness: Some(witness) }
    }
}

impl Default for StepShape {
    /// The smallest AdamW circuit; halo2 asks for a default that is never used.
    fn default() -> Self {
        Self { rule: Rule::AdamW, n_params: 1, k: 10, limb_bits: 8, rows: 32 }
    }
}

impl Circuit<Fr> for StepCircuit {
    type Config = StepConfig;
    type FloorPlanner = SimpleFloorPlanner;
    type Params = StepShape;

    fn params(&self) -> StepShape {
        self.shape.clone()
    }

    fn without_witnesses(&self) -> Self {
        Self::keygen(self.shape.clone())
    }

    fn configure_with_params(meta: &mut ConstraintSystem<Fr>, shape: StepShape) -> StepConfig {
        StepConfig::configure(meta, &shape)
    }

    fn configure(meta: &mut ConstraintSystem<Fr>) -> StepConfig {
        StepConfig::configure(meta, &StepShape::default())
    }

    fn synthesize(&self, config: StepConfig, mut layouter: impl Layouter<Fr>) -> Result<(), Error> {
        let plan = Plan::new(&self.shape);
        let shape = &self.shape;
        let (rows, n_blocks) = (plan.rows, shape.n_blocks());
        layouter.assign_region(
            || "step",
            |mut region| {
                let one = Fr::one();
                let entries = table_entries(shape);
                for block in 0..n_blocks {
                    region.assign_fixed(config.q_block, block * rows, one);
                    for row in 0..plan.table_rows {
                        let (width, value) = table_entry(&entries, &plan, block, row);
                        region.assign_fixed(config.table_value, block * rows + row, Fr::from(value));
                        region.assign_fixed(config.table_width, block * rows + row, Fr::from(width as u64));
                    }
                }
                region.assign_fixed(config.q_edge, 0, one);
                region.assign_fixed(config.q_edge, n_blocks * rows, one.double());
                for row in 0..config.usable_rows {
                    if row / rows >= shape.n_params || row % rows >= 3 {
                        region.assign_fixed(config.q_pad, row, one);
                    }
                }
                let Some(witness) = &self.witness else { return Ok(()) };
                for (block, u) in witness.updates.iter().enumerate() {
                    let at = block * rows;
                    let cells = [
                        (config.state_in, [signed(u.before.w), signed(u.before.m), Fr::from(u.before.v)]),
                        (config.state_out, [signed(u.after.w), signed(u.after.m), Fr::from(u.after.v)]),
                    ];
                    for (column, values) in cells {
                        for (row, value) in values.into_iter().enumerate() {
                            region.assign_advice(column, at + row, Value::known(value));
                        }
                    }
                    region.assign_advice(config.gradient, at, Value::known(signed(u.g)));
                }
                for (column, values) in config.limbs.iter().zip(witness.limb_columns(shape, &plan)) {
                    for (row, value) in values.into_iter().enumerate() {
                        region.assign_advice(*column, row, Value::known(value));
                    }
                }
                // Commits the first phase when proving; a no-op for the mock prover, which runs once for each phase.
                region.next_phase();
                let mut challenges = None;
                region
                    .get_challenge(config.alpha)
                    .zip(region.get_challenge(config.gamma))
                    .map(|pair| challenges = Some(pair));
                let Some((alpha, gamma)) = challenges else { return Ok(()) };
                for (column, values) in config.aux.iter().zip(witness.aux_columns(shape, &plan, alpha, gamma)) {
                    for (row, value) in values.into_iter().enumerate() {
                        region.assign_advice(*column, row, Value::known(value));
                    }
                }
                // The last phase has no successor: this commits the second one.
                region.next_phase();
                Ok(())
            },
        )
    }
}

/// A signed raw value as a field element.
pub(crate) fn signed(x: i64) -> Fr {
    let magnitude = Fr::from(x.unsigned_abs());
    if x < 0 { -magnitude } else { magnitude }
}
