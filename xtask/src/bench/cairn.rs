//! Our own parts, each measured in a process of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::table::{bytes, least, line, number, seconds};
use crate::{
    cargo::{build_optimised, measure},
    demo,
    tools::Tools,
};

/// Parameters of the step proofs: 64-32-10, 784-64-10, 2^17.
pub const STEP_SIZES: [u64; 3] = [2_410, 50_890, 131_072];
/// Steps of the measured epoch.
const EPOCH: u64 = 4;
/// Shapes of each size that are tried.
const SHAPES: usize = 6;
/// Epochs that are tried, as their steps, their k, and the shape of their steps if that is not the demo's: the demo's first.
const EPOCHS: [(&str, &str, Option<&str>); 5] = [
    ("4", "21", None),
    ("4", "20", None),
    ("2", "20", None),
    ("8", "22", None),
    ("4", "21", Some("adamw n=2410 k=16 limb_bits=14 rows=24")),
];
/// Threads that provers are compared with.
const THREADS: [&str; 2] = ["1", "2"];

/// Where reference strings, keys and runs of benchmarks are kept.
fn scratch(tools: &Tools) -> PathBuf {
    tools.repo().join(".cache/bench")
}

fn text(path: &Path) -> anyhow::Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}

/// Step proofs and their verification.
pub fn steps(tools: &Tools, sizes: &[u64], repeat: usize) -> anyhow::Result<Value> {
    let program = build_optimised(tools, &["--example", "step_bench"], "step_bench")?;
    let home = text(&scratch(tools).join("home"))?;
    let mut rows = Vec::new();
    for &size in sizes {
        println!("== step proof, {size} parameters");
        let row = measure(&program, &[&size.to_string(), &repeat.to_string(), &home])?;
        let (prove, memory) = (least(&row, "prove_ms")?, number(&row, "peak_rss_bytes")?);
        let time_budget = match size {
            2_410 => Some(("≤ 3 s", prove <= 3e3)),
            50_890 => Some(("≤ 30 s", prove <= 30e3)),
            _ => None,
        };
        let memory_budget = (size == 50_890).then_some(("≤ 4 GiB", memory <= (4u64 << 30) as f64));
        line("circuit", row["shape"].as_str().unwrap_or(""), None);
        let (columns, points) = (number(&row, "columns")?, number(&row, "commitments")?);
        let proof_bytes = number(&row, "proof_bytes")?;
        line("advice columns, commitments, proof", &format!("{columns}, {points}, {proof_bytes} bytes"), None);
        line("key", &seconds(number(&row, "key_ms")?), None);
        line("proof, least of its repetitions", &format!("{:.2} s", prove / 1e3), time_budget);
        line("CPU time, least", &format!("{:.2} s", least(&row, "cpu_s")?), None);
        line("parameters a second", &format!("{:.0}", number(&row, "params_per_s")?), None);
        line("peak memory, key generation included", &bytes(memory), memory_budget);
        line("verification", &format!("{:.2} ms", number(&row, "verify_ms")?), None);
        rows.push(row);
    }
    Ok(Value::Array(rows))
}

/// Step proofs and an epoch proof by the engine and by the library, side by side.
pub fn engine(tools: &Tools, sizes: &[u64], repeat: usize) -> anyhow::Result<Value> {
    let step = build_optimised(tools, &["--example", "engine_bench"], "engine_bench")?;
    let epoch = build_optimised(tools, &["--example", "epoch_bench"], "epoch_bench")?;
    let home = text(&scratch(tools).join("home"))?;
    let mut rows = Vec::new();
    for &size in sizes {
        for threads in THREADS {
            println!("== step proof by library and engine, {size} parameters, threads: {threads}");
            rows.extend(side_by_side(|prover| {
                measure(&step, &[&size.to_string(), &repeat.to_string(), &home, prover, threads])
            })?);
        }
    }
    for threads in THREADS {
        println!("== proof of an epoch of {EPOCH} steps by library and engine, threads: {threads}");
        rows.extend(side_by_side(|prover| measure(&epoch, &[&home, prover, threads]))?);
    }
    Ok(Value::Array(rows))
}

/// Shapes of the step circuit that the cost model finds cheap, proved by the engine: whether it still chooses well. And epochs of
/// other shapes than the demo's.
pub fn shapes(tools: &Tools, sizes: &[u64], repeat: usize) -> anyhow::Result<Value> {
    let list = build_optimised(tools, &["--example", "shapes"], "shapes")?;
    let step = build_optimised(tools, &["--example", "engine_bench"], "engine_bench")?;
    let home = text(&scratch(tools).join("home"))?;
    let mut rows = Vec::new();
    for &size in sizes {
        println!("== step proof, {size} parameters, the {SHAPES} shapes that should be cheapest, the chosen one first");
        let listed = measure(&list, &[&size.to_string(), &SHAPES.to_string()])?;
        for shape in listed["shapes"].as_array().context("the list has no shapes")? {
            let shape = shape.as_str().context("a shape is no text")?;
            let row = measure(&step, &[shape, &repeat.to_string(), &home, "engine", "2"])?;
            let (time, cpu) = (least(&row, "prove_ms")?, least(&row, "cpu_s")?);
            let (points, memory) = (number(&row, "commitments")?, bytes(number(&row, "peak_rss_bytes")?));
            line(shape, &format!("{points} commitments, {:.2} s, {cpu:.2} CPU-s, {memory}", time / 1e3), None);
            rows.push(row);
        }
    }
    let epoch = build_optimised(tools, &["--example", "epoch_bench"], "epoch_bench")?;
    println!("== epoch proof, 2,410 parameters, the demo's shape first");
    for (steps, k, of_steps) in EPOCHS {
        let row = measure(&epoch, &[&[&home, "engine", "2", steps, k], of_steps.as_slice()].concat())?;
        let (time, cpu) = (least(&row, "prove_ms")?, least(&row, "cpu_s")?);
        let (columns, cells, size) = (number(&row, "columns")?, number(&row, "cells")?, number(&row, "proof_bytes")?);
        let (key, memory) = (seconds(number(&row, "key_ms")?), bytes(number(&row, "peak_rss_bytes")?));
        let n_steps = number(&row, "steps")?;
        let (a_step, cells) = (time / 1e3 / n_steps, cells / n_steps);
        let figures = format!("{columns} columns, {cells:.0} cells a step, {size} bytes, {:.1} s", time / 1e3);
        let name = format!("{steps} steps, k {k}{}", of_steps.map_or_else(String::new, |shape| format!(", {shape}")));
        line(&name, &format!("{figures} ({a_step:.1} s a step), {cpu:.1} CPU-s, {memory}; key {key}"), None);
        rows.push(row);
    }
    Ok(Value::Array(rows))
}

/// Both provers' figures and their ratios. Their keys must be equal, and so must the advice commitments of equal witnesses.
fn side_by_side(run: impl Fn(&str) -> anyhow::Result<Value>) -> anyhow::Result<[Value; 2]> {
    let figures = |prover| -> anyhow::Result<(f64, f64, f64, Value)> {
        let row = run(prover)?;
        let (key, time, cpu) = (number(&row, "key_ms")?, least(&row, "prove_ms")?, least(&row, "cpu_s")?);
        let memory = number(&row, "peak_rss_bytes")?;
        let key_memory = number(&row, "key_peak_rss_bytes")?;
        let (proof, key_text) = (bytes(memory), format!("{:.2} s, peak {}", key / 1e3, bytes(key_memory)));
        line(prover, &format!("{:.2} s, {cpu:.2} CPU-s, peak {proof}; key {key_text}", time / 1e3), None);
        Ok((key, time, memory, row))
    };
    let (library_key_ms, library_ms, library_memory, library) = figures("library")?;
    let (engine_key_ms, engine_ms, engine_memory, engine) = figures("engine")?;
    for phase in engine["phases"].as_array().into_iter().flatten() {
        let (ms, memory) = (number(phase, "ms")?, number(phase, "peak_rss_bytes")?);
        line(
            &format!("  {}", demo::text(phase, "phase")?),
            &format!("{:.2} s, peak {}", ms / 1e3, bytes(memory)),
            None,
        );
    }
    if library["key_digest"].as_str().is_none() {
        bail!("key_digest: none given");
    }
    // Commitments are given where the witness is the same in both processes.
    for field in ["key_digest", "advice"] {
        if library[field] != engine[field] {
            bail!("{field}: the library's is {}, the engine's {}", library[field], engine[field]);
        }
    }
    let ratio = engine_memory / library_memory;
    line("memory", &format!("{ratio:.2}"), Some(("≤ 1", ratio <= 1.0)));
    for (what, ratio) in [("times as fast", library_ms / engine_ms), ("keys", library_key_ms / engine_key_ms)] {
        line(what, &format!("{ratio:.2}"), Some(("≥ 3", ratio >= 3.0)));
    }
    Ok([library, engine])
}

/// Verification of a log of 100,000 steps.
pub fn log(tools: &Tools) -> anyhow::Result<Value> {
    println!("== log of 100,000 steps");
    let program = build_optimised(tools, &["--bench", "verify_log", "--profile", "dev"], "verify_log")?;
    let row = measure(&program, &[])?;
    let records = number(&row, "records_s")?;
    line("records, chain, tree", &format!("{records:.2} s"), Some(("≤ 5 s", records <= 5.0)));
    line("and every proof file", &format!("{:.2} s", number(&row, "proofs_s")?), None);
    line("peak memory", &bytes(number(&row, "peak_rss_bytes")?), None);
    Ok(row)
}

/// Hashing of a bundle of one file of 512 MiB, by all kernels that this machine can run. Gigabytes are those of a
/// second of processor time, as the machine may have other work.
pub fn hash(tools: &Tools) -> anyhow::Result<Value> {
    println!("== hashing of a bundle, v1 and v2 at once");
    let program = build_optimised(tools, &["--bench", "hash", "--profile", "dev"], "hash")?;
    let row = measure(&program, &[])?;
    let rate = |row: &Value, field| anyhow::Ok(format!("{:.2} GB/s", number(row, field)?));
    line("SHA-1 alone, a message at a time", &rate(&row, "sha1_gb_cpu_s")?, None);
    line("SHA-256 alone, a message at a time", &rate(&row, "sha256_gb_cpu_s")?, None);
    // The budget is for processors with instructions for it, and for the kernel that is chosen there.
    let has_instructions = row["has_sha_extensions"] == true;
    let chosen = row["chosen"].as_str().context("the bench named no kernel as the chosen one")?;
    line("chosen on this machine", chosen, None);
    let n_cores = number(&row, "n_cores")?;
    for kernel in row["kernels"].as_array().context("the bench measured no kernel")? {
        let name = kernel["kernel"].as_str().context("the bench named no kernel")?;
        let file = number(kernel, "file_gb_cpu_s")?;
        let budget = (has_instructions && name == chosen).then_some(("≥ 1 GB/s", file >= 1.0));
        line(&format!("{name}: both"), &rate(kernel, "both_gb_cpu_s")?, None);
        line(&format!("{name}: both, read from a file"), &format!("{file:.2} GB/s"), budget);
        line(&format!("{name}: both, {n_cores} threads"), &rate(kernel, "all_cores_gb_cpu_s")?, None);
        line(&format!("{name}: both, {n_cores} threads, by the clock"), &rate(kernel, "all_cores_gb_s")?, None);
    }
    line("peak memory", &bytes(number(&row, "peak_rss_bytes")?), None);
    Ok(row)
}

/// An epoch proof of four steps of the demo's model: one without, one with the key in the cache.
pub fn epoch(tools: &Tools) -> anyhow::Result<Value> {
    println!("== epoch of {EPOCH} steps, 2,410 parameters");
    let program = build_optimised(tools, &["--bin", "cairn"], "cairn")?;
    let scratch = scratch(tools);
    let artifacts = scratch.join("artifacts");
    // Only the run is new each time: reference strings and keys stay in the home.
    if artifacts.exists() {
        fs::remove_dir_all(&artifacts).with_context(|| format!("remove {}", artifacts.display()))?;
    }
    fs::create_dir_all(&artifacts).with_context(|| format!("create {}", artifacts.display()))?;
    let (home, artifacts) = (text(&scratch.join("home"))?, text(&artifacts)?);
    let data = text(&tools.repo().join("testdata/digits.csv.gz"))?;
    let steps = EPOCH.to_string();
    let cairn = |args: &[&str]| measure(&program, &[args, &["--json", "--home", &home]].concat());
    let trained =
        cairn(&["train", "--data", &data, "--steps", &steps, "--epoch-size", &steps, "--artifacts", &artifacts])?;
    let Some(run) = trained["run_dir"].as_str() else { bail!("cairn train named no run directory") };
    let start = Instant::now();
    cairn(&["keys", "--circuit", "adam", "--params", "2410", "--epoch-size", &steps])?;
    let keys_s = start.elapsed().as_secs_f64();
    let row = cairn(&["aggregate", "--run", run])?;
    let (prove, memory) = (least(&row, "aggregate_ms")?, number(&row, "aggregate_peak_rss_bytes")?);
    let (k, columns) = (number(&row, "aggregate_k")?, number(&row, "aggregate_columns")?);
    let cells = number(&row, "aggregate_cells_per_step")?;
    line("circuit", &format!("k = {k}, {columns} columns"), None);
    line("cells a step", &format!("{cells:.0}"), Some(("≤ 2,500,000", cells <= 2.5e6)));
    line("cairn keys (short where they are cached)", &format!("{keys_s:.0} s"), None);
    line("proof, key in the cache", &format!("{:.0} s", prove / 1e3), Some(("≤ 200 s", prove <= 200e3)));
    line("peak memory", &bytes(memory), Some(("≤ 12 GiB", memory <= (12u64 << 30) as f64)));
    Ok(json!({ "keys_s": keys_s, "epoch": row }))
}
