//! Real epoch keys and proofs of `testdata/verifier`, and keys from layouts.

use std::sync::LazyLock;

use epochcheck::{EpochProof, EpochVerifyingKey};
use halo2_base::gates::circuit::{BaseCircuitParams, builder::BaseCircuitBuilder};
use halo2_proofs::{
    halo2curves::{
        bn256::{Bn256, Fr, G1Affine},
        group::{Curve, GroupEncoding},
    },
    plonk::{Circuit, ConstraintSystem, VerifyingKey},
    poly::kzg::commitment::ParamsKZG,
};
use ledger::{EpochInstances, FieldElement};
use serde_json::{Value, json};
use srs::{Srs, SrsSize, SrsVerifier};

/// An epoch of real steps with its key.
pub struct Real {
    pub columns: BaseCircuitParams,
    /// halo2's key as it writes it.
    pub halo2_key: Vec<u8>,
    pub key: EpochVerifyingKey,
    pub proof: EpochProof,
    pub params: ParamsKZG<Bn256>,
}

pub static SRS: LazyLock<Srs> =
    LazyLock::new(|| srs::dev::generate(SrsSize::new(4).expect("a size"), &srs::silent).expect("the string"));

/// The development string of any size, as a verifier needs it.
pub fn params(k: u32) -> ParamsKZG<Bn256> {
    SrsVerifier::from(&*SRS).params(SrsSize::new(k).expect("a size"))
}

/// 3 + 1 columns, k = 21.
pub static DEMO: LazyLock<Real> = LazyLock::new(|| real(include_str!("../../../testdata/verifier/epoch_k21.json")));
/// 9 + 1 columns, k = 20.
pub static WIDE: LazyLock<Real> = LazyLock::new(|| real(include_str!("../../../testdata/verifier/epoch_k20.json")));

fn unhex(text: &Value) -> Vec<u8> {
    hex::decode(text.as_str().and_then(|text| text.strip_prefix("0x")).expect("0x")).expect("hex")
}

fn real(file: &str) -> Real {
    let file: Value = serde_json::from_str(file).expect("JSON");
    let columns: BaseCircuitParams = serde_json::from_value(file["circuit"].clone()).expect("columns");
    let words: Vec<FieldElement> = serde_json::from_value(file["instances"].clone()).expect("words below the modulus");
    let instances = EpochInstances::from_words(&words).expect("instances of an epoch");
    let halo2_key = unhex(&file["verifying_key"]);
    let shape = json!({ "n_steps": instances.digests.len(), "n_chunks": 1, "k": columns.k });
    let bytes = key_bytes(&shape, &json!(columns), &halo2_key);
    let key = EpochVerifyingKey::read(&mut &bytes[..]).expect("a key");
    let params = params(columns.k as u32);
    Real { columns, halo2_key, key, proof: EpochProof { instances, proof: unhex(&file["proof"]) }, params }
}

/// A key as `cairn` keeps it.
pub fn key_bytes(shape: &Value, columns: &Value, halo2_key: &[u8]) -> Vec<u8> {
    // As the struct has its fields: this JSON's maps would sort them.
    let layout =
        format!(r#"{{"shape":{shape},"params":{columns},"break_points":[],"stats":{{"cells":0,"columns":0}}}}"#);
    [&(layout.len() as u32).to_be_bytes()[..], layout.as_bytes(), halo2_key].concat()
}

/// Constraints as halo2-base makes them.
pub fn by_library(cs: &mut ConstraintSystem<Fr>, columns: &BaseCircuitParams) {
    drop(BaseCircuitBuilder::<Fr>::configure_with_params(cs, columns.clone()));
}

/// Bytes of a key with these columns and any points.
pub fn made_up_key(columns: &BaseCircuitParams) -> Vec<u8> {
    let mut cs = ConstraintSystem::default();
    by_library(&mut cs, columns);
    let n_fixed = cs.num_fixed_columns() + cs.num_selectors();
    let mut bytes = vec![2];
    bytes.extend((columns.k as u32).to_le_bytes());
    bytes.push(0);
    bytes.extend((n_fixed as u32).to_le_bytes());
    for i in 0..n_fixed + cs.permutation().get_columns().len() {
        let point = (G1Affine::generator() * Fr::from(i as u64 + 2)).to_affine();
        bytes.extend_from_slice(point.to_bytes().as_ref());
    }
    bytes
}

/// halo2's key with the constraints of halo2-base.
pub fn library_key(columns: &BaseCircuitParams, bytes: &[u8]) -> VerifyingKey<G1Affine> {
    vkey::read::<BaseCircuitBuilder<Fr>>(&mut &bytes[..], columns.k as u32, columns.clone()).expect("a key")
}
