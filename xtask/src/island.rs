//! `cargo xtask island`: what a visitor's browser runs, built into one folder.
//!
//! `<cache>/island/` gets `island_bg.wasm` with its module `island.js`, the worker and the module for pages, and
//! `island.json` with their sizes. The portal serves this folder as it is.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use wasm_bindgen_cli_support::Bindgen;

use crate::{cargo::optimising, tools::Tools};

/// The target.
const TARGET: &str = "wasm32-unknown-unknown";
/// The module, compressed, has at most so many bytes.
const MAX_COMPRESSED_BYTES: usize = 3_000_000;
/// Files that are in the repository as they are served.
const WEB: [&str; 2] = ["worker.js", "verify.js"];

/// Builds the folder and prints sizes.
///
/// # Errors
/// If something does not build, or the module is larger than its budget.
pub fn run() -> anyhow::Result<PathBuf> {
    let tools = Tools::locate()?;
    let dir = tools.cache().join("island");
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let wasm = build(tools.repo())?;
    bind(&wasm, &dir)?;
    for name in WEB {
        let from = tools.repo().join("island/web").join(name);
        fs::copy(&from, dir.join(name)).with_context(|| format!("copy {}", from.display()))?;
    }
    report(&dir)?;
    Ok(dir)
}

/// Compiles the crate; says where its module is.
fn build(repo: &Path) -> anyhow::Result<PathBuf> {
    let added = Command::new("rustup").args(["target", "add", TARGET]).current_dir(repo).status().context("rustup")?;
    ensure!(added.success(), "rustup target add {TARGET} failed");
    let args = ["build", "--lib", "-p", "island", "--target", TARGET, "--message-format", "json-render-diagnostics"];
    let output = optimising(repo).args(args).stderr(std::process::Stdio::inherit()).output().context("cargo build")?;
    ensure!(output.status.success(), "the island does not build for {TARGET}");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "island")
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .find(|file| file.extension().is_some_and(|kind| kind == "wasm"))
        .context("cargo did not say where the island is")
}

/// Makes the JavaScript of the bindings, and the module without names and debug sections.
fn bind(wasm: &Path, dir: &Path) -> anyhow::Result<()> {
    let mut bindgen = Bindgen::new();
    bindgen.input_path(wasm).typescript(false).remove_name_section(true).remove_producers_section(true);
    bindgen.web(true)?.generate(dir).with_context(|| format!("bindings of {}", wasm.display()))
}

fn report(dir: &Path) -> anyhow::Result<()> {
    let mut files = serde_json::Map::new();
    for name in ["island_bg.wasm", "island.js", "worker.js", "verify.js"] {
        let bytes = fs::read(dir.join(name)).with_context(|| format!("read {name}"))?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&bytes)?;
        let gzip = encoder.finish()?.len();
        println!("island: {name}: {} bytes, {gzip} with gzip", bytes.len());
        files.insert(name.to_owned(), json!({ "bytes": bytes.len(), "gzip_bytes": gzip }));
        ensure!(gzip < MAX_COMPRESSED_BYTES, "{name}: {gzip} bytes with gzip, budget {MAX_COMPRESSED_BYTES}");
    }
    let path = dir.join("island.json");
    fs::write(&path, serde_json::to_vec_pretty(&files)?).with_context(|| format!("write {}", path.display()))
}
