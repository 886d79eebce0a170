// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ModelMarket} from "../src/examples/ModelMarket.sol";
import {RunId} from "../src/interfaces/IRunAnchor.sol";
import {AnchoredRun, Refusal} from "../src/libraries/AnchoredRun.sol";
import {AnchorFixture} from "./support/AnchorFixture.sol";

contract ModelMarketTest is AnchorFixture {
    ModelMarket private market;
    RunId private run;
    uint256 private state;

    function setUp() public {
        deploy();
        addOpenVerifiers();
        AnchoredRun.Gate memory gate;
        gate.minSteps = 8;
        gate.mustBeFinal = true;
        (gate.selectors, gate.policies) = (new bytes4[](1), new uint256[](1));
        (gate.selectors[0], gate.policies[0]) = (SELECTOR, POLICY);
        market = new ModelMarket(address(anchor), gate);
        assertEq(keccak256(abi.encode(market.gate())), keccak256(abi.encode(gate)), "gate");
        run = finalRun("salt", 8);
        state = anchor.head(run).state;
    }

    function test_list_offersTheAnchoredState(uint256 price) public {
        vm.expectEmit(true, true, true, true);
        emit ModelMarket.Listed(run, TRAINER, state, 8, price);
        vm.prank(TRAINER);
        market.list(run, state, price);
        ModelMarket.Listing memory listing = market.listingOf(run);
        assertTrue(listing.seller == TRAINER && listing.steps == 8, "seller and steps");
        assertTrue(listing.state == state && listing.price == price, "state and price");
        assertTrue(market.passes(run), "passes");
    }

    function test_list_revertsWhen_theRunDoesNotPass(uint256 otherState) public {
        if (otherState == state) return;
        refuses(run, otherState, Refusal.StateDiffers, state, otherState);
        RunId short = finalRun("short", 4);
        refuses(short, anchor.head(short).state, Refusal.TooFewSteps, 8, 4);
        RunId open = registerRun("open");
        anchorAs(TRAINER, open, 1, epochInput(1, 8));
        refuses(open, anchor.head(open).state, Refusal.NotFinal, 1, 0);
        vm.prank(TRAINER);
        RunId lax = anchor.registerRun("lax", SELECTOR, GENESIS, POLICY + 1, NONE);
        anchorAs(TRAINER, lax, 1, epochInput(1, 8));
        vm.prank(TRAINER);
        anchor.finalize(lax);
        refuses(lax, anchor.head(lax).state, Refusal.PolicyNotAllowed, 0, POLICY + 1);
        refuses(RunId.wrap(1), state, Refusal.UnknownRun, 0, 0);
        vm.prank(GUARDIAN);
        registry.freeze(SELECTOR);
        refuses(run, state, Refusal.SelectorFrozen, 0, uint32(SELECTOR));
    }

    function test_list_revertsWhen_notTheOwner(address caller) public {
        if (caller == TRAINER) return;
        vm.expectRevert(abi.encodeWithSelector(ModelMarket.NotRunOwner.selector, run, TRAINER, caller));
        vm.prank(caller);
        market.list(run, state, 1);
    }

    function test_delist_bySellerOnlyWhileItPasses(address caller) public {
        if (caller == TRAINER) return;
        vm.expectRevert(abi.encodeWithSelector(ModelMarket.NotListed.selector, run));
        market.delist(run);
        vm.prank(TRAINER);
        market.list(run, state, 1);
        vm.expectRevert(abi.encodeWithSelector(ModelMarket.NotSeller.selector, run, TRAINER, caller));
        vm.prank(caller);
        market.delist(run);
        vm.prank(TRAINER);
        market.delist(run);
        assertEq(market.listingOf(run).seller, address(0), "delisted");
        // Stopped circuit: anybody clears the catalogue.
        vm.prank(TRAINER);
        market.list(run, state, 1);
        vm.prank(GUARDIAN);
        registry.freeze(SELECTOR);
        assertTrue(!market.passes(run), "passes no more");
        vm.expectEmit(true, true, false, true);
        emit ModelMarket.Delisted(run, caller);
        vm.prank(caller);
        market.delist(run);
    }

    function test_constructor_revertsWhen_anchorHasNoCode() public {
        AnchoredRun.Gate memory gate;
        vm.expectRevert(abi.encodeWithSelector(ModelMarket.AnchorWithoutCode.selector, STRANGER));
        new ModelMarket(STRANGER, gate);
    }

    function refuses(RunId id, uint256 offered, Refusal refusal, uint256 expected, uint256 got) private {
        vm.expectRevert(abi.encodeWithSelector(AnchoredRun.RunRefused.selector, id, refusal, expected, got));
        vm.prank(TRAINER);
        market.list(id, offered, 1);
    }

    function finalRun(bytes32 salt, uint256 steps) private returns (RunId id) {
        id = registerRun(salt);
        anchorAs(TRAINER, id, 1, epochInput(uint256(salt), steps));
        vm.prank(TRAINER);
        anchor.finalize(id);
    }
}

/// @dev Execution gas with cold storage.
contract ModelMarketGas is AnchorFixture {
    function test_list_gas() public {
        deploy();
        addOpenVerifiers();
        AnchoredRun.Gate memory gate;
        gate.minSteps = 4;
        gate.mustBeFinal = true;
        (gate.selectors, gate.policies) = (new bytes4[](1), new uint256[](2));
        (gate.selectors[0], gate.policies[0], gate.policies[1]) = (SELECTOR, 1, POLICY);
        ModelMarket market = new ModelMarket(address(anchor), gate);
        RunId run = registerRun("salt");
        anchorAs(TRAINER, run, 1, epochInput(1, 4));
        vm.prank(TRAINER);
        anchor.finalize(run);
        uint256 state = anchor.head(run).state;
        spent(market, "list", abi.encodeCall(market.list, (run, state, 1)));
        spent(market, "passes", abi.encodeCall(market.passes, (run)));
        spent(market, "delist", abi.encodeCall(market.delist, (run)));
    }

    function spent(ModelMarket market, string memory name, bytes memory data) private {
        vm.cool(address(registry));
        vm.cool(address(anchor));
        vm.cool(address(market));
        vm.prank(TRAINER);
        uint256 gas = gasleft();
        (bool ok,) = address(market).call(data);
        gas -= gasleft();
        assertTrue(ok, "accepted");
        vm.snapshotValue("ModelMarket", name, gas);
    }
}
