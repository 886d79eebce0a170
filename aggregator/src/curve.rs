//! Incomplete addition and doubling on BN254's G1 (spec `epoch`, ids `msm-add`, `msm-double`).
//!
//! In a chain of additions the ordinate of the running sum is never reduced: the line through the last two points
//! gives it, `y = −(λ·(x − x₀) + y₀)`, and the next equation uses that expression. An addition costs two reductions
//! instead of three.
//!
//! Nothing here checks that the points of an addition differ in x; if they are equal, the slope is free. The caller
//! shows that this can't happen ([`crate::msm`]).

use halo2_base::{
    AssignedValue, Context,
    QuantumCell::Constant,
    gates::{GateInstructions, RangeInstructions},
};
use halo2_proofs::halo2curves::{
    CurveAffine,
    bn256::{Fq, Fr, G1Affine},
    ff::Field,
};

use crate::fq::{Element, Factor, FqChip};
use crate::statement::Point;

/// A point with both coordinates.
#[derive(Clone, Debug)]
pub struct Affine {
    /// Abscissa.
    pub x: Element,
    /// Ordinate.
    pub y: Element,
}

impl From<&Point> for Affine {
    fn from(point: &Point) -> Self {
        Self { x: point.x().into(), y: point.y().into() }
    }
}

impl Affine {
    /// The point as a curve point; the identity if it is none.
    pub fn value(&self) -> G1Affine {
        Option::from(G1Affine::from_xy(self.x.value(), self.y.value())).unwrap_or_default()
    }

    /// The point with the sign of its ordinate as a factor.
    pub fn signed(&self, sign: Factor) -> Summand<'_> {
        Summand { x: &self.x, y: &self.y, sign }
    }
}

/// A point to add: (x, sign·y).
#[derive(Clone, Copy, Debug)]
pub struct Summand<'a> {
    /// Abscissa.
    pub x: &'a Element,
    /// Ordinate up to sign.
    pub y: &'a Element,
    /// Sign of the ordinate.
    pub sign: Factor,
}

/// The line through the last two points of a chain: `y = −(slope·run + sign·reference)`, where `run = x − x₀` and
/// (x₀, sign·reference) is on the line.
#[derive(Clone, Debug)]
struct Line {
    slope: Element,
    run: Element,
    reference: Element,
    sign: Factor,
}

/// Ordinate of a running sum.
#[derive(Clone, Debug)]
enum Ordinate {
    Known(Box<Element>),
    Line(Box<Line>),
}

impl Ordinate {
    fn value(&self) -> Fq {
        match self {
            Self::Known(y) => y.value(),
            Self::Line(line) => -(line.slope.value() * line.run.value() + line.sign.of(line.reference.value())),
        }
    }
}

/// A running sum.
#[derive(Clone, Debug)]
pub struct Running {
    x: Element,
    y: Ordinate,
}

impl From<&Affine> for Running {
    fn from(point: &Affine) -> Self {
        Self { x: point.x.clone(), y: Ordinate::Known(Box::new(point.y.clone())) }
    }
}

/// Point arithmetic.
#[derive(Clone, Copy, Debug)]
pub struct CurveChip<'a> {
    fq: FqChip<'a>,
}

/// a/b, or 0: an honest prover never divides by zero.
fn quotient(a: Fq, b: Fq) -> Fq {
    Option::<Fq>::from(b.invert()).map_or(Fq::ZERO, |inverse| a * inverse)
}

impl<'a> CurveChip<'a> {
    /// On `fq`.
    pub fn new(fq: FqChip<'a>) -> Self {
        Self { fq }
    }

    /// The field.
    pub fn fq(&self) -> &FqChip<'a> {
        &self.fq
    }

    /// `sum + point`, where the two differ in x (`msm-add`).
    pub fn add(&self, ctx: &mut Context<Fr>, sum: &Running, point: Summand<'_>) -> Running {
        let across = self.fq.difference(ctx, &sum.x, point.x);
        let rise = sum.y.value() - point.sign.of(point.y.value());
        let slope = self.fq.witness(ctx, quotient(rise, across.value()));
        // slope·(x − x_P) − y + y_P = 0
        match &sum.y {
            Ordinate::Known(y) => {
                self.fq.vanishes(ctx, &[(&slope, &across)], &[(Factor::Minus, y), (point.sign, point.y)]);
            }
            Ordinate::Line(line) => {
                let products = [(&slope, &across), (&line.slope, &line.run)];
                self.fq.vanishes(ctx, &products, &[(line.sign, &line.reference), (point.sign, point.y)]);
            }
        }
        let x = self.third(ctx, &slope, &[(Factor::Minus, &sum.x), (Factor::Minus, point.x)]);
        let run = self.fq.difference(ctx, &x, point.x);
        let line = Line { slope, run, reference: point.y.clone(), sign: point.sign };
        Running { x, y: Ordinate::Line(Box::new(line)) }
    }

    /// `2·point`; no point of the curve has y = 0 (`msm-double`).
    pub fn double(&self, ctx: &mut Context<Fr>, point: &Affine) -> Running {
        let twice = self.fq.multiple(ctx, &point.y, 2);
        let thrice = self.fq.multiple(ctx, &point.x, -3);
        let (x, y) = (point.x.value(), point.y.value());
        let slope = self.fq.witness(ctx, quotient(x.square() * Fq::from(3), y.double()));
        // slope·2y − 3x² = 0
        self.fq.vanishes(ctx, &[(&slope, &twice), (&point.x, &thrice)], &[]);
        let x = self.third(ctx, &slope, &[(Factor::Times(-2), &point.x)]);
        let run = self.fq.difference(ctx, &x, &point.x);
        let line = Line { slope, run, reference: point.y.clone(), sign: Factor::Plus };
        Running { x, y: Ordinate::Line(Box::new(line)) }
    }

    /// `(2·Σ bit_j·2^j + 1)·point` for the cells `bits`, which are constrained to 0 or 1, lowest first (`wrap-multiple`).
    ///
    /// Complete for every point of the group and fewer than 250 bits: the running sum is m·point with an odd m from 1 on, and each
    /// addition is of 2m·point and ±point, where 2m is neither 1 nor −1 modulo the group's order.
    pub fn odd_multiple(&self, ctx: &mut Context<Fr>, point: &Affine, bits: &[AssignedValue<Fr>]) -> Running {
        let gate = self.fq.range().gate();
        let mut sum = Running::from(point);
        for bit in bits.iter().rev() {
            let sign = gate.mul_add(ctx, *bit, Constant(Fr::from(2)), Constant(-Fr::ONE));
            let settled = self.settle(ctx, &sum);
            sum = self.double(ctx, &settled);
            sum = self.add(ctx, &sum, point.signed(Factor::Sign(sign)));
        }
        sum
    }

    /// Makes the ordinate an element.
    pub fn settle(&self, ctx: &mut Context<Fr>, sum: &Running) -> Affine {
        let y = match &sum.y {
            Ordinate::Known(y) => Element::clone(y),
            Ordinate::Line(line) => {
                let y = self.fq.witness(ctx, sum.y.value());
                let linear = [(line.sign, &line.reference), (Factor::Plus, &y)];
                self.fq.vanishes(ctx, &[(&line.slope, &line.run)], &linear);
                y
            }
        };
        Affine { x: sum.x.clone(), y }
    }

    /// `slope² + terms`, the abscissa of the third point of a line.
    fn third(&self, ctx: &mut Context<Fr>, slope: &Element, terms: &[(Factor, &Element)]) -> Element {
        let value = terms.iter().fold(slope.value().square(), |sum, (c, x)| sum + c.of(x.value()));
        let third = self.fq.witness(ctx, value);
        let mut linear = terms.to_vec();
        linear.push((Factor::Minus, &third));
        self.fq.vanishes(ctx, &[(slope, slope)], &linear);
        third
    }
}
