//! Which compiler is run.

use std::path::{Path, PathBuf};

use anyhow::ensure;

/// Below the cache: where `cargo xtask setup` puts the pinned compiler.
const INSTALLED: &str = "tools/bin/solc";

/// The compiler that was named or else the one installed below `$CAIRN_CACHE`, `.cache` if that is not set.
///
/// Errors: none was named, and none is installed.
pub fn find(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let cache = std::env::var_os("CAIRN_CACHE").map_or_else(|| PathBuf::from(".cache"), PathBuf::from);
    let installed = cache.join(INSTALLED);
    let path = installed.display();
    ensure!(
        installed.is_file(),
        "no compiler: {path} is missing; name one with --solc, or `cargo xtask setup` installs it"
    );
    Ok(installed)
}
