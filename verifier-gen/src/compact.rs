//! Makes the loader's straight-line assembly small enough for EIP-170.
//!
//! The loader writes out every point addition, multiplication and point read. Here the same memory moves and precompile
//! calls become calls of three Yul functions with the same effect in the same order; nothing else changes. The contract
//! also refuses calldata of any other length than instances and proof have.

/// Compiler that the committed tooling installs.
const PRAGMA: &str = "pragma solidity 0.8.37;";

/// Functions that the compacted code calls; inserted once before the first use.
const FUNCTIONS: &str = r"
            // m[d..] = point at m[p] + point at m[q]
            function ec_add(d, p, q) -> ok {
                mstore(d, mload(p))
                mstore(add(d, 0x20), mload(add(p, 0x20)))
                mstore(add(d, 0x40), mload(q))
                mstore(add(d, 0x60), mload(add(q, 0x20)))
                ok := eq(staticcall(gas(), 0x6, d, 0x80, d, 0x40), 1)
            }
            // m[d..] = scalar at m[s] times point at m[p]
            function ec_mul(d, p, s) -> ok {
                mstore(d, mload(p))
                mstore(add(d, 0x20), mload(add(p, 0x20)))
                mstore(add(d, 0x40), mload(s))
                ok := eq(staticcall(gas(), 0x7, d, 0x60, d, 0x40), 1)
            }
            // m[d..] = point of the calldata at c
            function read_point(d, c) -> ok {
                let x := calldataload(c)
                mstore(d, x)
                let y := calldataload(add(c, 0x20))
                mstore(add(d, 0x20), y)
                ok := validate_ec_point(x, y)
            }
";

/// A word of hex, with or without 0x prefix of decimal numbers.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `mstore(a, mload(b))` → (a, b).
fn copy(line: &str) -> Option<(u64, u64)> {
    let inner = line.strip_prefix("mstore(")?.strip_suffix("))")?;
    let (to, from) = inner.split_once(", mload(")?;
    Some((number(to)?, number(from)?))
}

/// `success := and(eq(staticcall(gas(), PRECOMPILE, d, LEN, d, 0x40), 1), success)` → d.
fn call(line: &str, precompile: &str, len: &str) -> Option<u64> {
    let inner = line.strip_prefix(&format!("success := and(eq(staticcall(gas(), {precompile}, "))?;
    let (d, rest) = inner.split_once(", ")?;
    (rest == format!("{len}, {d}, 0x40), 1), success)")).then(|| number(d))?
}

/// The last lines are copies to d, d+0x20, …; their sources.
fn copies_to<const N: usize>(lines: &[String], d: u64) -> Option<[u64; N]> {
    let start = lines.len().checked_sub(N)?;
    let mut sources = [0; N];
    for (i, line) in lines[start..].iter().enumerate() {
        let (to, from) = copy(line)?;
        if to != d + 32 * i as u64 {
            return None;
        }
        sources[i] = from;
    }
    Some(sources)
}

/// The six lines of a point read: block, x, store, y, store, check (before its closing brace).
fn point_read(lines: &[String]) -> Option<(u64, u64)> {
    let start = lines.len().checked_sub(6)?;
    let [open, x, store_x, y, store_y, check] = &lines[start..] else { return None };
    let at =
        |line: &str, name: &str| number(line.strip_prefix(&format!("let {name} := calldataload("))?.strip_suffix(')')?);
    let to = |line: &str, name: &str| number(line.strip_prefix("mstore(")?.strip_suffix(&format!(", {name})"))?);
    let (c, d) = (at(x, "x")?, to(store_x, "x")?);
    let follows = at(y, "y")? == c + 32 && to(store_y, "y")? == d + 32;
    (open == "{" && follows && check == "success := and(validate_ec_point(x, y), success)").then_some((c, d))
}

/// Largest calldata offset that is read, plus a word.
fn calldata_len(source: &str) -> u64 {
    source
        .match_indices("calldataload(")
        .filter_map(|(at, word)| {
            let rest = &source[at + word.len()..];
            number(&rest[..rest.find(')')?])
        })
        .max()
        .map_or(0, |last| last + 32)
}

/// Compacts the loader's source.
pub fn compact(source: &str) -> String {
    let len = calldata_len(source);
    let mut out: Vec<String> = Vec::new();
    let mut has_functions = false;
    for line in source.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with("pragma ") {
            out.push(PRAGMA.to_owned());
            continue;
        }
        if line == "let success := true" {
            out.push(format!("let success := eq(calldatasize(), {len:#x})"));
            continue;
        }
        if !has_functions && line.starts_with("mstore(") {
            out.push(FUNCTIONS.trim().to_owned());
            has_functions = true;
        }
        if line == "}"
            && let Some((c, d)) = point_read(&out)
        {
            out.truncate(out.len() - 6);
            out.push(format!("success := and(read_point({d:#x}, {c:#x}), success)"));
            continue;
        }
        if let Some(d) = call(line, "0x6", "0x80")
            && let Some([p, p1, q, q1]) = copies_to::<4>(&out, d)
            && p1 == p + 32
            && q1 == q + 32
        {
            out.truncate(out.len() - 4);
            out.push(format!("success := and(ec_add({d:#x}, {p:#x}, {q:#x}), success)"));
            continue;
        }
        if let Some(d) = call(line, "0x7", "0x60")
            && let Some([p, p1, s]) = copies_to::<3>(&out, d)
            && p1 == p + 32
        {
            out.truncate(out.len() - 3);
            out.push(format!("success := and(ec_mul({d:#x}, {p:#x}, {s:#x}), success)"));
            continue;
        }
        out.push(line.to_owned());
    }
    out.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::{calldata_len, compact};

    #[test]
    fn an_addition_becomes_a_call_with_its_operands() {
        let source = "mstore(0xa880, mload(0xa6a0))\nmstore(0xa8a0, mload(0xa6c0))\nmstore(0xa8c0, mload(0xa820))\n\
                      mstore(0xa8e0, mload(0xa840))\nsuccess := and(eq(staticcall(gas(), 0x6, 0xa880, 0x80, 0xa880, 0x40), 1), success)\n";
        assert!(compact(source).ends_with("success := and(ec_add(0xa880, 0xa6a0, 0xa820), success)\n"));
    }

    #[test]
    fn operands_that_are_no_points_are_left_alone() {
        let source = "mstore(0xa880, mload(0xa6a0))\nmstore(0xa8a0, mload(0xffff))\nmstore(0xa8c0, mload(0xa820))\n\
                      mstore(0xa8e0, mload(0xa840))\nsuccess := and(eq(staticcall(gas(), 0x6, 0xa880, 0x80, 0xa880, 0x40), 1), success)\n";
        assert!(compact(source).contains("staticcall(gas(), 0x6, 0xa880, 0x80, 0xa880, 0x40)"));
    }

    #[test]
    fn calldata_of_another_length_is_refused() {
        let source = "let success := true\nmstore(0xa0, mod(calldataload(0x0), f_q))\nmstore(0xc0, mod(calldataload(0x20), f_q))\n";
        assert_eq!(calldata_len(source), 0x40);
        assert!(compact(source).contains("let success := eq(calldatasize(), 0x40)"));
    }
}
