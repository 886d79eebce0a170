//! The engine against the library and against plain versions of its parts.

mod identity;
mod kernels;
mod refusals;
mod support;
