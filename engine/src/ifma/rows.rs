//! Straight-line programs, eight rows at a time.
//!
//! Values in registers are below 2p, or 2p itself; columns are reduced, and so is what comes out.

use halo2_proofs::halo2curves::bn256::Fr;

use super::Ifma;
use super::lanes::{Lanes, Prime};
use super::memory::{load, store};
use crate::program::{BLOCK, Op, Operand, Program};
use crate::words::limbs;

const LANES: usize = 8;
const EIGHTS: usize = BLOCK / LANES;

/// A block of rows.
type Rows = [Lanes<Fr>; EIGHTS];

/// Working space of one thread.
#[derive(Debug, Default)]
pub(crate) struct RowMachine {
    registers: Vec<Rows>,
}

impl RowMachine {
    /// Runs the program for one block: `queries` are the rows of each column that it reads.
    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    pub(crate) fn run(&mut self, _: Ifma, program: &Program, queries: &[&[Fr]], scalars: &[Fr], out: &mut [Fr]) {
        // SAFETY: `Ifma` exists only where the instructions do.
        unsafe { self.run_eights(program, queries, scalars, out) }
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    #[expect(unsafe_code, reason = "stores by address")]
    fn run_eights(&mut self, program: &Program, queries: &[&[Fr]], scalars: &[Fr], out: &mut [Fr]) {
        let zero = Lanes::splat([0; 4]);
        self.registers.resize(program.registers, [zero; EIGHTS]);
        for (target, op) in &program.instructions {
            let mut rows = [zero; EIGHTS];
            match op {
                Op::Add(a, b) => {
                    for (i, r) in rows.iter_mut().enumerate() {
                        *r = self.at(queries, a, i).plus(self.at(queries, b, i)).less(Fr::P2);
                    }
                }
                Op::Sub(a, b) => {
                    for (i, r) in rows.iter_mut().enumerate() {
                        *r = self.at(queries, a, i).minus(self.at(queries, b, i), Fr::P2).less(Fr::P2);
                    }
                }
                Op::Mul(a, b) => {
                    for (i, r) in rows.iter_mut().enumerate() {
                        *r = self.at(queries, a, i).mul(self.at(queries, b, i));
                    }
                }
                Op::Square(a) => {
                    for (i, r) in rows.iter_mut().enumerate() {
                        let a = self.at(queries, a, i);
                        *r = a.mul(a);
                    }
                }
                Op::Double(a) => {
                    for (i, r) in rows.iter_mut().enumerate() {
                        let a = self.at(queries, a, i);
                        *r = a.plus(a).less(Fr::P2);
                    }
                }
                Op::Neg(a) => {
                    for (i, r) in rows.iter_mut().enumerate() {
                        *r = zero.minus(self.at(queries, a, i), Fr::P2);
                    }
                }
                Op::AddScalar(a, s) => {
                    let scalar = Lanes::splat(limbs(&scalars[*s]));
                    for (i, r) in rows.iter_mut().enumerate() {
                        *r = self.at(queries, a, i).plus(scalar).less(Fr::P2);
                    }
                }
                Op::MulScalar(a, s) => {
                    let scalar = Lanes::splat(limbs(&scalars[*s]));
                    for (i, r) in rows.iter_mut().enumerate() {
                        *r = self.at(queries, a, i).mul(scalar);
                    }
                }
            }
            self.registers[*target] = rows;
        }
        if let Some(output) = &program.output {
            for (i, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                // SAFETY: eight elements.
                unsafe { store(out.as_mut_ptr(), self.at(queries, output, i).reduced()) };
            }
        }
    }

    /// The i-th eight rows of an operand.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    #[expect(unsafe_code, reason = "loads by address")]
    fn at(&self, queries: &[&[Fr]], operand: &Operand, i: usize) -> Lanes<Fr> {
        match operand {
            Operand::Register(r) => self.registers[*r][i],
            // SAFETY: eight elements.
            Operand::Query(q) => unsafe { load(queries[*q].as_chunks::<LANES>().0[i].as_ptr()) },
        }
    }
}
