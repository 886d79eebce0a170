// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IRunAnchor, RunId} from "../src/interfaces/IRunAnchor.sol";
import {RunAnchor} from "../src/RunAnchor.sol";
import {AnchorFixture} from "./support/AnchorFixture.sol";
import {ExactVerifier} from "./support/Verifiers.sol";

/// @dev The verifier accepts one calldata only, so acceptance shows which instances the contract builds from storage.
contract RunAnchorBindingTest is AnchorFixture {
    ExactVerifier private verifier;
    RunId private run;

    function setUp() public {
        deploy();
        verifier = new ExactVerifier();
        addVerifier(2, address(verifier));
        run = registerRun("salt");
    }

    function test_anchor_buildsInstancesInOrder(uint256 seed) public {
        IRunAnchor.AnchorInput memory first = epochInput(seed, 4);
        verifier.expect(callHash(first, instances(first, run, 0, 1, GENESIS, POLICY)));
        anchorAs(TRAINER, run, 1, first);

        IRunAnchor.AnchorInput memory second = epochInput(seed ^ 1, 4);
        verifier.expect(callHash(second, instances(second, run, 4, 0, first.stateOut, POLICY)));
        anchorAs(TRAINER, run, 2, second);
        assertEq(anchor.head(run).steps, 8, "both accepted");
    }

    function test_anchor_childIsNotFresh(uint256 seed) public {
        IRunAnchor.AnchorInput memory input = epochInput(seed, 4);
        verifier.expect(callHash(input, instances(input, run, 0, 1, GENESIS, POLICY)));
        anchorAs(TRAINER, run, 1, input);
        vm.startPrank(TRAINER);
        anchor.finalize(run);
        RunId child = anchor.registerRun("child", SELECTOR, input.stateOut, POLICY, run);
        vm.stopPrank();
        verifier.expect(callHash(input, instances(input, child, 0, 0, input.stateOut, POLICY)));
        anchorAs(TRAINER, child, 1, input);
        assertEq(anchor.head(child).epoch, 1, "accepted");
    }

    /// @dev One changed word of the instances, or one flipped byte of the proof, is not what the verifier accepts.
    function test_anchor_revertsWhen_anyInstanceOrProofByteChanges(uint256 seed, uint256 place) public {
        IRunAnchor.AnchorInput memory input = epochInput(seed, 4);
        bytes memory words = instances(input, run, 0, 1, GENESIS, POLICY);
        verifier.expect(callHash(input, words));
        uint256 untouched = input.digests.length;
        place = bound(place, 0, input.proof.length + untouched);
        if (place < input.proof.length) {
            // The lowest byte of a limb changes; higher ones could make it non-canonical, which is another refusal.
            if (place < 384) place |= 31;
            input.proof[place] ^= 0x01;
            if (place < 384 && limb(input.proof, place / 32) >= R) return;
        } else if (place == input.proof.length) {
            input.stateOut = addmod(input.stateOut, 1, R);
        } else {
            uint256 i = place - input.proof.length - 1;
            input.digests[i] = addmod(input.digests[i], 1, R);
        }
        expectRefusal(rejected(run, 1), run, 1, input);
    }

    /// @dev The words that come from storage: another run, genesis state or policy needs another proof.
    function test_anchor_revertsWhen_proofIsOfAnotherRun(uint256 genesis, uint256 policy) public {
        IRunAnchor.AnchorInput memory input = epochInput(1, 4);
        verifier.expect(callHash(input, instances(input, run, 0, 1, GENESIS, POLICY)));
        RunId foreign = registerRun("foreign");
        expectRefusal(rejected(foreign, 1), foreign, 1, input);

        (genesis, policy) = (bound(genesis, GENESIS + 1, R - 1), bound(policy, POLICY + 1, R - 1));
        vm.prank(TRAINER);
        RunId otherState = anchor.registerRun("state", SELECTOR, genesis, POLICY, NONE);
        verifier.expect(callHash(input, instances(input, otherState, 0, 1, GENESIS, POLICY)));
        expectRefusal(rejected(otherState, 1), otherState, 1, input);
        vm.prank(TRAINER);
        RunId otherPolicy = anchor.registerRun("policy", SELECTOR, GENESIS, policy, NONE);
        verifier.expect(callHash(input, instances(input, otherPolicy, 0, 1, GENESIS, POLICY)));
        expectRefusal(rejected(otherPolicy, 1), otherPolicy, 1, input);
    }

    /// @dev The same proof at the next epoch: first step, fresh and state before differ.
    function test_anchor_revertsWhen_proofIsRepeatedAsNextEpoch(uint256 seed) public {
        IRunAnchor.AnchorInput memory input = epochInput(seed, 4);
        verifier.expect(callHash(input, instances(input, run, 0, 1, GENESIS, POLICY)));
        anchorAs(TRAINER, run, 1, input);
        expectRefusal(rejected(run, 2), run, 2, input);
    }

    function test_anchor_revertsWhen_onAnotherChainOrContract() public {
        IRunAnchor.AnchorInput memory input = epochInput(1, 4);
        verifier.expect(callHash(input, instances(input, run, 0, 1, GENESIS, POLICY)));
        RunAnchor here = anchor;
        anchor = new RunAnchor(address(registry));
        RunId elsewhere = registerRun("salt");
        expectRefusal(rejected(elsewhere, 1), elsewhere, 1, input);
        anchor = here;
        vm.chainId(block.chainid + 1);
        RunId fork = registerRun("salt");
        expectRefusal(rejected(fork, 1), fork, 1, input);
    }

    /// @dev The words of `testdata/ledger/instances.json`, which the circuit's tests read too, are in this file's order.
    function test_instances_equalVectors() public view {
        string memory json = vm.readFile("testdata/ledger/instances.json");
        uint256 checked = 0;
        for (; vm.keyExistsJson(json, key(checked, "")); ++checked) {
            IRunAnchor.AnchorInput memory input;
            input.proof = abi.encodePacked(vm.parseJsonBytes32Array(json, key(checked, ".accumulator")));
            input.stateOut = vm.parseJsonUint(json, key(checked, ".state_out"));
            input.digests = vm.parseJsonUintArray(json, key(checked, ".digests"));
            bytes memory words = instances(
                input,
                RunId.wrap(vm.parseJsonUint(json, key(checked, ".run"))),
                vm.parseJsonUint(json, key(checked, ".first_step")),
                vm.parseJsonBool(json, key(checked, ".fresh")) ? 1 : 0,
                vm.parseJsonUint(json, key(checked, ".state_in")),
                vm.parseJsonUint(json, key(checked, ".policy_digest"))
            );
            bytes memory expected = abi.encodePacked(vm.parseJsonBytes32Array(json, key(checked, ".words")));
            assertEq(keccak256(words), keccak256(expected), "words");
        }
        assertTrue(checked >= 5, "vectors in the file");
    }

    /// @dev The instances in order, without the contract's help.
    function instances(
        IRunAnchor.AnchorInput memory input,
        RunId id,
        uint256 firstStep,
        uint256 fresh,
        uint256 stateIn,
        uint256 policy
    ) private pure returns (bytes memory words) {
        for (uint256 i = 0; i < 12; ++i) {
            words = bytes.concat(words, bytes32(limb(input.proof, i)));
        }
        words = bytes.concat(words, bytes32(RunId.unwrap(id)), bytes32(firstStep), bytes32(fresh));
        words = bytes.concat(words, bytes32(stateIn), bytes32(input.stateOut), bytes32(policy));
        for (uint256 i = 0; i < input.digests.length; ++i) {
            words = bytes.concat(words, bytes32(input.digests[i]));
        }
    }

    /// @dev Hash of the instances and what follows the accumulator in the proof.
    function callHash(IRunAnchor.AnchorInput memory input, bytes memory words) private pure returns (bytes32) {
        return verifierCallHash(input.proof, words);
    }

    function limb(bytes memory proof, uint256 i) private pure returns (uint256 value) {
        for (uint256 j = 0; j < 32; ++j) {
            value = value << 8 | uint8(proof[32 * i + j]);
        }
    }

    function rejected(RunId id, uint64 epoch) private view returns (bytes memory) {
        return abi.encodeWithSelector(
            IRunAnchor.ProofRejected.selector,
            id,
            epoch,
            address(verifier),
            abi.encodeWithSelector(ExactVerifier.OtherCalldata.selector)
        );
    }

    function key(uint256 i, string memory field) private pure returns (string memory) {
        return string.concat(".vectors[", vm.toString(i), "]", field);
    }
}
