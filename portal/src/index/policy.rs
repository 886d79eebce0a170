//! What the policies of runs say: the chain has a digest, bundles that passed have the words that it is made of.

use std::{fmt, str::FromStr};

use ledger::{FieldElement, Policy, Rule};

use super::{
    Index,
    error::{During, IndexError},
    list::WordError,
    row::{Fields, int},
};

/// Most bytes of a policy's words.
const MAX_WORDS: usize = 16 << 10;

/// Which optimizer a run is bound to, as far as the index knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Optimizer {
    /// By the words of its policy.
    Known(Rule),
    /// No bundle with the policy's words was seen.
    Unknown,
}

impl Optimizer {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Known(Rule::AdamW), Self::Known(Rule::Sgd), Self::Unknown];

    /// The word for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Known(Rule::AdamW) => "adamw",
            Self::Known(Rule::Sgd) => "sgd",
            Self::Unknown => "unknown",
        }
    }

    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Known(Rule::AdamW) => "AdamW",
            Self::Known(Rule::Sgd) => "SGD",
            Self::Unknown => "not known",
        }
    }
}

impl fmt::Display for Optimizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl FromStr for Optimizer {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let found = Self::ALL.into_iter().find(|optimizer| optimizer.code() == text);
        found.ok_or_else(|| WordError::new("adamw, sgd or unknown", text))
    }
}

/// The optimizer in a row that has a policy's `rule`.
pub(super) fn optimizer(row: &Fields<'_>) -> Result<Optimizer, IndexError> {
    let Some(word) = row.opt_text("rule")? else { return Ok(Optimizer::Unknown) };
    word.parse().map_err(|error: WordError| IndexError::Stored { what: "rule", reason: error.to_string() })
}

impl Index {
    /// Keeps the words of a policy whose digest was found to be this one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn note_policy(&self, digest: FieldElement, policy: &Policy) -> Result<(), IndexError> {
        let stored = |error: ledger::CanonicalError| IndexError::Stored { what: "policy", reason: error.to_string() };
        let words = String::from_utf8_lossy(&ledger::canonical::encode(policy).map_err(stored)?).into_owned();
        let insert =
            "INSERT INTO policy (digest, rule, n_params, words) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        sqlx::query(insert)
            .bind(digest.as_bytes().to_vec())
            .bind(Optimizer::Known(policy.rule).code())
            .bind(int("parameters", policy.n_params)?)
            .bind(words)
            .execute(&self.pool)
            .await
            .during("policy")?;
        Ok(())
    }

    /// The words of a policy; none if no bundle that passed had them.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn policy(&self, digest: FieldElement) -> Result<Option<Policy>, IndexError> {
        let select = sqlx::query("SELECT words FROM policy WHERE digest = $1").bind(digest.as_bytes().to_vec());
        let Some(row) = select.fetch_optional(&self.pool).await.during("policy")? else { return Ok(None) };
        let words = Fields(&row).opt_text("words")?.unwrap_or_default();
        let policy = ledger::canonical::decode(words.as_bytes(), MAX_WORDS);
        policy.map(Some).map_err(|error| IndexError::Stored { what: "policy", reason: error.to_string() })
    }
}
