//! Where a run's id comes from.

use serde::{Deserialize, Serialize};
use sha3::{Digest as _, Keccak256};

use super::{Address, ChainId, FieldElement, RunId, Salt};

/// The four values that make a run's id, so that a proof cannot be replayed on another chain, contract or
/// run. Known before the run is registered, so the id can be computed offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunIdentity {
    // Fields stand in the order of their JSON keys: the derived encoding is canonical.
    /// Chain on which the run is anchored.
    pub chain_id: ChainId,
    /// The `RunAnchor` contract.
    pub contract: Address,
    /// Account that registers the run.
    pub owner: Address,
    /// Free choice of the owner.
    pub salt: Salt,
}

impl RunIdentity {
    /// `keccak256(abi.encode(uint256 chainId, address contract, address owner, bytes32 salt)) mod r`.
    ///
    /// Source: `docs/spec/log.md`, `log-run-id`; `RunAnchor.registerRun` computes the same.
    pub fn run_id(&self) -> RunId {
        let mut words = [0; 128];
        words[24..32].copy_from_slice(&self.chain_id.0.to_be_bytes());
        words[44..64].copy_from_slice(self.contract.as_bytes());
        words[76..96].copy_from_slice(self.owner.as_bytes());
        words[96..128].copy_from_slice(self.salt.as_bytes());
        FieldElement::reduce(Keccak256::digest(words).into()).into()
    }
}
