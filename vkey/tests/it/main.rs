//! Domains and keys are the library's; bytes that are no key are refused, each for its own reason.

use halo2_proofs::{
    SerdeFormat,
    circuit::{Layouter, SimpleFloorPlanner, Value},
    halo2curves::bn256::{Bn256, Fr, G1Affine},
    plonk::{Advice, Circuit, Column, ConstraintSystem, Error, Fixed, Selector, VerifyingKey, keygen_vk},
    poly::{EvaluationDomain, Rotation, kzg::commitment::ParamsKZG},
};
use rand::{SeedableRng, rngs::StdRng};
use vkey::{KeyError, domain, read};

const K: u32 = 4;
/// Bytes before the points.
const HEADER: usize = 10;
const POINT: usize = 32;
/// Two fixed columns and a selector.
const FIXED: usize = 3;
/// Two advice columns and a fixed one are permuted.
const PERMUTED: usize = 3;

/// `selector·(a·b − f) = 0`, with copies.
#[derive(Clone, Default)]
struct Product;

#[derive(Clone)]
struct Config {
    advice: [Column<Advice>; 2],
    fixed: [Column<Fixed>; 2],
    selector: Selector,
}

impl Circuit<Fr> for Product {
    type Config = Config;
    type FloorPlanner = SimpleFloorPlanner;
    type Params = ();

    fn without_witnesses(&self) -> Self {
        Self
    }

    fn configure(meta: &mut ConstraintSystem<Fr>) -> Config {
        let advice = [meta.advice_column(), meta.advice_column()];
        let fixed = [meta.fixed_column(), meta.fixed_column()];
        let selector = meta.selector();
        advice.iter().for_each(|column| meta.enable_equality(*column));
        meta.enable_equality(fixed[0]);
        meta.create_gate("product", |meta| {
            let [a, b] = advice.map(|column| meta.query_advice(column, Rotation::cur()));
            let [f, g] = fixed.map(|column| meta.query_fixed(column, Rotation::cur()));
            let selector = meta.query_selector(selector);
            vec![selector * (a * b * g - f)]
        });
        Config { advice, fixed, selector }
    }

    fn synthesize(&self, config: Config, mut layouter: impl Layouter<Fr>) -> Result<(), Error> {
        layouter.assign_region(
            || "product",
            |mut region| {
                config.selector.enable(&mut region, 0)?;
                let six = region.assign_fixed(config.fixed[0], 0, Fr::from(6));
                region.assign_fixed(config.fixed[1], 0, Fr::from(1));
                region.assign_advice(config.advice[0], 0, Value::known(Fr::from(2)));
                region.assign_advice(config.advice[1], 0, Value::known(Fr::from(3)));
                let copy = region.assign_advice(config.advice[0], 1, Value::known(Fr::from(6)));
                region.constrain_equal(six, copy.cell());
                Ok(())
            },
        )
    }
}

fn library_key() -> VerifyingKey<G1Affine> {
    let params = ParamsKZG::<Bn256>::setup(K, StdRng::seed_from_u64(1));
    keygen_vk(&params, &Product).expect("a key")
}

fn refused(bytes: &[u8]) -> KeyError {
    read::<Product>(&mut &bytes[..], K, ()).expect_err("refused")
}

#[test]
fn domains_are_the_librarys() {
    for degree in 1..=10 {
        for k in 1..=6 {
            let (ours, theirs) = (domain(degree, k), EvaluationDomain::<Fr>::new(degree as u32, k));
            assert!(ours.fft_data.is_empty() && !theirs.fft_data.is_empty());
            let without_factors = EvaluationDomain { fft_data: Default::default(), ..theirs };
            assert_eq!(format!("{ours:?}"), format!("{without_factors:?}"), "degree {degree}, k = {k}");
        }
    }
}

#[test]
fn keys_are_the_librarys() {
    let key = library_key();
    let bytes = key.to_bytes(SerdeFormat::Processed);
    assert_eq!(bytes.len(), HEADER + (FIXED + PERMUTED) * POINT);
    let ours = read::<Product>(&mut &bytes[..], K, ()).expect("a key");
    assert_eq!(ours.transcript_repr(), key.transcript_repr());
    assert_eq!(ours.to_bytes(SerdeFormat::Processed), bytes);
    assert_eq!(format!("{:?}", ours.pinned()), format!("{:?}", key.pinned()));
}

#[test]
fn what_is_no_key_is_refused() {
    let bytes = library_key().to_bytes(SerdeFormat::Processed);
    let changed = |at: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = to;
        bytes
    };
    for (at, to) in [(0, 1), (1, K as u8 + 1), (4, 1), (5, 1)] {
        let error = refused(&changed(at, to));
        assert!(matches!(error, KeyError::Header { got, .. } if got[at] == to), "{error}");
    }
    let error = refused(&changed(6, 4));
    assert!(matches!(error, KeyError::FixedColumns { expected: FIXED, got: 4 }), "{error}");
    let error = refused(&changed(9, 255));
    assert!(matches!(error, KeyError::FixedColumns { expected: FIXED, .. }), "{error}");
    for index in [0, FIXED - 1, FIXED, FIXED + PERMUTED - 1] {
        let mut bytes = bytes.clone();
        bytes[HEADER + index * POINT..][..POINT].fill(0xff);
        let error = refused(&bytes);
        assert!(matches!(error, KeyError::Point { index: got } if got == index), "{error}");
    }
    for len in 0..bytes.len() {
        let error = refused(&bytes[..len]);
        assert!(matches!(error, KeyError::Io(_)), "{len} bytes: {error}");
    }
    let error = refused(&[&bytes[..], &[0]].concat());
    assert!(matches!(error, KeyError::Trailing), "{error}");
}
