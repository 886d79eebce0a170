// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title Signatures of accounts and of contracts
library Signatures {
    /// @dev Half of the order of secp256k1: each signature has a twin with the other half's s, which is refused.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;
    /// @dev Selector and answer of `isValidSignature(bytes32,bytes)` (ERC-1271).
    bytes4 private constant ERC1271 = 0x1626ba7e;

    /// @notice Whether `signer` signed `digest`: an account by ECDSA, 65 bytes r ‖ s ‖ v; a contract by ERC-1271.
    /// @dev An account that delegates to code (EIP-7702) still signs with its key, so that comes first.
    /// @param signer Account or contract.
    /// @param digest What was signed.
    /// @param signature 65 bytes of an account, or what the contract takes.
    /// @return False for any other signature, and for the zero address.
    function isSignedBy(address signer, bytes32 digest, bytes calldata signature) internal view returns (bool) {
        if (signer == address(0)) return false;
        if (signature.length == 65 && _recover(digest, signature) == signer) return true;
        if (signer.code.length == 0) return false;
        (bool returned, bytes memory answer) = signer.staticcall(abi.encodeWithSelector(ERC1271, digest, signature));
        return returned && answer.length == 32 && abi.decode(answer, (bytes32)) == bytes32(ERC1271);
    }

    /// @dev The account that made the signature; zero if none can have.
    function _recover(bytes32 digest, bytes calldata signature) private pure returns (address) {
        (bytes32 r, bytes32 s) = (bytes32(signature[:32]), bytes32(signature[32:64]));
        if (uint256(s) > HALF_ORDER) return address(0);
        return ecrecover(digest, uint8(signature[64]), r, s);
    }
}
