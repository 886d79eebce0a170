//! Keys have the digests of halo2-base's, and bytes that are none are refused.

use epochcheck::{ColumnsError, EpochProofError, EpochVerifyingKey};
use halo2_base::{
    AssignedValue,
    gates::{
        GateInstructions, RangeInstructions,
        circuit::{BaseCircuitParams, CircuitBuilderStage, builder::BaseCircuitBuilder},
    },
};
use halo2_proofs::{SerdeFormat, halo2curves::bn256::Fr, plonk::keygen_vk};
use serde_json::{Value, json};
use vkey::KeyError;

use crate::support::{DEMO, WIDE, key_bytes, library_key, made_up_key};

const K: u32 = 10;

fn shape(n_steps: usize, k: u32) -> Value {
    json!({ "n_steps": n_steps, "n_chunks": 1, "k": k })
}

fn columns(k: u32, n_advice: usize, n_lookup: usize, n_fixed: usize) -> BaseCircuitParams {
    BaseCircuitParams {
        k: k as usize,
        num_advice_per_phase: vec![n_advice],
        num_fixed: n_fixed,
        num_lookup_advice_per_phase: vec![n_lookup, 0, 0],
        lookup_bits: Some(k as usize - 1),
        num_instance_columns: 1,
    }
}

fn same(ours: &EpochVerifyingKey, columns: &BaseCircuitParams, bytes: &[u8]) {
    let theirs = library_key(columns, bytes);
    assert_eq!(ours.digest(), theirs.transcript_repr(), "{columns:?}");
    assert_eq!(format!("{:?}", ours.inner().pinned()), format!("{:?}", theirs.pinned()), "{columns:?}");
}

#[test]
fn constraints_are_halo2_bases() {
    for k in [8, 10, 12] {
        for n_advice in [1, 2, 3, 5, 9] {
            for n_lookup in 1..=3 {
                for n_fixed in 1..=2 {
                    let columns = columns(k, n_advice, n_lookup, n_fixed);
                    let halo2_key = made_up_key(&columns);
                    let bytes = key_bytes(&shape(4, k), &json!(columns), &halo2_key);
                    let ours = EpochVerifyingKey::read(&mut &bytes[..]).expect("a key");
                    same(&ours, &columns, &halo2_key);
                }
            }
        }
    }
}

/// A circuit that uses all that there is: gates, copies, constants, lookups, instances.
fn small(n_columns: usize) -> (BaseCircuitBuilder<Fr>, BaseCircuitParams) {
    let k = K as usize;
    let mut builder = BaseCircuitBuilder::<Fr>::from_stage(CircuitBuilderStage::Keygen)
        .use_k(k)
        .use_lookup_bits(k - 1)
        .use_instance_columns(1);
    let range = builder.range_chip();
    let ctx = builder.main(0);
    let cells: Vec<AssignedValue<Fr>> = (0..22).map(|i| ctx.load_witness(Fr::from(i))).collect();
    for i in 0..250 * n_columns - 190 {
        range.gate().mul(ctx, cells[i % 22], cells[i % 7]);
    }
    for cell in &cells {
        range.range_check(ctx, *cell, 60);
    }
    ctx.load_constant(Fr::from(77));
    builder.assigned_instances = vec![cells];
    let columns = builder.calculate_params(Some(9));
    (builder, columns)
}

#[test]
fn keys_of_real_circuits_are_the_librarys() {
    let srs = srs::dev::generate(srs::SrsSize::new(K).expect("a size"), &srs::silent).expect("the string");
    let mut advice = Vec::new();
    for n_columns in 1..=3 {
        let (builder, columns) = small(n_columns);
        let theirs = keygen_vk(srs.params(), &builder).expect("a key");
        let halo2_key = theirs.to_bytes(SerdeFormat::Processed);
        let bytes = key_bytes(&shape(4, K), &json!(columns), &halo2_key);
        let ours = EpochVerifyingKey::read(&mut &bytes[..]).expect("a key");
        assert_eq!(ours.digest(), theirs.transcript_repr(), "{columns:?}");
        assert_eq!(format!("{:?}", ours.inner().pinned()), format!("{:?}", theirs.pinned()), "{columns:?}");
        advice.push(columns.num_advice_per_phase[0]);
    }
    assert!(advice[0] == 1 && advice[2] > 1, "with and without a column of their own for lookups: {advice:?}");
}

#[test]
fn keys_of_real_epochs_are_the_librarys() {
    for real in [&DEMO, &WIDE] {
        same(&real.key, &real.columns, &real.halo2_key);
    }
    // The demo's key as it is in the cache: magic before it, a digest behind it.
    let file = include_bytes!("../../../testdata/anchor/epoch_key.vk");
    let bytes = &file[8..file.len() - 32];
    let key = EpochVerifyingKey::read(&mut &bytes[..]).expect("a key");
    let demo: Value = serde_json::from_str(include_str!("../../../testdata/anchor/demo.json")).expect("JSON");
    assert_eq!(circuits::convert::from_fr(&key.digest()).to_string(), demo["verifier_key"].as_str().expect("a digest"));
    assert_eq!(key.to_bytes().expect("a buffer"), bytes, "written as it was read");
    assert_eq!((bytes.len(), key.n_instances()), (598, 22));
}

fn refused(bytes: &[u8]) -> EpochProofError {
    EpochVerifyingKey::read(&mut &bytes[..]).expect_err("refused")
}

#[test]
fn columns_that_no_epoch_has_are_refused() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let good = columns(K, 3, 1, 1);
        let mut changed = json!(good);
        change(&mut changed);
        match refused(&key_bytes(&shape(4, K), &changed, &made_up_key(&good))) {
            EpochProofError::Columns(error) => error,
            other => panic!("{other}"),
        }
    };
    for phases in [json!([]), json!([0]), json!([3, 1]), json!([1025]), json!([3, 0, 0, 0])] {
        let error = refused(&|columns| columns["num_advice_per_phase"] = phases.clone());
        assert!(matches!(error, ColumnsError::Advice { .. }), "{error}");
        let error = refused(&|columns| columns["num_lookup_advice_per_phase"] = phases.clone());
        assert!(matches!(error, ColumnsError::Lookup { .. }), "{error}");
    }
    for got in [0, 1025] {
        assert_eq!(refused(&|columns| columns["num_fixed"] = json!(got)), ColumnsError::Fixed { got });
    }
    for got in [0, 2] {
        let error = refused(&|columns| columns["num_instance_columns"] = json!(got));
        assert_eq!(error, ColumnsError::Instances { got });
    }
    for got in [None, Some(8), Some(10)] {
        let error = refused(&|columns| columns["lookup_bits"] = json!(got));
        assert_eq!(error, ColumnsError::LookupBits { expected: 9, got });
    }
    assert_eq!(refused(&|columns| columns["k"] = json!(11)), ColumnsError::K { expected: K, got: 11 });
}

#[test]
fn shapes_that_no_epoch_has_are_refused() {
    let columns = columns(K, 3, 1, 1);
    let key = made_up_key(&columns);
    let refused = |shape: Value| refused(&key_bytes(&shape, &json!(columns), &key));
    for (n_steps, n_chunks) in [(0, 1), (3, 1), (1 << 17, 1), (4, 0), (usize::MAX, 1)] {
        let error = refused(json!({ "n_steps": n_steps, "n_chunks": n_chunks, "k": K }));
        assert!(
            matches!(error, EpochProofError::Shape { n_steps: s, n_chunks: c } if (s, c) == (n_steps, n_chunks)),
            "{error}"
        );
    }
    for k in [0, 7, 27, u32::MAX] {
        let error = refused(shape(4, k));
        assert!(
            matches!(error, EpochProofError::Columns(ColumnsError::K { expected, .. }) if expected == k),
            "{error}"
        );
    }
    let error = refused(shape(1024, K));
    assert!(matches!(error, EpochProofError::Rows { got: 1042, limit } if limit < 1024), "{error}");
}

#[test]
fn bytes_that_are_no_key_are_refused() {
    let columns = columns(K, 3, 1, 1);
    let bytes = key_bytes(&shape(4, K), &json!(columns), &made_up_key(&columns));
    EpochVerifyingKey::read(&mut &bytes[..]).expect("a key");
    for len in 0..bytes.len() {
        let error = refused(&bytes[..len]);
        assert!(
            matches!(
                error,
                EpochProofError::Io(_) | EpochProofError::Layout(_) | EpochProofError::Key(KeyError::Io(_))
            ),
            "{len} bytes: {error}"
        );
    }
    let error = refused(&[&bytes[..], &[0]].concat());
    assert!(matches!(error, EpochProofError::Key(KeyError::Trailing)), "{error}");
    let mut longer = bytes.clone();
    longer[..4].fill(0xff);
    let error = refused(&longer);
    assert!(matches!(error, EpochProofError::LayoutLength { got: 0xffff_ffff, .. }), "{error}");
    let mut other = bytes.clone();
    let last = other.len() - 32;
    other[last..].fill(0xff);
    let error = refused(&other);
    assert!(matches!(error, EpochProofError::Key(KeyError::Point { .. })), "{error}");
    let mut other = bytes;
    other[4] = b'[';
    assert!(matches!(refused(&other), EpochProofError::Layout(_)));
}
