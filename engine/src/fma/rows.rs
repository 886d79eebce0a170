//! Straight-line programs, eight rows at a time.

use std::mem;

use halo2_proofs::halo2curves::{
    bn256::Fr,
    ff::{Field, PrimeField},
};

use super::Fma;
use super::lanes::Lanes;
use super::memory::{LANES, load, store};
use super::plan::{Plan, Step};
use crate::program::{BLOCK, Program};
use crate::words::limbs;

/// Eights of a block of rows, which a step works on.
const EIGHTS: usize = BLOCK / LANES;

/// A program made ready, with the working space of one thread: a block of rows for each register.
#[derive(Debug)]
pub(crate) struct RowMachine {
    plan: Plan,
    scalars: Vec<Lanes<Fr>>,
    registers: Vec<Vec<Lanes<Fr>>>,
}

impl RowMachine {
    /// For a program with these scalars.
    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    pub(crate) fn new(_: Fma, program: &Program, scalars: &[Fr]) -> Self {
        // SAFETY: `Fma` exists only where the instructions do.
        unsafe { Self::with_plan(Plan::new(program), scalars) }
    }

    #[target_feature(enable = "avx2,fma")]
    fn with_plan(plan: Plan, scalars: &[Fr]) -> Self {
        let mut fitting = Vec::with_capacity(plan.scalars.len());
        for (number, power) in &plan.scalars {
            let base = if *power < 0 { Fr::TWO_INV } else { Fr::ONE.double() };
            fitting
                .push(Lanes::splat(limbs(&(scalars[*number] * base.pow_vartime([u64::from(power.unsigned_abs())])))));
        }
        let registers = vec![vec![Lanes::zero(); EIGHTS]; plan.registers];
        Self { plan, scalars: fitting, registers }
    }

    /// Runs the program for one block: `queries` are the rows of each column that it reads.
    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    pub(crate) fn run(&mut self, _: Fma, queries: &[&[Fr]], out: &mut [Fr]) {
        // SAFETY: `Fma` exists only where the instructions do.
        unsafe { self.run_eights(queries, out) }
    }

    #[target_feature(enable = "avx2,fma")]
    fn run_eights(&mut self, queries: &[&[Fr]], out: &mut [Fr]) {
        for step in &self.plan.steps {
            run_step(&mut self.registers, &self.scalars, step, queries);
        }
        if let Some(output) = self.plan.output {
            for (out, r) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(&self.registers[output]) {
                store(out, r.settled());
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn run_step(registers: &mut [Vec<Lanes<Fr>>], scalars: &[Lanes<Fr>], step: &Step, queries: &[&[Fr]]) {
    // Targets are no operands: a register is free only after the instruction that reads it last.
    match *step {
        Step::Load { query, to } => {
            for (r, rows) in registers[to].iter_mut().zip(queries[query].as_chunks::<LANES>().0) {
                load(rows).copy_to(r);
            }
        }
        Step::Tidy(register) => {
            for r in &mut registers[register] {
                r.tidy().copy_to(r);
            }
        }
        Step::Settle(register) => {
            for r in &mut registers[register] {
                r.settled().copy_to(r);
            }
        }
        Step::Halve(register) => {
            for r in &mut registers[register] {
                r.halve();
            }
        }
        Step::Combine { a, b, factors, to } => {
            let mut rows = mem::take(&mut registers[to]);
            for (r, (a, b)) in rows.iter_mut().zip(registers[a].iter().zip(&registers[b])) {
                a.combined(b, factors).copy_to(r);
            }
            registers[to] = rows;
        }
        Step::AddScalar { a, scalar, to } => {
            let mut rows = mem::take(&mut registers[to]);
            for (r, a) in rows.iter_mut().zip(&registers[a]) {
                a.plus(&scalars[scalar]).copy_to(r);
            }
            registers[to] = rows;
        }
        Step::Mul { a, b, to } => {
            let mut rows = mem::take(&mut registers[to]);
            for (r, (a, b)) in rows.iter_mut().zip(registers[a].iter().zip(&registers[b])) {
                a.twice_times_to(b, r);
            }
            registers[to] = rows;
        }
        Step::MulScalar { a, scalar, to } => {
            let mut rows = mem::take(&mut registers[to]);
            for (r, a) in rows.iter_mut().zip(&registers[a]) {
                a.twice_times_to(&scalars[scalar], r);
            }
            registers[to] = rows;
        }
    }
}
