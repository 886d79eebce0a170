//! Asking a node: timeouts, retries, typed failures.

use std::{future::Future, time::Duration};

use alloy::{
    eips::BlockId,
    network::TransactionBuilder,
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
    sol_types::SolCall,
    transports::{RpcError, TransportError},
};
use ledger::{Address, ChainId};

pub(crate) use crate::head::BlockRef;
use crate::{convert, error::ChainError, revert::Revert};

/// How patient to be.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Time given to one request.
    pub timeout: Duration,
    /// Attempts at one request; a request that the node answered, with whatever answer, is not repeated.
    pub attempts: u32,
    /// Pause before the second attempt; doubles with each one.
    pub backoff: Duration,
    /// Time given to a transaction to be mined.
    pub mining_timeout: Duration,
    /// Blocks asked for in one request for events.
    pub log_page: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(20),
            attempts: 4,
            backoff: Duration::from_millis(250),
            mining_timeout: Duration::from_secs(180),
            log_page: 5_000,
        }
    }
}

/// A connection to one node, for reading.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) provider: DynProvider,
    pub(crate) options: Options,
    chain: ChainId,
    /// Host and port only: addresses of hosted nodes hold keys.
    node: String,
}

/// A block that an index remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Number and hash.
    pub at: BlockRef,
    /// When it was made, unix seconds: the chain's word.
    pub time: u64,
}

impl Client {
    /// Connects and asks for the chain id.
    ///
    /// # Errors
    /// [`ChainError::Url`], [`ChainError::Unreachable`] or [`ChainError::Timeout`].
    pub async fn connect(url: &str, options: Options) -> Result<Self, ChainError> {
        let url: alloy::transports::http::reqwest::Url =
            url.parse().map_err(|error| ChainError::Url { reason: format!("{error}") })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ChainError::Url { reason: format!("scheme {}", url.scheme()) });
        }
        let host = url.host_str().unwrap_or("?");
        let node = url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let provider = ProviderBuilder::new().disable_recommended_fillers().connect_http(url).erased();
        let mut client = Self { provider, options, chain: ChainId(0), node };
        let id = client.ask_chain_id().await?;
        client.chain = ChainId(id);
        Ok(client)
    }

    /// The node's chain.
    pub fn chain(&self) -> ChainId {
        self.chain
    }

    /// Refuses every chain but one.
    ///
    /// # Errors
    /// [`ChainError::WrongChain`].
    pub fn expect_chain(&self, expected: ChainId) -> Result<(), ChainError> {
        if self.chain == expected { Ok(()) } else { Err(ChainError::WrongChain { expected, got: self.chain }) }
    }

    /// The newest block.
    ///
    /// # Errors
    /// If the node fails.
    pub async fn latest_block(&self) -> Result<BlockRef, ChainError> {
        let operation = "latest block";
        let block = self
            .ask_block(operation, BlockId::latest())
            .await?
            .ok_or_else(|| ChainError::Answer { operation, reason: "no latest block".into() })?;
        Ok(BlockRef { number: block.header.number, hash: ledger::Digest(block.header.hash.0) })
    }

    /// The block that the node has at a height now; none above the newest.
    ///
    /// # Errors
    /// If the node fails.
    pub async fn block(&self, number: u64) -> Result<Option<BlockHeader>, ChainError> {
        let block = self.ask_block("block", BlockId::number(number)).await?;
        Ok(block.map(|block| BlockHeader {
            at: BlockRef { number: block.header.number, hash: ledger::Digest(block.header.hash.0) },
            time: block.header.timestamp,
        }))
    }

    /// Length in bytes of the code at an address; 0 if there is none.
    ///
    /// # Errors
    /// If the node fails.
    pub async fn code_len(&self, address: Address) -> Result<usize, ChainError> {
        Ok(self.ask_code(convert::address(address), BlockId::latest()).await?.len())
    }

    /// Refuses an address without code.
    pub(crate) async fn require_code(&self, what: &'static str, address: Address) -> Result<(), ChainError> {
        if self.code_len(address).await? == 0 {
            return Err(ChainError::NoCode { what, address, chain: self.chain });
        }
        Ok(())
    }

    /// Calls a view at a block.
    pub(crate) async fn view<C: SolCall + Sync>(
        &self,
        operation: &'static str,
        to: Address,
        call: &C,
        block: BlockId,
    ) -> Result<C::Return, ChainError> {
        let request = TransactionRequest::default().with_to(convert::address(to)).with_input(call.abi_encode());
        let answer = self.ask_call(operation, request, block).await?;
        if answer.is_empty() {
            // A call to an address without code succeeds with nothing.
            self.require_code(operation, to).await?;
        }
        C::abi_decode_returns(&answer).map_err(|error| ChainError::Answer { operation, reason: error.to_string() })
    }

    /// One request, with timeout and retries of what did not reach the node.
    pub(crate) async fn ask<T, F>(&self, operation: &'static str, request: impl Fn() -> F) -> Result<T, ChainError>
    where
        F: Future<Output = Result<T, TransportError>>,
    {
        let Options { timeout, attempts, backoff, .. } = self.options;
        let node = || self.node.clone();
        let mut pause = backoff;
        let mut attempt = 1;
        loop {
            let failure = match tokio::time::timeout(timeout, request()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(RpcError::Transport(error))) => ChainError::Unreachable {
                    operation,
                    node: node(),
                    attempts: attempt,
                    // The inner error repeats the address; its keys must not get into logs.
                    reason: error
                        .as_http_error()
                        .map_or_else(|| "connection failed".into(), |http| format!("status {}", http.status)),
                },
                Ok(Err(error)) => return Err(refusal(operation, error)),
                Err(_) => ChainError::Timeout { operation, node: node(), attempts: attempt, after: timeout },
            };
            if attempt >= attempts {
                return Err(failure);
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
            attempt += 1;
        }
    }
}

/// An error that the node answered with.
fn refusal(operation: &'static str, error: TransportError) -> ChainError {
    let RpcError::ErrorResp(payload) = error else {
        return ChainError::Answer { operation, reason: error.to_string() };
    };
    if let Some(data) = payload.as_revert_data() {
        return ChainError::Reverted { operation, revert: Revert::decode(&data) };
    }
    if payload.message.contains("execution reverted") {
        return ChainError::Reverted { operation, revert: Revert::Unknown(Vec::new()) };
    }
    ChainError::Rpc { operation, code: payload.code, message: payload.message.into_owned() }
}
