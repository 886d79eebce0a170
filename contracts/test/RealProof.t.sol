// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEpochVerifier} from "../src/interfaces/IEpochVerifier.sol";
import {IRunAnchor, RunId} from "../src/interfaces/IRunAnchor.sol";
import {IVerifierRegistry} from "../src/interfaces/IVerifierRegistry.sol";
import {AnchoredRun, Refusal} from "../src/libraries/AnchoredRun.sol";
import {ModelMarket} from "../src/examples/ModelMarket.sol";
import {RunAnchor} from "../src/RunAnchor.sol";
import {VerifierRegistry} from "../src/VerifierRegistry.sol";
import {TestBase} from "./support/TestBase.sol";

/// @title Real epoch proofs of a demo run against the generated verifier
/// @dev Vectors: `testdata/anchor/demo.json`, made by `cargo xtask fixtures`. The run's id binds chain, contract and
/// owner, so the anchor's code is put where the demo deployed it.
contract RealProof is TestBase {
    uint256 private constant R = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint8 private constant LOG_STEPS = 2;
    uint256 private constant LIMBS = 12;
    RunId private constant NONE = RunId.wrap(0);

    string private json;
    VerifierRegistry private registry;
    RunAnchor private anchor;
    address private verifier;
    address private owner;
    bytes4 private selector;
    bytes32 private salt;
    uint256 private genesis;
    uint256 private policy;
    RunId private run;

    function setUp() public {
        json = vm.readFile("testdata/anchor/demo.json");
        owner = vm.parseJsonAddress(json, ".owner");
        selector = bytes4(vm.parseJsonBytes(json, ".selector"));
        salt = vm.parseJsonBytes32(json, ".salt");
        genesis = vm.parseJsonUint(json, ".genesis_state");
        policy = vm.parseJsonUint(json, ".policy");
        vm.chainId(vm.parseJsonUint(json, ".chain_id"));
        registry = new VerifierRegistry(address(this), address(this), 0);
        address place = vm.parseJsonAddress(json, ".contract");
        vm.etch(place, address(new RunAnchor(address(registry))).code);
        anchor = RunAnchor(place);
        verifier = create(vm.parseJsonBytes(json, ".verifier_code"));
        addVerifier(selector);
        run = register(salt, selector, genesis, policy);
        assertEq(RunId.unwrap(run), vm.parseJsonUint(json, ".run"), "run id");
    }

    function test_realProofs_areAnchored() public {
        for (uint64 epoch = 1; epoch <= 2; ++epoch) {
            vm.prank(owner);
            anchor.anchor(run, epoch, submission(epoch));
            IRunAnchor.Head memory head = anchor.head(run);
            assertEq(head.root, vm.parseJsonBytes32(json, field(epoch, ".root_after")), "root");
            assertEq(head.state, vm.parseJsonUint(json, field(epoch, ".state_out")), "state");
            assertEq(head.steps, 4 * epoch, "steps");
            assertEq(head.epoch, epoch, "counter");
        }
    }

    /// @dev What the transaction of each epoch costs: base, calldata and execution, with cold storage.
    function test_realProof_gas() public {
        for (uint64 epoch = 1; epoch <= 2; ++epoch) {
            bytes memory data = abi.encodeCall(RunAnchor.anchor, (run, epoch, submission(epoch)));
            uint256 base = 21_000;
            for (uint256 i = 0; i < data.length; ++i) {
                base += data[i] == 0 ? 4 : 16;
            }
            vm.cool(address(registry));
            vm.cool(verifier);
            vm.cool(address(anchor));
            vm.prank(owner);
            uint256 execution = gasleft();
            (bool ok,) = address(anchor).call(data);
            execution -= gasleft();
            assertTrue(ok, "anchored");
            // The called contract is warm in a transaction of its own, and cold here.
            execution -= 2_500;
            string memory name = string.concat("anchor of real epoch ", vm.toString(epoch));
            vm.snapshotValue("RealProof", string.concat(name, ", base and calldata"), base);
            vm.snapshotValue("RealProof", string.concat(name, ", execution"), execution);
            vm.snapshotValue("RealProof", string.concat(name, ", transaction"), base + execution);
            assertTrue(base + execution <= 450_000, "the budget of DESIGN 9");
        }
        vm.snapshotValue("RealProof", "code bytes of the verifier", verifier.code.length);
    }

    function test_stateAfterAndDigests_areBound() public {
        IRunAnchor.AnchorInput memory input = submission(1);
        input.stateOut = addmod(input.stateOut, 1, R);
        assertSelector(refused(run, 1, input), IEpochVerifier.ProofInvalid.selector, "state after");
        for (uint256 i = 0; i < 4; ++i) {
            input = submission(1);
            input.digests[i] = addmod(input.digests[i], 1, R);
            assertSelector(refused(run, 1, input), IEpochVerifier.ProofInvalid.selector, "digest");
        }
        input = submission(1);
        (input.digests[0], input.digests[1]) = (input.digests[1], input.digests[0]);
        assertSelector(refused(run, 1, input), IEpochVerifier.ProofInvalid.selector, "digests swapped");
    }

    /// @dev Limbs are the verifier's only instances that the submitter chooses: a changed one is no point of the curve.
    function test_accumulatorLimbs_areBound() public {
        for (uint256 i = 0; i < LIMBS; ++i) {
            IRunAnchor.AnchorInput memory input = submission(1);
            input.proof[32 * i + 31] ^= 0x01;
            bytes4 reason = refused(run, 1, input);
            assertTrue(
                reason == IEpochVerifier.PointNotOnCurve.selector || reason == IEpochVerifier.InverseHintWrong.selector,
                "limb"
            );
        }
        // Both points replaced by another pair for which the pairing holds: those of the second epoch.
        IRunAnchor.AnchorInput memory first = submission(1);
        bytes memory second = submission(2).proof;
        for (uint256 i = 0; i < 32 * LIMBS; ++i) {
            first.proof[i] = second[i];
        }
        assertSelector(refused(run, 1, first), IEpochVerifier.ProofInvalid.selector, "accumulator of another proof");
    }

    function test_runStepFreshStateAndPolicy_areBound() public {
        IRunAnchor.AnchorInput memory input = submission(1);
        RunId foreign = register(keccak256("another run"), selector, genesis, policy);
        assertSelector(refused(foreign, 1, input), IEpochVerifier.ProofInvalid.selector, "run");
        RunId state = register(keccak256("another state"), selector, addmod(genesis, 1, R), policy);
        assertSelector(refused(state, 1, input), IEpochVerifier.ProofInvalid.selector, "state before");
        RunId rules = register(keccak256("another policy"), selector, genesis, addmod(policy, 1, R));
        assertSelector(refused(rules, 1, input), IEpochVerifier.ProofInvalid.selector, "policy");
        // The second epoch's proof is for step 4 and not fresh.
        assertSelector(refused(run, 1, submission(2)), IEpochVerifier.ProofInvalid.selector, "skipped epoch");
        anchorEpoch(1);
        assertSelector(refused(run, 2, input), IEpochVerifier.ProofInvalid.selector, "first epoch again as the second");
    }

    /// @dev A child run starts where its parent ended, but a fresh start is not what it may show.
    function test_freshFlag_isTheContracts() public {
        vm.prank(owner);
        RunId parent = anchor.registerRun(keccak256("parent"), selector, genesis, policy, NONE);
        assertSelector(
            refused(parent, 1, submission(1)), IEpochVerifier.ProofInvalid.selector, "another run's fresh start"
        );
        anchorEpoch(1);
        vm.prank(owner);
        anchor.finalize(run);
        uint256 state = anchor.head(run).state;
        vm.prank(owner);
        RunId child = anchor.registerRun(keccak256("child"), selector, state, policy, run);
        assertSelector(
            refused(child, 1, submission(2)), IEpochVerifier.ProofInvalid.selector, "parent's steps in the child"
        );
    }

    function test_anotherChainOrContract_isRefused() public {
        vm.chainId(1);
        RunId elsewhere = register(salt, selector, genesis, policy);
        assertSelector(refused(elsewhere, 1, submission(1)), IEpochVerifier.ProofInvalid.selector, "another chain");
        vm.chainId(vm.parseJsonUint(json, ".chain_id"));
        RunAnchor original = anchor;
        anchor = new RunAnchor(address(registry));
        RunId copy = register(salt, selector, genesis, policy);
        assertSelector(refused(copy, 1, submission(1)), IEpochVerifier.ProofInvalid.selector, "another contract");
        anchor = original;
    }

    /// @dev A bit of every word of the proof; the hint, its last word, is the next test's.
    function test_everyWordOfTheProof_isBound() public {
        uint256 words = submission(1).proof.length / 32;
        assertTrue(words > 50, "a real proof");
        for (uint256 i = LIMBS; i < words - 1; ++i) {
            IRunAnchor.AnchorInput memory input = submission(1);
            input.proof[32 * i + 7 + i % 25] ^= bytes1(uint8(1 << (i % 8)));
            assertTrue(refused(run, 1, input) != 0, "word of the proof");
        }
        assertEq(anchor.head(run).steps, 0, "nothing anchored");
        anchorEpoch(1);
    }

    function test_anotherHint_isRefused(uint256 hint) public {
        IRunAnchor.AnchorInput memory input = submission(1);
        if (hint == word(input.proof, input.proof.length - 32)) return;
        setLastWord(input.proof, hint);
        assertSelector(bytes4(rejection(run, 1, input)), IEpochVerifier.InverseHintWrong.selector, "hint");
    }

    function test_proofOfAnotherLength_isRefused() public {
        IRunAnchor.AnchorInput memory input = submission(1);
        bytes memory honest = input.proof;
        input.proof = bytes.concat(honest, bytes32(0));
        assertSelector(refused(run, 1, input), IEpochVerifier.BadCalldataLength.selector, "a word too many");
        input.proof = bytes.concat(honest, hex"00");
        assertTrue(refused(run, 1, input) != 0, "a byte too many");
        bytes memory cut = new bytes(honest.length - 1);
        for (uint256 i = 0; i < cut.length; ++i) {
            cut[i] = honest[i];
        }
        input.proof = cut;
        assertTrue(refused(run, 1, input) != 0, "a byte too few");
    }

    function test_trailingCalldataAtTheVerifier_isRefused() public view {
        bytes memory data = verifierCall(1);
        (bool ok, bytes memory answer) = verifier.staticcall(data);
        assertTrue(ok && answer.length == 32 && abi.decode(answer, (bool)), "honest");
        (ok, answer) = verifier.staticcall(bytes.concat(data, hex"00"));
        assertTrue(!ok && bytes4(answer) == IEpochVerifier.BadCalldataLength.selector, "trailing byte");
    }

    /// @dev Instances plus the field's order are the same numbers to the circuit, but other leaves to the tree.
    function test_instancesAboveTheField_areRefused() public {
        IRunAnchor.AnchorInput memory input = submission(1);
        input.digests[3] += R;
        bytes memory answer = failure(run, 1, input);
        assertSelector(bytes4(answer), IRunAnchor.NotCanonical.selector, "by the anchor");
        bytes memory data = verifierCall(1);
        uint256 last;
        assembly ("memory-safe") {
            let place := add(data, mload(data))
            last := add(mload(place), R)
            mstore(place, last)
        }
        (bool ok, bytes memory refusal) = verifier.staticcall(data);
        assertTrue(!ok && bytes4(refusal) == IEpochVerifier.InstanceNotCanonical.selector, "by the verifier");
    }

    /// @dev A_t is the submitter's word: the proof holds, and the root is another one, which whoever has the log sees.
    function test_recordHashesInAnotherOrder_giveAnotherRoot() public {
        IRunAnchor.AnchorInput memory input = submission(1);
        (input.recordHashes[0], input.recordHashes[1]) = (input.recordHashes[1], input.recordHashes[0]);
        vm.prank(owner);
        anchor.anchor(run, 1, input);
        assertTrue(anchor.head(run).root != vm.parseJsonBytes32(json, field(1, ".root_after")), "root");
    }

    function test_replayAndGap_areRefused() public {
        anchorEpoch(1);
        assertSelector(bytes4(failure(run, 1, submission(1))), IRunAnchor.EpochNotNext.selector, "replay");
        assertSelector(bytes4(failure(run, 3, submission(2))), IRunAnchor.EpochNotNext.selector, "gap");
        IRunAnchor.Head memory head = anchor.head(run);
        assertTrue(head.epoch == 1 && head.steps == 4, "counter and size stay");
        anchorEpoch(2);
    }

    function test_strangersAndStoppedVerifiers_areRefused() public {
        IRunAnchor.AnchorInput memory input = submission(1);
        (bool ok, bytes memory answer) = address(anchor).call(abi.encodeCall(RunAnchor.anchor, (run, 1, input)));
        assertTrue(!ok && bytes4(answer) == IRunAnchor.NotSubmitter.selector, "stranger");
        RunId other = register(keccak256("no verifier"), 0xdeadbeef, genesis, policy);
        assertSelector(
            bytes4(failure(other, 1, input)), IVerifierRegistry.VerifierMissing.selector, "selector without verifier"
        );
        registry.freeze(selector);
        assertSelector(bytes4(failure(run, 1, input)), IVerifierRegistry.SelectorFrozen.selector, "frozen");
    }

    /// @dev The circuit breaker opens for what is impossible only: an honest proof does not stop its own circuit, nor
    /// does it with instances that the circuit excludes.
    function test_realVerifier_cannotBeStoppedByProof() public {
        (bytes memory proof, uint256[] memory instances) = verifierArguments(1);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.NothingImpossible.selector));
        registry.freezeByProof(selector, LOG_STEPS, proof, instances);
        (uint256[3] memory places, uint256[3] memory values) = ([uint256(13), 14, 15], [uint256(1) << 40, 2, R]);
        for (uint256 i = 0; i < 3; ++i) {
            (proof, instances) = verifierArguments(1);
            instances[places[i]] = values[i];
            (bool ok, bytes memory answer) =
                address(registry).call(abi.encodeCall(registry.freezeByProof, (selector, LOG_STEPS, proof, instances)));
            assertTrue(!ok, "refused");
            assertSelector(bytes4(answer), IVerifierRegistry.VerifierRefuses.selector, "by the verifier");
        }
        assertTrue(!registry.isFrozen(selector), "not frozen");
        anchorEpoch(1);
    }

    /// @dev Both epochs in one transaction; if the second fails, the first is not anchored either.
    function test_realProofs_areAnchoredInOneBatch() public {
        IRunAnchor.BatchItem[] memory items = new IRunAnchor.BatchItem[](2);
        items[0] = IRunAnchor.BatchItem({run: run, epoch: 1, input: submission(1)});
        items[1] = IRunAnchor.BatchItem({run: run, epoch: 2, input: submission(2)});
        items[1].input.digests[0] ^= 1;
        vm.prank(owner);
        (bool ok, bytes memory answer) = address(anchor).call(abi.encodeCall(RunAnchor.anchorBatch, (items)));
        assertTrue(!ok, "one wrong");
        assertSelector(bytes4(answer), IRunAnchor.ProofRejected.selector, "one wrong");
        assertEq(anchor.head(run).steps, 0, "none anchored");
        items[1].input = submission(2);
        vm.prank(owner);
        anchor.anchorBatch(items);
        assertEq(anchor.head(run).root, vm.parseJsonBytes32(json, field(2, ".root_after")), "root");
    }

    /// @dev The whole way to a marketplace: proved, anchored, ended, listed at the state that the proofs end in.
    function test_realRun_isListed() public {
        AnchoredRun.Gate memory gate;
        (gate.minSteps, gate.mustBeFinal) = (8, true);
        (gate.selectors, gate.policies) = (new bytes4[](1), new uint256[](1));
        (gate.selectors[0], gate.policies[0]) = (selector, policy);
        ModelMarket market = new ModelMarket(address(anchor), gate);
        uint256 state = vm.parseJsonUint(json, field(2, ".state_out"));
        anchorEpoch(1);
        anchorEpoch(2);
        vm.expectRevert(abi.encodeWithSelector(AnchoredRun.RunRefused.selector, run, Refusal.NotFinal, 1, 0));
        vm.prank(owner);
        market.list(run, state, 1);
        vm.prank(owner);
        anchor.finalize(run);
        vm.prank(owner);
        market.list(run, state, 1);
        assertEq(market.listingOf(run).steps, 8, "listed");
    }

    function anchorEpoch(uint64 epoch) private {
        vm.prank(owner);
        anchor.anchor(run, epoch, submission(epoch));
    }

    function register(bytes32 salt_, bytes4 selector_, uint256 genesis_, uint256 policy_) private returns (RunId) {
        vm.prank(owner);
        return anchor.registerRun(salt_, selector_, genesis_, policy_, NONE);
    }

    /// @dev What the owner's submission reverts with; fails if it is accepted.
    function failure(RunId id, uint64 epoch, IRunAnchor.AnchorInput memory input) private returns (bytes memory) {
        IRunAnchor.Head memory before = anchor.head(id);
        vm.prank(owner);
        // A precompile takes all gas it is given when a point is not on the curve.
        (bool ok, bytes memory answer) =
            address(anchor).call{gas: 3_000_000}(abi.encodeCall(RunAnchor.anchor, (id, epoch, input)));
        assertTrue(!ok, "refused");
        assertEq(keccak256(abi.encode(anchor.head(id))), keccak256(abi.encode(before)), "head untouched");
        return answer;
    }

    /// @dev The submission is rejected for its proof; the selector of the verifier's error. A change of the transcript
    /// needs another hint, which anybody can compute: it is replaced, so that what refuses is the proof.
    function refused(RunId id, uint64 epoch, IRunAnchor.AnchorInput memory input) private returns (bytes4 reason) {
        bytes memory answer = rejection(id, epoch, input);
        if (bytes4(answer) == IEpochVerifier.InverseHintWrong.selector) {
            uint256 product = word(answer, 4);
            if (product == 0) return bytes4(answer);
            setLastWord(input.proof, inverse(product));
            answer = rejection(id, epoch, input);
        }
        return bytes4(answer);
    }

    /// @dev What the verifier said of a submission that is rejected for its proof. Its peaks are made right: of no steps
    /// there are none, of four there is the root.
    function rejection(RunId id, uint64 epoch, IRunAnchor.AnchorInput memory input)
        private
        returns (bytes memory reason)
    {
        IRunAnchor.Head memory head = anchor.head(id);
        input.peaks = new bytes32[](head.epoch);
        if (head.epoch == 1) input.peaks[0] = head.root;
        bytes memory answer = failure(id, epoch, input);
        assertSelector(bytes4(answer), IRunAnchor.ProofRejected.selector, "proof rejected");
        bytes memory arguments = new bytes(answer.length - 4);
        for (uint256 i = 0; i < arguments.length; ++i) {
            arguments[i] = answer[4 + i];
        }
        (,,, reason) = abi.decode(arguments, (uint256, uint64, address, bytes));
    }

    /// @dev value^(R - 2) mod R.
    function inverse(uint256 value) private view returns (uint256 result) {
        (bool ok, bytes memory answer) =
            address(5).staticcall(abi.encode(uint256(32), uint256(32), uint256(32), value, R - 2, R));
        assertTrue(ok, "modular exponentiation");
        result = abi.decode(answer, (uint256));
        assertEq(mulmod(result, value, R), 1, "inverse");
    }

    function word(bytes memory data, uint256 offset) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := mload(add(add(data, 32), offset))
        }
    }

    function setLastWord(bytes memory data, uint256 value) private pure {
        assembly ("memory-safe") {
            mstore(add(data, mload(data)), value)
        }
    }

    function submission(uint64 epoch) private view returns (IRunAnchor.AnchorInput memory input) {
        input.stateOut = vm.parseJsonUint(json, field(epoch, ".state_out"));
        input.digests = vm.parseJsonUintArray(json, field(epoch, ".digests"));
        input.recordHashes = vm.parseJsonBytes32Array(json, field(epoch, ".record_hashes"));
        input.proof = vm.parseJsonBytes(json, field(epoch, ".proof"));
        // Before the second epoch of four steps the tree is one perfect subtree.
        input.peaks = new bytes32[](epoch - 1);
        if (epoch == 2) input.peaks[0] = vm.parseJsonBytes32(json, field(1, ".root_after"));
    }

    /// @dev What the verifier gets for the first epoch.
    function verifierArguments(uint64 epoch) private view returns (bytes memory proof, uint256[] memory instances) {
        IRunAnchor.AnchorInput memory input = submission(epoch);
        instances = new uint256[](18 + input.digests.length);
        proof = new bytes(input.proof.length - 32 * LIMBS);
        for (uint256 i = 0; i < input.proof.length; ++i) {
            if (i < 32 * LIMBS) instances[i / 32] = instances[i / 32] << 8 | uint8(input.proof[i]);
            else proof[i - 32 * LIMBS] = input.proof[i];
        }
        (instances[12], instances[13], instances[14]) = (RunId.unwrap(run), 4 * (epoch - 1), epoch == 1 ? 1 : 0);
        (instances[15], instances[16], instances[17]) = (genesis, input.stateOut, policy);
        for (uint256 i = 0; i < input.digests.length; ++i) {
            instances[18 + i] = input.digests[i];
        }
    }

    function verifierCall(uint64 epoch) private view returns (bytes memory) {
        (bytes memory proof, uint256[] memory instances) = verifierArguments(epoch);
        return abi.encodeCall(IEpochVerifier.verifyProof, (proof, instances));
    }

    function addVerifier(bytes4 selector_) private {
        vm.warp(1_700_000_000);
        registry.proposeVerifier(selector_, LOG_STEPS, verifier);
        registry.addVerifier(selector_, LOG_STEPS);
    }

    function create(bytes memory code) private returns (address made) {
        assembly ("memory-safe") {
            made := create(0, add(code, 0x20), mload(code))
        }
        assertTrue(made.code.length > 0, "the verifier deploys");
        assertTrue(made.code.length < 24_576, "EIP-170");
    }

    function field(uint64 epoch, string memory name) private pure returns (string memory) {
        return string.concat(".submissions[", vm.toString(epoch - 1), "]", name);
    }
}
