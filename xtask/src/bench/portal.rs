//! The portal over a large index, beside nginx that serves the same pages as files.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::table::{bytes, line, number};
use crate::{cargo::build_optimised, debian, running::Running, tools::Tools};

/// Runs, epochs a run, steps an epoch: a million steps.
const LOAD: [&str; 3] = ["1000", "125", "8"];
/// Debian's packages, and what is run of them.
const PEERS: [&str; 2] = ["nginx-light", "wrk"];
const EXECUTABLES: [&str; 2] = ["nginx", "wrk"];
/// Connections that ask at once, and for how long.
const CONNECTIONS: &str = "16";
const SECONDS: &str = "8s";

/// Fills an index with a million steps, then asks the portal and nginx for the same pages, one after the other.
pub fn pages(tools: &Tools) -> anyhow::Result<Value> {
    println!(
        "== portal: {} runs of {} epochs of {} steps, beside nginx with the same pages as files",
        LOAD[0], LOAD[1], LOAD[2]
    );
    let bin = install(tools)?;
    let program = build_optimised(tools, &["--example", "serve_load"], "serve_load")?;
    let dir = tools.cache().join("bench-portal");
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    }
    fs::create_dir_all(dir.join("pages")).with_context(|| format!("create {}", dir.display()))?;
    let mut portal = Running(
        Command::new(&program)
            .arg(dir.join("index.db"))
            .args(LOAD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("run {}", program.display()))?,
    );
    let out = portal.stdout.take().context("the portal has no output")?;
    let mut said = String::new();
    BufReader::new(out).read_line(&mut said).context("read what the portal says")?;
    let said: Value = serde_json::from_str(&said).with_context(|| format!("the portal said {said:?}"))?;
    let (listen, run) = (text(&said, "listen")?, text(&said, "run")?);
    let (events, seconds) = (number(&said, "n_events")?, number(&said, "index_s")?);
    line("indexed", &format!("{events} events in {seconds:.1} s"), None);
    line("events a second", &format!("{:.0}", events / seconds), None);
    line("database", &bytes(number(&said, "database_bytes")?), None);
    let pages = [
        ("list", "/".to_owned()),
        ("list, by status", "/?status=verified&sort=steps".to_owned()),
        ("search", format!("/?q={run}")),
        ("run", format!("/runs/{run}")),
        ("step", format!("/runs/{run}/steps/{}", number(&said, "step")?)),
        ("list, JSON", "/api/v1/runs".to_owned()),
    ];
    let nginx = Nginx::start(&bin, &dir)?;
    println!(
        "  {:16} {:>9} {:>10} {:>9} {:>9} {:>12} {:>9} {:>9}",
        "page", "bytes", "portal/s", "p50", "p99", "nginx/s", "p50", "p99"
    );
    let mut rows = Vec::new();
    for (at, (name, address)) in pages.iter().enumerate() {
        let page = get(&format!("{listen}{address}"))?;
        let file = format!("{at}.html");
        fs::write(dir.join("pages").join(&file), &page).with_context(|| format!("write {file}"))?;
        let ours = Load::of(&bin, &format!("{listen}{address}"))?;
        let theirs = Load::of(&bin, &format!("{}/{file}", nginx.address))?;
        println!(
            "  {name:16} {:>9} {:>10.0} {:>9} {:>9} {:>12.0} {:>9} {:>9}",
            page.len(),
            ours.per_second,
            ours.p50,
            ours.p99,
            theirs.per_second,
            theirs.p50,
            theirs.p99
        );
        rows.push(json!({ "page": name, "bytes": page.len(), "portal": ours.json(), "nginx": theirs.json() }));
    }
    Ok(json!({ "index": said, "pages": rows }))
}

fn text<'v>(value: &'v Value, name: &str) -> anyhow::Result<&'v str> {
    value[name].as_str().with_context(|| format!("{name} is missing in {value}"))
}

/// Unpacks nginx and wrk into `<cache>/bench-peers` unless they are there.
fn install(tools: &Tools) -> anyhow::Result<PathBuf> {
    let dir = tools.cache().join("bench-peers");
    fs::create_dir_all(dir.join("bin")).with_context(|| format!("create {}", dir.display()))?;
    let dir = dir.canonicalize().with_context(|| format!("find {}", dir.display()))?;
    let bin = dir.join("bin");
    if !EXECUTABLES.iter().all(|name| bin.join(name).is_file()) {
        eprintln!("xtask: unpacking nginx and wrk from Debian into {}", dir.display());
        debian::unpack(&dir.join("debian"), &bin, &PEERS, &EXECUTABLES)?;
    }
    Ok(bin)
}

/// nginx over the folder of pages.
struct Nginx {
    address: String,
    /// What ends it with its workers, which do not notice when it is killed.
    stop: Command,
    running: Running,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if self.stop.status().is_ok_and(|status| status.success()) {
            // Otherwise it is killed.
            let _ = self.running.wait();
        }
    }
}

impl Nginx {
    fn start(bin: &Path, dir: &Path) -> anyhow::Result<Self> {
        // Free at this moment; nobody else takes ports here.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let at = dir.display();
        let settings = format!(
            "daemon off; worker_processes auto; pid {at}/nginx.pid; error_log {at}/error.log;\n\
             events {{ worker_connections 256; }}\n\
             http {{ access_log off; sendfile on; client_body_temp_path {at}/t1; proxy_temp_path {at}/t2;\n\
             fastcgi_temp_path {at}/t3; uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5; default_type text/html;\n\
             server {{ listen 127.0.0.1:{port}; root {at}/pages; }} }}\n"
        );
        let file = dir.join("nginx.conf");
        fs::write(&file, settings).with_context(|| format!("write {}", file.display()))?;
        // Its workers give up root's rights and then read the pages as nobody.
        let user = if fs::metadata("/root").is_ok_and(|_| fs::read_dir("/root").is_ok()) { "user root; " } else { "" };
        let program = || {
            let mut command = Command::new(bin.join("nginx"));
            command.arg("-c").arg(&file).arg("-e").arg(dir.join("error.log")).args(["-g", user]);
            command
        };
        let child = program().spawn().context("run nginx")?;
        let mut stop = program();
        stop.args(["-s", "stop"]);
        let address = format!("http://127.0.0.1:{port}");
        let running = Running(child);
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(start.elapsed() < Duration::from_secs(20), "nginx does not listen, see {at}/error.log");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Self { address, stop, running })
    }
}

/// A page.
fn get(address: &str) -> anyhow::Result<Vec<u8>> {
    let output = Command::new("curl").args(["--silent", "--show-error", "--fail", address]).output().context("curl")?;
    ensure!(output.status.success(), "{address}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(output.stdout)
}

/// What a server did under load.
struct Load {
    per_second: f64,
    p50: String,
    p99: String,
}

impl Load {
    /// Asks one address over and over.
    fn of(bin: &Path, address: &str) -> anyhow::Result<Self> {
        let args = ["-t1", "-c", CONNECTIONS, "-d", SECONDS, "--latency", address];
        let output = Command::new(bin.join("wrk")).args(args).output().context("run wrk")?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk {address} failed: {said}");
        ensure!(!said.contains("Non-2xx"), "{address} refused: {said}");
        let field = |name: &str| {
            let found = said.lines().map(str::trim).find_map(|line| line.strip_prefix(name));
            found.map(|value| value.trim().to_owned()).with_context(|| format!("wrk did not say {name}: {said}"))
        };
        let per_second = field("Requests/sec:")?;
        let per_second = per_second.parse().with_context(|| format!("requests a second: {per_second:?}"))?;
        Ok(Self { per_second, p50: field("50%")?, p99: field("99%")? })
    }

    fn json(&self) -> Value {
        json!({ "requests_per_s": self.per_second, "p50": self.p50, "p99": self.p99 })
    }
}
