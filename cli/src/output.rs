//! What goes to stdout and stderr.

use serde::Serialize;

pub use prover::session::NOT_PROVED;

/// A check that failed: exit code 1. Everything else is 2.
#[derive(Debug)]
pub struct Failure {
    /// The check.
    pub check: String,
    /// Where, expected and got.
    pub detail: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "check failed: {}: {}", self.check, self.detail)
    }
}

impl std::error::Error for Failure {}

/// Turns an error into a failed check.
pub fn failed(check: &str, error: impl std::fmt::Display) -> anyhow::Error {
    Failure { check: check.to_owned(), detail: error.to_string() }.into()
}

/// One line of a report.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was checked.
    pub check: String,
    /// Whether it holds.
    pub ok: bool,
    /// Numbers, or what is wrong.
    pub detail: String,
}

/// Where results go.
pub struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    /// `json`: one JSON document on stdout instead of text.
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether progress bars may be drawn.
    pub fn progress(&self) -> bool {
        !self.quiet
    }

    /// A result: JSON, or the text that `text` makes.
    pub fn result<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(value)?);
        } else {
            println!("{}", text(value));
        }
        Ok(())
    }

    /// A remark on stderr.
    pub fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            eprintln!("cairn: {text}");
        }
    }

    /// An error with its causes on stderr.
    pub fn error(&self, error: &anyhow::Error) {
        let mut chain: Vec<String> = Vec::new();
        for cause in error.chain().map(|e| e.to_string()) {
            // Transparent wrappers repeat their source.
            if chain.last().is_none_or(|last| !last.ends_with(&cause)) {
                chain.push(cause);
            }
        }
        eprintln!("cairn: {}", chain.join(": "));
        let text = chain.join(" ");
        if text.contains("anvil") || text.contains("not reached in") {
            eprintln!("hint: is a node running at that address?");
        }
    }
}
