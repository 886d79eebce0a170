//! The portal as people see it, in a real Chromium: `visitor.mjs` visits a real portal that follows a real contract.

use std::path::Path;
use std::time::{Duration, Instant};

use audit::evidence::StepEvidence;
use audit::{Capsule, Keys};
use ledger::{StepIndex, TreeSize};
use serde_json::{Value, json};
use store::{ProofFiles, RunDir};

use crate::browser::{chromium, island, run_script};
use crate::capsule::{Forgery, Made};
use crate::portal::Portal;
use crate::support::Scratch;

/// Waits until the portal shows the run as the chain has it.
async fn shown(portal: &Portal, run: &str, status: &str) {
    let start = Instant::now();
    loop {
        let answer = portal.get(&format!("/api/v1/runs/{run}"));
        if answer.status == 200 && answer.json()["status"] == status {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What a portal with the bundle would send for each step.
fn evidence(made: &Made, capsule: &Path, to: &Path) {
    let (dir, capsule) = (RunDir::open(&made.demo.run).expect("a run"), Capsule::open(capsule).expect("a capsule"));
    let log = dir.verify_log(ProofFiles::Check).expect("a log");
    let key = capsule.step(dir.run().description()).expect("the key");
    for step in 0..8 {
        let place = (StepIndex(step), TreeSize(8));
        let evidence = StepEvidence::of(&dir, &log, place, &[TreeSize(4)], &key).expect("evidence");
        std::fs::write(to.join(format!("{step}.json")), evidence.to_json().expect("JSON")).expect("scratch space");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_search_read_and_verify_in_their_own_browser() {
    let (scratch, made) = (Scratch::new(), Made::new().await);
    let (capsule, forged) = (made.path("demo.capsule"), made.path("forged.capsule"));
    made.capsule("demo.capsule").must();
    let mut forgery = Forgery::of(&capsule);
    forgery.file("run/proofs/step_000003.proof")[3000] ^= 1;
    forgery.pack(&forged);
    let others = [made.demo.register_another(1).await.to_string(), made.demo.register_another(2).await.to_string()];

    let files = made.path("evidence");
    std::fs::create_dir_all(&files).expect("scratch space");
    evidence(&made, &capsule, &files);
    let chain = format!("{},{}", made.demo.anvil.url, made.demo.contract);
    let island = island();
    let portal = Portal::start(&scratch, &chain, &["--island", island.to_str().expect("UTF-8"), "--rate", "1000"]);
    let run = made.demo.id.to_string();
    shown(&portal, &run, "bundle_not_seen").await;
    for other in &others {
        shown(&portal, other, "registered").await;
    }

    // Kept, to be looked at.
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("portal-pages");
    std::fs::create_dir_all(&shots).expect("scratch space");
    println!("pictures: {}", shots.display());
    let mut scenario = chromium();
    let more = json!({
        "portal": portal.url, "rpc": made.demo.anvil.url, "run": run, "others": others, "step": 5, "capsule": capsule,
        "forged": forged, "evidence": files, "shots": shots,
    });
    let fields = more.as_object().expect("an object").clone();
    scenario.as_object_mut().expect("an object").extend(fields);
    let file = made.path("scenario.json");
    std::fs::write(&file, scenario.to_string()).expect("scratch space");
    let (said, succeeded) = run_script("visitor.mjs", &file);
    let wrong: Vec<&Value> = said.iter().filter(|line| !line["problem"].is_null()).collect();
    for line in &said {
        println!("{line}");
    }
    assert!(wrong.is_empty() && succeeded, "{wrong:#?}");
    assert!(said.iter().filter(|line| line["property"].is_string()).count() > 0, "nothing was tried");
}
