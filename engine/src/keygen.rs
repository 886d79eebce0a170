//! Proving keys, equal to the library's byte for byte.
//!
//! One synthesis instead of two, cells of the permutation as 32-bit numbers, commitments and transforms by [`crate::msm`]
//! and [`crate::fft`]. Selectors become fixed columns one by one, as `keygen_vk` does without compression.

use halo2_proofs::{
    circuit::Value,
    halo2curves::{
        bn256::{Bn256, Fr, G1Affine},
        ff::{Field, PrimeField},
        group::Curve as _,
    },
    plonk::{
        Advice, Any, Assigned, Assignment, Challenge, Circuit, Column, ConstraintSystem, Error as PlonkError, Fixed,
        FloorPlanner, Instance, ProvingKey, Selector, VerifyingKey, permutation,
    },
    poly::{commitment::Params as _, kzg::commitment::ParamsKZG},
};
use rayon::prelude::*;

use crate::bases::Bases;
use crate::error::EngineError;
use crate::fft::{Domain, bit_reverse, powers_from};
use crate::msm::commit_all;

/// The key of a circuit. Deterministic in the circuit's layout and the parameters.
///
/// Errors: [`EngineError::Srs`]; [`EngineError::Synthesis`] when the circuit does not fit the rows or copies a cell that
/// is not part of the permutation.
pub fn generate_key<C: Circuit<Fr>>(
    params: &ParamsKZG<Bn256>,
    circuit: &C,
) -> Result<ProvingKey<G1Affine>, EngineError> {
    let laid_out = LaidOut::new(params, circuit)?;
    let vk = laid_out.verifying_key(params)?;
    let LaidOut { domain, fixed, sigmas, .. } = laid_out;
    let n = domain.n();
    let (library_domain, blinding) = (vk.get_domain().clone(), vk.cs().blinding_factors());
    let coefficients = |values: &[Fr]| {
        let mut values = values.to_vec();
        domain.to_coefficients(&mut values);
        library_domain.coeff_from_vec(bit_reverse(&values))
    };
    let last = n - blinding - 1;
    let lagrange = [row(&domain, 0), row(&domain, last), rows_before(&domain, last)];
    let [l0, l_last, l_active] = lagrange.map(|coefficients| library_domain.coeff_from_vec(coefficients));
    let polys = |columns: &[Vec<Fr>]| columns.iter().map(|values| coefficients(values)).collect::<Vec<_>>();
    let (fixed_polys, sigma_polys) = (polys(&fixed), polys(&sigmas));
    let values = |columns: Vec<Vec<Fr>>| columns.into_iter().map(|v| library_domain.lagrange_from_vec(v)).collect();
    let (fixed, sigmas) = (values(fixed), values(sigmas));
    let permutation = permutation::ProvingKey::from_parts(sigmas, sigma_polys);
    Ok(ProvingKey::from_parts(vk, l0, l_last, l_active, fixed, fixed_polys, permutation))
}

/// Coefficients of the polynomial that is 1 at one row and 0 at the others: `ω^{−row·i}/n`.
fn row(domain: &Domain, row: usize) -> Vec<Fr> {
    powers_from(Fr::from(domain.n() as u64).invert().unwrap_or(Fr::ZERO), domain.omega_pow(-(row as i64)), domain.n())
}

/// Coefficients of the polynomial that is 1 at all rows before `end` and 0 from there on, which are few.
fn rows_before(domain: &Domain, end: usize) -> Vec<Fr> {
    let mut out = vec![Fr::ZERO; domain.n()];
    for after in end..domain.n() {
        let row = row(domain, after);
        out.par_iter_mut().zip(&row).with_min_len(1 << 10).for_each(|(sum, c)| *sum -= c);
    }
    out[0] += Fr::ONE;
    out
}

/// The verifying key alone, as [`generate_key`] has it.
///
/// Errors: as [`generate_key`].
pub fn generate_verifying_key<C: Circuit<Fr>>(
    params: &ParamsKZG<Bn256>,
    circuit: &C,
) -> Result<VerifyingKey<G1Affine>, EngineError> {
    LaidOut::new(params, circuit)?.verifying_key(params)
}

/// The key's own columns, by their values.
struct LaidOut {
    cs: ConstraintSystem<Fr>,
    domain: Domain,
    fixed: Vec<Vec<Fr>>,
    cycles: Cycles,
    sigmas: Vec<Vec<Fr>>,
}

impl LaidOut {
    fn new<C: Circuit<Fr>>(params: &ParamsKZG<Bn256>, circuit: &C) -> Result<Self, EngineError> {
        let k = params.k();
        let n = 1usize << k;
        let mut cs = ConstraintSystem::default();
        let config = C::configure_with_params(&mut cs, circuit.params());
        if n < cs.minimum_rows() {
            return Err(PlonkError::NotEnoughRowsAvailable { current_k: k }.into());
        }
        let mut session = Session {
            k,
            usable_rows: n - (cs.blinding_factors() + 1),
            fixed: vec![vec![Fr::ZERO; n]; cs.num_fixed_columns()],
            selectors: vec![vec![false; n]; cs.num_selectors()],
            cycles: Cycles::new(n, cs.permutation().get_columns()),
            failure: None,
        };
        C::FloorPlanner::synthesize(&mut session, circuit, config, cs.constants().clone())?;
        if let Some(failure) = session.failure {
            return Err(failure.into());
        }
        let (cs, selectors) = cs.directly_convert_selectors_to_fixed(session.selectors);
        let mut fixed = session.fixed;
        fixed.extend(selectors);
        let domain = Domain::new(k);
        let sigmas = session.cycles.permutations(&domain);
        Ok(Self { cs, domain, fixed, cycles: session.cycles, sigmas })
    }

    fn verifying_key(&self, params: &ParamsKZG<Bn256>) -> Result<VerifyingKey<G1Affine>, EngineError> {
        let bases = Bases::new(params)?;
        let sigmas = self.cycles.commitments(&bases, &self.sigmas, &self.domain);
        let views: Vec<&[Fr]> = self.fixed.iter().map(Vec::as_slice).collect();
        let fixed = commit_all(&views, bases.lagrange());
        let domain = vkey::domain(self.cs.degree(), self.domain.k());
        let permutation = permutation::VerifyingKey::from_commitments(sigmas);
        Ok(VerifyingKey::from_parts(domain, fixed, permutation, self.cs.clone(), Vec::new(), false))
    }
}

/// Which cells are equal: every cell points to the next of its cycle.
///
/// Source: The halo2 book, "Permutation argument": cycles are joined by exchanging two successors, the smaller one takes
/// the name of the larger.
struct Cycles {
    rows: usize,
    columns: Vec<Column<Any>>,
    next: Vec<u32>,
    name: Vec<u32>,
    size: Vec<u32>,
}

impl Cycles {
    fn new(rows: usize, columns: Vec<Column<Any>>) -> Self {
        let cells = rows * columns.len();
        assert!(u32::try_from(cells).is_ok(), "{cells} cells in the permutation");
        let next: Vec<u32> = (0..cells as u32).collect();
        Self { rows, columns, name: next.clone(), next, size: vec![1; cells] }
    }

    fn cell(&self, column: Column<Any>, row: usize) -> Result<usize, PlonkError> {
        let position = self.columns.iter().position(|c| *c == column);
        Ok(position.ok_or(PlonkError::ColumnNotInPermutation(column))? * self.rows + row)
    }

    fn join(&mut self, left: usize, right: usize) {
        let (mut kept, mut joined) = (self.name[left] as usize, self.name[right] as usize);
        if kept == joined {
            return;
        }
        if self.size[kept] < self.size[joined] {
            std::mem::swap(&mut kept, &mut joined);
        }
        self.size[kept] += self.size[joined];
        let mut cell = joined;
        loop {
            self.name[cell] = kept as u32;
            cell = self.next[cell] as usize;
            if cell == joined {
                break;
            }
        }
        self.next.swap(left, right);
    }

    /// `δ^column·ω^row` of each cell's successor, column by column.
    fn permutations(&self, domain: &Domain) -> Vec<Vec<Fr>> {
        let omegas = powers_from(Fr::ONE, domain.omega(), self.rows);
        let deltas = powers_from(Fr::ONE, Fr::DELTA, self.columns.len());
        self.next
            .chunks(self.rows)
            .map(|next| {
                next.par_iter()
                    .with_min_len(1 << 10)
                    .map(|&cell| deltas[cell as usize / self.rows] * omegas[cell as usize % self.rows])
                    .collect()
            })
            .collect()
    }
}

impl Cycles {
    /// Commitments to [`Self::permutations`].
    ///
    /// Without copies the j-th column is `δ^j·X`, whose commitment is one multiplication; only the rows that are part of a
    /// cycle differ from it, and only they are summed.
    fn commitments(&self, bases: &Bases, sigmas: &[Vec<Fr>], domain: &Domain) -> Vec<G1Affine> {
        let deltas = powers_from(Fr::ONE, Fr::DELTA, self.columns.len());
        let moved: Vec<Vec<Fr>> = sigmas
            .iter()
            .zip(&deltas)
            .map(|(sigma, delta)| {
                let mut out = powers_from(*delta, domain.omega(), self.rows);
                out.par_iter_mut().zip(sigma).with_min_len(1 << 10).for_each(|(own, sigma)| *own = *sigma - *own);
                out
            })
            .collect();
        let views: Vec<&[Fr]> = moved.iter().map(Vec::as_slice).collect();
        let sums = commit_all(&views, bases.lagrange());
        sums.iter().zip(deltas).map(|(sum, delta)| (bases.monomial()[1] * delta + sum).to_affine()).collect()
    }
}

/// What the circuit lays out.
struct Session {
    k: u32,
    usable_rows: usize,
    fixed: Vec<Vec<Fr>>,
    selectors: Vec<Vec<bool>>,
    cycles: Cycles,
    /// The first refusal that the circuit cannot be told of.
    failure: Option<PlonkError>,
}

impl Session {
    fn check(&self, row: usize) -> Result<(), PlonkError> {
        if row < self.usable_rows { Ok(()) } else { Err(PlonkError::NotEnoughRowsAvailable { current_k: self.k }) }
    }

    fn try_assign(&mut self, column: usize, row: usize, to: Assigned<Fr>) -> Result<(), PlonkError> {
        self.check(row)?;
        *self
            .fixed
            .get_mut(column)
            .ok_or(PlonkError::BoundsFailure)?
            .get_mut(row)
            .ok_or(PlonkError::BoundsFailure)? = to.evaluate();
        Ok(())
    }

    fn try_copy(&mut self, left: (Column<Any>, usize), right: (Column<Any>, usize)) -> Result<(), PlonkError> {
        self.check(left.1)?;
        self.check(right.1)?;
        let (left, right) = (self.cycles.cell(left.0, left.1)?, self.cycles.cell(right.0, right.1)?);
        self.cycles.join(left, right);
        Ok(())
    }

    fn note(&mut self, result: Result<(), PlonkError>) {
        if let (Err(error), None) = (result, &self.failure) {
            self.failure = Some(error);
        }
    }
}

impl Assignment<Fr> for Session {
    fn enter_region<NR, N>(&mut self, _: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
    }

    fn exit_region(&mut self) {}

    fn enable_selector<A, AR>(&mut self, _: A, selector: &Selector, row: usize) -> Result<(), PlonkError>
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.check(row)?;
        *self.selectors.get_mut(selector.index()).and_then(|s| s.get_mut(row)).ok_or(PlonkError::BoundsFailure)? = true;
        Ok(())
    }

    fn annotate_column<A, AR>(&mut self, _: A, _: Column<Any>)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
    }

    fn query_instance(&self, _: Column<Instance>, row: usize) -> Result<Value<Fr>, PlonkError> {
        self.check(row)?;
        Ok(Value::unknown())
    }

    fn assign_advice<'v>(&mut self, _: Column<Advice>, _: usize, _: Value<Assigned<Fr>>) -> Value<&'v Assigned<Fr>> {
        Value::unknown()
    }

    fn assign_fixed(&mut self, column: Column<Fixed>, row: usize, to: Assigned<Fr>) {
        let result = self.try_assign(column.index(), row, to);
        self.note(result);
    }

    fn copy(&mut self, left_column: Column<Any>, left_row: usize, right_column: Column<Any>, right_row: usize) {
        let result = self.try_copy((left_column, left_row), (right_column, right_row));
        self.note(result);
    }

    fn fill_from_row(
        &mut self,
        column: Column<Fixed>,
        from_row: usize,
        to: Value<Assigned<Fr>>,
    ) -> Result<(), PlonkError> {
        self.check(from_row)?;
        let mut filler = Err(PlonkError::Synthesis);
        to.map(|value| filler = Ok(value.evaluate()));
        let usable = self.usable_rows;
        self.fixed.get_mut(column.index()).ok_or(PlonkError::BoundsFailure)?[from_row..usable].fill(filler?);
        Ok(())
    }

    fn get_challenge(&self, _: Challenge) -> Value<Fr> {
        Value::unknown()
    }

    fn push_namespace<NR, N>(&mut self, _: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
    }

    fn pop_namespace(&mut self, _: Option<String>) {}
}
