// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title Instances of an epoch proof
/// @dev Words: accumulator 0–11, run 12, first step 13, fresh 14, state before 15, state after 16, policy 17, digests
/// from 18 on. `testdata/ledger/instances.json` is read by this side and by the circuit's.
library EpochStatement {
    /// @notice Order of the BN254 scalar field.
    uint256 internal constant FIELD_ORDER =
        21888242871839275222246405745257275088548364400416034343698204186575808495617;
    /// @notice Largest number of steps of a run. The circuit range-checks the first step of an epoch to be below it.
    uint64 internal constant MAX_STEPS = 1 << 40;
    /// @notice Length of the accumulator in bytes.
    uint256 internal constant ACCUMULATOR_BYTES = 384;
    /// @notice Position of the first step.
    uint256 internal constant FIRST_STEP = 13;
    /// @notice Position of the flag of a fresh start.
    uint256 internal constant FRESH = 14;
    /// @notice Position of the state before the epoch.
    uint256 internal constant STATE_IN = 15;
    /// @notice Position of the policy.
    uint256 internal constant POLICY = 17;
    /// @notice Words before the digests.
    uint256 internal constant HEADER_WORDS = 18;

    /// @notice Finds an instance that no valid proof can have: a word that is not a field element, a first step that
    /// the circuit's range check excludes, or a fresh flag that is no bit.
    /// @param instances All instances of a proof, accumulator first.
    /// @return found Whether there is one.
    /// @return index Position of the first one.
    /// @return value The word there.
    function findImpossible(uint256[] calldata instances)
        internal
        pure
        returns (bool found, uint256 index, uint256 value)
    {
        for (uint256 i = 0; i < instances.length; ++i) {
            uint256 word = instances[i];
            bool impossible = word >= FIELD_ORDER || (i == FIRST_STEP && word >= MAX_STEPS) || (i == FRESH && word > 1);
            if (impossible) return (true, i, word);
        }
        return (false, 0, 0);
    }

    /// @notice Whether a verifier says yes: it answers one word, and the word is one. A revert and any other answer is
    /// a no; an address without code answers nothing.
    /// @param returned Whether the call did not revert.
    /// @param answer What it gave.
    /// @return Whether that is an acceptance.
    function isYes(bool returned, bytes memory answer) internal pure returns (bool) {
        return returned && answer.length == 32 && abi.decode(answer, (uint256)) == 1;
    }
}
