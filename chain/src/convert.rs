//! Between `ledger`'s words and alloy's.

use alloy::primitives::{Address as AlloyAddress, B256, FixedBytes, U256};
use ledger::{Address, FieldElement, IdError, RunId, Selector};

pub(crate) fn address(value: Address) -> AlloyAddress {
    AlloyAddress::from(value.0)
}

pub(crate) fn address_back(value: AlloyAddress) -> Address {
    Address(value.into_array())
}

pub(crate) fn word(value: FieldElement) -> U256 {
    U256::from_be_bytes(*value.as_bytes())
}

/// Refuses words that are not canonical: a contract that returns one is not ours.
pub(crate) fn word_back(value: U256) -> Result<FieldElement, IdError> {
    FieldElement::from_be_bytes(value.to_be_bytes())
}

pub(crate) fn run(value: RunId) -> U256 {
    word(value.to_field())
}

pub(crate) fn selector(value: Selector) -> FixedBytes<4> {
    FixedBytes(value.0)
}

pub(crate) fn bytes32(value: [u8; 32]) -> B256 {
    B256::from(value)
}
