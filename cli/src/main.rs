//! `cairn`: prove, aggregate, anchor and verify training runs.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 what was asked holds, 1 a check failed, 2 usage or I/O.
//! Layer L3.

mod capsule;
mod cmd;
mod home;
mod keys;
mod output;
mod progress;
mod rpc;
mod run;
mod size;
mod swarm;

use std::process::ExitCode;

use clap::Parser;

use crate::output::{Output, is_failure};

/// Training runs that a stranger can check.
///
/// A proof says that each committed state is what the declared optimizer makes of the state and gradient before it. It
/// does not say that the gradient is honest or the data good.
#[derive(Parser)]
#[command(name = "cairn", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: cmd::Command,
    #[command(flatten)]
    global: cmd::Global,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    rpc::set_timeout(cli.global.rpc_timeout);
    let out = Output::new(cli.global.json, cli.global.quiet);
    match processor().and_then(|()| cli.command.run(&cli.global, &out)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let failed_check = is_failure(&error) || is_refusal(&error);
            out.error(&error);
            ExitCode::from(if failed_check { 1 } else { 2 })
        }
    }
}

/// Whether the processor has what the field arithmetic is assembled for: without it the first product would end the process
/// by a signal.
fn processor() -> anyhow::Result<()> {
    #[cfg(target_arch = "x86_64")]
    for (name, is_here) in [("BMI2", is_x86_feature_detected!("bmi2")), ("ADX", is_x86_feature_detected!("adx"))] {
        anyhow::ensure!(
            is_here,
            "processor: expected one with {name} (x86-64 since Broadwell and Zen), got one without"
        );
    }
    Ok(())
}

/// Whether a contract refused: the chain made the check, and it failed.
fn is_refusal(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(chain::ChainError::Reverted { .. })))
}
