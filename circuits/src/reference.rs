//! The update rules in plain integers: the oracle for tests, witnesses and trainers.
//!
//! Source: `docs/spec/statement.md` (ids `adamw-*`, `sgd-*`, `schedule-*`). Every other implementation, in any
//! language, is compared with this one through `testdata/reference/`.
//!
//! Scale: w, g, m are Q24 (raw / 2²⁴); v is Q48; β1, β2, P1, P2, lr, weight decay, A, eps and s are Q32; C is Q16.
//! Rounding: `round(x / y)` is `⌊(2x + y) / 2y⌋` (halves go up) and `ceil` is exact.

use ledger::{Hyper, Rule, Schedule};

/// 2³², the denominator of all Q32 quantities.
pub const S: u64 = Hyper::ONE;
/// Half of the signed range of w, g and m: raw values satisfy −2³¹ ≤ raw < 2³¹.
pub const SIGNED_LIMIT: i64 = 1 << 31;
/// Exclusive upper bound of v.
pub const V_LIMIT: u64 = 1 << 63;
/// Exclusive upper bound of s, the scaled root of v'; with it `2(s + eps)` fits 42 bits.
pub const ROOT_LIMIT: u64 = 1 << 40;
/// Exclusive upper bound of A_t. Checked by the epoch circuit and by every verifier of a step.
pub const A_LIMIT: u64 = 1 << 48;
/// Exclusive upper bound of C_t. Checked by the epoch circuit and by every verifier of a step.
pub const C_LIMIT: u64 = 1 << 40;
/// Inclusive upper bound of eps; its lower bound is 1.
pub const EPS_MAX: u64 = S;

/// The constants that one step's gate reads, in the order of the step instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepConstants {
    /// Whether the state must be a fresh one (m = v = 0).
    pub fresh: bool,
    /// β1 or momentum.
    pub beta1: u64,
    /// β2.
    pub beta2: u64,
    /// A_t.
    pub a: u64,
    /// C_t.
    pub c: u64,
    /// ε.
    pub eps: u64,
    /// AdamW: lr·weight_decay (Q64). SGD: weight_decay (Q32).
    pub decay: u64,
}

/// Why an update has no valid result in format `q24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// A signed Q24 quantity left −2³¹ ≤ raw < 2³¹.
    #[error("{what}[{index}] = {value} is outside −2^31 ≤ raw < 2^31 (Q24: |x| < 128)")]
    Signed {
        /// Name of the quantity.
        what: &'static str,
        /// Index of the parameter.
        index: usize,
        /// Raw value found.
        value: i128,
    },
    /// v left 0 ≤ raw < 2⁶³.
    #[error("{what}[{index}] = {value} is outside 0 ≤ raw < 2^63 (Q48)")]
    SecondMoment {
        /// Name of the quantity.
        what: &'static str,
        /// Index of the parameter.
        index: usize,
        /// Raw value found.
        value: u128,
    },
    /// The root s reached 2⁴⁰.
    #[error("sqrt(C·v')[{index}] = {value} is not below 2^40 (Q32)")]
    Root {
        /// Index of the parameter.
        index: usize,
        /// Raw value found.
        value: u128,
    },
    /// A hyper-parameter is outside its range.
    #[error("{what} = {value} is outside {range}")]
    Hyper {
        /// Name of the hyper-parameter.
        what: &'static str,
        /// Raw value found.
        value: u128,
        /// Allowed raw range.
        range: &'static str,
    },
    /// Vectors of one state differ in length.
    #[error("{what} has {got} entries, expected {expected}")]
    Length {
        /// Name of the vector.
        what: &'static str,
        /// Length of w.
        expected: usize,
        /// Length found.
        got: usize,
    },
    /// A fresh state must have m = v = 0.
    #[error("{what}[{index}] = {value} must be 0 at a fresh start")]
    NotFresh {
        /// Name of the quantity.
        what: &'static str,
        /// Index of the parameter.
        index: usize,
        /// Raw value found.
        value: i128,
    },
}

/// `⌊(2x + y) / 2y⌋` for y > 0: round to nearest, halves up.
fn round_div(x: i128, y: i128) -> i128 {
    (2 * x + y).div_euclid(2 * y)
}

fn signed(what: &'static str, index: usize, value: i128) -> Result<i64, RangeError> {
    if (-(SIGNED_LIMIT as i128)..SIGNED_LIMIT as i128).contains(&value) {
        Ok(value as i64)
    } else {
        Err(RangeError::Signed { what, index, value })
    }
}

fn ensure(what: &'static str, value: u64, ok: bool, range: &'static str) -> Result<(), RangeError> {
    if ok { Ok(()) } else { Err(RangeError::Hyper { what, value: value.into(), range }) }
}

/// Checks every hyper-parameter against its range for `rule`.
///
/// Errors: [`RangeError::Hyper`] naming the first one that is outside.
pub fn check_hyper(rule: Rule, hyper: &Hyper) -> Result<(), RangeError> {
    let below_one = |what, value| ensure(what, value, value < S, "0 ≤ raw < 2^32");
    below_one("beta1", hyper.beta1)?;
    below_one("beta2", hyper.beta2)?;
    below_one("lr", hyper.lr)?;
    below_one("weight_decay", hyper.weight_decay)?;
    match rule {
        Rule::AdamW => ensure("eps", hyper.eps, (1..=EPS_MAX).contains(&hyper.eps), "1 ≤ raw ≤ 2^32"),
        Rule::Sgd => {
            ensure("eps", hyper.eps, hyper.eps == 0, "0 for SGD")?;
            ensure("beta2", hyper.beta2, hyper.beta2 == 0, "0 for SGD")
        }
    }
}

/// (P1, P2) before the first step of a fresh run: 1 exactly.
pub const PRODUCTS_START: (u64, u64) = (S, S);

/// The schedule of the step after a state with products `(P1, P2)` (spec `schedule-p`, `schedule-a`, `schedule-c`).
///
/// AdamW: `P1' = round(P1·β1/S)`, `P2'` likewise, `A = ⌊lr·S/(S − P1')⌋`, `C = ⌊2⁴⁸/(S − P2')⌋`.
/// SGD: P1, P2 unchanged, `A = lr`, `C = 0`.
///
/// Errors: [`RangeError::Hyper`] when a hyper-parameter, A_t or C_t is outside its range.
pub fn next_schedule(rule: Rule, hyper: &Hyper, (p1, p2): (u64, u64)) -> Result<Schedule, RangeError> {
    check_hyper(rule, hyper)?;
    ensure("p1", p1, p1 <= S, "0 ≤ raw ≤ 2^32")?;
    ensure("p2", p2, p2 <= S, "0 ≤ raw ≤ 2^32")?;
    match rule {
        Rule::Sgd => Ok(Schedule { p1, p2, a: hyper.lr, c: 0 }),
        Rule::AdamW => {
            let step = |p: u64, beta: u64| ((p as u128 * beta as u128 + (1 << 31)) >> 32) as u64;
            let (p1, p2) = (step(p1, hyper.beta1), step(p2, hyper.beta2));
            // β < S makes every later product smaller than S, so neither divisor is zero.
            let a = (hyper.lr as u128) * (S as u128) / (S - p1) as u128;
            let c = (1u128 << 48) / (S - p2) as u128;
            if a >= A_LIMIT as u128 {
                return Err(RangeError::Hyper { what: "A_t", value: a, range: "0 ≤ raw < 2^48" });
            }
            if c >= C_LIMIT as u128 {
                return Err(RangeError::Hyper { what: "C_t", value: c, range: "0 ≤ raw < 2^40" });
            }
            Ok(Schedule { p1, p2, a: a as u64, c: c as u64 })
        }
    }
}

impl StepConstants {
    /// Collects the gate's constants for one step.
    pub fn new(rule: Rule, fresh: bool, hyper: &Hyper, schedule: &Schedule) -> Self {
        let decay = match rule {
            // lr and wd are below 2³², so their product fits 64 bits.
            Rule::AdamW => hyper.lr * hyper.weight_decay,
            Rule::Sgd => hyper.weight_decay,
        };
        Self { fresh, beta1: hyper.beta1, beta2: hyper.beta2, a: schedule.a, c: schedule.c, eps: hyper.eps, decay }
    }
}

/// One parameter before the update, raw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Weight, Q24.
    pub w: i64,
    /// First moment or momentum buffer, Q24.
    pub m: i64,
    /// Second moment, Q48; 0 for SGD.
    pub v: u64,
}

/// Everything that one parameter's update computes; the circuit's witness for one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// State before.
    pub before: Cell,
    /// Gradient, Q24.
    pub g: i64,
    /// State after.
    pub after: Cell,
    /// `s = ⌊√(C·v')⌋` (AdamW; SGD 0).
    pub s: u64,
    /// `u` (AdamW: round(A·m'/(s+eps)); SGD: w − w').
    pub u: i64,
}

/// Applies the rule to one parameter.
///
/// Errors: [`RangeError`] naming quantity, `index` and value when an input or a result has no place in `q24`.
pub fn update(rule: Rule, k: &StepConstants, index: usize, before: Cell, g: i64) -> Result<Update, RangeError> {
    let Cell { w, m, v } = before;
    signed("w", index, w.into())?;
    signed("m", index, m.into())?;
    signed("g", index, g.into())?;
    if v >= V_LIMIT || (rule == Rule::Sgd && v != 0) {
        return Err(RangeError::SecondMoment { what: "v", index, value: v.into() });
    }
    if k.fresh && m != 0 {
        return Err(RangeError::NotFresh { what: "m", index, value: m.into() });
    }
    if k.fresh && v != 0 {
        return Err(RangeError::NotFresh { what: "v", index, value: v.into() });
    }
    let (b1, b2, s_one) = (k.beta1 as i128, k.beta2 as i128, S as i128);
    let (w, m, v, g_) = (w as i128, m as i128, v as i128, g as i128);
    match rule {
        Rule::AdamW => {
            let m_next = round_div(b1 * m + (s_one - b1) * g_, s_one);
            let v_next = (b2 * v + (s_one - b2) * g_ * g_ + s_one - 1).div_euclid(s_one);
            if v_next >= V_LIMIT as i128 {
                return Err(RangeError::SecondMoment { what: "v'", index, value: v_next as u128 });
            }
            let s = (k.c as u128 * v_next as u128).isqrt();
            if s >= ROOT_LIMIT as u128 {
                return Err(RangeError::Root { index, value: s });
            }
            let d = s as i128 + k.eps as i128;
            let u = round_div(k.a as i128 * m_next, d);
            let u = signed("u", index, u)?;
            let decay = round_div(k.decay as i128 * w, 1 << 64);
            let w_next = w - u as i128 - decay;
            let after = Cell { w: signed("w'", index, w_next)?, m: signed("m'", index, m_next)?, v: v_next as u64 };
            Ok(Update { before, g, after, s: s as u64, u })
        }
        Rule::Sgd => {
            let m_next = round_div(b1 * m + s_one * g_ + k.decay as i128 * w, s_one);
            let m_next = signed("m'", index, m_next)?;
            let u = round_div(k.a as i128 * m_next as i128, s_one);
            let u = signed("u", index, u)?;
            let w_next = signed("w'", index, w - u as i128)?;
            Ok(Update { before, g, after: Cell { w: w_next, m: m_next, v: 0 }, s: 0, u })
        }
    }
}

/// The state of a whole run (or of one chunk) between two steps.
///
/// Shape: `w`, `m`, `v` all `[n]`, in the order of the run's parameter layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Weights, Q24.
    pub w: Vec<i64>,
    /// First moments, Q24.
    pub m: Vec<i64>,
    /// Second moments, Q48.
    pub v: Vec<u64>,
    /// P1, Q32.
    pub p1: u64,
    /// P2, Q32.
    pub p2: u64,
}

impl State {
    /// A fresh state: m = v = 0, P1 = P2 = 1.
    pub fn fresh(w: Vec<i64>) -> Self {
        let n = w.len();
        let (p1, p2) = PRODUCTS_START;
        Self { w, m: vec![0; n], v: vec![0; n], p1, p2 }
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.w.len()
    }

    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.w.is_empty()
    }

    /// Parameter `i`. Panics if `i` is out of bounds.
    pub fn cell(&self, i: usize) -> Cell {
        Cell { w: self.w[i], m: self.m[i], v: self.v[i] }
    }

    fn check_lengths(&self, gradient: &[i64]) -> Result<(), RangeError> {
        let expected = self.w.len();
        for (what, got) in [("m", self.m.len()), ("v", self.v.len()), ("gradient", gradient.len())] {
            if got != expected {
                return Err(RangeError::Length { what, expected, got });
            }
        }
        Ok(())
    }

    /// Applies one step of `rule` to every parameter; returns the next state and the schedule used.
    ///
    /// Errors: [`RangeError`] naming quantity, index and value; the state is unchanged then.
    pub fn step(
        &self,
        rule: Rule,
        fresh: bool,
        hyper: &Hyper,
        gradient: &[i64],
    ) -> Result<(State, Schedule), RangeError> {
        self.check_lengths(gradient)?;
        let schedule = next_schedule(rule, hyper, (self.p1, self.p2))?;
        let k = StepConstants::new(rule, fresh, hyper, &schedule);
        let mut next = State {
            w: Vec::with_capacity(self.len()),
            m: Vec::with_capacity(self.len()),
            v: Vec::with_capacity(self.len()),
            p1: schedule.p1,
            p2: schedule.p2,
        };
        for (i, &g) in gradient.iter().enumerate() {
            let after = update(rule, &k, i, self.cell(i), g)?.after;
            next.w.push(after.w);
            next.m.push(after.m);
            next.v.push(after.v);
        }
        Ok((next, schedule))
    }

    /// All updates of one step, for the witness.
    ///
    /// Errors: as [`State::step`].
    pub fn updates(&self, rule: Rule, k: &StepConstants, gradient: &[i64]) -> Result<Vec<Update>, RangeError> {
        self.check_lengths(gradient)?;
        gradient.iter().enumerate().map(|(i, &g)| update(rule, k, i, self.cell(i), g)).collect()
    }
}
