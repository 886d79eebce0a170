// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IRunAnchor, RunId} from "../src/interfaces/IRunAnchor.sol";
import {AnchorFixture} from "./support/AnchorFixture.sol";
import {ReferenceTree} from "./support/ReferenceTree.sol";
import {ExactVerifier} from "./support/Verifiers.sol";

/// @dev Does what owners, submitters and strangers could do to one run, and keeps its own books.
contract AnchorActor is AnchorFixture {
    RunId public run;
    uint64 public largestEpoch;
    uint64 public largestSize;
    bool public fell;
    bool public acceptedFrozen;
    bytes32[] private _leaves;
    uint256 public provedState = GENESIS;
    ExactVerifier[4] private _verifiers;

    constructor() {
        deploy();
        for (uint8 log = 0; log < 4; ++log) {
            _verifiers[log] = new ExactVerifier();
            addVerifier(log, address(_verifiers[log]));
        }
        run = registerRun("salt");
    }

    /// @dev A proved epoch of 2^log steps; refused only for alignment, end of the run, or a frozen family.
    function anchorProved(uint256 seed, uint8 log) external {
        log = uint8(bound(log, 0, 3));
        IRunAnchor.AnchorInput memory input = epochInput(seed, 1 << log);
        IRunAnchor.Head memory before = anchor.head(run);
        _verifiers[log].expect(callHash(input, before));
        bool wasFrozen = registry.isFrozen(SELECTOR);
        vm.prank(TRAINER);
        try anchor.anchor(run, before.epoch + 1, input) {
            if (wasFrozen) acceptedFrozen = true;
            for (uint64 i = 0; i < input.digests.length; ++i) {
                _leaves.push(ReferenceTree.leaf(before.steps + i, input.digests[i], input.recordHashes[i]));
            }
            provedState = input.stateOut;
        } catch {}
        watch();
    }

    /// @dev An epoch no verifier was told of, with any counter.
    function anchorUnproved(uint256 seed, uint8 log, uint64 epoch) external {
        log = uint8(bound(log, 0, 3));
        _verifiers[log].expect(0);
        vm.prank(TRAINER);
        try anchor.anchor(run, epoch % 8, epochInput(seed, 1 << log)) {} catch {}
        watch();
    }

    function finalize(uint8 chance) external {
        if (chance > 8) return;
        vm.prank(TRAINER);
        try anchor.finalize(run) {} catch {}
        watch();
    }

    function freeze(uint8 chance) external {
        if (chance > 8) return;
        vm.prank(GUARDIAN);
        try registry.freeze(SELECTOR) {} catch {}
        watch();
    }

    function head() external view returns (IRunAnchor.Head memory) {
        return anchor.head(run);
    }

    /// @dev Root of the leaves whose epochs were proved.
    function provedRoot() external view returns (bytes32) {
        return _leaves.length == 0 ? bytes32(0) : ReferenceTree.root(_leaves, 0, _leaves.length);
    }

    function provedSteps() external view returns (uint256) {
        return _leaves.length;
    }

    function watch() private {
        IRunAnchor.Head memory now_ = anchor.head(run);
        if (now_.epoch < largestEpoch || now_.steps < largestSize) fell = true;
        (largestEpoch, largestSize) = (now_.epoch, now_.steps);
    }

    function callHash(IRunAnchor.AnchorInput memory input, IRunAnchor.Head memory before)
        private
        view
        returns (bytes32)
    {
        uint256 fresh = before.steps == 0 ? 1 : 0;
        bytes memory limbs = new bytes(384);
        for (uint256 i = 0; i < 384; ++i) {
            limbs[i] = input.proof[i];
        }
        return verifierCallHash(
            input.proof,
            abi.encodePacked(
                limbs,
                RunId.unwrap(run),
                uint256(before.steps),
                fresh,
                before.state,
                input.stateOut,
                POLICY,
                input.digests
            )
        );
    }
}

contract RunAnchorInvariants is AnchorFixture {
    AnchorActor private actor;

    function setUp() public {
        actor = new AnchorActor();
    }

    /// @dev The test runner calls these contracts only.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actor);
    }

    function invariant_epochAndSizeNeverDecrease() external view {
        assertTrue(!actor.fell(), "counter or size fell");
    }

    function invariant_everyRootWasProved() external view {
        IRunAnchor.Head memory head = actor.head();
        assertEq(head.root, actor.provedRoot(), "root");
        assertEq(head.state, actor.provedState(), "state");
        assertEq(head.steps, actor.provedSteps(), "steps");
    }

    function invariant_frozenSelectorAcceptsNothing() external view {
        assertTrue(!actor.acceptedFrozen(), "accepted while frozen");
    }
}
