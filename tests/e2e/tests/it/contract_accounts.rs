//! A contract account at the command line: it logs in by SEP-45 at the real gateway, which asks the
//! real network.

use e2e::{Stack, repository};
use serde_json::Value;
use stellar::tx::{self, PrepareRequest};
use stellar::{Address, Call, ContractKind, Creation, Keypair, Network, Rpc, ids, scval};
use wire::Digest;

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_account_logs_in_at_the_command_line_by_the_key_that_its_code_accepts() {
    // The gates have no part in a login.
    let mut stack = Stack::prepare().await.unwrap();
    stack.start_localnet().await.unwrap();
    stack.lumio(&["deploy"]).unwrap();
    stack.start_runner(&[]).await.unwrap();
    let signer = std::fs::read_to_string(stack.folder().join("keys/alice")).unwrap();
    let signer: Keypair = signer.trim().parse().unwrap();
    let account = create_account(&stack, &signer).await.to_string();

    let log_in = ["login", "--contract", &account, "--as", "alice"];
    let output = stack.lumio(&log_in).unwrap();
    assert!(output.contains(&account) && output.contains("until"), "{output}");
    let who: Value =
        serde_json::from_str(&stack.lumio(&["--output", "json", "whoami"]).unwrap()).unwrap();
    assert_eq!((&who["account"], &who["role"]), (&account.as_str().into(), &"user".into()));
    assert!(stack.lumio(&["run", "list"]).unwrap().contains("no runs"));

    // The key's own account is another login, and both are kept.
    stack.lumio(&["login", "--as", "alice"]).unwrap();
    stack.lumio(&["logout", "--as", &account]).unwrap();
    assert!(stack.lumio(&["whoami"]).unwrap().starts_with(&stack.alice().unwrap()));

    // A key that the account's code does not accept gets no further than the own node.
    let wrong = ["login", "--contract", &account, "--as", "developer"];
    let refused = stack.lumio_output(&wrong).unwrap();
    assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    assert!(
        said(&refused).contains("does not accept the login with a signature"),
        "{}",
        said(&refused)
    );
    assert!(said(&refused).contains("Nothing was sent"), "{}", said(&refused));

    // A contract that is no account, one that does not exist, and what is no contract at all.
    let vault = stellar::local::vault_id().unwrap().to_string();
    let absent = Address::Contract([77; 32]).to_string();
    for contract in [&vault, &absent] {
        let refused =
            stack.lumio_output(&["login", "--contract", contract, "--as", "alice"]).unwrap();
        assert_ne!(refused.status.code(), Some(0), "{contract}");
        assert!(said(&refused).contains(contract.as_str()), "{}", said(&refused));
    }
    let account_of_a_key = stack.alice().unwrap();
    let refused =
        stack.lumio_output(&["login", "--contract", &account_of_a_key, "--as", "alice"]).unwrap();
    assert_eq!(refused.status.code(), Some(3));
    assert!(said(&refused).contains("expected a contract"), "{}", said(&refused));

    // None of them is kept as a login.
    assert!(stack.lumio(&["whoami"]).unwrap().starts_with(&account_of_a_key));
}

/// An account contract for which `signer` signs.
async fn create_account(stack: &Stack, signer: &Keypair) -> Address {
    let wasm = repository().join("contracts/wasm/test_account.wasm");
    let wasm = std::fs::read(wasm).unwrap();
    let (network, salt) = (Network::standalone(), Digest::of(b"contract account"));
    let creation = Creation {
        deployer: signer.address(),
        salt,
        code: Digest::of(&wasm),
        args: vec![scval::bytes(signer.address().as_bytes()).unwrap()],
        kind: ContractKind::Other,
    };
    let rpc = Rpc::new(&stack.rpc_url()).unwrap();
    for call in [Call::Upload(wasm), Call::Create(creation)] {
        let max_time_unix = rpc.clock().await.unwrap().latest_close + 120;
        let request = PrepareRequest {
            network: &network,
            source: signer,
            call: &call,
            signers: &[],
            max_time_unix,
            auth_valid_ledgers: tx::AUTH_LEDGERS,
            fee_ceiling: 1_000_000_000,
        };
        assert!(tx::submit_and_wait(&rpc, &request).await.unwrap().success);
    }
    ids::contract_id(&network, &signer.address(), &salt).unwrap()
}
