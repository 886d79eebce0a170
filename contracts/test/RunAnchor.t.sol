// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC165} from "../src/interfaces/IERC165.sol";
import {IRunAnchor, RunId} from "../src/interfaces/IRunAnchor.sol";
import {IVerifierRegistry} from "../src/interfaces/IVerifierRegistry.sol";
import {RunAnchor} from "../src/RunAnchor.sol";
import {AnchorFixture} from "./support/AnchorFixture.sol";
import {ReferenceTree} from "./support/ReferenceTree.sol";
import {CallingVerifier, ClosedVerifier, OddVerifier} from "./support/Verifiers.sol";

/// @dev Anchoring with verifiers that accept: everything around the proof.
contract RunAnchorTest is AnchorFixture {
    RunId private run;

    function setUp() public {
        deploy();
        addOpenVerifiers();
        run = registerRun("salt");
    }

    function test_registerRun_storesWhatItIsBoundTo(bytes32 salt, uint256 genesis, uint256 policy) public {
        (genesis, policy) = (bound(genesis, 0, R - 1), bound(policy, 0, R - 1));
        vm.prank(STRANGER);
        RunId id = anchor.registerRun(salt, SELECTOR, genesis, policy, NONE);
        assertEq(RunId.unwrap(id), RunId.unwrap(anchor.runIdOf(STRANGER, salt)), "id");
        assertTrue(RunId.unwrap(id) < R, "id is a field element");
        IRunAnchor.Run memory bound_ = anchor.runOf(id);
        assertEq(bound_.owner, STRANGER, "owner");
        assertEq(bound_.selector, SELECTOR, "selector");
        assertEq(bound_.genesisState, genesis, "genesis");
        assertEq(bound_.policy, policy, "policy");
        IRunAnchor.Head memory head = anchor.head(id);
        assertEq(head.state, genesis, "state");
        assertEq(head.root, sha256(""), "root");
        assertEq(bound_.registeredAt, block.timestamp, "time");
        assertEq(head.anchoredAt, 0, "not anchored");
        assertEq(head.steps + head.epoch, 0, "nothing anchored");
    }

    /// @dev Identities of `testdata/ledger/run_id.json` give its ids.
    function test_runIdOf_equalsVectors() public {
        string memory json = vm.readFile("testdata/ledger/run_id.json");
        uint256 checked = 0;
        for (; vm.keyExistsJson(json, key(checked, "")); ++checked) {
            address place = vm.parseJsonAddress(json, key(checked, ".contract"));
            vm.etch(place, address(anchor).code);
            vm.chainId(vm.parseJsonUint(json, key(checked, ".chain_id")));
            RunId id = RunAnchor(place)
                .runIdOf(
                    vm.parseJsonAddress(json, key(checked, ".owner")), vm.parseJsonBytes32(json, key(checked, ".salt"))
                );
            assertEq(bytes32(RunId.unwrap(id)), vm.parseJsonBytes32(json, key(checked, ".run")), "run id");
        }
        assertTrue(checked >= 10, "vectors in the file");
    }

    function test_registerRun_revertsWhen_saltUsed() public {
        vm.prank(TRAINER);
        vm.expectRevert(abi.encodeWithSelector(IRunAnchor.RunExists.selector, run));
        anchor.registerRun("salt", SELECTOR, GENESIS, POLICY, NONE);
    }

    function test_registerRun_revertsWhen_notCanonical(uint256 value) public {
        value = bound(value, R, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(IRunAnchor.NotCanonical.selector, 15, value));
        anchor.registerRun("x", SELECTOR, value, POLICY, NONE);
        vm.expectRevert(abi.encodeWithSelector(IRunAnchor.NotCanonical.selector, 17, value));
        anchor.registerRun("x", SELECTOR, GENESIS, value, NONE);
    }

    function test_registerRun_revertsWhen_selectorFrozen() public {
        freeze();
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.SelectorFrozen.selector, SELECTOR));
        anchor.registerRun("x", SELECTOR, GENESIS, POLICY, NONE);
    }

    function test_anchor_storesHead(uint256 seed, uint8 log) public {
        IRunAnchor.AnchorInput memory input = epochInput(seed, 1 << bound(log, 0, 3));
        anchorAs(TRAINER, run, 1, input);
        IRunAnchor.Head memory head = anchor.head(run);
        assertEq(head.epoch, 1, "epoch");
        assertEq(head.steps, input.digests.length, "steps");
        assertEq(head.state, input.stateOut, "state");
        assertEq(head.anchoredAt, block.timestamp, "time");
        assertEq(head.root, referenceRoot(input, 0), "root");
        assertTrue(!head.finalized, "not final");
    }

    function test_anchor_emitsAllThatRebuildsTheLog(uint256 seed) public {
        anchorAs(TRAINER, run, 1, epochInput(seed, 4));
        IRunAnchor.Head memory before = anchor.head(run);
        IRunAnchor.AnchorInput memory input = epochInput(seed ^ 1, 2);
        vm.expectEmit(true, true, false, true);
        emit IRunAnchor.EpochAnchored(
            run,
            2,
            4,
            6,
            before.state,
            input.stateOut,
            sha256(bytes.concat(hex"01", before.root, referenceRoot(input, 4))),
            registry.verifierOf(SELECTOR, 1),
            TRAINER,
            input.digests,
            input.recordHashes
        );
        anchorAs(TRAINER, run, 2, input);
    }

    /// @dev Counters, state and root, none of which was zero: nothing else is written, not even by the first epoch.
    function test_anchor_writesThreeNonzeroSlots() public {
        IRunAnchor.AnchorInput memory first = epochInput(1, 4);
        vm.record();
        anchorAs(TRAINER, run, 1, first);
        (, bytes32[] memory writes) = vm.accesses(address(anchor));
        assertEq(distinct(writes), 3, "slots written by the first epoch");
        RunId fresh = registerRun("fresh");
        for (uint256 offset = 1; offset < 4; ++offset) {
            bytes32 slot = bytes32(uint256(keccak256(abi.encode(RunId.unwrap(fresh), 0))) + offset);
            assertTrue(vm.load(address(anchor), slot) != 0, "nonzero from registration on");
        }
        IRunAnchor.AnchorInput memory input = epochInput(2, 4);
        vm.record();
        anchorAs(TRAINER, run, 2, input);
        (, writes) = vm.accesses(address(anchor));
        assertEq(distinct(writes), 3, "slots written by the second epoch");
    }

    function test_anchor_otherRecordOrderGivesOtherRoot(uint256 seed) public {
        RunId other = registerRun("other");
        IRunAnchor.AnchorInput memory input = epochInput(seed, 4);
        anchorAs(TRAINER, run, 1, input);
        (input.recordHashes[1], input.recordHashes[2]) = (input.recordHashes[2], input.recordHashes[1]);
        anchorAs(TRAINER, other, 1, input);
        assertTrue(anchor.head(run).root != anchor.head(other).root, "roots differ");
    }

    function test_anchor_revertsWhen_runUnknown(uint256 id) public {
        RunId unknown = RunId.wrap(id);
        if (id == RunId.unwrap(run)) return;
        expectRefusal(abi.encodeWithSelector(IRunAnchor.UnknownRun.selector, unknown), unknown, 1, epochInput(1, 1));
    }

    function test_anchor_revertsWhen_notSubmitter(address caller) public {
        if (caller == TRAINER) return;
        bytes memory reason = abi.encodeWithSelector(IRunAnchor.NotSubmitter.selector, run, caller);
        expectRefusalOf(caller, reason, run, 1, epochInput(1, 1));
    }

    function test_anchor_revertsWhen_epochReplayed() public {
        IRunAnchor.AnchorInput memory input = epochInput(1, 4);
        anchorAs(TRAINER, run, 1, input);
        expectRefusal(abi.encodeWithSelector(IRunAnchor.EpochNotNext.selector, run, 2, 1), run, 1, input);
    }

    function test_anchor_revertsWhen_epochSkipped(uint64 got) public {
        if (got == 1) return;
        expectRefusal(abi.encodeWithSelector(IRunAnchor.EpochNotNext.selector, run, 1, got), run, got, epochInput(1, 4));
    }

    function test_anchor_revertsWhen_sizeIsNoPowerOfTwo() public {
        for (uint256 steps = 0; steps < 40; ++steps) {
            if (steps != 0 && steps & (steps - 1) == 0) continue;
            expectRefusal(abi.encodeWithSelector(IRunAnchor.BadEpochSize.selector, steps), run, 1, epochInput(1, steps));
        }
    }

    function test_anchor_revertsWhen_sizeTooLarge() public {
        IRunAnchor.AnchorInput memory input = epochInput(1, 1);
        input.digests = new uint256[](1 << 17);
        expectRefusal(abi.encodeWithSelector(IRunAnchor.BadEpochSize.selector, 1 << 17), run, 1, input);
    }

    function test_anchor_revertsWhen_recordsMissing() public {
        IRunAnchor.AnchorInput memory input = epochInput(1, 4);
        input.recordHashes = new bytes32[](3);
        expectRefusal(abi.encodeWithSelector(IRunAnchor.LengthMismatch.selector, 4, 3), run, 1, input);
    }

    function test_anchor_revertsWhen_misaligned() public {
        anchorAs(TRAINER, run, 1, epochInput(1, 2));
        expectRefusal(abi.encodeWithSelector(IRunAnchor.Misaligned.selector, run, 2, 4), run, 2, epochInput(2, 4));
    }

    /// The run has all steps but one that any run may have; its size is put into storage, as nobody can anchor so many.
    function test_anchor_revertsWhen_runTooLong(uint8 missing, uint8 log) public {
        uint256 steps = uint256(1) << bound(log, 1, 8);
        uint256 left = steps * bound(missing, 0, 3);
        uint64 size = uint64(uint256(anchor.MAX_STEPS()) - left);
        // Slot 1 of the run's entry: epoch, steps, times, 64 bits each from the right.
        bytes32 slot = bytes32(uint256(keccak256(abi.encode(RunId.unwrap(run), uint256(0)))) + 1);
        uint256 word = uint256(vm.load(address(anchor), slot));
        vm.store(address(anchor), slot, bytes32((word & ~(uint256(type(uint64).max) << 64)) | (uint256(size) << 64)));
        assertEq(anchor.head(run).steps, size, "the slot holds the size");
        IRunAnchor.AnchorInput memory input = epochInput(1, steps);
        if (left < steps) {
            bytes memory refusal =
                abi.encodeWithSelector(IRunAnchor.RunTooLong.selector, run, anchor.MAX_STEPS(), uint256(size) + steps);
            expectRefusal(refusal, run, 1, input);
        } else {
            // It fits: the next check is what refuses it, as nobody has the peaks of so large a tree.
            vm.prank(TRAINER);
            try anchor.anchor(run, 1, input) {
                revert("the peaks of an invented tree were taken");
            } catch (bytes memory reason) {
                assertTrue(bytes4(reason) != IRunAnchor.RunTooLong.selector, "it fits");
            }
        }
    }

    function test_anchor_revertsWhen_proofTooShort(uint256 length) public {
        length = bound(length, 0, 383);
        IRunAnchor.AnchorInput memory input = epochInput(1, 1);
        input.proof = new bytes(length);
        expectRefusal(abi.encodeWithSelector(IRunAnchor.ProofTooShort.selector, 384, length), run, 1, input);
    }

    function test_anchor_revertsWhen_instanceNotCanonical(uint256 excess, uint256 index) public {
        uint256 value = bound(excess, R, type(uint256).max);
        // The words the caller chooses: 12 limbs, the state after, 4 digests.
        index = bound(index, 0, 16);
        IRunAnchor.AnchorInput memory input = epochInput(1, 4);
        uint256 instance = index;
        if (index < 12) {
            bytes memory proof = input.proof;
            assembly ("memory-safe") {
                mstore(add(proof, add(32, shl(5, index))), value)
            }
        } else if (index == 12) {
            input.stateOut = value;
            instance = 16;
        } else {
            input.digests[index - 13] = value;
            instance = 18 + index - 13;
        }
        expectRefusal(abi.encodeWithSelector(IRunAnchor.NotCanonical.selector, instance, value), run, 1, input);
    }

    /// @dev Trees of 1 to 15 steps, with each peak changed, one left out, and one too many.
    /// forge-config: default.fuzz.runs = 16
    function test_anchor_revertsWhen_peaksAreNotTheTrees(uint256 seed) public {
        for (uint64 size = 0; size < 15; ++size) {
            if (size != 0) anchorAs(TRAINER, run, size, epochInput(seed ^ size, 1));
            bytes32[] memory right = peaksOf(run);
            IRunAnchor.AnchorInput memory input = epochInput(seed, 1);
            for (uint256 i = 0; i < right.length; ++i) {
                input.peaks = peaksOf(run);
                input.peaks[i] ^= bytes32(uint256(1) << (seed % 256));
                refusedPeaks(size + 1, input, IRunAnchor.PeaksMismatch.selector);
                if (i == 0) continue;
                input.peaks = peaksOf(run);
                (input.peaks[0], input.peaks[i]) = (input.peaks[i], input.peaks[0]);
                refusedPeaks(size + 1, input, IRunAnchor.PeaksMismatch.selector);
            }
            // The right root, by itself, is not the peaks of a tree of several.
            if (right.length > 1) {
                input.peaks = new bytes32[](1);
                input.peaks[0] = anchor.head(run).root;
                refusedPeaks(size + 1, input, IRunAnchor.PeakCountMismatch.selector);
            }
            input.peaks = new bytes32[](right.length + 1);
            for (uint256 i = 0; i < right.length; ++i) {
                input.peaks[i] = right[i];
            }
            refusedPeaks(size + 1, input, IRunAnchor.PeakCountMismatch.selector);
        }
    }

    function test_anchorBatch_movesSeveralRuns(uint256 seed) public {
        RunId other = registerRun("other");
        anchorAs(TRAINER, run, 1, epochInput(seed, 2));
        IRunAnchor.BatchItem[] memory items = new IRunAnchor.BatchItem[](3);
        items[0] = item(run, 2, epochInput(seed ^ 1, 2));
        items[1] = item(other, 1, epochInput(seed ^ 2, 8));
        items[2] = item(run, 3, epochInput(seed ^ 3, 4));
        vm.prank(TRAINER);
        anchor.anchorBatch(items);
        assertTrue(anchor.head(run).epoch == 3 && anchor.head(run).steps == 8, "two epochs of one run");
        assertTrue(anchor.head(other).epoch == 1 && anchor.head(other).steps == 8, "one of another");
        assertEq(anchor.head(run).root, ReferenceTree.root(leavesOf[run], 0, 8), "root");
        assertEq(anchor.head(other).root, ReferenceTree.root(leavesOf[other], 0, 8), "other root");
    }

    /// @dev One that is refused, whichever it is, takes the others with it; so does one that is not the caller's.
    function test_anchorBatch_isAllOrNothing(uint256 which) public {
        which = bound(which, 0, 2);
        RunId[3] memory runs = [run, registerRun("second"), registerRun("third")];
        IRunAnchor.BatchItem[] memory items = new IRunAnchor.BatchItem[](3);
        for (uint256 i = 0; i < 3; ++i) {
            items[i] = item(runs[i], i == which ? 2 : 1, epochInput(i, 4));
        }
        vm.expectRevert(abi.encodeWithSelector(IRunAnchor.EpochNotNext.selector, runs[which], 1, 2));
        vm.prank(TRAINER);
        anchor.anchorBatch(items);
        vm.prank(TRAINER);
        anchor.transferRun(runs[which], STRANGER);
        vm.prank(STRANGER);
        anchor.acceptRun(runs[which]);
        items[which].epoch = 1;
        vm.expectRevert(abi.encodeWithSelector(IRunAnchor.NotSubmitter.selector, runs[which], TRAINER));
        vm.prank(TRAINER);
        anchor.anchorBatch(items);
        for (uint256 i = 0; i < 3; ++i) {
            assertEq(anchor.head(runs[i]).epoch, 0, "nothing anchored");
        }
    }

    /// @dev Every root the run has had belongs to it, by its consistency path, and no other root does.
    /// forge-config: default.fuzz.runs = 16
    function test_verifyConsistency_holdsForRootsOfThePast(uint256 seed) public {
        bytes32[] memory roots = new bytes32[](16);
        for (uint64 n = 1; n < 16; ++n) {
            anchorAs(TRAINER, run, n, epochInput(seed ^ n, 1));
            roots[n] = anchor.head(run).root;
            bytes32[] memory leaves = leavesOf[run];
            for (uint64 old = 1; old <= n; ++old) {
                bytes32[] memory path = ReferenceTree.consistency(leaves, 0, n, old, true);
                assertTrue(anchor.verifyConsistency(run, old, roots[old], path), "a root of the past");
                assertTrue(!anchor.verifyConsistency(run, old, ~roots[old], path), "another root");
                assertTrue(!anchor.verifyConsistency(run, old - 1, roots[old], path), "another size");
                for (uint256 i = 0; i < path.length; ++i) {
                    path[i] = ~path[i];
                    assertTrue(!anchor.verifyConsistency(run, old, roots[old], path), "another path");
                    path[i] = ~path[i];
                }
            }
            assertTrue(!anchor.verifyConsistency(run, n + 1, roots[n], new bytes32[](0)), "not anchored");
        }
    }

    function test_factsOf_saysWhatGatesAsk() public {
        IRunAnchor.Facts memory facts = anchor.factsOf(RunId.wrap(1));
        assertEq(keccak256(abi.encode(facts)), keccak256(new bytes(256)), "unknown: all zero");
        anchorAs(TRAINER, run, 1, epochInput(1, 4));
        facts = anchor.factsOf(run);
        assertEq(facts.owner, TRAINER, "owner");
        assertEq(facts.selector, SELECTOR, "selector");
        assertTrue(!facts.finalized && !facts.frozen, "open");
        assertTrue(facts.steps == 4 && facts.anchoredAt == block.timestamp, "size and time");
        assertEq(facts.state, anchor.head(run).state, "state");
        assertEq(facts.policy, POLICY, "policy");
        finalizeRun(run);
        freeze();
        facts = anchor.factsOf(run);
        assertTrue(facts.finalized && facts.frozen, "final and frozen");
    }

    function test_anchor_revertsWhen_verifierMissing() public {
        expectRefusal(
            abi.encodeWithSelector(IVerifierRegistry.VerifierMissing.selector, SELECTOR, 4), run, 1, epochInput(1, 16)
        );
    }

    function test_anchor_revertsWhen_selectorUnknown(bytes4 selector) public {
        if (selector == SELECTOR) return;
        vm.prank(TRAINER);
        RunId other = anchor.registerRun("other", selector, GENESIS, POLICY, NONE);
        expectRefusal(
            abi.encodeWithSelector(IVerifierRegistry.VerifierMissing.selector, selector, 0), other, 1, epochInput(1, 1)
        );
    }

    function test_anchor_revertsWhen_selectorFrozen() public {
        anchorAs(TRAINER, run, 1, epochInput(1, 4));
        freeze();
        expectRefusal(
            abi.encodeWithSelector(IVerifierRegistry.SelectorFrozen.selector, SELECTOR), run, 2, epochInput(2, 4)
        );
    }

    function test_anchor_revertsWhen_proofRejected() public {
        ClosedVerifier closed = new ClosedVerifier();
        addVerifier(4, address(closed));
        expectRefusal(
            abi.encodeWithSelector(
                IRunAnchor.ProofRejected.selector,
                run,
                1,
                address(closed),
                abi.encodeWithSelector(ClosedVerifier.Closed.selector)
            ),
            run,
            1,
            epochInput(1, 16)
        );
        assertEq(anchor.head(run).epoch, 0, "nothing anchored");
    }

    /// @dev Nothing, false, two, and a true with a word behind it are no yes.
    function test_anchor_revertsWhen_verifierDoesNotSayTrue() public {
        bytes[4] memory answers = [bytes(""), abi.encode(false), abi.encode(2), abi.encode(true, 0)];
        for (uint8 i = 0; i < answers.length; ++i) {
            address odd = address(new OddVerifier(answers[i]));
            addVerifier(4 + i, odd);
            expectRefusal(
                abi.encodeWithSelector(IRunAnchor.ProofRejected.selector, run, 1, odd, answers[i]),
                run,
                1,
                epochInput(1, 16 << i)
            );
        }
    }

    /// @dev What a verifier may do at other times, it can't do while it checks: it is called statically.
    function test_anchor_verifierCannotCallBack() public {
        CallingVerifier verifier = new CallingVerifier(address(anchor));
        addVerifier(4, address(verifier));
        vm.prank(address(verifier));
        RunId own = anchor.registerRun("own", SELECTOR, GENESIS, POLICY, NONE);
        verifier.prepare(abi.encodeCall(anchor.setSubmitter, (own, STRANGER, true)));
        anchorAs(address(verifier), own, 1, epochInput(1, 16));
        assertEq(anchor.head(own).epoch, 1, "accepted");
        assertTrue(!anchor.isSubmitter(own, STRANGER), "nothing else happened");
        assertTrue(verifier.attempt(), "the call is a good one");
        assertTrue(anchor.isSubmitter(own, STRANGER), "outside of a check");
    }

    function test_anchor_revertsWhen_final() public {
        anchorAs(TRAINER, run, 1, epochInput(1, 4));
        finalizeRun(run);
        expectRefusal(abi.encodeWithSelector(IRunAnchor.RunFinal.selector, run), run, 2, epochInput(2, 4));
    }

    function test_submitter_mayAnchorAndAnnounce() public {
        vm.prank(TRAINER);
        anchor.setSubmitter(run, STRANGER, true);
        assertTrue(anchor.isSubmitter(run, STRANGER), "allowed");
        anchorAs(STRANGER, run, 1, epochInput(1, 1));
        vm.expectEmit(true, true, false, true);
        emit IRunAnchor.BundleAnnounced(run, 1, "manifest", bytes20("v1"), "v2", STRANGER);
        vm.prank(STRANGER);
        anchor.announce(run, 1, "manifest", bytes20("v1"), "v2");
        vm.prank(TRAINER);
        anchor.setSubmitter(run, STRANGER, false);
        bytes memory reason = abi.encodeWithSelector(IRunAnchor.NotSubmitter.selector, run, STRANGER);
        expectRefusalOf(STRANGER, reason, run, 2, epochInput(2, 1));
    }

    function test_ownerCalls_revertWhen_notOwner(address caller) public {
        if (caller == TRAINER) return;
        bytes memory reason = abi.encodeWithSelector(IRunAnchor.NotOwner.selector, run, TRAINER, caller);
        vm.startPrank(caller);
        vm.expectRevert(reason);
        anchor.finalize(run);
        vm.expectRevert(reason);
        anchor.setSubmitter(run, caller, true);
        vm.expectRevert(reason);
        anchor.transferRun(run, caller);
        vm.stopPrank();
    }

    function test_transferRun_takesTwoSteps() public {
        address buyer = address(0xb0);
        vm.prank(TRAINER);
        anchor.setSubmitter(run, STRANGER, true);
        vm.prank(TRAINER);
        anchor.transferRun(run, buyer);
        assertEq(anchor.runOf(run).owner, TRAINER, "still the first owner's");
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(IRunAnchor.NotPendingOwner.selector, run, buyer, STRANGER));
        anchor.acceptRun(run);
        vm.prank(buyer);
        anchor.acceptRun(run);
        assertEq(anchor.runOf(run).owner, buyer, "the buyer's");
        assertEq(anchor.runOf(run).pendingOwner, address(0), "no offer left");
        assertTrue(!anchor.isSubmitter(run, TRAINER), "the first owner may no more");
        assertTrue(!anchor.isSubmitter(run, STRANGER), "nor may its submitters");
        anchorAs(buyer, run, 1, epochInput(1, 1));
    }

    function test_announce_revertsWhen_sizeNotAnchored(uint64 size) public {
        anchorAs(TRAINER, run, 1, epochInput(1, 4));
        if (size > 0 && size <= 4) size = 0;
        vm.prank(TRAINER);
        vm.expectRevert(abi.encodeWithSelector(IRunAnchor.SizeNotAnchored.selector, run, 4, size));
        anchor.announce(run, size, "manifest", bytes20("v1"), "v2");
    }

    function test_announce_revertsWhen_notSubmitter() public {
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(IRunAnchor.NotSubmitter.selector, run, STRANGER));
        anchor.announce(run, 1, "manifest", bytes20("v1"), "v2");
    }

    function test_finalize_revertsWhen_nothingAnchored() public {
        vm.prank(TRAINER);
        vm.expectRevert(abi.encodeWithSelector(IRunAnchor.NothingAnchored.selector, run));
        anchor.finalize(run);
    }

    function test_finalize_happensOnce() public {
        anchorAs(TRAINER, run, 1, epochInput(1, 4));
        assertTrue(!anchor.isFinal(run), "open");
        finalizeRun(run);
        assertTrue(anchor.isFinal(run), "final");
        vm.prank(TRAINER);
        vm.expectRevert(abi.encodeWithSelector(IRunAnchor.RunFinal.selector, run));
        anchor.finalize(run);
    }

    function test_child_startsFromFinalStateOnly() public {
        anchorAs(TRAINER, run, 1, epochInput(1, 4));
        uint256 state = anchor.head(run).state;
        vm.startPrank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(IRunAnchor.ParentNotFinal.selector, run));
        anchor.registerRun("child", SELECTOR, state, POLICY, run);
        vm.stopPrank();
        finalizeRun(run);
        vm.startPrank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(IRunAnchor.ParentStateMismatch.selector, run, state, GENESIS));
        anchor.registerRun("child", SELECTOR, GENESIS, POLICY, run);
        RunId child = anchor.registerRun("child", SELECTOR, state, POLICY, run);
        vm.stopPrank();
        assertEq(RunId.unwrap(anchor.runOf(child).parent), RunId.unwrap(run), "parent");
        assertEq(anchor.head(child).state, state, "state");
    }

    function test_child_revertsWhen_parentUnknown(uint256 id) public {
        RunId unknown = RunId.wrap(bound(id, 1, type(uint256).max));
        if (RunId.unwrap(unknown) == RunId.unwrap(run)) return;
        vm.expectRevert(abi.encodeWithSelector(IRunAnchor.UnknownRun.selector, unknown));
        anchor.registerRun("child", SELECTOR, GENESIS, POLICY, unknown);
    }

    function test_verifyInclusion_followsTheTree(uint256 seed) public {
        uint256[3] memory sizes = [uint256(4), 2, 1];
        bytes32[] memory leaves = new bytes32[](7);
        uint256[] memory digests = new uint256[](7);
        bytes32[] memory records = new bytes32[](7);
        uint64 n = 0;
        for (uint64 e = 0; e < 3; ++e) {
            IRunAnchor.AnchorInput memory input = epochInput(seed ^ e, sizes[e]);
            anchorAs(TRAINER, run, e + 1, input);
            for (uint256 i = 0; i < sizes[e]; ++i) {
                (digests[n], records[n]) = (input.digests[i], input.recordHashes[i]);
                leaves[n] = ReferenceTree.leaf(n, digests[n], records[n]);
                ++n;
            }
        }
        for (uint64 step = 0; step < 7; ++step) {
            bytes32[] memory path = ReferenceTree.path(leaves, 0, 7, step);
            assertTrue(anchor.verifyInclusion(run, step, digests[step], records[step], path), "member");
            assertTrue(!anchor.verifyInclusion(run, step, digests[step] ^ 1, records[step], path), "other digest");
            assertTrue(!anchor.verifyInclusion(run, step, digests[step], ~records[step], path), "other record");
            assertTrue(!anchor.verifyInclusion(run, step + 7, digests[step], records[step], path), "not anchored");
        }
    }

    function test_constructor_revertsWhen_registryHasNoCode(address nowhere) public {
        if (nowhere.code.length != 0) return;
        vm.expectRevert(abi.encodeWithSelector(IRunAnchor.RegistryWithoutCode.selector, nowhere));
        new RunAnchor(nowhere);
    }

    function test_supportsInterface() public view {
        assertTrue(anchor.supportsInterface(type(IRunAnchor).interfaceId), "IRunAnchor");
        assertTrue(anchor.supportsInterface(type(IERC165).interfaceId), "IERC165");
        assertTrue(!anchor.supportsInterface(0xffffffff), "invalid id");
        assertTrue(registry.supportsInterface(type(IVerifierRegistry).interfaceId), "IVerifierRegistry");
        assertEq(anchor.registry(), address(registry), "registry");
    }

    function refusedPeaks(uint64 epoch, IRunAnchor.AnchorInput memory input, bytes4 selector) private {
        vm.prank(TRAINER);
        (bool ok, bytes memory answer) = address(anchor).call(abi.encodeCall(IRunAnchor.anchor, (run, epoch, input)));
        assertTrue(!ok, "refused");
        assertSelector(bytes4(answer), selector, "peaks");
    }

    /// @dev An epoch of a batch, with the peaks that the run has by then.
    function item(RunId id, uint64 epoch, IRunAnchor.AnchorInput memory input)
        private
        returns (IRunAnchor.BatchItem memory)
    {
        input.peaks = peaksOf(id);
        keep(id, input);
        return IRunAnchor.BatchItem({run: id, epoch: epoch, input: input});
    }

    function freeze() private {
        vm.prank(GUARDIAN);
        registry.freeze(SELECTOR);
    }

    function finalizeRun(RunId id) private {
        vm.prank(TRAINER);
        anchor.finalize(id);
    }

    function referenceRoot(IRunAnchor.AnchorInput memory input, uint64 first) private pure returns (bytes32) {
        bytes32[] memory leaves = new bytes32[](input.digests.length);
        for (uint64 i = 0; i < leaves.length; ++i) {
            leaves[i] = ReferenceTree.leaf(first + i, input.digests[i], input.recordHashes[i]);
        }
        return ReferenceTree.root(leaves, 0, leaves.length);
    }

    function distinct(bytes32[] memory slots) private pure returns (uint256 n) {
        for (uint256 i = 0; i < slots.length; ++i) {
            uint256 j = 0;
            while (j < i && slots[j] != slots[i]) ++j;
            if (j == i) ++n;
        }
    }

    function key(uint256 i, string memory field) private pure returns (string memory) {
        return string.concat(".vectors[", vm.toString(i), "]", field);
    }
}
