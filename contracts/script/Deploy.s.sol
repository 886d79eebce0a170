// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Attestations} from "../src/Attestations.sol";
import {RunAnchor} from "../src/RunAnchor.sol";
import {VerifierRegistry} from "../src/VerifierRegistry.sol";
import {ScriptVm} from "./ScriptVm.sol";

/// @title Deploys registry, anchor and attestations, to the addresses that `cairn deploy` gives
/// @notice Environment: OWNER (the sender if not set), GUARDIAN (the owner if not set), DELAY in seconds (0 if not set),
/// SALT (zero if not set). Deploying twice does nothing. Verifiers are made from keys, which is what `cairn deploy --run`
/// is for.
contract Deploy {
    /// @notice Where the three stand.
    event Deployed(address registry, address anchor, address attestations);

    /// @notice Thrown when a contract does not stand where CREATE2 puts it.
    error OtherAddress(string what, address expected, address got);
    /// @notice Thrown when the deterministic deployment proxy does not deploy.
    error NotDeployed(string what, address expected);

    /// @notice The canonical deterministic deployment proxy: calldata is the salt, then the creation code.
    address public constant CREATE2_DEPLOYER = 0x4e59b44847b379578588920cA78FbF26c0B4956C;

    /// @dev Address at which the script runner answers.
    ScriptVm private constant VM = ScriptVm(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// @notice Deploys what is missing; `forge script … --sig 'run()'` with `--broadcast`.
    function run() external returns (address registry, address anchor, address attestations) {
        address owner = VM.envOr("OWNER", msg.sender);
        address guardian = VM.envOr("GUARDIAN", owner);
        uint64 delay = uint64(VM.envOr("DELAY", uint256(0)));
        bytes32 salt = VM.envOr("SALT", bytes32(0));
        VM.startBroadcast();
        registry = _deploy(
            "VerifierRegistry",
            salt,
            abi.encodePacked(type(VerifierRegistry).creationCode, abi.encode(owner, guardian, delay))
        );
        anchor = _deploy("RunAnchor", salt, abi.encodePacked(type(RunAnchor).creationCode, abi.encode(registry)));
        attestations =
            _deploy("Attestations", salt, abi.encodePacked(type(Attestations).creationCode, abi.encode(anchor)));
        VM.stopBroadcast();
        address standing = address(RunAnchor(anchor).registry());
        if (standing != registry) revert OtherAddress("registry of the anchor", registry, standing);
        standing = Attestations(attestations).anchor();
        if (standing != anchor) revert OtherAddress("anchor of the attestations", anchor, standing);
        emit Deployed(registry, anchor, attestations);
    }

    /// @dev CREATE2 by the proxy, unless it stands.
    function _deploy(string memory what, bytes32 salt, bytes memory code) private returns (address place) {
        bytes32 hash = keccak256(abi.encodePacked(hex"ff", CREATE2_DEPLOYER, salt, keccak256(code)));
        place = address(uint160(uint256(hash)));
        if (place.code.length != 0) return place;
        (bool ok,) = CREATE2_DEPLOYER.call(abi.encodePacked(salt, code));
        if (!ok || place.code.length == 0) revert NotDeployed(what, place);
    }
}
