//! Byte strings without a numeric range: hashes, addresses, salts, selectors.

use super::{IdError, hex_text};

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The bytes, in the order they are written.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Every byte string of this length is valid.
            fn parse_bytes(bytes: [u8; $len]) -> Result<Self, IdError> {
                Ok(Self(bytes))
            }
        }

        impl From<[u8; $len]> for $name {
            fn from(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
        }

        hex_text!($name, $len);
    };
}

byte_id!(
    /// SHA-256 of some bytes, or a node of the tree.
    Digest, 32
);
byte_id!(
    /// Root of a Merkle tree (RFC 9162, SHA-256).
    Root, 32
);
byte_id!(
    /// Account or contract on an EVM chain.
    Address, 20
);
byte_id!(
    /// What the owner of a run adds so that two runs have two ids.
    Salt, 32
);
byte_id!(
    /// Names a circuit family in the verifier registry.
    Selector, 4
);
byte_id!(
    /// Hash of a transaction.
    TxHash, 32
);

impl Digest {
    /// SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl From<Root> for Digest {
    fn from(root: Root) -> Self {
        Self(root.0)
    }
}

impl From<Digest> for Root {
    fn from(digest: Digest) -> Self {
        Self(digest.0)
    }
}
