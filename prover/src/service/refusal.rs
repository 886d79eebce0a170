//! Why a request is refused: one variant per check, with expected and got, and the answer that says so.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use ledger::RunId;
use serde::Serialize;
use serde_json::{Value, json};

/// A refused request. The fields are the `details` of the answer.
#[derive(Debug, Serialize, thiserror::Error)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Refusal {
    /// No token, or another one.
    #[error("the request has no valid token: send `Authorization: Bearer <token>`")]
    Token {},
    /// The request is not what the route takes.
    #[error("{what}: {reason}")]
    Malformed {
        /// Which part.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The body is larger than the service takes.
    #[error("the body has more than {limit} bytes")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive in {seconds} s")]
    TooSlow {
        /// Seconds allowed.
        seconds: u64,
    },
    /// There is nothing at this address.
    #[error("there is no such address")]
    NoRoute {},
    /// The address does not take this method.
    #[error("this address does not take that method")]
    Method {},
    /// The service has no such run.
    #[error("this service has no run {run}")]
    NoRun {
        /// The run asked for.
        run: RunId,
    },
    /// The run has no such state on disk.
    #[error("run {run} has no state {state} here")]
    NoState {
        /// The run.
        run: RunId,
        /// The state asked for.
        state: u64,
    },
    /// The run has fewer chunks.
    #[error("steps of this run have {expected} chunks, there is no chunk {got}")]
    NoChunk {
        /// Chunks of a step.
        expected: u32,
        /// Chunk sent.
        got: u32,
    },
    /// A run with this identity exists and is another.
    #[error("run {run} exists with another {what}")]
    OtherRun {
        /// The run.
        run: RunId,
        /// What differs.
        what: String,
    },
    /// The home has private files of a run with this identity, which is not among those served.
    #[error("this home has private files of run {run}, but its directory is gone or damaged; take another salt")]
    Leftover {
        /// The run.
        run: RunId,
    },
    /// Another process writes the run.
    #[error("the run's directory is in use by another process: {reason}")]
    Locked {
        /// The store's words.
        reason: String,
    },
    /// Another writer holds the run.
    #[error("another writer holds the run; POST …/writer with take_over to replace it")]
    SecondWriter {},
    /// The run takes no more steps.
    #[error("the run is finished")]
    Finished {},
    /// The step is not the next.
    #[error("expected step {expected}, got {got}")]
    StepOrder {
        /// The next step.
        expected: u64,
        /// Step sent.
        got: u64,
    },
    /// The chunk was sent before, with other bytes.
    #[error("chunk {chunk} of step {step} was sent before with SHA-256 {expected}, now with {got}")]
    OtherUpload {
        /// The step.
        step: u64,
        /// The chunk.
        chunk: u32,
        /// Digest of what was accepted.
        expected: String,
        /// Digest of what came now.
        got: String,
    },
    /// The chunks of a step have different learning rates.
    #[error("the other chunks of step {step} have learning rate {expected}, this one {got}")]
    LearningRateDiffers {
        /// The step.
        step: u64,
        /// Raw rate of the other chunks.
        expected: String,
        /// Raw rate of this one.
        got: String,
    },
    /// The trainer's state is not the service's.
    #[error("the trainer is in another state: {what} expected {expected}, got {got}")]
    StateDiffers {
        /// Tensor and index, or the digest.
        what: String,
        /// The service's.
        expected: String,
        /// The trainer's.
        got: String,
    },
    /// The queue is full.
    #[error("{limit} steps wait for their proofs; try again in {retry_after_s} s")]
    QueueFull {
        /// Steps that may wait.
        limit: usize,
        /// Seconds after which to try again.
        retry_after_s: u64,
    },
    /// The service is about to stop.
    #[error("the service is stopping; what was accepted is kept")]
    Draining {
        /// Seconds after which to try again.
        retry_after_s: u64,
    },
    /// A tensor is missing or has another type or shape.
    #[error("tensor {tensor}: expected {expected}, got {got}")]
    Tensor {
        /// Name.
        tensor: String,
        /// Expected form.
        expected: String,
        /// Found.
        got: String,
    },
    /// A value has no place in format `q24`.
    #[error("{reason}")]
    Range {
        /// Name of the tensor, or of the hyper-parameter.
        tensor: String,
        /// Index in the tensor, if it is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        index: Option<u64>,
        /// Quantity, value, and what is allowed.
        reason: String,
    },
    /// A value of the request is not allowed.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Something that is not the caller's fault.
    #[error("the service failed; its log says why")]
    Internal {
        /// For the log only.
        #[serde(skip)]
        log: String,
    },
}

impl Refusal {
    /// Something that is not the caller's fault.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        Self::Internal { log: error.to_string() }
    }

    /// Status, and the word for programs.
    pub fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Token {} => (StatusCode::UNAUTHORIZED, "token"),
            Self::Malformed { .. } => (StatusCode::BAD_REQUEST, "malformed"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::TooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, "too_slow"),
            Self::NoRoute {} => (StatusCode::NOT_FOUND, "no_route"),
            Self::Method {} => (StatusCode::METHOD_NOT_ALLOWED, "method"),
            Self::NoRun { .. } => (StatusCode::NOT_FOUND, "no_run"),
            Self::NoState { .. } => (StatusCode::NOT_FOUND, "no_state"),
            Self::NoChunk { .. } => (StatusCode::NOT_FOUND, "no_chunk"),
            Self::OtherRun { .. } => (StatusCode::CONFLICT, "other_run"),
            Self::Leftover { .. } => (StatusCode::CONFLICT, "leftover"),
            Self::Locked { .. } => (StatusCode::CONFLICT, "locked"),
            Self::SecondWriter {} => (StatusCode::CONFLICT, "second_writer"),
            Self::Finished {} => (StatusCode::CONFLICT, "finished"),
            Self::StepOrder { .. } => (StatusCode::CONFLICT, "step_out_of_order"),
            Self::OtherUpload { .. } => (StatusCode::CONFLICT, "other_upload"),
            Self::LearningRateDiffers { .. } => (StatusCode::CONFLICT, "learning_rate_differs"),
            Self::StateDiffers { .. } => (StatusCode::CONFLICT, "state_differs"),
            Self::QueueFull { .. } => (StatusCode::TOO_MANY_REQUESTS, "queue_full"),
            Self::Draining { .. } => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Self::Tensor { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "tensor"),
            Self::Range { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "range"),
            Self::Invalid { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            Self::Internal { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::QueueFull { retry_after_s, .. } | Self::Draining { retry_after_s } => Some(*retry_after_s),
            _ => None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if let Self::Internal { log } = &self {
            // Handled here, so logged here; the caller gets no paths of this machine.
            eprintln!("cairn: request failed: {log}");
        }
        let (status, code) = self.kind();
        let details = match serde_json::to_value(&self) {
            Ok(Value::Object(fields)) => Value::Object(fields),
            _ => json!({}),
        };
        let body = json!({ "error": { "code": code, "message": self.to_string(), "details": details } });
        let mut response = (status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
