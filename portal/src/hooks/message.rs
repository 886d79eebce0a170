//! What a receiver of a webhook gets, and how it knows that it is ours.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use ledger::Digest;
use serde::Serialize;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    api::model::RunView,
    index::{RunEntry, RunName, Standing},
};

/// Bytes of a secret (Standard Webhooks: 24 to 64).
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The key that messages are signed with. As text: `whsec_` and Base64. Never shown.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why a text is not a [`Secret`]. The text is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected whsec_ and the Base64 of {} to {} bytes", SECRET_BYTES.start(), SECRET_BYTES.end())]
pub struct SecretError;

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let encoded = text.trim().strip_prefix("whsec_").ok_or(SecretError)?;
        let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| SecretError)?);
        if SECRET_BYTES.contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(SecretError) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A message about a run. Equal states give equal messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    body: String,
}

#[derive(Serialize)]
struct Body<'r, T> {
    r#type: &'static str,
    data: &'r T,
}

/// A run that the chain took back.
#[derive(Serialize)]
struct Gone {
    run: ledger::RunId,
    chain_id: ledger::ChainId,
    contract: ledger::Address,
}

impl Message {
    /// A run as it is now, as `GET /api/v1/runs/{run}` gives it, except for the block at which it was last confirmed: that
    /// moves with the chain and is no change.
    pub fn changed(run: &RunEntry) -> Self {
        let mut run = run.clone();
        if let Standing::Registered { block } | Standing::Anchored { block } = &mut run.standing {
            *block = 0;
        }
        let mut data = serde_json::to_value(RunView::from(&run)).unwrap_or_default();
        if let Some(fields) = data.as_object_mut() {
            fields.remove("confirmed_at_block");
        }
        Self::new("run.changed", &data)
    }

    /// A run that a reorganisation took.
    pub fn gone(name: RunName) -> Self {
        Self::new("run.gone", &Gone { run: name.run, chain_id: name.chain, contract: name.contract })
    }

    fn new(r#type: &'static str, data: &impl Serialize) -> Self {
        // These types have no maps with other keys than texts, and no way to fail.
        Self { body: serde_json::to_string(&Body { r#type, data }).unwrap_or_default() }
    }

    /// JSON.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Which message it is.
    pub fn digest(&self) -> Digest {
        Digest::of(self.body.as_bytes())
    }

    /// `webhook-id`, the same whenever this message is sent; `webhook-timestamp`, unix seconds; `webhook-signature`, `v1,`
    /// and the Base64 of HMAC-SHA256 over `id.timestamp.body`.
    pub fn headers(&self, secret: &Secret, at: u64) -> [(&'static str, String); 3] {
        let id = format!("msg_{}", hex::encode(self.digest().0));
        let signature = STANDARD.encode(sign(secret, &format!("{id}.{at}.{}", self.body)));
        [("webhook-id", id), ("webhook-timestamp", at.to_string()), ("webhook-signature", format!("v1,{signature}"))]
    }
}

fn sign(secret: &Secret, text: &str) -> Vec<u8> {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&secret.0) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and message are those of the examples of Standard Webhooks; the MAC was computed with Python's `hmac`.
    #[test]
    fn a_signature_is_hmac_sha256_of_id_time_and_body() {
        let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let signature = sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}");
        assert_eq!(STANDARD.encode(signature), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_of_another_form_or_length_are_refused() {
        for text in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%%"] {
            assert_eq!(text.parse::<Secret>().map(|_| ()), Err(SecretError), "{text}");
        }
        let long = format!("whsec_{}", STANDARD.encode([1; 65]));
        assert_eq!(long.parse::<Secret>().map(|_| ()), Err(SecretError));
    }
}
