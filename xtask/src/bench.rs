//! `cargo xtask bench`: time, memory and sizes beside the budgets; with `--peer ezkl` another prover in the same run.
//!
//! Each measurement is a process of its own, so that its peak memory is its own. Nothing is asserted: a figure over its
//! budget is printed as such.
//!
//! | module | purpose |
//! |---|---|
//! | [`cairn`] | our own parts: steps, verification, epoch, log |
//! | [`gas`] | the generated verifier beside another generator's, and a whole anchor |
//! | [`ezkl`] | the same Adam update with EZKL |
//! | [`portal`] | pages of a large index, beside files served by nginx |
//! | [`wrap`] | an epoch anchored as it is and wrapped |
//! | [`table`] | what is printed |

mod cairn;
mod ezkl;
mod gas;
mod portal;
mod table;
mod wrap;

use std::{fs, path::PathBuf};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::tools::Tools;

/// Measure, and print the budget beside each figure.
///
/// Example: cargo xtask bench step log; cargo xtask bench gas --json; cargo xtask bench --peer ezkl --large
#[derive(Args)]
pub struct Bench {
    /// What to measure; everything if not given.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Measure another prover in the same run, and print the ratio of parameters per second last.
    #[arg(long, value_enum)]
    peer: Option<Peer>,
    /// With --peer: also the largest size (EZKL at 4,096 parameters needs 15 GiB).
    #[arg(long, requires = "peer")]
    large: bool,
    /// Repetitions of each step proof, the peer's too; the least counts.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Where the figures go as JSON; without a file, to the standard output behind everything else.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Step proofs of 2,410, 50,890 and 131,072 parameters, and their verification.
    Step,
    /// An epoch proof of four demo steps.
    Epoch,
    /// Verification of a log of 100,000 steps.
    Log,
    /// Hashing of a bundle, v1 and v2 at once.
    Hash,
    /// Step proofs by our engine and by the library, with one and two threads.
    Engine,
    /// Step and epoch proofs in several shapes of their circuits; only if named, because it is for those who choose them.
    Shapes,
    /// Gas and size of generated verifiers beside those of snark-verifier's EVM loader, and of a whole anchor.
    Gas,
    /// Pages of a portal that has indexed a million steps, beside nginx; only if named, because it needs Debian's nginx and wrk.
    Portal,
    /// The same epoch anchored as it is and wrapped; only if named, because both are proved.
    Wrap,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Peer {
    /// EZKL from PyPI, in an environment of its own.
    Ezkl,
}

/// Runs the benchmarks.
///
/// # Errors
/// If something cannot be run; never for a figure.
pub fn run(bench: &Bench) -> anyhow::Result<()> {
    let tools = Tools::locate()?;
    let mut figures = serde_json::Map::new();
    figures.insert("machine".to_owned(), Value::from(table::machine()));
    println!("{}", table::machine());
    let ratio = match bench.peer {
        Some(Peer::Ezkl) => Some(peer(bench, &tools, &mut figures)?),
        None => {
            let wanted = |part| bench.parts.is_empty() || bench.parts.contains(&part);
            if wanted(Part::Step) {
                figures.insert("step".to_owned(), cairn::steps(&tools, &cairn::STEP_SIZES, bench.repeat)?);
            }
            if wanted(Part::Log) {
                figures.insert("log".to_owned(), cairn::log(&tools)?);
            }
            if wanted(Part::Hash) {
                figures.insert("hash".to_owned(), cairn::hash(&tools)?);
            }
            if wanted(Part::Engine) {
                figures.insert("engine".to_owned(), cairn::engine(&tools, &cairn::STEP_SIZES, bench.repeat)?);
            }
            if wanted(Part::Gas) {
                figures.insert("gas".to_owned(), gas::verifiers(&tools)?);
            }
            if wanted(Part::Epoch) {
                figures.insert("epoch".to_owned(), cairn::epoch(&tools)?);
            }
            if bench.parts.contains(&Part::Shapes) {
                figures.insert("shapes".to_owned(), cairn::shapes(&tools, &cairn::STEP_SIZES[..2], bench.repeat)?);
            }
            if bench.parts.contains(&Part::Portal) {
                figures.insert("portal".to_owned(), portal::pages(&tools)?);
            }
            if bench.parts.contains(&Part::Wrap) {
                figures.insert("wrap".to_owned(), wrap::epoch(&tools)?);
            }
            None
        }
    };
    if let Some(file) = &bench.json {
        let text = format!("{:#}\n", Value::Object(figures));
        if file.as_os_str() == "-" {
            print!("{text}");
        } else {
            fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
        }
    }
    if let Some(ratio) = ratio {
        println!("ratio {ratio:.0}");
    }
    Ok(())
}

/// Both provers, one after the other; parameters per second of ours at its best size against the peer's at its best.
fn peer(bench: &Bench, tools: &Tools, figures: &mut serde_json::Map<String, Value>) -> anyhow::Result<f64> {
    let sizes: &[u64] = if bench.large { &[128, 1024, 4096] } else { &[128, 1024] };
    let theirs = ezkl::sizes(tools, sizes, bench.repeat)?;
    let ours =
        cairn::steps(tools, if bench.large { &cairn::STEP_SIZES } else { &cairn::STEP_SIZES[..2] }, bench.repeat)?;
    table::peers(&[("cairn", &ours), ("ezkl", &theirs)])?;
    let best = |rows: &Value| {
        rows.as_array().into_iter().flatten().filter_map(|row| row["params_per_s"].as_f64()).fold(0.0, f64::max)
    };
    let ratio = best(&ours) / best(&theirs);
    ensure!(ratio.is_finite(), "no size of EZKL was measured");
    figures.insert("peer".to_owned(), json!({ "cairn": ours, "ezkl": theirs, "ratio": ratio }));
    Ok(ratio)
}
