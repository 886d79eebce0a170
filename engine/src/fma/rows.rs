//! Straight-line programs, eight rows at a time.
//!
//! Values in registers have 1 unit, those of columns 2, both a size of at most 1; what comes out is reduced.

use std::mem;

use halo2_proofs::halo2curves::{bn256::Fr, ff::PrimeField};

use super::Fma;
use super::lanes::Lanes;
use super::memory::{LANES, load, store};
use crate::program::{BLOCK, Op, Operand, Program};
use crate::words::limbs;

const EIGHTS: usize = BLOCK / LANES;

/// Working space of one thread: a block of rows for each register.
#[derive(Debug, Default)]
pub(crate) struct RowMachine {
    registers: Vec<Vec<Lanes<Fr>>>,
}

impl RowMachine {
    /// Runs the program for one block: `queries` are the rows of each column that it reads.
    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    pub(crate) fn run(&mut self, _: Fma, program: &Program, queries: &[&[Fr]], scalars: &[Fr], out: &mut [Fr]) {
        // SAFETY: `Fma` exists only where the instructions do.
        unsafe { self.run_eights(program, queries, scalars, out) }
    }

    #[target_feature(enable = "avx2,fma")]
    fn run_eights(&mut self, program: &Program, queries: &[&[Fr]], scalars: &[Fr], out: &mut [Fr]) {
        self.registers.resize_with(program.registers, || vec![Lanes::zero(); EIGHTS]);
        let (mut x, mut y) = (Lanes::zero(), Lanes::zero());
        for (target, op) in &program.instructions {
            // The target is no operand: a register is free only after the instruction that reads it last.
            let mut rows = mem::take(&mut self.registers[*target]);
            match op {
                Op::Add(a, b) => {
                    for (i, r) in rows.iter_mut().enumerate() {
                        *r = self.at(queries, a, i, &mut x).plus(self.at(queries, b, i, &mut y)).settled();
                    }
                }
                Op::Sub(a, b) => {
                    for (i, r) in rows.iter_mut().enumerate() {
                        *r = self.at(queries, a, i, &mut x).minus(self.at(queries, b, i, &mut y)).settled();
                    }
                }
                Op::Mul(a, b) => {
                    let both_loaded = matches!((a, b), (Operand::Query(_), Operand::Query(_)));
                    for (i, r) in rows.iter_mut().enumerate() {
                        let mut a = self.at(queries, a, i, &mut x);
                        let b = self.at(queries, b, i, &mut y);
                        let tidied;
                        if both_loaded {
                            tidied = a.tidy();
                            a = &tidied;
                        }
                        a.twice_times_to(b, r);
                        r.halve();
                    }
                }
                Op::Square(a) => {
                    for (i, r) in rows.iter_mut().enumerate() {
                        let a = self.at(queries, a, i, &mut x).tidy();
                        a.twice_times_to(&a, r);
                        r.halve();
                    }
                }
                Op::Double(a) => {
                    for (i, r) in rows.iter_mut().enumerate() {
                        let a = self.at(queries, a, i, &mut x);
                        *r = a.plus(a).settled();
                    }
                }
                Op::Neg(a) => {
                    for (i, r) in rows.iter_mut().enumerate() {
                        *r = Lanes::zero().minus(self.at(queries, a, i, &mut x)).tidy();
                    }
                }
                Op::AddScalar(a, s) => {
                    let scalar = Lanes::splat(limbs(&scalars[*s]));
                    for (i, r) in rows.iter_mut().enumerate() {
                        *r = self.at(queries, a, i, &mut x).plus(&scalar).settled();
                    }
                }
                Op::MulScalar(a, s) => {
                    let scalar = Lanes::splat(limbs(&(scalars[*s] * Fr::TWO_INV)));
                    for (i, r) in rows.iter_mut().enumerate() {
                        self.at(queries, a, i, &mut x).twice_times_to(&scalar, r);
                    }
                }
            }
            self.registers[*target] = rows;
        }
        if let Some(output) = &program.output {
            for (i, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                store(out, self.at(queries, output, i, &mut x).settled());
            }
        }
    }

    /// The i-th eight rows of an operand, `loaded` if they are a column's.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn at<'a>(&'a self, queries: &[&[Fr]], operand: &Operand, i: usize, loaded: &'a mut Lanes<Fr>) -> &'a Lanes<Fr> {
        match operand {
            Operand::Register(r) => &self.registers[*r][i],
            Operand::Query(q) => {
                *loaded = load(&queries[*q].as_chunks::<LANES>().0[i]);
                loaded
            }
        }
    }
}
