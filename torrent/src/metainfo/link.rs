//! Addresses of trackers and web seeds.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// Longest address.
const MAX_BYTES: usize = 2048;

/// An address that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Not an absolute URL.
    #[error("address {text:?}: {reason}")]
    Syntax {
        /// The refused text, cut.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// Another protocol.
    #[error("address {text:?}: expected {expected}, got {got}")]
    Scheme {
        /// The refused text.
        text: String,
        /// Accepted protocols.
        expected: &'static str,
        /// Protocol found.
        got: String,
    },
    /// A password would be published with the torrent.
    #[error("address of {host}: it has a user name or password, which everyone would see")]
    Credentials {
        /// The host.
        host: String,
    },
    /// Longer than clients take, as it came or as it is written.
    #[error("address of {got} bytes: expected at most {MAX_BYTES}")]
    TooLong {
        /// Length found.
        got: usize,
    },
}

fn parse(text: &str, schemes: &[&str], expected: &'static str) -> Result<Url, LinkError> {
    if text.len() > MAX_BYTES {
        return Err(LinkError::TooLong { got: text.len() });
    }
    let syntax = |reason: String| LinkError::Syntax { text: text.chars().take(200).collect(), reason };
    let url = Url::parse(text).map_err(|error| syntax(error.to_string()))?;
    if !schemes.contains(&url.scheme()) {
        return Err(LinkError::Scheme { text: text.to_owned(), expected, got: url.scheme().to_owned() });
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| syntax("it has no host".to_owned()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(LinkError::Credentials { host: host.to_owned() });
    }
    limited(url)
}

/// As it is written: escapes are longer than what they stand for, and what was accepted must be read again.
fn limited(url: Url) -> Result<Url, LinkError> {
    match url.as_str().len() {
        0..=MAX_BYTES => Ok(url),
        got => Err(LinkError::TooLong { got }),
    }
}

/// A tracker, reached by HTTP or UDP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tracker(Url);

/// An HTTP server with the torrent's directory below the address, which ends in a slash (BEP 19).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WebSeed(Url);

impl FromStr for Tracker {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        parse(text, &["http", "https", "udp"], "http, https or udp").map(Self)
    }
}

impl FromStr for WebSeed {
    type Err = LinkError;

    /// Adds the slash at the end if it is not there: clients append the torrent's name.
    fn from_str(text: &str) -> Result<Self, LinkError> {
        let mut url = parse(text, &["http", "https"], "http or https")?;
        if url.query().is_some() || url.fragment().is_some() {
            let (text, reason) = (text.to_owned(), "paths cannot be appended to a query or fragment".to_owned());
            return Err(LinkError::Syntax { text, reason });
        }
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        limited(url).map(Self)
    }
}

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// The address as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

text!(Tracker);
text!(WebSeed);
