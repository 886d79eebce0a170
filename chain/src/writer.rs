//! Sending transactions.
//!
//! A transaction is simulated, signed here, and sent as raw bytes: sending the same bytes again after a failed
//! connection cannot act twice.

use std::time::Duration;

use alloy::{
    eips::eip2718::Encodable2718,
    network::{NetworkTransactionBuilder, TransactionBuilder},
    rpc::types::{TransactionReceipt, TransactionRequest},
};
use ledger::{Address, TxHash};

use crate::{client::Client, convert, error::ChainError, request::Answer, signer::Signer};

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
    pub(crate) fn send(&self, operation: &'static str, to: Address, input: Vec<u8>) -> Answer<'_, TransactionReceipt> {
        Box::pin(self.sent(operation, to, input))
    }

    async fn sent(
        &self,
        operation: &'static str,
        to: Address,
        input: Vec<u8>,
    ) -> Result<TransactionReceipt, ChainError> {
        let client = &self.client;
        let from = convert::address(self.address());
        let mut request = TransactionRequest::default().with_from(from).with_to(convert::address(to)).with_input(input);
        let gas = client.ask_gas(operation, request.clone()).await?;
        let nonce = client.ask_nonce(from).await?;
        let fees = client.ask_fees().await?;
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
        client.ask_to_send(operation, raw, hash).await?;
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
                match client.ask_receipt(hash).await? {
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
