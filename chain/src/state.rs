//! State at one block, proved: its header and the proofs of EIP-1186, checked without a node.
//!
//! What this shows is that *a block with this hash* has this state. Whether the block is part of the chain that everybody
//! means is told by its hash, which whoever knows a node, an explorer or a later block can compare.

use std::collections::BTreeMap;

use alloy::{
    consensus::Header,
    primitives::{Address as AlloyAddress, B256, Bytes, U256, keccak256},
    rlp::{Decodable, Encodable},
    trie::{Nibbles, TrieAccount, proof::verify_proof},
};
use ledger::{Address, CanonicalError, Digest, canonical};
use serde::{Deserialize, Serialize};

use crate::{convert, head::BlockRef};

/// Largest length of a state proof.
pub const MAX_STATE_BYTES: usize = 16 << 20;

/// Where in a contract's storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub(crate) B256);

/// What stands in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(pub(crate) U256);

/// A proof that does not show what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Not the canonical JSON of a state proof.
    #[error("state proof: {0}")]
    Format(#[from] CanonicalError),
    /// The header is not one of a block.
    #[error("block header: {reason}")]
    Header {
        /// What is wrong with it.
        reason: String,
    },
    /// The account is not what the header's state root has at this address.
    #[error("block {block}: the proof of account {address} does not hold: {reason}")]
    Account {
        /// The block.
        block: u64,
        /// The account.
        address: Address,
        /// What the trie says.
        reason: String,
    },
    /// The slot does not have this value in the account's storage.
    #[error("block {block}: the proof of slot {slot} of {address} does not hold: {reason}")]
    Storage {
        /// The block.
        block: u64,
        /// The account.
        address: Address,
        /// The slot, in hex.
        slot: String,
        /// What the trie says.
        reason: String,
    },
    /// The proof has two accounts of one address, or two values of one slot.
    #[error("state proof: {what} stands there twice")]
    Twice {
        /// The account or slot.
        what: String,
    },
    /// The proof does not have the account.
    #[error("state proof: account {address} is missing")]
    NoAccount {
        /// The account.
        address: Address,
    },
    /// The proof does not have the slot.
    #[error("state proof: slot {slot} of {address} is missing")]
    NoSlot {
        /// The account.
        address: Address,
        /// The slot, in hex.
        slot: String,
    },
    /// The code is not the account's.
    #[error("{what} {address}: expected code with hash {expected}, got {len} bytes with hash {got}")]
    Code {
        /// Name of the contract.
        what: String,
        /// Where it stands.
        address: Address,
        /// The account's.
        expected: Digest,
        /// Bytes of the code that was given.
        len: usize,
        /// Its hash.
        got: Digest,
    },
    /// The code at the address is not that of this version's sources.
    #[error("{what} is not the contract of these sources: {reason}")]
    OtherContract {
        /// Name of the contract.
        what: &'static str,
        /// What differs.
        reason: String,
    },
    /// A stored word has a value that the contract never writes.
    #[error("{what}: {got} is not a value of that contract")]
    Value {
        /// Which word.
        what: &'static str,
        /// The word.
        got: String,
    },
    /// The contract does not know the run.
    #[error("{contract} does not know run {run}")]
    UnknownRun {
        /// RunAnchor.
        contract: Address,
        /// The run.
        run: ledger::RunId,
    },
}

/// One slot's value with the nodes that lead to it from the account's storage root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SlotProof {
    // Fields stand in the order of their JSON keys: the derived encoding is canonical.
    pub(crate) proof: Vec<Bytes>,
    pub(crate) slot: B256,
    pub(crate) value: U256,
}

/// An account with the nodes that lead to it from the block's state root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountProof {
    pub(crate) address: AlloyAddress,
    pub(crate) balance: U256,
    pub(crate) code_hash: B256,
    // Accounts can have any; a string, as canonical numbers end at 2^53.
    pub(crate) nonce: U256,
    pub(crate) proof: Vec<Bytes>,
    pub(crate) slots: Vec<SlotProof>,
    pub(crate) storage_root: B256,
}

/// Some accounts and slots at one block, with everything that is needed to check them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateProof {
    pub(crate) accounts: Vec<AccountProof>,
    /// RLP.
    pub(crate) header: Bytes,
    pub(crate) v: canonical::V1,
}

/// State that was proved.
#[derive(Clone, Debug)]
pub struct ProvenState {
    /// The block.
    pub block: BlockRef,
    /// Its time, unix seconds.
    pub timestamp: u64,
    accounts: BTreeMap<Address, ProvenAccount>,
}

#[derive(Clone, Debug)]
struct ProvenAccount {
    code_hash: Digest,
    slots: BTreeMap<Slot, Word>,
}

impl StateProof {
    /// Reads the canonical JSON.
    ///
    /// # Errors
    /// [`StateError::Format`].
    pub fn parse(bytes: &[u8]) -> Result<Self, StateError> {
        Ok(canonical::decode(bytes, MAX_STATE_BYTES)?)
    }

    /// The canonical JSON.
    ///
    /// # Errors
    /// [`StateError::Format`] if there is too much of it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StateError> {
        Ok(canonical::encode(self)?)
    }

    /// Checks every proof down from the header.
    ///
    /// # Errors
    /// [`StateError::Header`], [`StateError::Account`], [`StateError::Storage`], [`StateError::Twice`].
    pub fn verify(&self) -> Result<ProvenState, StateError> {
        let bad = |reason: String| StateError::Header { reason };
        let mut rest = &self.header[..];
        let header = Header::decode(&mut rest).map_err(|error| bad(error.to_string()))?;
        if !rest.is_empty() {
            return Err(bad(format!("{} bytes behind it", rest.len())));
        }
        let hash = keccak256(&self.header);
        // What is decoded is all that the hash covers.
        if header.hash_slow() != hash {
            return Err(bad(format!("its hash is {hash}, that of its values {}", header.hash_slow())));
        }
        let block = header.number;
        let mut accounts = BTreeMap::new();
        for account in &self.accounts {
            let proven = account.verify(block, header.state_root)?;
            let address = convert::address_back(account.address);
            if accounts.insert(address, proven).is_some() {
                return Err(StateError::Twice { what: format!("account {address}") });
            }
        }
        let block = BlockRef { number: block, hash: Digest(hash.0) };
        Ok(ProvenState { block, timestamp: header.timestamp, accounts })
    }
}

impl AccountProof {
    fn verify(&self, block: u64, state_root: B256) -> Result<ProvenAccount, StateError> {
        let address = convert::address_back(self.address);
        let refuse = |reason: String| StateError::Account { block, address, reason };
        let nonce = u64::try_from(self.nonce).map_err(|_| refuse(format!("nonce {}", self.nonce)))?;
        let account =
            TrieAccount { nonce, balance: self.balance, storage_root: self.storage_root, code_hash: self.code_hash };
        let key = Nibbles::unpack(keccak256(self.address));
        verify_proof(state_root, key, Some(rlp(&account)), &self.proof).map_err(|error| refuse(error.to_string()))?;
        let mut slots = BTreeMap::new();
        for slot in &self.slots {
            let key = Nibbles::unpack(keccak256(slot.slot));
            let name = || slot.slot.to_string();
            // A slot that is not there is zero.
            let value = (!slot.value.is_zero()).then(|| rlp(&slot.value));
            verify_proof(self.storage_root, key, value, &slot.proof).map_err(|error| StateError::Storage {
                block,
                address,
                slot: name(),
                reason: error.to_string(),
            })?;
            if slots.insert(Slot(slot.slot), Word(slot.value)).is_some() {
                return Err(StateError::Twice { what: format!("slot {} of {address}", name()) });
            }
        }
        Ok(ProvenAccount { code_hash: Digest(self.code_hash.0), slots })
    }
}

fn rlp(value: &impl Encodable) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.length());
    value.encode(&mut bytes);
    bytes
}

impl ProvenState {
    /// What stands in a slot.
    ///
    /// # Errors
    /// [`StateError::NoAccount`], [`StateError::NoSlot`].
    pub fn slot(&self, address: Address, slot: Slot) -> Result<Word, StateError> {
        let account = self.accounts.get(&address).ok_or(StateError::NoAccount { address })?;
        account.slots.get(&slot).copied().ok_or_else(|| StateError::NoSlot { address, slot: slot.0.to_string() })
    }

    /// Compares code with that of the account.
    ///
    /// # Errors
    /// [`StateError::NoAccount`], [`StateError::Code`].
    pub fn check_code(&self, what: &str, address: Address, code: &[u8]) -> Result<(), StateError> {
        let expected = self.accounts.get(&address).ok_or(StateError::NoAccount { address })?.code_hash;
        let got = Digest(keccak256(code).0);
        if expected == got {
            return Ok(());
        }
        Err(StateError::Code { what: what.to_owned(), address, expected, len: code.len(), got })
    }
}
