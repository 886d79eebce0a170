//! Epoch proofs of real runs with their verifying keys, as `testdata/verifier` keeps them: nothing is proved or keyed.

use std::{fs, path::PathBuf};

use halo2_base::{
    gates::circuit::{BaseCircuitParams, builder::BaseCircuitBuilder},
    halo2_proofs::{
        SerdeFormat,
        halo2curves::{
            bn256::{Bn256, Fr, G1Affine, G2Affine},
            ff::PrimeField,
        },
        plonk::VerifyingKey,
        poly::kzg::commitment::ParamsKZG,
    },
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use verifier_gen::{Accumulator, Options, VerifierSource};

use crate::circuits::Case;

/// An epoch proof under the development SRS.
#[derive(Serialize, Deserialize)]
pub struct Vector {
    /// Command that wrote the file.
    pub made_by: String,
    /// Columns of the halo2-base circuit.
    pub circuit: BaseCircuitParams,
    /// halo2's verifying key in its `Processed` format, 0x-hex.
    pub verifying_key: String,
    /// Instances as 32-byte words, 0x-hex; the accumulator is the first twelve.
    pub instances: Vec<String>,
    /// halo2's proof, 0x-hex.
    pub proof: String,
}

impl Vector {
    /// A file of `testdata/verifier`.
    pub fn read(file: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata/verifier").join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("parse {}: {e}", path.display()))
    }

    /// The proof with all that is needed to check it; the name is also the contract's, before `Verifier`.
    pub fn case(&self, name: &'static str) -> Case {
        let key = unhex(&self.verifying_key);
        let vk = VerifyingKey::<G1Affine>::read::<_, BaseCircuitBuilder<Fr>>(
            &mut key.as_slice(),
            SerdeFormat::Processed,
            self.circuit.clone(),
        )
        .expect("a verifying key");
        let instances = self.instances.iter().map(|word| {
            let mut bytes: [u8; 32] = unhex(word).try_into().expect("32 bytes");
            bytes.reverse();
            Fr::from_repr(bytes).expect("below the modulus")
        });
        Case {
            name,
            params: verifying_params(vk.get_domain().k()),
            instances: instances.collect(),
            accumulator: Accumulator::Limbs { first: 0 },
            proof: unhex(&self.proof),
            vk,
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text.strip_prefix("0x").expect("0x")).expect("hex")
}

/// The development SRS with what a verifier reads of it, and no more: the generators and τ in G2.
fn verifying_params(k: u32) -> ParamsKZG<Bn256> {
    let small = ParamsKZG::<Bn256>::setup(1, ChaCha20Rng::seed_from_u64(0));
    let g = vec![G1Affine::generator()];
    small.from_parts(k, g.clone(), Some(g), G2Affine::generator(), srs::dev::tau_g2())
}

/// An epoch of the demo: 3 + 1 advice columns.
pub fn demo() -> Case {
    Vector::read("epoch_k21.json").case("Epoch4")
}

/// An epoch as circuits before were: 9 + 1 advice columns.
pub fn wide() -> Case {
    Vector::read("epoch_k20.json").case("Epoch4Wide")
}

/// Path of the committed verifier of the demo's epochs, from the repository's root.
pub const COMMITTED: &str = "contracts/src/generated/EpochVerifier4.sol";

/// That verifier, generated anew.
pub fn committed() -> VerifierSource {
    let case = demo();
    let options = Options {
        contract: "EpochVerifier4",
        n_instances: case.instances.len(),
        accumulator: case.accumulator,
        command: "cargo xtask generate",
    };
    verifier_gen::generate(&case.params, &case.vk, &options).expect("a supported key")
}
