// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IRunAnchor, RunId} from "../src/interfaces/IRunAnchor.sol";
import {IVerifierRegistry} from "../src/interfaces/IVerifierRegistry.sol";
import {AnchorFixture} from "./support/AnchorFixture.sol";
import {ClosedVerifier, OpenVerifier} from "./support/Verifiers.sol";

/// @dev Anybody stops a verifier that accepts what its circuit makes impossible, and nothing else.
contract CircuitBreakerTest is AnchorFixture {
    address private verifier;
    RunId private run;

    function setUp() public {
        deploy();
        addOpenVerifiers();
        verifier = registry.verifierOf(SELECTOR, 2);
        run = registerRun("salt");
    }

    function test_freezeByProof_stopsAVerifierThatAcceptsTheImpossible(address caller, uint256 kind, uint256 value)
        public
    {
        uint256[] memory instances = honest(4);
        (uint256 index, uint256 word_) = impossible(kind, value);
        instances[index] = word_;
        vm.expectEmit(true, true, true, true);
        emit IVerifierRegistry.SelectorBroken(SELECTOR, 2, verifier, index, word_);
        vm.expectEmit(true, true, false, true);
        emit IVerifierRegistry.SelectorStopped(SELECTOR, caller);
        vm.prank(caller);
        registry.freezeByProof(SELECTOR, 2, "proof", instances);
        assertTrue(registry.isFrozen(SELECTOR), "frozen");
        // All sizes of the family are, those without a verifier too; another family is not.
        for (uint8 log = 0; log <= 16; ++log) {
            vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.SelectorFrozen.selector, SELECTOR));
            registry.verifierOf(SELECTOR, log);
        }
        assertTrue(!registry.isFrozen(bytes4(uint32(SELECTOR) + 1)), "another family");
        expectRefusal(
            abi.encodeWithSelector(IVerifierRegistry.SelectorFrozen.selector, SELECTOR), run, 1, epochInput(1, 4)
        );
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.SelectorFrozen.selector, SELECTOR));
        registry.freezeByProof(SELECTOR, 2, "proof", instances);
    }

    /// @dev Every word a valid proof could have, the largest ones included, breaks nothing.
    function test_freezeByProof_revertsWhen_nothingIsImpossible(uint256 seed, uint8 steps) public {
        uint256[] memory instances = honest(steps);
        for (uint256 i = 0; i < instances.length; ++i) {
            instances[i] = word(seed, i);
        }
        instances[13] = bound(seed, 0, (1 << 40) - 1);
        instances[14] = seed % 2;
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.NothingImpossible.selector));
        registry.freezeByProof(SELECTOR, 2, "proof", instances);
        for (uint256 i = 0; i < instances.length; ++i) {
            instances[i] = i == 13 ? (1 << 40) - 1 : i == 14 ? 1 : R - 1;
        }
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.NothingImpossible.selector));
        registry.freezeByProof(SELECTOR, 2, "proof", instances);
        assertTrue(!registry.isFrozen(SELECTOR), "not frozen");
    }

    /// @dev Too few words to hold a first step or a flag are no proof of anything either.
    function test_freezeByProof_revertsWhen_instancesAreMissing() public {
        for (uint256 n = 0; n < 13; ++n) {
            vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.NothingImpossible.selector));
            registry.freezeByProof(SELECTOR, 2, "proof", new uint256[](n));
        }
    }

    function test_freezeByProof_revertsWhen_theVerifierRefuses(uint256 kind, uint256 value) public {
        ClosedVerifier closed = new ClosedVerifier();
        addVerifier(4, address(closed));
        uint256[] memory instances = honest(16);
        (uint256 index, uint256 word_) = impossible(kind, value);
        instances[index] = word_;
        vm.expectRevert(
            abi.encodeWithSelector(
                IVerifierRegistry.VerifierRefuses.selector,
                address(closed),
                abi.encodeWithSelector(ClosedVerifier.Closed.selector)
            )
        );
        registry.freezeByProof(SELECTOR, 4, "proof", instances);
        assertTrue(!registry.isFrozen(SELECTOR), "not frozen");
    }

    function test_freezeByProof_revertsWhen_noVerifier() public {
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.VerifierMissing.selector, SELECTOR, 5));
        registry.freezeByProof(SELECTOR, 5, "proof", honest(32));
    }

    /// @dev What was anchored stays, and the run can still be ended.
    function test_frozenFamily_keepsItsRuns() public {
        anchorAs(TRAINER, run, 1, epochInput(1, 4));
        IRunAnchor.Head memory before = anchor.head(run);
        uint256[] memory instances = honest(4);
        instances[14] = 2;
        registry.freezeByProof(SELECTOR, 2, "proof", instances);
        assertEq(anchor.head(run).root, before.root, "root");
        vm.prank(TRAINER);
        anchor.finalize(run);
        assertTrue(anchor.factsOf(run).frozen, "gates see it");
    }

    /// @dev A place that is filled after another was frozen would miss its flag; it cannot be filled.
    function test_frozenFamily_takesNoVerifier() public {
        address late = address(new OpenVerifier());
        vm.prank(ADMIN);
        registry.proposeVerifier(SELECTOR, 7, late);
        vm.warp(registry.proposalOf(SELECTOR, 7).readyAt);
        vm.prank(GUARDIAN);
        registry.freeze(SELECTOR);
        vm.prank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.SelectorFrozen.selector, SELECTOR));
        registry.addVerifier(SELECTOR, 7);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.SelectorFrozen.selector, SELECTOR));
        registry.verifierOf(SELECTOR, 7);
    }

    function honest(uint256 steps) private pure returns (uint256[] memory) {
        return new uint256[](18 + steps);
    }

    /// @dev One of the three kinds of the impossible.
    function impossible(uint256 kind, uint256 value) private pure returns (uint256 index, uint256 word_) {
        kind = kind % 3;
        if (kind == 0) return (value % 22, bound(value, R, type(uint256).max));
        if (kind == 1) return (13, bound(value, 1 << 40, R - 1));
        return (14, bound(value, 2, R - 1));
    }
}
