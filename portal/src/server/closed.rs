//! Pages of closed epochs and their steps, kept as they are sent. A page is kept under everything that it shows: if the chain takes
//! something back, or a bundle comes, what is kept is not found any more.

use std::{
    fmt::Debug,
    io::Write,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    body::Bytes,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use ledger::Digest;
use lru::LruCache;

/// Bytes of all kept pages.
const MAX_BYTES: usize = 64 << 20;
/// Pages that are kept.
const MAX_PAGES: NonZeroUsize = NonZeroUsize::new(32_768).unwrap();

/// What a page shows, as a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp(Digest);

impl Stamp {
    /// Of everything that makes the page.
    pub fn of(shown: &dyn Debug) -> Self {
        Self(Digest::of(format!("{shown:?}").as_bytes()))
    }
}

/// A page as it is sent.
#[derive(Clone, Debug)]
pub struct Page {
    plain: Bytes,
    gzip: Bytes,
}

/// The kept pages.
#[derive(Debug)]
pub struct ClosedPages(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    pages: LruCache<Stamp, Arc<Page>>,
    n_bytes: usize,
}

impl Default for ClosedPages {
    fn default() -> Self {
        Self(Mutex::new(Kept { pages: LruCache::new(MAX_PAGES), n_bytes: 0 }))
    }
}

impl Page {
    /// Compresses a page.
    fn new(html: String) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        // Writing to memory does not fail; without a compressed page the plain one is sent.
        let gzip = encoder.write_all(html.as_bytes()).and_then(|()| encoder.finish()).unwrap_or_default();
        Self { plain: html.into(), gzip: gzip.into() }
    }

    /// The page, compressed if the visitor takes that.
    pub fn answer(&self, visitor: &HeaderMap) -> Response {
        let html = (header::CONTENT_TYPE, "text/html; charset=utf-8");
        let vary = (header::VARY, "accept-encoding");
        if takes_gzip(visitor) && !self.gzip.is_empty() {
            return ([html, vary, (header::CONTENT_ENCODING, "gzip")], self.gzip.clone()).into_response();
        }
        ([html, vary], self.plain.clone()).into_response()
    }

    fn n_bytes(&self) -> usize {
        self.plain.len() + self.gzip.len()
    }
}

impl ClosedPages {
    /// The page that shows this, if it is kept.
    pub fn get(&self, stamp: Stamp) -> Option<Arc<Page>> {
        self.lock().pages.get(&stamp).cloned()
    }

    /// Keeps a page; those that were not asked for longest go for it.
    pub fn keep(&self, stamp: Stamp, html: String) -> Arc<Page> {
        let page = Arc::new(Page::new(html));
        let mut kept = self.lock();
        kept.n_bytes += page.n_bytes();
        if let Some((_, before)) = kept.pages.push(stamp, page.clone()) {
            kept.n_bytes -= before.n_bytes();
        }
        while kept.n_bytes > MAX_BYTES
            && let Some((_, oldest)) = kept.pages.pop_lru()
        {
            kept.n_bytes -= oldest.n_bytes();
        }
        page
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `Accept-Encoding` names gzip without refusing it (RFC 9110, 12.5.3).
fn takes_gzip(visitor: &HeaderMap) -> bool {
    let named = visitor.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|list| list.split(',')).any(|part| {
        let mut part = part.split(';').map(str::trim);
        let is_gzip = part.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = part.find_map(|parameter| parameter.strip_prefix("q="));
        is_gzip && weight.is_none_or(|weight| weight.parse().is_ok_and(|weight: f32| weight > 0.0))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn visitor(encodings: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(encodings))])
    }

    #[test]
    fn only_who_takes_gzip_gets_it() {
        for (encodings, expected) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, br", false),
            ("", false),
            ("identity", false),
            ("xgzip", false),
        ] {
            assert_eq!(takes_gzip(&visitor(encodings)), expected, "{encodings}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn what_is_kept_has_an_end_and_goes_oldest_first() {
        let pages = ClosedPages::default();
        // Does not compress.
        let noise = |seed: u64| {
            (0..40_000u64).map(|at| Digest::of(&(seed << 32 | at).to_be_bytes()).to_string()).collect::<String>()
        };
        for seed in 0..24 {
            pages.keep(Stamp::of(&seed), noise(seed));
        }
        assert!(pages.get(Stamp::of(&0u64)).is_none() && pages.get(Stamp::of(&23u64)).is_some());
        let kept = pages.lock();
        assert!(kept.n_bytes <= MAX_BYTES);
        assert_eq!(kept.n_bytes, kept.pages.iter().map(|(_, page)| page.n_bytes()).sum::<usize>());
    }
}
