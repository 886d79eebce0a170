//! What commands that join a swarm have in common.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use clap::Args;
use torrent::swarm::{Discovery, PEERS_LEARN, RateLimit, SwarmOptions};

use crate::output::Output;

/// Whom to talk to, and how fast.
#[derive(Args)]
pub struct SwarmArgs {
    /// Peer to ask; may be repeated. With peers alone nobody else is told anything.
    #[arg(long = "peer", value_name = "ADDR:PORT")]
    pub peers: Vec<SocketAddr>,
    /// Find peers by the distributed hash table. Anyone can see there who has or wants which run.
    #[arg(long)]
    dht: bool,
    /// Ask the trackers that the torrent names. They learn who has or wants the run, and tell whoever asks.
    #[arg(long)]
    trackers: bool,
    /// Exchange peers' addresses with peers.
    #[arg(long)]
    pex: bool,
    /// Find peers in the local network by multicast. Every machine in it learns who has or wants the run.
    #[arg(long)]
    lsd: bool,
    /// Bytes sent in a second, as 500kB or 2MB.
    #[arg(long, value_name = "RATE")]
    upload_limit: Option<RateLimit>,
    /// Bytes received in a second.
    #[arg(long, value_name = "RATE")]
    download_limit: Option<RateLimit>,
    /// Peers of each run at most.
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_peers: usize,
}

impl SwarmArgs {
    /// The swarm's options, with `more` switched on. Says on stderr what others will learn.
    pub fn options(&self, listen: Option<SocketAddr>, more: Option<Discovery>, out: &Output) -> SwarmOptions {
        let discovery: BTreeSet<Discovery> = self.discovery().chain(more).collect();
        leaks(&discovery).for_each(|leak| out.note(leak));
        SwarmOptions {
            listen,
            discovery,
            upload: self.upload_limit,
            download: self.download_limit,
            max_peers: self.max_peers,
            ..SwarmOptions::default()
        }
    }

    /// Ways of finding peers that are switched on.
    pub fn discovery(&self) -> impl Iterator<Item = Discovery> {
        let named = [
            (self.dht, Discovery::Dht),
            (self.trackers, Discovery::Trackers),
            (self.pex, Discovery::PeerExchange),
            (self.lsd, Discovery::LocalNetwork),
        ];
        named.into_iter().filter_map(|(is_on, discovery)| is_on.then_some(discovery))
    }

    /// What is typed to say the same.
    pub fn arguments(&self) -> Vec<String> {
        let flags = [(self.dht, "--dht"), (self.trackers, "--trackers"), (self.pex, "--pex"), (self.lsd, "--lsd")];
        let flags = flags.into_iter().filter(|(is_on, _)| *is_on).map(|(_, flag)| flag.to_owned());
        let limits = [("--upload-limit", self.upload_limit), ("--download-limit", self.download_limit)];
        let limits = limits.into_iter().filter_map(|(option, limit)| Some(format!("{option}={}", limit?)));
        let peers = self.peers.iter().map(|peer| format!("--peer={peer}"));
        peers.chain(flags).chain(limits).chain([format!("--max-peers={}", self.max_peers)]).collect()
    }
}

/// What others learn, a line each.
pub fn leaks(discovery: &BTreeSet<Discovery>) -> impl Iterator<Item = String> {
    let named = discovery.iter().map(|discovery| format!("switched on: {}", discovery.leaks()));
    [PEERS_LEARN.to_owned()].into_iter().chain(named)
}
