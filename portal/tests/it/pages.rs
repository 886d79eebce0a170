//! Pages: whole without scripts, every link leads somewhere, and nothing foreign is markup.

use std::{collections::BTreeSet, io::Read};

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use flate2::read::GzDecoder;
use ledger::{Digest, Root, TreeSize};
use portal::index::{Index, Verification};

use crate::{
    serving::{app, filled, get, send},
    support::{
        database::on_each,
        history::{History, SOURCE, batch, block, source},
    },
};

/// Addresses of this portal in a page.
fn links(page: &str) -> BTreeSet<String> {
    let hrefs = page.split("href=\"").skip(1).chain(page.split("src=\"").skip(1));
    let hrefs = hrefs.filter_map(|rest| rest.split('"').next()).filter(|href| href.starts_with('/'));
    hrefs.map(|href| href.replace("&amp;", "&")).collect()
}

async fn crawled(index: &Index) -> Vec<(String, String)> {
    let app = app(index);
    let (mut open, mut seen, mut pages) = (vec!["/".to_owned(), "/compare".to_owned()], BTreeSet::new(), Vec::new());
    while let Some(address) = open.pop() {
        if !seen.insert(address.clone()) {
            continue;
        }
        let answer = get(&app, &address).await;
        assert_eq!(answer.status, StatusCode::OK, "{address}: {}", answer.text());
        if answer.headers[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/html") {
            open.extend(links(answer.text()));
            pages.push((address, answer.text().to_owned()));
        }
        assert!(seen.len() < 2_000, "links do not end");
    }
    pages
}

#[tokio::test]
async fn every_link_of_every_page_leads_somewhere() {
    on_each(async |index| {
        let history = filled(index).await;
        let pages = crawled(index).await;
        for wanted in ["/registry", "/check", "/compare"] {
            assert!(pages.iter().any(|(address, _)| address == wanted), "{wanted} is not linked");
        }
        let run = history.log.run.to_string();
        for part in ["epochs/3", "steps/5"] {
            assert!(pages.iter().any(|(address, _)| address.contains(&run) && address.contains(part)), "{part}");
        }
    })
    .await;
}

#[tokio::test]
async fn pages_are_whole_without_scripts_and_say_what_is_not_proved() {
    on_each(async |index| {
        filled(index).await;
        for (address, page) in crawled(index).await {
            assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">"), "{address}: {}", &page[..80]);
            for (part, n) in [("<h1", 1), ("<main", 1), ("</main>", 1), ("<title>", 1)] {
                assert_eq!(page.matches(part).count(), n, "{address}: {part}");
            }
            for never in ["<script", " style=\"", " onclick", "javascript:"] {
                assert!(!page.contains(never), "{address}: {never}");
            }
            assert!(page.contains("does not say that the gradient is"), "{address}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_others_wrote_is_never_markup() {
    on_each(async |index| {
        let history = filled(index).await;
        let run = index.runs_by_id(history.log.run).await.unwrap()[0].key;
        let hostile = "<script>alert(1)</script>\" onclick=\"x";
        let checked = Verification {
            manifest: Digest([1; 32]),
            size: TreeSize(2),
            root: Root([2; 32]),
            failure: Some(hostile.into()),
            version: hostile.into(),
            checked_at: 1,
        };
        index.note_verification(run, &checked).await.unwrap();
        let page = get(&app(index), &format!("/runs/{}", history.log.run)).await;
        assert!(page.text().contains("&lt;script&gt;alert(1)"), "the failure is shown");
        assert!(!page.text().contains("<script"), "and is text");
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_a_page_too() {
    on_each(async |index| {
        let app = app(index);
        for (address, status) in [
            ("/nothing".to_owned(), 404),
            ("/runs/0x12".to_owned(), 400),
            (format!("/runs/0x{}63", "00".repeat(31)), 404),
            ("/?q=%3Cscript%3E".to_owned(), 400),
            ("/?sort=up".to_owned(), 400),
        ] {
            let answer = get(&app, &address).await;
            assert_eq!(answer.status.as_u16(), status, "{address}");
            assert!(answer.text().starts_with("<!DOCTYPE html>") && !answer.text().contains("<script"), "{address}");
        }
    })
    .await;
}

#[tokio::test]
async fn pages_of_closed_epochs_are_kept_while_what_they_show_is_true() {
    on_each(async |index| {
        let mut history = filled(index).await;
        let (app, key) = (app(index), source(index).await);
        let address = |part: &str| format!("/runs/{}/{part}", history.log.run);
        let (step, epoch) = (address("steps/5"), address("epochs/3"));
        let first = [get(&app, &step).await.text().to_owned(), get(&app, &epoch).await.text().to_owned()];
        for (address, first) in [&step, &epoch].into_iter().zip(&first) {
            assert_eq!(get(&app, address).await.text(), first, "{address}");
            let packed = Request::get(address).header(header::ACCEPT_ENCODING, "gzip").body(Body::empty()).unwrap();
            let packed = send(&app, packed).await;
            assert_eq!(packed.headers[header::CONTENT_ENCODING], "gzip");
            let mut text = String::new();
            GzDecoder::new(packed.bytes()).read_to_string(&mut text).unwrap();
            assert_eq!(text, *first, "{address}");
        }
        // Another epoch: the path to the root is longer, and the epoch has one after it.
        let before = history.log.root();
        let next = history.anchored(10, 2);
        index.apply(key, &batch(Some(9), 10, vec![next])).await.unwrap();
        let now = get(&app, &step).await;
        assert!(now.text().contains(&history.log.root().to_string()) && !now.text().contains(&before.to_string()));
        assert!(now.text().contains("This is the root that the contract holds."));
        assert!(get(&app, &epoch).await.text().contains("Epoch after"));
        // The chain takes that back, and then the epoch itself.
        index.roll_back(key, block(0, 10).at, Some(block(0, 9).at)).await.unwrap();
        assert_eq!([get(&app, &step).await.text(), get(&app, &epoch).await.text()], [&first[0], &first[1]]);
        index.roll_back(key, block(0, 9).at, Some(block(0, 3).at)).await.unwrap();
        for address in [step, epoch] {
            assert_eq!(get(&app, &address).await.status, StatusCode::NOT_FOUND, "{address}");
        }
    })
    .await;
}

#[tokio::test]
async fn two_runs_part_at_the_epoch_whose_state_differs() {
    on_each(async |index| {
        let (key, mut one, mut two) = (source(index).await, History::new(1), History::new(2));
        let mut logs = one.with_epochs(3);
        two.registration.genesis_state = one.registration.genesis_state;
        logs.push(two.registered(20));
        logs.push(two.anchored(21, 2));
        index.apply(key, &batch(None, 30, logs)).await.unwrap();
        for history in [&one, &two] {
            let run = index.runs_by_id(history.log.run).await.unwrap()[0].key;
            index.confirm(run, block(0, 30).at, Some(&history.head(30, false)), false).await.unwrap();
        }
        let (a, b) = (one.log.run, two.log.run);
        let page = get(&app(index), &format!("/compare?a={a}&b={b}&contract={}", SOURCE.contract)).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.text().contains("Where the committed states part"));
        let same = get(&app(index), &format!("/compare?a={a}&b={a}")).await;
        assert!(same.text().contains("Nothing differs"), "{}", same.text());
    })
    .await;
}
