//! Nodes that are gone, silent, mad or lying: a typed error and exit code 2, or a failed check and 1. Never a hang.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::node::{Reply, liar, node};
use crate::support::{Answer, Scratch, anvil::Anvil, cairn};

/// Anvil's first development account.
const OWNER: &str = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A run that is registered on a node and has nothing anchored yet.
struct Registered {
    _scratch: Scratch,
    anvil: Anvil,
    run: PathBuf,
    contract: String,
}

impl Registered {
    fn new(salt: u8) -> Self {
        let (scratch, anvil) = (Scratch::new(), Anvil::start());
        let deployed = cairn(&["deploy", "--rpc", &anvil.url, "--anvil-dev-key"]).must();
        let contract = deployed["contract"].as_str().expect("an address").to_owned();
        let run = scratch.trained(salt, &["--contract", &contract, "--owner", OWNER]);
        let answer = cairn(&["anchor", "--run", text(&run), "--rpc", &anvil.url, "--anvil-dev-key"]).must();
        assert_eq!((&answer["anchored"], &answer["finalized"]), (&json!(0), &json!(false)), "{answer:#}");
        Self { _scratch: scratch, anvil, run, contract }
    }

    fn verify(&self, rpc: &str) -> Answer {
        let run = text(&self.run);
        cairn(&["verify", "--run", run, "--rpc", rpc, "--contract", &self.contract, "--rpc-timeout", "0.3"])
    }
}

/// Exit code 2, nothing on stdout, these words on stderr.
fn refused(answer: &Answer, words: &[&str]) {
    assert_eq!(answer.code, Some(2), "{answer:#?}");
    assert!(answer.stdout.is_empty(), "{answer:#?}");
    for word in words {
        assert!(answer.stderr.contains(word), "{word}: {answer:#?}");
    }
}

/// Writes `value` as the word at `index` of an answer to a call.
fn set_word(answer: &mut Value, index: usize, value: u64) {
    let mut data = answer["result"].as_str().expect("an answer").to_owned();
    let at = 2 + 64 * index;
    data.replace_range(at..at + 64, &format!("{value:064x}"));
    answer["result"] = data.into();
}

#[test]
fn nodes_that_do_not_answer_are_errors_of_the_node() {
    let registered = Registered::new(80);
    let report = registered.verify(&registered.anvil.url).must();
    assert_eq!((&report["ok"], &report["finalized"]), (&json!(true), &json!(false)), "{report:#}");

    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let gone = format!("http://{}/v3/secret-key", closed.local_addr().expect("bound above"));
    drop(closed);
    let answer = registered.verify(&gone);
    refused(&answer, &["chain id", "not reached in 4 attempts"]);
    assert!(!answer.stderr.contains("secret-key"), "{answer:#?}");

    refused(&registered.verify(&node(|_| Reply::Silence)), &["chain id", "did not answer within 300ms, attempt 4"]);

    for (body, word) in [
        ("<html><body>502 Bad Gateway</body></html>", "chain id: answer not understood"),
        ("", "chain id: answer not understood"),
        ("{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":\"0xzz\"}", "chain id: answer not understood"),
        ("{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{}}", "chain id: answer not understood"),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":0,\"error\":{\"code\":-32000,\"message\":\"no\"}}",
            "node answered with error -32000: no",
        ),
    ] {
        let mad = node(move |_| Reply::Body(body.as_bytes().to_vec()));
        refused(&registered.verify(&mad), &[word]);
    }

    let silent = node(|_| Reply::Silence);
    let anchor =
        |timeout| cairn(&["anchor", "--run", text(&registered.run), "--anvil-dev-key", "--rpc", &silent, timeout]);
    refused(&anchor("--rpc-timeout=0.3"), &["did not answer within 300ms"]);
    for timeout in ["--rpc-timeout=0", "--rpc-timeout=-1", "--rpc-timeout=NaN", "--rpc-timeout=1e9"] {
        refused(&anchor(timeout), &["--rpc-timeout", "expected 0.05 to 3600 seconds"]);
    }
}

/// What the node says is compared with the log, value by value.
#[test]
fn lying_nodes_fail_the_check_they_lie_about() {
    let registered = Registered::new(81);
    let url = &registered.anvil.url;
    let chain = liar(url, |request, answer| {
        if request["method"] == "eth_chainId" {
            answer["result"] = "0x1".into();
        }
    });
    let (check, detail) = registered.verify(&chain).failed_check();
    assert_eq!(check, "chain and contract");
    assert!(detail.contains("chain 31337") && detail.contains("chain 1 "), "{detail}");

    // Words of a call's answer, told apart by their number: `Run` has 7, `Head` 6.
    for (words, index, check_expected) in [
        (7, 2, "registration on chain"),
        (7, 5, "registration on chain"),
        (7, 6, "registration on chain"),
        (7, 4, "registration on chain"),
        (6, 0, "counter, size, root, state on chain"),
        (6, 1, "counter, size, root, state on chain"),
        (6, 2, "counter, size, root, state on chain"),
        (6, 3, "counter, size, root, state on chain"),
    ] {
        let lie = liar(url, move |request, answer| {
            let is_it = answer["result"].as_str().is_some_and(|data| data.len() == 2 + 64 * words);
            if request["method"] == "eth_call" && is_it {
                // Bytes 4 are on the left of their word: a family of nobody, and no run, is 0.
                set_word(answer, index, if index == 2 && words == 7 { 0 } else { 7 });
            }
        });
        let (check, detail) = registered.verify(&lie).failed_check();
        assert_eq!(check, check_expected, "word {index} of {words}: {detail}");
        assert!(!detail.is_empty(), "word {index} of {words}");
    }

    // A made-up answer that is no answer at all.
    let short = liar(url, |request, answer| {
        if request["method"] == "eth_call" {
            answer["result"] = "0x1234".into();
        }
    });
    refused(&registered.verify(&short), &["answer not understood"]);
}
