//! A channel to which an operator pays while a run is asked for.

use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use stellar::{Address, Rpc};
use tokio::process::Command;
use tokio::time::Instant;

use crate::process::{binary, inherited};
use crate::stack::Stack;

/// What the channel begins with, in stroops: enough for every fee.
const BEGINS_WITH: i64 = 200_000_000;
/// What is paid to it: more than all fees that it pays meanwhile, so that its balance shows how
/// often the payment has landed.
const PAID: i64 = 1_000_000_000;
/// How long a payment may take to end: only a defect takes so long.
const PATIENCE: Duration = Duration::from_secs(180);

/// How a payment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentEnd {
    /// It was made.
    Made,
    /// Whether it was made is not known, and a person has to look.
    Operator,
}

/// An added channel.
pub(super) struct Channel {
    account: String,
}

impl Channel {
    /// Adds one, while no runner runs.
    pub(super) async fn add(stack: &Stack) -> anyhow::Result<Self> {
        // Before the first start of the runner there are no tables.
        succeeded(stack, &["migrate"]).await?;
        let stroops = BEGINS_WITH.to_string();
        let asked = ["channels", "add", "--stroops", &stroops, "--output", "json"];
        let added: Value = serde_json::from_slice(&succeeded(stack, &asked).await?.stdout)?;
        let account = added["account"].as_str().context("a channel has an account")?.to_owned();
        Ok(Self { account })
    }

    /// Orders the payment, and leaves it to the running runner.
    pub(super) async fn pay(&self, stack: &Stack) -> anyhow::Result<()> {
        let stroops = PAID.to_string();
        let asked = ["channels", "top-up", &self.account, "--stroops", &stroops, "--wait", "0"];
        let output = command(stack, &asked).await?;
        let said = said(&output);
        let is_ordered = output.status.success() || said.contains("it goes on");
        ensure!(is_ordered, "the payment was not ordered: {said}");
        Ok(())
    }

    /// Waits for the end of the payment.
    pub(super) async fn until_ended(&self, stack: &Stack) -> anyhow::Result<PaymentEnd> {
        let give_up_at = Instant::now() + PATIENCE;
        let text = "SELECT state, coalesce(words, '') FROM channel_orders \
                    WHERE kind = 'pay' AND destination = $1";
        loop {
            let order = sqlx::query_as::<_, (String, String)>(text).bind(&self.account);
            let last = match order.fetch_one(&stack.databases[0].pool).await {
                Ok((state, words)) => match state.as_str() {
                    "done" => return Ok(PaymentEnd::Made),
                    "unknown" => return Ok(PaymentEnd::Operator),
                    "failed" => bail!("the payment has failed: {words}"),
                    _ => format!("{state} {words}"),
                },
                Err(error) => error.to_string(),
            };
            ensure!(Instant::now() < give_up_at, "the payment has not ended: {last}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the channel has, if that contradicts how the payment ended.
    pub(super) async fn contradiction(
        &self,
        stack: &Stack,
        end: PaymentEnd,
    ) -> anyhow::Result<Option<String>> {
        let account: Address = self.account.parse().context("an address")?;
        let found = Rpc::new(&stack.rpc_url())?.account(&account).await?;
        let landed = payments(found.context("the channel is on the network")?.balance);
        let agrees = match end {
            PaymentEnd::Made => landed == 1,
            PaymentEnd::Operator => landed == 0 || landed == 1,
        };
        Ok((!agrees).then(|| format!("the payment is {end:?}, and has landed {landed} times")))
    }

    /// Lets it go, while no runner runs: what follows has the channels that it had before.
    pub(super) async fn drain(self, stack: &Stack) -> anyhow::Result<()> {
        succeeded(stack, &["channels", "drain", &self.account]).await.map(drop)
    }
}

/// How many payments the channel got that has so many stroops. Its fees are less than one.
const fn payments(balance: i64) -> i64 {
    (balance - BEGINS_WITH + PAID - 1).div_euclid(PAID)
}

/// A command of the runner that has to succeed.
async fn succeeded(stack: &Stack, arguments: &[&str]) -> anyhow::Result<Output> {
    let output = command(stack, arguments).await?;
    ensure!(output.status.success(), "runner {arguments:?}: {}", said(&output));
    Ok(output)
}

/// A command of the runner. Other lanes go on meanwhile.
async fn command(stack: &Stack, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(binary("runner")?);
    command.args(arguments).env_clear().envs(inherited()).envs(stack.runner_variables());
    command.current_dir("/").kill_on_drop(true);
    command.output().await.context("could not start runner")
}

fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{} {}", output.status, texts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_balance_shows_how_often_a_payment_landed() {
        for fees in [0, 100, 50_000_000, BEGINS_WITH] {
            for landed in 0..3 {
                assert_eq!(payments(BEGINS_WITH + landed * PAID - fees), landed, "{fees}");
            }
        }
    }
}
