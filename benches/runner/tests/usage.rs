//! Exit codes of the command line.

use std::process::Command;

fn code(arguments: &[&str]) -> Option<i32> {
    let output = Command::new(env!("CARGO_BIN_EXE_runner-bench")).args(arguments).output();
    output.expect("the program was built").status.code()
}

#[test]
fn wrong_usage_has_another_code_than_what_could_not_be_measured() {
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&["everything"]), Some(3));
    assert_eq!(code(&["chain", "--ledger-ms", "60000"]), Some(3), "a transaction would expire");
    assert_eq!(code(&["kept", "--programs", "/there/is/no/such/folder"]), Some(2));
}
