//! `cargo xtask test`: everything that must hold, ending in one line that counts.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;

use crate::{
    broker, browser, cargo::cargo, clients, contracts, demo, generate, island, postgres, python, tidy, tools::Tools,
};

/// All tests: Rust, wasm build, contracts, the Python package, and the demo as the end-to-end run.
#[derive(Args)]
pub struct Test {
    /// Leave out the end-to-end run (about ten minutes).
    #[arg(long)]
    no_demo: bool,
}

/// Counts of one runner.
#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
}

/// Reads `test result: ok. 3 passed; 1 failed; …` (cargo), `… 3 tests passed, 1 failed, …` (forge's last line) and
/// `1 failed, 3 passed in 0.12s` (pytest's last line).
fn count(line: &str) -> Option<Count> {
    let number_before = |word: &str| {
        let at = line.find(word)?;
        line[..at].split_whitespace().last()?.parse::<u64>().ok()
    };
    if line.starts_with("test result:") {
        return Some(Count { passed: number_before(" passed")?, failed: number_before(" failed")? });
    }
    if line.starts_with("Ran ") && line.contains("test suites") {
        return Some(Count { passed: number_before(" tests passed")?, failed: number_before(" failed")? });
    }
    let (counts, _) = line.rsplit_once(" in ").filter(|(_, time)| time.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut total = Count::default();
    for part in counts.split(", ") {
        let (number, what) = part.split_once(' ')?;
        let number: u64 = number.parse().ok()?;
        match what {
            "passed" => total.passed += number,
            "failed" | "error" | "errors" => total.failed += number,
            _ => {}
        }
    }
    Some(total)
}

/// Runs a test runner, shows its output and counts.
fn runner(what: &str, command: &mut Command, total: &mut Count) -> anyhow::Result<()> {
    println!("== {what}");
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("run {what}"))?;
    let stdout = child.stdout.take().context("output")?;
    let mut executed = 0;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        if let Some(c) = count(&line) {
            total.passed += c.passed;
            total.failed += c.failed;
            executed += c.passed + c.failed;
        }
    }
    let status = child.wait()?;
    ensure!(executed > 0, "{what}: no test was executed");
    if !status.success() {
        total.failed = total.failed.max(1);
        bail!("{what} failed: {status}");
    }
    Ok(())
}

/// What Foundry says of the contracts: their form, their snapshots, their tests.
fn contracts(tools: &Tools) -> anyhow::Result<Count> {
    let mut total = Count::default();
    contracts::run(contracts::Action::Check)?;
    runner("contracts", tools.command("forge")?.arg("test"), &mut total)?;
    Ok(total)
}

fn all(test: &Test, total: &mut Count) -> anyhow::Result<()> {
    let tools = Tools::locate()?;
    tools.install()?;
    clients::install(&tools)?;
    browser::install()?;
    broker::install(&tools)?;
    let repo = tools.repo().to_owned();
    tidy::run()?;

    // The module's last crate is compiled by one core, and so are contracts.
    let contracts = std::thread::scope(|scope| {
        let contracts = scope.spawn(|| contracts(&tools));
        println!("== island: what browsers verify with, and all beneath it, builds for wasm");
        let island = island::run();
        let contracts = contracts.join().map_err(|_| anyhow!("the contracts' tests panicked"))?;
        island.and(contracts)
    })?;
    total.passed += 1 + contracts.passed;
    total.failed += contracts.failed;
    println!("== generated verifier: from its key, compiled anew");
    generate::run(&generate::Generate::checked())?;
    total.passed += 1;
    let database = postgres::Server::start(&tools)?;
    // Proving is memory-hungry: one test binary at a time (cargo does that), two tests at once.
    let mut rust = cargo(&repo);
    // Examples are programs for benchmarks, which clippy compiles far enough.
    rust.args(["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"]).env("RUST_TEST_THREADS", "2");
    runner("rust", rust.env("DATABASE_URL", &database.address), total)?;
    runner("rust, documentation", cargo(&repo).args(["test", "--workspace", "--doc"]), total)?;
    drop(database);
    runner("python", &mut python::tests(&tools)?, total)?;
    if !test.no_demo {
        println!("== end to end: the demo");
        demo::run(&demo::Demo::checked())?;
        total.passed += 1;
    }
    Ok(())
}

/// Runs all tests.
///
/// # Errors
/// If one fails; the counting line is printed all the same.
pub fn run(test: &Test) -> anyhow::Result<()> {
    let mut total = Count::default();
    let result = all(test, &mut total);
    if result.is_err() {
        total.failed = total.failed.max(1);
        if let Err(error) = &result {
            println!("xtask: {error:#}");
        }
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    result
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn closing_lines_are_counted() {
        let cargo =
            count("test result: FAILED. 51 passed; 2 failed; 0 ignored; 0 measured").map(|c| (c.passed, c.failed));
        assert_eq!(cargo, Some((51, 2)));
        let forge =
            count("Ran 5 test suites in 1.2s (3.4s CPU time): 65 tests passed, 0 failed, 0 skipped (65 total tests)");
        assert_eq!(forge.map(|c| (c.passed, c.failed)), Some((65, 0)));
        let pytest = |line| count(line).map(|c| (c.passed, c.failed));
        assert_eq!(pytest("2 failed, 42 passed, 1 warning, 1 error in 79.92s (0:01:19)"), Some((42, 3)));
        assert_eq!(pytest("3 passed in 0.01s"), Some((3, 0)));
        for other in ["running 3 tests", "== 3 passed", "3 files written in 2 s", "1 passed in review"] {
            assert!(pytest(other).is_none_or(|found| found == (0, 0)), "{other}");
        }
    }
}
