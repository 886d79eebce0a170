//! Sending transactions.
//!
//! A transaction is simulated, signed here, and sent as raw bytes: sending the same bytes again after a failed
//! connection cannot act twice.

use std::time::Duration;

use alloy::{
    eips::{BlockId, eip2718::Encodable2718},
    network::{NetworkTransactionBuilder, TransactionBuilder},
    providers::Provider,
    rpc::types::{TransactionReceipt, TransactionRequest},
    transports::RpcError,
};
use ledger::{Address, TxHash};

use crate::{client::Client, convert, error::ChainError, signer::Signer};

/// Added to the simulated gas, in percent: what other transactions change in between.
const GAS_MARGIN_PERCENT: u64 = 20;
/// Pause between two looks for a receipt.
const RECEIPT_PAUSE: Duration = Duration::from_millis(150);

/// A client that can write. Use one writer per account at a time: the nonce is asked for before each transaction.
#[derive(Clone, Debug)]
pub struct Writer {
    client: Client,
    signer: Signer,
}

/// A mined transaction that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its hash.
    pub tx: TxHash,
    /// Block that holds it.
    pub block: u64,
    /// Gas it used, intrinsic and calldata included.
    pub gas: u64,
}

/// Whether a repeatable operation had to act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It acted now.
    Done(T),
    /// The chain was in the wanted state already.
    Already(T),
}

impl<T> Outcome<T> {
    /// The result, whoever made it.
    pub fn into_inner(self) -> T {
        match self {
            Self::Done(value) | Self::Already(value) => value,
        }
    }

    /// Whether nothing had to be done.
    pub fn was_there(&self) -> bool {
        matches!(self, Self::Already(_))
    }
}

impl Writer {
    /// A client and the account it writes with.
    pub fn new(client: Client, signer: Signer) -> Self {
        Self { client, signer }
    }

    /// The reading half.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The account.
    pub fn address(&self) -> Address {
        self.signer.address()
    }

    /// Simulates, signs, sends, and waits for the receipt.
    pub(crate) async fn send(
        &self,
        operation: &'static str,
        to: Address,
        input: Vec<u8>,
    ) -> Result<TransactionReceipt, ChainError> {
        let client = &self.client;
        let provider = &client.provider;
        let from = convert::address(self.address());
        let mut request = TransactionRequest::default().with_from(from).with_to(convert::address(to)).with_input(input);
        let gas = client.ask(operation, || async { provider.estimate_gas(request.clone()).await }).await?;
        let nonce = client
            .ask("nonce", || async { provider.get_transaction_count(from).block_id(BlockId::pending()).await })
            .await?;
        let fees = client.ask("fees", || async { provider.estimate_eip1559_fees().await }).await?;
        request = request
            .with_chain_id(client.chain().0)
            .with_nonce(nonce)
            .with_gas_limit(gas.saturating_add(gas / 100 * GAS_MARGIN_PERCENT))
            .with_max_fee_per_gas(fees.max_fee_per_gas)
            .with_max_priority_fee_per_gas(fees.max_priority_fee_per_gas);
        let envelope = request
            .build(&self.signer.wallet())
            .await
            .map_err(|error| ChainError::Signer { reason: format!("{operation}: {error}") })?;
        let raw = envelope.encoded_2718();
        let hash = *envelope.tx_hash();
        client
            .ask(operation, || async {
                match provider.send_raw_transaction(&raw).await {
                    Ok(_) => Ok(()),
                    Err(refused @ RpcError::ErrorResp(_)) => {
                        // If the node knows the transaction, an earlier attempt reached it and only the answer was
                        // lost; nodes word this refusal differently.
                        match provider.get_transaction_by_hash(hash).await? {
                            Some(_) => Ok(()),
                            None => Err(refused),
                        }
                    }
                    Err(error) => Err(error),
                }
            })
            .await?;
        self.receipt(operation, hash).await
    }

    async fn receipt(
        &self,
        operation: &'static str,
        hash: alloy::primitives::TxHash,
    ) -> Result<TransactionReceipt, ChainError> {
        let client = &self.client;
        let tx = TxHash(hash.0);
        let after = client.options.mining_timeout;
        let wait = async {
            loop {
                let found =
                    client.ask("receipt", || async { client.provider.get_transaction_receipt(hash).await }).await?;
                match found {
                    Some(receipt) if receipt.status() => return Ok(receipt),
                    Some(receipt) => {
                        let block = receipt.block_number.unwrap_or_default();
                        return Err(ChainError::TransactionFailed { operation, tx, block });
                    }
                    None => tokio::time::sleep(RECEIPT_PAUSE).await,
                }
            }
        };
        tokio::time::timeout(after, wait).await.unwrap_or(Err(ChainError::NotMined { operation, tx, after }))
    }
}

impl From<&TransactionReceipt> for Sent {
    fn from(receipt: &TransactionReceipt) -> Self {
        Self {
            tx: TxHash(receipt.transaction_hash.0),
            block: receipt.block_number.unwrap_or_default(),
            gas: receipt.gas_used,
        }
    }
}
