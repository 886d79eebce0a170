//! What every request passes: counting and logging, the headers that browsers enforce, and the limit of one address.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant,
};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{refusal::Refusal, state::AppState};

/// What a page may load and ask: this portal, nothing else. No page has scripts or styles inside.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; worker-src 'self'; \
                           connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// What any other answer may load if a browser shows it. The worker of the island brings a policy of its own.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ("x-frame-options", "DENY"),
];

/// Counts and logs an answer.
pub async fn observe(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let (took, status) = (start.elapsed(), response.status().as_u16());
    state.metrics().answered(status, took);
    let took_ms = took.as_secs_f64() * 1e3;
    tracing::info!(%method, path, status, took_ms, "{method} {path} answered {status}");
    response
}

/// Adds the headers that browsers enforce.
pub async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    // A visitor keeps the answer that a 304 confirms, with the policy that came with it; one for another kind would replace it.
    if response.status() == StatusCode::NOT_MODIFIED {
        return response;
    }
    let headers = response.headers_mut();
    let is_page = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let policy = HeaderValue::from_static(if is_page { PAGE_POLICY } else { POLICY });
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(policy);
    response
}

/// Refuses an address that asks too often.
pub async fn limit(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    // Without a connection the router runs inside a test, which is one visitor.
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let who = if state.options().behind_proxy { forwarded(request.headers()).unwrap_or(peer) } else { peer };
    match state.limiter().take(who, Instant::now()) {
        Ok(()) => next.run(request).await,
        Err(retry_after_s) => Refusal::TooMany { retry_after_s }.into_response(),
    }
}

/// Refuses an address that is no text: the handlers read its parts as such.
pub async fn readable(request: Request, next: Next) -> Response {
    if is_text(request.uri().path()) {
        return next.run(request).await;
    }
    Refusal::Malformed { what: "address", reason: "is not UTF-8".to_owned() }.into_response()
}

/// Whether a path is UTF-8 once its escapes are bytes. What only looks like an escape stands for itself.
fn is_text(path: &str) -> bool {
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| *first == b'%').and_then(|digits| hex::decode(digits).ok());
        rest = if escaped.is_some() { &after[2..] } else { after };
        bytes.extend(escaped.unwrap_or_else(|| vec![*first]));
    }
    String::from_utf8(bytes).is_ok()
}

/// The address that the proxy in front saw: the last of the list, which the proxy itself wrote.
fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::is_text;

    #[test]
    fn addresses_are_text_once_their_escapes_are_bytes() {
        for path in ["/", "/runs/0x12", "/%E2%9C%93", "/100%", "/%zz", "/%4"] {
            assert!(is_text(path), "{path}");
        }
        for path in ["/%FF", "/runs/%C3", "/%e2%9c"] {
            assert!(!is_text(path), "{path}");
        }
    }
}
