//! Paths that may be in a bundle: safe on every file system, and never a secret.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Largest length of a path in bytes.
pub const MAX_PATH_BYTES: usize = 512;

/// Largest length of one component in bytes.
const MAX_COMPONENT_BYTES: usize = 128;

/// Names of devices on Windows, which no file may bear there, whatever its extension.
const DEVICES: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "lpt1", "lpt2",
    "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// Words that name secrets: a component that has one among its parts between `.`, `_` and `-` is refused.
const SECRET_WORDS: [&str; 11] = [
    "secret",
    "secrets",
    "private",
    "seed",
    "seeds",
    "weights",
    "state",
    "optimizer",
    "wallet",
    "keystore",
    "mnemonic",
];

/// Extensions of key files.
const SECRET_EXTENSIONS: [&str; 5] = ["key", "pem", "env", "p12", "pfx"];

/// A path that may not be in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path, or a component of it, is empty.
    #[error("path {path:?}: a component is empty")]
    Empty {
        /// The refused path.
        path: String,
    },
    /// The path is longer than any path here.
    #[error("path of {got} bytes: expected at most {MAX_PATH_BYTES}, and {MAX_COMPONENT_BYTES} a component")]
    TooLong {
        /// Length found.
        got: usize,
    },
    /// The path begins at the root of a file system or drive.
    #[error("path {path:?} is absolute")]
    Absolute {
        /// The refused path.
        path: String,
    },
    /// The path has a `.` or `..` component.
    #[error("path {path:?} leaves or repeats its directory")]
    Traversal {
        /// The refused path.
        path: String,
    },
    /// The path has a backslash, which is a separator on some systems.
    #[error("path {path:?} has a backslash")]
    Backslash {
        /// The refused path.
        path: String,
    },
    /// The path has a control character.
    #[error("path {path:?} has a control character")]
    Control {
        /// The refused path.
        path: String,
    },
    /// The path has a character that is not `A-Z a-z 0-9 . _ -`.
    #[error("path {path:?} has the character {character:?}; expected A-Z a-z 0-9 . _ - and /")]
    Character {
        /// The refused path.
        path: String,
        /// The first such character.
        character: char,
    },
    /// A component begins or ends with a dot: hidden here, or changed by another system.
    #[error("path {path:?} has a component that begins or ends with a dot")]
    Dot {
        /// The refused path.
        path: String,
    },
    /// A component is the name of a device on some system.
    #[error("path {path:?} has a component that names a device")]
    Device {
        /// The refused path.
        path: String,
    },
    /// The path names a secret.
    #[error("path {path:?} names a secret")]
    Secret {
        /// The refused path.
        path: String,
    },
}

/// A relative path with `/` between components, safe to create below any directory. Spec `log-path`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArtifactPath(String);

impl ArtifactPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components, at least one.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The directories above the file, from the top, then the file.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = &str> {
        let separators = self.0.match_indices('/').map(|(at, _)| &self.0[..at]);
        separators.chain(std::iter::once(self.as_str()))
    }
}

impl FromStr for ArtifactPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong { got: text.len() });
        }
        let path = || text.to_owned();
        let bytes = text.as_bytes();
        if text.chars().any(char::is_control) {
            return Err(PathError::Control { path: path() });
        }
        if text.contains('\\') {
            return Err(PathError::Backslash { path: path() });
        }
        if bytes.first() == Some(&b'/') || bytes.get(1) == Some(&b':') {
            return Err(PathError::Absolute { path: path() });
        }
        let allowed = |character: char| character.is_ascii_alphanumeric() || "._-/".contains(character);
        if let Some(character) = text.chars().find(|character| !allowed(*character)) {
            return Err(PathError::Character { path: path(), character });
        }
        for component in text.split('/') {
            if component.is_empty() {
                return Err(PathError::Empty { path: path() });
            }
            if component == "." || component == ".." {
                return Err(PathError::Traversal { path: path() });
            }
            if component.len() > MAX_COMPONENT_BYTES {
                return Err(PathError::TooLong { got: text.len() });
            }
            if is_secret(component) {
                return Err(PathError::Secret { path: path() });
            }
            if component.starts_with('.') || component.ends_with('.') {
                return Err(PathError::Dot { path: path() });
            }
            let stem = component.split('.').next().unwrap_or(component).to_ascii_lowercase();
            if DEVICES.contains(&stem.as_str()) {
                return Err(PathError::Device { path: path() });
            }
        }
        Ok(Self(path()))
    }
}

fn is_secret(component: &str) -> bool {
    let folded = component.to_ascii_lowercase();
    let extension = folded.rsplit_once('.').map(|(_, extension)| extension);
    folded.split(['.', '_', '-']).any(|word| SECRET_WORDS.contains(&word))
        || extension.is_some_and(|extension| SECRET_EXTENSIONS.contains(&extension))
}

impl TryFrom<String> for ArtifactPath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        text.parse()
    }
}

impl From<ArtifactPath> for String {
    fn from(path: ArtifactPath) -> Self {
        path.0
    }
}

impl fmt::Display for ArtifactPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
