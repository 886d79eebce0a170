//! Tasks of this repository: `cargo xtask <task>`.
//!
//! | module | purpose |
//! |---|---|
//! | [`fixtures`] | a demo run as vectors for the contracts' tests |
//! | [`broker`] | the broker between prover service and workers, for tests |
//! | [`clients`] | torrent clients of others, for tests |
//! | [`debian`] | programs of Debian's current release |
//! | [`python`] | Python environments, tests of the package |
//! | [`running`] | programs that end with their owner |
//! | [`setup`] | install the pinned tools |
//! | [`cargo`] | build a program of this repository, and ask it |
//! | [`fuzz`] | libFuzzer over what strangers write |
//! | [`generate`] | the generated verifier of the demo's epochs |
//! | [`browser`] | a browser for tests |
//! | [`bench`] | time, memory, sizes beside the budgets |
//! | [`contracts`] | build, test and check the contracts |
//! | [`island`] | what a browser verifies with |
//! | [`natspec`] | whether the contracts explain themselves |
//! | [`demo`] | the main job, end to end |
//! | [`portal`] | the demo's portal, served and visited |
//! | [`test`] | all tests |
//! | [`tidy`] | the rules of the house |
//! | [`tools`] | where the tools are, and how to run them |
//!
//! Layer: outside of the product; nothing depends on it.

mod bench;
mod broker;
mod browser;
mod cargo;
mod clients;
mod contracts;
mod debian;
mod demo;
mod fixtures;
mod fuzz;
mod generate;
mod island;
mod natspec;
mod portal;
mod postgres;
mod python;
mod running;
mod setup;
mod test;
mod tidy;
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
    /// Install the pinned tools (foundry, solc, snarkjs, playwright, axe), torrent clients, nats-server and Python packages for tests into the cache folder, and Chromium.
    Setup,
    /// Build, test or check the contracts.
    Contracts {
        #[command(subcommand)]
        action: contracts::Action,
    },
    /// Train, prove, aggregate, anchor and verify on real data and a real node.
    Demo(demo::Demo),
    /// Measure time, memory and sizes; with --peer, another prover too.
    Bench(bench::Bench),
    /// Write the vectors of a finished demo run for the contracts' tests.
    Fixtures(fixtures::Fixtures),
    /// Fuzz the parsers of every format, step proofs and a generated verifier.
    Fuzz(fuzz::Fuzz),
    /// Write or compare the generated verifier of the demo's epochs.
    Generate(generate::Generate),
    /// Build what a visitor's browser verifies with.
    Island,
    /// Run all tests.
    Test(test::Test),
    /// Check layering and other rules of the house.
    Tidy,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Setup => setup::run(),
        Task::Contracts { action } => contracts::run(action),
        Task::Demo(demo) => demo::run(&demo),
        Task::Bench(bench) => bench::run(&bench),
        Task::Fixtures(fixtures) => fixtures::run(&fixtures),
        Task::Fuzz(fuzz) => fuzz::run(&fuzz),
        Task::Generate(generate) => generate::run(&generate),
        Task::Island => island::run().map(drop),
        Task::Test(test) => test::run(&test),
        Task::Tidy => tidy::run(),
    }
}
