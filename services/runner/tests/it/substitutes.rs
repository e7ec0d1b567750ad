//! A run that another listed runner settled, because its own was delisted (V14), ends at the opener
//! as the vault has it: never guessed, and not left to an operator.

use serde_json::Value;
use stellar::rpc::SeenEvent;
use stellar::vault::{Finalize, RunOpened};
use stellar::{Keypair, rpc};
use time::OffsetDateTime;
use wire::{Digest, TxHash, Usage};

use crate::fixture::{DEPOSIT, Fixture, PRICE, Running};
use crate::reconciling::{INTO_AN_OPERATORS_HANDS, OPEN};
use crate::retention::{command, said};

/// The node forgets the settlement before it was read: the reader's place is behind it.
const A_LOST_EVENT: &str = "UPDATE contract_cursors SET next_ledger = next_ledger + 1000000";

impl Fixture {
    fn helper() -> Keypair {
        Keypair::from_seed(&[77; 32])
    }

    /// Takes the runner off the agent's list, puts another one there, and lets the user grant it.
    async fn replace_runner(&self) {
        let helper = Self::helper();
        self.localnet.fund(&helper.address().to_string()).await.unwrap();
        let add = self.registry.add_runner(self.agent_id, helper.address());
        self.submit(&self.developer, add.into()).await;
        let remove = self.registry.remove_runner(self.agent_id, self.runner.address());
        self.submit(&self.developer, remove.into()).await;
        let grant =
            self.vault.grant_runner(self.user.address(), helper.address(), self.agent_id, None);
        self.submit(&self.user, grant.into()).await;
    }

    /// What the vault said when it opened the run.
    async fn opened(&self) -> RunOpened {
        self.until_seen("run_opened").await;
        let text = "SELECT tx_hash, ledger, topics, value FROM contract_events \
                    WHERE name = 'run_opened' ORDER BY id DESC LIMIT 1";
        let row: (Vec<u8>, i64, Vec<String>, String) =
            sqlx::query_as(text).fetch_one(&self.db.pool).await.unwrap();
        let seen = SeenEvent {
            id: String::new(),
            contract: self.vault.0,
            ledger: u32::try_from(row.1).unwrap(),
            closed_at: OffsetDateTime::UNIX_EPOCH,
            transaction: TxHash::try_from(row.0.as_slice()).unwrap(),
            topics: row.2,
            value: row.3,
        };
        let event: rpc::Event = seen.decode().unwrap();
        RunOpened::from_event(&event).unwrap()
    }

    /// The helper settles the run with zero, committing to `output_hash`.
    async fn settle_as_helper(&self, output_hash: Digest) {
        let helper = Self::helper();
        let opened = self.opened().await;
        let finalize = Finalize {
            run_id: opened.run_id,
            runner: helper.address(),
            terms: opened.terms,
            usage: Usage::default(),
            output_hash,
            attestation: None,
            valid_until: self.localnet.close_time() + 60,
        };
        let call = self.vault.finalize_run(&finalize).unwrap();
        self.submit(&helper, call.into()).await;
    }

    /// What the runner froze for the run of which the escrow is left open.
    async fn frozen(&self) -> Digest {
        let text = "SELECT settlement->>'output_hash' FROM attempts";
        let hash: String = sqlx::query_scalar(text).fetch_one(&self.db.pool).await.unwrap();
        hash.parse().unwrap()
    }
}

/// An open run whose runner is delisted, and what was frozen for it.
async fn delisted(fixture: &Fixture) -> (Running, String, Digest) {
    let runner = fixture.start(&OPEN).await;
    let (id, _) = fixture.open_run(&runner).await;
    let frozen = fixture.frozen().await;
    fixture.opened().await;
    fixture.replace_runner().await;
    (runner, id, frozen)
}

fn receipt_of<'a>(run: &'a Value, helper: &str) -> &'a Value {
    let receipt = &run["receipt"];
    assert_eq!(receipt["settledBy"], helper, "{run:#}");
    assert_eq!((&receipt["actualCharge"], &receipt["runnerFee"]), (&"0".into(), &"0".into()));
    assert_eq!(receipt["refund"], PRICE.to_string());
    receipt
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_substitute_settled_ends_at_the_opener_as_the_vault_has_it() {
    let fixture = Fixture::new().await;
    let helper = Fixture::helper().address().to_string();

    // The same settlement that the opener froze.
    let (runner, id, frozen) = delisted(&fixture).await;
    fixture.settle_as_helper(frozen).await;
    let run = runner.gateway.ended(&id, "failed").await;
    let receipt = receipt_of(&run, &helper);
    assert!(receipt["finalizedAt"].is_string(), "{run:#}");
    assert_eq!(
        (&run["errorCode"], &run["escrow"]),
        (&"EXECUTOR_MISSING".into(), &"returned".into())
    );
    assert_eq!(run["outputHash"], frozen.to_string());
    let text = "SELECT encode(tx_hash, 'hex') FROM contract_events WHERE name = 'run_finalized'";
    let hash: String = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
    assert_eq!(run["transactionHashes"]["finalize"], hash, "the transaction of its event");

    let account = fixture.account().await;
    assert_eq!((account.balance, account.receipts), (DEPOSIT, 1));
    assert_eq!(fixture.succeeded(&id, "finalize").await, 0, "no call of the opener's own");
    let compared = command(&fixture, &["account"]);
    assert_ne!(compared.status.code(), Some(1), "{}", said(&compared));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_settlement_than_the_frozen_one_is_named_as_such() {
    let fixture = Fixture::new().await;
    let helper = Fixture::helper().address().to_string();
    let (runner, id, _) = delisted(&fixture).await;
    let other = Digest::of(b"another output");
    fixture.sql(INTO_AN_OPERATORS_HANDS).await;
    fixture.settle_as_helper(other).await;
    fixture.until_seen("run_finalized").await;
    assert!(command(&fixture, &["runs", "resume", &id]).status.success());

    let run = runner.gateway.ended(&id, "failed").await;
    receipt_of(&run, &helper);
    assert_eq!(run["outputHash"], other.to_string());
    // Its own failure was noted first, and stays the reason.
    assert_eq!(run["errorCode"], "EXECUTOR_MISSING");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_alone_names_the_substitute_when_the_event_is_lost() {
    let fixture = Fixture::new().await;
    let helper = Fixture::helper().address().to_string();
    let (runner, id, frozen) = delisted(&fixture).await;
    fixture.sql(A_LOST_EVENT).await;
    fixture.settle_as_helper(frozen).await;
    // The runner is not informed: it finds out when it gives the escrow back after the deadline.
    fixture.localnet.advance_time(800);

    let run = runner.gateway.ended(&id, "failed").await;
    let receipt = receipt_of(&run, &helper);
    assert_eq!(receipt["finalizedAt"], Value::Null, "only the event has the time: {run:#}");
    assert_eq!(run["outputHash"], frozen.to_string());
    assert_eq!(fixture.account().await.balance, DEPOSIT);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_nothing_here_explains_waits_for_an_operator() {
    let fixture = Fixture::new().await;
    let (runner, id, frozen) = delisted(&fixture).await;
    fixture.sql(A_LOST_EVENT).await;
    fixture.settle_as_helper(frozen).await;
    // The registry lists the substitute no more: who settled it is not known here.
    let remove = fixture.registry.remove_runner(fixture.agent_id, Fixture::helper().address());
    fixture.submit(&fixture.developer, remove.into()).await;
    fixture.localnet.advance_time(800);

    let run = runner.gateway.until(&id, |run| run["phase"] == "operator").await;
    assert_eq!((&run["errorCode"], &run["receipt"]), (&"OUTCOME_UNKNOWN".into(), &Value::Null));
    assert!(run["error"].as_str().unwrap().contains("full history"), "{run:#}");
    runner.stop().await;
}
