//! How patient the process is with nodes.

use std::sync::OnceLock;
use std::time::Duration;

use chain::{ChainError, Client, Options};

/// Set once, by `main`.
static TIMEOUT: OnceLock<Duration> = OnceLock::new();

/// Makes `timeout` that of every request from now on; only the first call counts.
pub fn set_timeout(timeout: Duration) {
    TIMEOUT.get_or_init(|| timeout);
}

/// A connection to the node at `rpc`.
pub async fn connect(rpc: &str) -> Result<Client, ChainError> {
    let options = Options::default();
    let timeout = TIMEOUT.get().copied().unwrap_or(options.timeout);
    Client::connect(rpc, Options { timeout, ..options }).await
}

/// 0.05 to 3600 seconds.
pub fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.05..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("expected 0.05 to 3600 seconds, got {text:?}")),
    }
}
