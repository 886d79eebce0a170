// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC165} from "./interfaces/IERC165.sol";
import {IEpochVerifier} from "./interfaces/IEpochVerifier.sol";
import {IVerifierRegistry} from "./interfaces/IVerifierRegistry.sol";
import {EpochStatement} from "./libraries/EpochStatement.sol";
import {StepTree} from "./libraries/StepTree.sol";

/// @title Append-only registry of epoch verifiers
contract VerifierRegistry is IVerifierRegistry, IERC165 {
    /// @inheritdoc IVerifierRegistry
    uint64 public immutable delay;
    /// @inheritdoc IVerifierRegistry
    address public owner;
    /// @inheritdoc IVerifierRegistry
    address public pendingOwner;
    /// @inheritdoc IVerifierRegistry
    address public guardian;
    /// @inheritdoc IVerifierRegistry
    address public pendingGuardian;

    /// @dev verifier 160 · frozen 8 · free 88. `frozen` repeats the selector's flag, so that an anchor reads one slot.
    struct Place {
        address verifier; // zero: empty
        bool frozen;
    }

    mapping(bytes4 selector => bool) private _frozen;
    mapping(bytes4 selector => mapping(uint8 logSteps => Place)) private _places;
    mapping(bytes4 selector => mapping(uint8 logSteps => Proposal)) private _proposals;

    /// @dev Reverts unless the caller is the owner.
    modifier onlyOwner() {
        if (msg.sender != owner) revert NotRegistryOwner(owner, msg.sender);
        _;
    }

    /// @param owner_ Proposes and adds verifiers.
    /// @param guardian_ Freezes selectors.
    /// @param delay_ Seconds between a proposal and its addition; zero only makes sense on development chains.
    constructor(address owner_, address guardian_, uint64 delay_) {
        if (owner_ == address(0) || guardian_ == address(0)) revert ZeroAddress();
        owner = owner_;
        guardian = guardian_;
        delay = delay_;
        emit RegistryOwnerChanged(address(0), owner_);
        emit GuardianChanged(address(0), guardian_);
    }

    /// @inheritdoc IVerifierRegistry
    function proposeVerifier(bytes4 selector, uint8 logSteps, address verifier) external onlyOwner {
        if (logSteps > StepTree.MAX_LOG_STEPS) revert LogStepsTooLarge(StepTree.MAX_LOG_STEPS, logSteps);
        _requireOpen(selector, logSteps);
        if (verifier.code.length == 0) revert VerifierWithoutCode(verifier);
        Proposal memory proposal =
            Proposal({verifier: verifier, readyAt: uint64(block.timestamp) + delay, codeHash: verifier.codehash});
        _proposals[selector][logSteps] = proposal;
        emit VerifierProposed(selector, logSteps, verifier, proposal.codeHash, proposal.readyAt);
    }

    /// @inheritdoc IVerifierRegistry
    function cancelProposal(bytes4 selector, uint8 logSteps) external onlyOwner {
        address verifier = _proposals[selector][logSteps].verifier;
        if (verifier == address(0)) revert NoProposal(selector, logSteps);
        delete _proposals[selector][logSteps];
        emit ProposalCancelled(selector, logSteps, verifier);
    }

    /// @inheritdoc IVerifierRegistry
    function addVerifier(bytes4 selector, uint8 logSteps) external onlyOwner {
        _requireOpen(selector, logSteps);
        Proposal memory proposal = _proposals[selector][logSteps];
        address verifier = proposal.verifier;
        if (verifier == address(0)) revert NoProposal(selector, logSteps);
        if (block.timestamp < proposal.readyAt) revert ProposalNotReady(proposal.readyAt, uint64(block.timestamp));
        bytes32 codeHash = verifier.codehash;
        if (codeHash != proposal.codeHash) revert VerifierCodeChanged(verifier, proposal.codeHash, codeHash);
        delete _proposals[selector][logSteps];
        _places[selector][logSteps].verifier = verifier;
        emit VerifierAdded(selector, logSteps, verifier);
    }

    /// @inheritdoc IVerifierRegistry
    function freeze(bytes4 selector) external {
        if (msg.sender != guardian && msg.sender != owner) revert NotGuardian(guardian, msg.sender);
        _freeze(selector);
    }

    /// @inheritdoc IVerifierRegistry
    function freezeByProof(bytes4 selector, uint8 logSteps, bytes calldata proof, uint256[] calldata instances)
        external
    {
        address verifier = verifierOf(selector, logSteps);
        (bool found, uint256 index, uint256 value) = EpochStatement.findImpossible(instances);
        if (!found) revert NothingImpossible();
        (bool returned, bytes memory answer) =
            verifier.staticcall(abi.encodeCall(IEpochVerifier.verifyProof, (proof, instances)));
        if (!EpochStatement.isYes(returned, answer)) revert VerifierRefuses(verifier, answer);
        emit SelectorBroken(selector, logSteps, verifier, index, value);
        _freeze(selector);
    }

    /// @inheritdoc IVerifierRegistry
    function transferOwnership(address to) external onlyOwner {
        // slither-disable-next-line missing-zero-check
        pendingOwner = to;
        emit RegistryOwnerProposed(msg.sender, to);
    }

    /// @inheritdoc IVerifierRegistry
    function acceptOwnership() external {
        if (msg.sender != pendingOwner) revert NotPendingRegistryOwner(pendingOwner, msg.sender);
        emit RegistryOwnerChanged(owner, msg.sender);
        owner = msg.sender;
        pendingOwner = address(0);
    }

    /// @inheritdoc IVerifierRegistry
    function transferGuardian(address to) external {
        if (msg.sender != guardian) revert NotGuardian(guardian, msg.sender);
        // slither-disable-next-line missing-zero-check
        pendingGuardian = to;
        emit GuardianProposed(msg.sender, to);
    }

    /// @inheritdoc IVerifierRegistry
    function acceptGuardian() external {
        if (msg.sender != pendingGuardian) revert NotPendingGuardian(pendingGuardian, msg.sender);
        emit GuardianChanged(guardian, msg.sender);
        guardian = msg.sender;
        pendingGuardian = address(0);
    }

    /// @inheritdoc IVerifierRegistry
    function verifierOf(bytes4 selector, uint8 logSteps) public view returns (address verifier) {
        Place memory place = _places[selector][logSteps];
        if (place.frozen) revert SelectorFrozen(selector);
        verifier = place.verifier;
        if (verifier == address(0)) {
            if (_frozen[selector]) revert SelectorFrozen(selector);
            revert VerifierMissing(selector, logSteps);
        }
    }

    /// @inheritdoc IVerifierRegistry
    function proposalOf(bytes4 selector, uint8 logSteps) external view returns (Proposal memory proposal) {
        return _proposals[selector][logSteps];
    }

    /// @inheritdoc IVerifierRegistry
    function isFrozen(bytes4 selector) external view returns (bool frozen) {
        return _frozen[selector];
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) external pure returns (bool supported) {
        return interfaceId == type(IVerifierRegistry).interfaceId || interfaceId == type(IERC165).interfaceId;
    }

    /// @dev A frozen selector takes no verifier, and a taken place no other one.
    function _requireOpen(bytes4 selector, uint8 logSteps) private view {
        if (_frozen[selector]) revert SelectorFrozen(selector);
        address standing = _places[selector][logSteps].verifier;
        if (standing != address(0)) revert VerifierExists(selector, logSteps, standing);
    }

    /// @dev A frozen selector takes no verifier, so no place can be filled later without its flag.
    function _freeze(bytes4 selector) private {
        if (_frozen[selector]) revert SelectorFrozen(selector);
        _frozen[selector] = true;
        for (uint8 log = 0; log <= StepTree.MAX_LOG_STEPS; ++log) {
            Place storage place = _places[selector][log];
            if (place.verifier != address(0)) place.frozen = true;
        }
        emit SelectorStopped(selector, msg.sender);
    }
}
