// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @title The script runner's cheat codes that the scripts use
interface ScriptVm {
    function startBroadcast() external;
    function stopBroadcast() external;
    function envOr(string calldata name, address otherwise) external view returns (address value);
    function envOr(string calldata name, uint256 otherwise) external view returns (uint256 value);
    function envOr(string calldata name, bytes32 otherwise) external view returns (bytes32 value);
}
