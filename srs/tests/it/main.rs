//! Integration tests of `srs`: completeness, file formats, refusals.

mod cache;
mod completeness;
mod halo2_file;
mod ptau;
mod ptau_faults;
mod support;
