// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @title Interface detection (ERC-165)
interface IERC165 {
    /// @notice Whether the contract implements the interface.
    /// @param interfaceId XOR of the interface's function selectors.
    /// @return supported False for 0xffffffff.
    function supportsInterface(bytes4 interfaceId) external view returns (bool supported);
}
