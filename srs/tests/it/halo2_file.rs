//! Plain halo2 parameter files: round trip and refusals.

use std::path::PathBuf;

use halo2_proofs::{
    halo2curves::bn256::Bn256,
    poly::{commitment::Params, kzg::commitment::ParamsKZG},
};
use srs::{Srs, SrsError, SrsLabel, dev, halo2_file, silent};

use crate::support::{label, size};

struct Fixture {
    _dir: tempfile::TempDir,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Fixture {
    /// A file as halo2 writes it, k = 5.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = vec![];
        ParamsKZG::<Bn256>::setup(5, rand_core::OsRng).write(&mut bytes).unwrap();
        Self { path: dir.path().join("params.bin"), _dir: dir, bytes }
    }

    fn import(&self) -> Result<Srs, SrsError> {
        std::fs::write(&self.path, &self.bytes).unwrap();
        halo2_file::import(&self.path, label(), &silent)
    }

    fn refusal(&self) -> SrsError {
        match self.import() {
            Err(e) => e,
            Ok(srs) => panic!("accepted {:?}", srs.info()),
        }
    }
}

/// Offsets for k = 5: 4 bytes k, 32 powers, 32 Lagrange points, H, τH.
const G: usize = 4;
const LAGRANGE: usize = G + 32 * 64;
const G2: usize = LAGRANGE + 32 * 64;

#[test]
fn a_file_of_halo2_imports_and_exports_unchanged() {
    let fixture = Fixture::new();
    let srs = fixture.import().unwrap();
    assert!(srs.info().secure);
    halo2_file::export(&srs, &fixture.path).unwrap();
    assert_eq!(std::fs::read(&fixture.path).unwrap(), fixture.bytes);
}

#[test]
fn a_development_string_is_recognized_in_disguise() {
    let fixture = Fixture::new();
    halo2_file::export(&dev::generate(size(5), &silent).unwrap(), &fixture.path).unwrap();
    let got = halo2_file::import(&fixture.path, label(), &silent);
    assert!(matches!(got, Err(SrsError::DevelopmentLabel { is_development: true, .. })), "{got:?}");
    assert!(!halo2_file::import(&fixture.path, SrsLabel::development(), &silent).unwrap().info().secure);
}

#[test]
fn other_lengths_are_refused() {
    let fixture = Fixture::new();
    for cut in [0, 3, 4, G + 1, LAGRANGE, G2, fixture.bytes.len() - 1] {
        let cut = Fixture { bytes: fixture.bytes[..cut].to_vec(), ..Fixture::new() };
        assert!(matches!(cut.refusal(), SrsError::Truncated { .. }));
    }
    let mut long = fixture;
    long.bytes.push(0);
    assert!(matches!(long.refusal(), SrsError::Trailing { got: 1, .. }));
    long.bytes[..4].copy_from_slice(&40u32.to_le_bytes());
    let refusal = long.refusal();
    assert!(matches!(refusal, SrsError::FileSize { field: "k", got: 40, .. }), "{refusal}");
}

#[test]
fn altered_points_are_refused_with_part_and_index() {
    for (offset, name) in [(G, "g"), (LAGRANGE, "g_lagrange")] {
        let mut fixture = Fixture::new();
        fixture.bytes[offset + 7 * 64] ^= 1;
        let refusal = fixture.refusal();
        assert!(matches!(refusal, SrsError::NotOnCurve { part, index: 7, .. } if part == name), "{refusal}");
    }
    let mut fixture = Fixture::new();
    fixture.bytes[G2 + 128] ^= 1;
    assert!(matches!(fixture.refusal(), SrsError::NotOnCurve { part: "g2", index: 1, .. }));
}

#[test]
fn exchanged_points_are_refused() {
    let swap = |offset: usize| {
        let mut fixture = Fixture::new();
        let (a, b) = fixture.bytes[offset..offset + 128].split_at_mut(64);
        a.swap_with_slice(b);
        fixture.refusal()
    };
    let refusal = swap(G + 10 * 64);
    assert!(matches!(refusal, SrsError::PowersInconsistent { part: "g", index: 10, .. }), "{refusal}");
    let refusal = swap(LAGRANGE + 10 * 64);
    assert!(matches!(refusal, SrsError::LagrangeMismatch { part: "g_lagrange", .. }), "{refusal}");
}
