// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {StepTree} from "../src/libraries/StepTree.sol";
import {ReferenceTree} from "./support/ReferenceTree.sol";
import {TestBase} from "./support/TestBase.sol";

/// @dev Gives the library calldata, and keeps the leaves as a submitter would.
contract TreeHarness is TestBase {
    bytes32[] private _leaves;
    bytes32 public root = StepTree.EMPTY_ROOT;

    function size() public view returns (uint64) {
        return uint64(_leaves.length);
    }

    function append(uint256[] calldata digests, bytes32[] calldata records) external {
        uint256 level = 0;
        while (digests.length >> level != 1) ++level;
        extend(level, StepTree.epochRoot(size(), digests, records));
        for (uint256 i = 0; i < digests.length; ++i) {
            _leaves.push(ReferenceTree.leaf(size(), digests[i], records[i]));
        }
    }

    function appendLeaf(bytes32 hash) external {
        extend(0, hash);
        _leaves.push(hash);
    }

    function extend(uint256 level, bytes32 subtree) private {
        bytes32[] memory peaks = ReferenceTree.peaks(_leaves);
        assertEq(StepTree.peakCount(size()), peaks.length, "number of peaks");
        assertEq(this.rootOf(peaks), root, "root of the peaks");
        root = this.appended(size(), level, subtree, peaks);
    }

    function rootOf(bytes32[] calldata peaks) external view returns (bytes32) {
        return StepTree.rootOf(peaks);
    }

    function appended(uint64 size_, uint256 level, bytes32 subtree, bytes32[] calldata peaks)
        external
        view
        returns (bytes32)
    {
        return StepTree.append(size_, level, subtree, peaks);
    }

    function consistent(bytes32 root_, uint64 size_, bytes32 oldRoot, uint64 oldSize, bytes32[] calldata path)
        external
        view
        returns (bool)
    {
        return StepTree.verifyConsistency(root_, size_, oldRoot, oldSize, path);
    }

    function epochRoot(uint64 first, uint256[] calldata digests, bytes32[] calldata records)
        external
        view
        returns (bytes32)
    {
        return StepTree.epochRoot(first, digests, records);
    }

    function verify(bytes32 root_, uint64 size_, uint64 index, bytes32 hash, bytes32[] calldata path)
        external
        view
        returns (bool)
    {
        return StepTree.verify(root_, size_, index, hash, path);
    }
}

contract StepTreeTest is TestBase {
    /// @dev Epochs of random sizes, each clipped to what the alignment allows, give the reference tree's root.
    function test_append_equalsReference(uint256 seed) public {
        TreeHarness tree = new TreeHarness();
        bytes32[] memory leaves = new bytes32[](64);
        uint256 n = 0;
        while (true) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 steps = 1 << (seed % 5);
            while (n % steps != 0) steps /= 2;
            if (n + steps > leaves.length) break;
            (uint256[] memory digests, bytes32[] memory records) = values(seed, steps);
            for (uint256 i = 0; i < steps; ++i) {
                leaves[n + i] = ReferenceTree.leaf(uint64(n + i), digests[i], records[i]);
            }
            tree.append(digests, records);
            n += steps;
            assertEq(tree.size(), n, "size");
            assertEq(tree.root(), ReferenceTree.root(leaves, 0, n), "root");
        }
        assertTrue(n > 48, "the sequence fills the tree");
    }

    function test_epochRoot_equalsReference(uint256 seed, uint64 first, uint8 log) public {
        TreeHarness tree = new TreeHarness();
        first = uint64(bound(first, 0, 1 << 40));
        uint256 steps = 1 << bound(log, 0, 5);
        (uint256[] memory digests, bytes32[] memory records) = values(seed, steps);
        bytes32[] memory leaves = new bytes32[](steps);
        for (uint256 i = 0; i < steps; ++i) {
            leaves[i] = ReferenceTree.leaf(first + uint64(i), digests[i], records[i]);
            assertEq(StepTree.leaf(first + uint64(i), digests[i], records[i]), leaves[i], "leaf");
        }
        assertEq(tree.epochRoot(first, digests, records), ReferenceTree.root(leaves, 0, steps), "root");
    }

    function test_verify_acceptsEveryStepAndNoOther(uint256 seed, uint256 size, uint256 other) public {
        size = bound(size, 1, 40);
        TreeHarness tree = new TreeHarness();
        bytes32[] memory leaves = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            leaves[i] = keccak256(abi.encode(seed, i));
        }
        bytes32 root = ReferenceTree.root(leaves, 0, size);
        for (uint256 i = 0; i < size; ++i) {
            bytes32[] memory path = ReferenceTree.path(leaves, 0, size, i);
            assertTrue(tree.verify(root, uint64(size), uint64(i), leaves[i], path), "member");
            uint256 wrong = bound(other, 0, size - 1);
            if (wrong != i) {
                assertTrue(!tree.verify(root, uint64(size), uint64(wrong), leaves[i], path), "other position");
            }
            assertTrue(!tree.verify(root, uint64(size), uint64(size), leaves[i], path), "past the end");
            assertTrue(
                !tree.verify(root, uint64(size), uint64(i), keccak256(abi.encode(leaves[i])), path), "other leaf"
            );
            if (path.length > 0) {
                path[other % path.length] ^= bytes32(uint256(1));
                assertTrue(!tree.verify(root, uint64(size), uint64(i), leaves[i], path), "other path");
            }
        }
    }

    function test_verifyConsistency_acceptsBeginningsAndNothingElse(uint256 seed, uint256 size, uint256 old) public {
        size = bound(size, 1, 40);
        old = bound(old, 1, size);
        TreeHarness tree = new TreeHarness();
        bytes32[] memory leaves = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            leaves[i] = keccak256(abi.encode(seed, i));
        }
        (bytes32 root, bytes32 oldRoot) = (ReferenceTree.root(leaves, 0, size), ReferenceTree.root(leaves, 0, old));
        bytes32[] memory path = ReferenceTree.consistency(leaves, 0, size, old, true);
        assertTrue(tree.consistent(root, uint64(size), oldRoot, uint64(old), path), "beginning");
        assertTrue(!tree.consistent(root, uint64(size), ~oldRoot, uint64(old), path), "other old root");
        assertTrue(!tree.consistent(~root, uint64(size), oldRoot, uint64(old), path), "other root");
        assertTrue(!tree.consistent(root, uint64(size), StepTree.EMPTY_ROOT, 0, path), "empty");
        assertTrue(!tree.consistent(root, uint64(size), oldRoot, uint64(size) + 1, path), "longer");
        bytes32[] memory longer = new bytes32[](path.length + 1);
        for (uint256 i = 0; i < path.length; ++i) {
            longer[i] = path[i];
        }
        assertTrue(!tree.consistent(root, uint64(size), oldRoot, uint64(old), longer), "longer path");
        if (path.length > 0) {
            path[seed % path.length] ^= bytes32(uint256(1));
            assertTrue(!tree.consistent(root, uint64(size), oldRoot, uint64(old), path), "other path");
        }
    }

    /// @dev Vectors of an independent implementation: `testdata/ledger/generate.py`.
    function test_vectors_steps() public {
        string memory json = vm.readFile("testdata/ledger/steps.json");
        uint256[] memory digests = vm.parseJsonUintArray(json, ".digests");
        bytes32[] memory records = vm.parseJsonBytes32Array(json, ".record_hashes");
        bytes32[] memory leaves = vm.parseJsonBytes32Array(json, ".leaves");
        bytes32[] memory roots = vm.parseJsonBytes32Array(json, ".roots");
        assertTrue(digests.length >= 64, "steps in the file");
        TreeHarness single = new TreeHarness();
        TreeHarness epochs = new TreeHarness();
        for (uint256 i = 0; i < digests.length; ++i) {
            assertEq(StepTree.leaf(uint64(i), digests[i], records[i]), leaves[i], "leaf");
            single.appendLeaf(leaves[i]);
            assertEq(single.root(), roots[i], "root at every size");
            if (i % 4 == 3) {
                uint256[] memory d = new uint256[](4);
                bytes32[] memory r = new bytes32[](4);
                for (uint256 j = 0; j < 4; ++j) {
                    (d[j], r[j]) = (digests[i - 3 + j], records[i - 3 + j]);
                }
                epochs.append(d, r);
                assertEq(epochs.root(), roots[i], "root by epochs");
            }
        }
    }

    /// @dev Inclusion paths of the same implementation, over entries that are not steps.
    function test_vectors_inclusion() public {
        string memory json = vm.readFile("testdata/ledger/tree.json");
        bytes32[] memory leaves = vm.parseJsonBytes32Array(json, ".leaves");
        bytes32[] memory roots = vm.parseJsonBytes32Array(json, ".roots");
        TreeHarness tree = new TreeHarness();
        for (uint256 i = 0; i < leaves.length; ++i) {
            tree.appendLeaf(leaves[i]);
            assertEq(tree.root(), roots[i], "root at every size");
        }
        uint256 checked = 0;
        for (;; ++checked) {
            string memory key = string.concat(".inclusion[", vm.toString(checked), "]");
            if (!vm.keyExistsJson(json, key)) break;
            uint64 size = uint64(vm.parseJsonUint(json, string.concat(key, ".size")));
            uint64 index = uint64(vm.parseJsonUint(json, string.concat(key, ".index")));
            bytes32[] memory path = vm.parseJsonBytes32Array(json, string.concat(key, ".path"));
            assertTrue(tree.verify(roots[size - 1], size, index, leaves[index], path), "member");
        }
        assertTrue(checked > 100, "paths in the file");
    }

    function values(uint256 seed, uint256 n) private pure returns (uint256[] memory digests, bytes32[] memory records) {
        digests = new uint256[](n);
        records = new bytes32[](n);
        for (uint256 i = 0; i < n; ++i) {
            digests[i] = uint256(keccak256(abi.encode(seed, i, "digest")));
            records[i] = keccak256(abi.encode(seed, i, "record"));
        }
    }
}
