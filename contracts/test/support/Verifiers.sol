// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @title Accepts only the calldata whose hash it was told: shows which words the contract builds
contract ExactVerifier {
    bytes32 public expected;

    error OtherCalldata(bytes32 expected, bytes32 got);

    /// @dev Told through storage by a setter whose calldata no epoch proof can have (4 + 32 bytes).
    function expect(bytes32 hash) external {
        expected = hash;
    }

    fallback() external {
        bytes32 got = keccak256(msg.data);
        if (got != expected) revert OtherCalldata(expected, got);
    }
}

/// @title Accepts everything, for tests of what surrounds the proof
contract OpenVerifier {
    fallback() external {}
}

/// @title Accepts nothing
contract ClosedVerifier {
    error Closed();

    fallback() external {
        revert Closed();
    }
}
