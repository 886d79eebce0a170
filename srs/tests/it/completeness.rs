//! Strings made or imported here are what halo2 takes them for.

use halo2_proofs::{
    SerdeFormat,
    circuit::{Layouter, SimpleFloorPlanner, Value},
    halo2curves::{
        bn256::{Bn256, Fr, G1Affine, G2Affine},
        ff::Field,
        group::Curve,
        pairing::Engine,
    },
    plonk::{
        Advice, Circuit, Column, ConstraintSystem, Error, Instance, Selector, create_proof, keygen_pk, keygen_vk,
        verify_proof,
    },
    poly::{
        EvaluationDomain, Rotation,
        commitment::{Blind, Params, ParamsProver},
        kzg::{
            commitment::{KZGCommitmentScheme, ParamsKZG},
            multiopen::{ProverSHPLONK, VerifierSHPLONK},
            strategy::SingleStrategy,
        },
    },
    transcript::{Blake2bRead, Blake2bWrite, Challenge255, TranscriptReadBuffer, TranscriptWriterBuffer},
};
use rand_core::{OsRng, RngCore, impls};
use sha2::{Digest, Sha256};
use srs::{SrsCache, SrsLabel, dev, ptau, silent};

use crate::support::{label, size, testdata};

/// Plays the bytes from which the development τ is reduced, so that halo2's own set-up draws the same τ.
struct SeedPlayer(Vec<u8>);

impl RngCore for SeedPlayer {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }
    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_fill(self)
    }
    fn fill_bytes(&mut self, out: &mut [u8]) {
        out.copy_from_slice(&self.0.drain(..out.len()).collect::<Vec<_>>());
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

fn bytes(params: &ParamsKZG<Bn256>) -> Vec<u8> {
    let mut out = vec![];
    params.write_custom(&mut out, SerdeFormat::RawBytesUnchecked).unwrap();
    out
}

#[test]
fn development_string_equals_the_set_up_of_halo2_for_the_same_tau() {
    let seed: Vec<u8> = [0u8, 1]
        .iter()
        .flat_map(|&i| Sha256::new().chain_update([i]).chain_update(dev::PUBLIC_SEED).finalize())
        .collect();
    for k in [1, 3, 8, 11] {
        let ours = dev::generate(size(k), &silent).unwrap();
        let theirs = ParamsKZG::<Bn256>::setup(k, SeedPlayer(seed.clone()));
        assert_eq!(bytes(ours.params()), bytes(&theirs), "k = {k}");
        assert_eq!(ours.info().digest.0, <[u8; 32]>::from(Sha256::digest(bytes(&theirs))));
        assert!(!ours.info().secure);
    }
}

#[test]
fn development_strings_of_different_sizes_share_their_powers() {
    let (small, large) = (dev::generate(size(4), &silent).unwrap(), dev::generate(size(9), &silent).unwrap());
    assert_eq!(small.params().get_g(), &large.params().get_g()[..16]);
    assert_eq!(small.params().s_g2(), large.params().s_g2());
    assert_eq!(bytes(large.downsize(size(4), &silent).unwrap().params()), bytes(small.params()));
}

#[test]
fn ptau_commitments_agree_in_both_bases_and_powers_pair() {
    for name in ["powers7.ptau", "powers7_prepared.ptau"] {
        let srs = ptau::import(&testdata(name), size(6), label(), &silent).unwrap();
        let params = srs.params();
        let domain = EvaluationDomain::<Fr>::new(1, 6);
        let mut values = domain.empty_lagrange();
        values.iter_mut().for_each(|v| *v = Fr::random(OsRng));
        let coefficients = domain.lagrange_to_coeff(values.clone());
        let by_values = params.commit_lagrange(&values, Blind::default());
        assert_eq!(by_values, params.commit(&coefficients, Blind::default()));
        let g = params.get_g();
        for i in 0..g.len() - 1 {
            assert_eq!(Bn256::pairing(&g[i + 1], &G2Affine::generator()), Bn256::pairing(&g[i], &params.s_g2()));
        }
    }
}

#[test]
fn a_proof_made_with_each_kind_of_string_verifies_and_a_wrong_instance_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let cache = SrsCache::new(dir.path());
    cache.development(size(5), &silent).unwrap();
    let loaded = cache.load(&SrsLabel::development(), size(5), &silent).unwrap();
    let computed = ptau::import(&testdata("powers7.ptau"), size(5), label(), &silent).unwrap();
    let section = ptau::import(&testdata("powers7_prepared.ptau"), size(5), label(), &silent).unwrap();
    for srs in [loaded, computed, section] {
        let proof = prove_square(srs.params(), Fr::from(12));
        assert!(verify_square(srs.params(), Fr::from(144), &proof));
        assert!(!verify_square(srs.params(), Fr::from(145), &proof));
    }
}

/// "I know the square root of the instance."
#[derive(Clone, Default)]
struct SquareCircuit {
    root: Value<Fr>,
}

impl Circuit<Fr> for SquareCircuit {
    type Config = (Column<Advice>, Column<Instance>, Selector);
    type FloorPlanner = SimpleFloorPlanner;
    type Params = ();

    fn without_witnesses(&self) -> Self {
        Self::default()
    }

    fn configure(cs: &mut ConstraintSystem<Fr>) -> Self::Config {
        let (root, square, selector) = (cs.advice_column(), cs.instance_column(), cs.selector());
        cs.create_gate("square", |cells| {
            let root = cells.query_advice(root, Rotation::cur());
            let square = cells.query_instance(square, Rotation::cur());
            vec![cells.query_selector(selector) * (root.clone() * root - square)]
        });
        (root, square, selector)
    }

    fn synthesize(&self, (root, _, selector): Self::Config, mut layouter: impl Layouter<Fr>) -> Result<(), Error> {
        layouter.assign_region(
            || "square",
            |mut region| {
                selector.enable(&mut region, 0)?;
                region.assign_advice(root, 0, self.root);
                Ok(())
            },
        )
    }
}

fn prove_square(params: &ParamsKZG<Bn256>, root: Fr) -> Vec<u8> {
    let vk = keygen_vk(params, &SquareCircuit::default()).unwrap();
    let pk = keygen_pk(params, vk, &SquareCircuit::default()).unwrap();
    let circuit = SquareCircuit { root: Value::known(root) };
    let mut transcript = Blake2bWrite::<_, G1Affine, Challenge255<_>>::init(vec![]);
    create_proof::<KZGCommitmentScheme<Bn256>, ProverSHPLONK<'_, Bn256>, _, _, _, _>(
        params,
        &pk,
        &[circuit],
        &[&[&[root.square()]]],
        OsRng,
        &mut transcript,
    )
    .unwrap();
    transcript.finalize()
}

fn verify_square(params: &ParamsKZG<Bn256>, square: Fr, proof: &[u8]) -> bool {
    let vk = keygen_vk(params, &SquareCircuit::default()).unwrap();
    let mut transcript = Blake2bRead::<_, G1Affine, Challenge255<_>>::init(proof);
    verify_proof::<KZGCommitmentScheme<Bn256>, VerifierSHPLONK<'_, Bn256>, _, _, SingleStrategy<'_, Bn256>>(
        params.verifier_params(),
        &vk,
        SingleStrategy::new(params),
        &[&[&[square]]],
        &mut transcript,
    )
    .is_ok()
}

#[test]
fn public_tau_opens_the_development_string() {
    // The reason for the label: anybody can compute τH, and so every other point.
    let tau_h = (G2Affine::generator() * dev::tau()).to_affine();
    assert_eq!(dev::generate(size(2), &silent).unwrap().params().s_g2(), tau_h);
}
