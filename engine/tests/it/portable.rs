//! The code for processors without the vector instructions: the same tests, in a process that is told not to use them.

use std::process::Command;

#[test]
fn the_portable_code_passes_the_same_tests() {
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this).args(["kernels::", "identity::"]).env("CAIRN_PORTABLE", "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("test kernels::sums_equal_the_plain_sum ... ok"), "{text}");
}
