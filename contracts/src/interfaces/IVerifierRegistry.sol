// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @title Which contract verifies the epoch proofs of a circuit
/// @notice A selector names a circuit family: one step circuit and its aggregation. Each epoch size 2^logSteps of a
/// family has a verifier of its own. A verifier is added after a delay, and never replaced or removed; a selector can be
/// frozen at once, and never unfrozen.
interface IVerifierRegistry {
    /// @notice A verifier that waits for its delay.
    /// @dev slot 0: verifier 160 · readyAt 64 · free 32 | slot 1: codeHash
    struct Proposal {
        address verifier; // zero: nothing is proposed
        uint64 readyAt; // unix seconds
        bytes32 codeHash; // of the verifier's code when it was proposed
    }

    /// @notice A verifier was proposed; it can be added from `readyAt` (unix seconds) on.
    event VerifierProposed(
        bytes4 indexed selector, uint8 indexed logSteps, address indexed verifier, bytes32 codeHash, uint64 readyAt
    );
    /// @notice A proposal was withdrawn.
    event ProposalCancelled(bytes4 indexed selector, uint8 indexed logSteps, address indexed verifier);
    /// @notice A verifier accepts epochs of 2^logSteps steps from now on.
    event VerifierAdded(bytes4 indexed selector, uint8 indexed logSteps, address indexed verifier);
    /// @notice The verifiers of a selector accept nothing from now on.
    event SelectorStopped(bytes4 indexed selector, address indexed by);
    /// @notice A verifier accepted what its circuit makes impossible: the instance at `index` was `value`.
    event SelectorBroken(
        bytes4 indexed selector, uint8 indexed logSteps, address indexed verifier, uint256 index, uint256 value
    );
    /// @notice `to` may become the owner by accepting.
    event RegistryOwnerProposed(address indexed from, address indexed to);
    /// @notice The registry has another owner.
    event RegistryOwnerChanged(address indexed from, address indexed to);
    /// @notice `to` may become the guardian by accepting.
    event GuardianProposed(address indexed from, address indexed to);
    /// @notice The registry has another guardian.
    event GuardianChanged(address indexed from, address indexed to);

    /// @notice Thrown when `caller` is not the registry's owner.
    error NotRegistryOwner(address owner, address caller);
    /// @notice Thrown when `caller` was not proposed as the registry's owner.
    error NotPendingRegistryOwner(address pending, address caller);
    /// @notice Thrown when `caller` is not the guardian.
    error NotGuardian(address guardian, address caller);
    /// @notice Thrown when `caller` was not proposed as the guardian.
    error NotPendingGuardian(address pending, address caller);
    /// @notice Thrown when an address that must be set is zero.
    error ZeroAddress();
    /// @notice Thrown when 2^logSteps is above the largest epoch.
    error LogStepsTooLarge(uint8 max, uint8 got);
    /// @notice Thrown when `verifier` has no code.
    error VerifierWithoutCode(address verifier);
    /// @notice Thrown when a verifier stands there already: it is never replaced.
    error VerifierExists(bytes4 selector, uint8 logSteps, address verifier);
    /// @notice Thrown when no verifier stands there.
    error VerifierMissing(bytes4 selector, uint8 logSteps);
    /// @notice Thrown when nothing is proposed there.
    error NoProposal(bytes4 selector, uint8 logSteps);
    /// @notice Thrown when the delay has not passed (unix seconds).
    error ProposalNotReady(uint64 readyAt, uint64 timestamp);
    /// @notice Thrown when the code of a proposed verifier is no longer the proposed one.
    error VerifierCodeChanged(address verifier, bytes32 expected, bytes32 got);
    /// @notice Thrown when instances could belong to a valid proof: they break nothing.
    error NothingImpossible();
    /// @notice Thrown when the verifier does not accept what was to show that it is broken.
    error VerifierRefuses(address verifier, bytes reason);
    /// @notice Thrown when the selector is frozen.
    error SelectorFrozen(bytes4 selector);

    /// @notice Proposes a verifier. Replaces a pending proposal, and starts the delay anew.
    /// @param selector Circuit family.
    /// @param logSteps Epochs of 2^logSteps steps, at most 16.
    /// @param verifier An address with code; its code hash is kept.
    function proposeVerifier(bytes4 selector, uint8 logSteps, address verifier) external;

    /// @notice Withdraws a proposal.
    /// @param selector Circuit family.
    /// @param logSteps Epochs of 2^logSteps steps.
    function cancelProposal(bytes4 selector, uint8 logSteps) external;

    /// @notice Adds the proposed verifier once its delay has passed.
    /// @param selector Circuit family, not frozen.
    /// @param logSteps Epochs of 2^logSteps steps; their place is empty.
    function addVerifier(bytes4 selector, uint8 logSteps) external;

    /// @notice Stops a selector at once and for ever; owner or guardian.
    /// @param selector Circuit family.
    function freeze(bytes4 selector) external;

    /// @notice Stops a selector at once and for ever; anybody who shows that one of its verifiers accepts a proof for
    /// instances that the circuit makes impossible: a word that is not a field element, a first step of 2^40 or more, or
    /// a fresh flag other than 0 and 1.
    /// @param selector Circuit family.
    /// @param logSteps Epochs of 2^logSteps steps, whose verifier is broken.
    /// @param proof As the verifier takes it; no accumulator in front.
    /// @param instances All instances, accumulator first.
    function freezeByProof(bytes4 selector, uint8 logSteps, bytes calldata proof, uint256[] calldata instances) external;

    /// @notice Offers the registry to `to`; zero withdraws the offer.
    /// @param to Who may accept it.
    function transferOwnership(address to) external;

    /// @notice Takes the offered registry over.
    function acceptOwnership() external;

    /// @notice Offers the guardian's right to `to`; zero withdraws the offer. Only the guardian can, so that an owner
    /// cannot remove it.
    /// @param to Who may accept it.
    function transferGuardian(address to) external;

    /// @notice Takes the offered guardian's right over.
    function acceptGuardian() external;

    /// @notice The verifier of epochs of 2^logSteps steps.
    /// @dev Reverts with SelectorFrozen or VerifierMissing instead of returning an address that must not be used.
    /// @param selector Circuit family.
    /// @param logSteps Epochs of 2^logSteps steps.
    /// @return verifier Its address.
    function verifierOf(bytes4 selector, uint8 logSteps) external view returns (address verifier);

    /// @notice What is proposed; all zero if nothing.
    /// @param selector Circuit family.
    /// @param logSteps Epochs of 2^logSteps steps.
    /// @return proposal Address, code hash, and when it may be added (unix seconds).
    function proposalOf(bytes4 selector, uint8 logSteps) external view returns (Proposal memory proposal);

    /// @notice Whether the selector is frozen.
    /// @param selector Circuit family.
    /// @return frozen True for ever once it was stopped.
    function isFrozen(bytes4 selector) external view returns (bool frozen);

    /// @notice Seconds between a proposal and its addition.
    /// @return secs Fixed at deployment.
    function delay() external view returns (uint64 secs);

    /// @notice Who proposes and adds verifiers.
    /// @return account The owner.
    function owner() external view returns (address account);

    /// @notice Who was offered the registry; zero if nobody.
    /// @return account Who may accept.
    function pendingOwner() external view returns (address account);

    /// @notice Who freezes selectors.
    /// @return account The guardian.
    function guardian() external view returns (address account);

    /// @notice Who was offered the guardian's right; zero if nobody.
    /// @return account Who may accept.
    function pendingGuardian() external view returns (address account);
}
