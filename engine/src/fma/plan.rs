//! A program as steps on [`Lanes`](super::lanes::Lanes), with as few corrections of their digits as their bounds allow.
//!
//! What a product doubles is not halved: every register holds its value times a power of two that is known beforehand, and
//! what is multiplied with a scalar gets rid of it, because the scalar is made to fit.

use crate::program::{Op, Operand, Program};

/// Units and size of a value, and the power of two that it is too large by. Units and size add up to [`MOST`] at most.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bound {
    units: f64,
    size: f64,
    power: i32,
    /// No digit is negative.
    positive: bool,
}

/// What a value can be settled from.
const MOST: f64 = 7.4;
/// Most that units of the factors of a product may multiply to; then for any other two bounds of theirs.
const UNITS: f64 = 3.0;
const OTHERS: f64 = 5.0;

const LOADED: Bound = Bound { units: 2.0, size: 1.0, power: 0, positive: true };
const SCALAR: Bound = Bound { units: 1.0, size: 1.0, power: 0, positive: false };
/// The size of a settled value.
const SETTLED: f64 = 0.51;

impl Bound {
    /// Of twice the product.
    fn times(self, other: Self) -> Self {
        let size = 0.51 + 0.38 * self.size * other.size;
        Self { units: 1.0, size, power: self.power + other.power + 1, positive: false }
    }

    fn can_be_multiplied(self, other: Self) -> bool {
        self.units * other.units <= UNITS
            && self.units.max(self.size) * other.size <= OTHERS
            && self.size * other.units <= OTHERS
    }

    /// Of `factors[0]·a + factors[1]·b`.
    fn combined(a: Self, b: Self, factors: [f64; 2]) -> Self {
        let [x, y] = factors.map(f64::abs);
        let (mut units, mut size) = (x * a.units + y * b.units, x * a.size + y * b.size);
        // Neither makes the other larger.
        if a.positive && b.positive && factors[0] * factors[1] < 0.0 {
            (units, size) = ((x * a.units).max(y * b.units), (x * a.size).max(y * b.size));
        }
        Self { units, size, power: a.power, positive: false }
    }

    fn total(self) -> f64 {
        self.units + self.size
    }
}

/// A step on the registers that it names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// Rows of a query.
    Load { query: usize, to: usize },
    /// Makes units 1.
    Tidy(usize),
    /// Makes units 1 and the size 0.51.
    Settle(usize),
    /// Halves what has 1 unit.
    Halve(usize),
    /// `factors[0]·a + factors[1]·b`.
    Combine { a: usize, b: usize, factors: [f64; 2], to: usize },
    /// `a + scalar`, which is one of the plan's.
    AddScalar { a: usize, scalar: usize, to: usize },
    /// `2·a·b`.
    Mul { a: usize, b: usize, to: usize },
    /// `2·a·scalar`, which is one of the plan's.
    MulScalar { a: usize, scalar: usize, to: usize },
}

/// Steps, in order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// Numbers of the program's scalars, and the power of two that each is multiplied with.
    pub(super) scalars: Vec<(usize, i32)>,
    pub(super) registers: usize,
    /// Where the result is.
    pub(super) output: Option<usize>,
}

impl Plan {
    pub(super) fn new(program: &Program) -> Self {
        let plan = Self { registers: program.registers, ..Self::default() };
        let mut planner = Planner { bounds: vec![SCALAR; program.registers], loaded: Vec::new(), plan };
        for (target, op) in &program.instructions {
            planner.instruction(*target, op);
        }
        if let Some(output) = &program.output {
            let output = planner.register(output);
            while planner.bounds[output].power > 0 {
                planner.halve(output);
            }
            planner.plan.output = Some(output);
        }
        planner.plan
    }
}

struct Planner {
    /// Of each register.
    bounds: Vec<Bound>,
    /// Register that each query was loaded into.
    loaded: Vec<(usize, usize)>,
    plan: Plan,
}

impl Planner {
    fn instruction(&mut self, to: usize, op: &Op) {
        match op {
            Op::Add(a, b) => self.combine([a, b], [1.0, 1.0], to),
            Op::Sub(a, b) => self.combine([a, b], [1.0, -1.0], to),
            Op::Double(a) => self.combine([a, a], [1.0, 1.0], to),
            Op::Neg(a) => self.combine([a, a], [-1.0, 0.0], to),
            Op::Mul(a, b) => self.multiply([a, b], to),
            Op::Square(a) => self.multiply([a, a], to),
            Op::AddScalar(a, s) => {
                let a = self.register(a);
                if self.bounds[a].total() + SCALAR.total() > MOST {
                    self.settle(a);
                }
                let power = self.bounds[a].power;
                let scalar = self.scalar(*s, power);
                self.bounds[to] = Bound::combined(self.bounds[a], Bound { power, ..SCALAR }, [1.0, 1.0]);
                self.plan.steps.push(Step::AddScalar { a, scalar, to });
            }
            Op::MulScalar(a, s) => {
                let a = self.register(a);
                while !self.bounds[a].can_be_multiplied(SCALAR) {
                    self.reduce(a);
                }
                let scalar = self.scalar(*s, -1 - self.bounds[a].power);
                self.bounds[to] = Bound { power: 0, ..self.bounds[a].times(SCALAR) };
                self.plan.steps.push(Step::MulScalar { a, scalar, to });
            }
        }
    }

    /// The register that an operand is in.
    fn register(&mut self, operand: &Operand) -> usize {
        match *operand {
            Operand::Register(register) => register,
            Operand::Query(query) => match self.loaded.iter().find(|(loaded, _)| *loaded == query) {
                Some((_, register)) => *register,
                None => {
                    let to = self.plan.registers;
                    self.plan.registers += 1;
                    self.bounds.push(LOADED);
                    self.loaded.push((query, to));
                    self.plan.steps.push(Step::Load { query, to });
                    to
                }
            },
        }
    }

    fn scalar(&mut self, number: usize, power: i32) -> usize {
        let scalars = &mut self.plan.scalars;
        scalars.iter().position(|s| *s == (number, power)).unwrap_or_else(|| {
            scalars.push((number, power));
            scalars.len() - 1
        })
    }

    fn multiply(&mut self, factors: [&Operand; 2], to: usize) {
        let [a, b] = factors.map(|operand| self.register(operand));
        while !self.bounds[a].can_be_multiplied(self.bounds[b]) {
            let [x, y] = [self.bounds[a], self.bounds[b]];
            // Units are made fewer at less cost than sizes.
            let first = if x.units.max(y.units) > 1.0 { x.units >= y.units } else { x.size >= y.size };
            self.reduce(if first { a } else { b });
        }
        self.bounds[to] = self.bounds[a].times(self.bounds[b]);
        self.plan.steps.push(Step::Mul { a, b, to });
    }

    fn combine(&mut self, operands: [&Operand; 2], mut factors: [f64; 2], to: usize) {
        let [a, b] = operands.map(|operand| self.register(operand));
        // What is too large by a lower power is doubled on the way, once.
        loop {
            let difference = self.bounds[a].power - self.bounds[b].power;
            match difference {
                0 => break,
                1 => break factors[1] *= 2.0,
                -1 => break factors[0] *= 2.0,
                2.. => self.halve(a),
                _ => self.halve(b),
            }
        }
        let power = self.bounds[a].power.max(self.bounds[b].power);
        while Bound::combined(self.bounds[a], self.bounds[b], factors).total() > MOST {
            let [x, y] = [(a, factors[0]), (b, factors[1])].map(|(at, f)| f.abs() * self.bounds[at].total());
            self.settle(if x >= y { a } else { b });
        }
        self.bounds[to] = Bound { power, ..Bound::combined(self.bounds[a], self.bounds[b], factors) };
        self.plan.steps.push(Step::Combine { a, b, factors, to });
    }

    /// Lowers the units, or the size if there is but one.
    fn reduce(&mut self, register: usize) {
        if self.bounds[register].units > 1.0 { self.tidy(register) } else { self.settle(register) }
    }

    fn tidy(&mut self, register: usize) {
        let bound = &mut self.bounds[register];
        (bound.units, bound.positive) = (1.0, false);
        self.plan.steps.push(Step::Tidy(register));
    }

    fn settle(&mut self, register: usize) {
        let bound = &mut self.bounds[register];
        (bound.units, bound.size, bound.positive) = (1.0, SETTLED, false);
        self.plan.steps.push(Step::Settle(register));
    }

    fn halve(&mut self, register: usize) {
        if self.bounds[register].units > 1.0 {
            self.tidy(register);
        }
        let bound = &mut self.bounds[register];
        (bound.size, bound.power) = (bound.size / 2.0 + 0.5, bound.power - 1);
        self.plan.steps.push(Step::Halve(register));
    }
}

#[cfg(test)]
mod tests {
    use halo2_proofs::halo2curves::{bn256::Fr, ff::Field};

    use super::*;
    use crate::program::{Builder, Column};

    #[test]
    fn powers_of_two_are_brought_together_and_taken_away() {
        let mut b = Builder::default();
        let [x, y] = [0, 1].map(|i| b.query(Column::Advice(i), 0));
        // x²y² comes out times 8, x² times 2, x as it is.
        let (square, product) = (b.mul(x, x), b.mul(x, y));
        let product = b.mul(product, product);
        let sum = b.add(square, product);
        let sum = b.add(sum, x);
        let plan = Plan::new(&b.finish(sum));
        let count = |wanted: fn(&Step) -> bool| plan.steps.iter().filter(|step| wanted(step)).count();
        assert_eq!(count(|s| matches!(s, Step::Load { .. })), 2, "each column once");
        assert_eq!(count(|s| matches!(s, Step::Mul { .. })), 3);
        // 8 meets 2, then 4 meets 1: the larger is halved, the smaller doubled. The result comes times 2.
        assert_eq!(count(|s| matches!(s, Step::Halve(_))), 3, "{:?}", plan.steps);
    }

    #[test]
    fn sums_are_settled_only_when_they_have_to_be() {
        let mut b = Builder::default();
        let columns: Vec<_> = (0..7).map(|i| b.query(Column::Advice(i), 0)).collect();
        let scalar = b.constant(Fr::from(3).invert().expect("not zero"));
        let sum = columns.iter().fold(b.constant(Fr::ZERO), |sum, column| {
            let term = b.mul(*column, scalar);
            b.add(sum, term)
        });
        let plan = Plan::new(&b.finish(sum));
        let settled = plan.steps.iter().filter(|step| matches!(step, Step::Settle(_))).count();
        assert_eq!(settled, 2, "seven terms of 1 unit and size 0.89: {:?}", plan.steps);
        assert_eq!(plan.scalars.len(), 1, "the same scalar with the same power");
    }
}
