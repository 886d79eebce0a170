//! Positions and counts. In JSON they are numbers up to 2^53 − 1, which every reader holds exactly.

use super::IdError;

/// Largest integer that canonical JSON writes as a number (RFC 8785, RFC 7493): 2^53 − 1.
pub const MAX_SMALL_INT: u64 = (1 << 53) - 1;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $int);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                // `parse` alone would also take a leading plus sign.
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse().ok().filter(|_| digits).map(Self).ok_or_else(|| IdError::Number {
                    kind: stringify!($name),
                    got: text.chars().take(40).collect(),
                })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                crate::canonical::small_int::serialize(&u64::from(self.0), serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use serde::de::Error;
                let number = crate::canonical::small_int::deserialize(deserializer)?;
                <$int>::try_from(number).map(Self).map_err(|_| {
                    D::Error::custom(format_args!(
                        concat!(stringify!($name), " {} is out of range"),
                        number
                    ))
                })
            }
        }
    };
}

index!(
    /// Position of an optimizer step in its run, and of its leaf in the tree, counted from 0.
    StepIndex, u64
);
index!(
    /// Position of an epoch in its run, counted from 0.
    ///
    /// The contract's counter after this epoch is anchored is one more.
    EpochIndex, u64
);
index!(
    /// Position of a chunk of the parameters in its step, counted from 0.
    ChunkIndex, u32
);
index!(
    /// Number of leaves of a tree, which is the number of steps of a log.
    TreeSize, u64
);
index!(
    /// EIP-155 chain id.
    ChainId, u64
);

impl StepIndex {
    /// The step after this one; stays at the largest index instead of wrapping.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl EpochIndex {
    /// The contract's counter once this epoch is anchored: it counts from 1, 0 means "never anchored".
    pub const fn counter(self) -> u64 {
        self.0.saturating_add(1)
    }
}

impl TreeSize {
    /// The step that would be appended next.
    pub const fn next_step(self) -> StepIndex {
        StepIndex(self.0)
    }
}
