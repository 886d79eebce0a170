//! What receivers of webhooks know: kept with the index, so that a restart tells nothing twice.

use std::collections::BTreeMap;

use ledger::{Address, ChainId, Digest, RunId};

use super::{
    Index, RunEntry,
    error::{During, IndexError},
    row::{Fields, int},
};

/// A run by the names that the chain gives it; holds when the index was made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunName {
    /// The chain.
    pub chain: ChainId,
    /// The `RunAnchor`.
    pub contract: Address,
    /// Its id.
    pub run: RunId,
}

impl RunName {
    /// The name of a run in the index.
    pub fn of(run: &RunEntry) -> Self {
        Self { chain: run.chain, contract: run.contract, run: run.run }
    }
}

impl Index {
    /// Digests of what a hook's receiver took last.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn told(&self, hook: &str) -> Result<BTreeMap<RunName, Digest>, IndexError> {
        let select = "SELECT chain_id, contract, run_id, digest FROM told WHERE hook = $1";
        let rows = sqlx::query(select).bind(hook.to_owned()).fetch_all(&self.pool).await.during("told")?;
        let entry = |row| {
            let row = Fields(row);
            let (chain, contract) = (ChainId(row.uint("chain_id")?), Address(row.array("contract")?));
            let name = RunName { chain, contract, run: row.run("run_id")? };
            Ok((name, Digest(row.array("digest")?)))
        };
        rows.iter().map(entry).collect()
    }

    /// Notes that a hook's receiver took a message about a run.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn note_told(&self, hook: &str, name: RunName, digest: Digest) -> Result<(), IndexError> {
        let insert = "INSERT INTO told (hook, chain_id, contract, run_id, digest) VALUES ($1, $2, $3, $4, $5) \
            ON CONFLICT (hook, chain_id, contract, run_id) DO UPDATE SET digest = excluded.digest";
        let query = sqlx::query(insert)
            .bind(hook.to_owned())
            .bind(int("chain id", name.chain.0)?)
            .bind(name.contract.0.to_vec())
            .bind(name.run.to_field().as_bytes().to_vec())
            .bind(digest.0.to_vec());
        query.execute(&self.pool).await.during("told")?;
        Ok(())
    }

    /// Notes that a hook's receiver knows that a run is gone.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget_told(&self, hook: &str, name: RunName) -> Result<(), IndexError> {
        let delete = "DELETE FROM told WHERE hook = $1 AND chain_id = $2 AND contract = $3 AND run_id = $4";
        let query = sqlx::query(delete)
            .bind(hook.to_owned())
            .bind(int("chain id", name.chain.0)?)
            .bind(name.contract.0.to_vec())
            .bind(name.run.to_field().as_bytes().to_vec());
        query.execute(&self.pool).await.during("told")?;
        Ok(())
    }
}
