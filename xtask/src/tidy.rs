//! `cargo xtask tidy`: the rules of the house that no compiler checks.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::{natspec, tools::Tools};

/// Which of our crates each of our crates may depend on (DESIGN §10, docs/ARCHITECTURE.md). Development dependencies may
/// also use the lower layers `srs` and `circuits`.
const EDGES: [(&str, &[&str]); 17] = [
    ("ledger", &[]),
    ("vkey", &[]),
    ("store", &["ledger"]),
    ("srs", &[]),
    ("engine", &["vkey"]),
    ("circuits", &["ledger", "vkey", "engine"]),
    ("epochcheck", &["ledger", "vkey", "circuits"]),
    ("prover", &["ledger", "circuits", "srs", "store"]),
    ("aggregator", &["ledger", "circuits", "epochcheck", "engine", "srs", "store"]),
    ("verifier-gen", &["ledger", "circuits", "srs", "store"]),
    ("chain", &["ledger"]),
    ("torrent", &["ledger"]),
    ("audit", &["ledger", "store", "srs", "circuits", "epochcheck", "verifier-gen", "chain"]),
    ("island", &["ledger", "chain", "audit"]),
    ("portal", &["ledger", "store", "chain", "torrent", "audit"]),
    (
        "cairn",
        &[
            "ledger",
            "store",
            "srs",
            "circuits",
            "prover",
            "aggregator",
            "verifier-gen",
            "chain",
            "torrent",
            "audit",
            "portal",
        ],
    ),
    ("xtask", &[]),
];

/// Lower layers that tests may use.
const FOR_TESTS: [&str; 2] = ["srs", "circuits"];

/// Crates that a browser runs, and what they must never pull in.
const WASM_SAFE: [&str; 5] = ["ledger", "vkey", "circuits", "epochcheck", "island"];
/// What they are compiled to.
const TARGET: &str = "wasm32-unknown-unknown";
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
    if path.ends_with("/mod.rs") {
        out.push(Finding(format!("{path}: module files are foo.rs, not foo/mod.rs")));
    }
    if path.starts_with("contracts/artifacts/") && !text.is_some_and(|t| t.contains("\"generated_by\"")) {
        out.push(Finding(format!("{path}: a generated file must say what made it")));
    }
    if path.starts_with("contracts/src/") && path.ends_with(".sol") {
        let missing = natspec::missing(text.unwrap_or_default());
        out.extend(missing.into_iter().map(|what| Finding(format!("{path}: {what}"))));
    }
    if path == "CHANGELOG.md" && !text.is_some_and(|t| t.contains("## Unreleased")) {
        out.push(Finding(format!("{path}: no Unreleased section")));
    }
    out
}

/// Pages of `docs/` that a file names, from the root of the repository (`docs/spec/log.md`).
fn pages(text: &str) -> impl Iterator<Item = &str> {
    let part = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    text.match_indices("docs/").filter_map(move |(at, _)| {
        let is_start = !text[..at].ends_with(part);
        let name = &text[at..];
        let name = &name[..name.find(|c| !part(c)).unwrap_or(name.len())];
        let end = name.rfind(".md")? + ".md".len();
        is_start.then(|| &name[..end])
    })
}

/// Pages that `path` names and that are not there.
fn links(path: &str, text: &str, files: &BTreeSet<&str>) -> Vec<Finding> {
    let missing = |page: &&str| !files.contains(page);
    pages(text).filter(missing).map(|page| Finding(format!("{path}: names {page}, which does not exist"))).collect()
}

/// The page with a table of threats, whose last column names tests.
const THREATS: &str = "docs/spec/anchor.md";

/// Tests that the table of threats names and that are not there. `tests`: text of all test files.
fn threats(page: &str, tests: &str) -> Vec<Finding> {
    let (_, section) = page.split_once("\n## Threats\n").unwrap_or_default();
    let rows = section.lines().take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with('|'));
    let named = rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
    let named: Vec<&str> = named.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    if named.is_empty() {
        return vec![Finding(format!("{THREATS}: no table of threats"))];
    }
    let is_missing = |name: &&str| ["fn", "function"].iter().all(|word| !tests.contains(&format!("{word} {name}(")));
    let finding = |name| Finding(format!("{THREATS}: names {name}, which no test has"));
    named.into_iter().filter(is_missing).map(finding).collect()
}

/// Standard output of a command that must succeed: one that fails would check nothing.
fn output(program: &str, args: &[&str], repo: &Path) -> anyhow::Result<String> {
    let what = format!("{program} {}", args.join(" "));
    let output = Command::new(program).args(args).current_dir(repo).output().with_context(|| what.clone())?;
    ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    String::from_utf8(output.stdout).with_context(|| what)
}

/// Runs all rules.
///
/// # Errors
/// With the list of what is broken.
pub fn run() -> anyhow::Result<()> {
    let tools = Tools::locate()?;
    let repo = tools.repo();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let metadata = output(&cargo, &["metadata", "--no-deps", "--format-version", "1"], repo)?;
    let metadata = serde_json::from_str(&metadata).context("cargo metadata")?;
    let mut findings = edges(&metadata);
    for package in WASM_SAFE {
        let tree =
            ["tree", "-p", package, "--edges", "normal", "--prefix", "none", "--format", "{p}", "--target", TARGET];
        for line in output(&cargo, &tree, repo)?.lines() {
            let name = line.split(' ').next().unwrap_or_default();
            if NOT_FOR_WASM.contains(&name) {
                findings.push(Finding(format!("{package}: pulls in {name}, which browsers can't run")));
            }
        }
    }
    let listed = output("git", &["ls-files", "--cached", "--others", "--exclude-standard"], repo)?;
    let files: BTreeSet<&str> = listed.lines().filter(|path| repo.join(path).is_file()).collect();
    ensure!(files.contains("CHANGELOG.md"), "git lists no CHANGELOG.md in {}", repo.display());
    let is_test = |path: &&&str| path.starts_with("contracts/test/") || path.contains("/tests/");
    let tests: String =
        files.iter().filter(is_test).filter_map(|path| std::fs::read_to_string(repo.join(path)).ok()).collect();
    findings.extend(threats(&std::fs::read_to_string(repo.join(THREATS)).context(THREATS)?, &tests));
    for path in &files {
        let text = std::fs::read_to_string(repo.join(path)).ok();
        findings.extend(file(path, text.as_deref()));
        // The rule's own tests name pages that do not exist.
        if let Some(text) = text.filter(|_| *path != "xtask/src/tidy.rs") {
            findings.extend(links(path, &text, &files));
        }
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
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::{Finding, edges, file, links, pages, threats};

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
        assert_eq!(file("ledger/tests/it/mod.rs", Some("")).len(), 1);
        assert_eq!(file("contracts/artifacts/X.json", Some("{}")).len(), 1);
        assert_eq!(file("CHANGELOG.md", Some("# Changelog\n")).len(), 1);
        assert_eq!(file("ledger/src/lib.rs", Some("")), []);
    }

    #[test]
    fn a_page_that_is_named_and_missing_is_found() {
        let text = "see `docs/spec/log.md`, docs/adr/0009-x.md. Not https://x.org/docs/a.md, not docs/spec/*.";
        assert_eq!(pages(text).collect::<Vec<_>>(), ["docs/spec/log.md", "docs/adr/0009-x.md"]);
        let files = BTreeSet::from(["docs/spec/log.md"]);
        let expected = "a.rs: names docs/adr/0009-x.md, which does not exist".to_owned();
        assert_eq!(links("a.rs", text, &files), [Finding(expected)]);
    }

    #[test]
    fn a_threat_whose_test_is_missing_is_found() {
        let page = "x\n## Threats\n\n| who | shown by |\n|---|---|\n| `a` | `test_a`, here `b_c` |\n\n## Next\n| `d` |";
        assert_eq!(threats(page, "function test_a() x async fn b_c()"), []);
        let missing = Finding("docs/spec/anchor.md: names b_c, which no test has".to_owned());
        assert_eq!(threats(page, "function test_a() fn b_cd()"), [missing]);
        assert_eq!(threats("no table", "").len(), 1);
    }

    #[test]
    fn a_command_that_fails_is_an_error() {
        let error = super::output("git", &["no-such-command"], std::path::Path::new(".")).unwrap_err();
        assert!(error.to_string().starts_with("git no-such-command: "), "{error}");
    }
}
