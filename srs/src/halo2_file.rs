//! Plain halo2 parameter files: checked import, and export.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::{
    cache::check_len,
    check::{self, Parts},
    error::SrsError,
    points::Part,
    raw,
    types::{OnProgress, Progress, Srs, SrsLabel, SrsSize, SrsSource, Stage},
};

const G1: &str = "g";
const LAGRANGE: &str = "g_lagrange";
const G2: &str = "g2";

/// Imports a file that halo2's `ParamsKZG::write` made (raw coordinates) and checks every point in it.
///
/// Errors: [`SrsError::FileSize`], [`SrsError::Truncated`], [`SrsError::Trailing`] for another format; `NotCanonical`, `NotOnCurve`,
/// `Infinity` with part and index; those of the pairing and Lagrange checks; `DevelopmentLabel` if label and string disagree.
pub fn import(path: &Path, label: SrsLabel, on_progress: OnProgress<'_>) -> Result<Srs, SrsError> {
    let io = |source| SrsError::Io { file: path.to_owned(), source };
    let mut file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    let mut k = [0; raw::K_LEN];
    if len < k.len() as u64 {
        let (expected, got) = (k.len() as u64, len);
        return Err(SrsError::Truncated { file: path.to_owned(), part: "k".into(), expected, got });
    }
    file.read_exact(&mut k).map_err(io)?;
    let got = u32::from_le_bytes(k);
    let k = SrsSize::new(got).map_err(|_| SrsError::FileSize { file: path.to_owned(), field: "k", got })?;
    check_len(path, "halo2 parameter file", raw::body_len(k), len)?;
    let part = |name| Part { file: path, name, on_progress };
    let g = part(G1).read_g1(&mut file, k.n_points())?;
    let g_lagrange = part(LAGRANGE).read_g1(&mut file, k.n_points())?;
    let h = part(G2).read_g2(&mut file, 0)?;
    let tau_h = part(G2).read_g2(&mut file, 1)?;
    let checks = |done| on_progress(Progress { stage: Stage::Check, done, total: 2 });
    checks(0);
    check::check_powers(Parts { file: path, g1: G1, g2: G2 }, &g, h, tau_h)?;
    checks(1);
    check::check_lagrange(path, LAGRANGE, k, &g, &g_lagrange)?;
    checks(2);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let source = SrsSource::new(&format!("halo2 parameter file {name}"));
    let srs = Srs::assemble(raw::from_parts(k, g, g_lagrange, h, tau_h), label, source)?;
    srs.check_label()?;
    Ok(srs)
}

/// Writes a file that halo2's `ParamsKZG::read` takes, atomically.
///
/// Errors: [`SrsError::Io`].
pub fn export(srs: &Srs, path: &Path) -> Result<(), SrsError> {
    let write = || -> io::Result<()> {
        let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        raw::write_body(srs.params(), file.as_file_mut())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|source| SrsError::Io { file: path.to_owned(), source })
}
