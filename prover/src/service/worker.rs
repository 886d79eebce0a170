//! Takes accepted steps in order, run after run, has them proved, and puts them in the log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use circuits::reference::State;
use ledger::{Root, RunId, StepIndex, StepMeta};

use super::api::Event;
use super::hub::{Hub, refuse};
use super::provers::{ProversError, Work};
use super::refusal::Refusal;
use super::run::{Run, Upload};
use crate::session::{Session, SessionError, step_shape};
use crate::shelf::Keys;
use crate::step::{PreparedStep, StepProver};

/// A run that is being proved; holds its lock while it has work.
struct Bench {
    run: Arc<Run>,
    session: Session,
    keys: Arc<Keys>,
    state: State,
    /// The next steps, in order.
    due: VecDeque<Due>,
}

/// A step that waits for its proofs.
struct Due {
    prepared: PreparedStep,
    meta: StepMeta,
}

/// Works until the service drains. A failure is noted at the run and tried again later; nothing is lost by it.
pub(super) fn work(hub: &Hub) {
    let mut last: Option<RunId> = None;
    let mut bench: Option<Bench> = None;
    while !hub.is_draining() {
        let notices = hub.notices();
        let Some(run) = hub.next_with_work(last) else {
            // Lets go of the run's lock, so that it can be aggregated and anchored.
            bench = None;
            hub.wait(notices);
            continue;
        };
        last = Some(run.description.run);
        let held = bench.take().filter(|b| b.run.description.run == run.description.run);
        let step = run.progress().proved;
        match one(hub, &run, held) {
            Ok(held) => {
                let mut progress = run.progress();
                (progress.trouble, progress.failures) = (None, 0);
                drop(progress);
                bench = held;
            }
            Err(refusal) => {
                let reason = match &refusal {
                    Refusal::Internal { log } => log.clone(),
                    other => other.to_string(),
                };
                eprintln!("cairn: run {}, step {step}: {reason}", run.description.run);
                hub.metrics.failed.fetch_add(1, Ordering::Relaxed);
                run.progress().stall(reason.clone());
                let _ = run.events.send(Event::Failed { step, reason });
            }
        }
    }
}

/// Proves the next step of a run, or finishes it.
fn one(hub: &Hub, run: &Arc<Run>, held: Option<Bench>) -> Result<Option<Bench>, Refusal> {
    let opened = held.is_none();
    let mut bench = match held {
        Some(bench) => bench,
        None => open(hub, run)?,
    };
    let step = bench.session.steps();
    catch_up(hub, run, step, bench.session.writer().log().root())?;
    if step.0 == run.progress().accepted {
        if run.progress().finished() {
            bench.session.write_manifest().map_err(refuse)?;
            run.progress().manifest_written = true;
            let _ = run.events.send(Event::Settled {});
        }
        return Ok(None);
    }
    if opened {
        bench.session.check_open().map_err(refuse)?;
    }
    let start = Instant::now();
    let keys = (&bench.keys.srs, &bench.keys.key);
    let prover = bench.session.prover(keys).map_err(refuse)?;
    let ahead = hub.provers.ahead(run.description.policy.n_chunks);
    prepare(run, &prover, step, &bench.state, &mut bench.due, ahead)?;
    let mut jobs = bench.due.iter().map(|due| due.prepared.jobs.as_slice());
    let work = Work {
        srs: &bench.keys.srs,
        key: &bench.keys.key,
        jobs: jobs.next().unwrap_or_default(),
        ahead: &jobs.collect::<Vec<_>>(),
        draining: hub.draining(),
        on_chunk: &mut |done, of| {
            let _ = run.events.send(Event::Proving { step: step.0, done, of });
        },
        on_wait: &mut |waits| run.progress().waits_for_workers = waits,
    };
    let proofs = hub.provers.prove(work);
    run.progress().waits_for_workers = false;
    let proofs = match proofs {
        Ok(proofs) => proofs,
        // What was given away is asked for again at the next start.
        Err(ProversError::Stopped) => return Ok(None),
        Err(error) => return Err(Refusal::internal(error)),
    };
    let due = bench.due.pop_front();
    let Due { prepared, mut meta } = due.ok_or_else(|| Refusal::internal(format!("step {step} is not accepted")))?;
    let proved = prover.finish(prepared, proofs).map_err(|error| refuse(SessionError::from(error)))?;
    let next = proved.next.clone();
    let prove_ms = start.elapsed().as_millis() as u64;
    meta.prove_ms = Some(prove_ms);
    bench.session.append(proved, meta).map_err(refuse)?;
    bench.state = next;
    let root = bench.session.writer().log().root();
    catch_up(hub, run, bench.session.steps(), root)?;
    hub.last_prove_ms.store(prove_ms, Ordering::Relaxed);
    hub.metrics.step_proved(start.elapsed());
    let _ = run.events.send(Event::Proved { step: step.0, prove_ms, root: root.to_string() });
    hub.provers.settled(run.description.run, step);
    Ok(Some(bench))
}

/// Computes the updates of `step` and of up to `ahead` accepted ones after it, so far as they are not in `due` yet. `state` is
/// the one before `step`.
fn prepare(
    run: &Run,
    prover: &StepProver<'_>,
    step: StepIndex,
    state: &State,
    due: &mut VecDeque<Due>,
    ahead: usize,
) -> Result<(), Refusal> {
    let accepted = run.progress().accepted;
    while due.len() <= ahead {
        let next = StepIndex(step.0 + due.len() as u64);
        if next.0 >= accepted {
            break;
        }
        let Upload { lr, meta, gradient } = run.waiting_step(next)?;
        let before = due.back().map_or(state, |due| &due.prepared.next);
        let prepared = prover.prepare(next, before, &run.hyper(lr), &gradient);
        let prepared = prepared.map_err(|error| refuse(SessionError::from(error)))?;
        due.push_back(Due { prepared, meta });
    }
    Ok(())
}

/// Notes that the log has `steps`. Opening a run may have taken over one more, which was in it but not yet covered.
fn catch_up(hub: &Hub, run: &Run, steps: StepIndex, root: Root) -> Result<(), Refusal> {
    let mut progress = run.progress();
    let accepted = progress.accepted;
    if !(progress.proved..=accepted).contains(&steps.0) {
        let reason = format!("the log has {steps} steps, accepted are {accepted}: another process wrote it");
        return Err(Refusal::internal(reason));
    }
    while progress.proved < steps.0 {
        let step = StepIndex(progress.proved);
        progress.proved += 1;
        progress.root = root;
        hub.release();
        progress.inbox.settle(step).map_err(Refusal::internal)?;
    }
    Ok(())
}

fn open(hub: &Hub, run: &Arc<Run>) -> Result<Bench, Refusal> {
    let shape = step_shape(&run.description).map_err(refuse)?;
    let keys = hub.keys(&shape)?;
    let (session, recovery) = Session::open(&hub.config.places, &run.dir).map_err(refuse)?;
    if !recovery.is_clean() {
        eprintln!("cairn: run {}: repaired: {recovery}", run.description.run);
    }
    let state = session.state().map_err(refuse)?;
    Ok(Bench { run: run.clone(), session, keys, state, due: VecDeque::new() })
}
