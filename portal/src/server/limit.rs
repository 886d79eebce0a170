//! How often one address may ask: a bucket of tokens each, refilled at a steady rate.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Addresses that are remembered. Above it, those whose bucket is full again are forgotten first, then all.
const MAX_ADDRESSES: usize = 65_536;

/// What one address may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests a second in the long run.
    pub per_second: f64,
    /// Requests at once after a pause.
    pub burst: f64,
}

impl Default for Rate {
    /// A page and its parts, many times over; less than a scraper wants.
    fn default() -> Self {
        Self { per_second: 20.0, burst: 200.0 }
    }
}

/// The buckets.
#[derive(Debug)]
pub struct Limiter {
    rate: Rate,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Limiter {
    /// Nobody asked yet.
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    /// Takes a token; the error is in how many whole seconds there will be one.
    ///
    /// # Errors
    /// If the address asked too often.
    pub fn take(&self, address: IpAddr, now: Instant) -> Result<(), u64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_ADDRESSES {
            buckets.retain(|_, bucket| self.refilled(*bucket, now) < self.rate.burst);
        }
        if buckets.len() >= MAX_ADDRESSES {
            buckets.clear();
        }
        let bucket = buckets.entry(network(address)).or_insert(Bucket { tokens: self.rate.burst, at: now });
        let tokens = self.refilled(*bucket, now);
        let left = tokens - 1.0;
        *bucket = Bucket { tokens: if left < 0.0 { tokens } else { left }, at: now };
        if left < 0.0 { Err((-left / self.rate.per_second).ceil().max(1.0) as u64) } else { Ok(()) }
    }

    fn refilled(&self, bucket: Bucket, now: Instant) -> f64 {
        let seconds = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.tokens + seconds * self.rate.per_second).min(self.rate.burst)
    }
}

/// Whom the bucket is for. One subscriber has a whole /64 of IPv6 addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn a_bucket_empties_and_refills_and_is_nobody_elses() {
        let limiter = Limiter::new(Rate { per_second: 2.0, burst: 3.0 });
        let start = Instant::now();
        let taken: Vec<_> = (0..4).map(|_| limiter.take(ONE, start)).collect();
        assert_eq!(taken, [Ok(()), Ok(()), Ok(()), Err(1)]);
        assert_eq!(limiter.take(OTHER, start), Ok(()));
        let later = start + Duration::from_millis(500);
        assert_eq!([limiter.take(ONE, later), limiter.take(ONE, later)], [Ok(()), Err(1)]);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!((0..4).filter(|_| limiter.take(ONE, much_later).is_ok()).count(), 3);
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_bucket() {
        let limiter = Limiter::new(Rate { per_second: 1.0, burst: 1.0 });
        let now = Instant::now();
        let [a, b, c] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|text| text.parse().unwrap());
        assert_eq!([limiter.take(a, now), limiter.take(b, now), limiter.take(c, now)], [Ok(()), Err(1), Ok(())]);
    }
}
