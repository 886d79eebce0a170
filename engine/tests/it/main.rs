//! The engine against the library and against plain versions of its parts.

mod identity;
mod kernels;
mod portable;
mod refusals;
mod support;
mod watch;
