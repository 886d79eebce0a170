//! Paths inside a torrent: any Unicode, but nothing that could leave its directory.

use std::fmt;
use std::path::{Path, PathBuf};

/// Largest length of one component in bytes.
pub const MAX_COMPONENT_BYTES: usize = 255;

/// Most components of a path.
pub const MAX_COMPONENTS: usize = 32;

/// Characters that some system gives a meaning: separators, drives and streams, wildcards.
const RESERVED: [char; 9] = ['/', '\\', ':', '*', '?', '"', '<', '>', '|'];

/// A path that may not be in a torrent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentPathError {
    /// No components, or an empty one: an absolute path, or a slash too much.
    #[error("path {path:?}: a component is empty")]
    Empty {
        /// The refused path.
        path: String,
    },
    /// A component is `.` or `..`.
    #[error("path {path:?} leaves or repeats its directory")]
    Traversal {
        /// The refused path.
        path: String,
    },
    /// A component has a character that separates, names a drive or is a wildcard on some system.
    #[error("path {path:?} has the reserved character {character:?}")]
    Reserved {
        /// The refused path.
        path: String,
        /// The first such character.
        character: char,
    },
    /// A component has a control character.
    #[error("path {path:?} has a control character")]
    Control {
        /// The refused path.
        path: String,
    },
    /// A component ends with a dot or a space, which some systems leave out.
    #[error("path {path:?} has a component that ends with a dot or a space")]
    End {
        /// The refused path.
        path: String,
    },
    /// The bytes are not UTF-8.
    #[error("path {path:?} is not UTF-8")]
    NotUtf8 {
        /// The refused path, with replacements.
        path: String,
    },
    /// A component is longer than file systems allow.
    #[error("path {path:?}: expected components of at most {MAX_COMPONENT_BYTES} bytes, got {got}")]
    ComponentTooLong {
        /// The refused path, cut.
        path: String,
        /// Length found.
        got: usize,
    },
    /// More directories inside each other than anyone needs.
    #[error("path of {got} components: expected at most {MAX_COMPONENTS}")]
    TooDeep {
        /// Number found.
        got: usize,
    },
}

/// A relative path below a torrent's directory; ordered by its components' bytes, as file trees are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentPath(Box<[String]>);

impl ContentPath {
    /// Checks the components of a path.
    ///
    /// **Errors**: every [`ContentPathError`].
    pub fn new<C: AsRef<[u8]>>(components: &[C]) -> Result<Self, ContentPathError> {
        if components.len() > MAX_COMPONENTS {
            return Err(ContentPathError::TooDeep { got: components.len() });
        }
        let shown = || {
            let shown: Vec<_> = components.iter().map(|c| String::from_utf8_lossy(c.as_ref())).collect();
            shown.join("/").chars().take(200).collect::<String>()
        };
        if components.is_empty() {
            return Err(ContentPathError::Empty { path: shown() });
        }
        let component = |bytes: &C| {
            let text = std::str::from_utf8(bytes.as_ref()).map_err(|_| ContentPathError::NotUtf8 { path: shown() })?;
            check(text, shown)?;
            Ok(text.to_owned())
        };
        components.iter().map(component).collect::<Result<Box<[String]>, _>>().map(Self)
    }

    /// The components, at least one.
    pub fn components(&self) -> &[String] {
        &self.0
    }

    /// The path below the directory `root`.
    pub fn below(&self, root: &Path) -> PathBuf {
        self.0.iter().fold(root.to_owned(), |path, component| path.join(component))
    }
}

fn check(text: &str, path: impl Fn() -> String) -> Result<(), ContentPathError> {
    if text.is_empty() {
        return Err(ContentPathError::Empty { path: path() });
    }
    if text == "." || text == ".." {
        return Err(ContentPathError::Traversal { path: path() });
    }
    if text.len() > MAX_COMPONENT_BYTES {
        return Err(ContentPathError::ComponentTooLong { path: path(), got: text.len() });
    }
    if text.chars().any(char::is_control) {
        return Err(ContentPathError::Control { path: path() });
    }
    if let Some(character) = text.chars().find(|character| RESERVED.contains(character)) {
        return Err(ContentPathError::Reserved { path: path(), character });
    }
    if text.ends_with(['.', ' ']) {
        return Err(ContentPathError::End { path: path() });
    }
    Ok(())
}

impl fmt::Display for ContentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}
