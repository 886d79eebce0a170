//! Circuits drawn at random: the whole proof is the one of a plain, slow prover, and the library accepts it.

use engine::{CosetCache, generate_key};
use halo2_proofs::SerdeFormat;
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use crate::drawn::Drawn;
use crate::plain;
use crate::support::Tested as _;

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn whole_proof_equals_the_plain_provers(k in 5u32..7, seed: u64, draws: u64) {
        let circuit = Drawn::new(k, seed);
        let keyed = circuit.keyed();
        let key = generate_key(&keyed.params, &circuit).expect("a key");
        prop_assert!(key.to_bytes(SerdeFormat::RawBytes) == keyed.pk.to_bytes(SerdeFormat::RawBytes));
        let ours = keyed.by_engine(&circuit, draws, CosetCache::Off).expect("the engine proves");
        prop_assert!(keyed.verifies(&circuit, &ours), "the library refuses {:?}", circuit);
        let usable = (1 << k) - (keyed.pk.get_vk().cs().blinding_factors() + 1);
        let rng = StdRng::seed_from_u64(draws);
        let plain = plain::prove(&keyed, circuit.advice(usable), &circuit.instances(), rng);
        prop_assert!(ours == plain, "the proofs differ for {:?}", circuit);
    }
}
