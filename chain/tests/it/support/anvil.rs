//! A development node of its own for each test, on a port that the system chooses.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use chain::{Client, Options, Signer, Writer};
use ledger::Address;
use serde_json::Value;

/// A running node; ends with the value.
pub struct Anvil {
    process: Child,
    pub url: String,
}

impl Anvil {
    /// Starts a node with the usual settings.
    pub fn start() -> Self {
        Self::with_args(&[])
    }

    /// Starts a node with further arguments.
    pub fn with_args(args: &[&str]) -> Self {
        let binary = binary();
        let mut process = Command::new(&binary)
            .args(["--port", "0"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot run {}: {error}\nhint: run `cargo xtask setup` first", binary.display())
            });
        let stdout = process.stdout.take().expect("stdout is piped above");
        let mut lines = BufReader::new(stdout).lines();
        let listening = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned))
            .expect("anvil ended before it listened");
        // The node blocks once a pipe that nobody reads is full.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, url: format!("http://{listening}") }
    }

    /// A reading client.
    pub async fn client(&self) -> Client {
        Client::connect(&self.url, quick()).await.expect("anvil answers")
    }

    /// A writer for the development account.
    pub async fn writer(&self) -> Writer {
        let signer = Signer::anvil_development_key().expect("the constant is a key");
        Writer::new(self.client().await, signer)
    }

    /// A writer for another account.
    pub async fn writer_with(&self, key: &str) -> Writer {
        Writer::new(self.client().await, Signer::from_hex(key).expect("a key"))
    }

    /// Puts the code of one contract at another address, too.
    pub async fn copy_code(&self, from: Address, to: Address) {
        let code = self.code(from).await;
        self.set_code(to, &code).await;
    }

    /// The code at an address.
    pub async fn code(&self, at: Address) -> Vec<u8> {
        let code = self.request("eth_getCode", serde_json::json!([at, "latest"])).await;
        hex::decode(code.as_str().expect("hex").trim_start_matches("0x")).expect("hex")
    }

    /// Puts other code at an address.
    pub async fn set_code(&self, at: Address, code: &[u8]) {
        self.request("anvil_setCode", serde_json::json!([at, format!("0x{}", hex::encode(code))])).await;
    }

    /// A request of the node's own, such as `evm_snapshot`.
    pub async fn request(&self, method: &'static str, params: Value) -> Value {
        let provider: DynProvider = ProviderBuilder::new().connect_http(self.url.parse().expect("made above")).erased();
        provider.raw_request(method.into(), params).await.expect("anvil knows the method")
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Options with little patience.
pub fn quick() -> Options {
    Options {
        timeout: Duration::from_secs(10),
        attempts: 3,
        backoff: Duration::from_millis(10),
        mining_timeout: Duration::from_secs(20),
        // Small, so that every test pages.
        log_page: 3,
    }
}

/// From `cargo xtask setup`, or the PATH.
fn binary() -> PathBuf {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cache = std::env::var_os("CAIRN_CACHE").map_or_else(|| repo.join(".cache"), PathBuf::from);
    let installed = cache.join("tools/bin/anvil");
    if installed.is_file() { installed } else { PathBuf::from("anvil") }
}
