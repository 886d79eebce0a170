//! `cairn portal serve` as auditors see it: a process that follows a real contract, over HTTP.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::anchoring::Demo;
use crate::deployment::home_with_key;
use crate::service::client::{Answer, Caller};
use crate::support::{Scratch, cairn, process_in};

/// A running portal. It is killed when it is dropped.
pub struct Portal {
    pub child: Child,
    caller: Caller,
    /// Where it listens.
    pub url: String,
}

impl Portal {
    pub fn start(scratch: &Scratch, chain: &str, more: &[&str]) -> Self {
        Self::start_in(&scratch.home(), scratch, &[&["--chain", chain], more].concat())
    }

    pub fn start_in(home: &Path, scratch: &Scratch, more: &[&str]) -> Self {
        let database = format!("sqlite:{}", scratch.path("portal.db"));
        let args = [&["portal", "serve", "--listen", "127.0.0.1:0", "--database", &database], more].concat();
        let mut command = process_in(home, &args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("cairn starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("the portal says where it listens");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let url = said["listen"].as_str().expect("an address").to_owned();
        let caller = Caller::anonymous(url.strip_prefix("http://").expect("an address"));
        Self { child, caller, url }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.caller.get(path)
    }

    /// SIGTERM; the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
        self.child.wait().expect("a process").code()
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchored_run_is_shown_as_the_contract_has_it() {
    let (scratch, demo) = (Scratch::new(), Demo::new().await);
    let chain = format!("{},{}", demo.anvil.url, demo.contract);
    let portal = Portal::start(&scratch, &chain, &[]);
    assert_eq!(portal.get("/health").ok()["status"], "ok");
    let path = format!("/api/v1/runs/{}", demo.id);
    assert_eq!(portal.get(&path).refused(404), "no_run");

    let run = demo.run.to_str().expect("UTF-8");
    let args = ["anchor", "--run", run, "--rpc", &demo.anvil.url, "--anvil-dev-key", "--submissions", &demo.plan];
    cairn(&args).must();
    let start = Instant::now();
    let shown = loop {
        let answer = portal.get(&path);
        if answer.status == 200 && answer.json()["status"] == "bundle_not_seen" && answer.json()["epochs"] == 2 {
            break answer.json();
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let kept = std::fs::read_to_string(demo.run.join("merkle_root.txt")).expect("the run's root");
    assert!(kept.contains(shown["root"].as_str().expect("a root")), "{kept}: {shown:#}");
    assert_eq!((&shown["steps"], &shown["epochs"]), (&8.into(), &2.into()), "{shown:#}");
    assert_eq!(portal.terminate(), Some(0));

    // What was indexed is there before the node is asked again.
    let portal = Portal::start(&scratch, &chain, &[]);
    assert_eq!(portal.get(&path).ok()["root"], shown["root"]);
}

/// The folder has the run's directory, and the keys are made as `cairn verify` makes them.
#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_in_the_folder_is_verified_and_its_evidence_served() {
    let (scratch, demo, home) = (Scratch::new(), Demo::new().await, home_with_key());
    let run = demo.run.to_str().expect("UTF-8");
    let args = ["anchor", "--run", run, "--rpc", &demo.anvil.url, "--anvil-dev-key", "--submissions", &demo.plan];
    cairn(&args).must();
    cairn(&["bundle", "--run", run, "--out", &scratch.path("run.torrent")]).must();
    let folder = scratch.path("bundles");
    std::fs::create_dir(&folder).expect("scratch space");
    std::fs::rename(&demo.run, format!("{folder}/run-{}", demo.id)).expect("scratch space");
    let chain = format!("{},{}", demo.anvil.url, demo.contract);
    let portal = Portal::start_in(home.path(), &scratch, &["--chain", &chain, "--bundles", &folder, "--look", "0.2"]);
    let (path, start) = (format!("/api/v1/runs/{}", demo.id), Instant::now());
    loop {
        let answer = portal.get(&path);
        if answer.status == 200 && answer.json()["status"] == "verified" {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "{}", portal.get(&format!("{path}/bundles")).text());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let bundles = portal.get(&format!("{path}/bundles")).ok();
    assert_eq!(
        (&bundles["arrived"][0]["state"], &bundles["arrived"][0]["steps_verified"]),
        (&"passed".into(), &8.into())
    );
    assert_eq!(portal.get(&format!("{path}/steps/7/evidence")).ok()["inclusion"]["size"], 8);
    assert_eq!(portal.terminate(), Some(0));
}

#[test]
fn the_description_of_the_portal_is_printed() {
    let description = cairn(&["portal", "openapi"]).must();
    assert!(description["paths"]["/api/v1/runs/{run}"]["get"].is_object());
}
