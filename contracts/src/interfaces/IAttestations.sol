// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @title What auditors say about runs
/// @notice An attestation is an auditor's signed word that it looked at the first `steps` steps of a run and wrote the
/// report with this digest. The contract checks who signed, and that those steps of that run are anchored with that
/// root; what the report says is between its readers and the auditor.
/// @dev Signatures are EIP-712: of an account (65 bytes r ‖ s ‖ v, s in the lower half), or of a contract (ERC-1271).
/// The run id is a `uint256` here, as in the signed type.
interface IAttestations {
    /// @notice What is signed, as the type
    /// `Attestation(address auditor,uint256 run,uint64 steps,bytes32 root,bytes32 report,uint64 expiresAt,bytes32 salt)`.
    struct Attestation {
        address auditor;
        uint256 run;
        uint64 steps; // of the log that was audited; at least 1
        bytes32 root; // over these steps
        bytes32 report; // SHA-256 of the report
        uint64 expiresAt; // unix seconds; zero: never
        bytes32 salt; // free choice, so that the same words can be said again
    }

    /// @notice How an attestation stands.
    enum Status {
        Unknown,
        Standing,
        Revoked
    }

    /// @notice What is stored of an attestation.
    /// @dev slot 0: auditor 160 · expiresAt 64 · status 8 · free 24 | slot 1: run
    ///      slot 2: steps 64 · attestedAt 64 · free 128
    struct Entry {
        address auditor;
        uint64 expiresAt;
        Status status;
        uint256 run;
        uint64 steps; // zero if it was revoked before it was public
        uint64 attestedAt; // unix seconds
    }

    /// @notice An auditor stands by its word.
    event Attested(
        bytes32 indexed id,
        uint256 indexed run,
        address indexed auditor,
        uint64 steps,
        bytes32 root,
        bytes32 report,
        uint64 expiresAt
    );
    /// @notice An auditor takes its word back, for this reason.
    event Revoked(bytes32 indexed id, uint256 indexed run, address indexed auditor, string reason);

    /// @notice Thrown when the attestation was made or revoked before.
    error AlreadyKnown(bytes32 id, Status status);
    /// @notice Thrown when the attestation is revoked.
    error AlreadyRevoked(bytes32 id);
    /// @notice Thrown when the signature is not the auditor's, and the caller is not the auditor.
    error NotSignedBy(address auditor, bytes32 digest);
    /// @notice Thrown when the attestation has expired (unix seconds).
    error Expired(uint64 expiresAt, uint64 timestamp);
    /// @notice Thrown when the run's first `steps` steps are not anchored with this root.
    error RootNotAnchored(uint256 run, uint64 steps, bytes32 root);
    /// @notice Thrown when the address of the anchor has no code.
    error AnchorWithoutCode(address anchor);

    /// @notice Makes an attestation public; anybody who has the auditor's signature, or the auditor without one.
    /// @param attestation The auditor's word.
    /// @param path That `root` belongs to the run: RFC 9162 consistency of the first `steps` steps with what is anchored;
    /// empty if that is the same.
    /// @param signature The auditor's; not looked at if the auditor calls.
    /// @return id EIP-712 digest of the attestation.
    function attest(Attestation calldata attestation, bytes32[] calldata path, bytes calldata signature)
        external
        returns (bytes32 id);

    /// @notice Takes an attestation back, even before it was made public. The auditor, or anybody who has its signature
    /// of `Revocation(bytes32 attestation,string reason)`.
    /// @param attestation What was signed.
    /// @param reason Why, in words.
    /// @param signature The auditor's, of the revocation; not looked at if the auditor calls.
    function revoke(Attestation calldata attestation, string calldata reason, bytes calldata signature) external;

    /// @notice What is stored under an id; all zero if nothing.
    /// @param id Digest of an attestation.
    /// @return Auditor, run, steps, times and status.
    function entryOf(bytes32 id) external view returns (Entry memory);

    /// @notice Whether the attestation was made, is not revoked and has not expired.
    /// @param id Digest of an attestation.
    /// @return True until it is revoked or expires.
    function isStanding(bytes32 id) external view returns (bool);

    /// @notice Number of steps that the auditor's last public attestation of the run covers; zero if that one does not
    /// stand.
    /// @param run The run.
    /// @param auditor Whose word is asked for.
    /// @return steps Counted from step 0.
    function stepsAttested(uint256 run, address auditor) external view returns (uint64 steps);

    /// @notice EIP-712 digest of an attestation: what the auditor signs, and its id.
    /// @param attestation The words.
    /// @return id Digest with this chain and this contract in its domain.
    function idOf(Attestation calldata attestation) external view returns (bytes32 id);

    /// @notice EIP-712 digest of a revocation.
    /// @param id Digest of an attestation.
    /// @param reason Why it is revoked.
    /// @return digest What the auditor signs.
    function revocationDigest(bytes32 id, string calldata reason) external view returns (bytes32 digest);

    /// @notice EIP-712 domain (ERC-5267).
    /// @return fields Which of the following are part of the domain.
    /// @return name Name.
    /// @return version Version.
    /// @return chainId This chain.
    /// @return verifyingContract This contract.
    /// @return salt Not used.
    /// @return extensions None.
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
        );

    /// @notice The anchor whose runs are attested, fixed at deployment.
    /// @return Its address.
    function anchor() external view returns (address);
}
