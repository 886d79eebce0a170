//! The epoch circuit: verifies the N·K step proofs of an epoch under one step key and constrains the statement.

use std::marker::PhantomData;
use std::mem;
use std::rc::Rc;

use halo2_base::{
    AssignedValue,
    gates::{RangeInstructions, circuit::builder::BaseCircuitBuilder},
};
use halo2_ecc::bn254::FpChip;
use halo2_proofs::halo2curves::{
    bn256::{Fr, G1Affine},
    group::prime::PrimeCurveAffine,
};
use ledger::Rule;
use snark_verifier::{
    loader::{EcPointLoader, LoadedScalar, halo2::EcPoint},
    pcs::kzg::KzgSuccinctVerifyingKey,
    util::{hash::Poseidon, transcript::Transcript},
    verifier::{
        SnarkVerifier,
        plonk::{PlonkProof, PlonkProtocol, PlonkSuccinctVerifier},
    },
};
use snark_verifier_sdk::{
    BITS, LIMBS,
    halo2::{
        POSEIDON_SPEC, PoseidonTranscript,
        aggregation::{BaseFieldEccChip, Halo2Loader},
    },
};

use crate::curve::{Affine, CurveChip};
use crate::error::AggregateError;
use crate::fq::FqChip;
use crate::merge::{Base, MergedMsm};
use crate::msm::{Auxiliary, MsmChip};
use crate::shplonk::{DeferredShplonk, piece_coefficients};
use crate::statement::{ChunkCells, Witness, canonical, constrain, finite};

/// One step proof with its instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofInput {
    /// The instance column.
    pub instances: Vec<Fr>,
    /// Proof bytes, Poseidon transcript.
    pub proof: Vec<u8>,
}

/// Everything the circuit needs: `proofs[t][chunk]` and the statement's witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochWitness {
    /// Step proofs, `[N][K]`.
    pub proofs: Vec<Vec<ProofInput>>,
    /// Policy, products, schedule.
    pub statement: Witness,
}

/// Number of limbs of the accumulator in the instances: two points, two coordinates, three limbs.
pub const ACCUMULATOR_LIMBS: usize = 4 * LIMBS;

/// Cells of the vertical gate by component, in the order of the circuit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// (component, cells)
    pub parts: Vec<(&'static str, usize)>,
}

impl Profile {
    /// All cells.
    pub fn total(&self) -> usize {
        self.parts.iter().map(|(_, cells)| cells).sum()
    }

    /// Adds what was assigned since the last call to `part`.
    pub(crate) fn mark(&mut self, loader: &Rc<Halo2Loader<'_>>, part: &'static str) {
        let cells = loader.ctx_mut().total_advice() - self.total();
        match self.parts.iter_mut().find(|(name, _)| *name == part) {
            Some((_, sum)) => *sum += cells,
            None => self.parts.push((part, cells)),
        }
    }
}

/// Fills `builder` with the epoch circuit and sets its one instance column.
///
/// Errors: [`AggregateError::Proof`] if a proof can't be parsed. A proof that parses but is wrong makes the accumulator
/// fail the pairing; a statement that does not hold makes the circuit unsatisfied.
pub fn synthesize(
    builder: &mut BaseCircuitBuilder<Fr>,
    rule: Rule,
    generator: G1Affine,
    protocol: &PlonkProtocol<G1Affine>,
    witness: &EpochWitness,
) -> Result<Profile, AggregateError> {
    let range = builder.range_chip();
    let fp_chip = FpChip::<Fr>::new(&range, BITS, LIMBS);
    let ecc_chip = BaseFieldEccChip::new(&fp_chip);
    let pool = mem::take(builder.pool(0));
    let loader: Rc<Halo2Loader<'_>> = Halo2Loader::new(ecc_chip, pool);
    let svk = KzgSuccinctVerifyingKey::from(generator);

    let key_digest = protocol
        .transcript_initial_state
        .ok_or_else(|| AggregateError::Protocol("step key has no transcript representation".to_owned()))?;
    let loaded = protocol.loaded(&loader);
    let mut transcript =
        PoseidonTranscript::<Rc<Halo2Loader<'_>>, &[u8]>::from_spec(&loader, &[], POSEIDON_SPEC.clone());

    let mut profile = Profile::default();
    let n_chunks = witness.proofs.first().map_or(0, Vec::len);
    let mut steps = Vec::with_capacity(witness.proofs.len());
    let mut read = Vec::new();
    for (t, chunks) in witness.proofs.iter().enumerate() {
        let mut cells = Vec::with_capacity(chunks.len());
        for (chunk, input) in chunks.iter().enumerate() {
            let fail = |e: snark_verifier::Error| AggregateError::Proof { step: t, chunk, reason: format!("{e:?}") };
            let instances: Vec<_> = input.instances.iter().map(|x| loader.assign_scalar(*x)).collect();
            let assigned: Vec<AssignedValue<Fr>> = instances.iter().map(|x| *x.assigned()).collect();
            let instances = [instances];
            transcript.new_stream(&input.proof);
            let proof = PlonkProof::<_, _, DeferredShplonk>::read::<_, PhantomData<DeferredShplonk>>(
                &svk,
                &loaded,
                &instances,
                &mut transcript,
            )
            .map_err(fail)?;
            profile.mark(&loader, "points and transcript");
            let opening = PlonkSuccinctVerifier::<DeferredShplonk>::verify(&svk, &loaded, &instances, &proof)
                .map_err(fail)?
                .pop()
                .ok_or_else(|| AggregateError::Protocol("no opening".to_owned()))?;
            profile.mark(&loader, "identity and opening");
            // As the native verifier; `constrain` does the same for the three points of the statement.
            let others = proof.witnesses.iter().skip(3).chain(&proof.quotients);
            for point in others.chain([&proof.pcs.w, &proof.pcs.w_prime]) {
                finite(&loader, &range, &point.assigned());
                canonical(&loader, &point.assigned());
            }
            profile.mark(&loader, "points finite and canonical");
            // Everything the opening depends on is in the transcript by now.
            let binding = transcript.squeeze_challenge();
            let points = std::array::from_fn(|i| proof.witnesses[i].assigned().clone());
            let instances = assigned
                .try_into()
                .map_err(|_| AggregateError::Protocol("instance column has another length".to_owned()))?;
            cells.push(ChunkCells { instances, points });
            read.push((proof, opening, binding));
        }
        steps.push(cells);
    }

    // One random combination of all pairing checks: r from all transcripts, powers of r as weights.
    let mut sponge = Poseidon::<Fr, _, 3, 2>::from_spec(&loader, POSEIDON_SPEC.clone());
    sponge.update(&read.iter().map(|(_, _, binding)| binding.clone()).collect::<Vec<_>>());
    let weights = sponge.squeeze().powers(read.len());
    // Hashed from the same: all points and scalars are fixed before these.
    let seeds = [sponge.squeeze(), sponge.squeeze()].map(|seed| *seed.assigned());

    let mut lhs = MergedMsm::<G1Affine, Rc<Halo2Loader<'_>>>::default();
    let g = loader.ec_point_load_const(&generator);
    for (i, ((proof, opening, _), weight)) in read.iter().zip(&weights).enumerate() {
        let first_witness = loaded.preprocessed.len() + loaded.num_instance.len();
        let quotient = first_witness + proof.witnesses.len();
        for (poly, scalar) in &opening.polys {
            let scalar = scalar.clone() * weight;
            if *poly < loaded.preprocessed.len() {
                if !bool::from(protocol.preprocessed[*poly].is_identity()) {
                    lhs.add(Base::Fixed(*poly), &scalar, &loaded.preprocessed[*poly]);
                }
            } else if *poly == quotient {
                let coefficients = piece_coefficients(&proof.z, protocol.domain.k, proof.quotients.len());
                for (j, (coefficient, piece)) in coefficients.into_iter().zip(&proof.quotients).enumerate() {
                    lhs.add(Base::Quotient(i, j), &(coefficient * &scalar), piece);
                }
            } else {
                // state_in of a later step is constrained equal to state_out of the step before: one base.
                let (owner, index) = match (poly - first_witness, i.checked_sub(n_chunks)) {
                    (0, Some(before)) => (before, 1),
                    (index, _) => (i, index),
                };
                lhs.add(Base::Witness(owner, index), &scalar, &read[owner].0.witnesses[index]);
            }
        }
        lhs.add(Base::Generator, &(opening.generator.clone() * weight), &g);
        lhs.add(Base::W(i), &(opening.w.clone() * weight), &proof.pcs.w);
        lhs.add(Base::WPrime(i), &(opening.w_prime.clone() * weight), &proof.pcs.w_prime);
    }
    profile.mark(&loader, "weights and scalars");

    let affine = |point: &EcPoint<G1Affine, BaseFieldEccChip<'_>>| Affine::from(&*point.assigned());
    let left: Vec<_> = lhs.terms().map(|(scalar, base)| (*scalar.assigned(), affine(base))).collect();
    // The first weight is one.
    let w_primes: Vec<_> = read.iter().map(|(proof, _, _)| affine(&proof.pcs.w_prime)).collect();
    let right: Vec<_> = weights.iter().map(|w| *w.assigned()).zip(w_primes.iter().cloned()).skip(1).collect();
    let accumulator = {
        let mut pool = loader.ctx_mut();
        let ctx = pool.main();
        let msm = MsmChip::new(CurveChip::new(FqChip::new(&range)));
        let auxiliary = Auxiliary::new(ctx, &loader.ecc_chip(), seeds);
        let left = msm.evaluate(ctx, &auxiliary, &left, &[]);
        let right = match right.is_empty() {
            true => w_primes[0].clone(),
            false => msm.evaluate(ctx, &auxiliary, &right, &w_primes[..1]),
        };
        [left, right]
    };
    let mut instances: Vec<AssignedValue<Fr>> = Vec::with_capacity(ACCUMULATOR_LIMBS + 6 + steps.len());
    for point in &accumulator {
        for limb in point.x.limbs().iter().chain(point.y.limbs()) {
            range.range_check(loader.ctx_mut().main(), *limb, BITS);
            instances.push(*limb);
        }
    }
    profile.mark(&loader, "multi-scalar multiplications");

    let outputs = constrain(&loader, &range, rule, key_digest, &steps, &witness.statement);
    profile.mark(&loader, "statement");
    instances.extend(outputs);
    *builder.pool(0) = loader.take_ctx();
    builder.assigned_instances = vec![instances];
    Ok(profile)
}
