// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IVerifierRegistry} from "../src/interfaces/IVerifierRegistry.sol";
import {VerifierRegistry} from "../src/VerifierRegistry.sol";
import {AnchorFixture} from "./support/AnchorFixture.sol";
import {ClosedVerifier, OpenVerifier} from "./support/Verifiers.sol";

contract VerifierRegistryTest is AnchorFixture {
    address private verifier;

    function setUp() public {
        deploy();
        verifier = address(new OpenVerifier());
    }

    function test_addVerifier_standsAfterDelay(bytes4 selector, uint8 log) public {
        log = uint8(bound(log, 0, 16));
        vm.startPrank(ADMIN);
        registry.proposeVerifier(selector, log, verifier);
        uint64 readyAt = uint64(block.timestamp) + DELAY;
        IVerifierRegistry.Proposal memory proposal = registry.proposalOf(selector, log);
        assertEq(proposal.verifier, verifier, "proposed");
        assertEq(proposal.readyAt, readyAt, "ready");
        assertEq(proposal.codeHash, verifier.codehash, "code");
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.VerifierMissing.selector, selector, log));
        registry.verifierOf(selector, log);
        vm.warp(readyAt);
        registry.addVerifier(selector, log);
        vm.stopPrank();
        assertEq(registry.verifierOf(selector, log), verifier, "stands");
        assertEq(registry.proposalOf(selector, log).verifier, address(0), "no proposal left");
    }

    function test_addVerifier_revertsWhen_early(uint256 elapsed) public {
        elapsed = bound(elapsed, 0, DELAY - 1);
        vm.startPrank(ADMIN);
        registry.proposeVerifier(SELECTOR, 2, verifier);
        uint64 readyAt = uint64(block.timestamp) + DELAY;
        uint256 now_ = block.timestamp + elapsed;
        vm.warp(now_);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.ProposalNotReady.selector, readyAt, now_));
        registry.addVerifier(SELECTOR, 2);
        vm.stopPrank();
    }

    function test_addVerifier_revertsWhen_codeChanged() public {
        vm.startPrank(ADMIN);
        registry.proposeVerifier(SELECTOR, 2, verifier);
        vm.warp(block.timestamp + DELAY);
        bytes32 expected = verifier.codehash;
        vm.etch(verifier, hex"00");
        vm.expectRevert(
            abi.encodeWithSelector(
                IVerifierRegistry.VerifierCodeChanged.selector, verifier, expected, verifier.codehash
            )
        );
        registry.addVerifier(SELECTOR, 2);
        vm.stopPrank();
    }

    function test_addVerifier_revertsWhen_nothingProposed() public {
        vm.startPrank(ADMIN);
        bytes memory reason = abi.encodeWithSelector(IVerifierRegistry.NoProposal.selector, SELECTOR, 2);
        vm.expectRevert(reason);
        registry.addVerifier(SELECTOR, 2);
        vm.expectRevert(reason);
        registry.cancelProposal(SELECTOR, 2);
        registry.proposeVerifier(SELECTOR, 2, verifier);
        registry.cancelProposal(SELECTOR, 2);
        vm.expectRevert(reason);
        registry.addVerifier(SELECTOR, 2);
        vm.stopPrank();
    }

    function test_proposeVerifier_revertsWhen_placeTaken() public {
        addVerifier(2, verifier);
        address other = address(new ClosedVerifier());
        vm.prank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.VerifierExists.selector, SELECTOR, 2, verifier));
        registry.proposeVerifier(SELECTOR, 2, other);
    }

    function test_proposeVerifier_revertsWhen_noCode(address nowhere) public {
        if (nowhere.code.length != 0) return;
        vm.prank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.VerifierWithoutCode.selector, nowhere));
        registry.proposeVerifier(SELECTOR, 2, nowhere);
    }

    function test_proposeVerifier_revertsWhen_sizeTooLarge(uint8 log) public {
        log = uint8(bound(log, 17, 255));
        vm.prank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.LogStepsTooLarge.selector, 16, log));
        registry.proposeVerifier(SELECTOR, log, verifier);
    }

    function test_freeze_stopsTheFamilyForEver() public {
        addVerifier(2, verifier);
        vm.prank(GUARDIAN);
        registry.freeze(SELECTOR);
        bytes memory reason = abi.encodeWithSelector(IVerifierRegistry.SelectorFrozen.selector, SELECTOR);
        assertTrue(registry.isFrozen(SELECTOR), "frozen");
        vm.expectRevert(reason);
        registry.verifierOf(SELECTOR, 2);
        vm.startPrank(ADMIN);
        vm.expectRevert(reason);
        registry.proposeVerifier(SELECTOR, 3, verifier);
        vm.expectRevert(reason);
        registry.addVerifier(SELECTOR, 3);
        vm.expectRevert(reason);
        registry.freeze(SELECTOR);
        vm.stopPrank();
    }

    function test_freeze_revertsWhen_notGuardian(address caller) public {
        if (caller == GUARDIAN || caller == ADMIN) return;
        vm.prank(caller);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.NotGuardian.selector, GUARDIAN, caller));
        registry.freeze(SELECTOR);
    }

    function test_ownerCalls_revertWhen_notOwner(address caller) public {
        if (caller == ADMIN) return;
        bytes memory reason = abi.encodeWithSelector(IVerifierRegistry.NotRegistryOwner.selector, ADMIN, caller);
        vm.startPrank(caller);
        vm.expectRevert(reason);
        registry.proposeVerifier(SELECTOR, 2, verifier);
        vm.expectRevert(reason);
        registry.addVerifier(SELECTOR, 2);
        vm.expectRevert(reason);
        registry.cancelProposal(SELECTOR, 2);
        vm.expectRevert(reason);
        registry.transferOwnership(caller);
        vm.stopPrank();
    }

    function test_transferOwnership_takesTwoSteps() public {
        vm.prank(ADMIN);
        registry.transferOwnership(STRANGER);
        assertEq(registry.owner(), ADMIN, "still the first owner's");
        vm.prank(TRAINER);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.NotPendingRegistryOwner.selector, STRANGER, TRAINER));
        registry.acceptOwnership();
        vm.prank(STRANGER);
        registry.acceptOwnership();
        assertEq(registry.owner(), STRANGER, "the new owner's");
        assertEq(registry.pendingOwner(), address(0), "no offer left");
    }

    function test_transferGuardian_onlyByGuardianInTwoSteps() public {
        vm.prank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.NotGuardian.selector, GUARDIAN, ADMIN));
        registry.transferGuardian(ADMIN);
        vm.prank(GUARDIAN);
        registry.transferGuardian(STRANGER);
        assertEq(registry.guardian(), GUARDIAN, "still the first guardian");
        vm.prank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.NotPendingGuardian.selector, STRANGER, ADMIN));
        registry.acceptGuardian();
        vm.prank(STRANGER);
        registry.acceptGuardian();
        assertEq(registry.guardian(), STRANGER, "the new guardian");
        assertEq(registry.pendingGuardian(), address(0), "no offer left");
    }

    function test_transferGuardian_withdrawnOfferIsWorthNothing() public {
        vm.startPrank(GUARDIAN);
        registry.transferGuardian(STRANGER);
        registry.transferGuardian(address(0));
        vm.stopPrank();
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.NotPendingGuardian.selector, address(0), STRANGER));
        registry.acceptGuardian();
        assertEq(registry.guardian(), GUARDIAN, "still the guardian");
    }

    function test_constructor_revertsWhen_zeroAddress() public {
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.ZeroAddress.selector));
        new VerifierRegistry(address(0), GUARDIAN, DELAY);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.ZeroAddress.selector));
        new VerifierRegistry(ADMIN, address(0), DELAY);
    }
}
