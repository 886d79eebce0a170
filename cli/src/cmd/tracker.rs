//! `cairn tracker`: peers of a closed network find each other.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use torrent::Metainfo;
use torrent::swarm::{TrackerOptions, TrackerServer, TrackerToken};

use crate::cmd::{Global, block_on};
use crate::output::{Output, failed};
use crate::rpc;

/// Run a tracker for some torrents until interrupted.
///
/// It answers announce and scrape requests over HTTP, for these torrents only, and with --token only below an address that
/// has the token in it. Put the address into torrents with `cairn bundle --private --tracker`, so that clients ask nobody
/// else. HTTP is not encrypted: put it behind a server that is, if the networks between must not read it.
#[derive(Args)]
#[command(after_help = "Example: cairn tracker --listen 0.0.0.0:6969 --token SECRET --torrent run-0x….torrent")]
pub struct Tracker {
    /// Where clients ask.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// A secret of 8 to 128 letters, digits, `-` and `_`, part of the address that clients ask at.
    #[arg(long, env = "CAIRN_TRACKER_TOKEN", hide_env_values = true)]
    token: Option<TrackerToken>,
    /// A torrent that it answers for; may be repeated.
    #[arg(long = "torrent", value_name = "FILE", required = true)]
    torrents: Vec<PathBuf>,
    /// How often clients are to ask.
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = rpc::seconds)]
    interval: Duration,
}

#[derive(Serialize)]
struct Report {
    announce: String,
    torrents: Vec<Known>,
}

#[derive(Serialize)]
struct Known {
    name: String,
    infohash_v1: String,
}

impl Tracker {
    /// Runs the command.
    pub fn run(self, _: &Global, out: &Output) -> anyhow::Result<()> {
        block_on(self.serve(out))
    }

    async fn serve(self, out: &Output) -> anyhow::Result<()> {
        let mut known = Vec::new();
        for file in &self.torrents {
            let bytes = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
            let torrent = Metainfo::parse(&bytes).map_err(|error| failed("torrent", error))?;
            known.push((torrent.name().to_owned(), torrent.infohash_v1()));
        }
        let options = TrackerOptions { listen: self.listen, token: self.token, interval: self.interval };
        let tracker = TrackerServer::start(options).await?;
        known.iter().for_each(|(_, infohash)| tracker.add(*infohash));
        let torrents =
            known.into_iter().map(|(name, infohash)| Known { name, infohash_v1: format!("0x{infohash}") }).collect();
        out.result(&Report { announce: tracker.url(), torrents }, text)?;
        let (mut interrupted, mut ended) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = ended.recv() => {}
        }
        for (infohash, count) in tracker.counts() {
            out.note(format_args!(
                "{infohash}: {} with everything, {} without, {} finished",
                count.complete, count.incomplete, count.downloaded
            ));
        }
        Ok(())
    }
}

fn text(r: &Report) -> String {
    let mut lines = vec![format!("announce  {}", r.announce)];
    lines.extend(r.torrents.iter().map(|torrent| format!("torrent   {} {}", torrent.infohash_v1, torrent.name)));
    lines.join("\n")
}
