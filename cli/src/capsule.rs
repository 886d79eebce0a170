//! Making capsules (`docs/spec/capsule.md`); `audit` reads them.

mod make;

pub use make::{Made, make, program};
