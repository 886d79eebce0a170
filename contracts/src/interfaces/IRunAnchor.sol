// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @notice keccak256(abi.encode(chainId, contract, owner, salt)) modulo the BN254 scalar field. Zero means "no run".
type RunId is uint256;

/// @title The chain's word on training runs
/// @notice An epoch of 2^j steps is accepted only with a proof that it continues the run exactly where its last epoch
/// stopped. All that is stored is an instance of a checked proof, or computed from such, except the record hashes: they
/// are under the root, but they are the submitter's word.
/// @dev "Field element" means an integer below the order of the BN254 scalar field.
interface IRunAnchor {
    /// @notice What a run is bound to.
    struct Run {
        address owner;
        address pendingOwner; // zero: no transfer is pending
        bytes4 selector; // circuit family, key of the verifier registry
        uint64 registeredAt; // unix seconds
        RunId parent; // zero: none
        uint256 genesisState; // digest of the state before step 0
        uint256 policy; // digest of the policy
    }

    /// @notice Last anchored state of a run.
    struct Head {
        bytes32 root; // RFC 9162 root over `steps` leaves; SHA-256 of nothing while there is none
        uint256 state; // digest of the state after the last step
        uint64 epoch; // counted from 1; 0: nothing is anchored
        uint64 steps;
        uint64 anchoredAt; // unix seconds
        bool finalized;
    }

    /// @notice One epoch as it is submitted.
    struct AnchorInput {
        uint256 stateOut; // digest of the state after the epoch
        uint256[] digests; // D_t of each step, field elements
        bytes32[] recordHashes; // A_t of each step: SHA-256 of its record
        bytes32[] peaks; // roots of the perfect subtrees of the run's tree before this epoch, largest first
        bytes proof; // 12 accumulator words, then the proof
    }

    /// @notice One epoch of a batch.
    struct BatchItem {
        RunId run;
        uint64 epoch;
        AnchorInput input;
    }

    /// @notice What a contract that relies on a run asks for, in one call.
    struct Facts {
        address owner; // zero: the run is unknown, and all else is zero
        bytes4 selector;
        bool finalized;
        bool frozen; // the selector accepts nothing any more
        uint64 steps;
        uint64 anchoredAt; // unix seconds; zero while nothing is anchored
        uint256 state;
        uint256 policy;
    }

    /// @notice A run may be anchored from now on.
    event RunRegistered(
        RunId indexed run,
        address indexed owner,
        RunId indexed parent,
        bytes4 selector,
        uint256 genesisState,
        uint256 policy,
        bytes32 salt
    );
    /// @notice An epoch was accepted. With all events of a run, its log's tree can be rebuilt.
    /// @param epoch Counted from 1.
    /// @param firstStep Index of the first step; the others follow.
    /// @param root Root over the run's `size` leaves after this epoch.
    event EpochAnchored(
        RunId indexed run,
        uint64 indexed epoch,
        uint64 firstStep,
        uint64 size,
        uint256 stateIn,
        uint256 stateOut,
        bytes32 root,
        address verifier,
        address submitter,
        uint256[] digests,
        bytes32[] recordHashes
    );
    /// @notice No epoch will follow.
    event RunFinalized(RunId indexed run, uint64 epoch, uint64 steps, uint256 state, bytes32 root);
    /// @notice Where the bundle of the run's first `size` steps is: the announcer's word.
    /// @param manifestDigest SHA-256 of the manifest.
    /// @param infohashV1 SHA-1 infohash of the torrent (BEP 3).
    /// @param infohashV2 SHA-256 infohash of the torrent (BEP 52).
    event BundleAnnounced(
        RunId indexed run,
        uint64 indexed size,
        bytes32 manifestDigest,
        bytes20 infohashV1,
        bytes32 infohashV2,
        address announcer
    );
    /// @notice An account may, or may no longer, anchor and announce for this owner of the run.
    event SubmitterSet(RunId indexed run, address indexed owner, address indexed submitter, bool allowed);
    /// @notice `to` may become the owner by accepting.
    event RunOwnerProposed(RunId indexed run, address indexed from, address indexed to);
    /// @notice The run has another owner; the submitters of the one before are not the new owner's.
    event RunOwnerChanged(RunId indexed run, address indexed from, address indexed to);

    /// @notice Thrown when no run has this id.
    error UnknownRun(RunId run);
    /// @notice Thrown when the caller has registered a run with this salt before.
    error RunExists(RunId run);
    /// @notice Thrown when `caller` is not the run's owner.
    error NotOwner(RunId run, address owner, address caller);
    /// @notice Thrown when `caller` was not offered the run.
    error NotPendingOwner(RunId run, address pending, address caller);
    /// @notice Thrown when `caller` is neither the run's owner nor one of its submitters.
    error NotSubmitter(RunId run, address caller);
    /// @notice Thrown when the run takes no more epochs.
    error RunFinal(RunId run);
    /// @notice Thrown when a run without a proved step is to be finalized.
    error NothingAnchored(RunId run);
    /// @notice Thrown when the parent can still change.
    error ParentNotFinal(RunId parent);
    /// @notice Thrown when a child does not start from its parent's final state.
    error ParentStateMismatch(RunId parent, uint256 expected, uint256 got);
    /// @notice Thrown when `got` is not the epoch after the run's last anchored one.
    error EpochNotNext(RunId run, uint64 expected, uint64 got);
    /// @notice Thrown when the number of steps is not 2^j with j at most 16.
    error BadEpochSize(uint256 steps);
    /// @notice Thrown when there is not one record hash for each digest.
    error LengthMismatch(uint256 digests, uint256 recordHashes);
    /// @notice Thrown when the run's size is not a multiple of the epoch's.
    error Misaligned(RunId run, uint64 size, uint256 steps);
    /// @notice Thrown when there is not one peak for each one-bit of the run's size.
    error PeakCountMismatch(RunId run, uint256 expected, uint256 got);
    /// @notice Thrown when the peaks together do not give the run's root.
    error PeaksMismatch(RunId run, bytes32 expected, bytes32 got);
    /// @notice Thrown when the run would have more than `max` steps.
    error RunTooLong(RunId run, uint64 max, uint256 got);
    /// @notice Thrown when the proof is shorter than its accumulator.
    error ProofTooShort(uint256 min, uint256 got);
    /// @notice Thrown when a word is not a field element.
    /// @param index Position among the proof's instances.
    error NotCanonical(uint256 index, uint256 value);
    /// @notice Thrown when the verifier refuses the proof for what the contract stores and was given.
    /// @param reason What the verifier reverted with or answered.
    error ProofRejected(RunId run, uint64 epoch, address verifier, bytes reason);
    /// @notice Thrown when a bundle is announced for a number of steps that is not anchored.
    error SizeNotAnchored(RunId run, uint64 anchored, uint64 got);
    /// @notice Thrown when the address of the registry has no code.
    error RegistryWithoutCode(address registry);

    /// @notice Registers a run; the caller becomes its owner.
    /// @param salt Free choice; the id depends on it and on the caller.
    /// @param selector Circuit family that proves the run.
    /// @param genesisState Digest of the state before step 0; of a child, the parent's final state.
    /// @param policy Digest of the policy that all steps follow.
    /// @param parent A finalized run, or zero. A run without one must start with empty moments.
    /// @return run The id, as runIdOf(caller, salt).
    function registerRun(bytes32 salt, bytes4 selector, uint256 genesisState, uint256 policy, RunId parent)
        external
        returns (RunId run);

    /// @notice Anchors the next epoch; owner or submitter.
    /// @param run The run.
    /// @param epoch Counter of this epoch: one more than the head's.
    /// @param input State after the epoch, its steps, the tree's peaks before it, and the proof.
    function anchor(RunId run, uint64 epoch, AnchorInput calldata input) external;

    /// @notice Anchors several epochs, of one run or of several, in this order: all of them or none.
    /// @param items Epochs; each is the next of its run when its turn comes.
    function anchorBatch(BatchItem[] calldata items) external;

    /// @notice Says where the bundle of the first `size` steps is; owner or submitter.
    /// @param run The run.
    /// @param size Steps in the bundle; all of them are anchored.
    /// @param manifestDigest SHA-256 of the bundle's manifest.
    /// @param infohashV1 SHA-1 infohash of the torrent (BEP 3).
    /// @param infohashV2 SHA-256 infohash of the torrent (BEP 52).
    function announce(RunId run, uint64 size, bytes32 manifestDigest, bytes20 infohashV1, bytes32 infohashV2) external;

    /// @notice Ends the run; owner. Its last state may then be the start of children.
    /// @param run A run with at least one anchored epoch.
    function finalize(RunId run) external;

    /// @notice Allows or forbids an account to anchor and announce; owner.
    /// @param run The run.
    /// @param submitter The account; its right ends with the owner's.
    /// @param allowed Whether it may from now on.
    function setSubmitter(RunId run, address submitter, bool allowed) external;

    /// @notice Offers the run to `to`; zero withdraws the offer. Owner.
    /// @param run The run.
    /// @param to Who may accept it.
    function transferRun(RunId run, address to) external;

    /// @notice Takes an offered run over.
    /// @param run A run that was offered to the caller.
    function acceptRun(RunId run) external;

    /// @notice Whether step `step` with these two hashes is under the run's root.
    /// @param run The run.
    /// @param step Index of the step, from 0.
    /// @param digest Its statement digest D_t.
    /// @param recordHash SHA-256 of its record, A_t.
    /// @param path Sibling hashes from the leaf to the root (RFC 9162, 2.1.3).
    /// @return included False for a step that is not anchored.
    function verifyInclusion(RunId run, uint64 step, uint256 digest, bytes32 recordHash, bytes32[] calldata path)
        external
        view
        returns (bool included);

    /// @notice Whether the run's first `size` steps have the root `root`: how a root of the past is shown to belong to
    /// the run.
    /// @param run The run.
    /// @param size Number of steps, from 1 to all that are anchored.
    /// @param root Root that they are said to have.
    /// @param path Nodes, smallest subtree first (RFC 9162, 2.1.4); empty if `size` is the run's.
    /// @return consistent False for no steps, and for more than are anchored.
    function verifyConsistency(RunId run, uint64 size, bytes32 root, bytes32[] calldata path)
        external
        view
        returns (bool consistent);

    /// @notice The run's last anchored state.
    /// @param run The run; reverts if it is unknown.
    /// @return Root, state, counter, steps, time, and whether it is final.
    function head(RunId run) external view returns (Head memory);

    /// @notice What the run is bound to.
    /// @param run The run; reverts if it is unknown.
    /// @return What was registered, and its owners.
    function runOf(RunId run) external view returns (Run memory);

    /// @notice What the gate of a marketplace looks at. Does not revert for an unknown run.
    /// @param run The run.
    /// @return facts All zero if it is unknown.
    function factsOf(RunId run) external view returns (Facts memory);

    /// @notice Whether the run takes no more epochs.
    /// @param run The run; reverts if it is unknown.
    /// @return True once it was finalized.
    function isFinal(RunId run) external view returns (bool);

    /// @notice Whether `account` may anchor and announce: the owner, or a submitter of this owner.
    /// @param run The run; reverts if it is unknown.
    /// @param account Who would anchor or announce.
    /// @return True for the owner and for the submitters that this owner set.
    function isSubmitter(RunId run, address account) external view returns (bool);

    /// @notice The id of the run that `owner` registers with `salt`.
    /// @param owner Account that registers.
    /// @param salt Its free choice.
    /// @return run keccak256(abi.encode(chainId, this contract, owner, salt)) modulo the scalar field.
    function runIdOf(address owner, bytes32 salt) external view returns (RunId run);

    /// @notice The registry of verifiers, fixed at deployment.
    /// @return Its address.
    function registry() external view returns (address);
}
