//! Expressions as a straight-line program over columns.
//!
//! Built once for a key: equal subexpressions are computed once, what does not depend on the row is computed once for a
//! proof, and the rest runs instruction by instruction over blocks of rows, so that operands are found in the cache.

use std::{collections::HashMap, mem};

use halo2_proofs::{halo2curves::bn256::Fr, halo2curves::ff::Field, plonk::Expression};
use rayon::prelude::*;

use crate::error::EngineError;
#[cfg(target_arch = "x86_64")]
use crate::{
    fma::{self, Fma},
    ifma::{self, Ifma},
    kernel::Kernel,
};

/// Rows that one instruction works on at a time.
pub(crate) const BLOCK: usize = 64;

/// A column that a program reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Column {
    /// Advice column.
    Advice(usize),
    /// Fixed column.
    Fixed(usize),
    /// Instance column.
    Instance(usize),
    /// 1 at the first row.
    First,
    /// 1 at the last usable row.
    Last,
    /// 1 at the rows before it.
    Active,
    /// The row's point itself.
    Point,
    /// Permutation of the j-th column of the argument.
    Sigma(usize),
    /// Running product of the j-th set of permuted columns.
    Product(usize),
    /// Permuted input of a lookup.
    Input(usize),
    /// Permuted table of a lookup.
    Table(usize),
    /// Running product of a lookup.
    LookupProduct(usize),
}

/// A quantity that is the same in all rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Symbol {
    /// Challenge of the circuit.
    Challenge(usize),
    /// Folds the expressions of a lookup.
    Theta,
    /// Argument of the permutation and lookups.
    Beta,
    /// Argument of the permutation and lookups.
    Gamma,
    /// Folds the constraints.
    Y,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ScalarNode {
    Constant(usize),
    Symbol(Symbol),
    Add(usize, usize),
    Mul(usize, usize),
    Neg(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Node {
    Query(Column, i32),
    Add(usize, usize),
    Sub(usize, usize),
    Mul(usize, usize),
    Square(usize),
    Double(usize),
    Neg(usize),
    AddScalar(usize, usize),
    MulScalar(usize, usize),
}

/// A value while a program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    /// The same in all rows.
    Scalar(usize),
    /// One for each row.
    Rows(usize),
}

/// Builds a program from the bottom up.
#[derive(Default)]
pub(crate) struct Builder {
    constants: Vec<Fr>,
    scalars: Vec<ScalarNode>,
    scalar_ids: HashMap<ScalarNode, usize>,
    nodes: Vec<Node>,
    node_ids: HashMap<Node, usize>,
}

impl Builder {
    fn scalar(&mut self, node: ScalarNode) -> Value {
        let scalars = &mut self.scalars;
        Value::Scalar(*self.scalar_ids.entry(node).or_insert_with(|| {
            scalars.push(node);
            scalars.len() - 1
        }))
    }

    fn rows(&mut self, node: Node) -> Value {
        let nodes = &mut self.nodes;
        Value::Rows(*self.node_ids.entry(node).or_insert_with(|| {
            nodes.push(node);
            nodes.len() - 1
        }))
    }

    /// A constant.
    pub(crate) fn constant(&mut self, value: Fr) -> Value {
        let i = self.constants.iter().position(|c| *c == value).unwrap_or_else(|| {
            self.constants.push(value);
            self.constants.len() - 1
        });
        self.scalar(ScalarNode::Constant(i))
    }

    /// A quantity known when the program runs.
    pub(crate) fn symbol(&mut self, symbol: Symbol) -> Value {
        self.scalar(ScalarNode::Symbol(symbol))
    }

    /// A column, rotated.
    pub(crate) fn query(&mut self, column: Column, rotation: i32) -> Value {
        self.rows(Node::Query(column, rotation))
    }

    fn known(&self, value: Value) -> Option<Fr> {
        match value {
            Value::Scalar(id) => match self.scalars[id] {
                ScalarNode::Constant(i) => Some(self.constants[i]),
                _ => None,
            },
            Value::Rows(_) => None,
        }
    }

    /// `a + b`.
    pub(crate) fn add(&mut self, a: Value, b: Value) -> Value {
        match (self.known(a), self.known(b)) {
            (Some(x), Some(y)) => return self.constant(x + y),
            (Some(x), _) if x == Fr::ZERO => return b,
            (_, Some(y)) if y == Fr::ZERO => return a,
            _ => {}
        }
        match (a, b) {
            (Value::Scalar(a), Value::Scalar(b)) => self.scalar(ScalarNode::Add(a.min(b), a.max(b))),
            (Value::Rows(a), Value::Scalar(s)) | (Value::Scalar(s), Value::Rows(a)) => self.rows(Node::AddScalar(a, s)),
            (Value::Rows(a), Value::Rows(b)) => match (self.nodes[a], self.nodes[b]) {
                (_, Node::Neg(b)) => self.sub(Value::Rows(a), Value::Rows(b)),
                (Node::Neg(a), _) => self.sub(Value::Rows(b), Value::Rows(a)),
                _ if a == b => self.rows(Node::Double(a)),
                _ => self.rows(Node::Add(a.min(b), a.max(b))),
            },
        }
    }

    /// `-a`.
    pub(crate) fn neg(&mut self, a: Value) -> Value {
        if let Some(x) = self.known(a) {
            return self.constant(-x);
        }
        match a {
            Value::Scalar(a) => self.scalar(ScalarNode::Neg(a)),
            Value::Rows(a) => match self.nodes[a] {
                Node::Neg(inner) => Value::Rows(inner),
                Node::Sub(x, y) => self.rows(Node::Sub(y, x)),
                _ => self.rows(Node::Neg(a)),
            },
        }
    }

    /// `a − b`.
    pub(crate) fn sub(&mut self, a: Value, b: Value) -> Value {
        match (a, b) {
            (Value::Rows(x), Value::Rows(y)) if x != y => self.rows(Node::Sub(x, y)),
            (Value::Rows(x), Value::Rows(y)) if x == y => self.constant(Fr::ZERO),
            _ => {
                let b = self.neg(b);
                self.add(a, b)
            }
        }
    }

    /// `a·b`.
    pub(crate) fn mul(&mut self, a: Value, b: Value) -> Value {
        for (known, other) in [(self.known(a), b), (self.known(b), a)] {
            let Some(x) = known else { continue };
            if let Some(y) = self.known(other) {
                return self.constant(x * y);
            }
            if x == Fr::ZERO {
                return self.constant(x);
            } else if x == Fr::ONE {
                return other;
            } else if x == -Fr::ONE {
                return self.neg(other);
            } else if let (Value::Rows(other), true) = (other, x == Fr::ONE.double()) {
                return self.rows(Node::Double(other));
            }
        }
        match (a, b) {
            (Value::Scalar(a), Value::Scalar(b)) => self.scalar(ScalarNode::Mul(a.min(b), a.max(b))),
            (Value::Rows(a), Value::Scalar(s)) | (Value::Scalar(s), Value::Rows(a)) => self.rows(Node::MulScalar(a, s)),
            (Value::Rows(a), Value::Rows(b)) if a == b => self.rows(Node::Square(a)),
            (Value::Rows(a), Value::Rows(b)) => self.rows(Node::Mul(a.min(b), a.max(b))),
        }
    }

    /// A gate's or lookup's expression.
    ///
    /// Errors: [`EngineError::Unsupported`] for a selector that key generation has not replaced.
    pub(crate) fn expression(&mut self, expression: &Expression<Fr>) -> Result<Value, EngineError> {
        Ok(match expression {
            Expression::Constant(value) => self.constant(*value),
            Expression::Selector(s) => {
                return Err(EngineError::Unsupported(format!("selector {} in a finished key", s.index())));
            }
            Expression::Fixed(q) => self.query(Column::Fixed(q.column_index()), q.rotation().0),
            Expression::Advice(q) => self.query(Column::Advice(q.column_index()), q.rotation().0),
            Expression::Instance(q) => self.query(Column::Instance(q.column_index()), q.rotation().0),
            Expression::Challenge(c) => self.symbol(Symbol::Challenge(c.index())),
            Expression::Negated(a) => {
                let a = self.expression(a)?;
                self.neg(a)
            }
            Expression::Sum(a, b) => {
                let (a, b) = (self.expression(a)?, self.expression(b)?);
                self.add(a, b)
            }
            Expression::Product(a, b) => {
                let (a, b) = (self.expression(a)?, self.expression(b)?);
                self.mul(a, b)
            }
            Expression::Scaled(a, factor) => {
                let (a, factor) = (self.expression(a)?, self.constant(*factor));
                self.mul(a, factor)
            }
        })
    }

    /// The program that computes `result`.
    pub(crate) fn finish(self, result: Value) -> Program {
        let Value::Rows(root) = result else {
            return Program { constants: self.constants, scalars: self.scalars, result, ..Program::default() };
        };
        // How often each node is read; nodes that lead nowhere are left out.
        let mut reads = vec![0usize; self.nodes.len()];
        reads[root] = 1;
        for i in (0..=root).rev() {
            if reads[i] > 0 {
                for operand in self.nodes[i].operands().into_iter().flatten() {
                    reads[operand] += 1;
                }
            }
        }
        let mut program = Program { constants: self.constants, scalars: self.scalars, result, ..Program::default() };
        let mut place: Vec<Option<Operand>> = vec![None; self.nodes.len()];
        let mut free: Vec<usize> = Vec::new();
        for (i, node) in self.nodes.iter().enumerate().take(root + 1) {
            if reads[i] == 0 {
                continue;
            }
            if let Node::Query(column, rotation) = *node {
                place[i] = Some(Operand::Query(program.queries.len()));
                program.queries.push((column, rotation));
                continue;
            }
            let target = free.pop().unwrap_or_else(|| {
                program.registers += 1;
                program.registers - 1
            });
            // Nodes come after their operands, which therefore have a place.
            let at = |i: usize| place[i].unwrap_or(Operand::Query(0));
            program.instructions.push((
                target,
                match *node {
                    Node::Query(..) => continue,
                    Node::Add(a, b) => Op::Add(at(a), at(b)),
                    Node::Sub(a, b) => Op::Sub(at(a), at(b)),
                    Node::Mul(a, b) => Op::Mul(at(a), at(b)),
                    Node::Square(a) => Op::Square(at(a)),
                    Node::Double(a) => Op::Double(at(a)),
                    Node::Neg(a) => Op::Neg(at(a)),
                    Node::AddScalar(a, s) => Op::AddScalar(at(a), s),
                    Node::MulScalar(a, s) => Op::MulScalar(at(a), s),
                },
            ));
            place[i] = Some(Operand::Register(target));
            for operand in node.operands().into_iter().flatten() {
                reads[operand] -= 1;
                if let (0, Some(Operand::Register(register))) = (reads[operand], place[operand]) {
                    free.push(register);
                }
            }
        }
        program.output = place[root];
        program
    }
}

impl Node {
    fn operands(&self) -> [Option<usize>; 2] {
        match *self {
            Self::Query(..) => [None, None],
            Self::Add(a, b) | Self::Sub(a, b) | Self::Mul(a, b) => [Some(a), Some(b)],
            Self::Square(a) | Self::Double(a) | Self::Neg(a) | Self::AddScalar(a, _) | Self::MulScalar(a, _) => {
                [Some(a), None]
            }
        }
    }
}

/// Where an instruction finds a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operand {
    Register(usize),
    Query(usize),
}

/// One instruction; scalars by their number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Add(Operand, Operand),
    Sub(Operand, Operand),
    Mul(Operand, Operand),
    Square(Operand),
    Double(Operand),
    Neg(Operand),
    AddScalar(Operand, usize),
    MulScalar(Operand, usize),
}

/// A finished program.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    constants: Vec<Fr>,
    scalars: Vec<ScalarNode>,
    queries: Vec<(Column, i32)>,
    pub(crate) registers: usize,
    /// Which register, and what goes there.
    pub(crate) instructions: Vec<(usize, Op)>,
    result: Value,
    pub(crate) output: Option<Operand>,
}

impl Default for Program {
    fn default() -> Self {
        Self {
            constants: Vec::new(),
            scalars: Vec::new(),
            queries: Vec::new(),
            registers: 0,
            instructions: Vec::new(),
            result: Value::Scalar(0),
            output: None,
        }
    }
}

impl Program {
    /// The columns it reads, each once.
    pub(crate) fn columns(&self) -> Vec<Column> {
        let mut columns: Vec<Column> = self.queries.iter().map(|(column, _)| *column).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Runs the program for all `n` rows; rotations wrap.
    pub(crate) fn run<'a>(
        &self,
        n: usize,
        symbol: impl Fn(Symbol) -> Fr,
        column: impl Fn(Column) -> &'a [Fr],
    ) -> Vec<Fr> {
        let mut out = vec![Fr::ZERO; n];
        self.add_to(&mut out, symbol, column);
        out
    }

    /// Adds what the program gives to `out`, which has a value for each row; rotations wrap.
    pub(crate) fn add_to<'a>(
        &self,
        out: &mut [Fr],
        symbol: impl Fn(Symbol) -> Fr,
        column: impl Fn(Column) -> &'a [Fr],
    ) {
        let scalars = self.scalars(symbol);
        if let Value::Scalar(id) = self.result {
            return out.par_iter_mut().with_min_len(1 << 10).for_each(|x| *x += scalars[id]);
        }
        let columns: Vec<&[Fr]> = self.queries.iter().map(|(c, _)| column(*c)).collect();
        let n = out.len();
        let block = BLOCK.min(n);
        let new = || (Machine::new(self, &scalars, block), vec![Fr::ZERO; block]);
        out.par_chunks_mut(block).enumerate().with_min_len(4).for_each_init(new, |(machine, result), (b, out)| {
            machine.run(self, b * block, n, &columns, &scalars, result);
            out.iter_mut().zip(result).for_each(|(x, r)| *x += *r);
        });
    }

    fn scalars(&self, symbol: impl Fn(Symbol) -> Fr) -> Vec<Fr> {
        let mut values: Vec<Fr> = Vec::with_capacity(self.scalars.len());
        for node in &self.scalars {
            values.push(match *node {
                ScalarNode::Constant(i) => self.constants[i],
                ScalarNode::Symbol(s) => symbol(s),
                ScalarNode::Add(a, b) => values[a] + values[b],
                ScalarNode::Mul(a, b) => values[a] * values[b],
                ScalarNode::Neg(a) => -values[a],
            });
        }
        values
    }
}

/// Working space of one thread.
struct Machine {
    registers: Vec<Vec<Fr>>,
    wrapped: Vec<Vec<Fr>>,
    #[cfg(target_arch = "x86_64")]
    eights: Eights,
}

/// What runs a program for eight rows at a time.
#[cfg(target_arch = "x86_64")]
enum Eights {
    Ifma(Ifma, ifma::RowMachine),
    Fma(Fma, fma::RowMachine),
    None,
}

#[cfg(target_arch = "x86_64")]
impl Eights {
    fn new(program: &Program, scalars: &[Fr]) -> Self {
        match Kernel::detect() {
            Kernel::Ifma(shown) => Self::Ifma(shown, ifma::RowMachine::default()),
            Kernel::Fma(shown) => Self::Fma(shown, fma::RowMachine::new(shown, program, scalars)),
            Kernel::Portable => Self::None,
        }
    }
}

impl Machine {
    fn new(program: &Program, scalars: &[Fr], block: usize) -> Self {
        let registers = program.registers;
        #[cfg(target_arch = "x86_64")]
        let eights = if block == BLOCK { Eights::new(program, scalars) } else { Eights::None };
        #[cfg(target_arch = "x86_64")]
        let registers = if matches!(eights, Eights::None) { registers } else { 0 };
        Self {
            registers: vec![vec![Fr::ZERO; block]; registers],
            wrapped: Vec::new(),
            #[cfg(target_arch = "x86_64")]
            eights,
        }
    }

    fn run(&mut self, program: &Program, row: usize, n: usize, columns: &[&[Fr]], scalars: &[Fr], out: &mut [Fr]) {
        let rows = out.len();
        self.wrapped.clear();
        let starts: Vec<usize> =
            program.queries.iter().map(|(_, r)| (row as i64 + i64::from(*r)).rem_euclid(n as i64) as usize).collect();
        // Blocks that run over the last row are put together first.
        for (column, &start) in columns.iter().zip(&starts) {
            if start + rows > n {
                let (head, tail) = (&column[start..], &column[..start + rows - n]);
                self.wrapped.push([head, tail].concat());
            }
        }
        let mut wrapped = self.wrapped.iter();
        let queries: Vec<&[Fr]> = columns
            .iter()
            .zip(&starts)
            .map(|(column, &start)| match start + rows > n {
                true => wrapped.next().map_or(&[][..], Vec::as_slice),
                false => &column[start..start + rows],
            })
            .collect();
        #[cfg(target_arch = "x86_64")]
        match &mut self.eights {
            Eights::Ifma(shown, machine) => return machine.run(*shown, program, &queries, scalars, out),
            Eights::Fma(shown, machine) => return machine.run(*shown, &queries, out),
            Eights::None => {}
        }
        for (target, op) in &program.instructions {
            // The target is no operand: a register is free only after the instruction that reads it last.
            let mut result = mem::take(&mut self.registers[*target]);
            let at = |operand: &Operand| match operand {
                Operand::Register(r) => self.registers[*r].as_slice(),
                Operand::Query(q) => queries[*q],
            };
            let into = result.iter_mut();
            match op {
                Op::Add(a, b) => into.zip(at(a)).zip(at(b)).for_each(|((r, a), b)| *r = *a + b),
                Op::Sub(a, b) => into.zip(at(a)).zip(at(b)).for_each(|((r, a), b)| *r = *a - b),
                Op::Mul(a, b) => into.zip(at(a)).zip(at(b)).for_each(|((r, a), b)| *r = *a * b),
                Op::Square(a) => into.zip(at(a)).for_each(|(r, a)| *r = a.square()),
                Op::Double(a) => into.zip(at(a)).for_each(|(r, a)| *r = a.double()),
                Op::Neg(a) => into.zip(at(a)).for_each(|(r, a)| *r = -*a),
                Op::AddScalar(a, s) => into.zip(at(a)).for_each(|(r, a)| *r = *a + scalars[*s]),
                Op::MulScalar(a, s) => into.zip(at(a)).for_each(|(r, a)| *r = *a * scalars[*s]),
            }
            self.registers[*target] = result;
        }
        match program.output {
            Some(Operand::Register(r)) => out.copy_from_slice(&self.registers[r][..rows]),
            Some(Operand::Query(q)) => out.copy_from_slice(queries[q]),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::samples::elements;

    #[test]
    fn random_programs_compute_what_was_asked() {
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            let n = [8, BLOCK, 2 * BLOCK][seed as usize % 3];
            let columns: Vec<Vec<Fr>> = (0..4).map(|c| elements(n, 10 * seed + c)).collect();
            let challenge = Fr::random(&mut rng);
            let mut b = Builder::default();
            // Each value beside what it should be in each row.
            let mut values: Vec<(Value, Vec<Fr>)> = Vec::new();
            for (c, column) in columns.iter().enumerate() {
                for rotation in [0, 1] {
                    let mut rows = column.clone();
                    rows.rotate_left(rotation);
                    values.push((b.query(Column::Advice(c), rotation as i32), rows));
                }
            }
            for constant in [-Fr::ONE.double(), Fr::from(7), Fr::random(&mut rng)] {
                values.push((b.constant(constant), vec![constant; n]));
            }
            values.push((b.symbol(Symbol::Y), vec![challenge; n]));
            for _ in 0..rng.gen_range(1..60) {
                // The latest more often: long chains are what bounds are about.
                let recent = values.len() - values.len().min(6);
                let mut pick = || match rng.r#gen() {
                    true => rng.gen_range(recent..values.len()),
                    false => rng.gen_range(0..values.len()),
                };
                let ((a, x), (c, y)) = (values[pick()].clone(), values[pick()].clone());
                let rows = |f: fn(Fr, Fr) -> Fr| x.iter().zip(&y).map(|(x, y)| f(*x, *y)).collect();
                values.push(match rng.gen_range(0..5) {
                    0 | 1 => (b.add(a, c), rows(|x, y| x + y)),
                    2 => (b.sub(a, c), rows(|x, y| x - y)),
                    3 => (b.mul(a, c), rows(|x, y| x * y)),
                    _ => (b.neg(a), rows(|x, _| -x)),
                });
            }
            let (result, want) = values.swap_remove(values.len() - 1);
            let column = |c| match c {
                Column::Advice(i) => columns[i].as_slice(),
                _ => &[],
            };
            assert!(b.finish(result).run(n, |_| challenge, column) == want, "seed {seed}");
        }
    }
}
