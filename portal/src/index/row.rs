//! Between the words of `ledger` and what a row holds.

use ledger::{FieldElement, RunId};
use sqlx::{Row, any::AnyRow};

use super::{
    RunKey,
    error::{During, IndexError},
};

/// A number as the database holds it.
pub(super) fn int(what: &'static str, number: u64) -> Result<i64, IndexError> {
    i64::try_from(number).map_err(|_| IndexError::TooLarge { what, got: number })
}

/// A row, read by the names of its columns.
pub(super) struct Fields<'r>(pub(super) &'r AnyRow);

impl Fields<'_> {
    pub(super) fn int(&self, name: &'static str) -> Result<i64, IndexError> {
        self.0.try_get(name).during(name)
    }

    pub(super) fn uint(&self, name: &'static str) -> Result<u64, IndexError> {
        unsigned(name, self.int(name)?)
    }

    pub(super) fn opt_uint(&self, name: &'static str) -> Result<Option<u64>, IndexError> {
        let found: Option<i64> = self.0.try_get(name).during(name)?;
        found.map(|number| unsigned(name, number)).transpose()
    }

    pub(super) fn opt_text(&self, name: &'static str) -> Result<Option<String>, IndexError> {
        self.0.try_get(name).during(name)
    }

    pub(super) fn opt_bytes(&self, name: &'static str) -> Result<Option<Vec<u8>>, IndexError> {
        self.0.try_get(name).during(name)
    }

    pub(super) fn array<const N: usize>(&self, name: &'static str) -> Result<[u8; N], IndexError> {
        let bytes: Vec<u8> = self.0.try_get(name).during(name)?;
        exactly(name, &bytes)
    }

    pub(super) fn opt_array<const N: usize>(&self, name: &'static str) -> Result<Option<[u8; N]>, IndexError> {
        self.opt_bytes(name)?.map(|bytes| exactly(name, &bytes)).transpose()
    }

    pub(super) fn field(&self, name: &'static str) -> Result<FieldElement, IndexError> {
        element(name, self.array(name)?)
    }

    pub(super) fn opt_field(&self, name: &'static str) -> Result<Option<FieldElement>, IndexError> {
        self.opt_array(name)?.map(|bytes| element(name, bytes)).transpose()
    }

    pub(super) fn run(&self, name: &'static str) -> Result<RunId, IndexError> {
        Ok(self.field(name)?.into())
    }
}

/// Bytes of a fixed length.
pub(super) fn exactly<const N: usize>(what: &'static str, bytes: &[u8]) -> Result<[u8; N], IndexError> {
    let reason = || format!("expected {N} bytes, got {}", bytes.len());
    bytes.try_into().map_err(|_| IndexError::Stored { what, reason: reason() })
}

/// Runs that one statement names.
pub(super) const RUNS_PER_STATEMENT: usize = 256;

/// Runs as they stand between `IN (` and `)`: numbers of our own, so that nothing needs a placeholder.
pub(super) fn keys(runs: &[RunKey]) -> String {
    runs.iter().map(|run| run.0.to_string()).collect::<Vec<_>>().join(", ")
}

/// `($1, $2, …), (…)`: placeholders of so many rows.
pub(super) fn placeholders(n_rows: usize, n_columns: usize) -> String {
    let row = |row: usize| {
        let columns: Vec<String> = (1..=n_columns).map(|column| format!("${}", row * n_columns + column)).collect();
        format!("({})", columns.join(", "))
    };
    (0..n_rows).map(row).collect::<Vec<_>>().join(", ")
}

fn unsigned(what: &'static str, number: i64) -> Result<u64, IndexError> {
    u64::try_from(number).map_err(|_| IndexError::Stored { what, reason: format!("{number} is negative") })
}

fn element(what: &'static str, bytes: [u8; 32]) -> Result<FieldElement, IndexError> {
    FieldElement::from_be_bytes(bytes).map_err(|error| IndexError::Stored { what, reason: error.to_string() })
}
