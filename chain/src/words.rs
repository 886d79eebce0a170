//! Calls and answers of `RunAnchor` and its registry in words of 32 bytes, for those who ask a node by themselves: browsers.

use alloy::primitives::{U256, keccak256};
use ledger::{Address, FieldElement, Root, RunId, Selector, TreeSize};

use crate::{
    convert,
    head::{BlockRef, Head, LogSteps, RunOnChain},
};

/// An answer that is not one of `RunAnchor`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// Another number of bytes.
    #[error("{call}: expected {expected} bytes, got {got}: is the contract at this address a RunAnchor?")]
    Length {
        /// What was asked.
        call: &'static str,
        /// Bytes of its answer.
        expected: usize,
        /// Bytes there are.
        got: usize,
    },
    /// A word that no answer has.
    #[error("{call}: {field} is {got}")]
    Word {
        /// What was asked.
        call: &'static str,
        /// Part of the answer.
        field: &'static str,
        /// The word.
        got: String,
    },
}

fn call(signature: &str, run: RunId) -> Vec<u8> {
    let mut bytes = keccak256(signature.as_bytes())[..4].to_vec();
    bytes.extend(convert::run(run).to_be_bytes::<32>());
    bytes
}

/// Call data of `head(run)`.
pub fn head_call(run: RunId) -> Vec<u8> {
    call("head(uint256)", run)
}

/// Call data of `runOf(run)`.
pub fn run_call(run: RunId) -> Vec<u8> {
    call("runOf(uint256)", run)
}

/// Call data of `registry()`.
pub fn registry_call() -> Vec<u8> {
    keccak256(b"registry()")[..4].to_vec()
}

/// Call data of the registry's `verifierOf(selector, logSteps)`.
pub fn verifier_call(selector: Selector, size: LogSteps) -> Vec<u8> {
    let mut bytes = keccak256(b"verifierOf(bytes4,uint8)")[..4].to_vec();
    bytes.extend(selector.0);
    bytes.extend([0; 28 + 31]);
    bytes.push(size.0);
    bytes
}

fn words<const N: usize>(call: &'static str, answer: &[u8]) -> Result<[U256; N], AnswerError> {
    let refuse = || AnswerError::Length { call, expected: 32 * N, got: answer.len() };
    let words: Vec<U256> = answer.chunks(32).filter_map(U256::try_from_be_slice).collect();
    if answer.len() == 32 * N { words.try_into().map_err(|_| refuse()) } else { Err(refuse()) }
}

fn number(call: &'static str, field: &'static str, word: U256) -> Result<u64, AnswerError> {
    u64::try_from(word).map_err(|_| AnswerError::Word { call, field, got: format!("{word:#x}") })
}

fn element(call: &'static str, field: &'static str, word: U256) -> Result<FieldElement, AnswerError> {
    convert::word_back(word).map_err(|_| AnswerError::Word { call, field, got: format!("{word:#x}") })
}

/// Reads the answer to [`head_call`], given at `block`.
///
/// # Errors
/// [`AnswerError`].
pub fn head(answer: &[u8], block: BlockRef) -> Result<Head, AnswerError> {
    let name = "head";
    let [root, state, counter, size, anchored_at, finalized] = words::<6>(name, answer)?;
    Ok(Head {
        root: Root(root.to_be_bytes()),
        state: element(name, "state", state)?,
        counter: number(name, "epoch", counter)?,
        size: TreeSize(number(name, "steps", size)?),
        anchored_at: number(name, "anchoredAt", anchored_at)?,
        finalized: match number(name, "finalized", finalized)? {
            0 => false,
            1 => true,
            other => return Err(AnswerError::Word { call: name, field: "finalized", got: other.to_string() }),
        },
        block,
    })
}

/// Reads the answer to [`run_call`].
///
/// # Errors
/// [`AnswerError`].
pub fn run(answer: &[u8]) -> Result<RunOnChain, AnswerError> {
    let name = "runOf";
    let [owner, _pending, selector, _registered_at, parent, genesis, policy] = words::<7>(name, answer)?;
    let bytes = selector.to_be_bytes::<32>();
    let refuse = |field, word: U256| AnswerError::Word { call: name, field, got: format!("{word:#x}") };
    if owner >> 160 != U256::ZERO {
        return Err(refuse("owner", owner));
    }
    if bytes[4..] != [0; 28] {
        return Err(refuse("selector", selector));
    }
    let parent = element(name, "parent", parent)?;
    Ok(RunOnChain {
        owner: convert::address_back(alloy::primitives::Address::from_word(owner.into())),
        selector: Selector([bytes[0], bytes[1], bytes[2], bytes[3]]),
        genesis_state: element(name, "genesisState", genesis)?,
        policy_digest: element(name, "policy", policy)?,
        parent: (parent != FieldElement::ZERO).then(|| parent.into()),
    })
}

/// Reads the answer to [`registry_call`] or [`verifier_call`], named `call`.
///
/// # Errors
/// [`AnswerError`].
pub fn address(call: &'static str, answer: &[u8]) -> Result<Address, AnswerError> {
    let [word] = words::<1>(call, answer)?;
    if word >> 160 != U256::ZERO {
        return Err(AnswerError::Word { call, field: "address", got: format!("{word:#x}") });
    }
    Ok(convert::address_back(alloy::primitives::Address::from_word(word.into())))
}

#[cfg(all(test, feature = "rpc"))]
mod tests {
    use alloy::sol_types::{SolCall, SolValue};

    use super::*;
    use crate::bindings::{IRunAnchor as abi, IVerifierRegistry as registry};

    const BLOCK: BlockRef = BlockRef { number: 7, hash: ledger::Digest([9; 32]) };

    fn id() -> RunId {
        FieldElement::from(0x1234).into()
    }

    #[test]
    fn calls_are_those_of_the_interface() {
        let run = convert::run(id());
        assert_eq!(head_call(id()), abi::headCall { run }.abi_encode());
        assert_eq!(run_call(id()), abi::runOfCall { run }.abi_encode());
        assert_eq!(registry_call(), abi::registryCall {}.abi_encode());
        let selector = Selector([0x68, 0x4c, 0x87, 0xc8]);
        let call = registry::verifierOfCall { selector: selector.0.into(), logSteps: 2 };
        assert_eq!(verifier_call(selector, LogSteps(2)), call.abi_encode());
    }

    #[test]
    fn answers_are_read_as_the_interface_writes_them() {
        let written = abi::Head {
            root: [5; 32].into(),
            state: U256::from(6),
            epoch: 2,
            steps: 8,
            anchoredAt: 11,
            finalized: true,
        };
        let read = head(&written.abi_encode(), BLOCK).expect("a head");
        assert_eq!((read.root, read.state), (Root([5; 32]), FieldElement::from(6)));
        assert_eq!((read.counter, read.size, read.anchored_at, read.finalized), (2, TreeSize(8), 11, true));
        let written = abi::Run {
            owner: [1; 20].into(),
            pendingOwner: [2; 20].into(),
            selector: [3, 4, 5, 6].into(),
            registeredAt: 12,
            parent: U256::ZERO,
            genesisState: U256::from(13),
            policy: U256::from(14),
        };
        let read = run(&written.abi_encode()).expect("a run");
        assert_eq!((read.owner, read.selector), (ledger::Address([1; 20]), Selector([3, 4, 5, 6])));
        let digests = (FieldElement::from(13), FieldElement::from(14));
        assert_eq!((read.genesis_state, read.policy_digest, read.parent), (digests.0, digests.1, None));
    }

    #[test]
    fn answers_of_others_are_refused() {
        assert_eq!(head(&[], BLOCK), Err(AnswerError::Length { call: "head", expected: 192, got: 0 }));
        assert!(matches!(run(&[0; 192]), Err(AnswerError::Length { call: "runOf", expected: 224, got: 192 })));
        let address = |answer: &[u8]| super::address("registry", answer);
        assert_eq!(address(&[[0; 12].as_slice(), &[7; 20]].concat()), Ok(Address([7; 20])));
        assert_eq!(address(&[]), Err(AnswerError::Length { call: "registry", expected: 32, got: 0 }));
        assert!(matches!(address(&[7; 32]), Err(AnswerError::Word { field: "address", .. })));
        assert!(matches!(head(&[0xff; 192], BLOCK), Err(AnswerError::Word { field: "state", .. })));
    }
}
