//! `cargo xtask setup`: install the pinned tools.

use crate::{broker, browser, clients, postgres, python, tools::Tools};

/// Installs what is missing and says where it went.
pub fn run() -> anyhow::Result<()> {
    let tools = Tools::locate()?;
    tools.install()?;
    clients::install(&tools)?;
    browser::install()?;
    broker::install(&tools)?;
    postgres::install(&tools)?;
    python::for_tests(&tools)?;
    println!("tools: ready in {}", tools.bin_dir().display());
    Ok(())
}
