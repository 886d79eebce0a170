//! Everything a valid witness makes vanish, as programs: gates, permutation and lookups folded with the powers of y.
//!
//! The sum is computed in parts, so that few columns are needed on a coset at a time.
//!
//! Source: The halo2 book, "Permutation argument" and "Lookup argument". The order of the constraints is that of the
//! library's verifier, first the gates, then the permutation, then the lookups; the first has the highest power of y.

use std::collections::BTreeSet;

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

/// Parts that read together no more columns than this are one.
const COLUMNS_AT_ONCE: usize = 8;

/// One constraint; a factor that it shares with others is kept apart.
struct Constraint {
    /// The power of y that it is folded with.
    power: usize,
    factor: Option<Value>,
    rest: Value,
}

/// Constraints that read the same columns.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// All polynomials of a gate.
    Gate(usize),
    /// One set of permuted columns.
    Set(usize),
    /// One lookup.
    Lookup(usize),
}

/// A summand of the numerator.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) program: Program,
    /// Columns that it reads.
    pub(crate) reads: Vec<Column>,
    /// Those of them that no part before reads.
    pub(crate) loads: Vec<Column>,
    /// Those of them that no later part reads.
    pub(crate) drops: Vec<Column>,
}

/// The numerator of the quotient is the sum of these, in the order in which they need the fewest columns at a time.
///
/// Errors: [`EngineError::Unsupported`].
pub(crate) fn numerator(cs: &ConstraintSystem<Fr>) -> Result<Vec<Part>, EngineError> {
    let powers = Powers::new(cs);
    let program = |sources: &[Source]| -> Result<Program, EngineError> {
        let mut b = Builder::default();
        let mut constraints = Vec::new();
        for source in sources {
            match *source {
                Source::Gate(g) => gate(&mut b, cs, &powers, g, &mut constraints)?,
                Source::Set(i) => set(&mut b, cs, &powers, i, &mut constraints),
                Source::Lookup(l) => lookup(&mut b, cs, &powers, l, &mut constraints)?,
            }
        }
        let result = fold(&mut b, constraints);
        Ok(b.finish(result))
    };
    let all = (0..cs.gates().len()).map(Source::Gate);
    let all = all.chain((0..powers.sets).map(Source::Set)).chain((0..cs.lookups().len()).map(Source::Lookup));
    let mut left: Vec<(Source, Vec<Column>)> =
        all.map(|source| Ok((source, program(&[source])?.columns()))).collect::<Result<_, EngineError>>()?;

    let mut groups: Vec<(Vec<Source>, BTreeSet<Column>)> = Vec::new();
    let mut seen: BTreeSet<Column> = BTreeSet::new();
    while let Some(next) = (0..left.len()).min_by_key(|i| left[*i].1.iter().filter(|c| !seen.contains(c)).count()) {
        let (source, columns) = left.remove(next);
        seen.extend(&columns);
        match groups.last_mut() {
            Some((sources, read)) if read.union(&columns.iter().copied().collect()).count() <= COLUMNS_AT_ONCE => {
                sources.push(source);
                read.extend(columns);
            }
            _ => groups.push((vec![source], columns.into_iter().collect())),
        }
    }
    let mut loaded: BTreeSet<Column> = BTreeSet::new();
    let mut parts = Vec::with_capacity(groups.len());
    for (i, (sources, read)) in groups.iter().enumerate() {
        let later = |c: &Column| groups[i + 1..].iter().any(|(_, read)| read.contains(c));
        parts.push(Part {
            program: program(sources)?,
            reads: read.iter().copied().collect(),
            loads: read.iter().copied().filter(|c| loaded.insert(*c)).collect(),
            drops: read.iter().copied().filter(|c| !later(c)).collect(),
        });
    }
    Ok(parts)
}

/// Which power of y each constraint has.
struct Powers {
    /// Constraints in all.
    total: usize,
    /// Place of the first polynomial of each gate.
    gates: Vec<usize>,
    /// Place of the first constraint of the permutation.
    permutation: usize,
    /// Sets of permuted columns.
    sets: usize,
    /// Place of the first constraint of the lookups.
    lookups: usize,
}

/// Constraints of a lookup.
const OF_LOOKUP: usize = 5;

impl Powers {
    fn new(cs: &ConstraintSystem<Fr>) -> Self {
        let mut permutation = 0;
        let gates = cs
            .gates()
            .iter()
            .map(|gate| {
                let start = permutation;
                permutation += gate.polynomials().len();
                start
            })
            .collect();
        let sets = cs.permutation().get_columns().len().div_ceil(set_len(cs));
        // The first and the last value; where each set starts but the first; the products.
        let lookups = permutation + if sets == 0 { 0 } else { 2 + (sets - 1) + sets };
        Self { total: lookups + OF_LOOKUP * cs.lookups().len(), gates, permutation, sets, lookups }
    }

    /// The power of the constraint in a place: the first has the highest.
    fn at(&self, place: usize) -> usize {
        self.total - 1 - place
    }
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

/// `Σ y^power·c`, the constraints of one factor together.
fn fold(b: &mut Builder, constraints: Vec<Constraint>) -> Value {
    let y = b.symbol(Symbol::Y);
    let mut powers = vec![b.constant(Fr::ONE)];
    let mut groups: Vec<(Option<Value>, Value)> = Vec::new();
    for Constraint { power, factor, rest } in constraints.into_iter().rev() {
        while powers.len() <= power {
            let next = b.mul(powers[powers.len() - 1], y);
            powers.push(next);
        }
        let term = b.mul(rest, powers[power]);
        match groups.iter_mut().find(|(f, _)| *f == factor) {
            Some((_, sum)) => *sum = b.add(*sum, term),
            None => groups.push((factor, term)),
        }
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

/// Refuses what has a higher degree than the library counted for the key.
fn check_degree(cs: &ConstraintSystem<Fr>, what: &str, name: &str, degree: usize) -> Result<(), EngineError> {
    if degree > cs.degree() {
        let allowed = cs.degree();
        return Err(EngineError::Unsupported(format!("{what} {name:?} has degree {degree}, the key allows {allowed}")));
    }
    Ok(())
}

/// A gate's polynomials, each divided by the first fixed column it is a multiple of.
fn gate(
    b: &mut Builder,
    cs: &ConstraintSystem<Fr>,
    powers: &Powers,
    number: usize,
    out: &mut Vec<Constraint>,
) -> Result<(), EngineError> {
    let gate = &cs.gates()[number];
    for (i, polynomial) in gate.polynomials().iter().enumerate() {
        check_degree(cs, "gate", gate.name(), polynomial.degree())?;
        let power = powers.at(powers.gates[number] + i);
        out.push(match without_fixed_factor(polynomial) {
            Some((factor, rest)) => {
                let factor = Some(b.expression(&factor)?);
                Constraint { power, factor, rest: b.expression(&rest)? }
            }
            None => Constraint { power, factor: None, rest: b.expression(polynomial)? },
        });
    }
    Ok(())
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

/// One set of permuted columns: where its running product starts, its steps, and where the last set's ends.
fn set(b: &mut Builder, cs: &ConstraintSystem<Fr>, powers: &Powers, number: usize, out: &mut Vec<Constraint>) {
    let (first, last, active) = (b.query(Column::First, 0), b.query(Column::Last, 0), b.query(Column::Active, 0));
    let (beta, gamma) = (b.symbol(Symbol::Beta), b.symbol(Symbol::Gamma));
    let product = b.query(Column::Product(number), 0);
    // Places: the first value, the last, the starts of the later sets, the products.
    let (start, place) = match number {
        0 => (b.constant(Fr::ONE), 0),
        _ => (b.query(Column::Product(number - 1), last_rotation(cs)), 1 + number),
    };
    let rest = if number == 0 { b.sub(start, product) } else { b.sub(product, start) };
    out.push(Constraint { power: powers.at(powers.permutation + place), factor: Some(first), rest });
    if number + 1 == powers.sets {
        let rest = boolean(b, product);
        out.push(Constraint { power: powers.at(powers.permutation + 1), factor: Some(last), rest });
    }
    let point = b.query(Column::Point, 0);
    let delta = b.constant(Fr::DELTA.pow_vartime([(number * set_len(cs)) as u64]));
    let mut shift = b.mul(beta, delta);
    let delta = b.constant(Fr::DELTA);
    let mut left = b.query(Column::Product(number), 1);
    let mut right = product;
    let columns = cs.permutation().get_columns();
    for (j, column) in columns.iter().enumerate().skip(number * set_len(cs)).take(set_len(cs)) {
        let value = b.query(permuted(column), 0);
        let value = b.add(value, gamma);
        let sigma = b.query(Column::Sigma(j), 0);
        for (side, label, factor) in [(&mut left, sigma, beta), (&mut right, point, shift)] {
            let label = b.mul(label, factor);
            let term = b.add(value, label);
            *side = b.mul(*side, term);
        }
        shift = b.mul(shift, delta);
    }
    let rest = b.sub(left, right);
    let place = powers.permutation + 1 + powers.sets + number;
    out.push(Constraint { power: powers.at(place), factor: Some(active), rest });
}

/// `z² − z`.
fn boolean(b: &mut Builder, z: Value) -> Value {
    let square = b.mul(z, z);
    b.sub(square, z)
}

fn lookup(
    b: &mut Builder,
    cs: &ConstraintSystem<Fr>,
    powers: &Powers,
    number: usize,
    out: &mut Vec<Constraint>,
) -> Result<(), EngineError> {
    let lookup = &cs.lookups()[number];
    let side = |e: &[Expression<Fr>]| e.iter().map(Expression::degree).max().unwrap_or(1).max(1);
    let degree = 2 + side(lookup.input_expressions()) + side(lookup.table_expressions());
    check_degree(cs, "lookup", lookup.name(), degree)?;
    let (first, last, active) = (b.query(Column::First, 0), b.query(Column::Last, 0), b.query(Column::Active, 0));
    let (beta, gamma) = (b.symbol(Symbol::Beta), b.symbol(Symbol::Gamma));
    let one = b.constant(Fr::ONE);
    let (product, next) = (b.query(Column::LookupProduct(number), 0), b.query(Column::LookupProduct(number), 1));
    let (input, above) = (b.query(Column::Input(number), 0), b.query(Column::Input(number), -1));
    let table = b.query(Column::Table(number), 0);
    let start = b.sub(one, product);
    let end = boolean(b, product);
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
    let step = b.sub(left, right);
    let difference = b.sub(input, table);
    let change = b.sub(input, above);
    let repeated = b.mul(difference, change);
    let constraints: [(Value, Value); OF_LOOKUP] =
        [(first, start), (last, end), (active, step), (first, difference), (active, repeated)];
    for (i, (factor, rest)) in constraints.into_iter().enumerate() {
        let power = powers.at(powers.lookups + OF_LOOKUP * number + i);
        out.push(Constraint { power, factor: Some(factor), rest });
    }
    Ok(())
}
