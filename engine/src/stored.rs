//! Proving keys in files, for whoever made them: a digest of the file is the keeper's to check.
//!
//! `"cairnpk2"`, the verifying key as halo2 writes it (points compressed), zeros up to a multiple of 8 bytes, then columns of 2^k
//! elements of 32 bytes (Montgomery form, little-endian), as many as the circuit has: three Lagrange polynomials; values, then
//! coefficients of the fixed columns; values, then coefficients of the permutation. So a file that is mapped at a multiple of
//! 8 bytes is used as it lies (docs/adr/0019).

use std::io::{self, Read, Write};

use bytes::Bytes;
use halo2_proofs::{
    SerdeFormat,
    halo2curves::{
        bn256::{Fr, G1Affine},
        serde::SerdeObject,
    },
    plonk::{Circuit, ProvingKey, VerifyingKey, permutation},
};

use crate::error::EngineError;
use crate::place::Placed;
use crate::view::KeyView;

/// First bytes of every file, with the version of the format.
const MAGIC: &[u8; 8] = b"cairnpk2";
/// Bytes of an element.
const ELEMENT: usize = 32;
/// The columns begin at a multiple of so many bytes from the key's first.
const ALIGNMENT: usize = 8;
/// Elements that are read or written at a time.
const CHUNK: usize = 1 << 12;

/// A proving key that was generated here, or one that is used where it is stored.
#[derive(Debug)]
pub enum Key {
    /// The library's key, in memory.
    InMemory(Box<ProvingKey<G1Affine>>),
    /// Columns in somebody else's bytes.
    Stored(Box<StoredKey>),
}

/// A proving key whose columns are read where they are stored, of a mapped file for example: proving takes no memory for them.
#[derive(Debug)]
pub struct StoredKey {
    vk: VerifyingKey<G1Affine>,
    /// In the order of the file.
    columns: Vec<Placed>,
}

impl Key {
    /// The key of the circuit `C` with 2^`k` rows that [`write_key`] wrote: `bytes` begin and end with it. The verifying key and
    /// the length are checked, as [`vkey::read`] does; the columns are believed to be what was written.
    ///
    /// The columns stay where they are, unless `bytes` begin at an address that is no multiple of 8 or the machine orders the
    /// bytes of elements otherwise: then they are copied.
    ///
    /// Errors: [`EngineError::KeyFile`], [`EngineError::KeyLength`], [`EngineError::Key`].
    pub fn open<C: Circuit<Fr>>(bytes: &Bytes, k: u32, params: C::Params) -> Result<Self, EngineError> {
        let mut rest = &bytes[..];
        read_magic(&mut rest)?;
        // There are at least the three: a size that the bytes can't have is refused before anything is made for it.
        let column = u64::checked_shl(ELEMENT as u64, k).filter(|column| column >> k == ELEMENT as u64);
        let length = |start: usize, columns: usize| column?.checked_mul(columns as u64)?.checked_add(start as u64);
        let refused = |expected: Option<u64>| {
            Err(EngineError::KeyLength { expected: expected.unwrap_or(u64::MAX), got: bytes.len() as u64 })
        };
        let least = length(MAGIC.len(), 3);
        if least.is_none_or(|least| least > bytes.len() as u64) {
            return refused(least);
        }
        let vk = vkey::read_from::<C>(&mut rest, k, params)?;
        let start = (bytes.len() - rest.len()).next_multiple_of(ALIGNMENT);
        let n_columns = 3 + 2 * (vk.fixed_commitments().len() + vk.permutation().commitments().len());
        let expected = length(start, n_columns);
        if expected != Some(bytes.len() as u64) {
            return refused(expected);
        }
        let column = (bytes.len() - start) / n_columns;
        let place = |i: usize| Placed::new(bytes.slice(start + i * column..start + (i + 1) * column));
        match (0..n_columns).map(place).collect() {
            Some(columns) => Ok(Self::Stored(Box::new(StoredKey { vk, columns }))),
            None => Ok(Self::InMemory(Box::new(read_columns(vk, &mut &bytes[start..])?))),
        }
    }

    /// The verifying key.
    pub fn verifying_key(&self) -> &VerifyingKey<G1Affine> {
        match self {
            Self::InMemory(pk) => pk.get_vk(),
            Self::Stored(key) => &key.vk,
        }
    }

    /// The library's key, if this is one.
    pub fn in_memory(&self) -> Option<&ProvingKey<G1Affine>> {
        match self {
            Self::InMemory(pk) => Some(pk),
            Self::Stored(_) => None,
        }
    }

    /// What proving reads.
    pub fn view(&self) -> KeyView<'_> {
        match self {
            Self::InMemory(pk) => KeyView::from(&**pk),
            Self::Stored(key) => key.view(),
        }
    }
}

impl From<ProvingKey<G1Affine>> for Key {
    fn from(pk: ProvingKey<G1Affine>) -> Self {
        Self::InMemory(Box::new(pk))
    }
}

impl<'k> From<&'k Key> for KeyView<'k> {
    fn from(key: &'k Key) -> Self {
        key.view()
    }
}

impl StoredKey {
    fn view(&self) -> KeyView<'_> {
        let (n_fixed, n_permuted) = (self.vk.fixed_commitments().len(), self.vk.permutation().commitments().len());
        let mut columns = self.columns.iter().map(Placed::elements);
        let mut take = |number: usize| columns.by_ref().take(number).collect::<Vec<_>>();
        let lagrange = take(3);
        KeyView {
            vk: &self.vk,
            // As many columns as the verifying key has were opened.
            lagrange: std::array::from_fn(|i| lagrange.get(i).copied().unwrap_or_default()),
            fixed_values: take(n_fixed),
            fixed_polys: take(n_fixed),
            sigma_values: take(n_permuted),
            sigma_polys: take(n_permuted),
            held: 0,
        }
    }
}

/// Writes a key for [`Key::open`] and [`read_key`].
///
/// Errors: those of the output.
pub fn write_key<'k>(key: impl Into<KeyView<'k>>, out: &mut impl Write) -> io::Result<()> {
    let key = key.into();
    let mut head = MAGIC.to_vec();
    key.vk.write(&mut head, SerdeFormat::Processed)?;
    head.resize(head.len().next_multiple_of(ALIGNMENT), 0);
    out.write_all(&head)?;
    key.columns().try_for_each(|column| write_column(column, out))
}

/// Reads the key of the circuit `C` with 2^`k` rows into memory. The verifying key is checked as [`vkey::read`] does; what follows
/// is believed to be what [`write_key`] wrote, but for its length.
///
/// Errors: [`EngineError::KeyFile`], [`EngineError::Key`].
pub fn read_key<C: Circuit<Fr>>(
    input: &mut impl Read,
    k: u32,
    params: C::Params,
) -> Result<ProvingKey<G1Affine>, EngineError> {
    let mut counted = Counted { input, read: 0 };
    read_magic(&mut counted)?;
    let vk = vkey::read_from::<C>(&mut counted, k, params)?;
    let padding = counted.read.next_multiple_of(ALIGNMENT) - counted.read;
    input.read_exact(&mut [0; ALIGNMENT][..padding]).map_err(vkey::KeyError::from)?;
    let key = read_columns(vk, input)?;
    if input.read(&mut [0]).map_err(vkey::KeyError::from)? != 0 {
        return Err(vkey::KeyError::Trailing.into());
    }
    Ok(key)
}

fn read_magic(input: &mut impl Read) -> Result<(), EngineError> {
    let mut got = [0; 8];
    input.read_exact(&mut got).map_err(vkey::KeyError::from)?;
    if &got != MAGIC { Err(EngineError::KeyFile { expected: *MAGIC, got }) } else { Ok(()) }
}

/// The columns, into memory.
fn read_columns(vk: VerifyingKey<G1Affine>, input: &mut impl Read) -> Result<ProvingKey<G1Affine>, EngineError> {
    let (n_fixed, n_permuted) = (vk.fixed_commitments().len(), vk.permutation().commitments().len());
    let domain = vk.get_domain().clone();
    let n = 1 << domain.k();
    let mut columns = |number: usize| -> Result<Vec<Vec<Fr>>, vkey::KeyError> {
        (0..number).map(|_| Ok(read_column(input, n)?)).collect()
    };
    let mut lagrange = columns(3)?.into_iter().map(|values| domain.coeff_from_vec(values));
    // Three were read.
    let [l0, l_last, l_active] = [(); 3].map(|()| lagrange.next().unwrap_or_else(|| domain.empty_coeff()));
    let fixed_values = columns(n_fixed)?.into_iter().map(|values| domain.lagrange_from_vec(values)).collect();
    let fixed_polys = columns(n_fixed)?.into_iter().map(|values| domain.coeff_from_vec(values)).collect();
    let sigmas = columns(n_permuted)?.into_iter().map(|values| domain.lagrange_from_vec(values)).collect();
    let sigma_polys = columns(n_permuted)?.into_iter().map(|values| domain.coeff_from_vec(values)).collect();
    let permutation = permutation::ProvingKey::from_parts(sigmas, sigma_polys);
    Ok(ProvingKey::from_parts(vk, l0, l_last, l_active, fixed_values, fixed_polys, permutation))
}

fn write_column(column: &[Fr], out: &mut impl Write) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(CHUNK * ELEMENT);
    for chunk in column.chunks(CHUNK) {
        bytes.clear();
        chunk.iter().try_for_each(|element| element.write_raw(&mut bytes))?;
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// Nothing is reserved before the bytes are there.
fn read_column(input: &mut impl Read, n: usize) -> io::Result<Vec<Fr>> {
    let mut out = Vec::new();
    let mut bytes = vec![0; CHUNK.min(n) * ELEMENT];
    while out.len() < n {
        input.read_exact(&mut bytes)?;
        if out.is_empty() {
            out.reserve_exact(n);
        }
        out.extend(bytes.chunks_exact(ELEMENT).map(Fr::from_raw_bytes_unchecked));
    }
    Ok(out)
}

/// Counts what is read.
struct Counted<'r, R> {
    input: &'r mut R,
    read: usize,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.read += read;
        Ok(read)
    }
}
