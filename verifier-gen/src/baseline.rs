//! The verifier that snark-verifier's EVM loader emits for the same key: what ours is compared with in tests and in
//! the gas table. Not for deployment.
//!
//! A fallback function whose calldata is the instances, 32 bytes each, followed by halo2's proof; it reverts without
//! data when the proof is wrong and returns nothing when it is right.

use std::rc::Rc;

use halo2_proofs::{
    halo2curves::{
        bn256::{Bn256, Fq, Fr, G1Affine},
        ff::PrimeField,
    },
    plonk::VerifyingKey,
    poly::{commitment::ParamsProver, kzg::commitment::ParamsKZG},
};
use snark_verifier::{
    loader::evm::EvmLoader,
    pcs::kzg::{Bdfg21, KzgAs, KzgDecidingKey, LimbsEncoding},
    system::halo2::{Config, compile, transcript::evm::EvmTranscript},
    verifier::{SnarkVerifier, plonk::PlonkVerifier},
};

use crate::shape::{ACCUMULATOR_LIMBS, Accumulator, LIMB_BITS, LIMBS};

type Verifier = PlonkVerifier<KzgAs<Bn256, Bdfg21>, LimbsEncoding<LIMBS, LIMB_BITS>>;

/// The loader's source for a key that [`crate::generate`] accepts.
///
/// Errors: snark-verifier's, when it can't express the key.
pub fn generate(
    params: &ParamsKZG<Bn256>,
    vk: &VerifyingKey<G1Affine>,
    n_instances: usize,
    accumulator: Accumulator,
) -> Result<String, snark_verifier::Error> {
    let indices = match accumulator {
        Accumulator::None => None,
        Accumulator::Limbs { first } => Some((first..first + ACCUMULATOR_LIMBS).map(|i| (0, i)).collect()),
    };
    let config = Config::kzg().with_num_instance(vec![n_instances]).with_accumulator_indices(indices);
    let protocol = compile(params, vk, config);
    let deciding_key: KzgDecidingKey<Bn256> = (params.get_g()[0], params.g2(), params.s_g2()).into();
    let loader = EvmLoader::new::<Fq, Fr>();
    let protocol = protocol.loaded(&loader);
    let mut transcript = EvmTranscript::<_, Rc<EvmLoader>, _, _>::new(&loader);
    let instances = transcript.load_instances(vec![n_instances]);
    let proof = Verifier::read_proof(&deciding_key, &protocol, &instances, &mut transcript)?;
    Verifier::verify(&deciding_key, &protocol, &instances, &proof)?;
    // The loader pins an older compiler than ours.
    Ok(loader.solidity_code().replace("pragma solidity 0.8.19;", "pragma solidity ^0.8.19;"))
}

/// Calldata of the baseline: the instances, then halo2's proof.
pub fn calldata(instances: &[Fr], proof: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 * instances.len() + proof.len());
    for instance in instances {
        out.extend(instance.to_repr().iter().rev());
    }
    out.extend(proof);
    out
}
