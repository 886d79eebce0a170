// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IRunAnchor, RunId} from "../src/interfaces/IRunAnchor.sol";
import {AnchorFixture} from "./support/AnchorFixture.sol";
import {OpenVerifier} from "./support/Verifiers.sol";

/// @dev What `anchor` costs apart from the proof's verification, the transaction's base and its calldata.
contract RunAnchorGasTest is AnchorFixture {
    event log_named_uint(string key, uint256 value);

    RunId private run;

    function setUp() public {
        deploy();
        addOpenVerifiers();
        for (uint8 log = 4; log < 7; ++log) {
            addVerifier(log, address(new OpenVerifier()));
        }
        run = registerRun("salt");
        // Two epochs, so that the slots of the head are not written for the first time.
        anchorAs(TRAINER, run, 1, epochInput(1, 64));
        anchorAs(TRAINER, run, 2, epochInput(2, 64));
    }

    function test_anchor_gas() public {
        uint256 four = measure(4);
        uint256 sixtyFour = measure(64);
        emit log_named_uint("anchor without verification, 4 steps", four);
        emit log_named_uint("anchor without verification, 64 steps", sixtyFour);
        emit log_named_uint("each further step", (sixtyFour - four) / 60);
        assertTrue(four < 75_000, "4 steps");
        assertTrue((sixtyFour - four) / 60 < 1_500, "each further step");
    }

    function measure(uint256 steps) private returns (uint256 gas) {
        RunId id = registerRun(bytes32(steps));
        anchorAs(TRAINER, id, 1, epochInput(1, steps));
        anchorAs(TRAINER, id, 2, epochInput(2, steps));
        // Encoded beforehand: the caller's work is not the contract's.
        bytes memory call = abi.encodeCall(IRunAnchor.anchor, (id, 3, epochInput(3, steps)));
        vm.cool(address(anchor));
        vm.cool(address(registry));
        vm.prank(TRAINER);
        gas = gasleft();
        (bool ok,) = address(anchor).call(call);
        gas -= gasleft();
        assertTrue(ok, "anchored");
    }
}
