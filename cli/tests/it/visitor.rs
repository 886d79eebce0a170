//! The portal as people see it, in a real Chromium: `visitor.mjs` visits a real portal that follows a real contract.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

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

#[tokio::test(flavor = "multi_thread")]
async fn people_search_read_and_verify_in_their_own_browser() {
    let (scratch, made) = (Scratch::new(), Made::new().await);
    let (capsule, forged) = (made.path("demo.capsule"), made.path("forged.capsule"));
    made.capsule("demo.capsule").must();
    let mut forgery = Forgery::of(&capsule);
    forgery.file("run/proofs/step_000003.proof")[3000] ^= 1;
    forgery.pack(&forged);
    let others = [made.demo.register_another(1).await.to_string(), made.demo.register_another(2).await.to_string()];

    // The capsule's command wrote the manifest. The portal has the epoch key, which takes minutes to make.
    let (run, bundles, keys) = (made.demo.id.to_string(), made.path("bundles"), scratch.home().join("keys"));
    for folder in [&bundles, &keys] {
        std::fs::create_dir_all(folder).expect("scratch space");
    }
    std::fs::rename(&made.demo.run, bundles.join(format!("run-{run}"))).expect("scratch space");
    for key in std::fs::read_dir(made.home().join("keys")).expect("a folder") {
        let key = key.expect("a key");
        std::fs::copy(key.path(), keys.join(key.file_name())).expect("scratch space");
    }
    let chain = format!("{},{}", made.demo.anvil.url, made.demo.contract);
    let island = island();
    let [island, bundles] = [&island, &bundles].map(|path| path.to_str().expect("UTF-8"));
    let more = ["--island", island, "--bundles", bundles, "--look", "0.2", "--rate", "1000"];
    let portal = Portal::start(&scratch, &chain, &more);
    shown(&portal, &run, "verified").await;
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
        "forged": forged, "shots": shots,
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
