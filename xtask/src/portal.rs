//! The demo's portal: serves the run that the demo made, and is visited as by an auditor who has never seen it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::{
    browser,
    demo::{Cairn, path_text, text},
    running::Running,
    tools::Tools,
};

/// A node and a contract.
#[derive(Clone, Copy)]
pub struct Chain<'a> {
    /// JSON-RPC address.
    pub rpc: &'a str,
    /// RunAnchor.
    pub contract: &'a str,
}

/// `cairn portal serve`; stopped when dropped.
pub struct Portal {
    child: Running,
    /// Its address.
    pub url: String,
}

impl Portal {
    /// Starts one with an index of its own below `cache`. `bundles` has the runs that it verifies, `island` what browsers
    /// verify with.
    ///
    /// # Errors
    /// If it does not say where it listens.
    pub fn start(cairn: &Cairn, cache: &Path, chain: Chain<'_>, bundles: &Path, island: &Path) -> anyhow::Result<Self> {
        let dir = cache.join("portal");
        if dir.exists() {
            // Of another chain.
            fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
        }
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let database = format!("sqlite:{}", path_text(&dir.join("index.db"))?);
        let child = Command::new(&cairn.path)
            .args(["portal", "serve", "--listen", "127.0.0.1:0", "--json", "--quiet", "--database", &database])
            .args(["--chain", &format!("{},{}", chain.rpc, chain.contract)])
            .args(["--bundles", path_text(bundles)?, "--island", path_text(island)?])
            .env("CAIRN_HOME", &cairn.home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start cairn portal")?;
        let mut portal = Self { child: Running(child), url: String::new() };
        let stdout = portal.child.stdout.take().context("the portal's output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("the portal's answer")?;
        let answer: Value = serde_json::from_str(&line).context("the portal's answer")?;
        text(&answer, "listen")?.clone_into(&mut portal.url);
        Ok(portal)
    }

    /// Visits it with Chromium: search, run, epoch, step, and every check of the step in the browser, once the portal calls
    /// the run verified. Returns what the page said. `shot`: where a picture of the page goes.
    ///
    /// # Errors
    /// If Chromium cannot be had, or a check does not hold.
    pub fn visit(&self, tools: &Tools, run: &str, rpc: &str, shot: &Path) -> anyhow::Result<Value> {
        browser::install()?;
        let wanted = json!({
            "modules": tools.bin_dir().parent(), "chromium": browser::CHROMIUM, "portal": self.url, "run": run,
            "status": "verified", "step": 5, "rpc": rpc, "shot": shot,
        });
        let file = shot.with_extension("json");
        fs::write(&file, wanted.to_string()).with_context(|| format!("write {}", file.display()))?;
        let output = Command::new("node")
            .arg(tools.repo().join("xtask/tools/visit.mjs"))
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("run node")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "the visit of the portal failed: {said}");
        serde_json::from_str(&said).with_context(|| format!("answer of visit.mjs: {said}"))
    }

    /// Returns when it ends.
    ///
    /// # Errors
    /// If it fails.
    pub fn wait(mut self) -> anyhow::Result<()> {
        let status = self.child.wait().context("wait for cairn portal")?;
        ensure!(status.success(), "cairn portal ended: {status}");
        Ok(())
    }
}
