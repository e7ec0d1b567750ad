//! `runner intake`.

use std::process::ExitCode;

use chassis::{postgres, print_line};
use wire::escape;

use super::proof::unknown;
use super::{IntakeCommand, OutputFormat, Whose, database_url, print_list, refused, table};
use crate::operations::intake::{self, PauseView, Scope};

/// Who pauses, as it is kept.
const BY: &str = "command line";

/// Carries out one of the commands.
pub(super) async fn run(command: IntakeCommand) -> ExitCode {
    let url = match database_url() {
        Ok(url) => url,
        Err(code) => return code,
    };
    // Mistakes of the command line first: they need no database.
    let order = match read(command) {
        Ok(order) => order,
        Err(error) => return refused(&error.into(), 3),
    };
    let db = match postgres::connect(&url).await {
        Ok(db) => db,
        Err(error) => return unknown(&error),
    };
    match order {
        Order::Pause(scope, reason) => match intake::pause(&db, &scope, &reason, BY).await {
            Ok(()) => {
                print_line!("{scope} are paused; `runner intake resume` accepts them again");
                ExitCode::SUCCESS
            }
            Err(error) => unknown(&error.into()),
        },
        Order::Resume(scope) => match intake::resume(&db, &scope, BY).await {
            Ok(true) => {
                print_line!("{scope} are accepted again, unless another pause covers them");
                ExitCode::SUCCESS
            }
            Ok(false) => {
                let text = format!("{scope} are not paused; see `runner intake list`");
                refused(&anyhow::anyhow!(text), 1)
            }
            Err(error) => unknown(&error.into()),
        },
        Order::List(output) => match intake::list(&db).await {
            Ok(pauses) => list(&pauses, output),
            Err(error) => unknown(&error.into()),
        },
    }
}

enum Order {
    Pause(Scope, String),
    Resume(Scope),
    List(OutputFormat),
}

fn read(command: IntakeCommand) -> crate::error::Result<Order> {
    let scope = |Whose { agent, user }: Whose| Scope::read(agent, user.as_deref());
    Ok(match command {
        IntakeCommand::Pause { whose, reason } => {
            Order::Pause(scope(whose)?, intake::read_reason(reason.as_deref())?)
        }
        IntakeCommand::Resume { whose } => Order::Resume(scope(whose)?),
        IntakeCommand::List { output } => Order::List(output),
    })
}

fn list(pauses: &[PauseView], output: OutputFormat) -> ExitCode {
    if output == OutputFormat::Json {
        return print_list(pauses).map_or_else(|code| code, |()| ExitCode::SUCCESS);
    }
    if pauses.is_empty() {
        print_line!("nothing is paused");
        return ExitCode::SUCCESS;
    }
    let row = |pause: &PauseView| {
        let whose = match &pause.subject {
            None => "everybody".to_owned(),
            Some(subject) => format!("{} {subject}", pause.scope),
        };
        let by = pause.paused_by.clone().unwrap_or_default();
        [whose, chassis::clock::rfc3339(pause.paused_at), by, escape::line(&pause.reason)]
    };
    let rows: Vec<_> = pauses.iter().map(row).collect();
    print_line!("{}", table(["whose", "since", "by", "why"], &rows));
    ExitCode::SUCCESS
}
