// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IRunAnchor, RunId} from "../src/interfaces/IRunAnchor.sol";
import {StepTree} from "../src/libraries/StepTree.sol";
import {AnchorFixture} from "./support/AnchorFixture.sol";
import {OpenVerifier} from "./support/Verifiers.sol";

/// @dev Execution gas with cold storage, without the transaction's base, its calldata and the proof's verification (an
/// accepting verifier stands in). Written to `contracts/snapshots` by `cargo xtask contracts snapshot`, compared in
/// every other run.
contract RunAnchorGas is AnchorFixture {
    string private constant GROUP = "RunAnchor";

    function setUp() public {
        deploy();
        addOpenVerifiers();
        for (uint8 log = 4; log < 7; ++log) {
            addVerifier(log, address(new OpenVerifier()));
        }
    }

    function test_anchor_gas() public {
        RunId run = registerRun("salt");
        vm.snapshotValue(GROUP, "anchor, first epoch of 4 steps", anchorGas(run, 1, 4));
        vm.snapshotValue(GROUP, "anchor, second epoch of 4 steps", anchorGas(run, 2, 4));
        uint256 four = anchorGas(run, 3, 4);
        vm.snapshotValue(GROUP, "anchor, third epoch of 4 steps", four);
        RunId longer = registerRun("longer");
        anchorAs(TRAINER, longer, 1, epochInput(1, 64));
        anchorAs(TRAINER, longer, 2, epochInput(2, 64));
        uint256 sixtyFour = anchorGas(longer, 3, 64);
        vm.snapshotValue(GROUP, "anchor, third epoch of 64 steps", sixtyFour);
        uint256 step = (sixtyFour - four) / 60;
        vm.snapshotValue(GROUP, "anchor, each further step", step);
        vm.snapshotValue(GROUP, "anchor, what does not depend on steps", four - 4 * step);
        assertTrue(step < 1_300, "each further step");
        assertTrue(four - 4 * step < 40_000, "fixed");
    }

    /// @dev Against separate transactions a batch saves the base of 21,000 and the first access of shared accounts.
    function test_anchorBatch_gas() public {
        IRunAnchor.BatchItem[] memory items = new IRunAnchor.BatchItem[](4);
        for (uint256 i = 0; i < 4; ++i) {
            RunId run = registerRun(bytes32(i));
            items[i] = IRunAnchor.BatchItem({run: run, epoch: 1, input: epochInput(1, 4)});
        }
        vm.snapshotValue(
            GROUP, "anchorBatch, 4 runs of 4 steps", spent(TRAINER, abi.encodeCall(IRunAnchor.anchorBatch, (items)))
        );
    }

    function test_lifecycle_gas() public {
        bytes memory register =
            abi.encodeCall(IRunAnchor.registerRun, (bytes32("gas"), SELECTOR, GENESIS, POLICY, NONE));
        vm.snapshotValue(GROUP, "registerRun", spent(TRAINER, register));
        RunId run = registerRun("salt");
        anchorAs(TRAINER, run, 1, epochInput(1, 4));
        bytes memory announce =
            abi.encodeCall(IRunAnchor.announce, (run, 4, bytes32("manifest"), bytes20("v1"), bytes32("v2")));
        vm.snapshotValue(GROUP, "announce", spent(TRAINER, announce));
        vm.snapshotValue(GROUP, "head", spent(STRANGER, abi.encodeCall(IRunAnchor.head, (run))));
        vm.snapshotValue(GROUP, "factsOf", spent(STRANGER, abi.encodeCall(IRunAnchor.factsOf, (run))));
        vm.snapshotValue(GROUP, "finalize", spent(TRAINER, abi.encodeCall(IRunAnchor.finalize, (run))));
    }

    /// @dev Trees of that depth are put into storage: growing them would take a million steps.
    function test_verifyInclusion_gas() public {
        RunId run = registerRun("salt");
        vm.snapshotValue(GROUP, "verifyInclusion, depth 4", inclusionGas(run, 4));
        vm.snapshotValue(GROUP, "verifyInclusion, depth 10", inclusionGas(run, 10));
        vm.snapshotValue(GROUP, "verifyInclusion, depth 20", inclusionGas(run, 20));
    }

    function test_codeSizes_gas() public {
        vm.snapshotValue(GROUP, "code bytes of RunAnchor", address(anchor).code.length);
        vm.snapshotValue(GROUP, "code bytes of VerifierRegistry", address(registry).code.length);
        assertTrue(address(anchor).code.length < 24_576, "EIP-170");
    }

    function anchorGas(RunId run, uint64 epoch, uint256 steps) private returns (uint256) {
        IRunAnchor.AnchorInput memory input = epochInput(epoch, steps);
        input.peaks = peaksOf(run);
        keep(run, input);
        return spent(TRAINER, abi.encodeCall(IRunAnchor.anchor, (run, epoch, input)));
    }

    /// @dev Gas of a call that is encoded beforehand, as the caller's work is not the contract's.
    function spent(address caller, bytes memory data) private returns (uint256 gas) {
        for (uint8 log = 0; log < 7; ++log) {
            vm.cool(registry.verifierOf(SELECTOR, log));
        }
        vm.cool(address(registry));
        vm.cool(address(anchor));
        vm.prank(caller);
        gas = gasleft();
        (bool ok,) = address(anchor).call(data);
        gas -= gasleft();
        assertTrue(ok, "accepted");
    }

    /// @dev A perfect tree of 2^depth leaves, and the path of some leaf of it.
    function inclusionGas(RunId run, uint256 depth) private returns (uint256) {
        uint64 index = uint64(uint256(keccak256(abi.encode(depth))) % (1 << depth));
        bytes32 root = StepTree.leaf(index, 1, "record");
        bytes32[] memory path = new bytes32[](depth);
        for (uint256 i = 0; i < depth; ++i) {
            path[i] = keccak256(abi.encode(depth, i));
            root = index >> i & 1 == 1 ? StepTree.node(path[i], root) : StepTree.node(root, path[i]);
        }
        // Slots of a run's entry, as docs/spec/anchor.md draws them.
        uint256 entry = uint256(keccak256(abi.encode(RunId.unwrap(run), 0)));
        vm.store(address(anchor), bytes32(entry + 1), bytes32(uint256(1 << depth) << 64 | 1));
        vm.store(address(anchor), bytes32(entry + 3), root);
        assertTrue(anchor.head(run).steps == 1 << depth && anchor.head(run).root == root, "layout");
        assertTrue(anchor.verifyInclusion(run, index, 1, "record", path), "included");
        path[depth - 1] ^= bytes32(uint256(1));
        assertTrue(!anchor.verifyInclusion(run, index, 1, "record", path), "tampered");
        path[depth - 1] ^= bytes32(uint256(1));
        return spent(STRANGER, abi.encodeCall(IRunAnchor.verifyInclusion, (run, index, 1, bytes32("record"), path)));
    }
}
