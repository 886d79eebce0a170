//! Where the gas of a whole `anchor` goes, by kind of work: real proofs on a node, traced by it.
//!
//! `cargo run -p chain --example anchor_gas` prints JSON; `cargo xtask bench gas` prints the table. The parts add up to what the
//! transaction used. A precompiled contract's part is what it charges; the 100 gas of calling it are under `calls`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/it/support/anvil.rs"]
mod anvil;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/it/support/demo.rs"]
mod demo;

/// Gas before anything runs: of each transaction, of a zero byte and of another.
const BASE: u64 = 21_000;
const ZERO_BYTE: u64 = 4;
const BYTE: u64 = 16;
/// What calling a warm account costs.
const WARM_CALL: u64 = 100;

/// Whose code a part belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Code {
    /// The verifier.
    Verifier,
    /// `RunAnchor` and the registry.
    Anchor,
}

/// A kind of work.
type Part = (Code, &'static str);

/// One executed instruction.
struct Step<'a> {
    op: &'a str,
    depth: u64,
    /// Before it.
    gas: u64,
    /// What it charges if nothing follows at its depth.
    cost: u64,
    /// Account that it calls, if it does.
    callee: Option<u64>,
}

impl<'a> Step<'a> {
    fn read(log: &'a Value) -> Self {
        let number = |key: &str| log[key].as_u64().unwrap_or_else(|| panic!("no {key} in {log}"));
        let op = log["op"].as_str().expect("an instruction has a name");
        let stack = log["stack"].as_array().map_or(&[][..], Vec::as_slice);
        let address = || stack.len().checked_sub(2).and_then(|at| stack[at].as_str());
        // Precompiled contracts have small addresses; of others, the low bits tell them apart well enough.
        let low = |word: &str| {
            let digits = word.trim_start_matches("0x");
            u64::from_str_radix(&digits[digits.len().saturating_sub(15)..], 16).ok()
        };
        let callee = if op.ends_with("CALL") { address().and_then(low) } else { None };
        Self { op, depth: number("depth"), gas: number("gas"), cost: number("gasCost"), callee }
    }
}

/// The kind of an instruction that is no call.
fn kind(op: &str) -> &'static str {
    match op {
        "SLOAD" | "SSTORE" => "storage",
        "KECCAK256" | "SHA3" => "keccak",
        "MULMOD" | "ADDMOD" => "field arithmetic",
        "MLOAD" | "MSTORE" | "MSTORE8" | "MCOPY" | "CALLDATALOAD" | "CALLDATACOPY" | "CODECOPY" | "RETURNDATACOPY"
        | "RETURN" => "memory and calldata reads",
        "EXTCODESIZE" | "EXTCODEHASH" | "BALANCE" => "calls",
        op if op.starts_with("LOG") => "event",
        _ => "stack, comparisons, jumps",
    }
}

/// Name of a precompiled contract.
fn precompile(address: u64) -> Option<&'static str> {
    Some(match address {
        2 => "SHA-256",
        5 => "modular exponentiation",
        6 => "point additions",
        7 => "point multiplications",
        8 => "pairing",
        _ => return None,
    })
}

/// Sums an executed transaction by kind. The first call of `verifier` enters its code.
fn sum(logs: &[Value], verifier: u64) -> BTreeMap<Part, u64> {
    let steps: Vec<Step<'_>> = logs.iter().map(Step::read).collect();
    let mut parts: BTreeMap<Part, u64> = BTreeMap::new();
    // Code that runs at each depth, from 1.
    let mut frames = vec![Code::Anchor];
    for (index, step) in steps.iter().enumerate() {
        frames.truncate(step.depth as usize);
        let code = frames[frames.len() - 1];
        let rest = &steps[index + 1..];
        let next = rest.iter().find(|next| next.depth <= step.depth).filter(|next| next.depth == step.depth);
        let spent = next.map_or(step.cost, |next| step.gas - next.gas);
        let mut add = |what, gas| *parts.entry((code, what)).or_default() += gas;
        match (step.callee, step.callee.and_then(precompile)) {
            (_, Some(name)) => {
                add(name, spent - WARM_CALL);
                add("calls", WARM_CALL);
            }
            (Some(callee), None) => {
                // What the callee spends is counted there.
                let inside = rest.iter().take_while(|inner| inner.depth > step.depth).collect::<Vec<_>>();
                let inner = match (inside.first(), inside.last()) {
                    (Some(first), Some(last)) => first.gas - (last.gas - last.cost),
                    _ => 0,
                };
                add("calls", spent - inner);
                frames.push(if callee == verifier { Code::Verifier } else { code });
            }
            (None, _) => add(kind(step.op), spent),
        }
    }
    parts
}

/// A transaction's parts; panics if they do not add up.
async fn parts(demo: &demo::Demo, tx: &str, gas: u64) -> Value {
    let transaction = demo.anvil.request("eth_getTransactionByHash", json!([tx])).await;
    let input = hex::decode(transaction["input"].as_str().expect("input").trim_start_matches("0x")).expect("hex");
    let bytes: u64 = input.iter().map(|byte| if *byte == 0 { ZERO_BYTE } else { BYTE }).sum();
    let options = json!({"disableStorage": true, "enableMemory": false, "enableReturnData": false});
    let trace = demo.anvil.request("debug_traceTransaction", json!([tx, options])).await;
    let low = u64::from_be_bytes(demo.verifier.as_bytes()[12..].try_into().expect("8 bytes")) & (u64::MAX >> 4);
    let executed = sum(trace["structLogs"].as_array().expect("a trace"), low);
    let total = BASE + bytes + executed.values().sum::<u64>();
    assert_eq!(total, gas, "the parts add up: {executed:?}");
    let of = |code| -> BTreeMap<&str, u64> {
        executed.iter().filter(|((of, _), _)| *of == code).map(|((_, what), gas)| (*what, *gas)).collect()
    };
    json!({
        "gas": gas,
        "base": BASE,
        "calldata": bytes,
        "calldata_bytes": input.len(),
        "verifier": of(Code::Verifier),
        "anchor": of(Code::Anchor),
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let demo = demo::Demo::on(anvil::Anvil::with_args(&["--steps-tracing"])).await;
    let mut table = Vec::new();
    for epoch in &demo.epochs {
        let anchor = demo.writer.anchor(demo.contract, epoch, 0).await.expect("anchored").into_inner();
        table.push(parts(&demo, &anchor.tx.to_string(), anchor.gas).await);
    }
    println!("{}", json!(table));
}
