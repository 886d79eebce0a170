//! Tests of the store, one file for each property.

mod archive;
mod cache;
mod faults;
mod inbox;
mod lifecycle;
mod private;
mod support;
mod tampering;
