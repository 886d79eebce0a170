//! The engine against the library and against plain versions of its parts.

mod drawn;
mod identity;
mod kernels;
mod plain;
mod portable;
mod random_circuits;
mod refusals;
mod stored;
mod support;
mod watch;
