//! The token that requests carry.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha256};

/// Fewest characters of a token.
const MIN_LEN: usize = 16;

/// The digest of the token: comparing digests takes the same time wherever two tokens differ.
#[derive(Clone, Debug)]
pub struct Token([u8; 32]);

impl Token {
    /// The token in a file, of 16 or more printable characters; made at random if there is no such file, mode 0600.
    ///
    /// Errors: [`io::Error`]; `InvalidData` for a token that is too short or not printable, or readable by others.
    pub fn read_or_create(path: &Path) -> io::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => {
                check_mode(path)?;
                let text = text.trim();
                if text.len() < MIN_LEN || !text.bytes().all(|b| b.is_ascii_graphic()) {
                    let reason = format!("expected {MIN_LEN} or more printable characters");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
                }
                Ok(Self(Sha256::digest(text).into()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut bytes = [0; 32];
                OsRng.fill_bytes(&mut bytes);
                let text = hex::encode(bytes);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                let mut options = OpenOptions::new();
                options.write(true).create_new(true);
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                let mut file = options.open(path)?;
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                Ok(Self(Sha256::digest(text).into()))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the value of an `Authorization` header is this token.
    pub(super) fn admits(&self, header: Option<&str>) -> bool {
        let given = header.and_then(|value| value.strip_prefix("Bearer "));
        given.is_some_and(|text| {
            let digest: [u8; 32] = Sha256::digest(text.trim()).into();
            digest.iter().zip(self.0).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
        })
    }
}

#[cfg(unix)]
fn check_mode(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let reason = format!("expected no access for group and others, got mode {mode:o}");
    Err(io::Error::new(io::ErrorKind::InvalidData, reason))
}

#[cfg(not(unix))]
fn check_mode(_: &Path) -> io::Result<()> {
    Ok(())
}
