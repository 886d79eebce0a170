//! Everything a valid witness makes vanish, as one program: gates, permutation and lookups folded with the powers of y.
//!
//! Source: The halo2 book, "Permutation argument" and "Lookup argument". The order of the constraints is that of the
//! library's verifier, first the gates, then the permutation, then the lookups; the first has the highest power of y.

use halo2_proofs::{
    halo2curves::{
        bn256::Fr,
        ff::{Field, PrimeField},
    },
    plonk::{Any, Column as CircuitColumn, ConstraintSystem, Expression},
};

use crate::error::EngineError;
use crate::program::{Builder, Column, Program, Symbol, Value};

/// Columns of one set of the permutation argument.
pub(crate) fn set_len(cs: &ConstraintSystem<Fr>) -> usize {
    cs.degree() - 2
}

/// Rotation from a row to the last usable row's place when the row is the first.
pub(crate) fn last_rotation(cs: &ConstraintSystem<Fr>) -> i32 {
    -(cs.blinding_factors() as i32 + 1)
}

/// A permuted column as a program reads it.
pub(crate) fn permuted(column: &CircuitColumn<Any>) -> Column {
    match column.column_type() {
        Any::Advice(_) => Column::Advice(column.index()),
        Any::Fixed => Column::Fixed(column.index()),
        Any::Instance => Column::Instance(column.index()),
    }
}

/// One constraint; a factor that it shares with others is kept apart.
struct Constraint {
    factor: Option<Value>,
    rest: Value,
}

/// The numerator of the quotient.
///
/// Errors: [`EngineError::Unsupported`].
pub(crate) fn numerator(cs: &ConstraintSystem<Fr>) -> Result<Program, EngineError> {
    let mut b = Builder::default();
    let mut constraints = Vec::new();
    for gate in cs.gates() {
        for polynomial in gate.polynomials() {
            if polynomial.degree() > cs.degree() {
                return Err(EngineError::Unsupported(format!(
                    "gate {:?} has degree {}, the key allows {}",
                    gate.name(),
                    polynomial.degree(),
                    cs.degree()
                )));
            }
            constraints.push(gate_constraint(&mut b, polynomial)?);
        }
    }
    permutation(&mut b, cs, &mut constraints);
    lookups(&mut b, cs, &mut constraints)?;
    let result = fold(&mut b, constraints);
    Ok(b.finish(result))
}

/// The expressions of one side of a lookup, folded with the powers of θ.
///
/// Errors: [`EngineError::Unsupported`].
pub(crate) fn compressed(expressions: &[Expression<Fr>]) -> Result<Program, EngineError> {
    let mut b = Builder::default();
    let result = compress(&mut b, expressions)?;
    Ok(b.finish(result))
}

fn compress(b: &mut Builder, expressions: &[Expression<Fr>]) -> Result<Value, EngineError> {
    let theta = b.symbol(Symbol::Theta);
    let mut sum = b.constant(Fr::ZERO);
    for expression in expressions {
        let term = b.expression(expression)?;
        let scaled = b.mul(sum, theta);
        sum = b.add(scaled, term);
    }
    Ok(sum)
}

/// `Σ y^{m−1−i}·c_i`, the constraints of one factor together.
fn fold(b: &mut Builder, constraints: Vec<Constraint>) -> Value {
    let y = b.symbol(Symbol::Y);
    let mut power = b.constant(Fr::ONE);
    let mut groups: Vec<(Option<Value>, Value)> = Vec::new();
    for Constraint { factor, rest } in constraints.into_iter().rev() {
        let term = b.mul(rest, power);
        match groups.iter_mut().find(|(f, _)| *f == factor) {
            Some((_, sum)) => *sum = b.add(*sum, term),
            None => groups.push((factor, term)),
        }
        power = b.mul(power, y);
    }
    let mut result = b.constant(Fr::ZERO);
    for (factor, sum) in groups {
        let term = match factor {
            Some(factor) => b.mul(factor, sum),
            None => sum,
        };
        result = b.add(result, term);
    }
    result
}

/// A gate's polynomial, divided by the first fixed column it is a multiple of.
fn gate_constraint(b: &mut Builder, polynomial: &Expression<Fr>) -> Result<Constraint, EngineError> {
    Ok(match without_fixed_factor(polynomial) {
        Some((factor, rest)) => {
            let factor = Some(b.expression(&factor)?);
            Constraint { factor, rest: b.expression(&rest)? }
        }
        None => Constraint { factor: None, rest: b.expression(polynomial)? },
    })
}

/// `(q, r)` with `expression = q·r` and `q` a query of a fixed column.
fn without_fixed_factor(expression: &Expression<Fr>) -> Option<(Expression<Fr>, Expression<Fr>)> {
    let Expression::Product(a, b) = expression else { return None };
    match (&**a, &**b) {
        (Expression::Fixed(_), _) => Some(((**a).clone(), (**b).clone())),
        (_, Expression::Fixed(_)) => Some(((**b).clone(), (**a).clone())),
        _ => {
            if let Some((factor, rest)) = without_fixed_factor(a) {
                Some((factor, rest * (**b).clone()))
            } else {
                without_fixed_factor(b).map(|(factor, rest)| (factor, (**a).clone() * rest))
            }
        }
    }
}

fn permutation(b: &mut Builder, cs: &ConstraintSystem<Fr>, out: &mut Vec<Constraint>) {
    let columns = cs.permutation().get_columns();
    if columns.is_empty() {
        return;
    }
    let n_sets = columns.len().div_ceil(set_len(cs));
    let (first, last, active) = (b.query(Column::First, 0), b.query(Column::Last, 0), b.query(Column::Active, 0));
    let (beta, gamma) = (b.symbol(Symbol::Beta), b.symbol(Symbol::Gamma));
    let one = b.constant(Fr::ONE);
    let product = b.query(Column::Product(0), 0);
    let rest = b.sub(one, product);
    out.push(Constraint { factor: Some(first), rest });
    let product = b.query(Column::Product(n_sets - 1), 0);
    out.push(Constraint { factor: Some(last), rest: boolean(b, product) });
    for set in 1..n_sets {
        let (here, before) = (b.query(Column::Product(set), 0), b.query(Column::Product(set - 1), last_rotation(cs)));
        let rest = b.sub(here, before);
        out.push(Constraint { factor: Some(first), rest });
    }
    let point = b.query(Column::Point, 0);
    let mut shift = beta;
    let delta = b.constant(Fr::DELTA);
    for (set, columns) in columns.chunks(set_len(cs)).enumerate() {
        let mut left = b.query(Column::Product(set), 1);
        let mut right = b.query(Column::Product(set), 0);
        for (j, column) in columns.iter().enumerate() {
            let value = b.query(permuted(column), 0);
            let value = b.add(value, gamma);
            let sigma = b.query(Column::Sigma(set * set_len(cs) + j), 0);
            for (side, label, factor) in [(&mut left, sigma, beta), (&mut right, point, shift)] {
                let label = b.mul(label, factor);
                let term = b.add(value, label);
                *side = b.mul(*side, term);
            }
            shift = b.mul(shift, delta);
        }
        let rest = b.sub(left, right);
        out.push(Constraint { factor: Some(active), rest });
    }
}

/// `z² − z`.
fn boolean(b: &mut Builder, z: Value) -> Value {
    let square = b.mul(z, z);
    b.sub(square, z)
}

fn lookups(b: &mut Builder, cs: &ConstraintSystem<Fr>, out: &mut Vec<Constraint>) -> Result<(), EngineError> {
    for (l, lookup) in cs.lookups().iter().enumerate() {
        let side = |e: &[Expression<Fr>]| e.iter().map(Expression::degree).max().unwrap_or(1).max(1);
        let degree = 2 + side(lookup.input_expressions()) + side(lookup.table_expressions());
        if degree > cs.degree() {
            return Err(EngineError::Unsupported(format!(
                "lookup {:?} has degree {degree}, the key allows {}",
                lookup.name(),
                cs.degree()
            )));
        }
        let (first, last, active) = (b.query(Column::First, 0), b.query(Column::Last, 0), b.query(Column::Active, 0));
        let (beta, gamma) = (b.symbol(Symbol::Beta), b.symbol(Symbol::Gamma));
        let one = b.constant(Fr::ONE);
        let (product, next) = (b.query(Column::LookupProduct(l), 0), b.query(Column::LookupProduct(l), 1));
        let (input, above) = (b.query(Column::Input(l), 0), b.query(Column::Input(l), -1));
        let table = b.query(Column::Table(l), 0);
        let rest = b.sub(one, product);
        out.push(Constraint { factor: Some(first), rest });
        out.push(Constraint { factor: Some(last), rest: boolean(b, product) });
        let mut left = next;
        for (value, symbol) in [(input, beta), (table, gamma)] {
            let term = b.add(value, symbol);
            left = b.mul(left, term);
        }
        let mut right = product;
        for (expressions, symbol) in [(lookup.input_expressions(), beta), (lookup.table_expressions(), gamma)] {
            let term = compress(b, expressions)?;
            let term = b.add(term, symbol);
            right = b.mul(right, term);
        }
        let rest = b.sub(left, right);
        out.push(Constraint { factor: Some(active), rest });
        let difference = b.sub(input, table);
        out.push(Constraint { factor: Some(first), rest: difference });
        let step = b.sub(input, above);
        let rest = b.mul(difference, step);
        out.push(Constraint { factor: Some(active), rest });
    }
    Ok(())
}
