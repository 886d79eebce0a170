//! What visitors' browsers verify with: the files that `cargo xtask island` makes, read once and served as they are.
//!
//! Their address has the digest of all of them in it, so a page never gets parts of two versions, and they may be kept for
//! good. Sections of pages that use them: `docs/spec/evidence.md`.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    body::Bytes,
    extract::{Path as Address, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use ledger::Digest;

use super::{refusal::Refusal, state::AppState};

/// Files and their content types.
const FILES: [(&str, &str); 4] = [
    ("island_bg.wasm", "application/wasm"),
    ("island.js", "text/javascript; charset=utf-8"),
    ("worker.js", "text/javascript; charset=utf-8"),
    ("verify.js", "text/javascript; charset=utf-8"),
];

/// What the worker may do: ask any node, because the visitor chooses it, and compile the wasm that checks what it says. Pages
/// may do neither.
const WORKER_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' http: https:";

/// Largest file, bytes: far above what the build allows.
const MAX_BYTES: u64 = 64 << 20;

/// Why a folder is not the one that the build makes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IslandError {
    /// A file cannot be read.
    #[error("read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is larger than any that the build makes.
    #[error("{}: more than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes that are read at most.
        limit: u64,
    },
}

/// One of [`FILES`].
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: Bytes,
    gzip: Bytes,
}

/// The files. Clones are the same.
#[derive(Clone)]
pub struct Island(Arc<Files>);

struct Files {
    version: String,
    assets: Vec<Asset>,
}

impl fmt::Debug for Island {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Island").field(&self.0.version).finish()
    }
}

impl Island {
    /// Reads the folder.
    ///
    /// # Errors
    /// [`IslandError`].
    pub fn read(dir: &Path) -> Result<Self, IslandError> {
        let mut assets = Vec::with_capacity(FILES.len());
        let mut digests = Vec::with_capacity(FILES.len() * 32);
        for (name, kind) in FILES {
            let path = dir.join(name);
            let read = || {
                let mut bytes = Vec::new();
                File::open(&path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(&bytes)?;
                Ok((bytes, encoder.finish()?))
            };
            let (bytes, gzip) = read().map_err(|source| IslandError::File { path: path.clone(), source })?;
            if bytes.len() as u64 > MAX_BYTES {
                return Err(IslandError::TooLarge { path, limit: MAX_BYTES });
            }
            digests.extend(Digest::of(&bytes).0);
            assets.push(Asset { name, kind, bytes: bytes.into(), gzip: gzip.into() });
        }
        let version = hex::encode(&Digest::of(&digests).0[..8]);
        Ok(Self(Arc::new(Files { version, assets })))
    }

    fn asset(&self, name: &str) -> Option<&Asset> {
        self.0.assets.iter().find(|asset| asset.name == name)
    }

    /// The address of the module for pages.
    pub(crate) fn module(&self) -> String {
        format!("/assets/island/{}/verify.js", self.0.version)
    }

    /// Bytes of the wasm, and those that are sent.
    pub(crate) fn wasm_bytes(&self) -> (usize, usize) {
        self.asset("island_bg.wasm").map_or((0, 0), |wasm| (wasm.bytes.len(), wasm.gzip.len()))
    }
}

/// One of the files.
pub(crate) async fn file(
    State(state): State<AppState>,
    Address((version, name)): Address<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let island = state.options().island.as_ref().filter(|island| island.0.version == version);
    let asset = island.and_then(|island| island.asset(&name)).ok_or(Refusal::NoRoute {})?;
    let gzip = headers.get_all(header::ACCEPT_ENCODING).iter().any(|value| value.to_str().is_ok_and(takes_gzip));
    let policy = (asset.name == "worker.js")
        .then(|| [(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(WORKER_POLICY))]);
    let common = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
    ];
    let encoding = gzip.then(|| [(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))]);
    let bytes = if gzip { &asset.gzip } else { &asset.bytes };
    let mut response = (common, bytes.clone()).into_response();
    response.headers_mut().extend(policy.into_iter().chain(encoding).flatten());
    Ok(response)
}

/// Whether a list of encodings has gzip with a weight above 0 (RFC 9110, 12.5.3).
fn takes_gzip(list: &str) -> bool {
    list.split(',').any(|entry| {
        let (coding, weight) = entry.split_once(';').unwrap_or((entry, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.parse::<f64>().ok());
        coding.trim().eq_ignore_ascii_case("gzip") && weight.is_some_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::{Island, IslandError, takes_gzip};

    #[test]
    fn encodings_are_taken_unless_refused() {
        for list in ["gzip", "br, gzip;q=0.5", "GZIP", "deflate , gzip"] {
            assert!(takes_gzip(list), "{list}");
        }
        for list in ["", "br", "gzip;q=0", "gzip; q=0.0", "x-gzip", "gzip;q=a"] {
            assert!(!takes_gzip(list), "{list}");
        }
    }

    #[test]
    fn a_folder_without_the_files_is_refused_by_name() {
        let dir = std::env::temp_dir().join("cairn-portal-no-island");
        let refused = Island::read(&dir);
        assert!(
            matches!(&refused, Err(IslandError::File { path, .. }) if *path == dir.join("island_bg.wasm")),
            "{refused:?}"
        );
    }
}
