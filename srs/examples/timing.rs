//! Prints how long it takes to make, store, load and halve the development string: `cargo run -p srs --example timing -- 20`.
//!
//! Halving (the transform over group elements) is skipped above k = 17, where it takes minutes.

use std::time::Instant;

use srs::{SrsCache, SrsLabel, SrsSize, dev, silent};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let k = SrsSize::new(std::env::args().nth(1).unwrap_or_else(|| "16".into()).parse()?)?;
    let dir = tempfile::tempdir()?;
    let cache = SrsCache::new(dir.path());
    let start = Instant::now();
    let made = dev::generate(k, &silent)?;
    println!("k = {k}: made in {:?}", start.elapsed());
    let start = Instant::now();
    cache.store(&made, &silent)?;
    println!("k = {k}: stored in {:?}", start.elapsed());
    let start = Instant::now();
    let loaded = cache.load(&SrsLabel::development(), k, &silent)?;
    println!("k = {k}: loaded in {:?}, digest {}", start.elapsed(), loaded.info().digest);
    if (2..=17).contains(&k.k()) {
        let half = SrsSize::new(k.k() - 1)?;
        let start = Instant::now();
        loaded.downsize(half, &silent)?;
        println!("k = {k}: halved in {:?}", start.elapsed());
    }
    Ok(())
}
