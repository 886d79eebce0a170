//! Whether the code on a chain is what the sources give.

use std::fmt;

use alloy::{eips::BlockId, primitives::keccak256};
use ledger::{Address, Digest};

use crate::{client::Client, convert, error::ChainError};

/// Runtime code that should stand at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedCode {
    /// Name of the contract.
    pub what: String,
    /// Where it should stand.
    pub address: Address,
    /// The code, immutables in place.
    pub runtime: Vec<u8>,
}

/// Length and hash of some code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeIdentity {
    /// Bytes.
    pub len: usize,
    /// keccak256, as `EXTCODEHASH` and explorers show it.
    pub hash: Digest,
}

/// What a comparison of code found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeCheck {
    /// Name of the contract.
    pub what: String,
    /// Where it should stand.
    pub address: Address,
    /// What the sources give.
    pub expected: CodeIdentity,
    /// What stands there.
    pub got: CodeIdentity,
    /// Position of the first byte that differs, or that only one of them has; none if they are the same.
    pub first_difference: Option<usize>,
}

impl CodeIdentity {
    fn of(code: &[u8]) -> Self {
        Self { len: code.len(), hash: Digest(keccak256(code).0) }
    }
}

impl ExpectedCode {
    /// Compares with the code that was found.
    pub fn compare(&self, found: &[u8]) -> CodeCheck {
        let same = self.runtime.iter().zip(found).take_while(|(ours, theirs)| ours == theirs).count();
        let whole = same == self.runtime.len() && same == found.len();
        CodeCheck {
            what: self.what.clone(),
            address: self.address,
            expected: CodeIdentity::of(&self.runtime),
            got: CodeIdentity::of(found),
            first_difference: (!whole).then_some(same),
        }
    }
}

impl CodeCheck {
    /// Whether the code is the same to the last byte.
    pub fn holds(&self) -> bool {
        self.first_difference.is_none()
    }
}

impl fmt::Display for CodeCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, address, expected, got, first_difference } = self;
        match first_difference {
            None => write!(f, "{what} {address}: {} bytes, code hash {}", got.len, got.hash),
            Some(_) if got.len == 0 => write!(f, "{what} {address}: expected {} bytes of code, got none", expected.len),
            Some(byte) => write!(
                f,
                "{what} {address}: byte {byte} differs; expected {} bytes with hash {}, got {} bytes with hash {}",
                expected.len, expected.hash, got.len, got.hash
            ),
        }
    }
}

impl Client {
    /// Compares the code at an address with what the sources give.
    ///
    /// # Errors
    /// If the node fails.
    pub async fn check_code(&self, expected: &ExpectedCode) -> Result<CodeCheck, ChainError> {
        let at = convert::address(expected.address);
        let found = self.ask_code(at, BlockId::latest()).await?;
        Ok(expected.compare(&found))
    }
}
