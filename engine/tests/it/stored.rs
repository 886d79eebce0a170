//! Keys in files: read as they were written, and refused if they are not whole or another circuit's.

use bytes::Bytes;
use engine::{CosetCache, EngineError, Key, generate_key, generate_verifying_key, read_key, write_key};
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
    let error = read(&[b"cairnpk1", &bytes[8..]].concat(), 1).expect_err("refused");
    assert!(matches!(error, EngineError::KeyFile { got, .. } if &got == b"cairnpk1"), "{error}");
    // A wider circuit has more permuted columns, whose commitments the file does not have.
    let wider = Features { widths: 3, ..features(1) };
    let error = read_key::<Mixed>(&mut &bytes[..], K, wider).expect_err("refused");
    assert!(matches!(error, EngineError::Key(KeyError::Point { .. } | KeyError::Io(_))), "{error}");
}

fn open(bytes: &[u8], lookups: usize) -> Result<Key, EngineError> {
    Key::open::<Mixed>(&Bytes::copy_from_slice(bytes), K, features(lookups))
}

#[test]
fn a_stored_key_proves_as_the_generated_one() {
    let circuit = Mixed::new(features(1));
    let keyed = keyed(&circuit);
    let key = generate_key(&keyed.params, &circuit).expect("a key");
    let expected = keyed.by_engine_with(&key, &circuit, 5, CosetCache::Off).expect("proves");
    let mut bytes = Vec::new();
    write_key(&key, &mut bytes).expect("memory is enough");
    let stored = open(&bytes, 1).expect("a key");
    assert!(matches!(stored, Key::Stored(_)) && stored.in_memory().is_none(), "used where it is");
    assert_eq!(stored.verifying_key().transcript_repr(), key.get_vk().transcript_repr());
    assert_eq!((stored.view().held_bytes(), Key::from(key).view().held_bytes() > 0), (0, true));
    for cache in [CosetCache::Off, CosetCache::UpTo(usize::MAX)] {
        assert!(keyed.by_engine_with(&stored, &circuit, 5, cache).expect("proves") == expected, "{cache:?}");
    }
    let mut again = Vec::new();
    write_key(&stored, &mut again).expect("memory is enough");
    assert!(again == bytes, "written as it was read");

    // Behind three bytes more no element is where it could be used: then the columns are copied.
    let moved = Bytes::from([&[0; 3], &bytes[..]].concat()).slice(3..);
    let copied = Key::open::<Mixed>(&moved, K, features(1)).expect("a key");
    assert!(copied.in_memory().is_some(), "copied");
    assert!(keyed.by_engine_with(&copied, &circuit, 5, CosetCache::Off).expect("proves") == expected);
}

#[test]
fn what_is_not_the_key_is_not_opened() {
    let circuit = Mixed::new(features(1));
    let key = generate_key(&keyed(&circuit).params, &circuit).expect("a key");
    let mut bytes = Vec::new();
    write_key(&key, &mut bytes).expect("memory is enough");
    for len in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
        let error = open(&bytes[..len], 1).expect_err("refused");
        // Without the first word there is not even a format.
        let expected = match &error {
            EngineError::KeyLength { expected, got } => *got == len as u64 && *expected > *got,
            EngineError::Key(KeyError::Io(_)) => len < 8,
            _ => false,
        };
        assert!(expected, "{len} bytes: {error}");
    }
    let error = open(&[&bytes[..], &[0]].concat(), 1).expect_err("refused");
    let len = bytes.len() as u64;
    assert!(matches!(error, EngineError::KeyLength { expected, got } if (expected, got) == (len, len + 1)), "{error}");
    let error = open(&[b"cairnpk1", &bytes[8..]].concat(), 1).expect_err("refused");
    assert!(matches!(error, EngineError::KeyFile { got, .. } if &got == b"cairnpk1"), "{error}");
    let wider = Features { widths: 3, ..features(1) };
    let error = Key::open::<Mixed>(&Bytes::from(bytes.clone()), K, wider).expect_err("refused");
    assert!(matches!(error, EngineError::Key(KeyError::Point { .. })), "{error}");
    // Sizes that no file has are refused before anything is made for them.
    for k in [6, 28, 60, 64] {
        let error = Key::open::<Mixed>(&Bytes::from(bytes.clone()), k, features(1)).expect_err("refused");
        let refused = matches!(error, EngineError::KeyLength { .. } | EngineError::Key(KeyError::Header { .. }));
        assert!(refused, "k = {k}: {error}");
    }
}
