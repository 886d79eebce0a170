//! Polynomial expressions → Yul.
//!
//! The EVM reaches sixteen stack slots and Yul pushes the modulus before the operands, so deeply nested calls do not
//! compile. Shallow operands are nested; everything else goes through a few variables, allocated as by Sethi and
//! Ullman: the operand that needs more of them is computed first.

use std::ops::{Add, Mul, Neg, Sub};

use halo2_proofs::{
    arithmetic::Field,
    halo2curves::{bn256::Fr, ff::PrimeField},
};

/// Variables available to an expression.
pub const N_VARIABLES: usize = 6;
/// Calls nested in one operand at most.
const NESTING: usize = 2;

/// An expression over words below the modulus.
#[derive(Clone, Debug)]
pub enum Expr {
    /// A constant.
    Constant(Fr),
    /// Yul that reads a word below the modulus and has no effect.
    Word(String),
    /// −a.
    Negated(Box<Expr>),
    /// a + b.
    Sum(Box<Expr>, Box<Expr>),
    /// a·b.
    Product(Box<Expr>, Box<Expr>),
}

impl Expr {
    /// A word in memory.
    pub fn mload(mptr: &str) -> Self {
        Self::Word(format!("mload({mptr})"))
    }

    /// A word in calldata.
    pub fn calldataload(cptr: &str) -> Self {
        Self::Word(format!("calldataload({cptr})"))
    }

    /// Calls nested when written as one term.
    fn depth(&self) -> usize {
        match self {
            Self::Constant(_) | Self::Word(_) => 0,
            Self::Negated(a) => 1 + a.depth(),
            Self::Sum(a, b) | Self::Product(a, b) => 1 + a.depth().max(b.depth()),
        }
    }

    fn is_inline(&self) -> bool {
        self.depth() <= NESTING
    }

    /// Variables needed.
    fn variables(&self) -> usize {
        if self.is_inline() {
            return 1;
        }
        match self {
            Self::Constant(_) | Self::Word(_) => 1,
            Self::Negated(a) => a.variables(),
            Self::Sum(a, b) | Self::Product(a, b) => match (a.is_inline(), b.is_inline()) {
                (true, _) => b.variables(),
                (_, true) => a.variables(),
                _ if a.variables() == b.variables() => a.variables() + 1,
                _ => a.variables().max(b.variables()),
            },
        }
    }

    /// The expression as one term; only for what is shallow.
    pub fn statement_operand(&self) -> String {
        self.inline()
    }

    fn inline(&self) -> String {
        match self {
            Self::Constant(c) => literal(c),
            Self::Word(text) => text.clone(),
            Self::Negated(a) => format!("sub(r, {})", a.inline()),
            Self::Sum(a, b) => format!("addmod({}, {}, r)", a.inline(), b.inline()),
            Self::Product(a, b) => format!("mulmod({}, {}, r)", a.inline(), b.inline()),
        }
    }

    /// Statements that leave the value in `t0`, which is below the modulus or, after a negation of 0, the modulus.
    /// None if [`N_VARIABLES`] are too few.
    pub fn statements(&self) -> Option<Vec<String>> {
        (self.variables() <= N_VARIABLES).then(|| {
            let mut out = Vec::new();
            self.emit(0, &mut out);
            out
        })
    }

    fn emit(&self, target: usize, out: &mut Vec<String>) {
        if self.is_inline() {
            out.push(format!("t{target} := {}", self.inline()));
            return;
        }
        match self {
            Self::Constant(_) | Self::Word(_) => {}
            Self::Negated(a) => {
                a.emit(target, out);
                out.push(format!("t{target} := sub(r, t{target})"));
            }
            Self::Sum(a, b) => emit_binary("addmod", a, b, target, out),
            Self::Product(a, b) => emit_binary("mulmod", a, b, target, out),
        }
    }
}

fn emit_binary(op: &str, a: &Expr, b: &Expr, target: usize, out: &mut Vec<String>) {
    let (first, second) = if b.variables() > a.variables() || a.is_inline() { (b, a) } else { (a, b) };
    first.emit(target, out);
    if second.is_inline() {
        out.push(format!("t{target} := {op}({}, t{target}, r)", second.inline()));
    } else {
        second.emit(target + 1, out);
        out.push(format!("t{target} := {op}(t{}, t{target}, r)", target + 1));
    }
}

impl Neg for Expr {
    type Output = Self;
    fn neg(self) -> Self {
        match self {
            Self::Constant(c) => Self::Constant(-c),
            Self::Negated(a) => *a,
            other => Self::Negated(Box::new(other)),
        }
    }
}

impl Add for Expr {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => Self::Constant(a + b),
            (Self::Constant(c), x) | (x, Self::Constant(c)) if bool::from(c.is_zero()) => x,
            (a, b) => Self::Sum(Box::new(a), Box::new(b)),
        }
    }
}

impl Sub for Expr {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Expr {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => Self::Constant(a * b),
            (Self::Constant(c), x) | (x, Self::Constant(c)) => {
                if c == Fr::ONE {
                    x
                } else if c == -Fr::ONE {
                    -x
                } else if bool::from(c.is_zero()) {
                    Self::Constant(c)
                } else {
                    Self::Product(Box::new(Self::Constant(c)), Box::new(x))
                }
            }
            (a, b) => Self::Product(Box::new(a), Box::new(b)),
        }
    }
}

/// A constant as Yul: small ones decimal, the rest as a full word; negatives of small ones by their distance to the
/// modulus, which is shorter in code.
pub fn literal(value: &Fr) -> String {
    if let Some(small) = small(value) {
        return small.to_string();
    }
    match small(&-value) {
        Some(distance) => format!("sub(r, {distance})"),
        None => word(value.to_repr().as_ref()),
    }
}

fn small(value: &Fr) -> Option<u64> {
    let bytes = value.to_repr();
    let bytes: &[u8] = bytes.as_ref();
    let (low, high) = bytes.split_at(8);
    (high.iter().all(|b| *b == 0)).then(|| low.iter().rev().fold(0, |acc, b| acc << 8 | u64::from(*b)))
}

/// Little-endian bytes as a hexadecimal word.
pub fn word(little_endian: &[u8]) -> String {
    let bytes: Vec<u8> = little_endian.iter().rev().copied().collect();
    format!("0x{}", hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(i: usize) -> Expr {
        Expr::Word(format!("w{i}"))
    }

    #[test]
    fn long_chains_need_one_variable() {
        let chain = (0..100).map(leaf).reduce(|a, b| a + b).expect("not empty");
        let statements = chain.statements().expect("fits");
        assert!(statements.iter().all(|s| s.starts_with("t0 := ")));
        assert!(statements.len() > 90);
    }

    #[test]
    fn too_wide_a_tree_is_refused() {
        let mut tree = leaf(0);
        for _ in 0..=(N_VARIABLES + NESTING) {
            tree = tree.clone() * tree;
        }
        assert_eq!(tree.statements(), None);
    }

    #[test]
    fn constants_are_folded() {
        let one = Expr::Constant(Fr::ONE);
        let zero = Expr::Constant(Fr::ZERO);
        assert_eq!((leaf(1) * one.clone()).inline(), "w1");
        assert_eq!((leaf(1) * -one).inline(), "sub(r, w1)");
        assert_eq!((leaf(1) * zero.clone()).inline(), "0");
        assert_eq!((leaf(1) + zero).inline(), "w1");
        assert_eq!((-(-leaf(1))).inline(), "w1");
    }

    #[test]
    fn literals_are_the_shorter_of_value_and_distance() {
        assert_eq!(literal(&Fr::from(7)), "7");
        assert_eq!(literal(&-Fr::from(7)), "sub(r, 7)");
        assert_eq!(literal(&Fr::from(7).invert().expect("not zero")).len(), 66);
    }
}
