//! Choice of the step circuit's shape: limb width, rows per parameter, number of columns, k.
//!
//! Source: `docs/spec/statement.md`, section "Shape".

use crate::step::plan::Plan;
use ledger::Rule;

/// Rows that the last block's successor, blinding and the unusable row may need beyond the blocks.
const fn tail_rows(rows: usize) -> usize {
    // The columns are queried at no more than `rows + 8` rotations; halo2 adds 2 blinding rows and one unusable row.
    (rows + CONSTANT_SLOTS) + (rows + CONSTANT_SLOTS + 4)
}

/// Constants carried from block to block: fresh, β1, β2, A, C, eps, decay.
pub const CONSTANT_SLOTS: usize = 7;
/// Smallest and largest limb width in bits.
pub const LIMB_BITS: std::ops::RangeInclusive<u32> = 4..=16;
/// Smallest and largest k.
pub const K_RANGE: std::ops::RangeInclusive<u32> = 8..=22;
/// Most rows one parameter may take; more rows mean more rotations, and evaluation cost grows with them.
const ROWS_MAX: usize = 64;
/// Fewest rows one parameter may take. A limb column is queried at each row of a block, and halo2 gives every column as many
/// blinding rows as the most queried one needs: with 3 or 4 rows that is fewer than the openings of a linked state column
/// and their margin ([`crate::keys::check_links`]).
const ROWS_MIN: usize = 5;

/// Shape of a step circuit: everything that, with the SRS, determines its verifying key.
///
/// Shape: one parameter ("block") takes `rows` consecutive rows of every column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StepShape {
    /// The update rule.
    pub rule: Rule,
    /// Parameters in one chunk, at least 1.
    pub n_params: usize,
    /// log2 of the number of rows.
    pub k: u32,
    /// Width of a full limb in bits.
    pub limb_bits: u32,
    /// Rows per parameter.
    pub rows: usize,
}

/// Why no shape exists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// A chunk needs at least one parameter.
    #[error("a chunk needs at least one parameter")]
    Empty,
    /// The parameters do not fit any supported k.
    #[error("{n_params} parameters per chunk do not fit a circuit of 2^{k_max} rows; cut the step in more chunks")]
    TooLarge {
        /// Parameters asked for.
        n_params: usize,
        /// Largest k tried.
        k_max: u32,
    },
    /// A text is no shape.
    #[error("{got:?} is no step shape; expected like \"adamw n=2410 k=15 limb_bits=14 rows=12\"")]
    Text {
        /// What was found.
        got: String,
    },
    /// A given shape is not consistent.
    #[error("shape {what} = {got} is outside {expected}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// Value found.
        got: usize,
        /// What is allowed.
        expected: String,
    },
}

impl StepShape {
    /// The cheapest shape for `n_params` parameters by the cost model below, `k ≤ k_max`.
    ///
    /// Errors: [`ShapeError::Empty`], [`ShapeError::TooLarge`].
    pub fn choose(rule: Rule, n_params: usize, k_max: u32) -> Result<Self, ShapeError> {
        let candidates = Self::candidates(rule, n_params, k_max)?;
        candidates.into_iter().next().ok_or(ShapeError::TooLarge { n_params, k_max })
    }

    /// All shapes that [`Self::choose`] chooses from, one for each `k ≤ k_max` and limb width, the cheapest first.
    ///
    /// Errors: [`ShapeError::Empty`].
    pub fn candidates(rule: Rule, n_params: usize, k_max: u32) -> Result<Vec<Self>, ShapeError> {
        if n_params == 0 {
            return Err(ShapeError::Empty);
        }
        let ks = *K_RANGE.start()..=k_max.min(*K_RANGE.end());
        let mut all: Vec<Self> =
            ks.flat_map(|k| LIMB_BITS.filter_map(move |limb_bits| Self::at(rule, n_params, k, limb_bits))).collect();
        // Equally cheap ones stay in their order: the smallest first.
        all.sort_by(|a, b| a.cost().total_cmp(&b.cost()));
        Ok(all)
    }

    /// The cheapest shape with this k.
    ///
    /// Errors: as [`Self::choose`].
    pub fn choose_at(rule: Rule, n_params: usize, k: u32) -> Result<Self, ShapeError> {
        if n_params == 0 {
            return Err(ShapeError::Empty);
        }
        LIMB_BITS
            .filter_map(|limb_bits| Self::at(rule, n_params, k, limb_bits))
            .min_by(|a, b| a.cost().total_cmp(&b.cost()))
            .ok_or(ShapeError::TooLarge { n_params, k_max: k })
    }

    /// The shape with the most rows per parameter at this `k` and limb width, if the parameters fit.
    pub fn at(rule: Rule, n_params: usize, k: u32, limb_bits: u32) -> Option<Self> {
        if !LIMB_BITS.contains(&limb_bits) || !K_RANGE.contains(&k) || n_params == 0 {
            return None;
        }
        let upper = ((1usize << k) / n_params).min(ROWS_MAX);
        let shape = |rows| Self { rule, n_params, k, limb_bits, rows };
        let most = (ROWS_MIN..=upper).rev().find(|&rows| shape(rows).check().is_ok())?;
        // Fewer rows with the same number of columns cost less in rotations: take the smallest that keeps the columns.
        let columns = |rows: usize| {
            let plan = Plan::new(&shape(rows));
            (plan.limb_columns(), plan.aux_columns())
        };
        let wanted = columns(most);
        (ROWS_MIN..=most).find(|&rows| shape(rows).check().is_ok() && columns(rows) == wanted).map(shape)
    }

    /// Checks that the blocks, the range table and the blinding rows fit.
    ///
    /// Errors: [`ShapeError::Invalid`].
    pub fn check(&self) -> Result<(), ShapeError> {
        let invalid = |what, got, expected: String| Err(ShapeError::Invalid { what, got, expected });
        if self.n_params == 0 {
            return Err(ShapeError::Empty);
        }
        if !LIMB_BITS.contains(&self.limb_bits) {
            return invalid("limb_bits", self.limb_bits as usize, format!("{LIMB_BITS:?}"));
        }
        if !K_RANGE.contains(&self.k) {
            return invalid("k", self.k as usize, format!("{K_RANGE:?}"));
        }
        if !(ROWS_MIN..=ROWS_MAX).contains(&self.rows) {
            return invalid("rows", self.rows, format!("{ROWS_MIN}..={ROWS_MAX}"));
        }
        let needed = self.n_blocks().saturating_mul(self.rows).saturating_add(tail_rows(self.rows));
        if needed > 1 << self.k {
            return invalid("k", self.k as usize, format!("2^k ≥ {needed} rows"));
        }
        Ok(())
    }

    /// Blocks in the circuit: one per parameter, and more (all zero) where the range table is longer than they are.
    pub fn n_blocks(&self) -> usize {
        self.n_params.max(Plan::table_len(self.rule, self.limb_bits).div_ceil(self.rows))
    }

    /// Rough seconds for one step: proving it and its share of the epoch proof.
    ///
    /// Source: measured on the reference machine, `docs/adr/0002-step-circuit.md`; only ratios matter.
    fn cost(&self) -> f64 {
        const SECONDS_PER_CELL: f64 = 3.2e-6; // one cell of one column: commitment and transforms
        const SECONDS_PER_TERM: f64 = 2.2e-8; // one term of the gate on one row of the extended domain
        const SECONDS_PER_POINT: f64 = 0.5; // one commitment in the epoch proof (quarter weight: epochs are proved apart)
        let plan = Plan::new(self);
        let n = (1u64 << self.k) as f64;
        let columns = plan.advice_columns() as f64;
        let terms = (plan.n_lookups() * 10 + 120) as f64;
        n * (columns + 11.0) * SECONDS_PER_CELL
            + 4.0 * n * terms * SECONDS_PER_TERM / 2.0
            + (columns + 7.0) * SECONDS_PER_POINT
    }
}

impl std::fmt::Display for StepShape {
    /// `adamw n=2410 k=15 limb_bits=14 rows=12`: what [`StepShape::from_str`] reads.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rule = match self.rule {
            Rule::AdamW => "adamw",
            Rule::Sgd => "sgd",
        };
        write!(f, "{rule} n={} k={} limb_bits={} rows={}", self.n_params, self.k, self.limb_bits, self.rows)
    }
}

impl std::str::FromStr for StepShape {
    type Err = ShapeError;

    /// Errors: [`ShapeError::Text`], and those of [`StepShape::check`].
    fn from_str(text: &str) -> Result<Self, ShapeError> {
        let bad = || ShapeError::Text { got: text.chars().take(100).collect() };
        let mut words = text.split(' ');
        let rule = match words.next() {
            Some("adamw") => Rule::AdamW,
            Some("sgd") => Rule::Sgd,
            _ => return Err(bad()),
        };
        let mut number = |name: &str| {
            let value = words.next().and_then(|w| w.strip_prefix(name)).and_then(|w| w.strip_prefix('='));
            value.and_then(|v| v.parse::<u32>().ok()).ok_or_else(bad)
        };
        let shape = Self {
            rule,
            n_params: number("n")? as usize,
            k: number("k")?,
            limb_bits: number("limb_bits")?,
            rows: number("rows")? as usize,
        };
        if words.next().is_some() {
            return Err(bad());
        }
        shape.check()?;
        Ok(shape)
    }
}
