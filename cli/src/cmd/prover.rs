//! `cairn prover`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use prover::service::{self, Config, Hub, Token};
use prover::session::Places;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::cmd::{Global, block_on, stop_signal};
use crate::output::Output;

/// The prover service.
#[derive(Subcommand)]
pub enum Prover {
    /// Prove steps that trainers send over HTTP.
    Serve(Serve),
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
        };
        if !self.listen.ip().is_loopback() {
            out.note(format!("{}: without TLS the token and the gradients can be read on the way", self.listen));
        }
        let hub = Hub::load(config)?;
        block_on(async move {
            let listener =
                TcpListener::bind(self.listen).await.with_context(|| format!("listen at {}", self.listen))?;
            let listen = format!("http://{}", listener.local_addr()?);
            out.result(&Listening { listen, token_file }, |l| {
                format!("listening at {}, token in {}", l.listen, l.token_file.display())
            })?;
            // Installed before the first request is served, so that no signal is missed.
            let stop = stop_signal()?;
            service::serve(hub, token, listener, stop).await.context("prover service")?;
            out.note("stopped; what was accepted and not proved waits for the next start");
            Ok(())
        })
    }
}
