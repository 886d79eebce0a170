//! One spelling per value, and every limit named.

use proptest::prelude::*;
use torrent::bencode::{BencodeError, Dict, Limits, Value, decode, encode};

const LIMITS: Limits = Limits { bytes: 1 << 20, depth: 8, values: 1000 };

fn read(bytes: &[u8]) -> Result<Value<'_>, BencodeError> {
    decode(bytes, LIMITS)
}

#[test]
fn values_are_read() {
    assert_eq!(read(b"i-42e"), Ok(Value::Int(-42)));
    assert_eq!(read(b"i0e"), Ok(Value::Int(0)));
    assert_eq!(read(b"i9223372036854775807e"), Ok(Value::Int(i64::MAX)));
    assert_eq!(read(b"i-9223372036854775808e"), Ok(Value::Int(i64::MIN)));
    assert_eq!(read(b"4:spam"), Ok(Value::Bytes(b"spam")));
    assert_eq!(read(b"0:"), Ok(Value::Bytes(b"")));
    assert_eq!(read(b"le"), Ok(Value::List(Vec::new())));
    let dict: Dict<'_> = [(&b"b"[..], Value::Int(2)), (b"a", Value::Int(1))].into_iter().collect();
    assert_eq!(read(b"d1:ai1e1:bi2ee"), Ok(Value::Dict(dict.clone())));
    assert_eq!(encode(&Value::Dict(dict)), b"d1:ai1e1:bi2ee");
}

#[test]
fn every_other_spelling_is_refused() {
    for (bytes, expected) in [
        (&b""[..], BencodeError::Truncated { offset: 0 }),
        (b"i", BencodeError::Truncated { offset: 1 }),
        (b"i1", BencodeError::Truncated { offset: 2 }),
        (b"l", BencodeError::Truncated { offset: 1 }),
        (b"d1:a", BencodeError::Truncated { offset: 4 }),
        (b"12", BencodeError::Truncated { offset: 2 }),
        (b"x", BencodeError::Unexpected { offset: 0, got: b'x' }),
        (b"-1:a", BencodeError::Unexpected { offset: 0, got: b'-' }),
        (b"ie", BencodeError::Number { offset: 1 }),
        (b"i-e", BencodeError::Number { offset: 1 }),
        (b"i-0e", BencodeError::Number { offset: 1 }),
        (b"i01e", BencodeError::Number { offset: 1 }),
        (b"i-01e", BencodeError::Number { offset: 1 }),
        (b"i+1e", BencodeError::Number { offset: 1 }),
        (b"i1.5e", BencodeError::Number { offset: 1 }),
        (b"i 1e", BencodeError::Number { offset: 1 }),
        (b"i00000000000000000000000000000000001e", BencodeError::Number { offset: 1 }),
        (b"i9223372036854775808e", BencodeError::Range { offset: 1 }),
        (b"i-9223372036854775809e", BencodeError::Range { offset: 1 }),
        (b"01:a", BencodeError::Number { offset: 0 }),
        (b"1x:a", BencodeError::Number { offset: 0 }),
        (b"99999999999999999999:", BencodeError::Range { offset: 0 }),
        (b"5:spam", BencodeError::StringLength { offset: 2, expected: 5, got: 4 }),
        (b"18446744073709551615:a", BencodeError::StringLength { offset: 21, expected: u64::MAX, got: 1 }),
        (b"di1ei2ee", BencodeError::Key { offset: 1, got: b'i' }),
        (b"d1:bi1e1:ai2ee", BencodeError::KeyOrder { offset: 7 }),
        (b"d1:ai1e1:ai2ee", BencodeError::KeyOrder { offset: 7 }),
        (b"i1ei2e", BencodeError::Trailing { offset: 3, got: 3 }),
        (b"i1e\n", BencodeError::Trailing { offset: 3, got: 1 }),
    ] {
        assert_eq!(read(bytes), Err(expected), "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn limits_are_kept() {
    let nested = |depth| [vec![b'l'; depth], vec![b'e'; depth]].concat();
    assert!(read(&nested(8)).is_ok());
    assert_eq!(read(&nested(9)), Err(BencodeError::TooDeep { offset: 8, limit: 8 }));
    assert_eq!(read(&vec![b'l'; 1 << 20]), Err(BencodeError::TooDeep { offset: 8, limit: 8 }));
    let many = |n: usize| [b"l".to_vec(), b"le".repeat(n), b"e".to_vec()].concat();
    assert!(read(&many(999)).is_ok());
    assert_eq!(read(&many(1000)), Err(BencodeError::TooMany { offset: 1999, limit: 1000 }));
    let long = vec![b'l'; (1 << 20) + 1];
    assert_eq!(read(&long), Err(BencodeError::TooLong { limit: 1 << 20, got: (1 << 20) + 1 }));
}

/// Bytes that are nearly bencode.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"d".to_vec()),
        Just(b"l".to_vec()),
        Just(b"e".to_vec()),
        Just(b"1:a".to_vec()),
        Just(b"0:".to_vec()),
        any::<i64>().prop_map(|number| format!("i{number}e").into_bytes()),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_is_read_is_written_the_same(bytes in nearly()) {
        if let Ok(value) = read(&bytes) {
            prop_assert_eq!(encode(&value), bytes);
        }
    }
}
