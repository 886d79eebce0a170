//! `cargo xtask setup`: install the pinned tools.

use crate::tools::Tools;

/// Installs what is missing and says where it went.
pub fn run() -> anyhow::Result<()> {
    let tools = Tools::locate()?;
    tools.install()?;
    println!("tools: ready in {}", tools.bin_dir().display());
    Ok(())
}
