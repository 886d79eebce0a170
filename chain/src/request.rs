//! The requests that are made of a node. Each is a boxed future from a plain function: an `async fn` is compiled anew by every
//! program that awaits it, with all of the HTTP client beneath; these are compiled here, once.

use std::{future::Future, pin::Pin};

use alloy::{
    eips::{BlockId, eip1559::Eip1559Estimation},
    primitives::{Address, B256, Bytes, TxHash},
    providers::Provider,
    rpc::types::{Block, EIP1186AccountProofResponse, Filter, Log, TransactionReceipt, TransactionRequest},
    transports::{RpcError, TransportError},
};

use crate::{client::Client, error::ChainError};

/// An answer to come.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ChainError>> + Send + 'a>>;

impl Client {
    pub(crate) fn ask_chain_id(&self) -> Answer<'_, u64> {
        Box::pin(self.ask("chain id", || async { self.provider.get_chain_id().await }))
    }

    pub(crate) fn ask_block(&self, operation: &'static str, at: BlockId) -> Answer<'_, Option<Block>> {
        Box::pin(self.ask(operation, move || async move { self.provider.get_block(at).await }))
    }

    pub(crate) fn ask_code(&self, address: Address, at: BlockId) -> Answer<'_, Bytes> {
        Box::pin(self.ask("code", move || async move { self.provider.get_code_at(address).block_id(at).await }))
    }

    pub(crate) fn ask_call(
        &self,
        operation: &'static str,
        request: TransactionRequest,
        at: BlockId,
    ) -> Answer<'_, Bytes> {
        Box::pin(self.ask(operation, move || {
            let request = request.clone();
            async move { self.provider.call(request).block(at).await }
        }))
    }

    pub(crate) fn ask_receipt(&self, tx: TxHash) -> Answer<'_, Option<TransactionReceipt>> {
        Box::pin(self.ask("receipt", move || async move { self.provider.get_transaction_receipt(tx).await }))
    }

    pub(crate) fn ask_logs(&self, filter: Filter) -> Answer<'_, Vec<Log>> {
        Box::pin(self.ask("events", move || {
            let filter = filter.clone();
            async move { self.provider.get_logs(&filter).await }
        }))
    }

    pub(crate) fn ask_proof(
        &self,
        address: Address,
        keys: Vec<B256>,
        at: BlockId,
    ) -> Answer<'_, EIP1186AccountProofResponse> {
        Box::pin(self.ask("state proof", move || {
            let keys = keys.clone();
            async move { self.provider.get_proof(address, keys).block_id(at).await }
        }))
    }

    pub(crate) fn ask_gas(&self, operation: &'static str, request: TransactionRequest) -> Answer<'_, u64> {
        Box::pin(self.ask(operation, move || {
            let request = request.clone();
            async move { self.provider.estimate_gas(request).await }
        }))
    }

    /// The account's next nonce, with what waits to be mined.
    pub(crate) fn ask_nonce(&self, account: Address) -> Answer<'_, u64> {
        Box::pin(self.ask("nonce", move || async move {
            self.provider.get_transaction_count(account).block_id(BlockId::pending()).await
        }))
    }

    pub(crate) fn ask_fees(&self) -> Answer<'_, Eip1559Estimation> {
        Box::pin(self.ask("fees", || async { self.provider.estimate_eip1559_fees().await }))
    }

    /// Sends a signed transaction. If the node knows it, an earlier attempt reached it and only the answer was lost; nodes word
    /// this refusal differently.
    pub(crate) fn ask_to_send(&self, operation: &'static str, raw: Vec<u8>, hash: TxHash) -> Answer<'_, ()> {
        Box::pin(self.ask(operation, move || {
            let raw = raw.clone();
            async move {
                match self.provider.send_raw_transaction(&raw).await {
                    Ok(_) => Ok(()),
                    Err(refused @ RpcError::ErrorResp(_)) => match self.provider.get_transaction_by_hash(hash).await? {
                        Some(_) => Ok(()),
                        None => Err::<(), TransportError>(refused),
                    },
                    Err(error) => Err(error),
                }
            }
        }))
    }
}
