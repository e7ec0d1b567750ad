//! A local network, and the command line on it.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use soroban_localnet::{Builder, Network as Localnet};
use stellar::rpc::{Applied, Outcome, SendAnswer};
use stellar::tx::{self, PrepareRequest, Prepared};
use stellar::vault::{Attestation, RunTerms};
use stellar::{Call, Keypair, Network, Rpc};
use tempfile::TempDir;
use tokio::process::Command;
use wire::settlement::{Settled, SettlementSignature};
use wire::{Digest, Usage, VaultRunId};

const FEE_CEILING: u64 = 1_000_000_000;

/// A local network and a folder of keys.
pub struct Fixture {
    pub localnet: Localnet,
    pub folder: TempDir,
    pub rpc: Rpc,
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    /// As [`Fixture::new`], with another network.
    pub async fn with(how: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = Localnet::builder().ledger_interval(Duration::from_millis(100));
        let localnet = how(builder).start().await.unwrap();
        let rpc = Rpc::new(&localnet.url()).unwrap();
        Self { rpc, localnet, folder: tempfile::tempdir().unwrap() }
    }

    pub async fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().await.unwrap()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lumio"));
        command
            .args(arguments)
            .env("LUMIO_RPC_URL", self.localnet.url())
            .env("LUMIO_CONFIG_DIR", self.folder.path())
            .env("XDG_CONFIG_HOME", self.folder.path())
            .env("LUMIO_KEYS_DIR", self.keys());
        for variable in ["LUMIO_VAULT_ID", "LUMIO_REGISTRY_ID", "LUMIO_NETWORK_PASSPHRASE"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs a command that must succeed, and reads its JSON.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--output", "json"]].concat()).await;
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a command that must fail with this code, and answers its words.
    pub async fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }

    pub fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    pub fn key(&self, name: &str) -> Keypair {
        std::fs::read_to_string(self.keys().join(name)).unwrap().parse().unwrap()
    }

    /// The attester's signature for a run's settlement.
    pub fn attest(&self, run_id: &VaultRunId, terms: &RunTerms, usage: Usage) -> Attestation {
        let settled = Settled {
            run_id: *run_id,
            manifest_hash: terms.manifest_hash,
            request_hash: terms.request_hash,
            usage,
        };
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let signed = SettlementSignature::sign(&key, &settled);
        Attestation { attester: 0, signature: signed.signature }
    }

    /// Contracts, funded accounts, agent 1 run by `runner`, and alice with money, caps and a grant.
    pub async fn prepared() -> Self {
        Self::prepared_with(|builder| builder).await
    }

    /// As [`Fixture::prepared`], on another network.
    pub async fn prepared_with(how: impl FnOnce(Builder) -> Builder) -> Self {
        let fixture = Self::with(how).await;
        fixture.json(&["deploy"]).await;
        for name in ["alice", "dev", "runner", "source"] {
            fixture.json(&["keys", "generate", name]).await;
        }
        fixture.json(&["fund", "alice", "dev", "runner", "source"]).await;
        let digest = Digest::of(b"module").to_string();
        let attester = hex::encode(Keypair::from_seed(&[7; 32]).address().as_bytes());
        let rates = "runtime_ms=100stroops";
        let register = [
            "agent",
            "register",
            "--as",
            "dev",
            "--runner",
            "runner",
            "--module-digest",
            &digest,
            "--rates",
            rates,
            "--attester",
            &attester,
        ];
        let agent = fixture.json(&register).await;
        assert_eq!((&agent["agentId"], &agent["rateVersion"]), (&1.into(), &1.into()));
        assert_eq!(agent["attesters"][0], attester);
        fixture.json(&["balance", "deposit", "50", "--as", "alice"]).await;
        fixture.json(&["policy", "set", "--as", "alice", "--per-run-cap", "5"]).await;
        fixture
            .json(&[
                "grant",
                "add",
                "--as",
                "alice",
                "--runner",
                "runner",
                "--agent",
                "1",
                "--expires-in",
                "1d",
            ])
            .await;
        fixture
    }

    pub async fn prepare(
        &self,
        signer: &Keypair,
        call: impl Into<Call>,
    ) -> Result<Prepared, stellar::ChainError> {
        let source = self.key("source");
        let request = PrepareRequest {
            network: &Network::standalone(),
            source: &source,
            call: &call.into(),
            signers: &[signer],
            max_time_unix: self.localnet.close_time() + 60,
            auth_valid_ledgers: tx::AUTH_LEDGERS,
            fee_ceiling: FEE_CEILING,
        };
        tx::prepare(&self.rpc, &request).await
    }

    pub async fn applied(&self, prepared: &Prepared) -> Applied {
        let sent = self.rpc.send(&Network::standalone(), &prepared.envelope).await.unwrap();
        assert_eq!(sent, SendAnswer::Pending);
        loop {
            if let Outcome::Applied(applied) =
                self.rpc.transaction(&prepared.hash).await.unwrap().outcome
            {
                return *applied;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
