//! Keys and labels that no verifier is generated for, each refused by name.

use halo2_base::halo2_proofs::{
    circuit::{Layouter, SimpleFloorPlanner},
    halo2curves::bn256::{Bn256, Fr, G1Affine},
    plonk::{Circuit, ConstraintSystem, Error, Expression, VerifyingKey, keygen_vk},
    poly::{
        Rotation,
        commitment::{Params, ParamsProver},
        kzg::commitment::ParamsKZG,
    },
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use verifier_gen::{Accumulator, EncodeError, Encoder, GenerateError, Options, generate};

use crate::circuits::{self, Case};

/// A circuit of so many instance columns and a gate of this degree, with a sum of that many nested products.
#[derive(Clone, Copy, Default)]
struct Odd<const COLUMNS: usize, const DEGREE: usize, const NESTING: usize>;

impl<const COLUMNS: usize, const DEGREE: usize, const NESTING: usize> Circuit<Fr> for Odd<COLUMNS, DEGREE, NESTING> {
    type Config = ();
    type FloorPlanner = SimpleFloorPlanner;
    type Params = ();

    fn without_witnesses(&self) -> Self {
        *self
    }

    fn configure(meta: &mut ConstraintSystem<Fr>) {
        let advice = meta.advice_column();
        let fixed = meta.fixed_column();
        for _ in 0..COLUMNS {
            meta.instance_column();
        }
        meta.create_gate("power", |cells| {
            let a = cells.query_advice(advice, Rotation::cur());
            let q = cells.query_fixed(fixed, Rotation::cur());
            let mut power = q;
            for _ in 1..DEGREE {
                power = power * a.clone();
            }
            let mut tree = power;
            for _ in 0..NESTING {
                tree = tree.clone() + tree;
            }
            vec![tree + Expression::Constant(Fr::zero())]
        });
    }

    fn synthesize(&self, (): (), mut layouter: impl Layouter<Fr>) -> Result<(), Error> {
        layouter.assign_region(|| "nothing", |_| Ok(()))
    }
}

fn key(circuit: &impl Circuit<Fr>) -> (ParamsKZG<Bn256>, VerifyingKey<G1Affine>) {
    let params = ParamsKZG::<Bn256>::setup(5, ChaCha20Rng::seed_from_u64(1));
    let vk = keygen_vk(&params, circuit).expect("a key");
    (params, vk)
}

const OPTIONS: Options<'static> =
    Options { contract: "Verifier", n_instances: 2, accumulator: Accumulator::None, command: "test" };

fn refusal(case: &Case, options: &Options<'_>) -> GenerateError {
    generate(&case.params, &case.vk, options).expect_err("refused")
}

#[test]
fn an_srs_of_another_size_is_refused() {
    let case = circuits::plonk();
    let other = ParamsKZG::<Bn256>::setup(6, ChaCha20Rng::seed_from_u64(1));
    let error = generate(&other, &case.vk, &OPTIONS).expect_err("refused");
    assert!(matches!(error, GenerateError::SrsSize { expected: 5, got: 6 }), "{error}");
    assert_eq!(case.params.k(), 5);
    assert!(!case.params.get_g().is_empty());
}

#[test]
fn a_key_without_or_with_two_instance_columns_is_refused() {
    let (params, vk) = key(&Odd::<0, 3, 0>);
    let error = generate(&params, &vk, &OPTIONS).expect_err("refused");
    assert!(matches!(error, GenerateError::InstanceColumns { expected: 1, got: 0 }), "{error}");
    let (params, vk) = key(&Odd::<2, 3, 0>);
    let error = generate(&params, &vk, &OPTIONS).expect_err("refused");
    assert!(matches!(error, GenerateError::InstanceColumns { expected: 1, got: 2 }), "{error}");
}

#[test]
fn a_gate_above_the_degree_cap_is_refused() {
    let (params, vk) = key(&Odd::<1, 7, 0>);
    let error = generate(&params, &vk, &OPTIONS).expect_err("refused");
    assert!(matches!(error, GenerateError::Degree { constraints: 7, quotient: 5 }), "{error}");
}

#[test]
fn a_constraint_too_wide_for_the_stack_is_refused() {
    let (params, vk) = key(&Odd::<1, 3, 10>);
    let error = generate(&params, &vk, &OPTIONS).expect_err("refused");
    assert!(matches!(error, GenerateError::TooNested { constraint: 0 }), "{error}");
    let (params, vk) = key(&Odd::<1, 3, 4>);
    assert!(generate(&params, &vk, &OPTIONS).is_ok());
}

#[test]
fn more_instances_than_rows_are_refused() {
    let error = refusal(&circuits::plonk(), &Options { n_instances: 32, ..OPTIONS });
    assert!(matches!(error, GenerateError::TooManyInstances { limit: 26, got: 32 }), "{error}");
}

#[test]
fn an_accumulator_beyond_the_instances_is_refused() {
    for first in [0, usize::MAX] {
        let options = Options { n_instances: 11, accumulator: Accumulator::Limbs { first }, ..OPTIONS };
        let error = refusal(&circuits::plonk(), &options);
        assert!(matches!(error, GenerateError::AccumulatorBeyondInstances { got: 11, .. }), "{error}");
    }
}

#[test]
fn labels_cannot_become_code() {
    let case = circuits::plonk();
    for contract in ["", "1st", "A {}", "A\n", "Ä"] {
        let error = refusal(&case, &Options { contract, ..OPTIONS });
        assert!(matches!(&error, GenerateError::ContractName { got } if got == contract), "{error}");
    }
    let error = refusal(&case, &Options { command: "a\ncontract B {}", ..OPTIONS });
    assert!(matches!(error, GenerateError::Command { .. }), "{error}");
}

#[test]
fn what_is_no_proof_of_the_key_is_not_encoded() {
    let case = circuits::plonk();
    let encoder: Encoder = case.encoder();
    let error = encoder.encode_proof(&case.proof[1..], &case.instances).expect_err("refused");
    let expected = encoder.halo2_proof_len();
    assert!(matches!(error, EncodeError::ProofLength { expected: e, got } if e == expected && got == e - 1), "{error}");
    let error = encoder.encode_calldata(&case.proof, &case.instances[1..]).expect_err("refused");
    assert!(matches!(error, EncodeError::InstanceCount { expected: 2, got: 1 }), "{error}");
}
