// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEpochVerifier} from "../src/interfaces/IEpochVerifier.sol";
import {TestBase} from "./support/TestBase.sol";

/// @title The committed verifier of the demo's epochs, compiled with this project's settings
/// @dev Statement: `testdata/verifier/epoch_k21.json`; hint and deployed code: `testdata/anchor/demo.json`.
contract GeneratedVerifier is TestBase {
    uint256 private constant R = 21888242871839275222246405745257275088548364400416034343698204186575808495617;

    IEpochVerifier private verifier;
    address private deployed;
    bytes private proof;
    uint256[] private instances;

    function setUp() public {
        // Not imported: this file's settings are not those that it is compiled with.
        verifier = IEpochVerifier(create(vm.getCode("EpochVerifier4.sol:EpochVerifier4")));
        string memory statement = vm.readFile("testdata/verifier/epoch_k21.json");
        string memory submitted = vm.readFile("testdata/anchor/demo.json");
        instances = vm.parseJsonUintArray(statement, ".instances");
        bytes memory submission = vm.parseJsonBytes(submitted, ".submissions[0].proof");
        bytes32 hint;
        assembly ("memory-safe") {
            hint := mload(add(submission, mload(submission)))
        }
        proof = bytes.concat(vm.parseJsonBytes(statement, ".proof"), hint);
        deployed = create(vm.parseJsonBytes(submitted, ".verifier_code"));
    }

    function test_verifyProof_acceptsTheRealEpoch() public view {
        assertTrue(verifier.verifyProof(proof, instances), "accepted");
    }

    function test_runtimeCode_isWithinHalfTheLimit() public view {
        assertTrue(address(verifier).code.length * 2 <= 24_576, "EIP-170");
    }

    function test_verifyProof_revertsWhen_anInstanceIsAnother(uint256 index, uint256 difference) public view {
        uint256[] memory other = instances;
        index = bound(index, 12, other.length - 1);
        other[index] = addmod(other[index], bound(difference, 1, R - 1), R);
        (bool ok, bytes memory answer) =
            address(verifier).staticcall(abi.encodeCall(IEpochVerifier.verifyProof, (proof, other)));
        // The hint is that of the old challenges.
        assertTrue(!ok && bytes4(answer) == IEpochVerifier.InverseHintWrong.selector, "refused");
    }

    function test_verifyProof_revertsWhen_anInstanceIsNotCanonical(uint256 index) public {
        index = bound(index, 0, instances.length - 1);
        uint256[] memory other = instances;
        other[index] += R;
        vm.expectRevert(
            abi.encodeWithSelector(IEpochVerifier.InstanceNotCanonical.selector, index, instances[index] + R)
        );
        verifier.verifyProof(proof, other);
    }

    /// @dev Two compilers' settings, one source: whatever is sent, both give the same bytes.
    function test_anyCall_isAnsweredAsByTheDeployedCode(uint256 place, uint8 flip) public view {
        bytes memory data = abi.encodeCall(IEpochVerifier.verifyProof, (proof, instances));
        data[place % data.length] ^= bytes1(flip);
        (bool ours, bytes memory answer) = address(verifier).staticcall(data);
        (bool theirs, bytes memory expected) = deployed.staticcall(data);
        assertTrue(ours == theirs && keccak256(answer) == keccak256(expected), "same answer");
        assertTrue(ours == (flip == 0), "only the honest call");
    }

    function create(bytes memory code) private returns (address made) {
        assembly ("memory-safe") {
            made := create(0, add(code, 0x20), mload(code))
        }
        assertTrue(made.code.length > 0, "deployed");
    }
}
