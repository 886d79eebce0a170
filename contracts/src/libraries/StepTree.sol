// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title The SHA-256 tree over a run's steps (RFC 9162)
/// @dev Leaf: SHA-256(0x00 ‖ u64be(step) ‖ digest ‖ recordHash), 73 bytes. Node: SHA-256(0x01 ‖ left ‖ right), 65 bytes.
/// Assembly is used where the Solidity expression above it would allocate a new buffer for every hash.
library StepTree {
    /// @notice Binary logarithm of the largest epoch.
    uint8 internal constant MAX_LOG_STEPS = 16;

    /// @notice Root of the tree without leaves: SHA-256 of nothing.
    bytes32 internal constant EMPTY_ROOT = 0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855;

    /// @notice Thrown when the SHA-256 precompile fails, which only happens without gas.
    error Sha256Failed();

    /// @notice Hash of one step's leaf.
    /// @param step Index of the step, from 0.
    /// @param digest Its statement digest D_t.
    /// @param recordHash SHA-256 of its record, A_t.
    /// @return SHA-256(0x00 ‖ u64be(step) ‖ digest ‖ recordHash).
    function leaf(uint64 step, uint256 digest, bytes32 recordHash) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x00), step, digest, recordHash));
    }

    /// @notice Hash of two neighbours.
    /// @param left Hash of the left subtree.
    /// @param right Hash of the right subtree.
    /// @return hash SHA-256(0x01 ‖ left ‖ right).
    function node(bytes32 left, bytes32 right) internal view returns (bytes32 hash) {
        bool ok;
        // hash = sha256(abi.encodePacked(bytes1(0x01), left, right));
        assembly ("memory-safe") {
            let buffer := mload(0x40)
            mstore8(buffer, 1)
            mstore(add(buffer, 1), left)
            mstore(add(buffer, 33), right)
            ok := staticcall(gas(), 2, buffer, 65, 0, 32)
            hash := mload(0)
        }
        if (!ok) revert Sha256Failed();
    }

    /// @notice Root of an epoch whose number of steps is a power of two.
    /// @dev The caller has checked that both arrays have the same length, a power of two.
    /// @param firstStep Index of the first step.
    /// @param digests D_t of each step.
    /// @param recordHashes A_t of each step.
    /// @return root Root over their leaves.
    function epochRoot(uint64 firstStep, uint256[] calldata digests, bytes32[] calldata recordHashes)
        internal
        view
        returns (bytes32 root)
    {
        bool ok = true;
        // bytes32[] memory level = new bytes32[](n);
        // for (i = 0; i < n; ++i) level[i] = leaf(firstStep + i, digests[i], recordHashes[i]);
        // for (; n > 1; n /= 2) for (i = 0; i < n / 2; ++i) level[i] = node(level[2 * i], level[2 * i + 1]);
        // root = level[0];
        assembly ("memory-safe") {
            // A word in front for the prefix of the first node; behind it leaves, then nodes in their place.
            let level := add(mload(0x40), 0x20)
            let end := add(level, shl(5, digests.length))
            let buffer := end
            let digest := digests.offset
            let recordHash := recordHashes.offset
            // Bytes 0 to 8 of the buffer: prefix 0x00 and the step; the step is below 2^64.
            let head := shl(184, firstStep)
            for { let to := level } lt(to, end) { to := add(to, 0x20) } {
                mstore(buffer, head)
                mstore(add(buffer, 9), calldataload(digest))
                mstore(add(buffer, 41), calldataload(recordHash))
                ok := and(ok, staticcall(gas(), 2, buffer, 73, to, 0x20))
                head := add(head, shl(184, 1))
                digest := add(digest, 0x20)
                recordHash := add(recordHash, 0x20)
            }
            // Pairs are hashed where they stand. The byte in front of a pair belongs to the pair before, which has
            // been hashed; the nodes already written end before it.
            for { let size := shl(5, digests.length) } gt(size, 0x20) { size := shr(1, size) } {
                end := add(level, size)
                let to := level
                for { let from := level } lt(from, end) { from := add(from, 0x40) } {
                    mstore8(sub(from, 1), 1)
                    ok := and(ok, staticcall(gas(), 2, sub(from, 1), 65, to, 0x20))
                    to := add(to, 0x20)
                }
            }
            root := mload(level)
        }
        if (!ok) revert Sha256Failed();
    }

    /// @notice Number of perfect subtrees that a tree of `size` leaves consists of: one for each one-bit.
    /// @param size Number of leaves.
    /// @return count Number of one-bits.
    function peakCount(uint64 size) internal pure returns (uint256 count) {
        for (uint256 rest = size; rest != 0; rest &= rest - 1) {
            ++count;
        }
    }

    /// @notice Root of the tree that consists of these perfect subtrees, largest first.
    /// @param peaks Roots of the subtrees, largest first.
    /// @return root The fold from the smallest up; of none, `EMPTY_ROOT`.
    function rootOf(bytes32[] calldata peaks) internal view returns (bytes32 root) {
        return peaks.length == 0 ? EMPTY_ROOT : _fold(peaks, peaks.length - 1, peaks[peaks.length - 1]);
    }

    /// @notice Appends a perfect subtree of 2^level leaves to a tree of `size` leaves, and returns the new root.
    /// @dev The caller has checked that `size` is a multiple of 2^level, and the peaks: as many as `peakCount(size)`, and
    /// `rootOf` them is the tree's root. The new tree keeps them or has them as nodes, so its root extends the old one.
    /// @param size Leaves before.
    /// @param level Binary logarithm of the new leaves.
    /// @param subtree Root over the new leaves.
    /// @param peaks Peaks of the tree before, largest first.
    /// @return root Root over all leaves.
    function append(uint64 size, uint256 level, bytes32 subtree, bytes32[] calldata peaks)
        internal
        view
        returns (bytes32 root)
    {
        uint256 left = peaks.length;
        for (uint256 rest = uint256(size) >> level; rest & 1 == 1; rest >>= 1) {
            subtree = node(peaks[--left], subtree);
        }
        return _fold(peaks, left, subtree);
    }

    /// @dev The first `n` peaks stand to the left of `root`, the smallest next to it.
    function _fold(bytes32[] calldata peaks, uint256 n, bytes32 root) private view returns (bytes32) {
        while (n != 0) root = node(peaks[--n], root);
        return root;
    }

    /// @notice Whether `leafHash` is the leaf at `index` of the tree of `size` leaves with this root.
    /// @dev RFC 9162, 2.1.3.2.
    /// @param root Root of the tree.
    /// @param size Its leaves.
    /// @param index Position of the leaf, from 0.
    /// @param leafHash Hash of the leaf.
    /// @param path Sibling hashes from the leaf to the root.
    /// @return False for an index that is not in the tree, and for a path of another length.
    function verify(bytes32 root, uint64 size, uint64 index, bytes32 leafHash, bytes32[] calldata path)
        internal
        view
        returns (bool)
    {
        if (index >= size) return false;
        uint64 position = index;
        uint64 last = size - 1;
        bytes32 hash = leafHash;
        for (uint256 i = 0; i < path.length; ++i) {
            if (last == 0) return false;
            if (position & 1 == 1 || position == last) {
                hash = node(path[i], hash);
                // The last leaf of an incomplete tree has no sibling on these levels.
                while (position & 1 == 0 && position != 0) {
                    position >>= 1;
                    last >>= 1;
                }
            } else {
                hash = node(hash, path[i]);
            }
            position >>= 1;
            last >>= 1;
        }
        return last == 0 && hash == root;
    }

    /// @notice Whether the tree of `size` leaves with this root begins with the leaves of the tree of `oldSize` leaves
    /// with `oldRoot`. The empty tree is no beginning: it says nothing.
    /// @dev RFC 9162, 2.1.4.2.
    /// @param root Root of the larger tree.
    /// @param size Its leaves.
    /// @param oldRoot Root of the smaller tree.
    /// @param oldSize Its leaves.
    /// @param path Nodes, smallest subtree first; empty if the sizes are equal.
    /// @return False for an empty smaller tree, and for a larger one than the tree.
    function verifyConsistency(bytes32 root, uint64 size, bytes32 oldRoot, uint64 oldSize, bytes32[] calldata path)
        internal
        view
        returns (bool)
    {
        if (oldSize == 0 || oldSize > size) return false;
        if (oldSize == size) return path.length == 0 && oldRoot == root;
        uint64 position = oldSize - 1;
        uint64 last = size - 1;
        // Up to the largest perfect subtree that ends where the old tree ends.
        while (position & 1 == 1) {
            position >>= 1;
            last >>= 1;
        }
        // If that is the whole old tree, its root is known and not in the path.
        uint256 i = position == 0 ? 0 : 1;
        if (path.length < i) return false;
        bytes32 older = i == 0 ? oldRoot : path[0];
        bytes32 newer = older;
        for (; i < path.length; ++i) {
            if (last == 0) return false;
            if (position & 1 == 1 || position == last) {
                older = node(path[i], older);
                newer = node(path[i], newer);
                while (position & 1 == 0 && position != 0) {
                    position >>= 1;
                    last >>= 1;
                }
            } else {
                newer = node(newer, path[i]);
            }
            position >>= 1;
            last >>= 1;
        }
        return last == 0 && older == oldRoot && newer == root;
    }
}
