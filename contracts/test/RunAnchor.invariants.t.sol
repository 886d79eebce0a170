// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IRunAnchor, RunId} from "../src/interfaces/IRunAnchor.sol";
import {AnchorFixture} from "./support/AnchorFixture.sol";
import {ReferenceTree} from "./support/ReferenceTree.sol";
import {ExactVerifier} from "./support/Verifiers.sol";

/// @dev Does what owners, submitters and strangers could do to two runs, and keeps its own books.
contract AnchorActor is AnchorFixture {
    uint256 private constant RUNS = 2;

    /// @dev What the actor knows of a run.
    struct Book {
        RunId run;
        address owner;
        uint256 provedState;
        uint64 largestEpoch;
        uint64 largestSize;
        bytes32[] roots; // every root the run has had
        uint64[] sizes;
    }

    bool public fell;
    bool public acceptedFrozen;
    bool public acceptedFinal;
    bool public strangerMoved;
    bool public rootForgotten;
    uint256 public accepted;
    Book[RUNS] private _books;
    ExactVerifier[4] private _verifiers;
    address private immutable SUBMITTER = address(0x5b);

    constructor() {
        deploy();
        for (uint8 log = 0; log < 4; ++log) {
            _verifiers[log] = new ExactVerifier();
            addVerifier(log, address(_verifiers[log]));
        }
        for (uint256 i = 0; i < RUNS; ++i) {
            _books[i].run = registerRun(bytes32(i));
            _books[i].owner = TRAINER;
            _books[i].provedState = GENESIS;
        }
    }

    /// @dev A proved epoch of 2^log steps, with any of the peaks a submitter could give; refused only for alignment,
    /// wrong peaks, the end of the run, or a frozen family.
    function anchorProved(uint256 seed, uint8 which, uint8 log, bool bySubmitter) external {
        Book storage book = _books[which % RUNS];
        log = uint8(bound(log, 0, 3));
        IRunAnchor.AnchorInput memory input = epochInput(seed, 1 << log);
        input.peaks = peaksOf(book.run);
        if (seed % 8 == 0 && input.peaks.length != 0) input.peaks[0] = ~input.peaks[0];
        bool right = ReferenceTree.peaks(leavesOf[book.run]).length == 0 || seed % 8 != 0;
        IRunAnchor.Head memory before = anchor.head(book.run);
        _verifiers[log].expect(callHash(book.run, input, before));
        address caller = book.owner;
        if (bySubmitter) {
            vm.prank(book.owner);
            anchor.setSubmitter(book.run, SUBMITTER, true);
            caller = SUBMITTER;
        }
        bool frozen = registry.isFrozen(SELECTOR);
        vm.prank(caller);
        try anchor.anchor(book.run, before.epoch + 1, input) {
            acceptedFrozen = acceptedFrozen || frozen;
            acceptedFinal = acceptedFinal || before.finalized;
            rootForgotten = rootForgotten || !right;
            keep(book.run, input);
            book.provedState = input.stateOut;
            book.roots.push(anchor.head(book.run).root);
            book.sizes.push(anchor.head(book.run).steps);
            ++accepted;
        } catch {}
        watch();
    }

    /// @dev An epoch no verifier was told of, with any counter, alone or behind another run's in a batch.
    function anchorUnproved(uint256 seed, uint8 which, uint8 log, uint64 epoch) external {
        log = uint8(bound(log, 0, 3));
        _verifiers[log].expect(0);
        Book storage book = _books[which % RUNS];
        IRunAnchor.BatchItem[] memory items = new IRunAnchor.BatchItem[](1);
        items[0] = IRunAnchor.BatchItem({run: book.run, epoch: epoch % 8, input: epochInput(seed, 1 << log)});
        items[0].input.peaks = peaksOf(book.run);
        vm.prank(book.owner);
        try anchor.anchorBatch(items) {} catch {}
        watch();
    }

    /// @dev Everything that moves a run, by somebody who is neither its owner nor a submitter.
    function strange(uint256 seed, uint8 which, address stranger) external {
        Book storage book = _books[which % RUNS];
        if (stranger == book.owner || stranger == SUBMITTER || stranger == anchor.runOf(book.run).pendingOwner) return;
        IRunAnchor.Head memory before = anchor.head(book.run);
        IRunAnchor.AnchorInput memory input = epochInput(seed, 1);
        input.peaks = peaksOf(book.run);
        _verifiers[0].expect(callHash(book.run, input, before));
        bytes[6] memory calls = [
            abi.encodeCall(IRunAnchor.anchor, (book.run, before.epoch + 1, input)),
            abi.encodeCall(IRunAnchor.announce, (book.run, before.steps, "m", bytes20("1"), "2")),
            abi.encodeCall(IRunAnchor.finalize, (book.run)),
            abi.encodeCall(IRunAnchor.setSubmitter, (book.run, stranger, true)),
            abi.encodeCall(IRunAnchor.transferRun, (book.run, stranger)),
            abi.encodeCall(IRunAnchor.acceptRun, (book.run))
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            vm.prank(stranger);
            (bool ok,) = address(anchor).call(calls[i]);
            strangerMoved = strangerMoved || ok;
        }
        watch();
    }

    function transfer(uint8 which, uint160 to) external {
        Book storage book = _books[which % RUNS];
        address buyer = address(uint160(bound(to, 0x1000, 0x1010)));
        vm.prank(book.owner);
        anchor.transferRun(book.run, buyer);
        vm.prank(buyer);
        anchor.acceptRun(book.run);
        book.owner = buyer;
        watch();
    }

    function finalize(uint8 which, uint256 chance) external {
        if (!seldom(chance)) return;
        Book storage book = _books[which % RUNS];
        vm.prank(book.owner);
        try anchor.finalize(book.run) {} catch {}
        watch();
    }

    function freeze(uint256 chance) external {
        if (!seldom(chance)) return;
        vm.prank(GUARDIAN);
        try registry.freeze(SELECTOR) {} catch {}
        watch();
    }

    /// @dev The head is what was proved: the reference tree over the leaves, and the state of the last epoch.
    function check() external view {
        for (uint256 i = 0; i < RUNS; ++i) {
            Book storage book = _books[i];
            bytes32[] memory leaves = leavesOf[book.run];
            IRunAnchor.Head memory head = anchor.head(book.run);
            assertEq(head.steps, leaves.length, "steps");
            assertEq(head.state, book.provedState, "state");
            assertEq(head.root, leaves.length == 0 ? sha256("") : ReferenceTree.root(leaves, 0, leaves.length), "root");
            assertEq(anchor.runOf(book.run).owner, book.owner, "owner");
        }
    }

    /// @dev Every root the run has had is a beginning of what it has now.
    function checkHistory() external view {
        for (uint256 i = 0; i < RUNS; ++i) {
            Book storage book = _books[i];
            bytes32[] memory leaves = leavesOf[book.run];
            for (uint256 j = 0; j < book.roots.length; ++j) {
                bytes32[] memory path = ReferenceTree.consistency(leaves, 0, leaves.length, book.sizes[j], true);
                assertTrue(
                    anchor.verifyConsistency(book.run, book.sizes[j], book.roots[j], path), "a root was forgotten"
                );
            }
        }
    }

    /// @dev Once in 32 times: what comes after must have a chance to be refused, and what comes before to happen.
    function seldom(uint256 chance) private pure returns (bool) {
        return uint256(keccak256(abi.encode(chance))) % 32 == 0;
    }

    function watch() private {
        for (uint256 i = 0; i < RUNS; ++i) {
            Book storage book = _books[i];
            IRunAnchor.Head memory now_ = anchor.head(book.run);
            if (now_.epoch < book.largestEpoch || now_.steps < book.largestSize) fell = true;
            (book.largestEpoch, book.largestSize) = (now_.epoch, now_.steps);
        }
    }

    function callHash(RunId run, IRunAnchor.AnchorInput memory input, IRunAnchor.Head memory before)
        private
        pure
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

    /// @dev What the actor does succeeds when it should: the invariants are not about nothing.
    function test_actor_movesRuns() public {
        actor.anchorProved(1, 0, 2, false);
        actor.anchorProved(2, 0, 1, true);
        actor.anchorProved(3, 1, 3, false);
        assertEq(actor.accepted(), 3, "accepted");
        actor.anchorProved(8, 0, 0, false);
        assertEq(actor.accepted(), 3, "wrong peaks");
        actor.anchorProved(9, 0, 3, false);
        assertEq(actor.accepted(), 3, "misaligned");
        actor.anchorUnproved(10, 0, 1, 3);
        assertEq(actor.accepted(), 3, "unproved");
        actor.transfer(0, 5);
        actor.anchorProved(11, 0, 1, false);
        assertEq(actor.accepted(), 4, "by the new owner");
        actor.strange(12, 0, STRANGER);
        actor.check();
        actor.checkHistory();
        assertTrue(!actor.strangerMoved(), "strangers");
    }

    function invariant_epochAndSizeNeverDecrease() external view {
        assertTrue(!actor.fell(), "counter or size fell");
    }

    function invariant_everyRootWasProved() external view {
        actor.check();
    }

    function invariant_rootsOfThePastStayPartOfTheRun() external view {
        actor.checkHistory();
        assertTrue(!actor.rootForgotten(), "wrong peaks were taken");
    }

    function invariant_frozenOrFinalAcceptsNothing() external view {
        assertTrue(!actor.acceptedFrozen(), "accepted while frozen");
        assertTrue(!actor.acceptedFinal(), "accepted after the end");
    }

    function invariant_onlyOwnerAndSubmittersMoveARun() external view {
        assertTrue(!actor.strangerMoved(), "a stranger moved a run");
    }
}
