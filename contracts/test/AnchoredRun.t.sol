// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IRunAnchor, RunId} from "../src/interfaces/IRunAnchor.sol";
import {AnchoredRun, Refusal} from "../src/libraries/AnchoredRun.sol";
import {AnchorFixture} from "./support/AnchorFixture.sol";

/// @dev A contract that relies on a run in one line.
contract Relying {
    function rely(IRunAnchor anchor, RunId run, uint256 state, AnchoredRun.Gate memory gate)
        external
        view
        returns (uint64 steps)
    {
        return AnchoredRun.requirePasses(anchor, run, state, gate).steps;
    }
}

contract AnchoredRunTest is AnchorFixture {
    /// @dev Cases of `testdata/gate/cases.json`, which `ledger` reads too.
    function test_cases_giveTheirAnswers() public view {
        string memory json = vm.readFile("testdata/gate/cases.json");
        uint256[8] memory seen;
        uint256 checked = 0;
        for (; vm.keyExistsJson(json, field(checked, "")); ++checked) {
            IRunAnchor.Facts memory facts;
            if (vm.parseJsonBool(json, field(checked, ".known"))) facts.owner = TRAINER;
            facts.selector = bytes4(vm.parseJsonBytes(json, field(checked, ".facts.selector")));
            facts.finalized = vm.parseJsonBool(json, field(checked, ".facts.final"));
            facts.frozen = vm.parseJsonBool(json, field(checked, ".facts.frozen"));
            facts.steps = uint64(vm.parseJsonUint(json, field(checked, ".facts.steps")));
            facts.state = vm.parseJsonUint(json, field(checked, ".facts.state"));
            facts.policy = vm.parseJsonUint(json, field(checked, ".facts.policy"));
            AnchoredRun.Gate memory gate;
            gate.minSteps = uint64(vm.parseJsonUint(json, field(checked, ".gate.min_steps")));
            gate.mustBeFinal = vm.parseJsonBool(json, field(checked, ".gate.must_be_final"));
            gate.policies = vm.parseJsonUintArray(json, field(checked, ".gate.policies"));
            gate.selectors = selectors(vm.parseJsonBytesArray(json, field(checked, ".gate.selectors")));
            (Refusal refusal,,) = AnchoredRun.evaluate(facts, vm.parseJsonUint(json, field(checked, ".state")), gate);
            string memory name = vm.parseJsonString(json, field(checked, ".name"));
            string memory expected = vm.parseJsonString(json, field(checked, ".refusal"));
            assertEq(keccak256(bytes(names()[uint8(refusal)])), keccak256(bytes(expected)), name);
            ++seen[uint8(refusal)];
        }
        for (uint256 i = 0; i < seen.length; ++i) {
            assertTrue(seen[i] != 0, "every answer occurs");
        }
        assertTrue(checked > 20, "cases in the file");
    }

    /// @dev The whole way: registered, anchored, final, stopped; each refusal names the values that disagree.
    function test_requirePasses_followsTheRun() public {
        deploy();
        addOpenVerifiers();
        Relying relying = new Relying();
        RunId run = registerRun("salt");
        AnchoredRun.Gate memory gate;
        gate.minSteps = 8;
        gate.mustBeFinal = true;
        (gate.selectors, gate.policies) = (new bytes4[](1), new uint256[](1));
        (gate.selectors[0], gate.policies[0]) = (SELECTOR, POLICY);

        refuses(relying, RunId.wrap(7), 0, gate, Refusal.UnknownRun, 0, 0);
        refuses(relying, run, GENESIS, gate, Refusal.NotFinal, 1, 0);
        anchorAs(TRAINER, run, 1, epochInput(1, 4));
        gate.mustBeFinal = false;
        uint256 state = anchor.head(run).state;
        refuses(relying, run, state, gate, Refusal.TooFewSteps, 8, 4);
        anchorAs(TRAINER, run, 2, epochInput(2, 4));
        refuses(relying, run, state, gate, Refusal.StateDiffers, anchor.head(run).state, state);
        state = anchor.head(run).state;
        assertEq(relying.rely(anchor, run, state, gate), 8, "passes while it goes on");
        vm.prank(TRAINER);
        anchor.finalize(run);
        gate.mustBeFinal = true;
        assertEq(relying.rely(anchor, run, state, gate), 8, "passes at its end");
        gate.policies[0] = POLICY + 1;
        refuses(relying, run, state, gate, Refusal.PolicyNotAllowed, 0, POLICY);
        gate.selectors[0] = 0x12345678;
        refuses(relying, run, state, gate, Refusal.SelectorNotAllowed, 0, uint32(SELECTOR));
        vm.prank(GUARDIAN);
        registry.freeze(SELECTOR);
        refuses(relying, run, state, gate, Refusal.SelectorFrozen, 0, uint32(SELECTOR));
    }

    function refuses(
        Relying relying,
        RunId run,
        uint256 state,
        AnchoredRun.Gate memory gate,
        Refusal refusal,
        uint256 expected,
        uint256 got
    ) private {
        vm.expectRevert(abi.encodeWithSelector(AnchoredRun.RunRefused.selector, run, refusal, expected, got));
        relying.rely(anchor, run, state, gate);
    }

    function names() private pure returns (string[8] memory) {
        return [
            "none",
            "unknown_run",
            "not_final",
            "selector_frozen",
            "selector_not_allowed",
            "policy_not_allowed",
            "too_few_steps",
            "state_differs"
        ];
    }

    function selectors(bytes[] memory list) private pure returns (bytes4[] memory result) {
        result = new bytes4[](list.length);
        for (uint256 i = 0; i < list.length; ++i) {
            result[i] = bytes4(list[i]);
        }
    }

    function field(uint256 i, string memory name) private pure returns (string memory) {
        return string.concat(".cases[", vm.toString(i), "]", name);
    }
}
