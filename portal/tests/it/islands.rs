//! What browsers verify with, as the router serves it, and the pages that use it.

use std::{fs, path::Path};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
};
use portal::{
    index::Index,
    server::{AppState, Island, Options, router},
};

use crate::{
    serving::{Answer, filled, get, send},
    support::database::on_each,
};

/// The smallest module: magic and version. Browsers' tests use the real one.
const WASM: &[u8] = b"\0asm\x01\0\0\0";

/// A folder as the build makes it.
fn folder(wasm: &[u8]) -> tempfile::TempDir {
    let (dir, web) = (tempfile::tempdir().unwrap(), Path::new(env!("CARGO_MANIFEST_DIR")).join("../island/web"));
    for name in ["verify.js", "worker.js"] {
        fs::copy(web.join(name), dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("island.js"), "export default async function init() {}\n".repeat(10)).unwrap();
    fs::write(dir.path().join("island_bg.wasm"), wasm).unwrap();
    dir
}

fn app(index: &Index, wasm: &[u8]) -> Router {
    let island = Some(Island::read(folder(wasm).path()).unwrap());
    router(AppState::new(index.clone(), &[], Options { island, ..Options::default() }))
}

/// The address of the module in a page.
fn module(page: &str) -> &str {
    let (_, rest) = page.split_once("<script type=\"module\" src=\"").expect("a module");
    rest.split_once('"').expect("an address").0
}

fn policy(answer: &Answer) -> &str {
    answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap()
}

#[tokio::test]
async fn pages_have_one_module_and_only_the_worker_may_ask_others() {
    on_each(async |index| {
        let run = filled(index).await.log.run;
        let app = app(index, WASM);
        for path in ["/verify".to_owned(), format!("/runs/{run}/steps/5")] {
            let page = get(&app, &path).await;
            assert_eq!(page.status, StatusCode::OK, "{}", page.text());
            assert_eq!(page.text().matches("<script").count(), 1, "{path}");
            assert!(!page.text().contains(" style=\"") && page.text().contains("<noscript>"), "{path}");
            let (policy, module) = (policy(&page), module(page.text()));
            assert!(policy.contains("connect-src 'self';") && !policy.contains("unsafe"), "{path}: {policy}");
            assert_eq!(get(&app, module).await.headers[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
        }
        let page = get(&app, "/verify").await;
        let base = module(page.text()).strip_suffix("verify.js").unwrap().to_owned();
        let worker = get(&app, &format!("{base}worker.js")).await;
        assert!(policy(&worker).contains("'wasm-unsafe-eval'; connect-src 'self' http: https:"));
        let wasm = get(&app, &format!("{base}island_bg.wasm")).await;
        assert_eq!(wasm.headers[header::CONTENT_TYPE], "application/wasm");
        for name in ["island.json", "../style.css", "x"] {
            assert_eq!(get(&app, &format!("{base}{name}")).await.status, StatusCode::NOT_FOUND, "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_address_changes_with_the_files_and_is_kept_for_good() {
    on_each(async |index| {
        let (one, two) = (app(index, WASM), app(index, &[WASM, &[0]].concat()));
        let (first, second) = (get(&one, "/verify").await, get(&two, "/verify").await);
        let (first, second) = (module(first.text()), module(second.text()));
        assert_ne!(first, second);
        assert_eq!(get(&two, first).await.status, StatusCode::NOT_FOUND);
        let plain = get(&one, first).await;
        assert!(plain.headers[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        assert!(plain.text().starts_with("// For pages"));
        let packed = Request::get(first).header(header::ACCEPT_ENCODING, "br, gzip").body(Body::empty()).unwrap();
        let packed = send(&one, packed).await;
        assert_eq!(packed.headers[header::CONTENT_ENCODING], "gzip");
        assert!(packed.bytes().len() < plain.bytes().len());
    })
    .await;
}

#[tokio::test]
async fn without_the_files_pages_say_so_and_name_the_commands() {
    on_each(async |index| {
        let run = filled(index).await.log.run;
        let app = crate::serving::app(index);
        for path in ["/verify".to_owned(), format!("/runs/{run}/steps/5")] {
            let page = get(&app, &path).await;
            assert!(
                page.text().contains("was started without the files") && page.text().contains("cairn verify --"),
                "{path}"
            );
            assert!(!page.text().contains("<script") && !page.text().contains("<button disabled"), "{path}");
        }
    })
    .await;
}
