//! Where the constants of a product stand, four times each, for the generator (`build.rs`) and for what fills the table.

/// What the columns' sums start from.
pub const COLUMN: usize = 0;
/// Balanced digits of 2^{−51(3−i)} modulo p, five for each i < 3.
pub const POWER: usize = 10;
/// Balanced digits of p.
pub const P: usize = 25;
/// −1/p modulo 2^51, balanced.
pub const INVERSE: usize = 30;
/// 2^51 − 1.
pub const MASK: usize = 31;
/// 2^52: behind its exponent an integer is a mantissa.
pub const EXPONENT: usize = 32;
/// 2^52 + 2^50: what an integer below 2^51, put into the mantissa, is more than the digit it stands for.
pub const DIGIT: usize = 33;
/// What the last column is raised by to be a number near [`NEAR_ONE`] instead of an integer.
pub const LAST: usize = 34;
/// 1.5·2^52, around which numbers are integers.
pub const NEAR_ONE: usize = 35;
/// 1.5·2^103, around which numbers are multiples of 2^51.
pub const NEAR_TOP: usize = 36;
/// The sum of both.
pub const NEAR_BOTH: usize = 37;
/// How many there are.
pub const COUNT: usize = 38;

/// Bits of a digit.
pub const BITS: usize = 51;
/// Digits of a residue.
pub const DIGITS: usize = 5;
/// Digits that are folded at once, before two are cleared one after the other.
pub const FOLDED: usize = 3;

/// Pairs of digits (i, j) with i + j = `column`.
pub const fn pairs(column: usize) -> usize {
    if column < DIGITS { column + 1 } else { (2 * DIGITS - 1).saturating_sub(column) }
}

/// Products of digits whose lower part is added to `column`; their upper parts go to the next.
pub const fn products(column: usize) -> usize {
    let folded = if column >= FOLDED && column < FOLDED + DIGITS { FOLDED } else { 0 };
    let mut cleared = 0;
    let mut first = FOLDED;
    while first < DIGITS {
        if column >= first && column < first + DIGITS {
            cleared += 1;
        }
        first += 1;
    }
    pairs(column) + folded + cleared
}
