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
        let named = [
            (self.dht, Discovery::Dht),
            (self.trackers, Discovery::Trackers),
            (self.pex, Discovery::PeerExchange),
            (self.lsd, Discovery::LocalNetwork),
        ];
        let discovery: BTreeSet<Discovery> =
            named.into_iter().filter_map(|(is_on, discovery)| is_on.then_some(discovery)).chain(more).collect();
        out.note(PEERS_LEARN);
        discovery.iter().for_each(|discovery| out.note(format_args!("switched on: {}", discovery.leaks())));
        SwarmOptions {
            listen,
            discovery,
            upload: self.upload_limit,
            download: self.download_limit,
            max_peers: self.max_peers,
            ..SwarmOptions::default()
        }
    }
}
