//! A start that cannot work says which setting is wrong, in one line, and exits with 3.

use std::net::TcpListener;
use std::process::Command;

use e2e::{Stack, Variables, binary};

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_start_names_the_setting_in_one_line() {
    let mut stack = Stack::prepare().await.unwrap();
    stack.start_localnet().await.unwrap();
    stack.lumio(&["deploy"]).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().port().to_string();
    let other = stellar::Address::Contract([7; 32]).to_string();
    let unreachable = "postgres://nobody:nothing@127.0.0.1:1/nothing";

    let runner = stack.runner_variables();
    refused("runner", &with(&runner, "RUNNER_PORT", &taken), "RUNNER_PORT");
    refused("runner", &with(&runner, "RUNNER_SECRET", "SNOTASECRET"), "RUNNER_SECRET");
    // Nothing says that the setting is wrong: the database may be there later (C1).
    ended_with(2, "runner", &with(&runner, "DATABASE_URL", unreachable), "DATABASE_URL");
    refused("runner", &with(&runner, "RUNNER_CONTRACT_ID", &other), "RUNNER_CONTRACT_ID");
    let oracle = stack.oracle_gate_variables();
    refused(
        "oracle-gate",
        &with(&oracle, "ORACLE_GATE_BIND", &format!("127.0.0.1:{taken}")),
        "ORACLE_GATE_BIND",
    );
    ended_with(2, "oracle-gate", &with(&oracle, "DATABASE_URL", unreachable), "DATABASE_URL");
    let module = stack.module_gate_variables();
    refused(
        "module-gate",
        &with(&module, "MODULE_GATE_BIND", &format!("127.0.0.1:{taken}")),
        "MODULE_GATE_BIND",
    );
    refused(
        "module-gate",
        &with(&module, "MODULE_GATE_ATTESTATION_SECRET", "short"),
        "MODULE_GATE_ATTESTATION_SECRET",
    );
    ended_with(2, "module-gate", &with(&module, "DATABASE_URL", unreachable), "DATABASE_URL");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_mistakes_are_reported_in_one_line_and_alike_by_every_service() {
    let stack = Stack::prepare().await.unwrap();
    let services = [
        ("runner", "RUNNER", stack.runner_variables()),
        ("oracle-gate", "ORACLE_GATE", stack.oracle_gate_variables()),
        ("module-gate", "MODULE_GATE", stack.module_gate_variables()),
    ];
    let told = services.map(|(program, prefix, variables)| {
        let variables = with(&variables, "DATABASE_URL", "mysql://nobody@127.0.0.1/nothing");
        let variables = with(&variables, "NATS_PREFIX", "a.b");
        let variables = with(&variables, &format!("{prefix}_LOG_LEVEL"), "loud");
        let variables = with(&variables, "OTEL_EXPORTER_PROMETHEUS_PORT", "many");
        let printed = refused(program, &variables, &format!("{prefix}_LOG_LEVEL"));
        let line = printed.trim_end().strip_prefix(&format!("{program}: ")).unwrap().to_owned();
        line.replace(&format!("{prefix}_"), "SERVICE_")
    });
    let expected = "DATABASE_URL: expected a URL that starts with postgres:// or postgresql://; \
        NATS_PREFIX: expected letters, digits and dashes; \
        SERVICE_LOG_LEVEL: expected error, warn, info, debug or trace; \
        OTEL_EXPORTER_PROMETHEUS_PORT: expected a whole number from 1 to 65535";
    for line in told {
        assert_eq!(line, expected);
    }
}

fn with(variables: &Variables, name: &str, value: &str) -> Variables {
    let mut variables = variables.clone();
    variables.insert(name.to_owned(), value.to_owned());
    variables
}

/// The program must end with 3, as for every wrong setting.
fn refused(program: &str, variables: &Variables, setting: &str) -> String {
    ended_with(3, program, variables, setting)
}

/// The program must end with this code, and the last thing it says must be one line with the
/// setting's name and no secret. Answers what it says.
fn ended_with(code: i32, program: &str, variables: &Variables, setting: &str) -> String {
    let output = Command::new(binary(program).unwrap())
        .arg("serve")
        .env_clear()
        .envs(variables)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{program} with a wrong {setting}: {printed}");
    let naming: Vec<_> = printed.lines().filter(|line| line.contains(setting)).collect();
    assert_eq!(naming.len(), 1, "{program} with a wrong {setting} says: {printed}");
    for (name, value) in variables {
        let secret = name.ends_with("SECRET") || name.ends_with("TOKEN");
        assert!(
            !secret || name == setting || !printed.contains(value.as_str()),
            "{program} prints {name}"
        );
    }
    printed
}
