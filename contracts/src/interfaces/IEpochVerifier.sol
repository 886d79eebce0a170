// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @title Verifier of epoch proofs, generated from a verifying key
interface IEpochVerifier {
    /// @notice Thrown when the call is none of `verifyProof`.
    error UnknownFunction(bytes4 got);
    /// @notice Thrown when the calldata has another length than the key's proofs and instances.
    error BadCalldataLength(uint256 expected, uint256 got);
    /// @notice Thrown when an offset or a length of the ABI encoding is not the canonical one.
    /// @param position Byte of the calldata.
    error BadEncoding(uint256 position, uint256 expected, uint256 got);
    /// @notice Thrown when an instance is not a field element.
    error InstanceNotCanonical(uint256 index, uint256 value);
    /// @notice Thrown when an evaluation in the proof is not a field element.
    error EvaluationNotCanonical(uint256 index, uint256 value);
    /// @notice Thrown when the hint is not the inverse of what it must invert.
    error InverseHintWrong(uint256 product, uint256 hint);
    /// @notice Thrown when a coordinate of the accumulator is not below the base field's modulus.
    error AccumulatorNotCanonical(uint256 coordinate);
    /// @notice Thrown when a commitment is the point at infinity.
    error PointAtInfinity();
    /// @notice Thrown when a commitment is not on the curve.
    error PointNotOnCurve(uint256 x, uint256 y);
    /// @notice Thrown when a precompile fails.
    error PrecompileFailed();
    /// @notice Thrown when the pairing does not hold.
    error ProofInvalid();

    /// @notice Checks a proof. The ABI encoding must be the canonical one: proof at offset 0x40, then the instances,
    /// nothing behind them.
    /// @param proof The proof, and the hints a generated verifier takes with it.
    /// @param instances Accumulator limbs (12), run, first step, fresh, state before, state after, policy, digests.
    /// @return accepted True; a proof that is wrong reverts.
    function verifyProof(bytes calldata proof, uint256[] calldata instances) external view returns (bool accepted);
}
