//! A chunk as work for others: its bytes, and which proofs are taken for it.

use circuits::keys::StepError;
use ledger::{Digest, StepIndex};
use prover::job::{ChunkJob, JobError, JobFileError, ProofRefused};
use prover::state_file::StateFileError;

use crate::bench::{self, bench};

fn proof(job: &ChunkJob) -> Vec<u8> {
    let bench = bench();
    job.prove(bench.srs.params(), &bench.key, job.rest.rng()).expect("a proof")
}

fn check(job: &ChunkJob, proof: &[u8]) -> Result<(), ProofRefused> {
    let bench = bench();
    job.check(bench.srs.params(), &bench.key.verifying_key(), proof)
}

#[test]
fn a_job_survives_its_bytes_and_always_has_the_same_proof() {
    let prepared = bench::step(2);
    for job in &prepared.jobs {
        let bytes = job.encode().expect("bytes");
        let read = ChunkJob::decode(&bytes).expect("a job");
        assert_eq!(read.encode().expect("bytes"), bytes);
        assert_eq!((read.id, &read.state, &read.gradient), (job.id, &job.state, &job.gradient));
        let made = proof(&read);
        assert_eq!(made, proof(job));
        check(job, &made).expect("the proof asked for");
    }
    let again: Vec<Digest> = bench::step(2).jobs.iter().map(|j| Digest::of(&j.encode().expect("bytes"))).collect();
    let first: Vec<Digest> = prepared.jobs.iter().map(|j| Digest::of(&j.encode().expect("bytes"))).collect();
    assert_eq!(again, first, "a service that starts again gives the same jobs away");
    assert_ne!(prepared.jobs[0].rest.0, prepared.jobs[1].rest.0);
    let other = bench::step_with(2, 1);
    assert_ne!(prepared.jobs[0].rest.0, other.jobs[0].rest.0, "no seed serves two witnesses");
}

#[test]
fn chunks_proved_elsewhere_make_the_step() {
    let prepared = bench::step(2);
    let proofs: Vec<Vec<u8>> = prepared.jobs.iter().map(proof).collect();
    let next = prepared.next.clone();
    let proved = bench::prover(2).finish(prepared, proofs).expect("a step");
    assert_eq!((proved.next, proved.statement.step), (next, StepIndex(0)));
}

#[test]
fn bytes_that_are_no_job_are_refused() {
    let bytes = bench::step(1).jobs[0].encode().expect("bytes");
    let header = u32::from_le_bytes(bytes[8..12].try_into().expect("4 bytes")) as usize;
    for n in [0, 7, 11, 12, 40, 12 + header, 12 + header + 95] {
        let refused = ChunkJob::decode(&bytes[..n]);
        assert!(matches!(refused, Err(JobFileError::Magic)), "{n}: {refused:?}");
    }
    let refused = ChunkJob::decode(&bytes[..bytes.len() - 1]);
    assert!(matches!(refused, Err(JobFileError::Length { .. })), "{refused:?}");
    let mut long = bytes.clone();
    long[8..12].copy_from_slice(&5000u32.to_le_bytes());
    let refused = ChunkJob::decode(&long);
    assert!(matches!(refused, Err(JobFileError::HeaderLength { got: 5000 })), "{refused:?}");
    let mut json = bytes.clone();
    json[12] = b'[';
    let refused = ChunkJob::decode(&json);
    assert!(matches!(refused, Err(JobFileError::Header(_))), "{refused:?}");
    let at = bytes.windows(8).position(|w| w == b"CAIRNST1").expect("a state");
    let mut state = bytes.clone();
    state[at] = b'X';
    let refused = ChunkJob::decode(&state);
    assert!(matches!(refused, Err(JobFileError::State(StateFileError::Magic))), "{refused:?}");
}

#[test]
fn a_prover_with_another_key_says_so() {
    let bench = bench();
    let mut job = bench::step(1).jobs[0].clone();
    job.step_key = ledger::FieldElement::from(5);
    let refused = job.prove(bench.srs.params(), &bench.key, job.rest.rng());
    assert!(matches!(refused, Err(JobError::OtherKey { expected, .. }) if expected == job.step_key), "{refused:?}");
}

#[test]
fn only_the_proof_of_the_jobs_own_values_is_taken() {
    let prepared = bench::step(2);
    let job = &prepared.jobs[0];
    let honest = proof(job);

    let refused = check(job, &proof(&prepared.jobs[1]));
    assert!(matches!(refused, Err(ProofRefused::Commitment { column: "input", .. })), "{refused:?}");

    let mut lie = job.clone();
    lie.gradient[0] += 1_000;
    let refused = check(job, &proof(&lie));
    assert!(matches!(refused, Err(ProofRefused::Commitment { column: "output", .. })), "{refused:?}");

    // Another gradient with the same result: the new moments are rounded. The statement would be true, but not of the
    // gradient that the trainer sent.
    let mut lie = job.clone();
    lie.gradient[0] += 1;
    let result =
        |job: &ChunkJob| job.state.step(job.shape.rule, job.fresh, &job.hyper, &job.gradient).expect("in range").0;
    assert_eq!(result(&lie), result(job), "the two gradients have one result");
    let refused = check(job, &proof(&lie));
    assert!(matches!(refused, Err(ProofRefused::Commitment { column: "gradient", .. })), "{refused:?}");

    // The same columns, in another step.
    let mut lie = job.clone();
    lie.id.step = StepIndex(1);
    let refused = check(job, &proof(&lie));
    assert!(matches!(refused, Err(ProofRefused::Proof(StepError::Refused(_)))), "{refused:?}");

    let refused = check(job, &honest[1..]);
    assert!(matches!(refused, Err(ProofRefused::Proof(StepError::ProofLength { .. }))), "{refused:?}");
}
