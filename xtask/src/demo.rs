//! `cargo xtask demo`: the main job, end to end, on real data and a real node.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    cargo, island,
    portal::{Chain, Portal},
    running::Running,
    tools::Tools,
};

/// Train the digits model, prove, aggregate, anchor on a local node, hand it to a second peer, verify as a stranger would, and
/// serve the portal until Ctrl-C.
#[derive(Args)]
pub struct Demo {
    /// Visit the portal with Chromium instead of leaving it there, and exit 0 only if every check held.
    #[arg(long)]
    check: bool,
    /// Write a summary of figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Demo {
    /// The demo as the end-to-end test.
    pub fn checked() -> Self {
        Self { check: true, json: None }
    }
}

/// Steps of the run and of each epoch.
const STEPS: u64 = 8;
const EPOCH: u64 = 4;

/// Anvil on a free port; stopped when dropped.
pub struct Anvil {
    _child: Running,
    /// Its address.
    pub rpc: String,
}

impl Anvil {
    /// Starts one; installs the tools if needed.
    ///
    /// # Errors
    /// If it does not listen within 30 s.
    pub fn start(tools: &Tools) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = tools
            .command("anvil")?
            .args(["--port", &port.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("start anvil")?;
        let mut child = Running(child);
        let stdout = child.stdout.take().context("anvil's output")?;
        let (sender, receiver) = std::sync::mpsc::channel();
        // Goes on reading, so that anvil never blocks on a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line.contains("Listening on") {
                    let _ = sender.send(());
                }
            }
        });
        let anvil = Self { _child: child, rpc: format!("http://127.0.0.1:{port}") };
        receiver.recv_timeout(Duration::from_secs(30)).context("anvil did not start listening within 30 s")?;
        Ok(anvil)
    }
}

/// The built binary, with its cache.
pub struct Cairn {
    /// Where [`build`] put it.
    pub path: PathBuf,
    /// Reference strings, keys and secrets.
    pub home: PathBuf,
}

impl Cairn {
    /// Runs a command; its progress goes to the terminal, its JSON comes back.
    fn run(&self, args: &[&str]) -> anyhow::Result<(bool, Value)> {
        let output = Command::new(&self.path)
            .args(args)
            .arg("--json")
            .env("CAIRN_HOME", &self.home)
            .stderr(Stdio::inherit())
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("run {}", self.path.display()))?;
        let value = if output.stdout.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&output.stdout).with_context(|| format!("answer of cairn {}", args[0]))?
        };
        Ok((output.status.success(), value))
    }

    /// The JSON answer of a command.
    ///
    /// # Errors
    /// If the command fails.
    pub fn must(&self, args: &[&str]) -> anyhow::Result<Value> {
        let (ok, value) = self.run(args)?;
        ensure!(ok, "cairn {} failed", args.join(" "));
        Ok(value)
    }
}

/// Builds `cairn` and says where it is.
///
/// # Errors
/// If the build fails.
pub fn build(tools: &Tools) -> anyhow::Result<PathBuf> {
    cargo::build(tools, &["--bin", "cairn"], "cairn")
}

/// The salt of an unfinished demo run, or a new one. Kept until the run is finished, so that an interrupted demo goes on.
fn salt(file: &Path) -> anyhow::Result<String> {
    if let Ok(text) = fs::read_to_string(file) {
        let text = text.trim().to_owned();
        if text.len() == 66 {
            return Ok(text);
        }
    }
    let mut bytes = [0u8; 32];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    let text = bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    fs::write(file, &text).with_context(|| format!("write {}", file.display()))?;
    Ok(text)
}

/// A text field of an answer.
///
/// # Errors
/// If it is not there.
pub fn text<'v>(value: &'v Value, key: &str) -> anyhow::Result<&'v str> {
    value[key].as_str().with_context(|| format!("no {key} in the answer"))
}

fn say(step: &str) {
    println!("== {step}");
}

/// Figures of an earlier, interrupted part of the same run: proving times are not measured twice.
fn merge(state: &Path, key: &str, value: Value, is_new: bool) -> anyhow::Result<Value> {
    let file = state.join(format!("{key}.json"));
    if is_new {
        fs::write(&file, value.to_string())?;
        return Ok(value);
    }
    Ok(fs::read_to_string(&file).ok().and_then(|t| serde_json::from_str(&t).ok()).unwrap_or(value))
}

/// Runs the demo.
///
/// # Errors
/// If a command fails or, with `--check`, a check does not hold.
pub fn run(demo: &Demo) -> anyhow::Result<()> {
    let start = Instant::now();
    let tools = Tools::locate()?;
    tools.install()?;
    let repo = tools.repo().to_owned();
    say("building cairn, and what browsers verify with");
    let island = island::run()?;
    let path = build(&tools)?;
    let cache = repo.join(".cache/demo");
    fs::create_dir_all(&cache)?;
    let cairn = Cairn { path: path.clone(), home: cache.join("trainer") };
    let auditor = Cairn { path, home: cache.join("auditor") };

    say("starting anvil and deploying the registry and RunAnchor");
    let anvil = Anvil::start(&tools)?;
    let deployed = cairn.must(&["deploy", "--rpc", &anvil.rpc, "--anvil-dev-key"])?;
    let (contract, owner) = (text(&deployed, "contract")?, text(&deployed, "owner")?);

    say("training with proofs: digits, 64-32-10, Adam, 8 steps in 2 epochs");
    let salt_file = cache.join("salt");
    let salt = salt(&salt_file)?;
    let artifacts = repo.join("artifacts");
    let data = repo.join("testdata/digits.csv.gz");
    let (steps, epoch) = (STEPS.to_string(), EPOCH.to_string());
    let trained = cairn.must(&[
        "train",
        "--data",
        path_text(&data)?,
        "--steps",
        &steps,
        "--epoch-size",
        &epoch,
        "--contract",
        contract,
        "--owner",
        owner,
        "--salt",
        &salt,
        "--artifacts",
        path_text(&artifacts)?,
    ])?;
    let is_new = trained["step_prove_ms"].as_array().is_some_and(|ms| ms.len() as u64 == STEPS);
    let trained = merge(&cache, "trained", trained, is_new)?;
    let run = text(&trained, "run_dir")?.to_owned();

    say("aggregating both epochs");
    let aggregated = cairn.must(&["aggregate", "--run", &run])?;
    let is_new = aggregated["aggregate_ms"].as_array().is_some_and(|ms| ms.len() as u64 == STEPS / EPOCH);
    let aggregated = merge(&cache, "aggregated", aggregated, is_new)?;

    check_epoch_key(&repo, &aggregated)?;

    say("generating, compiling and deploying the verifier");
    let solc = tools.bin_dir().join("solc");
    let sources = cache.join("verifier");
    let verifier = cairn.must(&[
        "deploy",
        "--rpc",
        &anvil.rpc,
        "--anvil-dev-key",
        "--run",
        &run,
        "--solc",
        path_text(&solc)?,
        "--sources",
        path_text(&sources)?,
    ])?;

    say("registering the run, anchoring, finalizing");
    let anchored = cairn.must(&[
        "anchor",
        "--run",
        &run,
        "--rpc",
        &anvil.rpc,
        "--contract",
        contract,
        "--anvil-dev-key",
        "--finalize",
    ])?;

    say("comparing the deployed code with the sources and the keys");
    let compared = cairn.must(&[
        "deploy",
        "--check",
        "--rpc",
        &anvil.rpc,
        "--owner",
        owner,
        "--run",
        &run,
        "--solc",
        path_text(&solc)?,
    ])?;
    ensure!(compared["contracts"].as_array().is_some_and(|c| c.len() == 4), "four contracts are to be compared");

    let place = Chain { rpc: &anvil.rpc, contract };
    let chain = ["--rpc", place.rpc, "--contract", place.contract];
    let peer = share(&cairn, &auditor, &cache, &run, &chain)?;

    say("verifying as a stranger: the fetched copy, the contract's address, the node");
    let fetched = text(&peer.fetched, "dir")?;
    let (ok, verified) = auditor.run(&[&["verify", "--run", fetched, "--all"], &chain[..]].concat())?;
    let same_root = verified["chain_root"].is_string() && verified["chain_root"] == verified["local_root"];
    let whole = verified["steps_verified"] == STEPS && verified["epochs_verified"] == STEPS / EPOCH;
    let shared = peer.fetched["ok"] == true && peer.fetched["chain_root"] == verified["chain_root"];
    let holds = ok && same_root && whole && shared && verified["finalized"] == true;

    say("serving the portal of a third party: the contract's events, and the fetched copy");
    let bundles = Path::new(fetched).parent().context("the fetched copy is in a folder")?;
    let portal = Portal::start(&auditor, &cache, place, bundles, &island)?;
    let seen = if demo.check {
        say("visiting it with Chromium: search, run, step, every check in the browser");
        Some(portal.visit(&tools, text(&trained, "run")?, &anvil.rpc, &cache.join("portal.png"))?)
    } else {
        None
    };
    let in_browser =
        seen.as_ref().and_then(|seen| seen["lines"].as_array()?.iter().find(|line| line["check"] == "step proof"));

    let total = start.elapsed();
    let mut transactions: Vec<Value> = Vec::new();
    for answer in [&deployed, &verifier, &anchored] {
        transactions.extend(answer["transactions"].as_array().cloned().unwrap_or_default());
    }
    transactions.push(peer.announced["transaction"].clone());
    let summary = json!({
        "ok": holds,
        "params": trained["params"],
        "steps": verified["steps"],
        "epochs": verified["epochs_verified"],
        "step_k": trained["step_k"],
        "step_columns": trained["step_columns"],
        "step_prove_ms": trained["step_prove_ms"],
        "step_proof_bytes": trained["step_proof_bytes"],
        "step_verify_ms": verified["step_verify_ms"],
        "step_peak_rss_bytes": trained["peak_rss_bytes"],
        "aggregate_ms": aggregated["aggregate_ms"],
        "aggregate_k": aggregated["aggregate_k"],
        "aggregate_columns": aggregated["aggregate_columns"],
        "aggregate_cells_per_step": aggregated["aggregate_cells_per_step"],
        "aggregate_peak_rss_bytes": aggregated["aggregate_peak_rss_bytes"],
        "verifier_bytes": verifier["verifiers"][0]["verifier_bytes"],
        "verifier_deploy_gas": verifier["verifiers"][0]["verifier_deploy_gas"],
        "anchor_gas": anchored["anchor_gas"],
        "run_id": trained["run"],
        "run_dir": run,
        "bundle_bytes": peer.bundle["bytes"],
        "bundle_files": peer.bundle["files"],
        "infohash_v1": peer.bundle["infohash_v1"],
        "infohash_v2": peer.bundle["infohash_v2"],
        "manifest_digest": peer.bundle["manifest_digest"],
        "announce_gas": peer.announced["gas"],
        "fetch_ms": peer.fetched["fetch_ms"],
        "fetched_bytes": peer.fetched["received"],
        "fetched_dir": fetched,
        "chain_root": verified["chain_root"],
        "local_root": verified["local_root"],
        "contract": contract,
        "transactions": transactions,
        "browser_step_verify_ms": in_browser.map(|line| &line["ms"]),
        "total_s": total.as_secs_f64(),
        "not_proved": "gradient honesty, data quality, bias",
        "srs": trained["srs"],
    });
    report(&summary, &verified);
    if let Some(file) = &demo.json {
        fs::write(file, format!("{summary:#}\n")).with_context(|| format!("write {}", file.display()))?;
    }
    // The next demo makes a new run.
    fs::remove_file(&salt_file).ok();
    if !holds {
        bail!("not every check held");
    }
    if demo.check {
        println!("every check held");
        return Ok(());
    }
    println!("\nthe portal: {}  (your own node there: {}; Ctrl-C ends both)", portal.url, anvil.rpc);
    portal.wait()
}

/// The run on its way to a second peer.
struct Shared {
    bundle: Value,
    announced: Value,
    fetched: Value,
}

/// Bundles the run, announces it, seeds it, and has a second peer fetch it by the chain's hint over the loopback interface.
fn share(cairn: &Cairn, peer: &Cairn, cache: &Path, run: &str, chain: &[&str; 4]) -> anyhow::Result<Shared> {
    say("bundling the run and announcing it on the chain");
    let torrent = cache.join("run.torrent");
    let bundle = cairn.must(&["bundle", "--run", run, "--out", path_text(&torrent)?])?;
    let of = |key| text(&bundle, key);
    let steps = STEPS.to_string();
    let names = ["--size", &steps, "--manifest-digest", of("manifest_digest")?];
    let hashes = ["--infohash-v1", of("infohash_v1")?, "--infohash-v2", of("infohash_v2")?];
    let place = ["admin", "announce", "--run", run, "--anvil-dev-key"];
    let announced = cairn.must(&[&place, &names[..], &hashes, chain].concat())?;

    say("seeding, and fetching as a second peer that knows the run's id, the contract, the node and the seeder");
    let (seeder, address) = Seeder::start(cairn, run)?;
    // Of an earlier demo.
    let out = cache.join("peer");
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("remove {}", out.display()))?;
    }
    let what = ["fetch", "--run", of("run")?, "--peer", &address, "--out", path_text(&out)?];
    let fetched = peer.must(&[&what, &chain[..]].concat())?;
    drop(seeder);
    Ok(Shared { bundle, announced, fetched })
}

/// `cairn seed`; stopped when dropped.
struct Seeder(#[expect(dead_code, reason = "kept for its end")] Running);

impl Seeder {
    /// Returns when the run was checked, with the address.
    fn start(cairn: &Cairn, run: &str) -> anyhow::Result<(Self, String)> {
        let child = Command::new(&cairn.path)
            .args(["seed", "--run", run, "--listen", "127.0.0.1:0", "--json"])
            .env("CAIRN_HOME", &cairn.home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start cairn seed")?;
        let mut child = Running(child);
        let stdout = child.stdout.take().context("the seeder's output")?;
        let seeder = Self(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("the seeder's answer")?;
        let answer: Value = serde_json::from_str(&line).context("the seeder's answer")?;
        let address = text(&answer, "listen")?.to_owned();
        Ok((seeder, address))
    }
}

/// The key that the epochs were proved with is the committed one (`testdata/keys/keys.json`).
fn check_epoch_key(repo: &Path, aggregated: &Value) -> anyhow::Result<()> {
    let Some(got) = aggregated["epoch_key_digest"].as_str() else {
        // Both epochs were there already, and no key was loaded.
        return Ok(());
    };
    let path = repo.join("testdata/keys/keys.json");
    let file = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let pinned: Value = serde_json::from_str(&file).with_context(|| format!("parse {}", path.display()))?;
    let keys = pinned["epoch_keys"].as_array().into_iter().flatten();
    let same_shape = |key: &&Value| key["n_steps"] == EPOCH && key["k"] == aggregated["aggregate_k"];
    match keys.into_iter().find(same_shape).and_then(|key| key["digest"].as_str()) {
        Some(expected) if expected == got => Ok(()),
        Some(expected) => bail!("epoch key: {} says {expected}, got {got}", path.display()),
        None => bail!("epoch key: {} has none of {EPOCH} steps", path.display()),
    }
}

/// A path as an argument.
///
/// # Errors
/// If it is not UTF-8.
pub fn path_text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

fn report(summary: &Value, verified: &Value) {
    println!("\n== report");
    for check in verified["checks"].as_array().into_iter().flatten() {
        let mark = if check["ok"] == true { "ok  " } else { "FAIL" };
        println!("  {mark} {:42} {}", check["check"].as_str().unwrap_or(""), check["detail"].as_str().unwrap_or(""));
    }
    let lines = [
        ("run", "run_id"),
        ("directory", "run_dir"),
        ("contract", "contract"),
        ("root on chain", "chain_root"),
        ("step proof, ms", "step_prove_ms"),
        ("epoch proof, ms", "aggregate_ms"),
        ("cells per step", "aggregate_cells_per_step"),
        ("in Chromium, ms", "browser_step_verify_ms"),
        ("verifier, bytes", "verifier_bytes"),
        ("anchor, gas", "anchor_gas"),
        ("magnet's v1", "infohash_v1"),
        ("fetched, bytes", "fetched_bytes"),
        ("fetched, ms", "fetch_ms"),
        ("fetched to", "fetched_dir"),
        ("total, s", "total_s"),
        ("reference string", "srs"),
    ];
    for (name, key) in lines.into_iter().filter(|(_, key)| !summary[*key].is_null()) {
        println!("  {name:18} {}", summary[key].to_string().trim_matches('"'));
    }
    println!("  proved: each state is what Adam makes of the committed state and gradient before it");
    println!("  NOT proved: {}", summary["not_proved"].as_str().unwrap_or(""));
}
