//! Pages and JSON as they are, whole: a change of them is seen in the diff of `snapshots/`. After an intended change
//! `INSTA_UPDATE=always cargo test --workspace --test it snapshots` writes them anew.

use ledger::{Digest, FieldElement};
use portal::index::{Index, Verification};

use crate::{
    serving::{app, filled, get},
    support::{
        bundle::KEPT,
        database::on_each,
        history::{History, SOURCE, batch, block, source},
    },
};

/// A verified run of three epochs under a known policy, one with an epoch that is not confirmed, two that have none.
async fn shown(index: &Index) -> [History; 2] {
    let first = filled(index).await;
    let mut second = History::new(4);
    second.registration.policy_digest = FieldElement::from(7);
    let logs = vec![second.registered(10), second.anchored(11, 2)];
    index.apply(source(index).await, &batch(Some(9), 12, logs)).await.unwrap();
    index.note_policy(first.registration.policy_digest, &KEPT.run().policy).await.unwrap();
    let run = index.runs_by_id(first.log.run).await.unwrap()[0].key;
    let checked = Verification {
        manifest: Digest([1; 32]),
        size: first.log.tree.size(),
        root: first.log.root(),
        failure: None,
        version: "test".to_owned(),
        checked_at: block(0, 12).time,
    };
    index.note_verification(run, &checked).await.unwrap();
    [first, second]
}

/// A tag or a text a line; what changes with the day or with a style sheet is left out.
fn lines(page: &str) -> String {
    let mut out = String::new();
    for part in page.replace("<!>", "").split_inclusive('>').flat_map(|part| match part.rfind('<') {
        Some(at) => vec![&part[..at], &part[at..]],
        None => vec![part],
    }) {
        let part = match part.split_once("?v=") {
            Some((before, after)) => format!("{before}?v=…{}", &after[after.find('"').unwrap_or(0)..]),
            None => part.to_owned(),
        };
        if !part.trim().is_empty() {
            out.push_str(&part);
            out.push('\n');
        }
    }
    out
}

#[tokio::test]
async fn pages() {
    on_each(async |index| {
        let [first, second] = shown(index).await;
        let (app, run, other) = (app(index), first.log.run, second.log.run);
        let pages = [
            ("runs", "/".to_owned()),
            ("runs_filtered", "/?status=verified&optimizer=adamw&min_steps=0&max_steps=9&sort=steps".to_owned()),
            ("run", format!("/runs/{run}")),
            ("run_unconfirmed", format!("/runs/{other}")),
            ("epoch", format!("/runs/{run}/epochs/2")),
            ("step", format!("/runs/{run}/steps/3")),
            ("compare", format!("/compare?a={run}@{}&b={other}&all=1", SOURCE.contract)),
            ("registry", "/registry".to_owned()),
            ("check", "/check".to_owned()),
            ("not_found", "/runs/0x12".to_owned()),
        ];
        for (name, address) in pages {
            insta::assert_snapshot!(name, lines(get(&app, &address).await.text()));
        }
    })
    .await;
}

#[tokio::test]
async fn json() {
    on_each(async |index| {
        let [first, _] = shown(index).await;
        let (app, run) = (app(index), first.log.run);
        let mut list = get(&app, "/api/v1/runs?limit=2").await.json();
        // Which days these are changes every day.
        for since in list["facets"]["since"].as_array_mut().unwrap() {
            since["from"] = "YYYY-MM-DD".into();
        }
        let answers = [
            ("json_runs", list),
            ("json_run", get(&app, &format!("/api/v1/runs/{run}")).await.json()),
            ("json_epochs", get(&app, &format!("/api/v1/runs/{run}/epochs?limit=1")).await.json()),
            ("json_step", get(&app, &format!("/api/v1/runs/{run}/steps/3")).await.json()),
            ("json_bundles", get(&app, &format!("/api/v1/runs/{run}/bundles")).await.json()),
        ];
        for (name, answer) in answers {
            insta::assert_snapshot!(name, serde_json::to_string_pretty(&answer).unwrap());
        }
        let refused = get(&app, "/api/v1/runs/0x12").await;
        insta::assert_snapshot!("json_refusal", refused.text());
    })
    .await;
}
