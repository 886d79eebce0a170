//! The index: what chains said about runs, and what that amounts to.
//!
//! Every event hangs on its block and goes with it, so a reorganisation is one deletion. Events may come twice or in
//! any order; an epoch counts once all before it are there and its leaves give its root. What a run's events amount to is
//! shown as anchored only after the contract's own head said the same ([`Index::confirm`]).

mod arrival;
mod attested;
mod differ;
mod error;
mod facets;
mod fold;
mod history;
mod list;
mod offer;
mod policy;
mod read;
mod record;
mod row;
mod settle;
mod told;
mod verification;
mod write;

use std::sync::Once;

use ledger::{Address, ChainId};
use sqlx::{
    Any, AnyPool, Transaction,
    any::{AnyPoolOptions, install_default_drivers},
};

pub use arrival::{Arrival, ArrivalState, ReportLine};
pub use attested::AttestationEntry;
pub use error::IndexError;
pub use facets::{Facets, StepRange};
pub use history::RunEvent;
pub use list::{Cursor, RunFilter, RunPage, RunSort, Status, VerifierEntry, WordError};
pub use offer::Offer;
pub use policy::Optimizer;
pub use read::{BundleEntry, EpochEntry, Hit, RunEntry, SourceEntry, Standing, StepEntry};
pub use record::{OpenReceipt, StepWord};
pub use told::RunName;
pub use verification::Verification;
pub use write::{Applied, Batch, Confirmation};

use error::During;
use row::{Fields, int};
use settle::settle_all;

/// The schema, one version after the other.
const SCHEMAS: [&str; 5] = [
    include_str!("index/schema.sql"),
    include_str!("index/schema_2.sql"),
    include_str!("index/schema_3.sql"),
    include_str!("index/schema_4.sql"),
    include_str!("index/schema_5.sql"),
];

/// Connections of one index: a few readers beside the one that writes.
const CONNECTIONS: u32 = 8;

/// The database's own key of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceKey(i64);

/// The database's own key of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey(i64);

/// A contract whose runs are indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The chain.
    pub chain: ChainId,
    /// The `RunAnchor`.
    pub contract: Address,
    /// The `Attestations` for its runs, if it is read too.
    pub attestations: Option<Address>,
    /// First block that is read: the one of its deployment, or any before.
    pub first_block: u64,
}

/// Which words the database understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Sqlite,
    Postgres,
}

/// A database that holds the index. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Index {
    pool: AnyPool,
    dialect: Dialect,
}

impl Index {
    /// Opens an index, and makes or brings forward its tables.
    ///
    /// `address`: `sqlite:PATH`, made if it is not there, or `postgres://…`. Several programs may share one database.
    ///
    /// # Errors
    /// [`IndexError::Address`], [`IndexError::NewerSchema`], or the database fails.
    pub async fn open(address: &str) -> Result<Self, IndexError> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(install_default_drivers);
        let (scheme, _) = address.split_once(':').unwrap_or_default();
        let (dialect, address) = match scheme {
            "sqlite" if address.contains('?') => (Dialect::Sqlite, format!("{address}&mode=rwc")),
            "sqlite" => (Dialect::Sqlite, format!("{address}?mode=rwc")),
            "postgres" | "postgresql" => (Dialect::Postgres, address.to_owned()),
            _ => return Err(IndexError::Address { reason: "expected sqlite: or postgres:".into() }),
        };
        let pool = AnyPoolOptions::new().max_connections(CONNECTIONS).after_connect(move |connection, _| {
            Box::pin(async move { sqlx::raw_sql(dialect.settings()).execute(connection).await.map(|_| ()) })
        });
        let index = Self { pool: pool.connect(&address).await.during("connect")?, dialect };
        index.migrate().await?;
        Ok(index)
    }

    /// Waits for what is running and closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The key of a source, which is added if it is new. If it was read with another `Attestations`, it is forgotten and
    /// read anew.
    ///
    /// # Errors
    /// [`IndexError::FirstBlock`] if it is indexed from another block on.
    pub async fn source(&self, source: &Source) -> Result<SourceKey, IndexError> {
        let operation = "source";
        let (chain, first) = (int("chain id", source.chain.0)?, int("block", source.first_block)?);
        let contract = source.contract.0.to_vec();
        let attestations = source.attestations.map(|contract| contract.0.to_vec());
        let other = "DELETE FROM source WHERE chain_id = $1 AND contract = $2 AND attestations IS DISTINCT FROM $3";
        let insert = "INSERT INTO source (chain_id, contract, attestations, first_block) VALUES ($1, $2, $3, $4) \
            ON CONFLICT DO NOTHING";
        sqlx::query(other)
            .bind(chain)
            .bind(contract.clone())
            .bind(attestations.clone())
            .execute(&self.pool)
            .await
            .during(operation)?;
        sqlx::query(insert)
            .bind(chain)
            .bind(contract.clone())
            .bind(attestations)
            .bind(first)
            .execute(&self.pool)
            .await
            .during(operation)?;
        let row = sqlx::query("SELECT id, first_block FROM source WHERE chain_id = $1 AND contract = $2")
            .bind(chain)
            .bind(contract)
            .fetch_one(&self.pool)
            .await
            .during(operation)?;
        let row = Fields(&row);
        let expected = row.uint("first_block")?;
        if expected != source.first_block {
            let Source { chain, contract, first_block: got, .. } = *source;
            return Err(IndexError::FirstBlock { chain, contract, expected, got });
        }
        Ok(SourceKey(row.int("id")?))
    }

    /// Forgets a source and all that came from it; the next [`Index::source`] begins anew.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget(&self, chain: ChainId, contract: Address) -> Result<(), IndexError> {
        sqlx::query("DELETE FROM source WHERE chain_id = $1 AND contract = $2")
            .bind(int("chain id", chain.0)?)
            .bind(contract.0.to_vec())
            .execute(&self.pool)
            .await
            .during("forget source")?;
        Ok(())
    }

    /// A transaction that may write. SQLite's takes the right to write at once: one that began by reading could be refused
    /// it later.
    async fn begin(&self) -> Result<Transaction<'static, Any>, IndexError> {
        let statement = match self.dialect {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres => "BEGIN",
        };
        self.pool.begin_with(statement).await.during("begin")
    }

    async fn migrate(&self) -> Result<(), IndexError> {
        let operation = "schema";
        let mut tx = self.begin().await?;
        if self.dialect == Dialect::Postgres {
            // Another program may be doing the same; the number only has to be ours.
            let lock = "SELECT pg_advisory_xact_lock(7119520811)";
            sqlx::raw_sql(lock).execute(&mut *tx).await.during(operation)?;
        }
        let table = "CREATE TABLE IF NOT EXISTS index_schema (version BIGINT NOT NULL)";
        sqlx::raw_sql(table).execute(&mut *tx).await.during(operation)?;
        let row = sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM index_schema");
        let got = Fields(&row.fetch_one(&mut *tx).await.during(operation)?).int("version")?;
        let known = SCHEMAS.len() as i64;
        if got > known {
            return Err(IndexError::NewerSchema { known, got });
        }
        for (version, text) in (1..).zip(SCHEMAS) {
            if version > got {
                let text = self.dialect.words(text);
                sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut *tx).await.during(operation)?;
                let insert = sqlx::query("INSERT INTO index_schema (version) VALUES ($1)").bind(version);
                insert.execute(&mut *tx).await.during(operation)?;
            }
        }
        if (1..known).contains(&got) {
            settle_all(&mut tx).await?;
        }
        tx.commit().await.during(operation)
    }
}

impl Dialect {
    /// What each connection is told first.
    fn settings(self) -> &'static str {
        match self {
            // Readers go on while one writes, and writers wait for each other. What the last moment before a power cut
            // added is read from the chain again. Hashes are indexed, so that writing goes all over the file: 32 MiB of it
            // are kept, and as much is written before it is carried over.
            Self::Sqlite => {
                "PRAGMA busy_timeout = 30000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
                 PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 8192"
            }
            Self::Postgres => "SET application_name = 'cairn portal'",
        }
    }

    /// A schema in the words of this database.
    fn words(self, schema: &str) -> String {
        let (key, bytes) = match self {
            Self::Sqlite => ("INTEGER PRIMARY KEY AUTOINCREMENT", "BLOB"),
            Self::Postgres => ("BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY", "BYTEA"),
        };
        schema.replace("{KEY}", key).replace("{BYTES}", bytes)
    }
}
