//! Where every value of one parameter sits in its block, and which lookups check it.
//!
//! A block is `rows` consecutive rows. Limb columns hold, in column-major slots, first the constants, then the low
//! limbs of every range-checked value, then the multiplicities of the block's share of the range table. The top limb of a value that is an expression of other cells has no cell of
//! its own: the lookup checks the expression, which at the same time enforces the equation that defines the value.
//! Auxiliary (second-phase) columns hold the running sum, the lookup helpers and the table helpers.

use crate::step::shape::{CONSTANT_SLOTS, StepShape};
use ledger::Rule;

/// Bits that suffice for s, its remainder and the remainder of u: all are below 2⁴² for values in range.
const FREE_BITS: u32 = 42;

/// A range-checked value of one block. Names are the constraint names of `docs/spec/statement.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// w + 2³¹.
    WeightIn,
    /// g + 2³¹.
    Gradient,
    /// w' + 2³¹.
    WeightOut,
    /// m' + 2³¹.
    FirstMomentOut,
    /// v'.
    SecondMomentOut,
    /// Remainder of m': what rounding to nearest drops, below 2³².
    FirstMomentRemainder,
    /// Remainder of v': what rounding up adds, below 2³².
    SecondMomentRemainder,
    /// s.
    Root,
    /// C·v' − s² ≥ 0.
    RootRemainder,
    /// 2s − (C·v' − s²) ≥ 0.
    RootSlack,
    /// u + 2³¹.
    Step,
    /// Remainder of u: 2A·m' + D − 2D·u ≥ 0 with D = s + eps (SGD: of lr·m'/S, below 2³²).
    StepRemainder,
    /// 2D − 1 − remainder of u ≥ 0.
    StepSlack,
    /// Remainder of the weight decay, below 2⁶⁴.
    DecayRemainder,
}

impl Quantity {
    /// Spec name.
    pub fn name(self) -> &'static str {
        match self {
            Self::WeightIn => "w",
            Self::Gradient => "g",
            Self::WeightOut => "w'",
            Self::FirstMomentOut => "m'",
            Self::SecondMomentOut => "v'",
            Self::FirstMomentRemainder => "m'-remainder",
            Self::SecondMomentRemainder => "v'-remainder",
            Self::Root => "s",
            Self::RootRemainder => "s-remainder",
            Self::RootSlack => "s-slack",
            Self::Step => "u",
            Self::StepRemainder => "u-remainder",
            Self::StepSlack => "u-slack",
            Self::DecayRemainder => "decay-remainder",
        }
    }
}

/// Where a limb comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limb {
    /// A cell of the limb columns, at this slot.
    Cell(usize),
    /// The top limb, an expression of this degree in the cells.
    Derived(usize),
}

/// One value cut in limbs, low limb first.
#[derive(Clone, Debug)]
pub struct Decomposition {
    /// The value.
    pub quantity: Quantity,
    /// (limb, width in bits).
    pub limbs: Vec<(Limb, u32)>,
}

impl Decomposition {
    /// Bit positions of the limbs' lowest bits.
    pub fn shifts(&self) -> impl Iterator<Item = u32> + '_ {
        self.limbs.iter().scan(0, |at, (_, width)| {
            let here = *at;
            *at += width;
            Some(here)
        })
    }
}

/// One lookup: limb `limb` of decomposition `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Index into [`Plan::values`].
    pub value: usize,
    /// Index into its limbs.
    pub limb: usize,
}

/// The assignment of slots for one shape.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rows per block.
    pub rows: usize,
    /// All range-checked values.
    pub values: Vec<Decomposition>,
    /// Groups of lookups that share one helper cell each; a group's degrees sum to at most 3.
    pub groups: Vec<Vec<Lookup>>,
    /// Table rows used in each block: the first `table_rows` rows.
    pub table_rows: usize,
    limb_slots: usize,
}

/// Width of the exact ranges, and degree of the expression where the top limb is one.
struct Recipe {
    quantity: Quantity,
    bits: u32,
    derived: Option<usize>,
}

/// The range-checked values of a rule.
///
/// m and v of the state before the step are not among them: they are zero at a fresh start and were checked as m' and
/// v' by the proof of the step before (spec `range-inherited`). w is, because nothing else checks a first state's.
fn recipes(rule: Rule, limb_bits: u32) -> Vec<Recipe> {
    use Quantity::*;
    let full = |bits: u32| bits.div_ceil(limb_bits) * limb_bits;
    let free = full(FREE_BITS);
    let r = |quantity, bits, derived| Recipe { quantity, bits, derived };
    match rule {
        Rule::AdamW => vec![
            r(WeightIn, 32, Some(1)),
            r(Gradient, 32, Some(1)),
            r(WeightOut, 32, Some(1)),
            r(FirstMomentOut, 32, Some(1)),
            r(SecondMomentOut, 63, Some(1)),
            r(FirstMomentRemainder, 32, Some(2)),
            r(SecondMomentRemainder, 32, Some(3)),
            r(Root, free, None),
            r(RootRemainder, free, Some(2)),
            r(RootSlack, free, Some(2)),
            r(Step, full(32), None),
            r(StepRemainder, free, Some(2)),
            r(StepSlack, free, Some(2)),
            r(DecayRemainder, 64, Some(2)),
        ],
        Rule::Sgd => vec![
            r(WeightIn, 32, Some(1)),
            r(Gradient, 32, Some(1)),
            r(WeightOut, 32, Some(1)),
            r(FirstMomentOut, 32, Some(1)),
            r(FirstMomentRemainder, 32, Some(2)),
            r(StepRemainder, 32, Some(2)),
        ],
    }
}

/// Limb widths of a value of `bits` bits, low limb first.
fn widths(bits: u32, limb_bits: u32) -> Vec<u32> {
    let mut left = bits;
    let mut out = Vec::new();
    while left > 0 {
        out.push(left.min(limb_bits));
        left -= left.min(limb_bits);
    }
    out
}

impl Plan {
    /// The plan for a shape. Pure and deterministic: the verifying key depends on it.
    pub fn new(shape: &StepShape) -> Self {
        let mut slot = CONSTANT_SLOTS;
        let mut values = Vec::new();
        for recipe in recipes(shape.rule, shape.limb_bits) {
            let widths = widths(recipe.bits, shape.limb_bits);
            let top = widths.len() - 1;
            let limbs = widths
                .into_iter()
                .enumerate()
                .map(|(i, width)| match recipe.derived {
                    Some(degree) if i == top => (Limb::Derived(degree), width),
                    _ => {
                        slot += 1;
                        (Limb::Cell(slot - 1), width)
                    }
                })
                .collect();
            values.push(Decomposition { quantity: recipe.quantity, limbs });
        }
        let groups = Self::group(&values);
        let table_rows = Self::table_len(shape.rule, shape.limb_bits).div_ceil(shape.n_blocks());
        Self { rows: shape.rows, values, groups, table_rows, limb_slots: slot }
    }

    /// Packs lookups into groups of total degree at most 3, largest first.
    fn group(values: &[Decomposition]) -> Vec<Vec<Lookup>> {
        let mut by_degree: [Vec<Lookup>; 3] = Default::default();
        for (value, d) in values.iter().enumerate() {
            for (limb, (kind, _)) in d.limbs.iter().enumerate() {
                let degree = match kind {
                    Limb::Cell(_) => 1,
                    Limb::Derived(degree) => *degree,
                };
                by_degree[degree - 1].push(Lookup { value, limb });
            }
        }
        let [mut ones, twos, threes] = by_degree;
        ones.reverse();
        let mut groups: Vec<Vec<Lookup>> = threes.into_iter().map(|l| vec![l]).collect();
        groups.extend(twos.into_iter().map(|two| std::iter::once(two).chain(ones.pop()).collect::<Vec<_>>()));
        while !ones.is_empty() {
            groups.push((0..3).filter_map(|_| ones.pop()).collect());
        }
        groups
    }

    /// Distinct limb widths in use, ascending.
    pub fn table_widths(rule: Rule, limb_bits: u32) -> Vec<u32> {
        let mut all: Vec<u32> = recipes(rule, limb_bits).iter().flat_map(|r| widths(r.bits, limb_bits)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Entries of the range table: one for each value of each width.
    pub fn table_len(rule: Rule, limb_bits: u32) -> usize {
        Self::table_widths(rule, limb_bits).iter().map(|w| 1usize << w).sum()
    }

    /// Number of lookups per block.
    pub fn n_lookups(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }

    /// Columns of constants, limbs and multiplicities.
    pub fn limb_columns(&self) -> usize {
        (self.limb_slots + self.table_rows).div_ceil(self.rows)
    }

    /// Slot of the multiplicity of table row `row`.
    pub fn multiplicity_slot(&self, row: usize) -> usize {
        self.limb_slots + row
    }

    /// Table helpers per block, each for up to three table rows.
    pub fn n_table_helpers(&self) -> usize {
        self.table_rows.div_ceil(3)
    }

    /// Second-phase columns: running sum, lookup helpers, table helpers.
    pub fn aux_columns(&self) -> usize {
        (1 + self.groups.len() + self.n_table_helpers()).div_ceil(self.rows)
    }

    /// All advice columns: the state before and after, the gradient, limbs, helpers.
    pub fn advice_columns(&self) -> usize {
        3 + self.limb_columns() + self.aux_columns()
    }

    /// (column, row) of a limb or auxiliary slot.
    pub fn place(&self, slot: usize) -> (usize, usize) {
        (slot / self.rows, slot % self.rows)
    }

    /// Auxiliary slot of the helper of lookup group `group`; slot 0 is the running sum.
    pub fn helper_slot(&self, group: usize) -> usize {
        1 + group
    }

    /// Auxiliary slot of table helper `i`.
    pub fn table_helper_slot(&self, i: usize) -> usize {
        1 + self.groups.len() + i
    }
}
