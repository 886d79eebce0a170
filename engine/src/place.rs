//! Elements where they lie: bytes that [`crate::write_key`] wrote, read in place.

use std::{slice, sync::OnceLock};

use bytes::Bytes;
use halo2_proofs::halo2curves::{bn256::Fr, ff::Field, serde::SerdeObject};

// An element is four u64 without padding, and has no bit pattern that the compiler could rely on not to occur: an option of it
// has to take more room.
const _: () = assert!(size_of::<Fr>() == 32 && align_of::<Fr>() == 8 && size_of::<Option<Fr>>() > 32);

/// Elements that somebody else keeps, for example a mapped file.
#[derive(Clone, Debug)]
pub(crate) struct Placed(Bytes);

impl Placed {
    /// `None` where the bytes can't be used as they lie: their number is not a multiple of 32, their address not one of 8, or
    /// this machine orders the bytes of an element otherwise.
    pub(crate) fn new(bytes: Bytes) -> Option<Self> {
        in_place(&bytes)?;
        Some(Self(bytes))
    }

    /// The elements.
    pub(crate) fn elements(&self) -> &[Fr] {
        // They could be used when this was made, and do not move.
        in_place(&self.0).unwrap_or_default()
    }
}

#[expect(unsafe_code, reason = "sees bytes as elements")]
fn in_place(bytes: &[u8]) -> Option<&[Fr]> {
    if !lies_as_written() {
        return None;
    }
    // SAFETY: any 32 aligned bytes are an element: it is four u64 (asserted above). That they are below the modulus is for
    // arithmetic to be right, not for memory to be safe; `align_to` sees to length and alignment.
    let (before, elements, behind) = unsafe { bytes.align_to::<Fr>() };
    (before.is_empty() && behind.is_empty()).then_some(elements)
}

/// Whether elements lie in memory as they are written: four limbs in Montgomery form, least first, little-endian.
#[expect(unsafe_code, reason = "sees an element as its bytes")]
fn lies_as_written() -> bool {
    static SEEN: OnceLock<bool> = OnceLock::new();
    *SEEN.get_or_init(|| {
        // Its limbs differ, and so do their bytes.
        let element = -Fr::ONE;
        // SAFETY: an element is four u64 (asserted above), so that none of its bytes is padding.
        let (_, bytes, _) = unsafe { slice::from_ref(&element).align_to::<u8>() };
        bytes == element.to_raw_bytes()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(elements: &[Fr]) -> Vec<u8> {
        elements.iter().flat_map(SerdeObject::to_raw_bytes).collect()
    }

    #[test]
    fn elements_are_read_as_they_were_written() {
        let elements: Vec<Fr> = (1..=9).map(|i| Fr::from(i).invert().expect("not zero")).collect();
        // One of eight places is aligned, the others are refused.
        let room: Vec<u8> = [vec![0; 8], written(&elements)].concat();
        let mut aligned = 0;
        for start in 1..=8 {
            let mut bytes = room.clone();
            bytes.rotate_left(8 - start);
            match Placed::new(Bytes::from(bytes).slice(start..start + 9 * 32)) {
                None => {}
                Some(placed) => {
                    assert_eq!(placed.elements(), elements);
                    aligned += 1;
                }
            }
        }
        assert_eq!(aligned, 1);
    }

    #[test]
    fn a_part_of_an_element_is_none() {
        assert!(Placed::new(Bytes::from(vec![0; 33])).is_none());
        assert!(Placed::new(Bytes::from(vec![0; 31])).is_none());
    }
}
