//! Cell values of the step circuit, computed from the reference's updates.

use std::ops::Range;

use halo2_proofs::halo2curves::{bn256::Fr, ff::Field};

use ledger::Rule;

use crate::reference::{Cell, RangeError, S, State, StepConstants, Update, update};
use crate::step::gate::{InstanceRow, N_INSTANCES};
use crate::step::plan::{Limb, Plan, Quantity};
use crate::step::shape::{CONSTANT_SLOTS, StepShape};

/// What the instance column says besides the gate's constants. Bound to the proof by its transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepTag {
    /// Run id as a field element.
    pub run: Fr,
    /// Step t.
    pub step: u64,
    /// Chunk c.
    pub chunk: u32,
}

/// The instance column of a step proof, in the order of [`InstanceRow`].
pub fn instances(tag: &StepTag, k: &StepConstants) -> [Fr; N_INSTANCES] {
    let mut out = [Fr::ZERO; N_INSTANCES];
    out[..CONSTANT_SLOTS].copy_from_slice(&constants(k));
    out[InstanceRow::Run as usize] = tag.run;
    out[InstanceRow::Step as usize] = Fr::from(tag.step);
    out[InstanceRow::Chunk as usize] = Fr::from(tag.chunk as u64);
    out
}

fn constants(k: &StepConstants) -> [Fr; CONSTANT_SLOTS] {
    [k.fresh as u64, k.beta1, k.beta2, k.a, k.c, k.eps, k.decay].map(Fr::from)
}

/// Why there is no witness.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// The update itself has no place in `q24`.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// More parameters than the shape holds.
    #[error("chunk has {got} parameters, the circuit holds {max}")]
    TooMany {
        /// Parameters given.
        got: usize,
        /// Parameters of the shape.
        max: usize,
    },
    /// A value is outside its range: the statement does not hold. Names the check that a proof would fail.
    #[error("{quantity} of parameter {index} is {value}, outside its range of {bits} bits")]
    OutOfRange {
        /// Spec name of the value.
        quantity: &'static str,
        /// Parameter index in the chunk.
        index: usize,
        /// Value found.
        value: i128,
        /// Width of the range.
        bits: u32,
    },
}

/// Whether values outside their range are refused before proving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Refuse with [`WitnessError::OutOfRange`].
    Enforce,
    /// Fill the cells anyway. Such a witness never proves; soundness tests use it.
    Skip,
}

/// Witness of one chunk of one step.
#[derive(Clone, Debug)]
pub struct StepWitness {
    /// Constants of the step.
    pub constants: StepConstants,
    /// The block from which an attacker's blocks carry other constants; none in an honest witness.
    switch: Option<(usize, StepConstants)>,
    /// One update per block, padding blocks included.
    pub updates: Vec<Update>,
    /// Multiplicity of each table entry.
    pub multiplicity: Vec<u64>,
}

/// The value of `quantity`, by the equation of the spec, in exact integers.
fn value(rule: Rule, k: &StepConstants, u: &Update, quantity: Quantity) -> i128 {
    use Quantity::*;
    let half = 1i128 << 31;
    let one = S as i128;
    let (w, m, v, g) = (u.before.w as i128, u.before.m as i128, u.before.v as i128, u.g as i128);
    let (w_next, m_next, v_next) = (u.after.w as i128, u.after.m as i128, u.after.v as i128);
    let (b1, b2, a, c, decay) = (k.beta1 as i128, k.beta2 as i128, k.a as i128, k.c as i128, k.decay as i128);
    let (s, step) = (u.s as i128, u.u as i128);
    let divisor = s + k.eps as i128;
    let root_remainder = || c * v_next - s * s;
    let step_remainder = || 2 * a * m_next + divisor - 2 * divisor * step;
    match quantity {
        WeightIn => w + half,
        Gradient => g + half,
        WeightOut => w_next + half,
        FirstMomentOut => m_next + half,
        SecondMomentOut => v_next,
        FirstMomentRemainder => match rule {
            Rule::AdamW => b1 * m + (one - b1) * g + half - m_next * one,
            Rule::Sgd => b1 * m + one * g + decay * w + half - m_next * one,
        },
        SecondMomentRemainder => v_next * one - b2 * v - (one - b2) * g * g,
        Root => s,
        RootRemainder => root_remainder(),
        RootSlack => 2 * s - root_remainder(),
        Step => step + half,
        StepRemainder => match rule {
            Rule::AdamW => step_remainder(),
            Rule::Sgd => a * m_next + half - (w - w_next) * one,
        },
        StepSlack => 2 * divisor - 1 - step_remainder(),
        DecayRemainder => decay * w + (1 << 63) - (w - step - w_next) * (1 << 64),
    }
}

/// Cuts `x` at the given widths; the top limb keeps whatever does not fit, sign included.
fn limbs<'a>(x: i128, widths: &'a [(Limb, u32)]) -> impl Iterator<Item = i128> + 'a {
    let top = widths.len() - 1;
    let mut rest = x;
    widths.iter().enumerate().map(move |(i, (_, width))| {
        if i == top {
            rest
        } else {
            let low = rest & ((1i128 << width) - 1);
            rest >>= width;
            low
        }
    })
}

fn field(x: i128) -> Fr {
    let (high, low) = ((x.unsigned_abs() >> 64) as u64, x.unsigned_abs() as u64);
    let mut magnitude = Fr::from(low);
    if high != 0 {
        magnitude += Fr::from(high) * Fr::from(1 << 32).square();
    }
    if x < 0 { -magnitude } else { magnitude }
}

/// Offsets of the widths in the range table.
struct Table {
    widths: Vec<(u32, usize)>,
    len: usize,
}

impl Table {
    fn new(shape: &StepShape) -> Self {
        let mut len = 0;
        let widths = Plan::table_widths(shape.rule, shape.limb_bits)
            .into_iter()
            .map(|w| {
                let here = (w, len);
                len += 1 << w;
                here
            })
            .collect();
        Self { widths, len }
    }

    fn index(&self, width: u32, value: i128) -> Option<usize> {
        let (_, offset) = self.widths.iter().find(|(w, _)| *w == width)?;
        (0..1i128 << width).contains(&value).then(|| offset + value as usize)
    }

    fn entries(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.widths.iter().flat_map(|&(w, _)| (0..1u64 << w).map(move |v| (w, v)))
    }
}

/// (width, value) of every table entry, in the order of [`StepWitness::multiplicity`].
pub fn table_entries(shape: &StepShape) -> Vec<(u32, u64)> {
    Table::new(shape).entries().collect()
}

impl StepWitness {
    /// The honest witness for a chunk; shorter chunks are padded with zero parameters.
    ///
    /// Errors: [`WitnessError::Range`] with the chunk-local index, [`WitnessError::TooMany`].
    pub fn honest(
        shape: &StepShape,
        constants: StepConstants,
        state: &State,
        gradient: &[i64],
    ) -> Result<Self, WitnessError> {
        if state.len() > shape.n_params {
            return Err(WitnessError::TooMany { got: state.len(), max: shape.n_params });
        }
        let updates = state.updates(shape.rule, &constants, gradient)?;
        Self::from_updates(shape, constants, updates, Check::Enforce)
    }

    /// A witness from given updates, which need not be right when `check` is [`Check::Skip`].
    ///
    /// Errors: [`WitnessError::OutOfRange`] (unless skipped), [`WitnessError::TooMany`].
    pub fn from_updates(
        shape: &StepShape,
        constants: StepConstants,
        updates: Vec<Update>,
        check: Check,
    ) -> Result<Self, WitnessError> {
        Self::build(shape, constants, None, updates, check)
    }

    /// An attacker's witness: blocks from `at` on carry the constants `other`, and every block is right for its own. Such
    /// a witness never proves; soundness tests use it.
    ///
    /// Errors: as [`Self::from_updates`].
    pub fn switched(
        shape: &StepShape,
        constants: StepConstants,
        (at, other): (usize, StepConstants),
        updates: Vec<Update>,
    ) -> Result<Self, WitnessError> {
        Self::build(shape, constants, Some((at, other)), updates, Check::Enforce)
    }

    /// Bytes that a witness of this shape holds at most until the columns are filled: the updates, and every column once more
    /// while it is put together, columns of helpers twice.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn bytes(shape: &StepShape) -> u64 {
        let plan = Plan::new(shape);
        let cells = (shape.n_blocks() + 1) * plan.rows * (plan.limb_columns() + 2 * plan.aux_columns());
        (shape.n_blocks() * size_of::<Update>() + Table::new(shape).len * size_of::<u64>() + cells * size_of::<Fr>())
            as u64
    }

    fn constants_at(&self, block: usize) -> &StepConstants {
        match &self.switch {
            Some((at, other)) if block >= *at => other,
            _ => &self.constants,
        }
    }

    fn build(
        shape: &StepShape,
        constants: StepConstants,
        switch: Option<(usize, StepConstants)>,
        mut updates: Vec<Update>,
        check: Check,
    ) -> Result<Self, WitnessError> {
        if updates.len() > shape.n_params {
            return Err(WitnessError::TooMany { got: updates.len(), max: shape.n_params });
        }
        let zero = update(shape.rule, &constants, updates.len(), Cell::default(), 0)?;
        updates.resize(shape.n_blocks(), zero);
        let plan = Plan::new(shape);
        let table = Table::new(shape);
        let mut witness = Self { constants, switch, updates, multiplicity: Vec::new() };
        let mut multiplicity = vec![0u64; table.len];
        for (index, u) in witness.updates.iter().enumerate() {
            for d in &plan.values {
                let x = value(shape.rule, witness.constants_at(index), u, d.quantity);
                for (limb, (_, width)) in limbs(x, &d.limbs).zip(&d.limbs) {
                    match table.index(*width, limb) {
                        Some(i) => multiplicity[i] += 1,
                        None if check == Check::Skip => {}
                        None => {
                            let bits = d.limbs.iter().map(|(_, w)| w).sum();
                            return Err(WitnessError::OutOfRange {
                                quantity: d.quantity.name(),
                                index,
                                value: x,
                                bits,
                            });
                        }
                    }
                }
            }
        }
        witness.multiplicity = multiplicity;
        Ok(witness)
    }

    /// Limb columns, `[limb_columns][n_blocks·rows + constants of the next block]`.
    pub(crate) fn limb_columns(&self, shape: &StepShape, plan: &Plan) -> Vec<Vec<Fr>> {
        let rows = plan.rows;
        let mut columns = vec![vec![Fr::ZERO; (self.updates.len() + 1) * rows]; plan.limb_columns()];
        for block in 0..=self.updates.len() {
            for (slot, value) in constants(self.constants_at(block)).into_iter().enumerate() {
                let (column, row) = plan.place(slot);
                columns[column][block * rows + row] = value;
            }
        }
        for (block, u) in self.updates.iter().enumerate() {
            for d in &plan.values {
                let x = value(shape.rule, self.constants_at(block), u, d.quantity);
                for (limb, (kind, _)) in limbs(x, &d.limbs).zip(&d.limbs) {
                    if let Limb::Cell(slot) = kind {
                        let (column, row) = plan.place(*slot);
                        columns[column][block * rows + row] = field(limb);
                    }
                }
            }
            for entry in 0..plan.table_rows {
                let (column, row) = plan.place(plan.multiplicity_slot(entry));
                let m = self.multiplicity.get(block * plan.table_rows + entry).copied().unwrap_or(0);
                columns[column][block * rows + row] = Fr::from(m);
            }
        }
        columns
    }

    /// Auxiliary columns for the challenges `alpha`, `gamma`: `[aux_columns][n_blocks·rows + 1]`.
    pub(crate) fn aux_columns(&self, shape: &StepShape, plan: &Plan, alpha: Fr, gamma: Fr) -> Vec<Vec<Fr>> {
        let n = self.updates.len();
        let inverses = TableInverses::new(shape, alpha, gamma);
        let helpers = map_parallel(batches(n), |blocks| self.helpers(shape, plan, &inverses, blocks));
        let mut columns = vec![vec![Fr::ZERO; n * plan.rows + 1]; plan.aux_columns()];
        let mut z = Fr::ZERO;
        let per_block = plan.groups.len() + plan.n_table_helpers();
        for (block, helpers) in helpers.iter().flat_map(|batch| batch.chunks(per_block)).enumerate() {
            let mut put = |slot: usize, x: Fr| {
                let (column, row) = plan.place(slot);
                columns[column][block * plan.rows + row] = x;
            };
            put(0, z);
            let (lookups, table) = helpers.split_at(plan.groups.len());
            for (i, h) in lookups.iter().enumerate() {
                z += h;
                put(plan.helper_slot(i), *h);
            }
            for (i, h) in table.iter().enumerate() {
                z -= h;
                put(plan.table_helper_slot(i), *h);
            }
        }
        columns[0][n * plan.rows] = z;
        columns
    }

    /// What a block's lookups look up, as (group, width, limb), group by group.
    fn looked_up<'a>(
        &self,
        shape: &StepShape,
        plan: &'a Plan,
        block: usize,
    ) -> impl Iterator<Item = (usize, u32, i128)> + 'a {
        let u = &self.updates[block];
        let cut: Vec<Vec<i128>> = plan
            .values
            .iter()
            .map(|d| limbs(value(shape.rule, self.constants_at(block), u, d.quantity), &d.limbs).collect())
            .collect();
        plan.groups.iter().enumerate().flat_map(|(group, lookups)| lookups.iter().map(move |l| (group, l))).map(
            move |(group, l)| {
                let width = plan.values[l.value].limbs[l.limb].1;
                (group, width, cut[l.value][l.limb])
            },
        )
    }

    /// For each auxiliary column which table entries' inverses its rows are the sums of, as (row, entry): those of the lookup
    /// helpers. What looks up no entry is left out.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn helper_terms(&self, shape: &StepShape, plan: &Plan) -> Vec<Vec<(u32, u32)>> {
        let table = Table::new(shape);
        let of_batch = |blocks: Range<usize>| {
            let mut columns = vec![Vec::new(); plan.aux_columns()];
            for block in blocks {
                for (group, width, limb) in self.looked_up(shape, plan, block) {
                    let (column, row) = plan.place(plan.helper_slot(group));
                    if let Some(entry) = table.index(width, limb) {
                        columns[column].push(((block * plan.rows + row) as u32, entry as u32));
                    }
                }
            }
            columns
        };
        let mut out = vec![Vec::new(); plan.aux_columns()];
        for batch in map_parallel(batches(self.updates.len()), of_batch) {
            for (all, some) in out.iter_mut().zip(batch) {
                all.extend(some);
            }
        }
        out
    }

    /// Helpers of a range of blocks: for each block its lookup helpers, then its table helpers.
    fn helpers(&self, shape: &StepShape, plan: &Plan, inverses: &TableInverses, blocks: Range<usize>) -> Vec<Fr> {
        let per_block = plan.groups.len() + plan.n_table_helpers();
        let mut out = vec![Fr::ZERO; blocks.len() * per_block];
        for (block, out) in blocks.zip(out.chunks_mut(per_block)) {
            let (lookups, table) = out.split_at_mut(plan.groups.len());
            for (group, width, limb) in self.looked_up(shape, plan, block) {
                lookups[group] += inverses.of(width, limb);
            }
            for row in 0..plan.table_rows {
                let entry = block * plan.table_rows + row;
                let m = self.multiplicity.get(entry).copied().unwrap_or(0);
                table[row / 3] += inverses.at(entry) * Fr::from(m);
            }
        }
        out
    }
}

/// Ranges of blocks that are worked on in parallel.
fn batches(n: usize) -> Vec<Range<usize>> {
    (0..n).step_by(256).map(|first| first..(first + 256).min(n)).collect()
}

/// The inverses of α + γ·width + value for every table entry, which there are fewer of than lookups.
pub(crate) struct TableInverses {
    table: Table,
    alpha: Fr,
    gamma: Fr,
    inverses: Vec<Fr>,
}

impl TableInverses {
    pub(crate) fn new(shape: &StepShape, alpha: Fr, gamma: Fr) -> Self {
        let table = Table::new(shape);
        let entries: Vec<(u32, u64)> = table.entries().collect();
        let inverses = map_parallel(entries.chunks(1 << 12).collect(), |entries: &[(u32, u64)]| {
            let mut out: Vec<Fr> =
                entries.iter().map(|&(width, v)| alpha + gamma * Fr::from(width as u64) + Fr::from(v)).collect();
            batch_invert(&mut out);
            out
        });
        Self { inverses: inverses.concat(), table, alpha, gamma }
    }

    /// Of a limb, which need not be in the table.
    fn of(&self, width: u32, limb: i128) -> Fr {
        match self.table.index(width, limb) {
            Some(entry) => self.inverses[entry],
            None => (self.alpha + self.gamma * Fr::from(width as u64) + field(limb)).invert().unwrap_or(Fr::ZERO),
        }
    }

    /// Of a table row, see [`table_entry`].
    fn at(&self, entry: usize) -> Fr {
        self.inverses.get(entry).copied().unwrap_or(self.inverses[0])
    }

    /// In the order of the entries.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn into_values(self) -> Vec<Fr> {
        self.inverses
    }
}

/// Maps in parallel where the `multicore` feature is on, in order everywhere.
fn map_parallel<A: Send, B: Send>(items: Vec<A>, f: impl Fn(A) -> B + Sync + Send) -> Vec<B> {
    #[cfg(feature = "multicore")]
    {
        use rayon::prelude::*;
        items.into_par_iter().map(f).collect()
    }
    #[cfg(not(feature = "multicore"))]
    {
        items.into_iter().map(f).collect()
    }
}

/// (width, value) at table row `row` of `block`; rows past the table repeat its first entry.
pub(crate) fn table_entry(entries: &[(u32, u64)], plan: &Plan, block: usize, row: usize) -> (u32, u64) {
    entries.get(block * plan.table_rows + row).copied().unwrap_or(entries[0])
}

/// Inverts all elements in place with one inversion; zeros stay zero.
fn batch_invert(values: &mut [Fr]) {
    let mut acc = Fr::ONE;
    let prefix: Vec<Fr> = values
        .iter()
        .map(|v| {
            let before = acc;
            if !bool::from(v.is_zero()) {
                acc *= v;
            }
            before
        })
        .collect();
    // A product of non-zero elements of a field is not zero.
    let mut inverse = acc.invert().unwrap_or(Fr::ZERO);
    for (v, before) in values.iter_mut().zip(prefix).rev() {
        if !bool::from(v.is_zero()) {
            let old = *v;
            *v = inverse * before;
            inverse *= old;
        }
    }
}
