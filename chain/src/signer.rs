//! Who signs transactions.

use std::{fmt, path::Path, str::FromStr};

use alloy::{
    network::EthereumWallet,
    primitives::B256,
    signers::{SignerSync, local::PrivateKeySigner},
};
use ledger::{Address, Digest};
use zeroize::Zeroizing;

use crate::{convert, error::ChainError};

/// Environment variable that holds a private key.
pub const PRIVATE_KEY_ENV: &str = "CAIRN_PRIVATE_KEY";

/// The first account of `anvil` and other development nodes: publicly known, never to be used elsewhere.
const ANVIL_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

/// A private key and its address. Does not show the key.
#[derive(Clone)]
pub struct Signer {
    key: PrivateKeySigner,
    source: SignerSource,
}

/// Where a key came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignerSource {
    /// From the caller, the environment or a file.
    Private,
    /// The public key of development nodes.
    AnvilDevelopmentKey,
}

impl Signer {
    /// From 32 bytes of hex.
    ///
    /// # Errors
    /// [`ChainError::Signer`] if it is not a private key; the text is not repeated.
    pub fn from_hex(text: &str) -> Result<Self, ChainError> {
        let key = PrivateKeySigner::from_str(text.trim())
            .map_err(|_| ChainError::Signer { reason: "not a private key of 32 bytes in hex".into() })?;
        Ok(Self { key, source: SignerSource::Private })
    }

    /// From the variable [`PRIVATE_KEY_ENV`].
    ///
    /// # Errors
    /// [`ChainError::Signer`] if it is not set or no key.
    pub fn from_env() -> Result<Self, ChainError> {
        let text = std::env::var(PRIVATE_KEY_ENV)
            .map_err(|_| ChainError::Signer { reason: format!("{PRIVATE_KEY_ENV} is not set") })?;
        Self::from_hex(&Zeroizing::new(text))
    }

    /// From a file that holds the key in hex.
    ///
    /// # Errors
    /// [`ChainError::Signer`] if it cannot be read or holds no key.
    pub fn from_file(path: &Path) -> Result<Self, ChainError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ChainError::Signer { reason: format!("{}: {error}", path.display()) })?;
        Self::from_hex(&Zeroizing::new(text))
    }

    /// The first account of development nodes; whoever reads this can spend what it holds.
    ///
    /// # Errors
    /// None in practice; the constant is a key.
    pub fn anvil_development_key() -> Result<Self, ChainError> {
        Ok(Self { source: SignerSource::AnvilDevelopmentKey, ..Self::from_hex(ANVIL_KEY)? })
    }

    /// The account.
    pub fn address(&self) -> Address {
        convert::address_back(self.key.address())
    }

    /// Where the key came from.
    pub fn source(&self) -> SignerSource {
        self.source
    }

    /// Signs a digest as `Attestations` reads it: r, s, v, 65 bytes.
    ///
    /// # Errors
    /// [`ChainError::Signer`] if the key cannot sign.
    pub fn sign(&self, digest: Digest) -> Result<[u8; 65], ChainError> {
        let signature = self.key.sign_hash_sync(&B256::from(digest.0));
        let signature = signature.map_err(|error| ChainError::Signer { reason: error.to_string() })?;
        Ok(signature.as_bytes())
    }

    pub(crate) fn wallet(&self) -> EthereumWallet {
        EthereumWallet::from(self.key.clone())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("address", &self.address()).field("source", &self.source).finish_non_exhaustive()
    }
}
