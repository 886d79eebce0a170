//! Synthesis: the circuit fills the advice columns, which are blinded and committed phase by phase.

use std::{collections::BTreeMap, marker::PhantomData};

use halo2_proofs::{
    circuit::Value,
    halo2curves::{
        bn256::{Fr, G1Affine},
        ff::{BatchInvert, Field},
    },
    plonk::{
        Advice, Any, Assigned, Assignment, Challenge, Circuit, Column, ConstraintSystem, Error as PlonkError, Fixed,
        FloorPlanner, Instance, Selector,
    },
    transcript::{EncodedChallenge, TranscriptWrite},
};
use rand_core::RngCore;

use crate::bases::Bases;
use crate::error::EngineError;
use crate::few::{Hints, commit_known};
use crate::memory::Work;
use crate::msm::commit;

/// Values of all advice columns, and the challenges drawn meanwhile.
pub(crate) struct Witness {
    pub(crate) advice: Vec<Vec<Fr>>,
    pub(crate) challenges: Vec<Fr>,
}

/// Synthesizes the circuit and commits all phases; `hints` are asked when all columns of a phase may be in work at once.
///
/// The transcript and the generator are used as `create_proof` uses them: for each phase the blinding rows column by
/// column, one draw for each column that KZG ignores, the commitments, the phase's challenges.
///
/// Errors: [`EngineError`]'s of synthesis, cells and transcript.
pub(crate) fn synthesize<E, T, R, C>(
    cs: &ConstraintSystem<Fr>,
    bases: &Bases,
    (circuit, hints): (&C, &dyn Hints),
    instances: &[&[Fr]],
    work: Work,
    rng: &mut R,
    transcript: &mut T,
) -> Result<Witness, EngineError>
where
    E: EncodedChallenge<G1Affine>,
    T: TranscriptWrite<G1Affine, E>,
    R: RngCore,
    C: Circuit<Fr>,
{
    let n = 1 << bases.k();
    let config = C::configure_with_params(&mut ConstraintSystem::default(), circuit.params());
    let column_phases = cs.advice_column_phase();
    let mut session = Session {
        bases,
        hints,
        instances,
        work,
        usable_rows: n - (cs.blinding_factors() + 1),
        n_phases: column_phases.iter().max().copied().unwrap_or(0) + 1,
        phase: 0,
        advice: column_phases.iter().map(|_| vec![Fr::ZERO; n]).collect(),
        denominators: BTreeMap::new(),
        column_phases,
        challenge_phases: cs.challenge_phase(),
        challenges: vec![None; cs.num_challenges()],
        rng,
        transcript,
        failure: None,
        encoding: PhantomData::<fn() -> E>,
    };
    // Circuits that end their phases themselves are done after one run; others run once for each phase.
    while session.phase < session.n_phases {
        let result = C::FloorPlanner::synthesize(&mut session, circuit, config.clone(), cs.constants().clone());
        if result.is_ok() && session.phase < session.n_phases {
            session.commit_phase();
        }
        // A refused cell says more than what the circuit made of it.
        if let Some(failure) = session.failure.take() {
            return Err(failure);
        }
        result?;
    }
    // Every challenge belongs to a phase that was committed.
    let challenges = session.challenges.iter().map(|c| c.unwrap_or(Fr::ZERO)).collect();
    Ok(Witness { advice: session.advice, challenges })
}

struct Session<'a, E, T, R> {
    bases: &'a Bases,
    hints: &'a dyn Hints,
    instances: &'a [&'a [Fr]],
    work: Work,
    usable_rows: usize,
    n_phases: u8,
    phase: u8,
    advice: Vec<Vec<Fr>>,
    /// Denominators of the cells (column, row) that hold a fraction.
    denominators: BTreeMap<(usize, usize), Fr>,
    column_phases: Vec<u8>,
    challenge_phases: Vec<u8>,
    challenges: Vec<Option<Fr>>,
    rng: &'a mut R,
    transcript: &'a mut T,
    failure: Option<EngineError>,
    encoding: PhantomData<fn() -> E>,
}

impl<E, T, R> Session<'_, E, T, R>
where
    E: EncodedChallenge<G1Affine>,
    T: TranscriptWrite<G1Affine, E>,
    R: RngCore,
{
    fn assign(&mut self, column: usize, row: usize, to: Value<Assigned<Fr>>) -> Result<(), EngineError> {
        let rows = self.usable_rows;
        let phase = *self.column_phases.get(column).ok_or(EngineError::NoSuchCell { column, row, rows })?;
        if row >= rows {
            return Err(EngineError::NoSuchCell { column, row, rows });
        }
        if phase < self.phase {
            return Ok(());
        }
        let mut known = None;
        to.map(|value| known = Some(value));
        let cell = &mut self.advice[column][row];
        if !self.denominators.is_empty() {
            self.denominators.remove(&(column, row));
        }
        match known {
            Some(Assigned::Zero) => *cell = Fr::ZERO,
            Some(Assigned::Trivial(value)) => *cell = value,
            Some(Assigned::Rational(numerator, denominator)) => {
                *cell = numerator;
                self.denominators.insert((column, row), denominator);
            }
            // A later phase's cell is assigned again in its phase.
            None if phase > self.phase => {}
            None => return Err(EngineError::UnknownValue { column, row }),
        }
        Ok(())
    }

    fn commit_phase(&mut self) {
        if self.failure.is_none() {
            self.failure = self.try_commit_phase().err();
        }
        self.phase += 1;
    }

    fn try_commit_phase(&mut self) -> Result<(), EngineError> {
        if self.phase == 0 {
            for value in self.instances.iter().copied().flatten() {
                self.transcript.common_scalar(*value)?;
            }
        }
        self.divide();
        let columns: Vec<usize> = (0..self.advice.len()).filter(|&c| self.column_phases[c] == self.phase).collect();
        for &column in &columns {
            for cell in &mut self.advice[column][self.usable_rows..] {
                *cell = Fr::random(&mut *self.rng);
            }
        }
        for _ in &columns {
            Fr::random(&mut *self.rng);
        }
        for commitment in self.commitments(&columns) {
            self.transcript.write_point(commitment)?;
        }
        for (challenge, phase) in self.challenges.iter_mut().zip(&self.challenge_phases) {
            if *phase == self.phase {
                *challenge = Some(*self.transcript.squeeze_challenge_scalar::<()>());
            }
        }
        Ok(())
    }

    fn commitments(&self, columns: &[usize]) -> Vec<G1Affine> {
        let values = |&column: &usize| self.advice[column].as_slice();
        match self.work {
            Work::AtOnce => {
                let challenges: Vec<Fr> = self.challenges.iter().map(|c| c.unwrap_or(Fr::ZERO)).collect();
                let few = self.hints.few_values(self.phase, &challenges);
                let numbered: Vec<_> = columns.iter().map(|column| (*column, values(column))).collect();
                commit_known(&numbered, &few, self.bases.lagrange())
            }
            Work::OneByOne => commit(&columns.iter().map(values).collect::<Vec<_>>(), self.bases.lagrange(), self.work),
        }
    }

    /// Finishes this phase's fractions; x/0 is 0, as in the library.
    fn divide(&mut self) {
        let phases = &self.column_phases;
        let (mut now, later): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.denominators)
            .into_iter()
            .partition(|((column, _), _)| phases[*column] == self.phase);
        self.denominators = later;
        now.values_mut().batch_invert();
        for ((column, row), inverse) in now {
            self.advice[column][row] *= inverse;
        }
    }
}

impl<E, T, R> Assignment<Fr> for Session<'_, E, T, R>
where
    E: EncodedChallenge<G1Affine>,
    T: TranscriptWrite<G1Affine, E>,
    R: RngCore,
{
    fn enter_region<NR, N>(&mut self, _: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
    }

    fn exit_region(&mut self) {}

    fn enable_selector<A, AR>(&mut self, _: A, _: &Selector, _: usize) -> Result<(), PlonkError>
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        Ok(())
    }

    fn annotate_column<A, AR>(&mut self, _: A, _: Column<Any>)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
    }

    fn query_instance(&self, column: Column<Instance>, row: usize) -> Result<Value<Fr>, PlonkError> {
        let value = self.instances.get(column.index()).and_then(|values| values.get(row));
        value.map(|value| Value::known(*value)).ok_or(PlonkError::BoundsFailure)
    }

    fn assign_advice<'v>(
        &mut self,
        column: Column<Advice>,
        row: usize,
        to: Value<Assigned<Fr>>,
    ) -> Value<&'v Assigned<Fr>> {
        if self.failure.is_none() {
            self.failure = self.assign(column.index(), row, to).err();
        }
        // A reference of any lifetime the caller likes cannot be had without unsafe code; nothing is known instead.
        Value::unknown()
    }

    fn assign_fixed(&mut self, _: Column<Fixed>, _: usize, _: Assigned<Fr>) {}

    fn copy(&mut self, _: Column<Any>, _: usize, _: Column<Any>, _: usize) {}

    fn fill_from_row(&mut self, _: Column<Fixed>, _: usize, _: Value<Assigned<Fr>>) -> Result<(), PlonkError> {
        Ok(())
    }

    fn get_challenge(&self, challenge: Challenge) -> Value<Fr> {
        self.challenges.get(challenge.index()).copied().flatten().map_or_else(Value::unknown, Value::known)
    }

    fn push_namespace<NR, N>(&mut self, _: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
    }

    fn pop_namespace(&mut self, _: Option<String>) {}

    fn next_phase(&mut self) {
        self.commit_phase();
    }
}
