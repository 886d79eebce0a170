//! Asking a node for the proofs.

use std::collections::BTreeMap;

use alloy::{
    eips::BlockId,
    primitives::{B256, U256},
    rlp::Encodable,
};
use ledger::{Address, Digest, RunId, canonical};

use super::{ADDRESS, AnchoredProof, NOBODY, address, entry_slots, place_slot, registry_of};
use crate::{
    client::Client,
    convert,
    error::ChainError,
    head::LogSteps,
    state::{AccountProof, Slot, SlotProof, StateProof},
};

impl Client {
    /// Asks for everything that shows how a run stands at the newest block, and checks it as a stranger would.
    ///
    /// # Errors
    /// The node fails or does not keep proofs; [`ChainError::Answer`] if its answer does not hold.
    pub async fn prove_anchored(
        &self,
        contract: Address,
        run: RunId,
        sizes: &[LogSteps],
    ) -> Result<AnchoredProof, ChainError> {
        let operation = "state proof";
        let unclear = |reason: String| ChainError::Answer { operation, reason };
        let block =
            self.ask_block(operation, BlockId::latest()).await?.ok_or_else(|| unclear("no latest block".to_owned()))?;
        // Proofs are kept by number; what is answered is compared with the header.
        let at = BlockId::number(block.header.number);
        let mut header = Vec::new();
        block.header.inner.encode(&mut header);
        let anchor_code = self.code_at(contract, at).await?;
        let registry = registry_of(&anchor_code).map_err(|error| unclear(error.to_string()))?;
        let registry_code = self.code_at(registry, at).await?;
        let registered = self.run(contract, run).await?;
        let registered = registered.ok_or_else(|| unclear(format!("{contract} does not know run {run}")))?;
        let mut entries = entry_slots(run);
        entries.extend(registered.parent.map(entry_slots).into_iter().flatten());
        let places: Vec<Slot> = sizes.iter().map(|size| place_slot(registered.selector, *size)).collect();
        let mut accounts = vec![self.prove(contract, &entries, at).await?, self.prove(registry, &places, at).await?];
        // Read from storage: a family that was stopped answers nothing, but what it accepted stays anchored.
        let placed: Vec<U256> = accounts[1].slots.iter().map(|slot| slot.value).collect();
        let mut verifier_codes = BTreeMap::new();
        for (size, word) in sizes.iter().zip(placed) {
            let verifier = address("verifier", word & ADDRESS).map_err(|error| unclear(error.to_string()))?;
            if verifier == NOBODY {
                return Err(unclear(format!("no verifier of {} steps", 1u64 << size.0.min(63))));
            }
            verifier_codes.insert(*size, self.code_at(verifier, at).await?);
            // Two sizes may share one.
            if accounts.iter().all(|known| known.address != convert::address(verifier)) {
                accounts.push(self.prove(verifier, &[], at).await?);
            }
        }
        let state = StateProof { accounts, header: header.into(), v: canonical::V1 };
        let proof = AnchoredProof { state, anchor_code, registry_code, verifier_codes };
        let proven = proof.verify(contract, run).map_err(|error| unclear(error.to_string()))?;
        if proven.head.block.hash != Digest(block.header.hash.0) {
            let (expected, got) = (Digest(block.header.hash.0), proven.head.block.hash);
            return Err(unclear(format!("block {}: hash {expected}, its header gives {got}", block.header.number)));
        }
        Ok(proof)
    }

    async fn code_at(&self, address: Address, at: BlockId) -> Result<Vec<u8>, ChainError> {
        Ok(self.ask_code(convert::address(address), at).await?.to_vec())
    }

    async fn prove(&self, address: Address, slots: &[Slot], at: BlockId) -> Result<AccountProof, ChainError> {
        let keys: Vec<B256> = slots.iter().map(|slot| slot.0).collect();
        let address = convert::address(address);
        let answer = self.ask_proof(address, keys, at).await?;
        let slots = slots.iter().zip(answer.storage_proof);
        Ok(AccountProof {
            address,
            balance: answer.balance,
            code_hash: answer.code_hash,
            nonce: U256::from(answer.nonce),
            proof: answer.account_proof,
            slots: slots.map(|(slot, got)| SlotProof { proof: got.proof, slot: slot.0, value: got.value }).collect(),
            storage_root: answer.storage_hash,
        })
    }
}
