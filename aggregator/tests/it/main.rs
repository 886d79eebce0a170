//! Integration tests of `aggregator`, one module for each property.

mod epoch;
mod keys;
mod msm;
mod poseidon;
mod shplonk;
mod statement;
mod support;
mod wrap;
