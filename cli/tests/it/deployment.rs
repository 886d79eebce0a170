//! `cairn deploy`: the same addresses as the Foundry script, a record of them, and code that is what the sources give.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use chain::{InitCode, LogSteps};
use ledger::{Address, Salt, Selector};
use serde_json::{Value, json};

use crate::support::{Answer, STRANGER_KEY, Scratch, anvil::Anvil, cairn, cairn_in, copy, process};

/// The first account of development nodes.
const OWNER: &str = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
const GUARDIAN: &str = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";

fn deploy(anvil: &Anvil, more: &[&str]) -> Answer {
    cairn(&[&["deploy", "--rpc", &anvil.url, "--anvil-dev-key"], more].concat())
}

fn check(anvil: &Anvil, more: &[&str]) -> Answer {
    cairn(&[&["deploy", "--check", "--rpc", &anvil.url], more].concat())
}

/// The three contracts of a deployment, as `cairn deploy` told them.
fn addresses(deployed: &Value) -> [Address; 3] {
    ["registry", "contract", "attestations"].map(|key| deployed[key].as_str().expect(key).parse().expect("an address"))
}

/// A tool that `cargo xtask setup` installed.
pub fn tool(name: &str) -> PathBuf {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cache = std::env::var_os("CAIRN_CACHE").map_or_else(|| repo.join(".cache"), PathBuf::from);
    fs::canonicalize(cache.join("tools/bin")).expect("run `cargo xtask setup` first").join(name)
}

/// The Foundry script, sent by an account that is neither owner nor guardian.
fn forge_script(anvil: &Anvil, environment: &[(&str, &str)]) {
    let output = Command::new(tool("forge"))
        .args(["script", "contracts/script/Deploy.s.sol", "--broadcast", "--rpc-url", &anvil.url])
        .args(["--private-key", STRANGER_KEY])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .env("FOUNDRY_SOLC", tool("solc"))
        .envs(environment.iter().copied())
        .output()
        .expect("forge runs");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn foundry_script_deploys_the_same_code_to_the_same_addresses() {
    let salt = format!("0x{}", "5a".repeat(32));
    let chosen = ["--guardian", GUARDIAN, "--delay", "3600", "--salt", &salt];
    let script = [("OWNER", OWNER), ("GUARDIAN", GUARDIAN), ("DELAY", "3600"), ("SALT", salt.as_str())];
    let (ours, theirs) = (Anvil::start(), Anvil::start());
    // With everything by default but the owner, and with everything chosen.
    for (arguments, environment) in [(&[][..], &script[..1]), (&chosen, &script)] {
        let deployed = deploy(&ours, arguments).must();
        for address in addresses(&deployed) {
            assert_eq!(theirs.code(address).await, [0u8; 0], "nothing stands yet");
        }
        forge_script(&theirs, environment);
        for address in addresses(&deployed) {
            let code = ours.code(address).await;
            assert!(!code.is_empty() && theirs.code(address).await == code, "{address} differs");
        }
        // What the script deployed is what the sources give, by the other tool's account, too.
        let report = check(&theirs, &[&["--owner", OWNER], arguments].concat()).must();
        assert_eq!(report["ok"], true, "{report:#}");
        assert_eq!(deploy(&theirs, arguments).must()["transactions"], json!([]), "everything stands");
    }
}

#[tokio::test]
async fn changed_code_is_named_by_contract_address_and_byte() {
    let anvil = Anvil::start();
    let deployed = deploy(&anvil, &[]).must();
    let report = check(&anvil, &["--owner", OWNER]).must();
    let names: Vec<_> = report["contracts"].as_array().expect("contracts").iter().map(|c| &c["contract"]).collect();
    assert_eq!(names, ["VerifierRegistry", "RunAnchor", "Attestations"]);
    assert_eq!((&report["owner"], &report["guardian"]), (&json!(OWNER), &json!(OWNER)));

    let [registry, anchor, attestations] = addresses(&deployed);
    let refused = |position: usize, address: Address, name: &str, byte: usize| {
        let answer = check(&anvil, &["--owner", OWNER]);
        let line = answer.refused(1);
        let report = answer.json();
        let found = &report["contracts"][position];
        assert!(line.starts_with("cairn: check failed: deployed code: "), "{line}");
        assert_eq!(
            (&report["ok"], &found["ok"], &found["first_difference"]),
            (&json!(false), &json!(false), &json!(byte))
        );
        for word in [name.to_owned(), address.to_string()] {
            assert!(line.contains(&word), "{word}: {line}");
        }
        if found["got_bytes"] != 0 {
            assert!(line.contains(&format!("byte {byte} differs")), "{line}");
            assert!(line.contains(found["expected_code_hash"].as_str().expect("a hash")), "{line}");
            assert!(line.contains(found["got_code_hash"].as_str().expect("a hash")), "{line}");
        }
    };
    let honest = anvil.code(anchor).await;
    for byte in [0, 100, honest.len() - 1] {
        let mut code = honest.clone();
        code[byte] ^= 1;
        anvil.set_code(anchor, &code).await;
        refused(1, anchor, "RunAnchor", byte);
    }
    // An anchor of another registry: only the immutable differs.
    let at = honest.windows(20).position(|window| window == registry.as_bytes()).expect("names its registry");
    let mut code = honest.clone();
    code[at + 19] ^= 1;
    anvil.set_code(anchor, &code).await;
    refused(1, anchor, "RunAnchor", at + 19);
    anvil.set_code(anchor, &[honest.as_slice(), &[0]].concat()).await;
    refused(1, anchor, "RunAnchor", honest.len());
    anvil.set_code(anchor, &honest).await;
    anvil.set_code(attestations, &[]).await;
    refused(2, attestations, "Attestations", 0);
    // What is not the registry is not asked who owns it.
    anvil.set_code(registry, &[0]).await;
    refused(0, registry, "VerifierRegistry", 0);
}

#[tokio::test]
async fn record_is_written_read_and_refused_when_it_does_not_fit() {
    let (anvil, scratch) = (Anvil::start(), Scratch::new());
    let directory = scratch.path("addresses");
    let record = ["--record", directory.as_str()];
    assert!(check(&anvil, &record).refused(2).contains("no record of chain 31337"));
    let deployed = deploy(&anvil, &record).must();
    let file = format!("{directory}/31337.json");
    assert_eq!(deployed["record"], file.as_str());
    let honest = fs::read_to_string(&file).expect("recorded");
    let written: Value = serde_json::from_str(&honest).expect("JSON");
    assert_eq!((&written["anchor"], &written["verifiers"]), (&deployed["contract"], &json!([])));
    check(&anvil, &record).must();
    deploy(&anvil, &record).must();
    assert_eq!(fs::read_to_string(&file).expect("recorded"), honest, "repeating changes nothing");

    // Another deployment of the same chain is refused before anything is sent.
    let client = anvil.client().await;
    let block = client.latest_block().await.expect("a block");
    let answer = deploy(&anvil, &[&record[..], &["--delay", "9"]].concat());
    assert!(answer.refused(1).contains("delay: recorded is 0, this deployment has 9"), "{answer:#?}");
    assert_eq!(client.latest_block().await.expect("a block"), block, "nothing was sent");

    let change = |key: &str, value: Value| {
        let mut changed = written.clone();
        changed[key] = value;
        fs::write(&file, changed.to_string()).expect("scratch space");
        check(&anvil, &record)
    };
    let answer = change("anchor", json!(OWNER));
    let expected = deployed["contract"].as_str().expect("an address");
    assert!(answer.refused(1).contains(&format!("give {expected}, the file says {OWNER}")), "{answer:#?}");
    assert!(change("chain_id", json!(7)).refused(1).contains("expected chain 31337, got 7"));
    assert!(change("more", json!(7)).refused(2).contains("unknown field `more`"));
    assert!(change("v", json!(2)).refused(2).contains("expected format version 1, got 2"));
    assert!(change("owner", json!("nobody")).refused(2).contains("31337.json"));
    let verifier = json!({
        "address": OWNER, "key_digest": format!("0x{}", "11".repeat(32)), "log_steps": 2, "selector": "0xada00001"
    });
    let answer = change("verifiers", json!([verifier]));
    let line =
        "recorded verifier of 4 steps: expected 0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266, the registry has none";
    assert!(answer.refused(1).contains(line), "{answer:#?}");
}

/// The kept run's verifying key, in the cache of a home: generating it anew takes minutes.
pub fn home_with_key() -> tempfile::TempDir {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/anchor");
    let run: Value = serde_json::from_slice(&fs::read(testdata.join("run/run.json")).expect("a run")).expect("JSON");
    let digest = run["policy"]["step_key_digest"].as_str().expect("a digest").trim_start_matches("0x")[..16].to_owned();
    let name = format!("epoch-dev-v{}-{digest}-n4-c1-k21.vk", aggregator::keys::CIRCUIT_VERSION);
    let home = tempfile::tempdir().expect("scratch space");
    fs::create_dir(home.path().join("keys")).expect("scratch space");
    fs::copy(testdata.join("epoch_key.vk"), home.path().join("keys").join(name)).expect("the key");
    home
}

/// `deploy --check` makes the verifier's code from the key, and compares it with the code at the address that the registry names.
#[tokio::test]
async fn verifier_that_its_key_does_not_give_is_refused() {
    let (anvil, home) = (Anvil::start(), home_with_key());
    let [registry, ..] = addresses(&deploy(&anvil, &[]).must());
    // The verifier of the same key, as `cargo xtask fixtures` compiled it.
    let kept: Value = serde_json::from_str(include_str!("../../../testdata/anchor/demo.json")).expect("the vectors");
    let text = |key: &str| kept[key].as_str().expect(key);
    let code = hex::decode(text("verifier_code").trim_start_matches("0x")).expect("hex");
    let selector: Selector = text("selector").parse().expect("a selector");
    let writer = anvil.writer().await;
    let verifier = writer.deploy(&InitCode::verifier(code, Salt([0; 32]))).await.expect("deployed").address;
    writer.add_verifier(registry, selector, LogSteps(2), verifier).await.expect("added");

    let (run, solc) = (concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/anchor/run"), tool("solc"));
    let compare = || {
        let args = ["deploy", "--check", "--rpc", &anvil.url, "--owner", OWNER, "--run", run, "--solc"];
        cairn_in(home.path(), &[&args[..], &[solc.to_str().expect("UTF-8")]].concat())
    };
    let restore = anvil.request("evm_snapshot", json!([])).await;
    let found = |answer: &Answer| answer.json()["contracts"][3].clone();

    let answer = compare();
    answer.must();
    let honest = found(&answer);
    assert_eq!((&honest["contract"], &honest["address"]), (&json!("verifier of 4 steps"), &json!(verifier)));

    let mut code = anvil.code(verifier).await;
    let last = code.len() - 1;
    code[last] ^= 1;
    anvil.set_code(verifier, &code).await;
    let answer = compare();
    let line = answer.refused(1);
    assert!(line.starts_with("cairn: check failed: deployed code: verifier of 4 steps"), "{line}");
    assert!(line.contains(&format!("byte {last} differs")) && line.contains(&verifier.to_string()), "{line}");
    assert_eq!(found(&answer)["first_difference"], json!(last));
    assert_eq!(found(&answer)["expected_code_hash"], honest["got_code_hash"]);
    anvil.request("evm_revert", json!([restore])).await;

    // Another registry names code of the owner's own making for the same place: it accepts anything.
    let other = ["--salt", &format!("0x{}", "5a".repeat(32))].map(str::to_owned);
    let other: Vec<&str> = other.iter().map(String::as_str).collect();
    let deployed = deploy(&anvil, &other).must();
    let [registry, ..] = addresses(&deployed);
    // PUSH1 1, PUSH1 0, MSTORE, PUSH1 32, PUSH1 0, RETURN: one word that is 1.
    let lenient: Address = "0x00000000000000000000000000000000000a11ce".parse().expect("an address");
    anvil.set_code(lenient, &[0x60, 1, 0x60, 0, 0x52, 0x60, 32, 0x60, 0, 0xf3]).await;
    let args = ["deploy", "--check", "--rpc", &anvil.url, "--owner", OWNER, "--run", run, "--solc"];
    let compare = || cairn_in(home.path(), &[&args[..], &[solc.to_str().expect("UTF-8")], other.as_slice()].concat());
    let answer = compare();
    let line = answer.refused(1);
    assert!(line.contains(&format!("the registry has none for circuit family {}", selector)), "{line}");
    writer.add_verifier(registry, selector, LogSteps(2), lenient).await.expect("added");
    let answer = compare();
    let line = answer.refused(1);
    assert!(line.contains(&format!("verifier of 4 steps {lenient}: byte 1 differs")), "{line}");
    assert_eq!(
        (&found(&answer)["got_bytes"], found(&answer)["expected_bytes"].as_u64() > Some(1_000)),
        (&json!(10), true)
    );
}

/// A copy of the contracts' sources.
fn sources() -> (tempfile::TempDir, PathBuf) {
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/src"))
}

#[tokio::test]
async fn sources_must_give_the_code_that_the_chain_is_compared_with() {
    let (anvil, (_scratch, dir), solc) = (Anvil::start(), sources(), tool("solc"));
    deploy(&anvil, &[]).must();
    let paths = [dir.to_str().expect("UTF-8"), solc.to_str().expect("UTF-8")];
    let recompile = || check(&anvil, &["--owner", OWNER, "--recompile", paths[0], "--solc", paths[1]]);
    let report = recompile().must();
    let names: Vec<_> = report["recompiled"].as_array().expect("three").iter().map(|c| &c["contract"]).collect();
    assert_eq!(names, ["VerifierRegistry", "RunAnchor", "Attestations"]);

    let file = dir.join("RunAnchor.sol");
    let honest = fs::read_to_string(&file).expect("a source");
    let rule = "if (entry.epoch == 0) revert NothingAnchored(run);";
    assert_eq!(honest.matches(rule).count(), 1);
    fs::write(&file, honest.replace(rule, "")).expect("scratch space");
    let answer = recompile();
    let line = answer.refused(1);
    assert!(line.starts_with("cairn: check failed: sources: RunAnchor, creation code: byte "), "{line}");

    let empty = tempfile::tempdir().expect("scratch space");
    let none = empty.path().to_str().expect("UTF-8");
    let args = ["deploy", "--check", "--rpc", &anvil.url, "--owner", OWNER, "--recompile", paths[0]];
    let output = process(&args).env("CAIRN_CACHE", none).stderr(Stdio::piped()).output().expect("cairn runs");
    let line = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert!(line.starts_with("cairn: no compiler: ") && line.contains("--solc"), "{line}");
    let answer = check(&anvil, &["--owner", OWNER, "--recompile", none, "--solc", paths[1]]);
    assert!(answer.refused(2).contains("holds no Solidity sources"), "{answer:#?}");
}
