//! A directory of reference strings, one file per label and size.
//!
//! File `<label>-k<kk>.srs`, integers little-endian: magic `CAIRNSRS`, u32 version, u32 k, u16 length and label, u16 length
//! and source, SHA-256 of the body, SHA-256 of the header so far; then the body in the raw halo2 format. The points were checked
//! before they were stored, so loading compares digests only.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

use sha2::{Digest, Sha256};

use crate::{
    dev,
    error::SrsError,
    raw,
    types::{OnProgress, Progress, Srs, SrsDigest, SrsInfo, SrsLabel, SrsSize, SrsSource, Stage},
};

const MAGIC: &str = "CAIRNSRS";
const VERSION: u32 = 1;

/// A directory of reference strings. Cheap to make; nothing is read or created before it is needed.
#[derive(Clone, Debug)]
pub struct SrsCache {
    dir: PathBuf,
}

impl SrsCache {
    /// The cache in `dir`, which is created by the first [`Self::store`].
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the string of `label` and `k` is or would be.
    pub fn path(&self, label: &SrsLabel, k: SrsSize) -> PathBuf {
        self.dir.join(format!("{label}-k{:02}.srs", k.k()))
    }

    /// The development string of size `k`: loaded if it is there, else made and stored.
    ///
    /// Errors: [`SrsError::Io`], or a refusal of the stored file (which may then be deleted; it is made again).
    pub fn development(&self, k: SrsSize, on_progress: OnProgress<'_>) -> Result<Srs, SrsError> {
        let label = SrsLabel::development();
        if self.contains(&label, k) {
            return self.load(&label, k, on_progress);
        }
        let srs = dev::generate(k, on_progress)?;
        self.store(&srs, on_progress)?;
        Ok(srs)
    }

    /// The string of `label` and size `k`: loaded if it is there, else cut from the smallest larger one (which takes minutes
    /// from k = 19 on) and stored, else, for the label `dev`, made.
    ///
    /// Errors: [`SrsError::NotCached`] if no string of this label is large enough; refusals as in [`Self::load`].
    pub fn get(&self, label: &SrsLabel, k: SrsSize, on_progress: OnProgress<'_>) -> Result<Srs, SrsError> {
        if *label == SrsLabel::development() {
            return self.development(k, on_progress);
        }
        if self.contains(label, k) {
            return self.load(label, k, on_progress);
        }
        let larger = (k.k() + 1..=SrsSize::MAX).filter_map(|k| SrsSize::new(k).ok()).find(|&k| self.contains(label, k));
        let Some(larger) = larger else {
            return Err(SrsError::NotCached { dir: self.dir.clone(), label: label.clone(), k });
        };
        let srs = self.load(label, larger, on_progress)?.downsize(k, on_progress)?;
        self.store(&srs, on_progress)?;
        Ok(srs)
    }

    /// Whether a file for `label` and `k` exists.
    pub fn contains(&self, label: &SrsLabel, k: SrsSize) -> bool {
        self.path(label, k).is_file()
    }

    /// Loads one file and compares its digests. Points are not checked again.
    ///
    /// Errors: [`SrsError::Digest`], [`SrsError::WrongEntry`], [`SrsError::DevelopmentLabel`] and those of the format.
    pub fn load(&self, label: &SrsLabel, k: SrsSize, on_progress: OnProgress<'_>) -> Result<Srs, SrsError> {
        let path = self.path(label, k);
        let io = |source| SrsError::Io { file: path.clone(), source };
        let mut file = File::open(&path).map_err(io)?;
        let header = read_header(&path, &mut file)?;
        if (&header.label, header.k) != (label, k) {
            return Err(SrsError::WrongEntry {
                file: path,
                expected_label: label.clone(),
                expected_k: k,
                got_label: header.label,
                got_k: header.k,
            });
        }
        let left = file.metadata().map_err(io)?.len() - header.len;
        check_len(&path, "body", raw::body_len(k), left)?;
        let (params, body_k, got) = raw::read_body_unchecked(&mut file, k, on_progress).map_err(io)?;
        if got != header.body {
            return Err(SrsError::Digest { file: path, part: "body", expected: header.body, got });
        }
        if body_k != k.k() {
            return Err(SrsError::Header { file: path, field: "k" });
        }
        let srs = Srs::assemble_with_digest(params, header.label, header.source, got)?;
        srs.check_label()?;
        Ok(srs)
    }

    /// Stores a string under its label and size, atomically: the file appears whole or not at all.
    ///
    /// Errors: [`SrsError::Io`]; [`SrsError::DevelopmentLabel`] if the label `dev` names another string or vice versa.
    pub fn store(&self, srs: &Srs, on_progress: OnProgress<'_>) -> Result<PathBuf, SrsError> {
        srs.check_label()?;
        let info = srs.info();
        let path = self.path(&info.label, info.k);
        let total = raw::body_len(info.k);
        on_progress(Progress { stage: Stage::Write, done: 0, total });
        self.write_file(&path, srs).map_err(|source| SrsError::Io { file: path.clone(), source })?;
        on_progress(Progress { stage: Stage::Write, done: total, total });
        Ok(path)
    }

    fn write_file(&self, path: &Path, srs: &Srs) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(&encode_header(srs.info()))?;
        raw::write_body(srs.params(), file.as_file_mut())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(&self.dir)?.sync_all()
    }

    /// Descriptions of all strings in the directory, in order of label and size; bodies are not read.
    ///
    /// Errors: the first file that has our suffix and a malformed header. A missing directory is an empty one.
    pub fn list(&self) -> Result<Vec<SrsInfo>, SrsError> {
        let io = |source| SrsError::Io { file: self.dir.clone(), source };
        let entries = match fs::read_dir(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            entries => entries.map_err(io)?,
        };
        let mut infos = vec![];
        for entry in entries {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|e| e == "srs") {
                infos.push(info(&path)?);
            }
        }
        infos.sort_by(|a, b| (&a.label, a.k).cmp(&(&b.label, b.k)));
        Ok(infos)
    }
}

/// Reads the description of one cache file: its header and τH, nothing else.
///
/// Errors: those of the format.
pub fn info(path: &Path) -> Result<SrsInfo, SrsError> {
    let io = |source| SrsError::Io { file: path.to_owned(), source };
    let mut file = File::open(path).map_err(io)?;
    let header = read_header(path, &mut file)?;
    let len = file.metadata().map_err(io)?.len();
    check_len(path, "body", raw::body_len(header.k), len - header.len)?;
    let tau_h = raw::read_last_point(&mut file).map_err(io)?;
    let secure = tau_h != dev::tau_g2();
    Ok(SrsInfo { label: header.label, k: header.k, digest: header.body, secure, source: header.source })
}

struct Header {
    k: SrsSize,
    label: SrsLabel,
    source: SrsSource,
    body: SrsDigest,
    /// Bytes of the encoded header.
    len: u64,
}

pub(crate) fn check_len(path: &Path, part: &str, expected: u64, got: u64) -> Result<(), SrsError> {
    let file = || path.to_owned();
    match got.cmp(&expected) {
        std::cmp::Ordering::Less => Err(SrsError::Truncated { file: file(), part: part.into(), expected, got }),
        std::cmp::Ordering::Greater => Err(SrsError::Trailing { file: file(), got: got - expected }),
        std::cmp::Ordering::Equal => Ok(()),
    }
}

fn encode_header(info: &SrsInfo) -> Vec<u8> {
    let mut out = MAGIC.as_bytes().to_vec();
    out.extend(VERSION.to_le_bytes());
    out.extend(info.k.k().to_le_bytes());
    for text in [info.label.as_str(), info.source.as_str()] {
        // Both types bound their length far below 2^16.
        out.extend((text.len() as u16).to_le_bytes());
        out.extend(text.as_bytes());
    }
    out.extend(info.digest.0);
    let digest = Sha256::digest(&out);
    out.extend(digest);
    out
}

fn read_header(path: &Path, file: &mut File) -> Result<Header, SrsError> {
    let mut reader = HeaderReader { path, file, seen: vec![] };
    let magic = reader.take("magic", MAGIC.len())?;
    if magic != MAGIC.as_bytes() {
        return Err(SrsError::Magic { file: path.to_owned(), expected: MAGIC, got: magic });
    }
    let version = reader.take_u32("version")?;
    if version != VERSION {
        return Err(SrsError::Version { file: path.to_owned(), expected: VERSION, got: version });
    }
    let k = reader.take_u32("k")?;
    let label = reader.take_text("label")?;
    let source = reader.take_text("source")?;
    let body = SrsDigest(reader.take_array("body digest")?);
    let got = SrsDigest(Sha256::digest(&reader.seen).into());
    let expected = SrsDigest(reader.take_array("header digest")?);
    if got != expected {
        return Err(SrsError::Digest { file: path.to_owned(), part: "header", expected, got });
    }
    Ok(Header {
        k: SrsSize::new(k).map_err(|_| SrsError::FileSize { file: path.to_owned(), field: "k", got: k })?,
        label: SrsLabel::from_str(&label)?,
        source: SrsSource::new(&source),
        body,
        len: reader.seen.len() as u64,
    })
}

/// Reads fields and remembers all bytes for the header digest.
struct HeaderReader<'a> {
    path: &'a Path,
    file: &'a mut File,
    seen: Vec<u8>,
}

impl HeaderReader<'_> {
    fn take(&mut self, field: &'static str, len: usize) -> Result<Vec<u8>, SrsError> {
        let mut bytes = vec![];
        let io = |source| SrsError::Io { file: self.path.to_owned(), source };
        Read::by_ref(self.file).take(len as u64).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() < len {
            return Err(SrsError::Truncated {
                file: self.path.to_owned(),
                part: format!("header field {field}"),
                expected: len as u64,
                got: bytes.len() as u64,
            });
        }
        self.seen.extend(&bytes);
        Ok(bytes)
    }

    fn take_array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], SrsError> {
        let bytes = self.take(field, N)?;
        bytes.try_into().map_err(|_| SrsError::Header { file: self.path.to_owned(), field })
    }

    fn take_u32(&mut self, field: &'static str) -> Result<u32, SrsError> {
        Ok(u32::from_le_bytes(self.take_array(field)?))
    }

    fn take_text(&mut self, field: &'static str) -> Result<String, SrsError> {
        let len = u16::from_le_bytes(self.take_array(field)?);
        let bytes = self.take(field, len.into())?;
        String::from_utf8(bytes).map_err(|_| SrsError::Header { file: self.path.to_owned(), field })
    }
}
