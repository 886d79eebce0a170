//! What the notes of `run.json` say of a run's circuits. Nobody need believe them: a shape that is not the run's gives another
//! key, and products that are not give another state.

use ledger::RunDescription;

use crate::reference::PRODUCTS_START;
use crate::step::shape::{ShapeError, StepShape};

/// What no proof of Cairn says; stands beside every "proved", and as note `not_proved` in every run's description.
pub const NOT_PROVED: &str = "gradient honesty, data quality, bias";
/// Key of the note that holds the step circuit's shape.
pub const NOTE_SHAPE: &str = "step_shape";
/// Key of the note that holds k of the epoch circuit.
pub const NOTE_EPOCH_K: &str = "epoch_k";
/// Key of the note that holds P1 and P2 of a child's state 0. They are under `genesis_state`, so nobody need believe them.
pub const NOTE_GENESIS_PRODUCTS: &str = "genesis_p1_p2";

/// A note that is missing, or does not say what it has to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("run.json, note {name}: expected {expected}, got {got}")]
pub struct NoteError {
    /// Key of the note.
    pub name: &'static str,
    /// What it has to say.
    pub expected: String,
    /// What it says.
    pub got: String,
}

fn note<'a>(run: &'a RunDescription, name: &str) -> &'a str {
    run.notes.get(name).map_or("nothing", String::as_str)
}

/// The step circuit's shape.
///
/// Errors: [`NoteError`].
pub fn step_shape(run: &RunDescription) -> Result<StepShape, NoteError> {
    let got = note(run, NOTE_SHAPE);
    let refuse = |error: ShapeError| NoteError { name: NOTE_SHAPE, expected: error.to_string(), got: got.to_owned() };
    got.parse().map_err(refuse)
}

/// log2 of the rows of the epoch circuit.
///
/// Errors: [`NoteError`].
pub fn epoch_k(run: &RunDescription) -> Result<u32, NoteError> {
    let got = note(run, NOTE_EPOCH_K);
    let refuse = |_| NoteError { name: NOTE_EPOCH_K, expected: "an integer".to_owned(), got: got.to_owned() };
    got.parse().map_err(refuse)
}

/// P1 and P2 of the state before step 0: 1 for a run without parent, else by its note.
///
/// Errors: [`NoteError`].
pub fn genesis_products(run: &RunDescription) -> Result<(u64, u64), NoteError> {
    if run.parent.is_none() {
        return Ok(PRODUCTS_START);
    }
    let got = note(run, NOTE_GENESIS_PRODUCTS);
    let products = got.split_once(' ').and_then(|(p1, p2)| Some((p1.parse().ok()?, p2.parse().ok()?)));
    let refuse = || NoteError { name: NOTE_GENESIS_PRODUCTS, expected: "two integers".to_owned(), got: got.to_owned() };
    products.ok_or_else(refuse)
}
