//! The deferred opening, evaluated natively, is snark-verifier's own accumulator.

use std::marker::PhantomData;

use aggregator::keys::step_protocol;
use aggregator::merge::{Base, MergedMsm};
use aggregator::shplonk::{DeferredShplonk, piece_coefficients};
use circuits::claim::chunk_instances;
use epochcheck::AccumulatorError;
use epochcheck::accumulator::check;
use halo2_proofs::{
    halo2curves::{
        bn256::{Bn256, Fq, Fr, G1Affine},
        ff::{Field, PrimeField},
        group::{Curve, prime::PrimeCurveAffine},
    },
    poly::commitment::ParamsProver,
};
use ledger::{ChunkIndex, Rule};
use rand::{SeedableRng, rngs::StdRng};
use snark_verifier::{
    loader::native::NativeLoader,
    pcs::kzg::{Bdfg21, KzgAccumulator, KzgAs, KzgSuccinctVerifyingKey},
    util::arithmetic::fe_to_limbs,
    verifier::{
        SnarkVerifier,
        plonk::{PlonkProof, PlonkProtocol, PlonkSuccinctVerifier},
    },
};
use snark_verifier_sdk::{
    BITS, LIMBS,
    halo2::{POSEIDON_SPEC, PoseidonTranscript},
};

use crate::support::{Keyed, epoch, key};

type Theirs = KzgAs<Bn256, Bdfg21>;
type Accumulator = KzgAccumulator<G1Affine, NativeLoader>;

struct Setup {
    key: &'static Keyed,
    protocol: PlonkProtocol<G1Affine>,
    svk: KzgSuccinctVerifyingKey<G1Affine>,
}

impl Setup {
    fn new(rule: Rule) -> Self {
        let key = key(rule);
        let protocol = step_protocol(&key.params, &key.vk).expect("a protocol");
        Self { key, protocol, svk: KzgSuccinctVerifyingKey::from(key.params.get_g()[0]) }
    }

    fn theirs(&self, instances: &[Fr], proof: &[u8]) -> Accumulator {
        let mut transcript = PoseidonTranscript::<NativeLoader, &[u8]>::from_spec(proof, POSEIDON_SPEC.clone());
        let instances = [instances.to_vec()];
        let proof = PlonkProof::<_, _, Theirs>::read::<_, PhantomData<Theirs>>(
            &self.svk,
            &self.protocol,
            &instances,
            &mut transcript,
        )
        .expect("parses");
        PlonkSuccinctVerifier::<Theirs>::verify(&self.svk, &self.protocol, &instances, &proof)
            .expect("reduces")
            .remove(0)
    }

    fn ours(&self, instances: &[Fr], proof: &[u8]) -> Accumulator {
        let mut transcript = PoseidonTranscript::<NativeLoader, &[u8]>::from_spec(proof, POSEIDON_SPEC.clone());
        let instances = [instances.to_vec()];
        let proof = PlonkProof::<_, _, DeferredShplonk>::read::<_, PhantomData<DeferredShplonk>>(
            &self.svk,
            &self.protocol,
            &instances,
            &mut transcript,
        )
        .expect("parses");
        let opening = PlonkSuccinctVerifier::<DeferredShplonk>::verify(&self.svk, &self.protocol, &instances, &proof)
            .expect("reduces")
            .remove(0);
        let fixed = self.protocol.preprocessed.len();
        let first_witness = fixed + self.protocol.num_instance.len();
        let mut lhs = MergedMsm::<G1Affine, NativeLoader>::default();
        for (poly, scalar) in &opening.polys {
            if *poly < fixed {
                lhs.add(Base::Fixed(*poly), scalar, &self.protocol.preprocessed[*poly]);
            } else if *poly < first_witness + proof.witnesses.len() {
                let column = poly - first_witness;
                lhs.add(Base::Witness(0, column), scalar, &proof.witnesses[column]);
            } else {
                let powers = piece_coefficients(&proof.z, self.protocol.domain.k, proof.quotients.len());
                for (j, (power, piece)) in powers.iter().zip(&proof.quotients).enumerate() {
                    lhs.add(Base::Quotient(0, j), &(*scalar * power), piece);
                }
            }
        }
        lhs.add(Base::Generator, &opening.generator, &self.key.params.get_g()[0]);
        lhs.add(Base::W(0), &opening.w, &proof.pcs.w);
        lhs.add(Base::WPrime(0), &opening.w_prime, &proof.pcs.w_prime);
        assert!(!lhs.is_empty());
        KzgAccumulator::new(lhs.evaluate(), proof.pcs.w_prime)
    }

    fn decide(&self, accumulator: &Accumulator) -> Result<(), AccumulatorError> {
        let limbs: Vec<Fr> = [accumulator.lhs, accumulator.rhs]
            .iter()
            .flat_map(|p| [p.x, p.y])
            .flat_map(|x: Fq| fe_to_limbs::<Fq, Fr, LIMBS, BITS>(x))
            .collect();
        check(&self.key.params, &limbs)
    }
}

/// Instances and proof of step `t` of a small run.
fn step(rule: Rule, t: usize) -> (Vec<Fr>, Vec<u8>) {
    let mut input = epoch(rule, 3, 1, t + 1);
    let step = input.steps.remove(t);
    let instances = chunk_instances(rule, &step.statement, ChunkIndex(0)).to_vec();
    (instances, step.proofs[0].clone())
}

#[test]
fn deferred_opening_is_snark_verifiers_accumulator() {
    for rule in [Rule::AdamW, Rule::Sgd] {
        let setup = Setup::new(rule);
        for t in [0, 1] {
            let (instances, proof) = step(rule, t);
            let (ours, theirs) = (setup.ours(&instances, &proof), setup.theirs(&instances, &proof));
            assert_eq!((ours.lhs, ours.rhs), (theirs.lhs, theirs.rhs), "{rule:?}, step {t}");
            setup.decide(&ours).expect("an honest proof");
        }
    }
}

#[test]
fn tampered_scalar_or_instance_fails_the_pairing() {
    let setup = Setup::new(Rule::AdamW);
    let (instances, proof) = step(Rule::AdamW, 1);
    let cs = setup.key.vk.inner().cs();
    let first_scalar = 32 * (cs.num_advice_columns() + 1 + cs.degree() - 1);
    let last_scalar = proof.len() - 3 * 32;
    for at in [first_scalar, (first_scalar + last_scalar) / 64 * 32, last_scalar] {
        let mut tampered = proof.clone();
        let bytes: [u8; 32] = proof[at..at + 32].try_into().expect("32 bytes");
        let scalar = Option::<Fr>::from(Fr::from_repr(bytes)).expect("an evaluation");
        let changed: [u8; 32] = (scalar + Fr::ONE).to_repr();
        tampered[at..at + 32].copy_from_slice(&changed);
        let (ours, theirs) = (setup.ours(&instances, &tampered), setup.theirs(&instances, &tampered));
        assert_eq!((ours.lhs, ours.rhs), (theirs.lhs, theirs.rhs), "equal on wrong proofs too");
        assert_eq!(setup.decide(&ours), Err(AccumulatorError::Pairing), "scalar at byte {at}");
    }
    for row in 0..instances.len() {
        let mut instances = instances.clone();
        instances[row] += Fr::ONE;
        let ours = setup.ours(&instances, &proof);
        assert_eq!(setup.decide(&ours), Err(AccumulatorError::Pairing), "instance {row}");
    }
}

#[test]
fn accumulator_of_no_points_is_refused() {
    let setup = Setup::new(Rule::AdamW);
    let params = &setup.key.params;
    let infinity = KzgAccumulator::new(G1Affine::identity(), G1Affine::identity());
    assert_eq!(setup.decide(&infinity), Err(AccumulatorError::Infinity { point: 0 }), "0 = 0 proves nothing");
    for got in [0, 9, 15] {
        assert_eq!(check(params, &vec![Fr::ONE; got]), Err(AccumulatorError::Limbs { got }));
    }
    assert_eq!(check(params, &[Fr::ONE; 12]), Err(AccumulatorError::NotOnCurve { point: 0 }));
    assert_eq!(check(params, &[-Fr::ONE; 12]), Err(AccumulatorError::Wide { index: 0 }));
}

#[test]
fn equal_bases_are_summed() {
    let mut rng = StdRng::seed_from_u64(3);
    let points: Vec<G1Affine> = (0..3).map(|_| (G1Affine::generator() * Fr::random(&mut rng)).to_affine()).collect();
    let mut msm = MergedMsm::<G1Affine, NativeLoader>::default();
    assert!(msm.is_empty());
    let mut sum = G1Affine::identity().to_curve();
    for _ in 0..4 {
        for (i, point) in points.iter().enumerate() {
            let scalar = Fr::random(&mut rng);
            msm.add(Base::Fixed(i), &scalar, point);
            sum += *point * scalar;
        }
    }
    assert_eq!(msm.len(), 3);
    assert_eq!(msm.evaluate(), sum.to_affine());
}
