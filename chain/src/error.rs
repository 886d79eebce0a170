//! Errors of this crate: one variant for each thing that can go wrong between a run and its chain.

use std::time::Duration;

use ledger::{Address, ChainId, Digest, RunId, TxHash};

use crate::revert::Revert;

/// Why the chain did not do or say what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The RPC address is not an `http` or `https` URL. The address is not repeated, as it may hold a key.
    #[error("rpc address is not usable: {reason}")]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// No attempt reached the node.
    #[error("{operation}: node {node} not reached in {attempts} attempts: {reason}")]
    Unreachable {
        /// What was asked.
        operation: &'static str,
        /// Host and port.
        node: String,
        /// Attempts made.
        attempts: u32,
        /// How the last one failed.
        reason: String,
    },
    /// The node did not answer in time.
    #[error("{operation}: node {node} did not answer within {after:?}, attempt {attempts}")]
    Timeout {
        /// What was asked.
        operation: &'static str,
        /// Host and port.
        node: String,
        /// Attempts made.
        attempts: u32,
        /// Limit of one attempt.
        after: Duration,
    },
    /// The node refused the request, for a reason other than a revert.
    #[error("{operation}: node answered with error {code}: {message}")]
    Rpc {
        /// What was asked.
        operation: &'static str,
        /// JSON-RPC error code.
        code: i64,
        /// The node's words.
        message: String,
    },
    /// The answer is not what the question calls for.
    #[error("{operation}: answer not understood: {reason}")]
    Answer {
        /// What was asked.
        operation: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The node is on another chain.
    #[error("expected chain {expected}, got {got}")]
    WrongChain {
        /// The chain that was wanted.
        expected: ChainId,
        /// The node's.
        got: ChainId,
    },
    /// A contract refused.
    #[error("{operation}: refused by the contract: {revert}")]
    Reverted {
        /// What was asked.
        operation: &'static str,
        /// The custom error and its values.
        revert: Revert,
    },
    /// A transaction that was mined did nothing: the chain changed between its simulation and its block.
    #[error("{operation}: transaction {tx} failed in block {block}")]
    TransactionFailed {
        /// What was sent.
        operation: &'static str,
        /// Its hash.
        tx: TxHash,
        /// Block that holds it.
        block: u64,
    },
    /// A transaction was sent but is in no block yet. It may still be mined: repeat the operation to find out.
    #[error("{operation}: transaction {tx} not mined within {after:?}")]
    NotMined {
        /// What was sent.
        operation: &'static str,
        /// Its hash.
        tx: TxHash,
        /// How long it was waited for.
        after: Duration,
    },
    /// There is no code where a contract should be.
    #[error("{what}: no code at {address} on chain {chain}")]
    NoCode {
        /// What should be there.
        what: &'static str,
        /// Where.
        address: Address,
        /// The chain.
        chain: ChainId,
    },
    /// Creation code over the limit of EIP-3860.
    #[error("{what}: creation code of {got} bytes, at most {max} are allowed")]
    InitCodeTooLarge {
        /// The contract.
        what: &'static str,
        /// Limit, bytes.
        max: usize,
        /// Length, bytes.
        got: usize,
    },
    /// The deployment was mined, but nothing stands at the address.
    #[error("{what}: nothing stands at {address} after its deployment")]
    NotDeployed {
        /// The contract.
        what: &'static str,
        /// Where it should be.
        address: Address,
    },
    /// The place of a verifier is taken, and verifiers are never replaced.
    #[error("verifier of {steps} steps: expected {expected}, got {got}")]
    OtherVerifier {
        /// Steps of the epochs it is for.
        steps: u64,
        /// The one that was to be added.
        expected: Address,
        /// The one that is there.
        got: Address,
    },
    /// The run is registered with other values.
    #[error("run {run} is registered with another {what}: expected {expected}, got {got}")]
    RegisteredOtherwise {
        /// The run.
        run: RunId,
        /// Which value.
        what: &'static str,
        /// The caller's.
        expected: String,
        /// The contract's.
        got: String,
    },
    /// Another epoch is anchored at this counter.
    #[error("run {run}, epoch {counter}: anchored with another {what}: expected {expected}, got {got}")]
    AnchoredOtherwise {
        /// The run.
        run: RunId,
        /// The contract's counter, from 1.
        counter: u64,
        /// Which value.
        what: &'static str,
        /// The caller's.
        expected: String,
        /// The chain's.
        got: String,
    },
    /// The contract counts an epoch whose event was not found.
    #[error("run {run}, epoch {counter}: no event from block {from_block} on")]
    EventMissing {
        /// The run.
        run: RunId,
        /// The contract's counter, from 1.
        counter: u64,
        /// Where the search began.
        from_block: u64,
    },
    /// The chain changed while it was read: what was read belongs to no one history.
    #[error("{operation}: block {block} was {expected}, and is {}", got.map_or_else(|| "gone".to_owned(), |hash| hash.to_string()))]
    Reorganised {
        /// What was asked.
        operation: &'static str,
        /// Height of the block.
        block: u64,
        /// Hash that it had.
        expected: Digest,
        /// Hash that the node gives now; none if it has no such block.
        got: Option<Digest>,
    },
    /// There is no usable key to sign with.
    #[error("signer: {reason}")]
    Signer {
        /// What is wrong with it; never the key itself.
        reason: String,
    },
}
