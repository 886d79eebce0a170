//! Torrents of directories: the same everywhere, readable by others, and safe to read from others.

mod bencode;
mod clients;
mod determinism;
mod hashes;
mod hostile;
mod magnet;
mod support;
mod swarm;
mod transfers;
