//! `runner dead-letters`.

use std::process::ExitCode;

use chassis::print_line;
use wire::{RunId, escape};

use super::proof::{ProofContext, say, unknown};
use super::{DeadLettersCommand, OutputFormat, print_json, print_list, refused};
use crate::gateway::operator::{self, RowsQuery, WorkView};
use crate::operations::dead_letters;

/// Carries out one of the commands.
pub(super) async fn run(command: DeadLettersCommand) -> ExitCode {
    let context = match ProofContext::open().await {
        Ok(context) => context,
        Err(code) => return code,
    };
    match command {
        DeadLettersCommand::List { output } => {
            match operator::dead_letters(&context.db, &RowsQuery::default()).await {
                Ok(rows) => list(&rows, output),
                Err(error) => unknown(&error.into()),
            }
        }
        DeadLettersCommand::Show { id } => {
            match dead_letters::show(&context.evidence(), id).await {
                Ok(Some(letter)) => {
                    print_json(&letter).map_or_else(|code| code, |()| ExitCode::SUCCESS)
                }
                Ok(None) => refused(&anyhow::anyhow!("there is no such run"), 1),
                Err(error) => unknown(&error.into()),
            }
        }
        DeadLettersCommand::Replay { ids, all, output } => {
            each(&context, ids, all, &Order::Replay, output).await
        }
        DeadLettersCommand::Discard { ids, reason, output } => {
            each(&context, ids, false, &Order::Discard(reason), output).await
        }
    }
}

enum Order {
    Replay,
    Discard(String),
}

/// Carries an order out for each run, whatever becomes of the others. The exit code is that of the
/// worst.
async fn each(
    context: &ProofContext,
    ids: Vec<RunId>,
    all: bool,
    order: &Order,
    output: OutputFormat,
) -> ExitCode {
    let mut ids = ids;
    if all {
        match operator::dead_letters(&context.db, &RowsQuery::default()).await {
            Ok(rows) => ids = rows.into_iter().map(|row| row.id).collect(),
            Err(error) => return unknown(&error.into()),
        }
        if ids.is_empty() {
            if output == OutputFormat::Text {
                print_line!("there are no dead letters");
            }
            return ExitCode::SUCCESS;
        }
    }
    let mut worst = 0;
    for id in ids {
        let (evidence, prefix) = (context.evidence(), &context.nats_prefix);
        let outcome = match order {
            Order::Replay => dead_letters::replay(&evidence, prefix, id).await,
            Order::Discard(reason) => dead_letters::discard(&evidence, prefix, id, reason).await,
        };
        match outcome {
            Ok(outcome) => worst = worst.max(say(id, &outcome, output)),
            Err(error) => {
                unknown(&error.into());
                worst = 2;
            }
        }
    }
    ExitCode::from(worst)
}

fn list(rows: &[WorkView], output: OutputFormat) -> ExitCode {
    if output == OutputFormat::Json {
        return print_list(rows).map_or_else(|code| code, |()| ExitCode::SUCCESS);
    }
    if rows.is_empty() {
        print_line!("there are no dead letters");
        return ExitCode::SUCCESS;
    }
    print_line!("{:<36} {:<12} {:<8} since, why", "run", "phase", "escrow");
    for row in rows {
        let why = row.operator_reason.as_ref().or(row.error.as_ref());
        print_line!(
            "{} {:<12} {:<8} {} {}",
            row.id,
            row.phase,
            row.escrow,
            chassis::clock::rfc3339(row.updated_at),
            escape::line(why.map_or("its escrow is open", String::as_str)),
        );
    }
    print_line!(
        "`runner dead-letters show ID` says what is proven about one, and what can be done"
    );
    ExitCode::SUCCESS
}
