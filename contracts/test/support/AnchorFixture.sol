// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IRunAnchor, RunId} from "../../src/interfaces/IRunAnchor.sol";
import {RunAnchor} from "../../src/RunAnchor.sol";
import {VerifierRegistry} from "../../src/VerifierRegistry.sol";
import {ReferenceTree} from "./ReferenceTree.sol";
import {TestBase} from "./TestBase.sol";
import {OpenVerifier} from "./Verifiers.sol";

/// @title A registry, an anchor and inputs to feed it
abstract contract AnchorFixture is TestBase {
    uint256 internal constant R = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    bytes4 internal constant SELECTOR = 0xada00001;
    uint64 internal constant DELAY = 1 days;
    uint256 internal constant GENESIS = 1111;
    uint256 internal constant POLICY = 2222;
    RunId internal constant NONE = RunId.wrap(0);

    address internal immutable ADMIN = address(0xad);
    address internal immutable GUARDIAN = address(0x6a);
    address internal immutable TRAINER = address(0x77);
    address internal immutable STRANGER = address(0x55);

    VerifierRegistry internal registry;
    RunAnchor internal anchor;
    /// @dev What each run's tree consists of, kept by `anchorAs`.
    mapping(RunId run => bytes32[]) internal leavesOf;

    function deploy() internal {
        vm.warp(1_700_000_000);
        registry = new VerifierRegistry(ADMIN, GUARDIAN, DELAY);
        anchor = new RunAnchor(address(registry));
    }

    /// @dev Adds `verifier` through proposal and delay.
    function addVerifier(uint8 logSteps, address verifier) internal {
        vm.prank(ADMIN);
        registry.proposeVerifier(SELECTOR, logSteps, verifier);
        // Not from block.timestamp: the compiler may read that once for several calls.
        vm.warp(registry.proposalOf(SELECTOR, logSteps).readyAt);
        vm.prank(ADMIN);
        registry.addVerifier(SELECTOR, logSteps);
    }

    /// @dev One accept-everything verifier for each epoch size up to 2^3.
    function addOpenVerifiers() internal {
        for (uint8 log = 0; log < 4; ++log) {
            addVerifier(log, address(new OpenVerifier()));
        }
    }

    function registerRun(bytes32 salt) internal returns (RunId) {
        vm.prank(TRAINER);
        return anchor.registerRun(salt, SELECTOR, GENESIS, POLICY, NONE);
    }

    /// @dev An epoch of `steps` steps whose values follow from `seed`.
    function epochInput(uint256 seed, uint256 steps) internal pure returns (IRunAnchor.AnchorInput memory input) {
        input.stateOut = word(seed, 0);
        input.digests = new uint256[](steps);
        input.recordHashes = new bytes32[](steps);
        for (uint256 i = 0; i < steps; ++i) {
            input.digests[i] = word(seed, 1 + i);
            input.recordHashes[i] = keccak256(abi.encode(seed, "record", i));
        }
        for (uint256 i = 0; i < 12; ++i) {
            input.proof = bytes.concat(input.proof, bytes32(word(seed, 1_000_000 + i)));
        }
        input.proof = bytes.concat(input.proof, hex"c0ffee", bytes32(word(seed, 2_000_000)));
    }

    function word(uint256 seed, uint256 i) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, i))) % R;
    }

    /// @dev Anchors with the right peaks, and keeps the leaves.
    function anchorAs(address caller, RunId run, uint64 epoch, IRunAnchor.AnchorInput memory input) internal {
        input.peaks = peaksOf(run);
        vm.prank(caller);
        anchor.anchor(run, epoch, input);
        keep(run, input);
    }

    /// @dev Roots of the perfect subtrees of the leaves kept so far, largest first.
    function peaksOf(RunId run) internal view returns (bytes32[] memory) {
        return ReferenceTree.peaks(leavesOf[run]);
    }

    function keep(RunId run, IRunAnchor.AnchorInput memory input) internal {
        bytes32[] storage leaves = leavesOf[run];
        for (uint256 i = 0; i < input.digests.length; ++i) {
            leaves.push(ReferenceTree.leaf(uint64(leaves.length), input.digests[i], input.recordHashes[i]));
        }
    }

    /// @dev Hash of the call that a verifier must get for a submitted proof and these instances.
    function verifierCallHash(bytes memory proof, bytes memory words) internal pure returns (bytes32) {
        bytes memory rest = new bytes(proof.length - 384);
        for (uint256 i = 0; i < rest.length; ++i) {
            rest[i] = proof[384 + i];
        }
        uint256[] memory instances = new uint256[](words.length / 32);
        for (uint256 i = 0; i < words.length; ++i) {
            instances[i / 32] = instances[i / 32] << 8 | uint8(words[i]);
        }
        return keccak256(abi.encodeWithSignature("verifyProof(bytes,uint256[])", rest, instances));
    }

    /// @dev What the trainer's submission must revert with.
    function expectRefusal(bytes memory reason, RunId run, uint64 epoch, IRunAnchor.AnchorInput memory input) internal {
        expectRefusalOf(TRAINER, reason, run, epoch, input);
    }

    function expectRefusalOf(
        address caller,
        bytes memory reason,
        RunId run,
        uint64 epoch,
        IRunAnchor.AnchorInput memory input
    ) internal {
        input.peaks = peaksOf(run);
        vm.expectRevert(reason);
        vm.prank(caller);
        anchor.anchor(run, epoch, input);
    }
}
