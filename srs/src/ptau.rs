//! Perpetual-Powers-of-Tau files as snarkjs and Hermez write them.
//!
//! Source: the snarkjs file layout, integers little-endian: magic `ptau`, u32 version 1, u32 number of sections; each section u32 type,
//! u64 length, bytes. Section 1: u32 n8, modulus q (n8 bytes), u32 power, u32 ceremony power. Section 2: 2^(power+1) − 1 points
//! τ^i·G. Section 3: 2^power points τ^i·H. Section 12, in files prepared for phase 2: Lagrange bases of the domains of
//! size 2^0, 2^1, … one after the other. Coordinates are little-endian Montgomery. Other sections are not needed and not read.
//!
//! Of section 3 only H and τH are read, because halo2 uses no other G2 point.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use halo2_proofs::halo2curves::{
    bn256::{Fr, G1Affine},
    ff::{Field, PrimeField},
    group::prime::PrimeCurveAffine,
};

use crate::{
    check::{self, Parts},
    domain::root_of_unity,
    error::SrsError,
    group_transform::lagrange_from_powers,
    points::Part,
    raw::{self, G1_LEN, G2_LEN},
    types::{OnProgress, Progress, Srs, SrsLabel, SrsSize, SrsSource, Stage},
};

const MAGIC: &str = "ptau";
const VERSION: u32 = 1;
/// snarkjs writes 7 or 11 sections.
const MAX_SECTIONS: u32 = 64;
/// Bytes per coordinate of BN254.
const N8: u32 = 32;
/// Section 1 for BN254: n8, q, power, ceremony power.
const HEADER_LEN: u64 = 44;
/// The BN254 base field modulus, little-endian.
const MODULUS: [u8; 32] = [
    0x47, 0xfd, 0x7c, 0xd8, 0x16, 0x8c, 0x20, 0x3c, 0x8d, 0xca, 0x71, 0x68, 0x91, 0x6a, 0x81, 0x97, 0x5d, 0x58, 0x81,
    0x81, 0xb6, 0x45, 0x50, 0xb8, 0x29, 0xa0, 0x31, 0xe1, 0x72, 0x4e, 0x64, 0x30,
];

const HEADER: (u32, &str) = (1, "header");
const TAU_G1: (u32, &str) = (2, "tauG1");
const TAU_G2: (u32, &str) = (3, "tauG2");
const LAGRANGE_G1: (u32, &str) = (12, "lagrangeTauG1");

/// Where a file's Lagrange basis comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LagrangeOrigin {
    /// Section 12, checked against the powers.
    Section,
    /// Computed, because the file is not prepared for phase 2. Minutes from k = 19 on.
    Computed,
}

/// What the header of a `.ptau` file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PtauInfo {
    /// Largest k that can be taken from it; 0 is no usable string.
    pub power: u32,
    /// Power of the ceremony that it was cut from.
    pub ceremony_power: u32,
    /// Whether it has Lagrange bases.
    pub lagrange: LagrangeOrigin,
}

/// Reads the header of a `.ptau` file and checks its layout; no points are read.
///
/// Errors: those of the layout.
pub fn info(path: &Path) -> Result<PtauInfo, SrsError> {
    Ok(Layout::read(path)?.1.info)
}

/// Takes 2^k powers from a `.ptau` file and checks every point that is taken.
///
/// Shape: 2^k points per basis; memory is that of the result (128 bytes a power) plus working space, not the file's size.
///
/// Errors: those of the layout; `NotCanonical`, `NotOnCurve`, `Infinity` with section name and index; those of the pairing
/// checks; `LagrangeMismatch`; `DevelopmentLabel` if `label` is `dev`.
pub fn import(path: &Path, k: SrsSize, label: SrsLabel, on_progress: OnProgress<'_>) -> Result<Srs, SrsError> {
    let (mut file, layout) = Layout::read(path)?;
    if k.k() > layout.info.power {
        return Err(SrsError::TooSmall { file: path.to_owned(), available: layout.info.power, wanted: k });
    }
    let io = |source| SrsError::Io { file: path.to_owned(), source };
    let n = k.n_points();
    let part = |name| Part { file: path, name, on_progress };
    file.seek(SeekFrom::Start(layout.tau_g1)).map_err(io)?;
    let g = part(TAU_G1.1).read_g1(&mut file, n)?;
    file.seek(SeekFrom::Start(layout.tau_g2)).map_err(io)?;
    let h = part(TAU_G2.1).read_g2(&mut file, 0)?;
    let tau_h = part(TAU_G2.1).read_g2(&mut file, 1)?;
    let checks = |done| on_progress(Progress { stage: Stage::Check, done, total: 2 });
    checks(0);
    check::check_powers(Parts { file: path, g1: TAU_G1.1, g2: TAU_G2.1 }, &g, h, tau_h)?;
    checks(1);
    let g_lagrange = match layout.lagrange {
        Some(start) => {
            let skipped = (n as u64 - 1) * G1_LEN as u64;
            file.seek(SeekFrom::Start(start + skipped)).map_err(io)?;
            reorder(&part(LAGRANGE_G1.1).read_g1(&mut file, n)?, k)
        }
        None => lagrange_from_powers(&g, k, on_progress),
    };
    check::check_lagrange(path, LAGRANGE_G1.1, k, &g, &g_lagrange)?;
    checks(2);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let source = SrsSource::new(&format!("ptau file {name}, ceremony power {}", layout.info.ceremony_power));
    let srs = Srs::assemble(raw::from_parts(k, g, g_lagrange, h, tau_h), label, source)?;
    srs.check_label()?;
    Ok(srs)
}

/// From the order of snarkjs to that of halo2.
///
/// Both use the domain of all 2^k-th roots of unity, but snarkjs generates it by ω' = 5^((r−1)/2^k) and halo2 by
/// another root ω. With ω' = ω^e, their entry j is our entry e·j.
fn reorder(theirs: &[G1Affine], k: SrsSize) -> Vec<G1Affine> {
    let n = k.n_points();
    let e = their_root_exponent(k);
    let mut ours = vec![G1Affine::identity(); n];
    for (j, point) in theirs.iter().enumerate() {
        // n is a power of two, so wrapping does not change the product modulo n.
        ours[e.wrapping_mul(j) & (n - 1)] = *point;
    }
    ours
}

/// e with ω' = ω^e, bit by bit from the lowest: ω has order 2^k.
fn their_root_exponent(k: SrsSize) -> usize {
    // (r − 1)/2^28 · 2^(28−k) as exponent of 5.
    let odd_part = (-Fr::ONE) * Fr::TWO_INV.pow_vartime([u64::from(Fr::S)]);
    let exponent = odd_part.to_repr();
    let mut limbs = [0; 4];
    for (limb, bytes) in limbs.iter_mut().zip(exponent.as_ref().chunks_exact(8)) {
        *limb = bytes.iter().rev().fold(0, |acc, &b| acc << 8 | u64::from(b));
    }
    let theirs = (k.k()..Fr::S).fold(Fr::from(5).pow_vartime(limbs), |root, _| root.square());
    let inverse = root_of_unity(k).pow_vartime([k.n_points() as u64 - 1]);
    let mut e = 0;
    for bit in 0..k.k() {
        let rest = theirs * inverse.pow_vartime([e as u64]);
        if rest.pow_vartime([1u64 << (k.k() - 1 - bit)]) != Fr::ONE {
            e |= 1 << bit;
        }
    }
    e
}

/// Offsets of the parts that are read.
struct Layout {
    info: PtauInfo,
    tau_g1: u64,
    tau_g2: u64,
    lagrange: Option<u64>,
}

impl Layout {
    fn read(path: &Path) -> Result<(File, Self), SrsError> {
        let io = |source| SrsError::Io { file: path.to_owned(), source };
        let mut file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        let mut reader = Cursor { path, file: &mut file, at: 0, len };
        let magic: [u8; 4] = reader.take("magic")?;
        if magic != MAGIC.as_bytes() {
            return Err(SrsError::Magic { file: path.to_owned(), expected: MAGIC, got: magic.to_vec() });
        }
        let version = reader.take_u32("version")?;
        if version != VERSION {
            return Err(SrsError::Version { file: path.to_owned(), expected: VERSION, got: version });
        }
        let sections = reader.sections()?;
        let find = |(section, name): (u32, &'static str)| {
            let missing = SrsError::SectionMissing { file: path.to_owned(), section, name };
            sections.get(&section).copied().ok_or(missing)
        };
        let (power, ceremony_power) = reader.header(find(HEADER)?)?;
        let expect = |(section, name), (start, got): (u64, u64), expected: &[u64]| {
            if expected.contains(&got) {
                return Ok(start);
            }
            Err(SrsError::SectionLength { file: path.to_owned(), section, name, expected: expected[0], got })
        };
        // power ≤ 28, so the lengths stay far below 2^64.
        let n = 1u64 << power;
        let (g1_len, g2_len) = (G1_LEN as u64, G2_LEN as u64);
        let tau_g1 = expect(TAU_G1, find(TAU_G1)?, &[(2 * n - 1) * g1_len])?;
        let tau_g2 = expect(TAU_G2, find(TAU_G2)?, &[n * g2_len])?;
        // Domains up to 2^(power+1), or up to 2^power in files of older writers.
        let lagrange = match sections.get(&LAGRANGE_G1.0) {
            Some(&found) => Some(expect(LAGRANGE_G1, found, &[(4 * n - 1) * g1_len, (2 * n - 1) * g1_len])?),
            None => None,
        };
        let origin = if lagrange.is_some() { LagrangeOrigin::Section } else { LagrangeOrigin::Computed };
        let info = PtauInfo { power, ceremony_power, lagrange: origin };
        Ok((file, Self { info, tau_g1, tau_g2, lagrange }))
    }
}

/// A position in the file that never passes its end.
struct Cursor<'a> {
    path: &'a Path,
    file: &'a mut File,
    at: u64,
    len: u64,
}

impl Cursor<'_> {
    /// Start and length of every section, by type.
    fn sections(&mut self) -> Result<BTreeMap<u32, (u64, u64)>, SrsError> {
        let count = self.take_u32("section count")?;
        if count > MAX_SECTIONS {
            return Err(SrsError::SectionCount { file: self.path.to_owned(), got: count, max: MAX_SECTIONS });
        }
        let mut sections = BTreeMap::new();
        for _ in 0..count {
            let section = self.take_u32("section type")?;
            let length = u64::from_le_bytes(self.take("section length")?);
            self.need(&format!("section {section}"), length)?;
            if sections.insert(section, (self.at, length)).is_some() {
                return Err(SrsError::SectionRepeated { file: self.path.to_owned(), section });
            }
            self.seek(self.at + length)?;
        }
        match self.len - self.at {
            0 => Ok(sections),
            got => Err(SrsError::Trailing { file: self.path.to_owned(), got }),
        }
    }

    /// Power and ceremony power from section 1.
    fn header(&mut self, (start, length): (u64, u64)) -> Result<(u32, u32), SrsError> {
        let (section, name) = HEADER;
        let wrong_length = |path: &Path| SrsError::SectionLength {
            file: path.to_owned(),
            section,
            name,
            expected: HEADER_LEN,
            got: length,
        };
        if length < 4 {
            return Err(wrong_length(self.path));
        }
        self.seek(start)?;
        let n8 = self.take_u32("n8")?;
        if n8 != N8 {
            return Err(SrsError::Curve { file: self.path.to_owned(), n8, got: "?".into() });
        }
        if length != HEADER_LEN {
            return Err(wrong_length(self.path));
        }
        let mut modulus: [u8; 32] = self.take("modulus")?;
        if modulus != MODULUS {
            modulus.reverse();
            return Err(SrsError::Curve { file: self.path.to_owned(), n8, got: hex::encode(modulus) });
        }
        let power = self.take_u32("power")?;
        if power > SrsSize::MAX {
            return Err(SrsError::FileSize { file: self.path.to_owned(), field: "power", got: power });
        }
        Ok((power, self.take_u32("ceremony power")?))
    }

    fn take<const N: usize>(&mut self, part: &str) -> Result<[u8; N], SrsError> {
        self.need(part, N as u64)?;
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(|source| SrsError::Io { file: self.path.to_owned(), source })?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn take_u32(&mut self, part: &str) -> Result<u32, SrsError> {
        Ok(u32::from_le_bytes(self.take(part)?))
    }

    fn need(&self, part: &str, expected: u64) -> Result<(), SrsError> {
        let got = self.len - self.at;
        if got >= expected {
            return Ok(());
        }
        Err(SrsError::Truncated { file: self.path.to_owned(), part: part.into(), expected, got })
    }

    fn seek(&mut self, to: u64) -> Result<(), SrsError> {
        self.file.seek(SeekFrom::Start(to)).map_err(|source| SrsError::Io { file: self.path.to_owned(), source })?;
        self.at = to;
        Ok(())
    }
}
