//! Altered `.ptau` files are refused, each for its own reason.

use halo2_proofs::halo2curves::{
    bn256::{Fr, G1Affine, G2Affine},
    group::Curve,
    serde::SerdeObject,
};
use srs::{Srs, SrsError};

use crate::support::{Ptau, import_bytes};

const TAU_G1: u32 = 2;
const TAU_G2: u32 = 3;
const LAGRANGE: u32 = 12;

/// Asserts that a result is the given refusal.
macro_rules! assert_refused {
    ($got:expr, $pattern:pat $(if $guard:expr)?) => {{
        let got: Result<Srs, SrsError> = $got;
        assert!(matches!(&got, Err($pattern) $(if $guard)?), "{:?}", got.map(|srs| srs.info().clone()));
    }};
}

fn g1(bytes: &[u8], index: usize) -> G1Affine {
    G1Affine::from_raw_bytes(&bytes[index * 64..][..64]).unwrap()
}

fn set_g1(bytes: &mut [u8], index: usize, point: G1Affine) {
    bytes[index * 64..][..64].copy_from_slice(&point.to_raw_bytes());
}

fn double(point: G1Affine) -> G1Affine {
    (point * Fr::from(2)).to_affine()
}

#[test]
fn reassembled_file_imports() {
    assert!(Ptau::read("powers7.ptau").import().is_ok());
    assert!(Ptau::read("powers7_prepared.ptau").import().is_ok());
}

#[test]
fn foreign_magic_and_version_are_refused() {
    let mut bytes = Ptau::read("powers7.ptau").bytes();
    bytes[0] = b'z';
    assert_refused!(import_bytes(&bytes), SrsError::Magic { got, .. } if got == b"ztau");
    let mut bytes = Ptau::read("powers7.ptau").bytes();
    bytes[4] = 2;
    assert_refused!(import_bytes(&bytes), SrsError::Version { expected: 1, got: 2, .. });
}

#[test]
fn truncation_at_and_inside_every_section_is_refused() {
    for name in ["powers7.ptau", "powers7_prepared.ptau"] {
        let ptau = Ptau::read(name);
        let bytes = ptau.bytes();
        let mut cuts = vec![0, 3, 4, 7, 8, 11];
        let mut at = 12;
        for (_, section) in &ptau.sections {
            cuts.extend([at, at + 3, at + 4, at + 11]);
            // A section of no bytes ends where its data begin; the cut there is that at the next section.
            cuts.extend([at + 12, at + 12 + section.len() / 2, at + 12 + section.len() - 1]);
            at += 12 + section.len();
        }
        assert_eq!(at, bytes.len());
        for cut in cuts {
            assert_refused!(import_bytes(&bytes[..cut]), SrsError::Truncated { got, expected, .. } if got < expected);
        }
    }
}

#[test]
fn bytes_after_the_last_section_are_refused() {
    let mut bytes = Ptau::read("powers7.ptau").bytes();
    bytes.extend([0; 5]);
    assert_refused!(import_bytes(&bytes), SrsError::Trailing { got: 5, .. });
}

#[test]
fn hostile_lengths_and_counts_are_refused_without_allocation() {
    let mut bytes = Ptau::read("powers7.ptau").bytes();
    bytes[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_refused!(import_bytes(&bytes), SrsError::Truncated { expected: u64::MAX, part, .. } if part == "section 1");
    let mut ptau = Ptau::read("powers7.ptau");
    ptau.count = u32::MAX;
    assert_refused!(ptau.import(), SrsError::SectionCount { got: u32::MAX, .. });
    for (power, refused_size) in [(29u32, true), (u32::MAX, true), (28, false)] {
        let mut ptau = Ptau::read("powers7.ptau");
        ptau.section(1)[36..40].copy_from_slice(&power.to_le_bytes());
        if refused_size {
            assert_refused!(ptau.import(), SrsError::FileSize { field: "power", got, .. } if *got == power);
        } else {
            assert_refused!(ptau.import(), SrsError::SectionLength { section: TAU_G1, .. });
        }
    }
}

#[test]
fn missing_repeated_and_resized_sections_are_refused() {
    for wanted in [1, TAU_G1, TAU_G2] {
        let mut ptau = Ptau::read("powers7.ptau");
        ptau.sections.retain(|(section, _)| *section != wanted);
        ptau.count -= 1;
        assert_refused!(ptau.import(), SrsError::SectionMissing { section, .. } if *section == wanted);
    }
    let mut ptau = Ptau::read("powers7.ptau");
    ptau.sections.push(ptau.sections[1].clone());
    ptau.count += 1;
    assert_refused!(ptau.import(), SrsError::SectionRepeated { section: TAU_G1, .. });
    for wanted in [TAU_G1, TAU_G2, LAGRANGE] {
        let mut ptau = Ptau::read("powers7_prepared.ptau");
        ptau.section(wanted).truncate(640);
        assert_refused!(ptau.import(), SrsError::SectionLength { section, got: 640, .. } if *section == wanted);
    }
    let mut ptau = Ptau::read("powers7.ptau");
    ptau.section(1).push(0);
    assert_refused!(ptau.import(), SrsError::SectionLength { section: 1, expected: 44, got: 45, .. });
    ptau.section(1).truncate(3);
    assert_refused!(ptau.import(), SrsError::SectionLength { section: 1, expected: 44, got: 3, .. });
}

#[test]
fn another_curve_is_refused() {
    let mut ptau = Ptau::read("powers7.ptau");
    ptau.section(1)[0] = 48;
    assert_refused!(ptau.import(), SrsError::Curve { n8: 48, .. });
    let mut ptau = Ptau::read("powers7.ptau");
    ptau.section(1)[4] ^= 2;
    assert_refused!(ptau.import(), SrsError::Curve { n8: 32, got, .. } if got.ends_with("fd45"));
}

#[test]
fn points_that_are_none_are_refused_with_section_and_index() {
    for index in [0u64, 1, 77, 127] {
        let at = index as usize * 64;
        let mut ptau = Ptau::read("powers7.ptau");
        ptau.section(TAU_G1)[at + 40] ^= 1;
        assert_refused!(ptau.import(), SrsError::NotOnCurve { part: "tauG1", index: i, .. } if *i == index);
        let mut ptau = Ptau::read("powers7.ptau");
        ptau.section(TAU_G1)[at + 31] = 0xff;
        assert_refused!(ptau.import(), SrsError::NotCanonical { part: "tauG1", index: i, .. } if *i == index);
        let mut ptau = Ptau::read("powers7.ptau");
        ptau.section(TAU_G1)[at..at + 64].fill(0);
        assert_refused!(ptau.import(), SrsError::Infinity { part: "tauG1", index: i, .. } if *i == index);
    }
    for index in [0u64, 1] {
        let mut ptau = Ptau::read("powers7.ptau");
        ptau.section(TAU_G2)[index as usize * 128 + 40] ^= 1;
        assert_refused!(ptau.import(), SrsError::NotOnCurve { part: "tauG2", index: i, .. } if *i == index);
    }
    let mut ptau = Ptau::read("powers7_prepared.ptau");
    // The basis of size 2^7 follows those of size 1 to 64: 127 points.
    ptau.section(LAGRANGE)[(127 + 5) * 64 + 40] ^= 1;
    assert_refused!(ptau.import(), SrsError::NotOnCurve { part: "lagrangeTauG1", index: 5, .. });
}

#[test]
fn one_wrong_power_is_refused_with_its_index() {
    for index in [2u64, 3, 64, 126, 127] {
        let mut ptau = Ptau::read("powers7_prepared.ptau");
        let section = ptau.section(TAU_G1);
        let wrong = double(g1(section, index as usize));
        set_g1(section, index as usize, wrong);
        assert_refused!(ptau.import(), SrsError::PowersInconsistent { part: "tauG1", index: i, .. } if *i == index);
    }
}

#[test]
fn two_swapped_powers_are_refused() {
    let mut ptau = Ptau::read("powers7.ptau");
    let section = ptau.section(TAU_G1);
    let (a, b) = (g1(section, 50), g1(section, 51));
    set_g1(section, 50, b);
    set_g1(section, 51, a);
    assert_refused!(ptau.import(), SrsError::PowersInconsistent { index: 50, .. });
}

#[test]
fn wrong_generators_and_a_foreign_tau_are_refused() {
    let mut ptau = Ptau::read("powers7.ptau");
    let section = ptau.section(TAU_G1);
    let wrong = double(g1(section, 0));
    set_g1(section, 0, wrong);
    assert_refused!(ptau.import(), SrsError::NotGenerator { part: "tauG1", .. });

    let other = (G2Affine::generator() * Fr::from(5)).to_affine().to_raw_bytes();
    let mut ptau = Ptau::read("powers7.ptau");
    ptau.section(TAU_G2)[..128].copy_from_slice(&other);
    assert_refused!(ptau.import(), SrsError::NotGenerator { part: "tauG2", .. });
    let mut ptau = Ptau::read("powers7.ptau");
    ptau.section(TAU_G2)[128..256].copy_from_slice(&other);
    assert_refused!(ptau.import(), SrsError::TauMismatch { .. });

    let mut ptau = Ptau::read("powers7.ptau");
    let section = ptau.section(TAU_G1);
    let wrong = double(g1(section, 1));
    set_g1(section, 1, wrong);
    assert_refused!(ptau.import(), SrsError::TauMismatch { .. });
}

#[test]
fn a_g2_point_outside_the_subgroup_is_refused() {
    let mut ptau = Ptau::read("powers7.ptau");
    ptau.section(TAU_G2)[128..256].copy_from_slice(&point_outside_subgroup().to_raw_bytes());
    assert_refused!(ptau.import(), SrsError::NotInSubgroup { part: "tauG2", index: 1, .. });
}

/// A point of the twist whose order is not r: almost every point is one, because the cofactor is as large as r.
fn point_outside_subgroup() -> G2Affine {
    use halo2_proofs::halo2curves::{CurveAffine, bn256::Fq2, ff::Field};
    (1u64..)
        .find_map(|x| {
            let x = Fq2::from(x);
            let y = Option::<Fq2>::from((x.square() * x + G2Affine::b()).sqrt())?;
            Option::<G2Affine>::from(G2Affine::from_xy(x, y))
        })
        .unwrap()
}

#[test]
fn a_wrong_lagrange_section_is_refused() {
    // One point replaced by another curve point.
    let mut ptau = Ptau::read("powers7_prepared.ptau");
    let section = ptau.section(LAGRANGE);
    let wrong = double(g1(section, 127 + 9));
    set_g1(section, 127 + 9, wrong);
    assert_refused!(ptau.import(), SrsError::LagrangeMismatch { part: "lagrangeTauG1", .. });
    // Two points swapped: the right points in the wrong order.
    let mut ptau = Ptau::read("powers7_prepared.ptau");
    let section = ptau.section(LAGRANGE);
    let (a, b) = (g1(section, 127 + 9), g1(section, 127 + 10));
    set_g1(section, 127 + 9, b);
    set_g1(section, 127 + 10, a);
    assert_refused!(ptau.import(), SrsError::LagrangeMismatch { part: "lagrangeTauG1", .. });
}

#[test]
fn an_altered_byte_is_refused_or_lies_outside_what_is_read() {
    let ptau = Ptau::read("powers7_prepared.ptau");
    let original = ptau.import().unwrap().info().digest;
    let bytes = ptau.bytes();
    // What an import with k = 7 reads: all of the layout, and from each section the first bytes or, of section 12, the middle.
    let mut is_read = vec![false; bytes.len()];
    is_read[..12].fill(true);
    let mut at = 12;
    for (section, data) in &ptau.sections {
        is_read[at..at + 12].fill(true);
        let start = at + 12;
        let read = match *section {
            1 => 0..40,
            TAU_G1 => 0..128 * 64,
            TAU_G2 => 0..2 * 128,
            LAGRANGE => 127 * 64..255 * 64,
            _ => 0..0,
        };
        is_read[start + read.start..start + read.end].fill(true);
        at = start + data.len();
    }
    // Every byte of the beginning, then a stride that meets all positions within a point.
    for i in (0..100).chain((100..bytes.len()).step_by(311)) {
        let mut altered = bytes.clone();
        altered[i] ^= 1 << (i % 8);
        match import_bytes(&altered) {
            Ok(srs) => {
                assert!(!is_read[i], "byte {i} is read, its change was accepted");
                assert_eq!(srs.info().digest, original, "byte {i}");
            }
            Err(e) => assert!(is_read[i], "byte {i} is not read, yet: {e}"),
        }
    }
}
