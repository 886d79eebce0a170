//! Revert data to the name and the values of a custom error.
//!
//! Arguments of the contracts' custom errors are one word each, or `bytes`: what a verifier reverted with, decoded in turn.

use std::fmt;

use alloy::primitives::{Address, U256, keccak256};
use serde_json::Value;

use crate::artifacts::{self, Artifact};

/// Why a contract refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revert {
    /// One of our custom errors.
    Custom {
        /// Its name, as in the interfaces.
        name: String,
        /// Names and values of its arguments, in order.
        args: Vec<RevertArg>,
    },
    /// `require` with a message.
    Message(String),
    /// An error that is not ours, or none: the raw data.
    Unknown(Vec<u8>),
}

/// One argument of a custom error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevertArg {
    /// Its name in the interface.
    pub name: String,
    /// Decimal for counts, `0x` hex for ids, hashes and addresses.
    pub value: String,
}

impl Revert {
    /// Decodes revert data; what is not known stays raw.
    pub fn decode(data: &[u8]) -> Self {
        let unknown = || Self::Unknown(data.to_vec());
        let Some((selector, body)) = data.split_first_chunk::<4>() else {
            return unknown();
        };
        if let Some(message) = decode_message(selector, body) {
            return Self::Message(message);
        }
        [artifacts::RUN_ANCHOR, artifacts::VERIFIER_REGISTRY, artifacts::ATTESTATIONS, artifacts::EPOCH_VERIFIER]
            .iter()
            .filter_map(|artifact| artifact.parse().ok())
            .find_map(|artifact| decode_custom(&artifact, *selector, body))
            .unwrap_or_else(unknown)
    }

    /// Name of the custom error, if it is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Custom { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Value of a custom error's argument.
    pub fn arg(&self, name: &str) -> Option<&str> {
        let Self::Custom { args, .. } = self else {
            return None;
        };
        args.iter().find(|arg| arg.name == name).map(|arg| arg.value.as_str())
    }
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Custom { name, args } => {
                let args: Vec<_> = args.iter().map(|arg| format!("{}: {}", arg.name, arg.value)).collect();
                write!(f, "{name}({})", args.join(", "))
            }
            Self::Message(message) => write!(f, "{message:?}"),
            Self::Unknown(data) if data.is_empty() => write!(f, "no reason given"),
            Self::Unknown(data) => write!(f, "unknown error 0x{}", hex::encode(data)),
        }
    }
}

/// `Error(string)`, selector 0x08c379a0.
fn decode_message(selector: &[u8; 4], body: &[u8]) -> Option<String> {
    if *selector != [0x08, 0xc3, 0x79, 0xa0] {
        return None;
    }
    let len = usize::try_from(U256::try_from_be_slice(body.get(32..64)?)?).ok()?;
    let text = body.get(64..64usize.checked_add(len)?)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

fn decode_custom(artifact: &Artifact, selector: [u8; 4], body: &[u8]) -> Option<Revert> {
    let entries = artifact.abi.as_array()?;
    entries.iter().filter(|entry| entry["type"] == "error").find_map(|entry| {
        let name = entry["name"].as_str()?;
        let inputs = entry["inputs"].as_array()?;
        let types: Option<Vec<_>> = inputs.iter().map(|input| input["type"].as_str()).collect();
        let signature = format!("{name}({})", types?.join(","));
        let has_tail = inputs.iter().any(|input| input["type"] == "bytes");
        let fits = if has_tail { body.len() > 32 * inputs.len() } else { body.len() == 32 * inputs.len() };
        if keccak256(signature)[..4] != selector || !fits {
            return None;
        }
        let args = inputs.iter().zip(body.chunks_exact(32)).map(|(input, word)| decode_arg(input, word, body));
        Some(Revert::Custom { name: name.to_owned(), args: args.collect::<Option<_>>()? })
    })
}

/// `bytes` behind the heads: a word with the length at `offset`, then the data.
fn tail(body: &[u8], offset: U256) -> Option<&[u8]> {
    let rest = body.get(usize::try_from(offset).ok()?..)?;
    let (len, data) = rest.split_at_checked(32)?;
    data.get(..usize::try_from(U256::try_from_be_slice(len)?).ok()?)
}

fn decode_arg(input: &Value, word: &[u8], body: &[u8]) -> Option<RevertArg> {
    let number = U256::try_from_be_slice(word)?;
    let is_run = input["internalType"].as_str() == Some("RunId");
    let value = match input["type"].as_str()? {
        "address" => format!("{:#x}", Address::from_slice(&word[12..])),
        // One level: what is inside has arguments of one word.
        "bytes" => Revert::decode(tail(body, number)?).to_string(),
        "bytes4" => format!("0x{}", hex::encode(&word[..4])),
        "bytes32" => format!("0x{}", hex::encode(word)),
        "uint256" if is_run => format!("0x{}", hex::encode(word)),
        _ => number.to_string(),
    };
    Some(RevertArg { name: input["name"].as_str()?.to_owned(), value })
}
