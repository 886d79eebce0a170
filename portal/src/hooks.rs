//! Webhooks: whoever wants to know gets a signed message when a run changes.
//!
//! What is told is the state of a run, not each event: a receiver that was away for a week gets one message a run, and a
//! message that came twice changes nothing. A receiver counts as told once it answered with 2xx; that is kept in the index.
//! Messages and signatures follow Standard Webhooks 1.0.
//!
//! | module | purpose |
//! |---|---|
//! | `config` | the file that names receivers |
//! | `message` | what is sent, and its signature |

mod config;
mod message;

use std::{collections::BTreeMap, future::Future, pin::pin, time::Duration};

use ledger::Digest;
use reqwest::{Client, StatusCode, header, redirect::Policy};

use crate::index::{Cursor, Index, IndexError, RunEntry, RunName, RunSort};

pub use config::{Hook, HookError};
pub use message::{Message, Secret, SecretError};

/// Runs that are looked at in one query.
const PAGE: u32 = 200;

/// How to tell.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Time between two looks at the index.
    pub look: Duration,
    /// Time that a receiver has to answer.
    pub timeout: Duration,
    /// Pause after the first failure of a receiver; doubles with each one.
    pub backoff: Duration,
    /// Longest pause.
    pub max_backoff: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let timeout = Duration::from_secs(15);
        let (backoff, max_backoff) = (Duration::from_secs(5), Duration::from_secs(3_600));
        Self { look: Duration::from_secs(5), timeout, backoff, max_backoff }
    }
}

/// Why a receiver was not told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TellError {
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The receiver did not answer. Its address may hold a password and is not repeated.
    #[error("no answer: {reason}")]
    Unreachable {
        /// What happened.
        reason: String,
    },
    /// The receiver did not take the message.
    #[error("expected an answer of 200 to 299, got {got}")]
    Refused {
        /// What it answered.
        got: StatusCode,
    },
}

/// Tells one receiver.
#[derive(Debug)]
pub struct Teller {
    index: Index,
    hook: Hook,
    http: Client,
    options: Options,
}

impl Teller {
    /// A teller of one receiver.
    ///
    /// # Errors
    /// If there is no TLS on this machine.
    pub fn new(index: Index, hook: Hook, options: Options) -> Result<Self, reqwest::Error> {
        // A signed message goes where the operator said and nowhere else.
        let http = Client::builder().redirect(Policy::none()).timeout(options.timeout).build()?;
        Ok(Self { index, hook, http, options })
    }

    /// Tells until `stop` is ready. Failures are logged and tried again, later each time.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut backoff = self.options.backoff;
        loop {
            let pause = tokio::select! {
                () = &mut stop => return,
                told = self.round() => match told {
                    Ok(_) => {
                        backoff = self.options.backoff;
                        self.options.look
                    }
                    Err(error) => {
                        let pause = backoff;
                        let (hook, retry_s) = (&self.hook.name, pause.as_secs());
                        tracing::warn!(hook, retry_s, %error, "webhook {hook}: {error}");
                        backoff = backoff.saturating_mul(2).min(self.options.max_backoff);
                        pause
                    }
                },
            };
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Looks at all runs of the filter once and tells what the receiver does not know; says how many messages it took.
    ///
    /// # Errors
    /// At the first message that is not taken; the ones before it count.
    pub async fn round(&self) -> Result<usize, TellError> {
        let mut known = self.index.told(&self.hook.name).await?;
        let (mut cursor, mut n_told): (Option<Cursor>, usize) = (None, 0);
        loop {
            let page = self.index.list(&self.hook.filter, RunSort::Oldest, cursor, PAGE).await?;
            for run in &page.runs {
                n_told += usize::from(self.tell_if_new(run, &mut known).await?);
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        // What is left was told once and is not in the filter any more: the chain took it back, or its owner changed.
        for (name, digest) in known {
            let runs = self.index.runs_by_id(name.run).await?;
            let here = runs.iter().find(|run| RunName::of(run) == name);
            let message = here.map_or_else(|| Message::gone(name), Message::changed);
            if message.digest() != digest {
                self.send(&message).await?;
                n_told += 1;
            }
            match here {
                Some(_) => self.index.note_told(&self.hook.name, name, message.digest()).await?,
                None => self.index.forget_told(&self.hook.name, name).await?,
            }
        }
        Ok(n_told)
    }

    async fn tell_if_new(&self, run: &RunEntry, known: &mut BTreeMap<RunName, Digest>) -> Result<bool, TellError> {
        let name = RunName::of(run);
        let message = Message::changed(run);
        if known.remove(&name) == Some(message.digest()) {
            return Ok(false);
        }
        self.send(&message).await?;
        self.index.note_told(&self.hook.name, name, message.digest()).await?;
        Ok(true)
    }

    async fn send(&self, message: &Message) -> Result<(), TellError> {
        let unreachable = |error: reqwest::Error| TellError::Unreachable { reason: error.without_url().to_string() };
        let mut request = self.http.post(self.hook.url.clone()).header(header::CONTENT_TYPE, "application/json");
        for (name, value) in message.headers(&self.hook.secret, crate::time::now()) {
            request = request.header(name, value);
        }
        let got = request.body(message.body().to_owned()).send().await.map_err(unreachable)?.status();
        if got.is_success() { Ok(()) } else { Err(TellError::Refused { got }) }
    }
}
