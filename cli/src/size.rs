//! Sizes on the command line.

use circuits::keys::MemoryLimit;
use clap::Args;

/// A number of bytes, or one with `kB`, `MB`, `GB` or `TB` (powers of 1,000).
pub fn bytes(text: &str) -> Result<u64, String> {
    let units = [("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000), ("", 1)];
    let split = units.into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let bytes = split.and_then(|(number, factor)| number.trim().parse::<u64>().ok()?.checked_mul(factor));
    bytes.ok_or_else(|| format!("expected bytes, as 500MB or 50GB, got {text:?}"))
}

/// Options of every command that proves.
#[derive(Args)]
pub struct Memory {
    /// Most memory that proofs may take, as 900MB or 4GB: key, reference string and witness included, mapped files not. What does
    /// not fit is computed anew, which takes longer; refused if that is not enough. Making a key is not counted.
    #[arg(long, value_name = "BYTES", value_parser = limit)]
    pub memory_limit: Option<MemoryLimit>,
}

fn limit(text: &str) -> Result<MemoryLimit, String> {
    bytes(text).map(MemoryLimit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_carry_a_unit() {
        for (text, expected) in [("0", 0), ("17", 17), ("3kB", 3_000), ("500MB", 500_000_000), ("4 GB", 4_000_000_000)]
        {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "GB", "-1", "1.5GB", "4gb", "4GiB", "99999999999TB"] {
            assert!(bytes(text).is_err_and(|error| error.contains(text)), "{text}");
        }
    }
}
