//! Revert data to names and values.

use alloy::primitives::{U256, keccak256};
use chain::Revert;

/// Selector and words of a custom error.
fn encode(signature: &str, words: &[U256]) -> Vec<u8> {
    let mut data = keccak256(signature)[..4].to_vec();
    data.extend(words.iter().flat_map(|word| word.to_be_bytes::<32>()));
    data
}

#[test]
fn custom_error_has_its_name_and_values() {
    let data = encode("EpochNotNext(uint256,uint64,uint64)", &[U256::from(171), U256::from(2), U256::from(1)]);
    let run = format!("0x{:064x}", 171);
    assert_eq!(Revert::decode(&data).to_string(), format!("EpochNotNext(run: {run}, expected: 2, got: 1)"));
}

#[test]
fn registry_errors_are_known_too() {
    let selector = U256::from(0xada0_0001_u32) << 224;
    let revert = Revert::decode(&encode("VerifierMissing(bytes4,uint8)", &[selector, U256::from(3)]));
    assert_eq!(revert.to_string(), "VerifierMissing(selector: 0xada00001, logSteps: 3)");
}

#[test]
fn message_is_read() {
    let mut data = encode("Error(string)", &[U256::from(32), U256::from(2)]);
    data.extend(*b"no");
    data.extend([0; 30]);
    assert_eq!(Revert::decode(&data), Revert::Message("no".into()));
}

#[test]
fn hostile_data_stays_raw() {
    let huge = encode("Error(string)", &[U256::from(32), U256::MAX]);
    let short = encode("EpochNotNext(uint256,uint64,uint64)", &[U256::from(1)]);
    for data in [vec![], vec![1, 2, 3], vec![0xde, 0xad, 0xbe, 0xef], huge, short] {
        assert_eq!(Revert::decode(&data), Revert::Unknown(data.clone()));
    }
}
