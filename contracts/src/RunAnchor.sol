// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC165} from "./interfaces/IERC165.sol";
import {IEpochVerifier} from "./interfaces/IEpochVerifier.sol";
import {IRunAnchor, RunId} from "./interfaces/IRunAnchor.sol";
import {IVerifierRegistry} from "./interfaces/IVerifierRegistry.sol";
import {EpochStatement} from "./libraries/EpochStatement.sol";
import {StepTree} from "./libraries/StepTree.sol";

/// @title Anchor of training runs
contract RunAnchor is IRunAnchor, IERC165 {
    /// @notice Order of the BN254 scalar field.
    uint256 public constant FIELD_ORDER = EpochStatement.FIELD_ORDER;
    /// @notice Largest number of steps of a run.
    uint64 public constant MAX_STEPS = EpochStatement.MAX_STEPS;

    uint256 private constant ACCUMULATOR_BYTES = EpochStatement.ACCUMULATOR_BYTES;
    uint256 private constant HEADER_WORDS = EpochStatement.HEADER_WORDS;
    uint256 private constant STATE_IN_INDEX = EpochStatement.STATE_IN;
    uint256 private constant POLICY_INDEX = EpochStatement.POLICY;

    /// @dev slot 0: owner 160 · selector 32 · hasParent 8 · finalized 8 · free 48
    ///      slot 1: epoch 64 · steps 64 · anchoredAt 64 · registeredAt 64
    ///      slot 2: state | slot 3: root | slot 4: policy | slot 5: genesisState | slot 6: parent
    ///      slot 7: pendingOwner 160 · free 96 | slot 8: submitters
    ///      An epoch writes slots 1, 2 and 3, which registration made nonzero. The tree's peaks are not stored: the
    ///      submitter gives them, and the root tells whether they are right.
    struct Entry {
        address owner; // zero: the run is unknown
        bytes4 selector;
        bool hasParent;
        bool finalized;
        uint64 epoch;
        uint64 steps;
        uint64 anchoredAt; // unix seconds; zero while nothing is anchored
        uint64 registeredAt; // unix seconds
        uint256 state;
        bytes32 root;
        uint256 policy;
        uint256 genesisState;
        RunId parent;
        address pendingOwner;
        mapping(address owner => mapping(address submitter => bool)) submitters;
    }

    /// @dev What one call of `anchor` carries from its checks to its effects.
    struct Epoch {
        RunId run;
        uint64 number;
        uint64 firstStep;
        uint8 logSteps;
        uint256 fresh;
        uint256 stateIn;
        uint256 policy;
        bytes32 root;
        address verifier;
    }

    IVerifierRegistry private immutable REGISTRY;

    mapping(RunId run => Entry) private _runs;

    /// @param registry_ Registry of verifiers; cannot be changed.
    constructor(address registry_) {
        if (registry_.code.length == 0) revert RegistryWithoutCode(registry_);
        REGISTRY = IVerifierRegistry(registry_);
    }

    /// @inheritdoc IRunAnchor
    function registerRun(bytes32 salt, bytes4 selector, uint256 genesisState, uint256 policy, RunId parent)
        external
        returns (RunId run)
    {
        run = runIdOf(msg.sender, salt);
        Entry storage entry = _runs[run];
        if (entry.owner != address(0)) revert RunExists(run);
        _requireCanonical(STATE_IN_INDEX, genesisState);
        _requireCanonical(POLICY_INDEX, policy);
        if (REGISTRY.isFrozen(selector)) revert IVerifierRegistry.SelectorFrozen(selector);
        bool hasParent = RunId.unwrap(parent) != 0;
        if (hasParent) {
            Entry storage ancestor = _known(parent);
            if (!ancestor.finalized) revert ParentNotFinal(parent);
            if (ancestor.state != genesisState) revert ParentStateMismatch(parent, ancestor.state, genesisState);
            entry.hasParent = true;
            entry.parent = parent;
        }
        entry.owner = msg.sender;
        entry.selector = selector;
        entry.registeredAt = uint64(block.timestamp);
        entry.root = StepTree.EMPTY_ROOT;
        entry.state = genesisState;
        entry.genesisState = genesisState;
        entry.policy = policy;
        emit RunRegistered(run, msg.sender, parent, selector, genesisState, policy, salt);
    }

    /// @inheritdoc IRunAnchor
    function anchor(RunId run, uint64 epoch, AnchorInput calldata input) external {
        _anchor(run, epoch, input);
    }

    /// @inheritdoc IRunAnchor
    function anchorBatch(BatchItem[] calldata items) external {
        for (uint256 i = 0; i < items.length; ++i) {
            _anchor(items[i].run, items[i].epoch, items[i].input);
        }
    }

    /// @inheritdoc IRunAnchor
    function announce(RunId run, uint64 size, bytes32 manifestDigest, bytes20 infohashV1, bytes32 infohashV2) external {
        Entry storage entry = _known(run);
        _requireSubmitter(run, entry);
        if (size == 0 || size > entry.steps) revert SizeNotAnchored(run, entry.steps, size);
        emit BundleAnnounced(run, size, manifestDigest, infohashV1, infohashV2, msg.sender);
    }

    /// @inheritdoc IRunAnchor
    function finalize(RunId run) external {
        Entry storage entry = _owned(run);
        if (entry.finalized) revert RunFinal(run);
        if (entry.epoch == 0) revert NothingAnchored(run);
        entry.finalized = true;
        emit RunFinalized(run, entry.epoch, entry.steps, entry.state, entry.root);
    }

    /// @inheritdoc IRunAnchor
    function setSubmitter(RunId run, address submitter, bool allowed) external {
        _owned(run).submitters[msg.sender][submitter] = allowed;
        emit SubmitterSet(run, msg.sender, submitter, allowed);
    }

    /// @inheritdoc IRunAnchor
    function transferRun(RunId run, address to) external {
        _owned(run).pendingOwner = to;
        emit RunOwnerProposed(run, msg.sender, to);
    }

    /// @inheritdoc IRunAnchor
    function acceptRun(RunId run) external {
        Entry storage entry = _known(run);
        if (msg.sender != entry.pendingOwner) revert NotPendingOwner(run, entry.pendingOwner, msg.sender);
        emit RunOwnerChanged(run, entry.owner, msg.sender);
        entry.owner = msg.sender;
        entry.pendingOwner = address(0);
    }

    /// @inheritdoc IRunAnchor
    function verifyInclusion(RunId run, uint64 step, uint256 digest, bytes32 recordHash, bytes32[] calldata path)
        external
        view
        returns (bool included)
    {
        Entry storage entry = _known(run);
        return StepTree.verify(entry.root, entry.steps, step, StepTree.leaf(step, digest, recordHash), path);
    }

    /// @inheritdoc IRunAnchor
    function verifyConsistency(RunId run, uint64 size, bytes32 root, bytes32[] calldata path)
        external
        view
        returns (bool consistent)
    {
        Entry storage entry = _known(run);
        return StepTree.verifyConsistency(entry.root, entry.steps, root, size, path);
    }

    /// @inheritdoc IRunAnchor
    function head(RunId run) external view returns (Head memory) {
        Entry storage entry = _known(run);
        return Head({
            root: entry.root,
            state: entry.state,
            epoch: entry.epoch,
            steps: entry.steps,
            anchoredAt: entry.anchoredAt,
            finalized: entry.finalized
        });
    }

    /// @inheritdoc IRunAnchor
    function runOf(RunId run) external view returns (Run memory) {
        Entry storage entry = _known(run);
        return Run({
            owner: entry.owner,
            pendingOwner: entry.pendingOwner,
            selector: entry.selector,
            registeredAt: entry.registeredAt,
            parent: entry.parent,
            genesisState: entry.genesisState,
            policy: entry.policy
        });
    }

    /// @inheritdoc IRunAnchor
    function factsOf(RunId run) external view returns (Facts memory facts) {
        Entry storage entry = _runs[run];
        if (entry.owner == address(0)) return facts;
        facts.owner = entry.owner;
        facts.selector = entry.selector;
        facts.finalized = entry.finalized;
        facts.frozen = REGISTRY.isFrozen(entry.selector);
        facts.steps = entry.steps;
        facts.anchoredAt = entry.anchoredAt;
        facts.state = entry.state;
        facts.policy = entry.policy;
    }

    /// @inheritdoc IRunAnchor
    function isFinal(RunId run) external view returns (bool) {
        return _known(run).finalized;
    }

    /// @inheritdoc IRunAnchor
    function isSubmitter(RunId run, address account) external view returns (bool) {
        return _maySubmit(_known(run), account);
    }

    /// @inheritdoc IRunAnchor
    function runIdOf(address owner, bytes32 salt) public view returns (RunId run) {
        return RunId.wrap(uint256(keccak256(abi.encode(block.chainid, address(this), owner, salt))) % FIELD_ORDER);
    }

    /// @inheritdoc IRunAnchor
    function registry() external view returns (address) {
        return address(REGISTRY);
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) external pure returns (bool supported) {
        return interfaceId == type(IRunAnchor).interfaceId || interfaceId == type(IERC165).interfaceId;
    }

    /// @dev One epoch: checks, then the proof, then effects. Registry and verifier are called statically, so no foreign
    /// code can act in between.
    function _anchor(RunId run, uint64 epoch, AnchorInput calldata input) private {
        Entry storage entry = _known(run);
        _requireSubmitter(run, entry);
        Epoch memory next = _checkNext(run, entry, epoch, input);
        _checkPeaks(next, input.peaks);
        _checkProof(next, input);

        bytes32 root = StepTree.append(
            next.firstStep,
            next.logSteps,
            StepTree.epochRoot(next.firstStep, input.digests, input.recordHashes),
            input.peaks
        );
        uint64 size = next.firstStep + uint64(input.digests.length);
        entry.epoch = epoch;
        entry.steps = size;
        entry.anchoredAt = uint64(block.timestamp);
        entry.state = input.stateOut;
        entry.root = root;
        emit EpochAnchored(
            run,
            epoch,
            next.firstStep,
            size,
            next.stateIn,
            input.stateOut,
            root,
            next.verifier,
            msg.sender,
            input.digests,
            input.recordHashes
        );
    }

    /// @dev Everything but the proof: the epoch is the next one, and its shape fits the run.
    function _checkNext(RunId run, Entry storage entry, uint64 number, AnchorInput calldata input)
        private
        view
        returns (Epoch memory next)
    {
        if (entry.finalized) revert RunFinal(run);
        uint64 expected = entry.epoch + 1;
        if (number != expected) revert EpochNotNext(run, expected, number);

        uint256 steps = input.digests.length;
        uint64 size = entry.steps;
        if (steps == 0 || steps & (steps - 1) != 0 || steps >> StepTree.MAX_LOG_STEPS > 1) revert BadEpochSize(steps);
        if (input.recordHashes.length != steps) revert LengthMismatch(steps, input.recordHashes.length);
        if (size & (steps - 1) != 0) revert Misaligned(run, size, steps);
        if (size + steps > MAX_STEPS) revert RunTooLong(run, MAX_STEPS, size + steps);

        next.run = run;
        next.number = number;
        next.firstStep = size;
        while (steps >> next.logSteps != 1) ++next.logSteps;
        next.fresh = size == 0 && !entry.hasParent ? 1 : 0;
        next.stateIn = entry.state;
        next.policy = entry.policy;
        next.root = entry.root;
        // slither-disable-next-line calls-loop
        next.verifier = REGISTRY.verifierOf(entry.selector, next.logSteps);
    }

    /// @dev Reverts unless the peaks are those of the run's tree: as many as its size says, and its root together.
    function _checkPeaks(Epoch memory next, bytes32[] calldata peaks) private view {
        uint256 count = StepTree.peakCount(next.firstStep);
        if (peaks.length != count) revert PeakCountMismatch(next.run, count, peaks.length);
        bytes32 root = StepTree.rootOf(peaks);
        if (root != next.root) revert PeaksMismatch(next.run, next.root, root);
    }

    /// @dev Reverts unless the verifier accepts the proof for exactly these instances.
    function _checkProof(Epoch memory next, AnchorInput calldata input) private view {
        (bytes memory data, uint256 instances) = _verifierCall(next, input);
        _requireCanonicalWords(instances, HEADER_WORDS + input.digests.length);
        // slither-disable-next-line calls-loop
        (bool returned, bytes memory answer) = next.verifier.staticcall(data);
        if (!EpochStatement.isYes(returned, answer)) {
            revert ProofRejected(next.run, next.number, next.verifier, answer);
        }
    }

    /// @dev Call of `verifyProof` with the proof behind its accumulator, and with accumulator, statement and digests in
    /// the order of the circuit as instances.
    /// @return data The calldata.
    /// @return instances Where in memory the first instance is.
    function _verifierCall(Epoch memory next, AnchorInput calldata input)
        private
        pure
        returns (bytes memory data, uint256 instances)
    {
        bytes calldata proof = input.proof;
        uint256[] calldata digests = input.digests;
        if (proof.length < ACCUMULATOR_BYTES) revert ProofTooShort(ACCUMULATOR_BYTES, proof.length);
        bytes memory statement = abi.encodePacked(
            RunId.unwrap(next.run), uint256(next.firstStep), next.fresh, next.stateIn, input.stateOut, next.policy
        );
        bytes4 selector = IEpochVerifier.verifyProof.selector;
        // Assembly reads no constants of other contracts.
        (uint256 limbs, uint256 header) = (ACCUMULATOR_BYTES, HEADER_WORDS);
        // uint256[] memory words = proof[:384] ‖ statement ‖ digests, as words;
        // data = abi.encodeCall(IEpochVerifier.verifyProof, (proof[384:], words));
        // The compiler would build the array and then copy it word by word.
        assembly ("memory-safe") {
            let length := sub(proof.length, limbs)
            let padded := and(add(length, 31), not(31))
            data := mload(0x40)
            let to := add(data, 0x20)
            mstore(to, selector)
            to := add(to, 4)
            mstore(to, 0x40)
            mstore(add(to, 0x20), add(0x60, padded))
            mstore(add(to, 0x40), length)
            to := add(to, 0x60)
            // The padding is cleared before the copy: the memory may have been used. Without a proof this is its length.
            mstore(add(to, sub(padded, 0x20)), 0)
            calldatacopy(to, add(proof.offset, limbs), length)
            to := add(to, padded)
            mstore(to, add(header, digests.length))
            instances := add(to, 0x20)
            calldatacopy(instances, proof.offset, limbs)
            to := add(instances, limbs)
            mcopy(to, add(statement, 0x20), mload(statement))
            to := add(to, mload(statement))
            calldatacopy(to, digests.offset, shl(5, digests.length))
            to := add(to, shl(5, digests.length))
            mstore(data, sub(to, add(data, 0x20)))
            mstore(0x40, and(add(to, 31), not(31)))
        }
    }

    /// @dev Reverts with position and value of the first of `n` words at `start` that is not a field element.
    function _requireCanonicalWords(uint256 start, uint256 n) private pure {
        uint256 index;
        uint256 value;
        uint256 order = FIELD_ORDER;
        // for (uint256 i = 0; i < n; ++i) if (words[i] >= FIELD_ORDER) revert NotCanonical(i, words[i]);
        // Without the bounds checks this saves about 60 gas a word.
        assembly ("memory-safe") {
            let end := add(start, shl(5, n))
            for { let from := start } lt(from, end) { from := add(from, 0x20) } {
                if iszero(lt(mload(from), order)) {
                    index := shr(5, sub(from, start))
                    value := mload(from)
                    break
                }
            }
        }
        if (value != 0) revert NotCanonical(index, value);
    }

    function _known(RunId run) private view returns (Entry storage entry) {
        entry = _runs[run];
        if (entry.owner == address(0)) revert UnknownRun(run);
    }

    function _owned(RunId run) private view returns (Entry storage entry) {
        entry = _known(run);
        if (msg.sender != entry.owner) revert NotOwner(run, entry.owner, msg.sender);
    }

    function _requireSubmitter(RunId run, Entry storage entry) private view {
        if (!_maySubmit(entry, msg.sender)) revert NotSubmitter(run, msg.sender);
    }

    function _maySubmit(Entry storage entry, address account) private view returns (bool) {
        address owner = entry.owner;
        return account == owner || entry.submitters[owner][account];
    }

    function _requireCanonical(uint256 index, uint256 value) private pure {
        if (value >= FIELD_ORDER) revert NotCanonical(index, value);
    }
}
