//! solc and revm: a verifier in a chain of its own.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use revm::{
    Context, ExecuteCommitEvm, InspectEvm, Inspector, MainBuilder, MainContext,
    context::{
        TxEnv,
        result::{ExecutionResult, Output},
    },
    database::InMemoryDB,
    interpreter::{CallInputs, CallOutcome},
    primitives::{Address, Bytes, TxKind},
};
use verifier_gen::compile::{Compiled, Optimizer, compile_with};

/// The compiler that `cargo xtask setup` installs, or the one in `CAIRN_SOLC`.
///
/// Panics, saying what to run, if there is none: these tests can't be left out silently.
pub fn solc() -> PathBuf {
    if let Some(path) = std::env::var_os("CAIRN_SOLC") {
        return path.into();
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = manifest.ancestors().map(|dir| dir.join(".cache/tools/bin/solc")).find(|path| path.exists());
    found.expect("no solc: run `cargo xtask setup`, or set CAIRN_SOLC")
}

/// Compiles; one compiler at a time, it needs much memory.
pub fn compile(source: &str, optimizer: Optimizer) -> Compiled {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    compile_with(&solc(), source, optimizer).expect("solc compiles what is generated")
}

/// What a call gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It returned.
    Returned(Vec<u8>),
    /// It reverted.
    Reverted(Vec<u8>),
    /// It stopped otherwise.
    Halted(String),
}

/// Calls of one precompiled contract, and the gas that it charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Charged {
    pub calls: u64,
    pub gas: u64,
}

/// What the precompiled contracts charged a call; the 100 gas of calling one are not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Precompiles {
    pub multiplications: Charged,
    pub additions: Charged,
    pub pairings: Charged,
    /// Modular exponentiation.
    pub inversions: Charged,
}

impl Precompiles {
    /// Gas of sums of points and pairings, which a verifier of the same key can't do without.
    pub fn points_gas(&self) -> u64 {
        self.multiplications.gas + self.additions.gas + self.pairings.gas
    }
}

impl<Context> Inspector<Context> for Precompiles {
    fn call_end(&mut self, _: &mut Context, inputs: &CallInputs, outcome: &mut CallOutcome) {
        let charged = match (1..=8u8).find(|i| inputs.bytecode_address == Address::with_last_byte(*i)) {
            Some(5) => &mut self.inversions,
            Some(6) => &mut self.additions,
            Some(7) => &mut self.multiplications,
            Some(8) => &mut self.pairings,
            _ => return,
        };
        charged.calls += 1;
        charged.gas += outcome.result.gas.total_gas_spent();
    }
}

/// A chain with one contract.
pub struct Chain {
    db: InMemoryDB,
    contract: Address,
}

/// Gas of a call: what a node allows, more than any verification needs.
const GAS: u64 = 16_000_000;

impl Chain {
    /// Deploys a contract of any size; also gives the gas of that.
    pub fn deploy(creation: &[u8]) -> (Self, u64) {
        let mut evm = Context::mainnet()
            .with_db(InMemoryDB::default())
            .modify_cfg_chained(|cfg| cfg.limit_contract_code_size = Some(1 << 20))
            .modify_cfg_chained(|cfg| cfg.limit_contract_initcode_size = Some(1 << 20))
            .build_mainnet();
        let tx = TxEnv::builder().kind(TxKind::Create).data(creation.to_vec().into()).gas_limit(GAS).build();
        let result = evm.transact_commit(tx.expect("a transaction")).expect("deployment is executed");
        let gas = result.tx_gas_used();
        let ExecutionResult::Success { output: Output::Create(_, Some(contract)), .. } = result else {
            panic!("deployment failed: {result:?}")
        };
        (Self { db: evm.ctx.journaled_state.database, contract }, gas)
    }

    /// Calls the contract; nothing is kept.
    pub fn call(&self, data: &[u8]) -> Answer {
        self.call_measured(data).0
    }

    /// Calls the contract; also gives the gas of the transaction.
    pub fn call_measured(&self, data: &[u8]) -> (Answer, u64) {
        let (answer, gas, _) = self.call_inspected(data);
        (answer, gas)
    }

    /// Calls the contract; also gives the gas of the transaction, and what of it the precompiled contracts charged.
    pub fn call_inspected(&self, data: &[u8]) -> (Answer, u64, Precompiles) {
        let context = Context::mainnet().with_db(self.db.clone());
        let mut evm = context.build_mainnet_with_inspector(Precompiles::default());
        let tx = TxEnv::builder()
            .caller(Address::with_last_byte(9))
            .kind(TxKind::Call(self.contract))
            .data(Bytes::copy_from_slice(data))
            .gas_limit(GAS)
            .build()
            .expect("a transaction");
        let result = evm.inspect_tx(tx).expect("the call is executed").result;
        let gas = result.tx_gas_used();
        let answer = match result {
            ExecutionResult::Success { output, .. } => Answer::Returned(output.into_data().to_vec()),
            ExecutionResult::Revert { output, .. } => Answer::Reverted(output.to_vec()),
            ExecutionResult::Halt { reason, .. } => Answer::Halted(format!("{reason:?}")),
        };
        (answer, gas, evm.inspector)
    }
}
