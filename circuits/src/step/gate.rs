//! Columns and constraints of the step circuit.
//!
//! Every constraint is active at the first row of a block (`q_block`) and reads the block by rotations, so the
//! circuit needs no permutation argument. Degree 5. Constraint names are those of `docs/spec/statement.md`.

use std::collections::HashMap;

use halo2_proofs::{
    halo2curves::{bn256::Fr, ff::Field},
    plonk::{
        Advice, Challenge, Column, ConstraintSystem, Expression, FirstPhase, Fixed, Instance, SecondPhase, VirtualCells,
    },
    poly::Rotation,
};

use crate::step::plan::{Limb, Lookup, Plan, Quantity};
use crate::step::shape::{CONSTANT_SLOTS, StepShape};
use ledger::Rule;

/// Values of a step's instance column, in order.
///
/// The first [`CONSTANT_SLOTS`] are the gate's constants; the rest are bound to the proof by the transcript alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceRow {
    /// 1 when m = v = 0 is forced.
    Fresh = 0,
    /// β1 (Q32).
    Beta1 = 1,
    /// β2 (Q32).
    Beta2 = 2,
    /// A_t (Q32).
    A = 3,
    /// C_t (Q16).
    C = 4,
    /// ε (Q32).
    Eps = 5,
    /// AdamW: lr·wd (Q64); SGD: wd (Q32).
    Decay = 6,
    /// Run id.
    Run = 7,
    /// Step t.
    Step = 8,
    /// Chunk c.
    Chunk = 9,
}

/// Length of the instance column.
pub const N_INSTANCES: usize = 10;

/// Rows of a block in the state columns.
pub const STATE_ROWS: [&str; 3] = ["w", "m", "v"];

/// Columns of the step circuit. The order of creation fixes the order of commitments in a proof:
/// `state_in` is the first point, `state_out` the second, `gradient` the third.
#[derive(Clone, Debug)]
pub struct StepConfig {
    /// w, m, v before the step at rows 0, 1, 2 of each block; read at these rotations. Linked to the step before.
    pub state_in: Column<Advice>,
    /// w', m', v' after the step, same layout. Linked to the next step.
    pub state_out: Column<Advice>,
    /// g (Q24) at row 0 of each block.
    pub gradient: Column<Advice>,
    /// Constants, limbs and multiplicities; read at all rows of the block and, for the constants, of the next one.
    pub limbs: Vec<Column<Advice>>,
    /// Second phase: running sum, lookup helpers, table helpers.
    pub aux: Vec<Column<Advice>>,
    /// 1 at the first row of each block.
    pub q_block: Column<Fixed>,
    /// 1 at row 0, 2 at the first row after the last block.
    pub q_edge: Column<Fixed>,
    /// 1 at usable rows of the state columns that hold no parameter.
    pub q_pad: Column<Fixed>,
    /// Range table: values.
    pub table_value: Column<Fixed>,
    /// Range table: widths.
    pub table_width: Column<Fixed>,
    /// Statement, see [`InstanceRow`].
    pub instance: Column<Instance>,
    /// logUp challenge.
    pub alpha: Challenge,
    /// Challenge that folds (value, width).
    pub gamma: Challenge,
    /// Rows that are not blinding rows.
    pub usable_rows: usize,
    /// Blinding rows of every advice column, the unusable row included.
    pub blinding_rows: usize,
}

fn int(value: u128) -> Expression<Fr> {
    Expression::Constant(Fr::from_u128(value))
}

fn pow2(bits: u32) -> Fr {
    Fr::from(2).pow_vartime([bits as u64])
}

trait FromU128 {
    fn from_u128(value: u128) -> Self;
}

impl FromU128 for Fr {
    fn from_u128(value: u128) -> Self {
        Fr::from((value >> 64) as u64) * pow2(64) + Fr::from(value as u64)
    }
}

/// The cells of one block as expressions.
struct Block<'a, 'm> {
    meta: &'a mut VirtualCells<'m, Fr>,
    config: &'a StepConfig,
    plan: &'a Plan,
    cache: HashMap<usize, Expression<Fr>>,
}

impl Block<'_, '_> {
    fn slot(&mut self, slot: usize) -> Expression<Fr> {
        let (column, row) = self.plan.place(slot);
        let column = self.config.limbs[column];
        let meta = &mut *self.meta;
        self.cache.entry(slot).or_insert_with(|| meta.query_advice(column, Rotation(row as i32))).clone()
    }

    fn constant(&mut self, row: InstanceRow) -> Expression<Fr> {
        self.slot(row as usize)
    }

    fn aux(&mut self, slot: usize) -> Expression<Fr> {
        let (column, row) = self.plan.place(slot);
        self.meta.query_advice(self.config.aux[column], Rotation(row as i32))
    }

    fn state(&mut self, column: Column<Advice>, row: usize) -> Expression<Fr> {
        self.meta.query_advice(column, Rotation(row as i32))
    }

    /// Sum of the limbs that have cells; for a value without derived limb this is the value.
    fn composed(&mut self, quantity: Quantity) -> Expression<Fr> {
        let d = self.plan.values.iter().find(|d| d.quantity == quantity).expect("the rule's plan has this quantity");
        let mut sum = int(0);
        for ((limb, _), shift) in d.limbs.iter().zip(d.shifts()) {
            if let Limb::Cell(slot) = limb {
                sum = sum + self.slot(*slot) * pow2(shift);
            }
        }
        sum
    }

    /// The value that the spec's equation gives for `quantity`, non-negative when the statement holds.
    fn defined(&mut self, rule: Rule, quantity: Quantity) -> Expression<Fr> {
        use Quantity::*;
        let (state_in, state_out, gradient) = (self.config.state_in, self.config.state_out, self.config.gradient);
        let offset = || int(1 << 31);
        let s_one = pow2(32);
        match quantity {
            WeightIn => self.state(state_in, 0) + offset(),
            Gradient => self.state(gradient, 0) + offset(),
            WeightOut => self.state(state_out, 0) + offset(),
            FirstMomentOut => self.state(state_out, 1) + offset(),
            SecondMomentOut => self.state(state_out, 2),
            FirstMomentRemainder => {
                let (b1, m, g) = (self.constant(InstanceRow::Beta1), self.state(state_in, 1), self.state(gradient, 0));
                let m_next = self.state(state_out, 1);
                match rule {
                    Rule::AdamW => b1.clone() * m + (int(1 << 32) - b1) * g + offset() - m_next * s_one,
                    Rule::Sgd => {
                        let (decay, w) = (self.constant(InstanceRow::Decay), self.state(state_in, 0));
                        b1 * m + g * s_one + decay * w + offset() - m_next * s_one
                    }
                }
            }
            SecondMomentRemainder => {
                let (b2, v, g) = (self.constant(InstanceRow::Beta2), self.state(state_in, 2), self.state(gradient, 0));
                let v_next = self.state(state_out, 2);
                v_next * s_one - b2.clone() * v - (int(1 << 32) - b2) * g.clone() * g
            }
            RootRemainder => {
                let s = self.composed(Root);
                self.constant(InstanceRow::C) * self.state(state_out, 2) - s.clone() * s
            }
            RootSlack => self.composed(Root) * Fr::from(2) - self.defined(rule, RootRemainder),
            StepRemainder => {
                let (a, m_next) = (self.constant(InstanceRow::A), self.state(state_out, 1));
                match rule {
                    Rule::AdamW => {
                        let divisor = self.divisor();
                        let u = self.composed(Step) - offset();
                        a * m_next * Fr::from(2) + divisor.clone() - divisor * u * Fr::from(2)
                    }
                    Rule::Sgd => {
                        let u = self.state(state_in, 0) - self.state(state_out, 0);
                        a * m_next + offset() - u * s_one
                    }
                }
            }
            StepSlack => self.divisor() * Fr::from(2) - int(1) - self.defined(rule, StepRemainder),
            DecayRemainder => {
                let (decay, w) = (self.constant(InstanceRow::Decay), self.state(state_in, 0));
                let u = self.composed(Step) - offset();
                let dropped = w.clone() - u - self.state(state_out, 0);
                decay * w + int(1 << 63) - dropped * pow2(64)
            }
            Root | Step => unreachable!("these are composed from cells"),
        }
    }

    /// D = s + eps.
    fn divisor(&mut self) -> Expression<Fr> {
        self.composed(Quantity::Root) + self.constant(InstanceRow::Eps)
    }

    /// The expression that lookup `l` checks, and its width.
    fn looked_up(&mut self, rule: Rule, l: Lookup) -> (Expression<Fr>, u32) {
        let d = &self.plan.values[l.value];
        let (limb, width) = d.limbs[l.limb];
        let expression = match limb {
            Limb::Cell(slot) => self.slot(slot),
            Limb::Derived(_) => {
                let shift = d.shifts().nth(l.limb).expect("one shift per limb");
                let low = self.composed(d.quantity);
                let scale = pow2(shift).invert().expect("a power of two is not zero");
                (self.defined(rule, d.quantity) - low) * scale
            }
        };
        (expression, width)
    }
}

/// Adds fractions: `(Σ_i n_i · Π_{j≠i} d_j, Π d_i)`. A numerator of `None` is 1.
///
/// Folds from the left, which costs three products for three fractions where the symmetric form costs five.
fn add_fractions(fractions: Vec<(Option<Expression<Fr>>, Expression<Fr>)>) -> (Expression<Fr>, Expression<Fr>) {
    let scaled = |n: &Option<Expression<Fr>>, d: &Expression<Fr>| match n {
        Some(n) => n.clone() * d.clone(),
        None => d.clone(),
    };
    let (n, d) = fractions
        .into_iter()
        .reduce(|(n1, d1), (n2, d2)| (Some(scaled(&n1, &d2) + scaled(&n2, &d1)), d1 * d2))
        .expect("a group is not empty");
    (n.unwrap_or_else(|| int(1)), d)
}

impl StepConfig {
    /// Creates the columns and gates for `shape`.
    pub fn configure(meta: &mut ConstraintSystem<Fr>, shape: &StepShape) -> Self {
        let plan = Plan::new(shape);
        let advice = |meta: &mut ConstraintSystem<Fr>| meta.advice_column_in(FirstPhase);
        let state_in = advice(meta);
        let state_out = advice(meta);
        let gradient = advice(meta);
        let limbs = (0..plan.limb_columns()).map(|_| advice(meta)).collect();
        let alpha = meta.challenge_usable_after(FirstPhase);
        let gamma = meta.challenge_usable_after(FirstPhase);
        let aux = (0..plan.aux_columns()).map(|_| meta.advice_column_in(SecondPhase)).collect();
        let mut config = Self {
            state_in,
            state_out,
            gradient,
            limbs,
            aux,
            q_block: meta.fixed_column(),
            q_edge: meta.fixed_column(),
            q_pad: meta.fixed_column(),
            table_value: meta.fixed_column(),
            table_width: meta.fixed_column(),
            instance: meta.instance_column(),
            alpha,
            gamma,
            usable_rows: 0,
            blinding_rows: 0,
        };
        config.constants(meta, &plan);
        config.padding(meta, shape.rule);
        config.lookups(meta, shape.rule, &plan);
        config.running_sum(meta, &plan);
        config.blinding_rows = meta.blinding_factors() + 1;
        config.usable_rows = (1 << shape.k) - config.blinding_rows;
        config
    }

    /// The constants equal the instance in the first block and are the same in every block.
    fn constants(&self, meta: &mut ConstraintSystem<Fr>, plan: &Plan) {
        meta.create_gate("constants equal the instance", |meta| {
            let q = meta.query_fixed(self.q_edge, Rotation::cur());
            let first = q.clone() * (int(2) - q);
            (0..CONSTANT_SLOTS)
                .map(|slot| {
                    let (column, row) = plan.place(slot);
                    let cell = meta.query_advice(self.limbs[column], Rotation(row as i32));
                    let instance = meta.query_instance(self.instance, Rotation(slot as i32));
                    first.clone() * (cell - instance)
                })
                .collect::<Vec<_>>()
        });
        meta.create_gate("constants are carried", |meta| {
            let q = meta.query_fixed(self.q_block, Rotation::cur());
            (0..CONSTANT_SLOTS)
                .map(|slot| {
                    let (column, row) = plan.place(slot);
                    let cell = meta.query_advice(self.limbs[column], Rotation(row as i32));
                    let next = meta.query_advice(self.limbs[column], Rotation((row + plan.rows) as i32));
                    q.clone() * (next - cell)
                })
                .collect::<Vec<_>>()
        });
    }

    /// Rows without a parameter are zero; a fresh start has no moments; SGD has no second moment.
    fn padding(&self, meta: &mut ConstraintSystem<Fr>, rule: Rule) {
        meta.create_gate("rows without a parameter are zero", |meta| {
            let q = meta.query_fixed(self.q_pad, Rotation::cur());
            [self.state_in, self.state_out, self.gradient]
                .map(|column| q.clone() * meta.query_advice(column, Rotation::cur()))
                .to_vec()
        });
        meta.create_gate("gradient rows", |meta| {
            let q = meta.query_fixed(self.q_block, Rotation::cur());
            [1, 2].map(|row| q.clone() * meta.query_advice(self.gradient, Rotation(row))).to_vec()
        });
        meta.create_gate("fresh start", |meta| {
            let q = meta.query_fixed(self.q_block, Rotation::cur());
            // Slot 0 is the first row of the first limb column in every shape.
            let fresh = meta.query_advice(self.limbs[0], Rotation(InstanceRow::Fresh as i32));
            [1, 2].map(|row| q.clone() * fresh.clone() * meta.query_advice(self.state_in, Rotation(row))).to_vec()
        });
        if rule == Rule::Sgd {
            meta.create_gate("sgd has no second moment", |meta| {
                let q = meta.query_fixed(self.q_block, Rotation::cur());
                [self.state_in, self.state_out]
                    .map(|column| q.clone() * meta.query_advice(column, Rotation(2)))
                    .to_vec()
            });
        }
    }

    /// One gate for each group of lookups and each group of table rows.
    fn lookups(&self, meta: &mut ConstraintSystem<Fr>, rule: Rule, plan: &Plan) {
        for (i, group) in plan.groups.iter().enumerate() {
            let name = group
                .iter()
                .map(|l| format!("{}[{}]", plan.values[l.value].quantity.name(), l.limb))
                .collect::<Vec<_>>()
                .join(", ");
            meta.create_gate(format!("lookup helper: {name}"), |meta| {
                let q = meta.query_fixed(self.q_block, Rotation::cur());
                let alpha = meta.query_challenge(self.alpha);
                let gamma = meta.query_challenge(self.gamma);
                let mut block = Block { meta, config: self, plan, cache: HashMap::new() };
                let fractions = group
                    .iter()
                    .map(|&l| {
                        let (x, width) = block.looked_up(rule, l);
                        (None, (alpha.clone() + gamma.clone() * Fr::from(width as u64)) + x)
                    })
                    .collect();
                let helper = block.aux(plan.helper_slot(i));
                let (numerator, denominator) = add_fractions(fractions);
                vec![q * (helper * denominator - numerator)]
            });
        }
        for i in 0..plan.n_table_helpers() {
            meta.create_gate("table helper", |meta| {
                let q = meta.query_fixed(self.q_block, Rotation::cur());
                let alpha = meta.query_challenge(self.alpha);
                let gamma = meta.query_challenge(self.gamma);
                let mut block = Block { meta, config: self, plan, cache: HashMap::new() };
                let fractions = (3 * i..(3 * i + 3).min(plan.table_rows))
                    .map(|row| {
                        let at = Rotation(row as i32);
                        let value = block.meta.query_fixed(self.table_value, at);
                        let width = block.meta.query_fixed(self.table_width, at);
                        (Some(block.slot(plan.multiplicity_slot(row))), alpha.clone() + gamma.clone() * width + value)
                    })
                    .collect();
                let helper = block.aux(plan.table_helper_slot(i));
                let (numerator, denominator) = add_fractions(fractions);
                vec![q * (helper * denominator - numerator)]
            });
        }
    }

    /// The sum of all helpers, table helpers negative, is zero (logUp; Haböck, eprint 2022/1530).
    fn running_sum(&self, meta: &mut ConstraintSystem<Fr>, plan: &Plan) {
        meta.create_gate("running sum", |meta| {
            let q = meta.query_fixed(self.q_block, Rotation::cur());
            let next = meta.query_advice(self.aux[0], Rotation(plan.rows as i32));
            let mut block = Block { meta, config: self, plan, cache: HashMap::new() };
            let mut sum = next - block.aux(0);
            for i in 0..plan.groups.len() {
                sum = sum - block.aux(plan.helper_slot(i));
            }
            for i in 0..plan.n_table_helpers() {
                sum = sum + block.aux(plan.table_helper_slot(i));
            }
            vec![q * sum]
        });
        meta.create_gate("running sum starts and ends at zero", |meta| {
            let q = meta.query_fixed(self.q_edge, Rotation::cur());
            vec![q * meta.query_advice(self.aux[0], Rotation::cur())]
        });
    }
}
