//! Every lane of every kernel against the plain crates and the standard's vectors.

use ::sha1::{Digest as _, Sha1};
use proptest::prelude::*;

use super::*;

/// SHA-1 of each piece, and SHA-256 of their leaves, one after the other.
type Hashes<const N: usize> = ([[u8; 20]; N], Vec<[Digest; N]>);

/// Both hashes of pieces of `n_leaves` leaves each.
fn hashed<const N: usize>(lanes: impl Lanes<N>, pieces: &[Vec<u8>; N], n_leaves: usize) -> Hashes<N> {
    let mut hasher = lanes.pieces();
    let leaf = pieces[0].len() / n_leaves;
    let at = |n: usize| std::array::from_fn(|lane| &pieces[lane][n * leaf..(n + 1) * leaf]);
    let leaves = (0..n_leaves).map(|n| hasher.leaves(at(n))).collect();
    (hasher.finish(), leaves)
}

fn a_million_letters<const N: usize>(lanes: impl Lanes<N>) {
    // NIST, "Example values": one million repetitions of `a` (15,625 blocks).
    let (v1, v2) = hashed(lanes, &std::array::from_fn(|_| vec![b'a'; 1_000_000]), 1);
    let v1_expected = "34aa973cd4c4daa4f61eeb2bdbad27316534016f";
    let v2_expected = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(v1.iter().all(|digest| hex(digest) == v1_expected), "{v1:02x?}");
    assert!(v2[0].iter().all(|digest| hex(digest.as_bytes()) == v2_expected), "{v2:?}");
}

fn no_bytes<const N: usize>(lanes: impl Lanes<N>) {
    let (v1, v2) = hashed(lanes, &std::array::from_fn(|_| Vec::new()), 1);
    assert_eq!(v1, [<[u8; 20]>::from(Sha1::digest(b"")); N]);
    assert_eq!(v2, [[Digest::of(b""); N]]);
}

fn unequal_lengths<const N: usize>(lanes: impl Lanes<N>) {
    let (long, short) = ([0; 128], [0; 64]);
    lanes.pieces().leaves(std::array::from_fn(|lane| if lane == N - 1 { &short[..] } else { &long[..] }));
}

fn every_lane<const N: usize>(
    lanes: impl Lanes<N>,
    seed: u64,
    blocks: usize,
    n_leaves: usize,
) -> Result<(), TestCaseError> {
    let len = blocks * BLOCK * n_leaves;
    // Different in every lane and at every place.
    let spread = |at: usize| (seed ^ at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    let piece = |lane: usize| (0..len).map(|at| spread(lane * 0x1_0001 + at) as u8).collect::<Vec<_>>();
    let pieces = std::array::from_fn(piece);
    let (v1, v2) = hashed(lanes, &pieces, n_leaves);
    for lane in 0..N {
        prop_assert_eq!(v1[lane], <[u8; 20]>::from(Sha1::digest(&pieces[lane])));
        for (leaf, bytes) in v2.iter().zip(pieces[lane].chunks(blocks * BLOCK)) {
            prop_assert_eq!(leaf[lane], Digest::of(bytes));
        }
    }
    Ok(())
}

/// The tests of one kernel; where the processor lacks its instructions there is nothing to test.
macro_rules! kernel {
    ($name:ident, $token:ty) => {
        mod $name {
            use super::*;

            #[test]
            fn a_million_letters_have_the_standards_digests() {
                if let Some(kernel) = <$token>::detect() {
                    a_million_letters(kernel);
                }
            }

            #[test]
            fn no_bytes_have_the_digests_of_no_bytes() {
                if let Some(kernel) = <$token>::detect() {
                    no_bytes(kernel);
                }
            }

            #[test]
            #[should_panic = "leaves of unequal length"]
            fn leaves_of_unequal_length_are_refused() {
                let Some(kernel) = <$token>::detect() else {
                    panic!("leaves of unequal length cannot be given here")
                };
                unequal_lengths(kernel);
            }

            proptest! {
                #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
                #[test]
                fn every_lane_has_the_digests_of_the_plain_crates(seed: u64, blocks in 1..20_usize, n_leaves in 1..4_usize) {
                    if let Some(kernel) = <$token>::detect() {
                        every_lane(kernel, seed, blocks, n_leaves)?;
                    }
                }
            }
        }
    };
}

kernel!(eight, Eight);
kernel!(sixteen, Sixteen);
kernel!(two, Two);
