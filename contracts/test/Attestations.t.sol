// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Attestations} from "../src/Attestations.sol";
import {IAttestations} from "../src/interfaces/IAttestations.sol";
import {IERC165} from "../src/interfaces/IERC165.sol";
import {IRunAnchor, RunId} from "../src/interfaces/IRunAnchor.sol";
import {AnchorFixture} from "./support/AnchorFixture.sol";
import {ReferenceTree} from "./support/ReferenceTree.sol";

/// @dev A wallet that stands by one digest (ERC-1271), in the words it is told.
contract Wallet {
    bytes32 private _digest;
    bytes private _answer;

    function set(bytes32 digest, bytes calldata answer) external {
        (_digest, _answer) = (digest, answer);
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        require(digest == _digest && keccak256(signature) == keccak256("wallet"), "not mine");
        bytes memory answer = _answer;
        assembly ("memory-safe") {
            return(add(answer, 32), mload(answer))
        }
    }
}

contract AttestationsTest is AnchorFixture {
    uint256 private constant KEY = 0xa11ce;
    uint256 private constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    Attestations private attestations;
    RunId private run;
    address private auditor;
    bytes32[] private none;

    function setUp() public {
        deploy();
        addOpenVerifiers();
        attestations = new Attestations(address(anchor));
        auditor = vm.addr(KEY);
        run = registerRun("salt");
        anchorAs(TRAINER, run, 1, epochInput(1, 4));
    }

    function test_attest_byAnybodyWithTheSignature(address caller, bytes32 report) public {
        IAttestations.Attestation memory said = statement(4);
        said.report = report;
        bytes32 id = attestations.idOf(said);
        bytes memory signature = sign(KEY, id);
        vm.expectEmit(true, true, true, true);
        emit IAttestations.Attested(id, said.run, auditor, 4, said.root, report, 0);
        vm.prank(caller);
        assertEq(attestations.attest(said, none, signature), id, "id");
        assertTrue(attestations.isStanding(id), "stands");
        assertEq(attestations.stepsAttested(said.run, auditor), 4, "steps");
        IAttestations.Entry memory entry = attestations.entryOf(id);
        assertTrue(entry.auditor == auditor && entry.run == said.run && entry.steps == 4, "entry");
        assertTrue(entry.attestedAt == block.timestamp && entry.status == IAttestations.Status.Standing, "entry");
    }

    function test_attest_byTheAuditorWithoutSignature() public {
        IAttestations.Attestation memory said = statement(4);
        vm.prank(auditor);
        bytes32 id = attestations.attest(said, none, "");
        assertTrue(attestations.isStanding(id), "stands");
    }

    /// @dev The run has moved on since the audit: the root of the past is shown to belong to it.
    function test_attest_toARootOfThePast(uint256 seed) public {
        IAttestations.Attestation memory said = statement(4);
        bytes memory signature = sign(KEY, attestations.idOf(said));
        anchorAs(TRAINER, run, 2, epochInput(seed, 2));
        vm.expectRevert(abi.encodeWithSelector(IAttestations.RootNotAnchored.selector, said.run, 4, said.root));
        attestations.attest(said, none, signature);
        bytes32[] memory path = ReferenceTree.consistency(leavesOf[run], 0, 6, 4, true);
        attestations.attest(said, path, signature);
        assertEq(attestations.stepsAttested(said.run, auditor), 4, "steps");
    }

    function test_attest_revertsWhen_theRootIsNotTheRuns(bytes32 root, uint64 steps) public {
        IAttestations.Attestation memory said = statement(4);
        if (root == said.root) return;
        said.root = root;
        refusesRoot(said);
        said = statement(4);
        if (steps == 4) return;
        said.steps = steps;
        refusesRoot(said);
    }

    function test_attest_revertsWhen_theRunIsUnknown() public {
        IAttestations.Attestation memory said = statement(4);
        said.run = 7;
        bytes memory signature = sign(KEY, attestations.idOf(said));
        vm.expectRevert(abi.encodeWithSelector(IRunAnchor.UnknownRun.selector, 7));
        attestations.attest(said, none, signature);
    }

    /// @dev Another key, another word of the attestation, another chain, another contract, the twin of the signature.
    function test_attest_revertsWhen_notSignedByTheAuditor(uint256 key, uint256 which) public {
        IAttestations.Attestation memory said = statement(4);
        bytes memory signature = sign(KEY, attestations.idOf(said));
        key = bound(key, 1, ORDER - 1);
        if (key != KEY) refusesSignature(said, sign(key, attestations.idOf(said)));
        IAttestations.Attestation memory other = statement(4);
        which = which % 5;
        if (which == 0) other.auditor = TRAINER;
        if (which == 1) other.report = "another report";
        if (which == 2) other.expiresAt = type(uint64).max;
        if (which == 3) other.salt = "again";
        if (which == 4) other.run = RunId.unwrap(registerRun("other"));
        refusesSignature(other, signature);

        (uint8 v, bytes32 r, bytes32 s) = vm.sign(KEY, attestations.idOf(said));
        refusesSignature(said, abi.encodePacked(r, bytes32(ORDER - uint256(s)), v == 27 ? 28 : 27));
        refusesSignature(said, abi.encodePacked(r, s, v, v));
        refusesSignature(said, abi.encodePacked(r, s));
        refusesSignature(said, abi.encodePacked(r, s, uint8(0)));
        refusesSignature(said, "");

        Attestations elsewhere = new Attestations(address(anchor));
        bytes32 id = elsewhere.idOf(said);
        vm.expectRevert(abi.encodeWithSelector(IAttestations.NotSignedBy.selector, auditor, id));
        elsewhere.attest(said, none, signature);
        // Not from block.chainid: the compiler may read that again after it was set.
        vm.chainId(31_338);
        refusesSignature(said, signature);
        vm.chainId(31_337);
        attestations.attest(said, none, signature);
    }

    function test_attest_revertsWhen_theAuditorIsZero() public {
        IAttestations.Attestation memory said = statement(4);
        said.auditor = address(0);
        refusesSignature(said, abi.encodePacked(bytes32(uint256(1)), bytes32(uint256(1)), uint8(27)));
    }

    function test_attest_onceForEachWord() public {
        IAttestations.Attestation memory said = statement(4);
        bytes memory signature = sign(KEY, attestations.idOf(said));
        bytes32 id = attestations.attest(said, none, signature);
        vm.expectRevert(abi.encodeWithSelector(IAttestations.AlreadyKnown.selector, id, IAttestations.Status.Standing));
        attestations.attest(said, none, signature);
        said.salt = "again";
        attestations.attest(said, none, sign(KEY, attestations.idOf(said)));
    }

    function test_attest_expires(uint64 after_) public {
        IAttestations.Attestation memory said = statement(4);
        said.expiresAt = uint64(block.timestamp) + uint64(bound(after_, 1, 1000 days));
        bytes32 id = attestations.attest(said, none, sign(KEY, attestations.idOf(said)));
        vm.warp(said.expiresAt - 1);
        assertTrue(attestations.isStanding(id), "the second before");
        vm.warp(said.expiresAt);
        assertTrue(!attestations.isStanding(id), "expired");
        assertEq(attestations.stepsAttested(said.run, auditor), 0, "no steps");
        said.salt = "late";
        bytes memory signature = sign(KEY, attestations.idOf(said));
        vm.expectRevert(abi.encodeWithSelector(IAttestations.Expired.selector, said.expiresAt, said.expiresAt));
        attestations.attest(said, none, signature);
    }

    /// @dev A contract as auditor: it is asked, whatever the length of its signature, and only its exact answer is a yes.
    function test_attest_byAWallet() public {
        Wallet wallet = new Wallet();
        IAttestations.Attestation memory said = statement(4);
        said.auditor = address(wallet);
        bytes32 id = attestations.idOf(said);
        bytes memory yes = abi.encode(bytes4(0x1626ba7e));
        bytes[4] memory answers = [bytes(""), abi.encode(bytes4(0xffffffff)), abi.encode(true), bytes.concat(yes, yes)];
        for (uint256 i = 0; i < answers.length; ++i) {
            wallet.set(id, answers[i]);
            refusesSignature(said, "wallet");
        }
        wallet.set("another digest", yes);
        refusesSignature(said, "wallet");
        wallet.set(id, yes);
        refusesSignature(said, "not the wallet's");
        attestations.attest(said, none, "wallet");
        assertTrue(attestations.isStanding(id), "stands");
    }

    /// @dev An account that delegates to code (EIP-7702) still signs with its key.
    function test_attest_byAnAccountWithCode() public {
        IAttestations.Attestation memory said = statement(4);
        vm.etch(auditor, address(new Wallet()).code);
        bytes32 id = attestations.attest(said, none, sign(KEY, attestations.idOf(said)));
        assertTrue(attestations.isStanding(id), "stands");
    }

    function test_revoke_saysWhy() public {
        IAttestations.Attestation memory said = statement(4);
        bytes32 id = attestations.attest(said, none, sign(KEY, attestations.idOf(said)));
        bytes memory signature = sign(KEY, attestations.revocationDigest(id, "found a bug"));
        vm.expectRevert(
            abi.encodeWithSelector(
                IAttestations.NotSignedBy.selector, auditor, attestations.revocationDigest(id, "no reason")
            )
        );
        attestations.revoke(said, "no reason", signature);
        vm.expectEmit(true, true, true, true);
        emit IAttestations.Revoked(id, said.run, auditor, "found a bug");
        attestations.revoke(said, "found a bug", signature);
        assertTrue(!attestations.isStanding(id), "revoked");
        assertEq(attestations.stepsAttested(said.run, auditor), 0, "no steps");
        vm.expectRevert(abi.encodeWithSelector(IAttestations.AlreadyRevoked.selector, id));
        attestations.revoke(said, "found a bug", signature);
    }

    /// @dev A signature that is out there but not yet on the chain can be made worthless.
    function test_revoke_beforeItIsPublic() public {
        IAttestations.Attestation memory said = statement(4);
        bytes memory signature = sign(KEY, attestations.idOf(said));
        vm.prank(auditor);
        attestations.revoke(said, "sent by mistake", "");
        bytes32 id = attestations.idOf(said);
        vm.expectRevert(abi.encodeWithSelector(IAttestations.AlreadyKnown.selector, id, IAttestations.Status.Revoked));
        attestations.attest(said, none, signature);
    }

    function test_revoke_revertsWhen_notByTheAuditor(address caller) public {
        if (caller == auditor) return;
        IAttestations.Attestation memory said = statement(4);
        bytes32 id = attestations.attest(said, none, sign(KEY, attestations.idOf(said)));
        bytes32 digest = attestations.revocationDigest(id, "mine");
        // Not even with the attestation's own signature.
        bytes memory signature = sign(KEY, id);
        vm.expectRevert(abi.encodeWithSelector(IAttestations.NotSignedBy.selector, auditor, digest));
        vm.prank(caller);
        attestations.revoke(said, "mine", signature);
        assertTrue(attestations.isStanding(id), "stands");
    }

    /// @dev EIP-712 by its definition, from the domain that ERC-5267 tells.
    function test_idOf_isEip712() public view {
        (bytes1 fields, string memory name, string memory version, uint256 chain, address place,,) =
            attestations.eip712Domain();
        assertTrue(fields == 0x0f && chain == block.chainid && place == address(attestations), "domain");
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256(bytes(version)),
                chain,
                place
            )
        );
        IAttestations.Attestation memory said = statement(4);
        bytes32 hash = keccak256(
            abi.encode(
                keccak256(
                    "Attestation(address auditor,uint256 run,uint64 steps,bytes32 root,bytes32 report,uint64 expiresAt,bytes32 salt)"
                ),
                said.auditor,
                said.run,
                said.steps,
                said.root,
                said.report,
                said.expiresAt,
                said.salt
            )
        );
        assertEq(attestations.idOf(said), keccak256(abi.encodePacked(hex"1901", domain, hash)), "id");
    }

    function test_supportsInterface() public view {
        assertTrue(attestations.supportsInterface(type(IAttestations).interfaceId), "IAttestations");
        assertTrue(attestations.supportsInterface(type(IERC165).interfaceId), "IERC165");
        assertTrue(!attestations.supportsInterface(0xffffffff), "invalid id");
        assertEq(attestations.anchor(), address(anchor), "anchor");
    }

    function test_constructor_revertsWhen_anchorHasNoCode() public {
        vm.expectRevert(abi.encodeWithSelector(IAttestations.AnchorWithoutCode.selector, STRANGER));
        new Attestations(STRANGER);
    }

    function statement(uint64 steps) private view returns (IAttestations.Attestation memory) {
        return IAttestations.Attestation({
            auditor: auditor,
            run: RunId.unwrap(run),
            steps: steps,
            root: anchor.head(run).root,
            report: "report",
            expiresAt: 0,
            salt: "salt"
        });
    }

    function sign(uint256 key, bytes32 digest) private pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function refusesRoot(IAttestations.Attestation memory said) private {
        bytes memory signature = sign(KEY, attestations.idOf(said));
        vm.expectRevert(abi.encodeWithSelector(IAttestations.RootNotAnchored.selector, said.run, said.steps, said.root));
        attestations.attest(said, none, signature);
    }

    function refusesSignature(IAttestations.Attestation memory said, bytes memory signature) private {
        bytes32 id = attestations.idOf(said);
        vm.expectRevert(abi.encodeWithSelector(IAttestations.NotSignedBy.selector, said.auditor, id));
        attestations.attest(said, none, signature);
    }
}

/// @dev Execution gas with cold storage.
contract AttestationsGas is AnchorFixture {
    function test_attest_gas() public {
        deploy();
        addOpenVerifiers();
        Attestations attestations = new Attestations(address(anchor));
        RunId run = registerRun("salt");
        anchorAs(TRAINER, run, 1, epochInput(1, 4));
        uint256 key = 0xa11ce;
        IAttestations.Attestation memory said = IAttestations.Attestation({
            auditor: vm.addr(key),
            run: RunId.unwrap(run),
            steps: 4,
            root: anchor.head(run).root,
            report: "report",
            expiresAt: 0,
            salt: "salt"
        });
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, attestations.idOf(said));
        bytes32[] memory path = new bytes32[](0);
        spent(attestations, "attest", abi.encodeCall(attestations.attest, (said, path, abi.encodePacked(r, s, v))));
        (v, r, s) = vm.sign(key, attestations.revocationDigest(attestations.idOf(said), "reason"));
        spent(attestations, "revoke", abi.encodeCall(attestations.revoke, (said, "reason", abi.encodePacked(r, s, v))));
        vm.snapshotValue("Attestations", "code bytes", address(attestations).code.length);
    }

    function spent(Attestations attestations, string memory name, bytes memory data) private {
        vm.cool(address(anchor));
        vm.cool(address(attestations));
        uint256 gas = gasleft();
        (bool ok,) = address(attestations).call(data);
        gas -= gasleft();
        assertTrue(ok, "accepted");
        vm.snapshotValue("Attestations", name, gas);
    }
}
