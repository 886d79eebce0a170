//! What goes to stdout and stderr.

use audit::AuditError;
pub use audit::NOT_PROVED;
use serde::Serialize;

/// Turns an error into a failed check: exit code 1. Everything else is 2.
pub fn failed(check: &str, error: impl std::fmt::Display) -> anyhow::Error {
    AuditError::failed(check, error.to_string()).into()
}

/// Whether a check was made, and failed.
pub fn is_failure(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(AuditError::Failed(_)))
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
