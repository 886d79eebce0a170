//! A run as `RunAnchor` stores it, proved with its contracts' code: what `head`, `runOf` and `verifierOf` answer, without a
//! node.

#[cfg(feature = "rpc")]
mod ask;

use std::collections::BTreeMap;

use alloy::primitives::{Address as AlloyAddress, B256, U256, keccak256};
use ledger::{Address, FieldElement, Root, RunId, Selector, TreeSize};

use crate::{
    artifacts::{ArtifactText, RUN_ANCHOR, VERIFIER_REGISTRY},
    convert,
    head::{Head, LogSteps, RunOnChain},
    state::{ProvenState, Slot, StateError, StateProof, Word},
};

/// Slot of `_runs` in `RunAnchor`.
const RUNS: u64 = 0;
/// Slots of an `Entry` that are read: everything but the pending owner and the submitters.
const ENTRY_SLOTS: u64 = 7;
/// Slot of `_places` in `VerifierRegistry`.
const PLACES: u64 = 5;
/// The bits of a word that hold an address.
const ADDRESS: U256 = U256::from_limbs([u64::MAX, u64::MAX, u32::MAX as u64, 0]);
/// The address of an empty place.
const NOBODY: Address = Address([0; 20]);

/// What a node says of a run, its contracts and its verifiers at one block, to be checked by anybody without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchoredProof {
    /// Header, accounts, slots.
    pub state: StateProof,
    /// Runtime code of `RunAnchor`.
    pub anchor_code: Vec<u8>,
    /// Runtime code of its registry.
    pub registry_code: Vec<u8>,
    /// Runtime code of the verifier of each size of epoch.
    pub verifier_codes: BTreeMap<LogSteps, Vec<u8>>,
}

/// A verifier of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedVerifier {
    /// Where it stands.
    pub address: Address,
    /// Whether the guardian has stopped its family. What it accepted before stays anchored.
    pub frozen: bool,
}

/// What was proved of a run.
#[derive(Clone, Debug)]
pub struct Anchored {
    /// What it is registered with.
    pub run: RunOnChain,
    /// Its head.
    pub head: Head,
    /// Its parent's head, if it has a parent.
    pub parent: Option<Head>,
    /// The registry.
    pub registry: Address,
    /// The verifiers of the sizes that were asked for.
    pub verifiers: BTreeMap<LogSteps, PlacedVerifier>,
    /// Time of the block, unix seconds.
    pub timestamp: u64,
}

/// Slots of a run's entry.
fn entry_slots(run: RunId) -> Vec<Slot> {
    let base = U256::from_be_bytes(mapping(convert::run(run).into(), U256::from(RUNS)).0);
    (0..ENTRY_SLOTS).map(|at| Slot(base.wrapping_add(U256::from(at)).into())).collect()
}

/// Slot of a verifier's place.
fn place_slot(selector: Selector, size: LogSteps) -> Slot {
    // Fixed bytes stand at the left of a word, numbers at the right.
    let of_selector = mapping(B256::right_padding_from(&selector.0), U256::from(PLACES));
    Slot(mapping(B256::with_last_byte(size.0), U256::from_be_bytes(of_selector.0)))
}

/// Where a mapping at `slot` keeps the value of `key`.
fn mapping(key: B256, slot: U256) -> B256 {
    keccak256([key.0, slot.to_be_bytes()].concat())
}

/// The only immutable of a contract whose code is that of this version's sources.
fn immutable(artifact: ArtifactText, code: &[u8]) -> Result<B256, StateError> {
    let other = |reason: String| StateError::OtherContract { what: artifact.what, reason };
    let parsed = artifact.parse().map_err(|error| other(error.to_string()))?;
    let place = parsed.immutable_offsets.first().and_then(|at| code.get(*at..at.checked_add(32)?));
    let word = B256::try_from(place.unwrap_or_default()).map_err(|_| other(format!("{} bytes", code.len())))?;
    let expected = parsed.runtime_with(word.0).map_err(|error| other(error.to_string()))?;
    match expected.iter().zip(code).position(|(ours, theirs)| ours != theirs) {
        Some(byte) => Err(other(format!("byte {byte} differs"))),
        None if expected.len() != code.len() => {
            Err(other(format!("expected {} bytes, got {}", expected.len(), code.len())))
        }
        None => Ok(word),
    }
}

/// The registry that an anchor asks.
fn registry_of(anchor_code: &[u8]) -> Result<Address, StateError> {
    let word = immutable(RUN_ANCHOR, anchor_code)?;
    address("registry of the anchor", U256::from_be_bytes(word.0))
}

fn address(what: &'static str, word: U256) -> Result<Address, StateError> {
    if word >> 160 != U256::ZERO {
        return Err(StateError::Value { what, got: format!("{word:#x}") });
    }
    Ok(convert::address_back(AlloyAddress::from_word(word.into())))
}

fn field(what: &'static str, Word(word): Word) -> Result<FieldElement, StateError> {
    convert::word_back(word).map_err(|_| StateError::Value { what, got: format!("{word:#x}") })
}

/// 64 bits of a word, from `shift` on.
fn u64_at(Word(word): Word, shift: usize) -> u64 {
    (word >> shift).wrapping_to()
}

/// A run's entry; none if the contract does not know it.
fn entry(state: &ProvenState, contract: Address, run: RunId) -> Result<Option<(RunOnChain, Head)>, StateError> {
    let words: Vec<Word> =
        entry_slots(run).into_iter().map(|slot| state.slot(contract, slot)).collect::<Result<_, _>>()?;
    let &[flags, counts, head_state, root, policy, genesis, parent] = &words[..] else {
        return Err(StateError::NoAccount { address: contract });
    };
    let owner = address("owner", flags.0 & ADDRESS)?;
    if owner == NOBODY {
        return Ok(None);
    }
    let [has_parent, finalized] = [192usize, 200].map(|shift| (flags.0 >> shift).wrapping_to::<u8>());
    let flag = |what, byte: u8| match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(StateError::Value { what, got: byte.to_string() }),
    };
    let selector = Selector((flags.0 >> 160usize).wrapping_to::<u32>().to_be_bytes());
    let parent = match flag("hasParent", has_parent)? {
        true => Some(field("parent", parent)?.into()),
        false => None,
    };
    let registered = RunOnChain {
        owner,
        selector,
        genesis_state: field("genesis state", genesis)?,
        policy_digest: field("policy", policy)?,
        parent,
    };
    let head = Head {
        root: Root(root.0.to_be_bytes()),
        state: field("state", head_state)?,
        counter: u64_at(counts, 0),
        size: TreeSize(u64_at(counts, 64)),
        anchored_at: u64_at(counts, 128),
        finalized: flag("finalized", finalized)?,
        block: state.block,
    };
    Ok(Some((registered, head)))
}

impl AnchoredProof {
    /// Checks everything from the block's header down: the code of anchor and registry is that of this version's sources,
    /// the anchor's registry is this one, the verifiers are the registry's, the run's entry is in storage.
    ///
    /// # Errors
    /// [`StateError`], by the first thing that does not hold.
    pub fn verify(&self, contract: Address, run: RunId) -> Result<Anchored, StateError> {
        let state = self.state.verify()?;
        let registry = registry_of(&self.anchor_code)?;
        immutable(VERIFIER_REGISTRY, &self.registry_code)?;
        state.check_code(RUN_ANCHOR.what, contract, &self.anchor_code)?;
        state.check_code(VERIFIER_REGISTRY.what, registry, &self.registry_code)?;
        let unknown = |run| StateError::UnknownRun { contract, run };
        let (registered, head) = entry(&state, contract, run)?.ok_or_else(|| unknown(run))?;
        let parent = match registered.parent {
            Some(parent) => Some(entry(&state, contract, parent)?.ok_or_else(|| unknown(parent))?.1),
            None => None,
        };
        let mut verifiers = BTreeMap::new();
        for (size, code) in &self.verifier_codes {
            let Word(place) = state.slot(registry, place_slot(registered.selector, *size))?;
            let at = address("verifier", place & ADDRESS)?;
            state.check_code(&format!("verifier of {} steps", 1u64 << size.0.min(63)), at, code)?;
            verifiers.insert(*size, PlacedVerifier { address: at, frozen: place >> 160usize != U256::ZERO });
        }
        Ok(Anchored { run: registered, head, parent, registry, verifiers, timestamp: state.timestamp })
    }
}
