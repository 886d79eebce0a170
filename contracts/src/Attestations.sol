// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IAttestations} from "./interfaces/IAttestations.sol";
import {IERC165} from "./interfaces/IERC165.sol";
import {IRunAnchor, RunId} from "./interfaces/IRunAnchor.sol";
import {Signatures} from "./libraries/Signatures.sol";

/// @title Attestations of auditors
/// @dev Nobody owns this contract, and nothing stored in it moves a run.
contract Attestations is IAttestations, IERC165 {
    string private constant NAME = "Cairn Attestations";
    string private constant VERSION = "1";
    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant ATTESTATION_TYPE = keccak256(
        "Attestation(address auditor,uint256 run,uint64 steps,bytes32 root,bytes32 report,uint64 expiresAt,bytes32 salt)"
    );
    bytes32 private constant REVOCATION_TYPE = keccak256("Revocation(bytes32 attestation,string reason)");

    IRunAnchor private immutable ANCHOR;

    mapping(bytes32 id => Entry) private _entries;
    mapping(uint256 run => mapping(address auditor => bytes32 id)) private _latest;

    /// @param anchor_ The anchor whose runs are attested; cannot be changed.
    constructor(address anchor_) {
        if (anchor_.code.length == 0) revert AnchorWithoutCode(anchor_);
        ANCHOR = IRunAnchor(anchor_);
    }

    /// @inheritdoc IAttestations
    function attest(Attestation calldata attestation, bytes32[] calldata path, bytes calldata signature)
        external
        returns (bytes32 id)
    {
        id = idOf(attestation);
        Status status = _entries[id].status;
        if (status != Status.Unknown) revert AlreadyKnown(id, status);
        uint64 timestamp = uint64(block.timestamp);
        if (_isPast(attestation.expiresAt)) revert Expired(attestation.expiresAt, timestamp);
        _requireSigned(attestation.auditor, id, signature);
        if (!ANCHOR.verifyConsistency(RunId.wrap(attestation.run), attestation.steps, attestation.root, path)) {
            revert RootNotAnchored(attestation.run, attestation.steps, attestation.root);
        }
        _entries[id] = Entry({
            auditor: attestation.auditor,
            expiresAt: attestation.expiresAt,
            status: Status.Standing,
            run: attestation.run,
            steps: attestation.steps,
            attestedAt: timestamp
        });
        _latest[attestation.run][attestation.auditor] = id;
        emit Attested(
            id,
            attestation.run,
            attestation.auditor,
            attestation.steps,
            attestation.root,
            attestation.report,
            attestation.expiresAt
        );
    }

    /// @inheritdoc IAttestations
    function revoke(Attestation calldata attestation, string calldata reason, bytes calldata signature) external {
        bytes32 id = idOf(attestation);
        Entry storage entry = _entries[id];
        if (entry.status == Status.Revoked) revert AlreadyRevoked(id);
        _requireSigned(attestation.auditor, revocationDigest(id, reason), signature);
        entry.auditor = attestation.auditor;
        entry.run = attestation.run;
        entry.status = Status.Revoked;
        emit Revoked(id, attestation.run, attestation.auditor, reason);
    }

    /// @inheritdoc IAttestations
    function entryOf(bytes32 id) external view returns (Entry memory) {
        return _entries[id];
    }

    /// @inheritdoc IAttestations
    function stepsAttested(uint256 run, address auditor) external view returns (uint64 steps) {
        bytes32 id = _latest[run][auditor];
        return isStanding(id) ? _entries[id].steps : 0;
    }

    /// @inheritdoc IAttestations
    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        )
    {
        // Bits: name, version, chain, contract.
        return (0x0f, NAME, VERSION, block.chainid, address(this), bytes32(0), new uint256[](0));
    }

    /// @inheritdoc IAttestations
    function anchor() external view returns (address) {
        return address(ANCHOR);
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) external pure returns (bool supported) {
        return interfaceId == type(IAttestations).interfaceId || interfaceId == type(IERC165).interfaceId;
    }

    /// @inheritdoc IAttestations
    function isStanding(bytes32 id) public view returns (bool) {
        Entry storage entry = _entries[id];
        return entry.status == Status.Standing && !_isPast(entry.expiresAt);
    }

    /// @inheritdoc IAttestations
    function idOf(Attestation calldata attestation) public view returns (bytes32 id) {
        return _typed(keccak256(abi.encode(ATTESTATION_TYPE, attestation)));
    }

    /// @inheritdoc IAttestations
    function revocationDigest(bytes32 id, string calldata reason) public view returns (bytes32 digest) {
        return _typed(keccak256(abi.encode(REVOCATION_TYPE, id, keccak256(bytes(reason)))));
    }

    /// @dev The auditor itself need not sign what it sends.
    function _requireSigned(address auditor, bytes32 digest, bytes calldata signature) private view {
        if (msg.sender != auditor && !Signatures.isSignedBy(auditor, digest, signature)) {
            revert NotSignedBy(auditor, digest);
        }
    }

    /// @dev EIP-712. The domain is not cached: the chain id can change in a fork of the chain.
    function _typed(bytes32 structHash) private view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(DOMAIN_TYPE, keccak256(bytes(NAME)), keccak256(bytes(VERSION)), block.chainid, address(this))
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function _isPast(uint64 expiresAt) private view returns (bool) {
        return expiresAt != 0 && expiresAt <= block.timestamp;
    }
}
