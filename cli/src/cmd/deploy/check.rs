//! `cairn deploy --check`: is the code on the chain what the sources give?

use chain::{Client, CodeCheck, Deployment, ExpectedCode};
use ledger::{Address, Selector};
use serde::Serialize;

use super::VerifierCode;
use super::recompile::Recompiled;
use crate::output::{Output, failed};

/// What was compared.
#[derive(Serialize)]
pub struct Report {
    ok: bool,
    chain_id: u64,
    contracts: Vec<Compared>,
    /// Contracts whose sources were compiled and give the code that was compared; none if that was not asked for.
    recompiled: Option<Vec<Recompiled>>,
    /// The registry's, now.
    owner: Option<Address>,
    guardian: Option<Address>,
}

#[derive(Serialize)]
struct Compared {
    contract: String,
    address: Address,
    ok: bool,
    /// Position of the first byte that differs, from 0.
    first_difference: Option<usize>,
    expected_bytes: usize,
    expected_code_hash: String,
    got_bytes: usize,
    got_code_hash: String,
}

impl From<&CodeCheck> for Compared {
    fn from(check: &CodeCheck) -> Self {
        Self {
            contract: check.what.clone(),
            address: check.address,
            ok: check.holds(),
            first_difference: check.first_difference,
            expected_bytes: check.expected.len,
            expected_code_hash: check.expected.hash.to_string(),
            got_bytes: check.got.len,
            got_code_hash: check.got.hash.to_string(),
        }
    }
}

/// Compares the three contracts, and the verifiers whose code was made again from their keys.
///
/// Errors: a failed check `deployed code` or `verifier` that names what differs; the report is printed all the same.
pub async fn check(
    client: &Client,
    deployment: &Deployment,
    (family, codes): (Option<Selector>, &[VerifierCode]),
    recompiled: Option<Vec<Recompiled>>,
    out: &Output,
) -> anyhow::Result<()> {
    let plan = deployment.plan()?;
    let mut checks = Vec::new();
    for expected in &plan.standing {
        checks.push(client.check_code(expected).await?);
    }
    let mut wrong: Vec<String> = checks.iter().filter(|check| !check.holds()).map(CodeCheck::to_string).collect();
    // What is not our registry cannot be asked.
    let registry = plan.registry.address();
    let mut facts = None;
    if checks[0].holds() {
        facts = Some(client.registry_facts(registry).await?);
        for code in codes {
            let Some(family) = family else { continue };
            let what = format!("verifier of {} steps", code.n_steps);
            match client.verifier_of(registry, family, code.log_steps()).await? {
                None => wrong.push(format!("{what}: the registry has none for circuit family {family}")),
                Some(address) => {
                    let runtime = code.compiled.runtime.clone();
                    let check = client.check_code(&ExpectedCode { what, address, runtime }).await?;
                    if !check.holds() {
                        wrong.push(check.to_string());
                    }
                    checks.push(check);
                }
            }
        }
        for recorded in &deployment.verifiers {
            let steps = 1u64 << recorded.log_steps.0.min(63);
            let got = client.verifier_of(registry, recorded.selector, recorded.log_steps).await?;
            if got != Some(recorded.address) {
                let got = got.map_or_else(|| "none".to_owned(), |address| address.to_string());
                let expected = recorded.address;
                wrong.push(format!("recorded verifier of {steps} steps: expected {expected}, the registry has {got}"));
            }
            let again = codes.iter().find(|c| Some(recorded.selector) == family && c.log_steps() == recorded.log_steps);
            match again {
                Some(code) if code.key_digest != recorded.key_digest => wrong.push(format!(
                    "recorded verifier of {steps} steps: expected key {}, got {}",
                    recorded.key_digest, code.key_digest
                )),
                Some(_) => {}
                None => out.note(format!(
                    "verifier {} of {steps} steps is not compared with its key; give --run and --solc",
                    recorded.address
                )),
            }
        }
    }
    let report = Report {
        ok: wrong.is_empty(),
        chain_id: client.chain().0,
        contracts: checks.iter().map(Compared::from).collect(),
        recompiled,
        owner: facts.map(|facts| facts.owner),
        guardian: facts.map(|facts| facts.guardian),
    };
    out.result(&report, |report| {
        let line = |check: &CodeCheck| format!("  {} {check}", if check.holds() { "ok  " } else { "FAIL" });
        let compiled = |r: &Recompiled| {
            format!("  ok   {} compiled from its sources: {} bytes of code", r.contract, r.runtime_bytes)
        };
        let recompiled = report.recompiled.iter().flatten().map(compiled);
        checks.iter().map(line).chain(recompiled).collect::<Vec<_>>().join("\n")
    })?;
    if wrong.is_empty() { Ok(()) } else { Err(failed("deployed code", wrong.join("; "))) }
}
