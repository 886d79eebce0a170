//! Deployment by CREATE2: addresses are known beforehand, and deploying twice does nothing.

use alloy::{
    primitives::{Address as AlloyAddress, B256, U256, address},
    sol_types::SolValue,
};
use ledger::{Address, Salt};

use crate::{
    artifacts::{ATTESTATIONS, ArtifactText, RUN_ANCHOR, VERIFIER_REGISTRY},
    check::ExpectedCode,
    client::Client,
    convert,
    error::ChainError,
    writer::{Sent, Writer},
};

/// The canonical deterministic deployment proxy: calldata is the salt, then the init code.
const CREATE2_DEPLOYER: AlloyAddress = address!("4e59b44847b379578588920cA78FbF26c0B4956C");
/// Largest init code (EIP-3860).
const MAX_INIT_CODE: usize = 49_152;

/// One contract to be deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitCode {
    what: &'static str,
    salt: Salt,
    bytes: Vec<u8>,
}

/// The registry, the anchor and the attestations of one deployment.
#[derive(Clone, Debug)]
pub struct DeployPlan {
    /// Registry of verifiers.
    pub registry: InitCode,
    /// The anchor that uses it.
    pub anchor: InitCode,
    /// What auditors say about the anchor's runs; the others do without it.
    pub attestations: InitCode,
    /// What stands at their addresses afterwards, in this order.
    pub standing: [ExpectedCode; 3],
}

/// Seconds between the proposal of a verifier and its addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelaySecs(pub u64);

/// A contract that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// Where it is.
    pub address: Address,
    /// Length of its code in bytes.
    pub code_len: usize,
    /// The transaction; none if it stood already.
    pub sent: Option<Sent>,
}

impl InitCode {
    /// Creation code of an epoch verifier, as the compiler or the generator wrote it.
    pub fn verifier(bytes: Vec<u8>, salt: Salt) -> Self {
        Self { what: "verifier", salt, bytes }
    }

    /// Name of the contract.
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// Where it will be, on every chain.
    pub fn address(&self) -> Address {
        convert::address_back(CREATE2_DEPLOYER.create2_from_code(B256::from(self.salt.0), &self.bytes))
    }
}

impl DeployPlan {
    /// Plans a registry with its owner, guardian and delay, an anchor on it, and attestations of its runs. Needs
    /// no chain.
    ///
    /// # Errors
    /// If the committed artifacts cannot be read.
    pub fn new(owner: Address, guardian: Address, delay: DelaySecs, salt: Salt) -> Result<Self, ChainError> {
        let word = |address: Address| U256::from_be_bytes(convert::address(address).into_word().0);
        let delay = U256::from(delay.0);
        let arguments = (convert::address(owner), convert::address(guardian), delay).abi_encode();
        let (registry, at_registry) = committed(VERIFIER_REGISTRY, &arguments, delay, salt)?;
        let arguments = convert::address(registry.address()).abi_encode();
        let (anchor, at_anchor) = committed(RUN_ANCHOR, &arguments, word(registry.address()), salt)?;
        let arguments = convert::address(anchor.address()).abi_encode();
        let (attestations, at_attestations) = committed(ATTESTATIONS, &arguments, word(anchor.address()), salt)?;
        Ok(Self { registry, anchor, attestations, standing: [at_registry, at_anchor, at_attestations] })
    }
}

/// A committed contract with its constructor's arguments, and what stands once its only immutable has its value.
fn committed(
    artifact: ArtifactText,
    arguments: &[u8],
    immutable: U256,
    salt: Salt,
) -> Result<(InitCode, ExpectedCode), ChainError> {
    let parsed = artifact.parse()?;
    let bytes = [parsed.bytecode.as_slice(), arguments].concat();
    let init = InitCode { what: artifact.what, salt, bytes };
    let runtime = parsed.runtime_with(immutable.to_be_bytes())?;
    let expected = ExpectedCode { what: artifact.what.to_owned(), address: init.address(), runtime };
    Ok((init, expected))
}

impl Client {
    /// Whether the contract stands.
    ///
    /// # Errors
    /// If the node fails.
    pub async fn is_deployed(&self, code: &InitCode) -> Result<bool, ChainError> {
        Ok(self.code_len(code.address()).await? != 0)
    }
}

impl Writer {
    /// Deploys one contract unless it stands.
    ///
    /// # Errors
    /// [`ChainError::InitCodeTooLarge`]; [`ChainError::NoCode`] if the chain has no CREATE2 deployer;
    /// [`ChainError::NotDeployed`] or [`ChainError::Reverted`] if the constructor fails or the code is too large.
    pub async fn deploy(&self, code: &InitCode) -> Result<Deployed, ChainError> {
        let InitCode { what, salt, bytes } = code;
        if bytes.len() > MAX_INIT_CODE {
            return Err(ChainError::InitCodeTooLarge { what, max: MAX_INIT_CODE, got: bytes.len() });
        }
        let (client, address) = (self.client(), code.address());
        let standing = client.code_len(address).await?;
        if standing != 0 {
            return Ok(Deployed { address, code_len: standing, sent: None });
        }
        let deployer = convert::address_back(CREATE2_DEPLOYER);
        client.require_code("CREATE2 deployer", deployer).await?;
        let input = [salt.as_bytes(), bytes.as_slice()].concat();
        let receipt = self.send("deploy", deployer, input).await?;
        let code_len = client.code_len(address).await?;
        if code_len == 0 {
            return Err(ChainError::NotDeployed { what, address });
        }
        Ok(Deployed { address, code_len, sent: Some(Sent::from(&receipt)) })
    }
}
