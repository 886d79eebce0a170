//! `cargo xtask fuzz`: libFuzzer over everything that strangers write.
//!
//! Coverage is compiled in by options of the stable compiler, so that no nightly one is needed. What libFuzzer finds worth keeping stays
//! in `<cache>/fuzz/<target>/corpus`, and the next run goes on from there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::{cargo::optimising, tools::Tools};

/// What libFuzzer needs: counters at each edge, and what is compared. Overflow and failed assertions end a run, too.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                        -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks";
/// Targets that make their own seeds.
const WITHOUT_SEEDS: [&str; 2] = ["step_proof", "verifier_calldata"];
/// Bytes of memory, in MiB, above which an input counts as a finding.
const MEMORY_MIB: u32 = 4096;

/// Fuzz one target after the other: parsers of every format, step proofs, and a generated verifier beside halo2.
///
/// Example: cargo xtask fuzz manifest torrent --seconds 600; cargo xtask fuzz --list
#[derive(Args)]
pub struct Fuzz {
    /// Which; all if not given.
    targets: Vec<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Print the targets and end.
    #[arg(long)]
    list: bool,
    /// Print the figures as JSON behind everything else.
    #[arg(long)]
    json: bool,
}

/// Names of the programs in `fuzz/fuzz_targets`, in order.
fn targets(repo: &Path) -> anyhow::Result<Vec<String>> {
    let dir = repo.join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "rs") {
            names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
    }
    names.sort();
    Ok(names)
}

/// The compiler's own platform, as it names it. Options for a named one do not reach build scripts.
fn platform() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc -vV")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV named no host")
}

/// Fuzzes.
///
/// # Errors
/// If a target is unknown or does not build, or an input ends one: it is kept, and its place named.
pub fn run(fuzz: &Fuzz) -> anyhow::Result<()> {
    let tools = Tools::locate()?;
    let all = targets(tools.repo())?;
    if fuzz.list {
        all.iter().for_each(|name| println!("{name}"));
        return Ok(());
    }
    let chosen = if fuzz.targets.is_empty() { &all } else { &fuzz.targets };
    for name in chosen {
        ensure!(all.contains(name), "target: expected one of {}, got {name:?}", all.join(", "));
    }
    // The calls of verifiers are about contracts, which are compiled when the target starts.
    tools.install()?;
    let programs = build(&tools, chosen)?;
    let mut figures = serde_json::Map::new();
    for name in chosen {
        figures.insert(name.clone(), one(&tools, name, &programs.join(name), fuzz.seconds)?);
    }
    if fuzz.json {
        println!("{:#}", Value::Object(figures));
    }
    Ok(())
}

/// Compiles some targets; says in which folder they are.
fn build(tools: &Tools, names: &[String]) -> anyhow::Result<PathBuf> {
    let (platform, target_dir) = (platform()?, tools.cache().join("fuzz/target"));
    println!("== compiling {} with counters, minutes when it is done first", names.join(", "));
    let mut cargo = optimising(&tools.repo().join("fuzz"));
    cargo.args(["build", "--release", "--target", &platform]).env("CARGO_TARGET_DIR", &target_dir);
    names.iter().for_each(|name| {
        cargo.args(["--bin", name]);
    });
    let status = cargo.env("RUSTFLAGS", COVERAGE).status().context("cargo build")?;
    ensure!(status.success(), "the targets do not build: {status}");
    Ok(target_dir.join(platform).join("release"))
}

/// Runs one target for its time.
fn one(tools: &Tools, name: &str, program: &Path, seconds: u64) -> anyhow::Result<Value> {
    let dir = tools.cache().join("fuzz").join(name);
    let (corpus, log) = (dir.join("corpus"), dir.join("log"));
    fs::create_dir_all(&corpus).with_context(|| format!("create {}", corpus.display()))?;
    println!("== {name}, {seconds} s; log in {}", log.display());
    let said = fs::File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let mut command = Command::new(program);
    command.current_dir(tools.repo()).stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
    command.arg(&corpus);
    let made = tools.repo().join("fuzz/seeds").join(name);
    if made.exists() {
        command.arg(made);
    } else if !WITHOUT_SEEDS.contains(&name) {
        command.arg(tools.repo().join("testdata/anchor/run"));
    }
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-rss_limit_mb={MEMORY_MIB}"));
    command.args(["-print_final_stats=1", "-timeout=20"]).arg(format!("-artifact_prefix={}/", dir.display()));
    let status = command.status().with_context(|| format!("run {}", program.display()))?;
    let text = fs::read_to_string(&log).with_context(|| format!("read {}", log.display()))?;
    if !status.success() {
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(12)..].join("\n");
        bail!("{name}: an input ended it ({status}); it is in {}\n{last}", dir.display());
    }
    let figures = figures(&text).with_context(|| format!("{name}: no figures in {}", log.display()))?;
    println!(
        "  {} inputs, {} edges covered, {} kept, peak {} MiB",
        figures["inputs"], figures["edges"], figures["kept"], figures["peak_mib"]
    );
    Ok(figures)
}

/// What libFuzzer says at its end.
fn figures(log: &str) -> Option<Value> {
    let last = |before: &str| -> Option<u64> {
        let line = log.lines().rev().find(|line| line.contains(before))?;
        line.split(before).nth(1)?.split_whitespace().next()?.split('/').next()?.parse().ok()
    };
    Some(json!({
        "inputs": last("stat::number_of_executed_units:")?,
        "edges": last(" cov: ")?,
        "kept": last(" corp: ")?,
        "peak_mib": last("stat::peak_rss_mb:")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_a_program_of_the_workspace() {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned();
        let manifest = fs::read_to_string(repo.join("fuzz/Cargo.toml")).expect("its manifest");
        let mut declared: Vec<String> = manifest
            .lines()
            .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""))
            .map(str::to_owned)
            .collect();
        declared.sort();
        assert_eq!(targets(&repo).expect("a folder"), declared);
        assert!(WITHOUT_SEEDS.iter().all(|name| declared.iter().any(|known| known == name)));
    }

    #[test]
    fn what_libfuzzer_says_at_its_end_is_read() {
        let log = "INFO: seed corpus: files: 12\n\
                   #1024\tINITED cov: 310 ft: 900 corp: 12/40Kb exec/s: 0 rss: 60Mb\n\
                   #90210\tDONE   cov: 345 ft: 1188 corp: 57/210Kb lim: 4096 exec/s: 9021 rss: 88Mb\n\
                   stat::number_of_executed_units: 90210\nstat::peak_rss_mb:              88\n";
        let expected = json!({ "inputs": 90_210, "edges": 345, "kept": 57, "peak_mib": 88 });
        assert_eq!(figures(log), Some(expected));
        assert_eq!(figures("ERROR: libFuzzer: deadly signal\n"), None);
    }
}
