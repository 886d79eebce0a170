//! `cairn verify`.

use std::path::{Path, PathBuf};

use audit::chain::{Place, Scope, compare};
use audit::{Capsule, Check, Checks, Facts, Keys, Progress, RunAudit, State, Steps, epochs};
use clap::Args;
use indicatif::ProgressBar;
use ledger::{Address, Digest};
use serde::Serialize;
use store::{RunDir, VerifiedLog};

use crate::capsule::program;
use crate::cmd::{Global, block_on};
use crate::output::{NOT_PROVED, Output, is_failure};
use crate::progress;
use crate::rpc;
use crate::run::open;

/// Check a run as a stranger would: nothing but its directory, and with --rpc the chain, is believed.
#[derive(Args)]
#[command(
    after_help = "Example: cairn verify --run DIR --all --rpc http://127.0.0.1:8545 --contract 0x…\nExample: cairn verify --capsule FILE --all"
)]
pub struct Verify {
    /// Run directory.
    #[arg(long = "run", value_name = "DIR", required_unless_present = "capsule")]
    dir: Option<PathBuf>,
    /// A capsule instead: run, keys and the state of the chain in one file. Nobody is asked anything.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dir", "rpc"])]
    capsule: Option<PathBuf>,
    /// Hash that the capsule's block has to have, from someone you trust.
    #[arg(long, value_name = "HASH", requires = "capsule")]
    block_hash: Option<Digest>,
    /// Compiler, speaks --standard-json: also compile the capsule's verifiers and compare their code.
    #[arg(long, value_name = "FILE", requires = "capsule")]
    solc: Option<PathBuf>,
    /// Directory of the parent, to check that the run starts where the parent's log ends.
    #[arg(long, value_name = "DIR")]
    parent: Option<PathBuf>,
    /// Verify the proofs of this many randomly chosen steps.
    #[arg(long, default_value_t = 4, conflicts_with = "all")]
    k: u64,
    /// Verify the proofs of all steps.
    #[arg(long)]
    all: bool,
    /// Address of a node, to compare with the chain.
    #[arg(long, requires = "contract")]
    rpc: Option<String>,
    /// RunAnchor.
    #[arg(long, requires = "rpc")]
    contract: Option<Address>,
    /// Block to read events from.
    #[arg(long, default_value_t = 0)]
    from_block: u64,
}

#[derive(Default, Serialize)]
struct Report {
    ok: bool,
    run: String,
    steps: u64,
    steps_verified: u64,
    epochs_verified: u64,
    local_root: String,
    chain_root: Option<String>,
    finalized: Option<bool>,
    /// Height and hash of the block that a capsule proves the head in.
    block: Option<u64>,
    block_hash: Option<String>,
    step_verify_ms: f64,
    checks: Vec<Check>,
    not_proved: &'static str,
}

/// Checks with a bar for the step proofs.
pub fn checks(out: &Output) -> Checks<'_> {
    let mut bar: Option<ProgressBar> = None;
    Checks::watched(move |progress| match progress {
        Progress::StepProofs { done, total } => {
            bar.get_or_insert_with(|| progress::bar(out, total, "step proofs")).set_position(done);
        }
        Progress::Made(_) => {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
        }
    })
}

impl Verify {
    /// The command for all proofs of the run in `dir`, without a chain.
    pub fn proofs(dir: &Path) -> Self {
        let dir = Some(dir.to_owned());
        let (capsule, block_hash, solc) = (None, None, None);
        Self { dir, capsule, block_hash, solc, parent: None, k: 0, all: true, rpc: None, contract: None, from_block: 0 }
    }

    /// Makes the checks of the command, and prints nothing.
    pub fn check(&self, global: &Global, out: &Output, checks: &mut Checks<'_>) -> anyhow::Result<()> {
        self.verify(global, out, checks, &mut Report::default())
    }

    /// Verifies the proofs of some steps of a log that was checked, where others are not there.
    pub fn check_steps(
        &self,
        global: &Global,
        out: &Output,
        dir: &RunDir,
        log: &VerifiedLog,
        steps: &[u64],
        checks: &mut Checks<'_>,
    ) -> anyhow::Result<()> {
        let home = global.home(out)?;
        let audit = RunAudit { dir, keys: &home, steps: Steps::These(steps.to_vec()), parent: None };
        let step = home.step(dir.run().description())?;
        audit.check_statements(log, checks)?;
        audit.check_steps(log, &step, checks)?;
        Ok(())
    }

    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let mut checks = checks(out);
        let mut report = Report { not_proved: NOT_PROVED, ..Report::default() };
        let result = self.verify(global, out, &mut checks, &mut report);
        report.ok = result.is_ok();
        report.checks = checks.into_made();
        // Checks that could not be made (I/O) have no report; failed ones do.
        if result.as_ref().is_ok() || result.as_ref().err().is_some_and(is_failure) {
            out.result(&report, text)?;
        }
        result
    }

    fn verify(
        &self,
        global: &Global,
        out: &Output,
        checks: &mut Checks<'_>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let home = global.home(out)?;
        if let Some(file) = self.capsule.as_deref().filter(|file| !file.exists()) {
            anyhow::bail!("{} is not there", file.display());
        }
        let capsule = self.capsule.as_deref().map(Capsule::open).transpose()?;
        let (dir, keys): (RunDir, &dyn Keys) = match (&capsule, &self.dir) {
            (Some(capsule), _) => (capsule.run()?, capsule),
            (None, Some(dir)) => (open(dir)?, &home),
            (None, None) => anyhow::bail!("neither --run nor --capsule is given"),
        };
        let run = dir.run().description();
        report.run = run.run.to_string();
        let parent = self.parent.as_deref().map(open).transpose()?;
        let steps = if self.all { Steps::All } else { Steps::Sample(self.k) };
        let audit = RunAudit { dir: &dir, keys, steps, parent: parent.as_ref() };
        let Facts { log, step, .. } = audit.check_files(checks, |checks, log, files| {
            report.steps = log.log.size().0;
            report.local_root = log.log.root().to_string();
            let Some(capsule) = &capsule else { return Ok(()) };
            let this = program().ok();
            checks.note("capsule", capsule.check_run(log, files), |()| capsule.describe(this.as_ref()))
        })?;
        let verified = audit.check_steps(&log, &step, checks)?;
        (report.steps_verified, report.step_verify_ms) = (verified.n_steps, verified.ms_each);
        report.epochs_verified = epochs::check(keys, &dir, &log, &step, checks)?;
        if let Some(capsule) = &capsule {
            self.against_block(capsule, &dir, &log, checks, report)?;
        }
        if let (Some(rpc), Some(contract)) = (&self.rpc, self.contract) {
            let place = Place { contract, from_block: self.from_block, scope: Scope::Head };
            let compared = block_on(async {
                let client = rpc::connect(rpc).await?;
                Ok(compare(&client, place, run, &log, checks).await?)
            })?;
            report.chain_root = Some(compared.root.to_string());
            report.finalized = Some(compared.is_final);
        }
        Ok(())
    }

    /// Compares the run with the state that its capsule proves.
    fn against_block(
        &self,
        capsule: &Capsule,
        dir: &RunDir,
        log: &VerifiedLog,
        checks: &mut Checks<'_>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let run = dir.run().description();
        let anchored = capsule.evidence()?.note(run, log, self.block_hash, checks)?;
        let head = &anchored.head;
        (report.block, report.block_hash) = (Some(head.block.number), Some(head.block.hash.to_string()));
        let n = checks.pass_on(capsule.check_verifiers(run, self.solc.as_deref()))?;
        let how =
            if self.solc.is_some() { "compiled and compared" } else { "with every number of key and reference string" };
        checks.passed("contract sources, verifier code", format!("{n} verifiers, {how}"));
        (report.chain_root, report.finalized) = (Some(head.root.to_string()), Some(head.finalized));
        Ok(())
    }
}

/// How a check went, in four letters.
pub fn mark(check: &Check) -> &'static str {
    match check.state {
        State::Passed => "ok  ",
        State::Failed => "FAIL",
        State::NotCovered => "-   ",
    }
}

fn text(r: &Report) -> String {
    let mut lines = vec![format!("run {}", r.run)];
    for c in &r.checks {
        lines.push(format!("  {} {:42} {}", mark(c), c.check, c.detail));
    }
    if let (true, Some(number), Some(hash)) = (r.ok, r.block, &r.block_hash) {
        lines.push(format!("all this is of block {number} {hash}: compare the hash with someone who knows the chain"));
    }
    lines.push(if r.ok {
        format!("everything that was checked holds; {} are not proved", r.not_proved)
    } else {
        "the run does not hold".to_owned()
    });
    lines.join("\n")
}
