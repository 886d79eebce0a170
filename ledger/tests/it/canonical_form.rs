//! Each value has one byte string, and any other is refused.

use std::fmt::Debug;

use ledger::canonical::{self, CanonicalError};
use ledger::*;
use proptest::prelude::*;
use serde_json::Value;

use crate::support;

/// RFC 8785 for values without floats, written independently of the crate: sort, then print.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.encode_utf16().collect::<Vec<_>>());
            let parts: Vec<String> =
                entries.iter().map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), sorted(value))).collect();
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(",")),
        Value::Number(number) => {
            assert!(number.as_u64().is_some_and(|number| number < 1 << 53), "{number} is not a small integer");
            number.to_string()
        }
        other => other.to_string(),
    }
}

fn assert_sorted(bytes: &[u8]) {
    let value: Value = serde_json::from_slice(bytes).unwrap();
    assert_eq!(sorted(&value), String::from_utf8(bytes.to_vec()).unwrap());
}

fn record_bytes() -> Vec<u8> {
    let run = support::run();
    support::next_record(&run, &ChainHead::genesis(&run)).seal().unwrap().bytes().to_vec()
}

fn every_document() -> Vec<(&'static str, Vec<u8>)> {
    let mut anchors = AnchorLog::new(support::description().run);
    anchors.push(support::anchor(1)).unwrap();
    anchors.push(support::anchor(2)).unwrap();
    vec![
        ("record", record_bytes()),
        ("run", support::run().bytes().to_vec()),
        ("epoch", support::epoch().seal().unwrap().bytes().to_vec()),
        ("manifest", support::manifest().encode().unwrap()),
        ("anchors", anchors.encode().unwrap()),
    ]
}

/// Reads `bytes` as the named document; what it says when it says no.
fn parse(name: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
    fn show<E: Debug>(error: E) -> String {
        format!("{error:?}")
    }
    match name {
        "record" => SealedRecord::parse(bytes).map(|it| it.bytes().to_vec()).map_err(show),
        "run" => SealedRun::parse(bytes).map(|it| it.bytes().to_vec()).map_err(show),
        "epoch" => SealedEpoch::parse(bytes).map(|it| it.bytes().to_vec()).map_err(show),
        "manifest" => Manifest::parse(bytes).and_then(|it| it.encode()).map_err(show),
        "anchors" => AnchorLog::parse(bytes).and_then(|it| it.encode()).map_err(show),
        "checkpoint" => Checkpoint::parse(bytes).map(|it| it.to_string().into_bytes()).map_err(show),
        other => panic!("no document {other}"),
    }
}

#[test]
fn every_document_is_sorted_and_reads_back() {
    for (name, bytes) in every_document() {
        assert_sorted(&bytes);
        assert_eq!(parse(name, &bytes), Ok(bytes), "{name}");
    }
}

#[test]
fn another_spelling_of_the_same_value_is_refused() {
    for (name, bytes) in every_document() {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        let last_field = text.rfind(",\"").unwrap();
        let spellings = [
            serde_json::to_string_pretty(&value).unwrap(),
            format!("{text}\n"),
            format!(" {text}"),
            text.replacen("\"v\":1", "\"v\": 1", 1),
            text.replacen("\"run\"", "\"r\\u0075n\"", 1),
            format!("{{{},{}}}", &text[last_field + 1..text.len() - 1], &text[1..last_field]),
        ];
        for spelling in spellings {
            assert_ne!(spelling, text, "{name}: the test must change something");
            let refused = parse(name, spelling.as_bytes()).unwrap_err();
            assert!(refused.contains("Spelling"), "{name}: {refused}");
        }
    }
}

#[test]
fn unknown_repeated_and_missing_fields_are_refused() {
    for (name, bytes) in every_document() {
        let text = String::from_utf8(bytes).unwrap();
        let unknown = text.replacen("\"v\":1}", "\"v\":1,\"w\":1}", 1);
        let repeated = text.replacen("\"v\":1}", "\"v\":1,\"v\":1}", 1);
        let missing = text.replacen(",\"v\":1}", "}", 1);
        for (what, spelling) in [("unknown", unknown), ("duplicate", repeated), ("missing", missing)] {
            assert_ne!(spelling, text);
            let refused = parse(name, spelling.as_bytes()).unwrap_err();
            assert!(refused.contains("Shape") && refused.contains(what), "{name} {what}: {refused}");
        }
    }
}

#[test]
fn another_version_is_refused_as_such() {
    for (name, bytes) in every_document() {
        let text = String::from_utf8(bytes).unwrap().replacen("\"v\":1}", "\"new\":[],\"v\":2}", 1);
        let refused = parse(name, text.as_bytes()).unwrap_err();
        assert!(refused.contains("Version { expected: 1, got: 2 }"), "{name}: {refused}");
    }
}

#[test]
fn an_explicit_null_is_not_an_absent_field() {
    let text = String::from_utf8(record_bytes()).unwrap();
    let with_null = text.replacen("\"meta\":{", "\"meta\":{\"accuracy\":null,", 1);
    let refused = SealedRecord::parse(with_null.as_bytes());
    assert!(matches!(refused, Err(RecordError::Canonical(CanonicalError::Spelling { .. }))), "{refused:?}");
}

#[test]
fn upper_case_hex_is_refused() {
    let text = String::from_utf8(record_bytes()).unwrap();
    let at = text.find("\"prev\":\"0x").unwrap() + 10;
    let upper = format!("{}{}{}", &text[..at], text[at..at + 64].to_uppercase(), &text[at + 64..]);
    let refused = SealedRecord::parse(upper.as_bytes());
    assert!(matches!(refused, Err(RecordError::Canonical(CanonicalError::Spelling { .. }))), "{refused:?}");
}

#[test]
fn a_field_element_at_or_above_the_modulus_is_refused() {
    const R: &str = "0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001";
    assert!(matches!(R.parse::<FieldElement>(), Err(IdError::NotCanonical { .. })));
    assert!(matches!(R.parse::<RunId>(), Err(IdError::NotCanonical { .. })));
    let below = R.replace("0000001", "0000000");
    assert_eq!(below.parse::<FieldElement>().unwrap().to_string(), below);
    let text = String::from_utf8(record_bytes()).unwrap();
    let at = text.find("\"digest\":\"").unwrap() + 10;
    let forged = format!("{}{R}{}", &text[..at], &text[at + 66..]);
    let refused = SealedRecord::parse(forged.as_bytes());
    let Err(RecordError::Canonical(CanonicalError::Shape { reason, .. })) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("not below the field modulus"), "{reason}");
}

#[test]
fn a_point_with_a_coordinate_above_the_modulus_is_refused() {
    let mut bytes = [0; 64];
    assert!(CurvePoint::from_bytes(bytes).is_ok());
    bytes[32..].fill(0xff);
    assert_eq!(CurvePoint::from_bytes(bytes), Err(IdError::NotCanonical { kind: "CurvePoint y", got: [0xff; 32] }));
}

#[test]
fn reduction_agrees_with_the_order_of_bytes() {
    assert_eq!(FieldElement::reduce([0; 32]), FieldElement::ZERO);
    // 2^256 − 1 − 5r, computed with Python's integers.
    let expected = "0x0e0a77c19a07df2f666ea36f7879462e36fc76959f60cd29ac96341c4ffffffa";
    assert_eq!(FieldElement::reduce([0xff; 32]).to_string(), expected);
    let five = FieldElement::from(5);
    assert_eq!(FieldElement::from_le_bytes(five.to_le_bytes()), Ok(five));
}

#[test]
fn integers_that_json_readers_round_are_refused() {
    let mut anchor = support::anchor(1);
    anchor.gas = 1 << 53;
    let mut log = AnchorLog::new(support::description().run);
    log.push(anchor).unwrap();
    assert!(matches!(log.encode(), Err(AnchorsError::Canonical(CanonicalError::Unencodable { .. }))));
    let too_large = canonical::decode::<StepIndex>(b"9007199254740992", 100);
    assert!(matches!(too_large, Err(CanonicalError::Shape { .. })), "{too_large:?}");
    assert_eq!(canonical::decode::<StepIndex>(b"9007199254740991", 100), Ok(StepIndex(ids::MAX_SMALL_INT)));
    let chunk = canonical::decode::<ChunkIndex>(b"4294967296", 100);
    assert!(matches!(chunk, Err(CanonicalError::Shape { .. })), "{chunk:?}");
}

#[test]
fn a_line_that_is_too_long_is_refused_before_it_is_read() {
    let limit = record::MAX_RECORD_BYTES;
    let refused = SealedRecord::parse(&vec![b'['; limit + 1]);
    assert_eq!(refused, Err(RecordError::Canonical(CanonicalError::TooLong { limit, got: limit + 1 })));
    assert!(SealedRecord::parse(&vec![b'['; limit]).is_err());
}

#[test]
fn decimals_have_one_spelling() {
    for number in [0.0, -0.0, 1.0, 0.1, 2.25, 1e-9, 1e300, f64::MIN_POSITIVE] {
        let decimal = Decimal::from_f64(number).unwrap();
        assert_eq!(decimal.to_f64().to_bits(), number.to_bits());
        assert_eq!(Decimal::try_from(decimal.as_str().to_owned()), Ok(decimal));
    }
    for text in ["1.0", "01", "+1", "1e3", " 1", "", "inf", "NaN", "0.10"] {
        assert!(Decimal::try_from(text.to_owned()).is_err(), "{text:?}");
    }
    assert_eq!(Decimal::from_f64(f64::NAN), Err(RecordError::NotFinite { got: "NaN".to_owned() }));
}

proptest! {
    /// Whatever a mutation leads to, what is accepted encodes to exactly the bytes that were read.
    #[test]
    fn whatever_is_accepted_is_canonical(which in 0usize..5, at in any::<prop::sample::Index>(), byte: u8, insert: bool) {
        let (name, mut bytes) = every_document().swap_remove(which);
        let at = at.index(bytes.len());
        if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
        if let Ok(again) = parse(name, &bytes) {
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for name in ["record", "run", "epoch", "manifest", "anchors", "checkpoint"] {
            if let Ok(again) = parse(name, &bytes) {
                prop_assert_eq!(&again, &bytes);
            }
        }
    }
}

#[test]
fn wrap_of_an_epoch_is_named_or_left_out() {
    let wrapped = EpochRecord { wrap_k: Some(22), ..support::epoch() }.seal().unwrap();
    assert_sorted(wrapped.bytes());
    assert_eq!(parse("epoch", wrapped.bytes()), Ok(wrapped.bytes().to_vec()));
    let text = String::from_utf8(wrapped.bytes().to_vec()).unwrap();
    let null = text.replace("\"wrap_k\":22", "\"wrap_k\":null");
    assert_ne!(null, text);
    let error = parse("epoch", null.as_bytes()).unwrap_err();
    assert!(error.contains("Spelling"), "{error}");
}
