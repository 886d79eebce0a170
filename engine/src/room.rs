//! Columns that tasks are done with, for the next ones: memory that the system has to clear first took a tenth of a large proof's
//! time.

use std::sync::{Mutex, PoisonError};

use halo2_proofs::halo2curves::{bn256::Fr, ff::Field};

/// Columns of one length that nobody uses.
#[derive(Debug)]
pub(crate) struct Room {
    n: usize,
    free: Mutex<Vec<Vec<Fr>>>,
}

impl Room {
    /// For columns of `n` elements; none yet.
    pub(crate) fn new(n: usize) -> Self {
        Self { n, free: Mutex::default() }
    }

    /// A column of whatever was left in it.
    pub(crate) fn take(&self) -> Vec<Fr> {
        // A task that panicked took its column with it; the list is whole.
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| vec![Fr::ZERO; self.n])
    }

    /// Gives a column back; one of another length is dropped.
    pub(crate) fn put(&self, column: Vec<Fr>) {
        if column.len() == self.n {
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(column);
        }
    }
}
