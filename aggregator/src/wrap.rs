//! The wrap: an epoch proof is verified in one more circuit, with fewer columns, so that it costs less on chain.
//!
//! The wrap's instances are the epoch's, in the same order, but for the accumulator: the wrap's is the epoch's own, folded with
//! what the verification of the epoch proof leaves to a pairing. So whoever verifies a wrapped epoch does what one does for an
//! epoch, with another key. Spec: `docs/spec/epoch.md`, ids `wrap-*`.
//!
//! The epoch proof that is wrapped has a Poseidon transcript: one that is anchored as it is can't be wrapped.

use std::marker::PhantomData;
use std::mem;
use std::rc::Rc;

use halo2_base::{
    AssignedValue, Context,
    QuantumCell::Constant,
    gates::{GateInstructions, RangeChip, RangeInstructions, circuit::builder::BaseCircuitBuilder},
    utils::{biguint_to_fe, fe_to_biguint},
};
use halo2_ecc::bn254::FpChip;
use halo2_proofs::{
    halo2curves::{
        bn256::{Bn256, Fr, G1Affine},
        ff::Field,
        group::{Curve, GroupEncoding, prime::PrimeCurveAffine},
    },
    plonk::VerifyingKey,
    poly::{commitment::Params as _, kzg::commitment::ParamsKZG},
};
use snark_verifier::{
    loader::{EcPointLoader, halo2::EcPoint},
    pcs::kzg::KzgSuccinctVerifyingKey,
    system::halo2::{Config, compile},
    util::{arithmetic::fe_to_limbs, hash::Poseidon, transcript::Transcript},
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

mod keys;

pub use keys::{CIRCUIT_VERSION, WrapProvingKey, check_memory, generate_verifying_key};

use crate::curve::{Affine, CurveChip};
use crate::epoch::{ACCUMULATOR_LIMBS, Profile, ProofInput};
use crate::error::AggregateError;
use crate::fq::{Factor, FqChip};
use crate::merge::{Base, MergedMsm};
use crate::msm::{Auxiliary, MsmChip};
use crate::shplonk::{DeferredShplonk, piece_coefficients};
use crate::statement::{Point, canonical, finite};

/// snark-verifier's description of the circuit that is wrapped. Its first [`ACCUMULATOR_LIMBS`] instances are an accumulator.
///
/// Errors: [`AggregateError::Protocol`] when the SRS has another size than the key, or there is no room for an accumulator.
pub fn protocol(
    params: &ParamsKZG<Bn256>,
    key: &VerifyingKey<G1Affine>,
    n_instances: usize,
) -> Result<PlonkProtocol<G1Affine>, AggregateError> {
    let k = key.get_domain().k();
    if params.k() != k {
        return Err(AggregateError::Protocol(format!("key to wrap has k = {k}, its srs has k = {}", params.k())));
    }
    if n_instances < ACCUMULATOR_LIMBS {
        return Err(AggregateError::Protocol(format!("{n_instances} instances hold no accumulator")));
    }
    Ok(compile(params, key, Config::kzg().with_num_instance(vec![n_instances])))
}

/// Fills `builder` with the circuit that wraps `input`, and sets its one instance column.
///
/// Errors: [`AggregateError::Wrapped`] if the proof or its accumulator can't be parsed. A proof that parses but is wrong makes the
/// accumulator fail the pairing.
pub fn synthesize(
    builder: &mut BaseCircuitBuilder<Fr>,
    generator: G1Affine,
    protocol: &PlonkProtocol<G1Affine>,
    input: &ProofInput,
) -> Result<Profile, AggregateError> {
    let range = builder.range_chip();
    let fp_chip = FpChip::<Fr>::new(&range, BITS, LIMBS);
    let pool = mem::take(builder.pool(0));
    let loader: Rc<Halo2Loader<'_>> = Halo2Loader::new(BaseFieldEccChip::new(&fp_chip), pool);
    let svk = KzgSuccinctVerifyingKey::from(generator);
    let loaded = protocol.loaded(&loader);
    let mut profile = Profile::default();
    let fail = |e: snark_verifier::Error| AggregateError::Wrapped(format!("{e:?}"));

    let column: Vec<_> = input.instances.iter().map(|x| loader.assign_scalar(*x)).collect();
    let shown: Vec<AssignedValue<Fr>> = column.iter().map(|x| *x.assigned()).collect();
    let column = [column];
    let mut transcript =
        PoseidonTranscript::<Rc<Halo2Loader<'_>>, &[u8]>::from_spec(&loader, &input.proof[..], POSEIDON_SPEC.clone());
    let proof = PlonkProof::<_, _, DeferredShplonk>::read::<_, PhantomData<DeferredShplonk>>(
        &svk,
        &loaded,
        &column,
        &mut transcript,
    )
    .map_err(fail)?;
    profile.mark(&loader, "points and transcript");
    let opening = PlonkSuccinctVerifier::<DeferredShplonk>::verify(&svk, &loaded, &column, &proof)
        .map_err(fail)?
        .pop()
        .ok_or_else(|| AggregateError::Protocol("no opening".to_owned()))?;
    profile.mark(&loader, "identity and opening");
    for point in proof.witnesses.iter().chain(&proof.quotients).chain([&proof.pcs.w, &proof.pcs.w_prime]) {
        finite(&loader, &range, &point.assigned());
        canonical(&loader, &point.assigned());
    }
    let inner = accumulator(&loader, &shown[..ACCUMULATOR_LIMBS], &input.instances[..ACCUMULATOR_LIMBS])?;
    for point in &inner {
        finite(&loader, &range, point);
        canonical(&loader, point);
    }
    profile.mark(&loader, "points finite and canonical");

    // Instances, and so the inner accumulator, and all that determines the opening are in the transcript: the weight is drawn
    // after both (wrap-fold).
    let mut sponge = Poseidon::<Fr, _, 3, 2>::from_spec(&loader, POSEIDON_SPEC.clone());
    sponge.update(&[transcript.squeeze_challenge()]);
    let hash = *sponge.squeeze().assigned();
    let (weight, weight_bits) = fold_weight(loader.ctx_mut().main(), &range, hash);
    let seeds = [sponge.squeeze(), sponge.squeeze()].map(|seed| *seed.assigned());

    let mut lhs = MergedMsm::<G1Affine, Rc<Halo2Loader<'_>>>::default();
    let first_witness = loaded.preprocessed.len() + loaded.num_instance.len();
    let quotient = first_witness + proof.witnesses.len();
    for (poly, scalar) in &opening.polys {
        if *poly < loaded.preprocessed.len() {
            if !bool::from(protocol.preprocessed[*poly].is_identity()) {
                lhs.add(Base::Fixed(*poly), scalar, &loaded.preprocessed[*poly]);
            }
        } else if *poly == quotient {
            let coefficients = piece_coefficients(&proof.z, protocol.domain.k, proof.quotients.len());
            for (j, (coefficient, piece)) in coefficients.into_iter().zip(&proof.quotients).enumerate() {
                lhs.add(Base::Quotient(0, j), &(coefficient * scalar), piece);
            }
        } else {
            let index = poly - first_witness;
            lhs.add(Base::Witness(0, index), scalar, &proof.witnesses[index]);
        }
    }
    lhs.add(Base::Generator, &opening.generator, &loader.ec_point_load_const(&generator));
    lhs.add(Base::W(0), &opening.w, &proof.pcs.w);
    lhs.add(Base::WPrime(0), &opening.w_prime, &proof.pcs.w_prime);
    profile.mark(&loader, "weights and scalars");

    let affine = |point: &EcPoint<G1Affine, BaseFieldEccChip<'_>>| Affine::from(&*point.assigned());
    let [inner_left, inner_right] = inner.each_ref().map(Affine::from);
    let mut left: Vec<_> = lhs.terms().map(|(scalar, base)| (*scalar.assigned(), affine(base))).collect();
    left.push((weight, inner_left));
    let w_prime = affine(&proof.pcs.w_prime);
    let folded = {
        let mut pool = loader.ctx_mut();
        let ctx = pool.main();
        let curve = CurveChip::new(FqChip::new(&range));
        let auxiliary = Auxiliary::new(ctx, &loader.ecc_chip(), seeds);
        let left = MsmChip::new(curve).evaluate(ctx, &auxiliary, &left, &[]);
        // The weight is a hash of both points: that their sum is exceptional is as unlikely as that the fold is.
        let right = curve.odd_multiple(ctx, &inner_right, &weight_bits);
        let right = curve.add(ctx, &right, w_prime.signed(Factor::Plus));
        [left, curve.settle(ctx, &right)]
    };
    let mut instances: Vec<AssignedValue<Fr>> = Vec::with_capacity(shown.len());
    for point in &folded {
        for limb in point.x.limbs().iter().chain(point.y.limbs()) {
            range.range_check(loader.ctx_mut().main(), *limb, BITS);
            instances.push(*limb);
        }
    }
    profile.mark(&loader, "multi-scalar multiplications");
    instances.extend(&shown[ACCUMULATOR_LIMBS..]);
    *builder.pool(0) = loader.take_ctx();
    builder.assigned_instances = vec![instances];
    Ok(profile)
}

/// Bits of the weight that are drawn.
const WEIGHT_BITS: usize = 127;

/// The weight 2·b + 1 and the bits of b, the low [`WEIGHT_BITS`] of a hash (`wrap-fold`).
///
/// Half of the hashes can be written as low + 2^127·high in two ways, because high is only checked to have 127 bits: a prover
/// has a choice of at most two weights.
fn fold_weight(
    ctx: &mut Context<Fr>,
    range: &RangeChip<Fr>,
    hash: AssignedValue<Fr>,
) -> (AssignedValue<Fr>, Vec<AssignedValue<Fr>>) {
    let value = fe_to_biguint(hash.value());
    let high = &value >> WEIGHT_BITS;
    let low = value - (&high << WEIGHT_BITS);
    let [low, high] = [low, high].map(|half| ctx.load_witness(biguint_to_fe::<Fr>(&half)));
    let gate = range.gate();
    let composed = gate.mul_add(ctx, high, Constant(gate.pow_of_two()[WEIGHT_BITS]), low);
    ctx.constrain_equal(&composed, &hash);
    range.range_check(ctx, high, WEIGHT_BITS);
    let bits = gate.num_to_bits(ctx, low, WEIGHT_BITS);
    (gate.mul_add(ctx, low, Constant(Fr::from(2)), Constant(Fr::ONE)), bits)
}

/// Both points of the accumulator in the instances, assigned anew and constrained to have these limbs (`wrap-accumulator`).
fn accumulator(
    loader: &Rc<Halo2Loader<'_>>,
    cells: &[AssignedValue<Fr>],
    limbs: &[Fr],
) -> Result<[Point; 2], AggregateError> {
    let points = epochcheck::accumulator::decode(limbs)?;
    let ecc = loader.ecc_chip();
    let mut pool = loader.ctx_mut();
    let ctx = pool.main();
    Ok(std::array::from_fn(|i| {
        let point: Point = ecc.load_private::<G1Affine>(ctx, (points[i].x, points[i].y));
        let own = point.x().limbs().iter().chain(point.y().limbs());
        for (own, shown) in own.zip(&cells[2 * LIMBS * i..]) {
            ctx.constrain_equal(own, shown);
        }
        point
    }))
}

/// A proof that parses, but proves nothing: only its layout is used.
pub fn placeholder(protocol: &PlonkProtocol<G1Affine>) -> ProofInput {
    let mut seed = Fr::from(3);
    let mut point = || {
        seed = seed.square() + Fr::ONE;
        (G1Affine::generator() * seed).to_affine()
    };
    let mut proof = Vec::new();
    for _ in 0..protocol.num_witness.iter().sum::<usize>() + protocol.quotient.num_chunk() {
        proof.extend_from_slice(point().to_bytes().as_ref());
    }
    for i in 0..protocol.evaluations.len() {
        proof.extend_from_slice(&Fr::from(i as u64 + 7).to_bytes());
    }
    for _ in 0..2 {
        proof.extend_from_slice(point().to_bytes().as_ref());
    }
    let mut instances = encode_accumulator([point(), point()]);
    instances.resize(protocol.num_instance[0], Fr::ONE);
    ProofInput { instances, proof }
}

/// The limbs of two finite points, in the order of the instances.
pub fn encode_accumulator(points: [G1Affine; 2]) -> Vec<Fr> {
    let coordinates = points.iter().flat_map(|point| [point.x, point.y]);
    coordinates.flat_map(fe_to_limbs::<_, Fr, LIMBS, BITS>).collect()
}
