//! `cargo xtask tidy`: the rules of the house that no compiler checks.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::tools::Tools;

/// Which of our crates each of our crates may depend on (DESIGN §10, docs/ARCHITECTURE.md). Development dependencies may
/// also use the lower layers `srs` and `circuits`.
const EDGES: [(&str, &[&str]); 10] = [
    ("ledger", &[]),
    ("store", &["ledger"]),
    ("srs", &[]),
    ("circuits", &["ledger"]),
    ("prover", &["ledger", "circuits", "srs", "store"]),
    ("aggregator", &["ledger", "circuits", "srs", "store"]),
    ("verifier-gen", &["ledger", "circuits", "srs", "store"]),
    ("chain", &["ledger"]),
    ("cairn", &["ledger", "store", "srs", "circuits", "prover", "aggregator", "verifier-gen", "chain"]),
    ("xtask", &[]),
];

/// Lower layers that tests may use.
const FOR_TESTS: [&str; 2] = ["srs", "circuits"];

/// Crates that a browser runs, and what they must never pull in.
const WASM_SAFE: [&str; 2] = ["ledger", "circuits"];
const NOT_FOR_WASM: [&str; 3] = ["halo2-base", "snark-verifier", "tokio"];

/// One broken rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding(String);

/// Edges of `cargo metadata` that the table does not allow.
fn edges(metadata: &Value) -> Vec<Finding> {
    let table: BTreeMap<&str, &[&str]> = EDGES.into_iter().collect();
    let mut out = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(allowed) = table.get(name) else {
            out.push(Finding(format!("{name}: not in the table of xtask/src/tidy.rs")));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"] == "dev" && (FOR_TESTS.contains(&to) || to == name);
            if table.contains_key(to) && !allowed.contains(&to) && !for_tests {
                out.push(Finding(format!("{name}/Cargo.toml: must not depend on {to}")));
            }
            if dependency["source"].as_str().is_some_and(|s| s.starts_with("git")) {
                out.push(Finding(format!("{name}/Cargo.toml: {to} comes from git")));
            }
        }
    }
    out
}

/// Rules about single files of the repository.
fn file(path: &str, text: Option<&str>) -> Vec<Finding> {
    let mut out = Vec::new();
    if path.ends_with("/mod.rs") && !path.contains("/tests/") {
        out.push(Finding(format!("{path}: module files are foo.rs, not foo/mod.rs")));
    }
    if path.starts_with("contracts/artifacts/") && !text.is_some_and(|t| t.contains("\"generated_by\"")) {
        out.push(Finding(format!("{path}: a generated file must say what made it")));
    }
    if path == "CHANGELOG.md" && !text.is_some_and(|t| t.contains("## Unreleased")) {
        out.push(Finding(format!("{path}: no Unreleased section")));
    }
    out
}

/// Runs all rules.
///
/// # Errors
/// With the list of what is broken.
pub fn run() -> anyhow::Result<()> {
    let tools = Tools::locate()?;
    let repo = tools.repo();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output =
        Command::new(&cargo).args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(repo).output()?;
    let metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let mut findings = edges(&metadata);
    for package in WASM_SAFE {
        let output = Command::new(&cargo)
            .args(["tree", "-p", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"])
            .current_dir(repo)
            .output()?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let name = line.split(' ').next().unwrap_or_default();
            if NOT_FOR_WASM.contains(&name) {
                findings.push(Finding(format!("{package}: pulls in {name}, which browsers can't run")));
            }
        }
    }
    let files = Command::new("git").args(["ls-files"]).current_dir(repo).output()?;
    for path in String::from_utf8_lossy(&files.stdout).lines() {
        findings.extend(file(path, std::fs::read_to_string(Path::new(repo).join(path)).ok().as_deref()));
    }
    if !findings.is_empty() {
        for Finding(finding) in &findings {
            eprintln!("tidy: {finding}");
        }
        bail!("{} broken rules", findings.len());
    }
    println!("tidy: nothing to say");
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Finding, edges, file};

    #[test]
    fn an_edge_outside_the_table_is_found() {
        let package = |name: &str, to: &str, kind: Option<&str>| json!({ "packages": [{ "name": name, "dependencies": [{ "name": to, "kind": kind, "source": null }] }] });
        assert_eq!(edges(&package("circuits", "ledger", None)), []);
        let found = edges(&package("prover", "aggregator", None));
        assert_eq!(found, [Finding("prover/Cargo.toml: must not depend on aggregator".to_owned())]);
        assert_eq!(edges(&package("aggregator", "srs", Some("dev"))), []);
        assert_eq!(edges(&package("unknown", "serde", None)).len(), 1);
    }

    #[test]
    fn files_that_break_a_rule_are_found() {
        assert_eq!(file("ledger/src/foo/mod.rs", Some("")).len(), 1);
        assert_eq!(file("contracts/artifacts/X.json", Some("{}")).len(), 1);
        assert_eq!(file("CHANGELOG.md", Some("# Changelog\n")).len(), 1);
        assert_eq!(file("ledger/src/lib.rs", Some("")), []);
    }
}
