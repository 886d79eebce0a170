//! Keys in files: read as they were written, and refused if they are not whole or another circuit's.

use engine::{EngineError, generate_key, generate_verifying_key, read_key, write_key};
use halo2_proofs::SerdeFormat;
use vkey::KeyError;

use crate::support::{Features, Mixed, keyed};

const K: u32 = 5;

fn features(lookups: usize) -> Features {
    Features { k: K, widths: 2, permutation: true, lookups, ..Features::default() }
}

fn read(bytes: &[u8], lookups: usize) -> Result<Vec<u8>, EngineError> {
    let key = read_key::<Mixed>(&mut &bytes[..], K, features(lookups))?;
    Ok(key.to_bytes(SerdeFormat::RawBytes))
}

#[test]
fn a_key_is_read_as_it_was_written() {
    let circuit = Mixed::new(features(1));
    let library = keyed(&circuit);
    let key = generate_key(&library.params, &circuit).expect("a key");
    let mut bytes = Vec::new();
    write_key(&key, &mut bytes).expect("memory is enough");
    assert!(read(&bytes, 1).expect("a key") == key.to_bytes(SerdeFormat::RawBytes));
    let again = read_key::<Mixed>(&mut &bytes[..], K, features(1)).expect("a key");
    assert_eq!(again.get_vk().transcript_repr(), library.pk.get_vk().transcript_repr());
    let verifying = generate_verifying_key(&library.params, &circuit).expect("a key");
    assert_eq!(verifying.transcript_repr(), library.pk.get_vk().transcript_repr());
}

#[test]
fn what_is_not_the_key_is_refused() {
    let circuit = Mixed::new(features(1));
    let key = generate_key(&keyed(&circuit).params, &circuit).expect("a key");
    let mut bytes = Vec::new();
    write_key(&key, &mut bytes).expect("memory is enough");
    for len in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
        let error = read(&bytes[..len], 1).expect_err("refused");
        assert!(matches!(error, EngineError::Key(KeyError::Io(_))), "{len} bytes: {error}");
    }
    let error = read(&[&bytes[..], &[0]].concat(), 1).expect_err("refused");
    assert!(matches!(error, EngineError::Key(KeyError::Trailing)), "{error}");
    let error = read(&[b"cairnpk2", &bytes[8..]].concat(), 1).expect_err("refused");
    assert!(matches!(error, EngineError::KeyFile { got, .. } if &got == b"cairnpk2"), "{error}");
    // A wider circuit has more permuted columns, whose commitments the file does not have.
    let wider = Features { widths: 3, ..features(1) };
    let error = read_key::<Mixed>(&mut &bytes[..], K, wider).expect_err("refused");
    assert!(matches!(error, EngineError::Key(KeyError::Point { .. } | KeyError::Io(_))), "{error}");
}
