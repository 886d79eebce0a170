// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import {IEpochVerifier} from "../../src/interfaces/IEpochVerifier.sol";

/// @title Accepts only the calldata whose hash it was told: shows which words the contract builds
contract ExactVerifier is IEpochVerifier {
    bytes32 public expected;

    error OtherCalldata();

    /// @dev Told through storage by a setter whose calldata no epoch proof can have (4 + 32 bytes).
    function expect(bytes32 hash) external {
        expected = hash;
    }

    function verifyProof(bytes calldata, uint256[] calldata) external view returns (bool) {
        if (keccak256(msg.data) != expected) revert OtherCalldata();
        return true;
    }
}

/// @title Accepts everything, for tests of what surrounds the proof
contract OpenVerifier is IEpochVerifier {
    function verifyProof(bytes calldata, uint256[] calldata) external pure returns (bool) {
        return true;
    }
}

/// @title Accepts nothing
contract ClosedVerifier is IEpochVerifier {
    error Closed();

    function verifyProof(bytes calldata, uint256[] calldata) external pure returns (bool) {
        revert Closed();
    }
}

/// @title Answers with what it was made with: only a word that is one means yes
contract OddVerifier {
    bytes private _answer;

    constructor(bytes memory answer) {
        _answer = answer;
    }

    fallback() external {
        bytes memory answer = _answer;
        assembly ("memory-safe") {
            return(add(answer, 32), mload(answer))
        }
    }
}

/// @title Accepts everything, but first makes a call of its own
contract CallingVerifier {
    address private immutable TO;
    bytes private _call;

    constructor(address to) {
        TO = to;
    }

    function prepare(bytes calldata data) external {
        _call = data;
    }

    /// @dev The call, as it is made while a proof is checked.
    function attempt() public returns (bool done) {
        // Bounded: a write that is not allowed takes all gas of its call.
        (done,) = TO.call{gas: 200_000}(_call);
    }

    fallback() external {
        attempt();
        assembly ("memory-safe") {
            mstore(0, 1)
            return(0, 32)
        }
    }
}
