//! `cairn prover`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use ledger::{ChunkIndex, RunId, StepIndex};
use prover::job::JobId;
use prover::queue::{self, Broker, BrokerAddress, Dispatcher, Redelivery, Told, WorkerConfig};
use prover::service::{self, Config, Here, Hub, Provers, Token};
use prover::session::Places;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::cmd::{Global, block_on, stop_signal};
use crate::output::Output;
use crate::size::Memory;

/// The prover service.
#[derive(Subcommand)]
pub enum Prover {
    /// Prove steps that trainers send over HTTP.
    Serve(Serve),
    /// Prove chunks for a service on this or another machine.
    Worker(Worker),
    /// Print the OpenAPI description of the service.
    Openapi,
}

/// Prove steps that trainers send over HTTP, until SIGINT or SIGTERM; what was accepted survives any end.
///
/// There is no TLS here: on anything but the loopback, put a reverse proxy before it (docs/spec/service.md).
#[derive(Args)]
#[command(after_help = "Example: cairn prover serve --listen 127.0.0.1:7878 --artifacts artifacts")]
pub struct Serve {
    /// Address to listen at; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7878")]
    listen: SocketAddr,
    /// Directory that run directories are made in.
    #[arg(long, default_value = "artifacts")]
    artifacts: PathBuf,
    /// File with the token that requests carry; made if it is not there. Default: `service.token` in the home.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Steps that may wait for their proofs, all runs together.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    queue: u32,
    /// Largest body of a request, MiB.
    #[arg(long, default_value_t = 256, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_body: u32,
    /// Largest k of a step circuit.
    #[arg(long, default_value_t = 20, value_name = "K")]
    max_step_k: u32,
    /// Have workers prove instead of this process: a NATS server with JetStream, `nats://[user:password@]host:port` or
    /// `tls://…`.
    #[arg(long, env = "CAIRN_NATS", hide_env_values = true, value_name = "URL")]
    nats: Option<String>,
    /// Credentials of a NATS user (`.creds`).
    #[arg(long, requires = "nats", value_name = "FILE")]
    nats_creds: Option<PathBuf>,
    /// Seconds without a sign of life after which a worker's chunk is given to another.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", requires = "nats", value_parser = clap::value_parser!(u32).range(1..=3600))]
    redeliver_after: u32,
    #[command(flatten)]
    memory: Memory,
}

/// Take chunks from the queue of a prover service and prove them, one after the other, until SIGINT or SIGTERM.
///
/// A worker reads what it proves: weights, moments and gradients of its chunks. It does not need the service's home, only the
/// same reference string.
#[derive(Args)]
#[command(after_help = "Example: cairn prover worker --nats tls://broker.example:4222 --nats-creds worker.creds")]
pub struct Worker {
    /// The NATS server of the service, `nats://[user:password@]host:port` or `tls://…`.
    #[arg(long, env = "CAIRN_NATS", hide_env_values = true, value_name = "URL")]
    nats: String,
    /// Credentials of a NATS user (`.creds`).
    #[arg(long, value_name = "FILE")]
    nats_creds: Option<PathBuf>,
    /// Name in the service's messages. Default: host and process.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Largest k of a step circuit.
    #[arg(long, default_value_t = 20, value_name = "K")]
    max_step_k: u32,
    #[command(flatten)]
    memory: Memory,
}

#[derive(Serialize)]
struct Working {
    name: String,
}

#[derive(Serialize)]
struct Listening {
    listen: String,
    token_file: PathBuf,
}

impl Prover {
    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        match self {
            Self::Serve(serve) => serve.run(global, out),
            Self::Worker(worker) => worker.run(global, out),
            Self::Openapi => {
                println!("{}", service::description()?);
                Ok(())
            }
        }
    }
}

impl Serve {
    fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let home = global.home(out)?;
        let token_file = self.token_file.clone().unwrap_or_else(|| global.home.join("service.token"));
        let token =
            Token::read_or_create(&token_file).with_context(|| format!("token file {}", token_file.display()))?;
        let config = Config {
            places: Places { artifacts: self.artifacts, private: home.private() },
            srs: home.srs_cache(),
            srs_label: home.label().clone(),
            queue: self.queue as usize,
            max_body: (self.max_body as usize) << 20,
            max_step_k: self.max_step_k,
            memory: self.memory.memory_limit,
        };
        if !self.listen.ip().is_loopback() {
            out.note(format!("{}: without TLS the token and the gradients can be read on the way", self.listen));
        }
        block_on(async move {
            let provers: Box<dyn Provers> = match self.nats {
                None => Box::new(Here),
                Some(url) => {
                    let address = BrokerAddress { url, credentials: self.nats_creds };
                    let redelivery = Redelivery::After(Duration::from_secs(self.redeliver_after.into()));
                    let broker = Broker::connect(&address, redelivery).await?;
                    Box::new(Dispatcher::new(broker, tokio::runtime::Handle::current()))
                }
            };
            let hub = Hub::load(config, provers)?;
            let listener =
                TcpListener::bind(self.listen).await.with_context(|| format!("listen at {}", self.listen))?;
            let listen = format!("http://{}", listener.local_addr()?);
            out.result(&Listening { listen, token_file }, |l| {
                format!("listening at {}, token in {}", l.listen, l.token_file.display())
            })?;
            // Installed before the first request is served, so that no signal is missed.
            let stop = stop_signal()?;
            service::serve(hub, token, listener, Box::pin(stop)).await.context("prover service")?;
            out.note("stopped; what was accepted and not proved waits for the next start");
            Ok(())
        })
    }
}

impl Worker {
    fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let home = global.home(out)?;
        let name = self.name.unwrap_or_else(default_name);
        let config = WorkerConfig {
            srs: home.srs_cache(),
            srs_label: home.label().clone(),
            max_step_k: self.max_step_k,
            memory: self.memory.memory_limit,
            name: name.clone(),
        };
        block_on(async move {
            let address = BrokerAddress { url: self.nats, credentials: self.nats_creds };
            let broker = Broker::connect(&address, Redelivery::AsItIs).await?;
            out.result(&Working { name }, |w| format!("worker {} waits for chunks", w.name))?;
            let signal = stop_signal()?;
            let (stopping, stop) = tokio::sync::watch::channel(false);
            tokio::spawn(async move {
                signal.await;
                // Nobody listens any more if the work has ended.
                let _ = stopping.send(true);
            });
            queue::work(&broker, config, stop, |told| say(out, told)).await;
            out.note("stopped; what it had taken is proved");
            Ok(())
        })
    }
}

fn default_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "worker" } else { host.trim() };
    format!("{host}-{}", std::process::id())
}

/// What happened to a chunk.
#[derive(Serialize)]
struct Chunk {
    event: &'static str,
    run: RunId,
    step: StepIndex,
    chunk: ChunkIndex,
    #[serde(skip_serializing_if = "Option::is_none")]
    prove_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Chunk {
    fn new(event: &'static str, id: JobId) -> Self {
        Self { event, run: id.run, step: id.step, chunk: id.chunk, prove_ms: None, reason: None }
    }

    fn text(&self) -> String {
        let mut text = format!("run {}, step {}, chunk {}: {}", self.run, self.step, self.chunk, self.event);
        if let Some(ms) = self.prove_ms {
            text += &format!(" in {ms} ms");
        }
        if let Some(reason) = &self.reason {
            text += &format!(": {reason}");
        }
        text
    }
}

fn say(out: &Output, told: Told) {
    let chunk = match told {
        Told::Taken(id) => Chunk::new("taken", id),
        Told::Proved { id, prove_ms } => Chunk { prove_ms: Some(prove_ms), ..Chunk::new("proved", id) },
        Told::GivenBack(id, error) => Chunk { reason: Some(error.to_string()), ..Chunk::new("given back", id) },
        Told::Unreadable(error) => return out.note(format!("thrown away: {error}")),
        Told::Trouble(error) => return out.note(error),
        _ => return,
    };
    if let Err(error) = out.result(&chunk, Chunk::text) {
        out.note(error);
    }
}
