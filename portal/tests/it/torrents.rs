//! Announced bundles as torrent clients subscribe to them.

use crate::{
    serving::{app, filled, get},
    support::database::on_each,
};

#[tokio::test]
async fn torrent_clients_find_a_magnet_link_for_each_announced_bundle() {
    on_each(async |index| {
        let history = filled(index).await;
        let (app, run) = (app(index), history.log.run);
        let magnet = format!("magnet:?xt=urn:btih:{}&amp;xt=urn:btmh:1220{}", "02".repeat(20), "03".repeat(32));
        for address in
            ["/torrents.rss".to_owned(), format!("/runs/{run}/torrents.rss"), format!("/torrents.rss?q={run}")]
        {
            let feed = get(&app, &address).await;
            assert_eq!(feed.headers["content-type"], "application/rss+xml; charset=utf-8");
            assert_eq!(feed.text().matches("<item>").count(), 1, "{address}");
            assert!(feed.text().contains(&format!("<enclosure url=\"{magnet}\"")), "{}", feed.text());
            assert!(feed.text().contains("<pubDate>Tue, 14 Nov 2023 22:14:32 GMT</pubDate>"), "{}", feed.text());
        }
        let none = get(&app, "/torrents.rss?min_steps=100").await;
        assert_eq!(none.text().matches("<item>").count(), 0);
    })
    .await;
}
