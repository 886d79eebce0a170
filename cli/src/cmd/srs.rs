//! `cairn srs`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use serde::Serialize;
use srs::{SrsInfo, SrsSize};

use crate::cmd::Global;
use crate::output::Output;
use crate::progress;

/// Structured reference strings.
#[derive(Subcommand)]
pub enum Srs {
    /// Make the development reference string: its secret is public, nothing made with it is evidence.
    Dev {
        /// log2 of the number of powers.
        #[arg(long)]
        k: u32,
    },
    /// Import a ceremony's .ptau (snarkjs) or a raw halo2 file, checking it by pairings.
    Import {
        /// The file.
        file: PathBuf,
        /// Name to use it under (--srs NAME).
        #[arg(long)]
        label: String,
        /// log2 of the number of powers to take; for .ptau files.
        #[arg(long)]
        k: Option<u32>,
    },
    /// List what is there.
    Info,
}

#[derive(Serialize)]
struct Line {
    label: String,
    k: u32,
    digest: String,
    secure: bool,
    source: String,
}

impl From<&SrsInfo> for Line {
    fn from(i: &SrsInfo) -> Self {
        Self {
            label: i.label.to_string(),
            k: i.k.k(),
            digest: format!("0x{}", hex::encode(i.digest.0)),
            secure: i.secure,
            source: i.source.as_str().to_owned(),
        }
    }
}

fn text(lines: &[Line]) -> String {
    lines
        .iter()
        .map(|l| {
            let kind = if l.secure { &l.source } else { srs::dev::DISCLAIMER };
            format!("{} k={} {} ({kind})", l.label, l.k, l.digest)
        })
        .collect::<Vec<_>>()
        .join("\n")
}

impl Srs {
    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let cache = global.home(out)?.srs_cache();
        let lines: Vec<Line> = match self {
            Self::Dev { k } => {
                let bar = progress::bar(out, 1, "development reference string");
                let srs = cache.development(SrsSize::new(k)?, &|p| {
                    bar.set_length(p.total);
                    bar.set_position(p.done);
                })?;
                bar.finish_and_clear();
                vec![srs.info().into()]
            }
            Self::Import { file, label, k } => {
                let bar = progress::bar(out, 1, "import");
                let on_progress = |p: srs::Progress| {
                    bar.set_length(p.total);
                    bar.set_position(p.done);
                };
                let label = label.parse().with_context(|| format!("--label {label}"))?;
                let srs = match k {
                    Some(k) => srs::ptau::import(&file, SrsSize::new(k)?, label, &on_progress)?,
                    None if file.extension().is_some_and(|e| e == "ptau") => {
                        anyhow::bail!("{}: a .ptau file needs --k", file.display())
                    }
                    None => srs::halo2_file::import(&file, label, &on_progress)?,
                };
                bar.finish_and_clear();
                cache.store(&srs, &srs::silent)?;
                vec![srs.info().into()]
            }
            Self::Info => cache.list()?.iter().map(Line::from).collect(),
        };
        out.result(&lines, |l| text(l))
    }
}
