//! `cargo xtask fixtures`: the finished demo run as vectors for the contracts' tests.
//!
//! `testdata/anchor/demo.json` holds what was submitted for each epoch, and the creation code of the verifier that the
//! run's key gives; `testdata/verifier/epoch_k21.json` holds that key and the first epoch's proof, `testdata/anchor/run` the
//! run's log, proofs and epochs, `testdata/anchor/epoch_key.vk` the key as `cairn` caches it. `second.json` and `second` there
//! are the same of another run of one epoch, made here for the same contract and owner, so that runs can be anchored together.
//! The tests of the contracts, of the chain client and of `cairn` run this code on these proofs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::{cargo, demo, generate, tools::Tools};

/// Write the vectors of a finished demo run.
#[derive(Args)]
pub struct Fixtures {
    /// Directory of the run; the newest of `artifacts/` if not given.
    #[arg(long = "run", value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Where the vectors go.
const FILE: &str = "testdata/anchor/demo.json";
/// Where the key goes.
const VECTOR: &str = "testdata/verifier/epoch_k21.json";

/// Writes the vectors.
///
/// # Errors
/// If there is no finished run, or a command fails.
pub fn run(fixtures: &Fixtures) -> anyhow::Result<()> {
    let tools = Tools::locate()?;
    tools.install()?;
    let dir = match &fixtures.dir {
        Some(dir) => dir.clone(),
        None => newest(&tools.repo().join("artifacts"), |run| run.join("checkpoint").is_file())?,
    };
    let cairn = demo::build(&tools)?;
    let home = tools.repo().join(".cache/demo/trainer");
    let call = |args: &[&str]| -> anyhow::Result<Value> {
        let output = Command::new(&cairn).args(args).arg("--json").arg("--home").arg(&home).output()?;
        ensure!(
            output.status.success(),
            "cairn {} failed: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).with_context(|| format!("answer of cairn {}", args[0]))
    };
    let text =
        |path: &Path| path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()));

    let run = text(&dir)?;
    let mut vectors = call(&["anchor", "--run", &run, "--dry-run"])?;
    ensure!(vectors["submissions"].as_array().is_some_and(|s| s.len() == 2), "{run} has not two aggregated epochs");
    let source = tools.repo().join(".cache/demo/fixture.sol");
    let solc = text(&tools.bin_dir().join("solc"))?;
    let verifier = call(&["verifier", "--run", &run, "--out", &text(&source)?, "--solc", &solc])?;
    let code = fs::read_to_string(source.with_extension("hex")).context("the verifier's code")?;
    let Some(vectors) = vectors.as_object_mut() else { bail!("answer of cairn anchor is no object") };
    vectors.insert("generated_by".to_owned(), json!("cargo xtask fixtures"));
    vectors.insert("verifier_key".to_owned(), verifier["key_digest"].clone());
    vectors.insert("verifier_code".to_owned(), json!(format!("0x{}", code.trim())));

    let file = tools.repo().join(FILE);
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    let content = serde_json::to_string_pretty(&Value::Object(vectors.clone()))? + "\n";
    fs::write(&file, &content).with_context(|| format!("write {}", file.display()))?;
    keep_run(&dir, &file.with_file_name("run"))?;
    println!("fixtures: wrote {} ({} bytes) from {run}", file.display(), content.len());

    second(&tools, &call, &content)?;

    let program = cargo::build(&tools, &["--example", "vector"], "vector")?;
    let key = text(&newest(&home.join("keys"), |path| path.extension().is_some_and(|kind| kind == "vk"))?)?;
    let vector = cargo::measure(&program, &["--key", &key, "--run", &run])?;
    let kept = tools.repo().join(FILE).with_file_name("epoch_key.vk");
    fs::copy(&key, kept).with_context(|| format!("copy {key}"))?;
    let file = tools.repo().join(VECTOR);
    fs::write(&file, format!("{vector:#}\n")).with_context(|| format!("write {}", file.display()))?;
    println!("fixtures: wrote {}", file.display());
    generate::run(&generate::Generate::default())
}

/// Makes the other run, unless it is there from an earlier call, and keeps it beside the first.
fn second(tools: &Tools, call: &dyn Fn(&[&str]) -> anyhow::Result<Value>, first: &str) -> anyhow::Result<()> {
    let first: Value = serde_json::from_str(first).context("the first run's vectors")?;
    let of_first = |key: &str| first[key].as_str().with_context(|| format!("the first run's vectors have no {key}"));
    let (contract, owner, salt) = (of_first("contract")?, of_first("owner")?, format!("0x{}", "22".repeat(32)));
    let data = tools.repo().join("testdata/digits.csv.gz");
    let artifacts = tools.repo().join(".cache/demo/second");
    let (data, artifacts) = (data.to_string_lossy(), artifacts.to_string_lossy());
    let what = ["train", "--data", &data, "--steps", "4", "--epoch-size", "4", "--artifacts", &artifacts];
    let whose = ["--contract", contract, "--owner", owner, "--salt", &salt];
    let trained = call(&[&what[..], &whose].concat())?;
    let run = trained["run_dir"].as_str().context("cairn train names no run directory")?;
    call(&["aggregate", "--run", run])?;
    let mut vectors = call(&["anchor", "--run", run, "--dry-run"])?;
    vectors["generated_by"] = json!("cargo xtask fixtures");
    let file = tools.repo().join(FILE).with_file_name("second.json");
    fs::write(&file, serde_json::to_string_pretty(&vectors)? + "\n")
        .with_context(|| format!("write {}", file.display()))?;
    keep_run(Path::new(run), &file.with_file_name("second"))?;
    println!("fixtures: wrote {} from {run}", file.display());
    Ok(())
}

/// Copies a run's log, proofs and epochs, not anchors and manifest, which tests make on a chain of their own.
fn keep_run(dir: &Path, to: &Path) -> anyhow::Result<()> {
    let mut files: Vec<PathBuf> =
        ["run.json", "steps.jsonl", "checkpoint", "merkle_root.txt"].map(PathBuf::from).into();
    for folder in ["epochs", "proofs"] {
        fs::create_dir_all(to.join(folder)).with_context(|| format!("create {}", to.display()))?;
        for entry in fs::read_dir(dir.join(folder)).with_context(|| format!("{folder} of {}", dir.display()))? {
            files.push(Path::new(folder).join(entry?.file_name()));
        }
    }
    for name in files {
        fs::copy(dir.join(&name), to.join(&name)).with_context(|| format!("copy {}", name.display()))?;
    }
    Ok(())
}

/// What was changed last of what is `wanted` in a folder.
fn newest(folder: &Path, wanted: impl Fn(&Path) -> bool) -> anyhow::Result<PathBuf> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("{}: run `cargo xtask demo` first", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if wanted(&path) {
            let changed = fs::metadata(path.join("checkpoint")).or_else(|_| fs::metadata(&path))?.modified()?;
            found.push((changed, path));
        }
    }
    let newest = found.into_iter().max_by_key(|(changed, _)| *changed);
    newest
        .map(|(_, path)| path)
        .with_context(|| format!("{} holds nothing of a run: run `cargo xtask demo` first", folder.display()))
}
