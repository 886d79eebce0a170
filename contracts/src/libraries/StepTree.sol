// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title The SHA-256 tree over a run's steps (RFC 9162)
/// @dev Leaf: SHA-256(0x00 ‖ u64be(step) ‖ digest ‖ recordHash), 73 bytes. Node: SHA-256(0x01 ‖ left ‖ right), 65 bytes.
/// Assembly is used where the Solidity expression above it would allocate a new buffer for every hash.
library StepTree {
    /// @notice Binary logarithm of the largest epoch.
    uint8 internal constant MAX_LOG_STEPS = 16;

    /// @notice Thrown when the SHA-256 precompile fails, which only happens without gas.
    error Sha256Failed();

    /// @notice Hash of one step's leaf.
    function leaf(uint64 step, uint256 digest, bytes32 recordHash) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x00), step, digest, recordHash));
    }

    /// @notice Hash of two neighbours.
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
            let n := digests.length
            let level := mload(0x40)
            let buffer := add(level, shl(5, n))
            // Bytes 0 to 8 of the buffer: prefix 0x00 and the step; the step is below 2^64.
            for { let i := 0 } lt(i, n) { i := add(i, 1) } {
                mstore(buffer, shl(184, add(firstStep, i)))
                mstore(add(buffer, 9), calldataload(add(digests.offset, shl(5, i))))
                mstore(add(buffer, 41), calldataload(add(recordHashes.offset, shl(5, i))))
                ok := and(ok, staticcall(gas(), 2, buffer, 73, add(level, shl(5, i)), 32))
            }
            mstore8(buffer, 1)
            for { n := shr(1, n) } n { n := shr(1, n) } {
                for { let i := 0 } lt(i, n) { i := add(i, 1) } {
                    mcopy(add(buffer, 1), add(level, shl(6, i)), 64)
                    ok := and(ok, staticcall(gas(), 2, buffer, 65, add(level, shl(5, i)), 32))
                }
            }
            root := mload(level)
        }
        if (!ok) revert Sha256Failed();
    }

    /// @notice Appends a perfect subtree of 2^level leaves to a tree of `size` leaves, and returns the new root.
    /// @dev `peaks[l]` is the root of the perfect subtree of 2^l leaves that the bit l of `size` stands for; entries of
    /// clear bits are stale and never read. `size` is a multiple of 2^level. Writes exactly one peak.
    function append(mapping(uint256 level => bytes32) storage peaks, uint64 size, uint256 level, bytes32 subtree)
        internal
        returns (bytes32 root)
    {
        uint256 rest = uint256(size) >> level;
        for (; rest & 1 == 1; rest >>= 1) {
            subtree = node(peaks[level], subtree);
            ++level;
        }
        peaks[level] = subtree;
        root = subtree;
        // The larger subtrees stand to the left.
        for (rest >>= 1; rest != 0; rest >>= 1) {
            ++level;
            if (rest & 1 == 1) root = node(peaks[level], root);
        }
    }

    /// @notice Whether `leafHash` is the leaf at `index` of the tree of `size` leaves with this root.
    /// @dev RFC 9162, 2.1.3.2.
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
}
