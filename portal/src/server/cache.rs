//! Validators: an answer that the visitor has already is not sent again.

use axum::{
    body::{Body, HttpBody, to_bytes},
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use ledger::Digest;

use super::refusal::Refusal;

/// Largest answer that gets a validator, bytes. Exports are streams and get none.
const MAX_BYTES: u64 = 8 << 20;

/// Gives answers of known length an `ETag`, and answers 304 if the visitor has it.
pub async fn validate(request: Request, next: Next) -> Response {
    let is_get = request.method() == Method::GET;
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let response = next.run(request).await;
    let is_short = response.body().size_hint().exact().is_some_and(|length| length <= MAX_BYTES);
    if !is_get || response.status() != StatusCode::OK || !is_short {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = match to_bytes(body, MAX_BYTES as usize).await {
        Ok(bytes) => bytes,
        Err(error) => return Refusal::internal(&error).into_response(),
    };
    // Weak: compression changes the bytes that are sent.
    let tag = format!("W/\"{}\"", hex::encode(&Digest::of(&bytes).0[..16]));
    if let Ok(value) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, value);
    }
    parts.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    if known.is_some_and(|known| has(&known, &tag)) {
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.status = StatusCode::NOT_MODIFIED;
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// Whether a list of validators has one, by weak comparison (RFC 9110, 8.8.3.2).
fn has(list: &str, tag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    list.split(',').any(|known| known.trim() == "*" || bare(known) == bare(tag))
}

#[cfg(test)]
mod tests {
    use super::has;

    #[test]
    fn validators_are_compared_weakly() {
        for list in ["W/\"ab\"", "\"ab\"", "\"x\", W/\"ab\"", "*"] {
            assert!(has(list, "W/\"ab\""), "{list}");
        }
        for list in ["", "ab", "W/\"a\"", "\"x\", \"y\""] {
            assert!(!has(list, "W/\"ab\""), "{list}");
        }
    }
}
