//! `cairn attest`: what auditors say about runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use chain::{Attestation, AttestationEvent, Client};
use clap::{Args, Subcommand};
use ledger::canonical::V1;
use ledger::{Address, ChainId, Digest, MerkleTree, Root, RunId, Salt, TreeSize};
use rand_core::{OsRng, RngCore};
use serde::{Deserialize, Serialize};

use crate::cmd::deploy::SignerArgs;
use crate::cmd::target::{Acted, RunRef};
use crate::cmd::{Global, block_on};
use crate::output::{Output, failed};
use crate::run::open;

/// What is done to an attestation.
#[derive(Subcommand)]
pub enum Attest {
    /// Sign that you looked at a run's first steps and wrote a report. Sends nothing; anybody may publish the file.
    #[command(
        after_help = "Example: cairn attest sign --run DIR --rpc URL --attestations 0x… --report report.pdf --out word.json --key-file KEY"
    )]
    Sign(Sign),
    /// Make a signed attestation public.
    #[command(after_help = "Example: cairn attest publish --file word.json --rpc URL --key-file KEY")]
    Publish {
        #[command(flatten)]
        word: WordArgs,
        #[command(flatten)]
        signer: SignerArgs,
        /// Block to search the run's epochs from.
        #[arg(long, default_value_t = 0)]
        from_block: u64,
    },
    /// Take an attestation back, public or not; the auditor.
    #[command(
        after_help = "Example: cairn attest revoke --file word.json --rpc URL --reason 'found a bug' --key-file KEY"
    )]
    Revoke {
        #[command(flatten)]
        word: WordArgs,
        #[command(flatten)]
        signer: SignerArgs,
        /// Why; it is public.
        #[arg(long)]
        reason: String,
    },
    /// List what auditors said about a run, and whether it stands.
    #[command(after_help = "Example: cairn attest list --run 0x… --rpc URL --attestations 0x…")]
    List {
        #[command(flatten)]
        place: Place,
    },
}

/// A run and the contract that keeps attestations.
#[derive(Args)]
pub struct Place {
    /// Id of the run, 0x…, or its directory.
    #[arg(long, value_name = "ID|DIR")]
    run: RunRef,
    /// Address of the node.
    #[arg(long)]
    rpc: String,
    /// The contract Attestations; it says which RunAnchor it is for.
    #[arg(long)]
    attestations: Address,
    /// Block to search events from.
    #[arg(long, default_value_t = 0)]
    from_block: u64,
}

/// Arguments of `cairn attest sign`.
#[derive(Args)]
pub struct Sign {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    signer: SignerArgs,
    /// The report; its SHA-256 is signed.
    #[arg(long, value_name = "FILE")]
    report: PathBuf,
    /// Steps that were audited, from the first on; all that are anchored if not given.
    #[arg(long)]
    steps: Option<TreeSize>,
    /// When it ends, unix seconds; never if not given.
    #[arg(long, value_name = "SECONDS")]
    expires_at: Option<u64>,
    /// So that the same words can be said again; random if not given.
    #[arg(long)]
    salt: Option<Salt>,
    /// Where the signed attestation goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// A signed attestation and a node.
#[derive(Args)]
pub struct WordArgs {
    /// The file of `cairn attest sign`.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Address of the node.
    #[arg(long)]
    rpc: String,
}

/// A signed attestation as it is handed on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Word {
    attestation: Attestation,
    /// The contract Attestations.
    attestations: Address,
    chain_id: ChainId,
    /// EIP-712 digest, and what is signed.
    id: Digest,
    /// r, s, v, 65 bytes; another length for wallet contracts.
    signature: String,
    v: V1,
}

#[derive(Serialize)]
struct Said {
    id: Digest,
    auditor: Address,
    /// None: revoked before it was public.
    steps: Option<u64>,
    root: Option<Root>,
    report: Option<Digest>,
    expires_at: Option<u64>,
    standing: bool,
    revoked: Option<String>,
    transactions: Vec<String>,
}

#[derive(Serialize)]
struct List {
    run: RunId,
    chain_id: u64,
    attestations: Vec<Said>,
}

/// Longest file that is read, bytes.
const MAX_WORD_BYTES: u64 = 65_536;

impl Attest {
    /// Runs the command.
    pub fn run(self, _: &Global, out: &Output) -> anyhow::Result<()> {
        match self {
            Self::Sign(sign) => out.result(&block_on(sign.sign())?, |word| {
                let Attestation { auditor, run, steps, .. } = &word.attestation;
                format!("attestation {} by {auditor}: {steps} steps of run {run}", word.id)
            }),
            Self::Publish { word, signer, from_block } => {
                out.result(&block_on(publish(&word, &signer, from_block))?, Acted::text)
            }
            Self::Revoke { word, signer, reason } => {
                out.result(&block_on(revoke(&word, &signer, &reason))?, Acted::text)
            }
            Self::List { place } => out.result(&block_on(list(&place))?, text),
        }
    }
}

impl Place {
    fn run(&self) -> anyhow::Result<RunId> {
        Ok(match &self.run {
            RunRef::Id(run) => *run,
            RunRef::Dir(path) => open(path)?.run().description().run,
        })
    }
}

impl Sign {
    async fn sign(&self) -> anyhow::Result<Word> {
        let report = std::fs::read(&self.report).with_context(|| format!("read {}", self.report.display()))?;
        let signer = self.signer.signer()?;
        let client = crate::rpc::connect(&self.place.rpc).await?;
        let run = self.place.run()?;
        let tree = anchored(&client, self.place.attestations, run, self.place.from_block).await?;
        let steps = self.steps.unwrap_or(tree.size());
        let root = root_at(&tree, run, steps)?;
        if let RunRef::Dir(path) = &self.place.run {
            // What was audited is the log; the chain must say the same of it.
            let log = open(path)?.log()?;
            let got = log.tree().root_at(steps).map_err(|error| failed("log", error))?;
            if got != root {
                return Err(failed("log", format!("root of {steps} steps: expected the anchored {root}, got {got}")));
            }
        }
        let attestation = Attestation {
            auditor: signer.address(),
            run,
            steps,
            root,
            report: Digest::of(&report),
            expires_at: self.expires_at,
            salt: self.salt.unwrap_or_else(random_salt),
        };
        let (chain_id, attestations) = (client.chain(), self.place.attestations);
        let id = attestation.id(chain_id, attestations);
        let signature = format!("0x{}", hex::encode(signer.sign(id)?));
        let word = Word { attestation, attestations, chain_id, id, signature, v: V1 };
        let text = serde_json::to_string_pretty(&word)? + "\n";
        std::fs::write(&self.out, text).with_context(|| format!("write {}", self.out.display()))?;
        Ok(word)
    }
}

impl Word {
    /// Reads a file and checks that the id is that of the words.
    ///
    /// Errors: a failed check `attestation id`.
    fn read(path: &Path) -> anyhow::Result<Self> {
        let size = std::fs::metadata(path).with_context(|| format!("read {}", path.display()))?.len();
        anyhow::ensure!(
            size <= MAX_WORD_BYTES,
            "{}: expected at most {MAX_WORD_BYTES} bytes, got {size}",
            path.display()
        );
        let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let word: Self = serde_json::from_slice(&bytes).with_context(|| format!("attestation {}", path.display()))?;
        let id = word.attestation.id(word.chain_id, word.attestations);
        if id != word.id {
            return Err(failed("attestation id", format!("its words give {id}, the file says {}", word.id)));
        }
        Ok(word)
    }

    fn signature(&self) -> anyhow::Result<Vec<u8>> {
        let digits = self.signature.strip_prefix("0x").ok_or_else(|| anyhow!("signature: expected 0x hex"))?;
        hex::decode(digits).context("signature")
    }
}

async fn publish(args: &WordArgs, signer: &SignerArgs, from_block: u64) -> anyhow::Result<Acted> {
    let word = Word::read(&args.file)?;
    let signature = word.signature()?;
    let writer = signer.writer(&args.rpc).await?;
    let client = writer.client();
    client.expect_chain(word.chain_id)?;
    let Attestation { run, steps, root, .. } = word.attestation;
    let tree = anchored(client, word.attestations, run, from_block).await?;
    let expected = root_at(&tree, run, steps)?;
    if expected != root {
        let detail = format!("the run's first {steps} steps have root {expected}, the attestation says {root}");
        return Err(failed("attested root", detail));
    }
    let path = tree.prove_consistency(steps, tree.size())?;
    let sent = writer.attest(word.attestations, &word.attestation, &path, &signature).await?;
    Ok(Acted::new("attest", &writer, word.attestations, word.id, Some(sent)))
}

async fn revoke(args: &WordArgs, signer: &SignerArgs, reason: &str) -> anyhow::Result<Acted> {
    let word = Word::read(&args.file)?;
    let writer = signer.writer(&args.rpc).await?;
    writer.client().expect_chain(word.chain_id)?;
    // The auditor itself need not sign what it sends.
    let sent = writer.revoke(word.attestations, &word.attestation, reason, &[]).await?;
    Ok(Acted::new("revoke", &writer, word.attestations, word.id, Some(sent)))
}

async fn list(place: &Place) -> anyhow::Result<List> {
    let client = crate::rpc::connect(&place.rpc).await?;
    let run = place.run()?;
    let mut said: BTreeMap<Digest, Said> = BTreeMap::new();
    let mut order = Vec::new();
    for event in client.attestation_events(place.attestations, run, place.from_block).await? {
        let (AttestationEvent::Attested { id, auditor, tx, .. } | AttestationEvent::Revoked { id, auditor, tx, .. }) =
            &event;
        let entry = said.entry(*id).or_insert_with(|| {
            order.push(*id);
            Said {
                id: *id,
                auditor: *auditor,
                steps: None,
                root: None,
                report: None,
                expires_at: None,
                standing: false,
                revoked: None,
                transactions: Vec::new(),
            }
        });
        entry.transactions.push(tx.to_string());
        match event {
            AttestationEvent::Attested { steps, root, report, expires_at, .. } => {
                (entry.steps, entry.root, entry.report) = (Some(steps.0), Some(root), Some(report));
                entry.expires_at = expires_at;
            }
            AttestationEvent::Revoked { reason, .. } => entry.revoked = Some(reason),
        }
    }
    let mut attestations = Vec::with_capacity(order.len());
    for id in order {
        let Some(mut entry) = said.remove(&id) else { continue };
        entry.standing = client.is_attestation_standing(place.attestations, id).await?;
        attestations.push(entry);
    }
    Ok(List { run, chain_id: client.chain().0, attestations })
}

/// The tree of what is anchored of a run, on the anchor that the attestations are for.
async fn anchored(client: &Client, attestations: Address, run: RunId, from_block: u64) -> anyhow::Result<MerkleTree> {
    let anchor = client.anchor_of(attestations).await?;
    let tree = client.anchored_tree(anchor, run, from_block).await?;
    tree.ok_or_else(|| failed("run", format!("{anchor} does not know run {run}")))
}

/// Root of a run's first steps; at least one, at most what is anchored.
fn root_at(tree: &MerkleTree, run: RunId, steps: TreeSize) -> anyhow::Result<Root> {
    if steps.0 == 0 || steps > tree.size() {
        let detail = format!("run {run}: expected 1 to {} anchored steps, got {steps}", tree.size());
        return Err(failed("attested steps", detail));
    }
    Ok(tree.root_at(steps)?)
}

fn random_salt() -> Salt {
    let mut salt = [0; 32];
    OsRng.fill_bytes(&mut salt);
    Salt(salt)
}

fn text(list: &List) -> String {
    let mut lines = vec![format!("run {}: {} attestations", list.run, list.attestations.len())];
    for said in &list.attestations {
        let state = match (&said.revoked, said.standing) {
            (Some(reason), _) => format!("revoked: {reason:?}"),
            (None, true) => "stands".to_owned(),
            (None, false) => "expired".to_owned(),
        };
        let steps = said.steps.map_or_else(|| "?".to_owned(), |steps| steps.to_string());
        lines.push(format!("  {} by {}: {steps} steps, {state}", said.id, said.auditor));
    }
    lines.join("\n")
}
