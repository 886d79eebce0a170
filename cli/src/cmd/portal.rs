//! `cairn portal`.

mod fetching;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chain::Client;
use clap::{Args, Subcommand};
use ledger::Address;
use portal::bundles::{self, Intake, Limits, Location, LocationError, Remote};
use portal::dump::Dumps;
use portal::follow::{self, Contracts, Followed, Follower};
use portal::hooks::{self, Hook, Teller};
use portal::index::Index;
use portal::seeders::{self, Scraper, Seeders};
use portal::server::{self, Island, Rate};
use serde::Serialize;
use tokio::net::TcpListener;
use tracing::level_filters::LevelFilter;

use self::fetching::{FetchArgs, Nodes};
use crate::cmd::{Global, block_on, stop_signal};
use crate::keys::Keyring;
use crate::output::Output;
use crate::rpc;

/// The audit portal: an index of the runs that chains carry, and its pages.
#[derive(Subcommand)]
pub enum Portal {
    /// Follow contracts and serve the portal.
    Serve(Box<Serve>),
    /// Print the OpenAPI description of the portal.
    Openapi,
}

/// Follow contracts and serve the portal, until SIGINT or SIGTERM.
///
/// The index holds nothing that the chain does not say: it may be deleted at any time and is read again. Several portals may
/// share one PostgreSQL index. There is no TLS here: put a reverse proxy before it, and then give --behind-proxy.
#[derive(Args)]
#[command(
    after_help = "Example: cairn portal serve --chain http://127.0.0.1:8545,0x5FbD…,0\nExample: cairn portal serve --chain URL,0x5FbD…,0 --bundles DIR --fetch --dht",
    mut_group("SwarmArgs", |group| group.requires("fetch"))
)]
pub struct Serve {
    /// Address to listen at; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8480")]
    listen: SocketAddr,
    /// Where the index is: `sqlite:FILE` or `postgres://…`.
    #[arg(long, env = "CAIRN_PORTAL_DATABASE", hide_env_values = true, default_value = "sqlite:portal.db")]
    database: String,
    /// A contract to follow: node, RunAnchor, and the block that it is read from (0 if not given). May be repeated.
    #[arg(long = "chain", value_name = "RPC,CONTRACT[,BLOCK]", required = true)]
    chains: Vec<Followed>,
    /// An Attestations contract to follow as well; which RunAnchor it is for is its own word. May be repeated.
    #[arg(long, value_name = "CONTRACT")]
    attestations: Vec<Address>,
    /// A folder of run directories (`run-0x…`), as `cairn fetch --out` and `cairn train` make them, or an object store that has
    /// the like: `s3://BUCKET/PREFIX`, with credentials, region and endpoint from the environment (`AWS_…`). Bundles of indexed
    /// runs are verified in full, one after the other, and served once they passed. Nothing in the folder is changed.
    #[arg(long, value_name = "DIR|s3://…")]
    bundles: Option<Bundles>,
    /// Folder that bundles of an object store are copied to; if not given, `portal/bundles` in the home.
    #[arg(long, value_name = "DIR", requires = "bundles")]
    bundle_cache: Option<PathBuf>,
    /// Take bundles that strangers send to PUT /api/v1/bundles into the folder, if the chain carries what they have.
    #[arg(long, requires = "bundles")]
    upload: bool,
    /// Largest upload, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 1_000_000_000, requires = "upload")]
    max_upload: u64,
    #[command(flatten)]
    fetching: FetchArgs,
    /// Seconds between two looks into the folder of bundles.
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = rpc::seconds)]
    look: Duration,
    /// Largest bundle that is verified, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 100_000_000_000)]
    max_bundle: u64,
    /// Largest circuits that keys are made for to verify bundles, log2 of their rows: anyone may register a run.
    #[arg(long, value_name = "K", default_value_t = 22, value_parser = clap::value_parser!(u32).range(10..=26))]
    max_k: u32,
    /// Requests a second that one address may make in the long run; 200 at once after a pause.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Take the visitor's address from the last entry of X-Forwarded-For, which a proxy in front writes.
    #[arg(long)]
    behind_proxy: bool,
    /// File that names receivers of webhooks (docs/spec/portal.md).
    #[arg(long, value_name = "FILE")]
    webhooks: Option<PathBuf>,
    /// Announce address of an HTTP tracker that is asked, every five minutes, how many peers have announced bundles (BEP 48). The
    /// tracker learns which runs are looked at here. May be repeated.
    #[arg(long = "scrape", value_name = "URL")]
    scraped: Vec<String>,
    /// Folder that a dump of the index is written to each day and served from.
    #[arg(long, value_name = "DIR")]
    dumps: Option<PathBuf>,
    /// Folder of what browsers verify with, as `cargo xtask island` makes it; if not given, `island` in the home.
    #[arg(long, value_name = "DIR", env = "CAIRN_ISLAND")]
    island: Option<PathBuf>,
    /// Log lines as JSON, for programs that collect them.
    #[arg(long)]
    log_json: bool,
}

/// Where bundles are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Bundles {
    Folder(PathBuf),
    Store(Location),
}

impl FromStr for Bundles {
    type Err = LocationError;

    /// A folder whose name has `://` can be given as `./…`.
    fn from_str(text: &str) -> Result<Self, LocationError> {
        let is_folder = text.starts_with(['.', '/']) || !text.contains("://");
        Ok(if is_folder { Self::Folder(text.into()) } else { Self::Store(text.parse()?) })
    }
}

#[derive(Serialize)]
struct Listening {
    listen: String,
}

impl Portal {
    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        match self {
            Self::Serve(serve) => serve.run(global, out),
            Self::Openapi => {
                println!("{}", portal::description()?);
                Ok(())
            }
        }
    }
}

impl Serve {
    /// What browsers verify with. A folder that was named has to be there; pages say so if the usual one is not.
    fn island(&self, home: &Path) -> anyhow::Result<Option<Island>> {
        if let Some(dir) = &self.island {
            return Ok(Some(Island::read(dir).context("--island")?));
        }
        let dir = home.join("island");
        let read = Island::read(&dir);
        if let Err(error) = &read {
            tracing::warn!(%error, "pages cannot verify in the browser: no {}; --island names the folder", dir.display());
        }
        Ok(read.ok())
    }

    fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let level = if out.progress() || self.log_json { LevelFilter::INFO } else { LevelFilter::WARN };
        let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level);
        if self.log_json {
            log.json().init()
        } else {
            log.with_ansi(false).init()
        }
        let island = self.island(&global.home)?;
        block_on(async move {
            // The address of the database may hold a password and is not repeated.
            let index = Index::open(&self.database).await.context("--database")?;
            let mut followers = Vec::new();
            let mut unplaced = self.attestations.clone();
            let mut nodes = Nodes::new();
            for Followed { rpc, contract, first_block } in &self.chains {
                let client = rpc::connect(rpc).await?;
                // The first node that is named for a contract is asked for its bundles.
                nodes.entry((client.chain(), *contract)).or_insert_with(|| rpc.clone());
                let attestations = attestations_of(&client, *contract, &mut unplaced).await;
                let contracts = Contracts { anchor: *contract, attestations, first_block: *first_block };
                let options = follow::Options::default();
                followers.push(Follower::new(client, index.clone(), contracts, options).await?);
            }
            if let Some(contract) = unplaced.first() {
                anyhow::bail!("--attestations {contract}: it is for none of the contracts given by --chain");
            }
            let mut tellers = Vec::new();
            for hook in self.webhooks.iter().map(|file| Hook::read(file)).collect::<Result<Vec<_>, _>>()?.concat() {
                tellers.push(Teller::new(index.clone(), hook, hooks::Options::default())?);
            }
            let seeders = Seeders::default();
            let scraper = |tracker: &String| {
                let options = seeders::Options::default();
                Scraper::new(index.clone(), tracker, seeders.clone(), options).context("--scrape")
            };
            let scrapers = self.scraped.iter().map(scraper).collect::<anyhow::Result<_>>()?;
            let intake = self.intake(global, &index, &nodes)?;
            let listener =
                TcpListener::bind(self.listen).await.with_context(|| format!("listen at {}", self.listen))?;
            let listen = format!("http://{}", listener.local_addr()?);
            out.result(&Listening { listen }, |l| format!("listening at {}", l.listen))?;
            // Installed before the first request is served, so that no signal is missed.
            let stop = stop_signal()?;
            let rate = Rate { per_second: f64::from(self.rate), ..Rate::default() };
            let dumps = self.dumps.map(Dumps::new);
            let behind_proxy = self.behind_proxy;
            let options = server::Options { rate, behind_proxy, dumps, island, seeders, ..server::Options::default() };
            let work = server::Work { followers, tellers, scrapers, intake };
            server::serve(index, work, options, listener, Box::pin(stop)).await.context("portal")?;
            out.note("stopped");
            Ok(())
        })
    }
}

impl Serve {
    /// What takes in bundles, if a folder is given.
    fn intake(&self, global: &Global, index: &Index, nodes: &Nodes) -> anyhow::Result<Option<Intake>> {
        let Some(bundles) = &self.bundles else { return Ok(None) };
        let folder = match (bundles, &self.bundle_cache) {
            (Bundles::Folder(_), Some(_)) => {
                anyhow::bail!("--bundle-cache: only bundles of an object store are copied")
            }
            (Bundles::Folder(folder), None) => folder.clone(),
            (Bundles::Store(_), Some(cache)) => cache.clone(),
            (Bundles::Store(_), None) => global.home.join("portal").join("bundles"),
        };
        if let Bundles::Store(_) = bundles {
            std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        }
        let folder = folder.canonicalize().with_context(|| format!("--bundles {}", folder.display()))?;
        let limits = Limits { max_bytes: self.max_bundle, ..Limits::default() };
        let options = bundles::Options {
            limits,
            interval: self.look,
            max_upload: self.upload.then_some(self.max_upload),
            fetch: self.fetching.options(global, &folder, nodes)?,
            ..bundles::Options::new(folder.clone())
        };
        let keys = Keyring::new(global, self.max_k)?;
        let intake = Intake::new(index.clone(), Arc::new(keys), options);
        Ok(Some(match bundles {
            Bundles::Folder(_) => intake,
            Bundles::Store(location) => {
                let remote = Remote::s3(location).with_context(|| format!("--bundles {location}"))?;
                intake.with_remote(remote)?
            }
        }))
    }
}

/// Takes the `Attestations` for a `RunAnchor` out of those that have no place yet.
async fn attestations_of(client: &Client, anchor: Address, unplaced: &mut Vec<Address>) -> Option<Address> {
    for (at, contract) in unplaced.iter().enumerate() {
        // On another chain there is no such contract: one of the others has it, or it is refused in the end.
        if client.anchor_of(*contract).await.is_ok_and(|found| found == anchor) {
            return Some(unplaced.swap_remove(at));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_are_in_a_folder_or_in_a_store() {
        let folder = |text: &str| Ok(Bundles::Folder(text.into()));
        for text in ["bundles", "/var/bundles", "./s3://odd", "s3", "a:b"] {
            assert_eq!(text.parse::<Bundles>(), folder(text), "{text}");
        }
        assert_eq!("s3://runs/a".parse::<Bundles>(), Ok(Bundles::Store("s3://runs/a".parse().unwrap())));
        assert_eq!("gs://runs/a".parse::<Bundles>(), Err(LocationError::Scheme));
    }
}
