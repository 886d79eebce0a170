//! What trackers say of announced bundles: asked of a real one.

use std::time::Duration;

use portal::{
    seeders::{Options, Peers, ScrapeError, Scraper, Seeders},
    server::{self, AppState, router},
};
use torrent::{
    InfohashV1,
    swarm::{TrackerOptions, TrackerServer},
};

use crate::{
    serving::{filled, get},
    support::database::on_each,
};

/// Of the bundle that histories announce.
const ANNOUNCED: [u8; 20] = [2; 20];

async fn tracker() -> TrackerServer {
    let options = TrackerOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        token: Some("secret-of-the-swarm".parse().unwrap()),
        interval: Duration::from_secs(60),
    };
    TrackerServer::start(options).await.unwrap()
}

/// A peer that says what it has.
async fn announce(tracker: &TrackerServer, port: u16, left: u64) {
    let query = format!(
        "info_hash={}&peer_id={}&port={port}&uploaded=0&downloaded=0&left={left}&compact=1",
        "%02".repeat(20),
        "p".repeat(20)
    );
    let answer = reqwest::get(format!("{}?{query}", tracker.url())).await.unwrap();
    assert!(answer.status().is_success());
}

#[tokio::test]
async fn a_tracker_says_how_many_have_a_bundle() {
    on_each(async |index| {
        let run = filled(index).await.log.run;
        let (tracker, seeders) = (tracker().await, Seeders::default());
        let scraper = Scraper::new(index.clone(), &tracker.url(), seeders.clone(), Options::default()).unwrap();
        assert!(!format!("{scraper:?}").contains("secret"), "{scraper:?}");
        assert_eq!(scraper.round().await.unwrap(), 0, "the tracker does not know the torrent");
        assert_eq!(seeders.of(&ANNOUNCED), None);
        tracker.add(InfohashV1(ANNOUNCED));
        announce(&tracker, 1001, 0).await;
        announce(&tracker, 1002, 0).await;
        announce(&tracker, 1003, 77).await;
        assert_eq!(scraper.round().await.unwrap(), 1);
        let Some(Peers { seeders: 2, leechers: 1, .. }) = seeders.of(&ANNOUNCED) else {
            panic!("{:?}", seeders.of(&ANNOUNCED))
        };
        let options = server::Options { seeders, ..server::Options::default() };
        let page = get(&router(AppState::new(index.clone(), &[], options)), &format!("/runs/{run}")).await;
        assert!(page.text().contains("2, and 1 fetching, by the tracker"), "{}", page.text());
    })
    .await;
}

#[tokio::test]
async fn trackers_that_do_not_answer_are_told_apart_and_their_tokens_not_told() {
    on_each(async |index| {
        filled(index).await;
        let ask = async |announce: &str| {
            let scraper = Scraper::new(index.clone(), announce, Seeders::default(), Options::default()).unwrap();
            scraper.round().await.unwrap_err()
        };
        let tracker = tracker().await;
        let other = tracker.url().replace("secret-of-the-swarm", "another-secret");
        let refused = ask(&other).await;
        assert!(matches!(refused, ScrapeError::Refused { got } if got == 404), "{refused}");
        let gone = tracker.url();
        drop(tracker);
        let refused = ask(&gone).await;
        assert!(matches!(&refused, ScrapeError::Unreachable { reason } if !reason.contains("secret")), "{refused}");
        let wrong = Scraper::new(index.clone(), "udp://t/announce", Seeders::default(), Options::default());
        assert!(matches!(wrong, Err(ScrapeError::Address)));
    })
    .await;
}
