//! Paths, sizes and a surgeon for `.ptau` files.

use std::path::{Path, PathBuf};

use srs::{Srs, SrsError, SrsLabel, SrsSize, ptau, silent};

/// A size that is known to be valid.
pub fn size(k: u32) -> SrsSize {
    SrsSize::new(k).unwrap()
}

/// The label of test imports.
pub fn label() -> SrsLabel {
    "test".parse().unwrap()
}

/// A file of `testdata/srs`.
pub fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/srs").join(name)
}

/// Imports bytes as a `.ptau` file with k = 7.
pub fn import_bytes(bytes: &[u8]) -> Result<Srs, SrsError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("altered.ptau");
    std::fs::write(&path, bytes).unwrap();
    ptau::import(&path, size(7), label(), &silent)
}

/// A `.ptau` file taken apart.
#[derive(Clone)]
pub struct Ptau {
    pub count: u32,
    pub sections: Vec<(u32, Vec<u8>)>,
}

impl Ptau {
    pub fn read(name: &str) -> Self {
        let bytes = std::fs::read(testdata(name)).unwrap();
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let mut sections = vec![];
        let mut at = 12;
        while at < bytes.len() {
            let len = u64::from_le_bytes(bytes[at + 4..at + 12].try_into().unwrap()) as usize;
            sections.push((u32_at(at), bytes[at + 12..at + 12 + len].to_vec()));
            at += 12 + len;
        }
        Self { count: u32_at(8), sections }
    }

    pub fn section(&mut self, wanted: u32) -> &mut Vec<u8> {
        &mut self.sections.iter_mut().find(|(section, _)| *section == wanted).unwrap().1
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = b"ptau".to_vec();
        out.extend(1u32.to_le_bytes());
        out.extend(self.count.to_le_bytes());
        for (section, bytes) in &self.sections {
            out.extend(section.to_le_bytes());
            out.extend((bytes.len() as u64).to_le_bytes());
            out.extend(bytes);
        }
        out
    }

    pub fn import(&self) -> Result<Srs, SrsError> {
        import_bytes(&self.bytes())
    }
}
