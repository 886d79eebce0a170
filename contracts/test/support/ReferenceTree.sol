// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @title RFC 9162 by its recursive definition; the oracle for StepTree
library ReferenceTree {
    function leaf(uint64 step, uint256 digest, bytes32 recordHash) internal pure returns (bytes32) {
        return sha256(bytes.concat(hex"00", bytes8(step), bytes32(digest), recordHash));
    }

    /// @dev MTH over leaves[from..to).
    function root(bytes32[] memory leaves, uint256 from, uint256 to) internal pure returns (bytes32) {
        if (to - from == 1) return leaves[from];
        uint256 middle = from + split(to - from);
        return sha256(bytes.concat(hex"01", root(leaves, from, middle), root(leaves, middle, to)));
    }

    /// @dev Roots of the perfect subtrees that a tree consists of, largest first.
    function peaks(bytes32[] memory leaves) internal pure returns (bytes32[] memory hashes) {
        uint256 count = 0;
        for (uint256 rest = leaves.length; rest != 0; rest /= 2) {
            count += rest % 2;
        }
        hashes = new bytes32[](count);
        uint256 from = 0;
        for (uint256 i = 0; i < count; ++i) {
            uint256 power = 1;
            while (power * 2 <= leaves.length - from) power *= 2;
            hashes[i] = root(leaves, from, from + power);
            from += power;
        }
    }

    /// @dev PROOF(oldSize) over leaves[from..to); `whole` while the old tree's root is known to the verifier.
    function consistency(bytes32[] memory leaves, uint256 from, uint256 to, uint256 oldSize, bool whole)
        internal
        pure
        returns (bytes32[] memory hashes)
    {
        if (oldSize == to - from) {
            if (whole) return new bytes32[](0);
            hashes = new bytes32[](1);
            hashes[0] = root(leaves, from, to);
            return hashes;
        }
        uint256 middle = split(to - from);
        bool inLeft = oldSize <= middle;
        bytes32[] memory below = inLeft
            ? consistency(leaves, from, from + middle, oldSize, whole)
            : consistency(leaves, from + middle, to, oldSize - middle, false);
        hashes = new bytes32[](below.length + 1);
        for (uint256 i = 0; i < below.length; ++i) {
            hashes[i] = below[i];
        }
        hashes[below.length] = inLeft ? root(leaves, from + middle, to) : root(leaves, from, from + middle);
    }

    /// @dev PATH(index) over leaves[from..to), leaf to root.
    function path(bytes32[] memory leaves, uint256 from, uint256 to, uint256 index)
        internal
        pure
        returns (bytes32[] memory hashes)
    {
        if (to - from == 1) return new bytes32[](0);
        uint256 middle = from + split(to - from);
        bytes32[] memory below = index < middle ? path(leaves, from, middle, index) : path(leaves, middle, to, index);
        hashes = new bytes32[](below.length + 1);
        for (uint256 i = 0; i < below.length; ++i) {
            hashes[i] = below[i];
        }
        hashes[below.length] = index < middle ? root(leaves, middle, to) : root(leaves, from, middle);
    }

    /// @dev Largest power of two below `size`; `size` is at least 2.
    function split(uint256 size) private pure returns (uint256 power) {
        power = 1;
        while (power * 2 < size) power *= 2;
    }
}
