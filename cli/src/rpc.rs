//! How patient commands are with a node.

use std::time::Duration;

use chain::Options;
use clap::Args;

/// Options of every command that talks to a node.
#[derive(Args, Clone, Copy)]
pub struct RpcArgs {
    /// Seconds given to the node for one request; a request that got no answer is repeated three times.
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    rpc_timeout: Duration,
}

impl RpcArgs {
    /// For a client.
    pub fn options(self) -> Options {
        Options { timeout: self.rpc_timeout, ..Options::default() }
    }
}

/// 0.05 to 3600 seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.05..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("expected 0.05 to 3600 seconds, got {text:?}")),
    }
}
