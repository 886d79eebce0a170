//! Whole lists as CSV or JSON lines, so that nobody has to page. They are streamed page by page.

use std::{collections::BTreeMap, fmt};

use axum::{
    body::Body,
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use ledger::StepIndex;
use serde::Serialize;
use serde_json::Value;

use super::{
    handlers::{anchored_steps, following},
    model::{EpochView, RunView, StepView},
    query::{MAX_LIMIT, Pairs, RunQuery, only, resolve},
};
use crate::{
    index::{Cursor, RunEntry},
    server::{AppState, Refusal},
};

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Csv,
    Jsonl,
}

/// What a run's lists are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Epochs,
    Steps,
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Jsonl => "application/jsonl",
        }
    }

    /// The lines of a page. The names of the columns come before the first line.
    fn write<T: Serialize>(self, rows: &[T], is_first: bool) -> Result<String, serde_json::Error> {
        let mut out = String::new();
        for (at, row) in rows.iter().enumerate() {
            match self {
                Self::Jsonl => out.push_str(&serde_json::to_string(row)?),
                Self::Csv => {
                    let Value::Object(fields) = serde_json::to_value(row)? else { continue };
                    // Whatever order the maps of serde_json have in this build.
                    let fields: BTreeMap<String, Value> = fields.into_iter().collect();
                    if is_first && at == 0 {
                        out.push_str(&fields.keys().cloned().collect::<Vec<_>>().join(","));
                        out.push_str("\r\n");
                    }
                    out.push_str(&fields.values().map(cell).collect::<Vec<_>>().join(","));
                    out.push('\r');
                }
            }
            out.push('\n');
        }
        Ok(out)
    }
}

/// A value of a line (RFC 4180). What a spreadsheet would run as a formula is quoted by an apostrophe.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => {
            let risky = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
            let text = if risky { format!("'{text}") } else { text.clone() };
            let quoted = text.contains([',', '"', '\n', '\r']);
            if quoted { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
        }
        other => other.to_string(),
    }
}

/// All runs of a filter: `runs.csv` or `runs.jsonl`.
#[utoipa::path(get, path = "/api/v1/export/{file}",
    params(("file" = String, Path, description = "runs.csv or runs.jsonl; parameters as for /api/v1/runs")),
    responses((status = 200, content_type = "text/csv", body = String), (status = 400, description = "malformed"),
        (status = 404, description = "no such file")))]
pub(crate) async fn runs(
    State(state): State<AppState>,
    Path(file): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Response, Refusal> {
    let form = match file.as_str() {
        "runs.csv" => Form::Csv,
        "runs.jsonl" => Form::Jsonl,
        _ => return Err(Refusal::NoRoute {}),
    };
    let query = RunQuery { limit: Some(MAX_LIMIT), ..RunQuery::parse(&pairs)? };
    let pages = stream::try_unfold(Some((query.cursor, true)), move |place: Option<(Option<Cursor>, bool)>| {
        let (state, query) = (state.clone(), query.clone());
        async move {
            let Some((cursor, is_first)) = place else { return Ok(None) };
            let page = RunQuery { cursor, ..query }.run(state.index()).await.map_err(Broken::of)?.page;
            let rows: Vec<RunView> = page.runs.iter().map(RunView::from).collect();
            let text = form.write(&rows, is_first).map_err(Broken::of)?;
            Ok::<_, Broken>(Some((text, page.next.map(|next| (Some(next), false)))))
        }
    });
    Ok(([(header::CONTENT_TYPE, form.content_type())], Body::from_stream(pages)).into_response())
}

/// All epochs or steps of a run: `epochs.csv`, `epochs.jsonl`, `steps.csv` or `steps.jsonl`.
#[utoipa::path(get, path = "/api/v1/runs/{run}/export/{file}",
    params(("run" = String, Path), ("file" = String, Path), ("contract" = Option<String>, Query)),
    responses((status = 200, content_type = "text/csv", body = String), (status = 400, description = "malformed"),
        (status = 404, description = "no such run or file"), (status = 409, description = "several contracts have it")))]
pub(crate) async fn run(
    State(state): State<AppState>,
    Path((run, file)): Path<(String, String)>,
    Query(pairs): Query<Pairs>,
) -> Result<Response, Refusal> {
    only(&pairs, &[])?;
    let (list, form) = match file.as_str() {
        "epochs.csv" => (List::Epochs, Form::Csv),
        "epochs.jsonl" => (List::Epochs, Form::Jsonl),
        "steps.csv" => (List::Steps, Form::Csv),
        "steps.jsonl" => (List::Steps, Form::Jsonl),
        _ => return Err(Refusal::NoRoute {}),
    };
    let entry = resolve(state.index(), &run, &pairs).await?;
    // From where on, counted in epochs or steps.
    let pages = stream::try_unfold(Some(0), move |from: Option<u64>| {
        let (state, entry) = (state.clone(), entry.clone());
        async move {
            let Some(from) = from else { return Ok(None) };
            let (text, next) = page(&state, &entry, list, form, from).await?;
            Ok::<_, Broken>(Some((text, next)))
        }
    });
    Ok(([(header::CONTENT_TYPE, form.content_type())], Body::from_stream(pages)).into_response())
}

/// A page of a run's list, and from where on the next one is.
async fn page(
    state: &AppState,
    run: &RunEntry,
    list: List,
    form: Form,
    from: u64,
) -> Result<(String, Option<u64>), Broken> {
    let is_first = from == 0;
    match list {
        List::Epochs => {
            let epochs = following(state.index(), run, from, MAX_LIMIT).await.map_err(Broken::of)?;
            let rows: Vec<EpochView> = epochs.iter().map(EpochView::from).collect();
            let next = epochs.last().map(|last| last.counter).filter(|last| *last < run.counter);
            Ok((form.write(&rows, is_first).map_err(Broken::of)?, next))
        }
        List::Steps => {
            let steps = anchored_steps(state.index(), run, StepIndex(from), MAX_LIMIT).await.map_err(Broken::of)?;
            let rows: Vec<StepView> = steps.iter().map(StepView::from).collect();
            let next = steps.last().map(|last| last.step.0 + 1).filter(|next| *next < run.size.0);
            Ok((form.write(&rows, is_first).map_err(Broken::of)?, next))
        }
    }
}

/// The index failed in the middle of an answer: the connection is cut, so that nobody takes the part for the whole.
#[derive(Debug)]
struct Broken(String);

impl Broken {
    fn of(error: impl fmt::Debug + fmt::Display) -> Self {
        tracing::error!(?error, "export broke off: {error}");
        Self(error.to_string())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "export broke off: {}", self.0)
    }
}

impl std::error::Error for Broken {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_are_quoted_and_never_formulas() {
        let cells = [
            (json!("plain"), "plain"),
            (json!("a,b"), "\"a,b\""),
            (json!("say \"x\"\n"), "\"say \"\"x\"\"\n\""),
            (json!("=1+1"), "'=1+1"),
            (json!("@x,y"), "\"'@x,y\""),
            (json!(null), ""),
            (json!(12), "12"),
            (json!(true), "true"),
        ];
        for (value, expected) in cells {
            assert_eq!(cell(&value), expected);
        }
    }

    #[test]
    fn names_of_columns_come_once() {
        let rows = [json!({"a": 1, "b": "x"}), json!({"a": 2, "b": null})];
        assert_eq!(Form::Csv.write(&rows, true).unwrap(), "a,b\r\n1,x\r\n2,\r\n");
        assert_eq!(Form::Csv.write(&rows, false).unwrap(), "1,x\r\n2,\r\n");
        assert_eq!(Form::Jsonl.write(&rows, true).unwrap(), "{\"a\":1,\"b\":\"x\"}\n{\"a\":2,\"b\":null}\n");
    }
}
