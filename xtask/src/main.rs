//! Tasks of this repository: `cargo xtask <task>`.
//!
//! | module | purpose |
//! |---|---|
//! | [`setup`] | install the pinned tools |
//! | [`contracts`] | build, test and check the contracts |
//! | [`tools`] | where the tools are, and how to run them |
//!
//! Layer: outside of the product; nothing depends on it.

mod contracts;
mod setup;
mod tools;

use clap::{Parser, Subcommand};

/// What was typed.
#[derive(Parser)]
#[command(name = "xtask", about = "Tasks of the Cairn repository")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install the pinned tools (foundry, solc, snarkjs) into the cache folder.
    Setup,
    /// Build, test or check the contracts.
    Contracts {
        #[command(subcommand)]
        action: contracts::Action,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Setup => setup::run(),
        Task::Contracts { action } => contracts::run(action),
    }
}
