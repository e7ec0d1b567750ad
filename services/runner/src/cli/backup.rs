//! `runner export` and `runner restore`.

use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use chassis::{files, postgres, print_line};
use wire::escape;

use super::{OutputFormat, new_file, print_json, refused};
use crate::config::Config;
use crate::operations::backup::{self, Judge, Judged, Tables};
use crate::sight::Followed;

/// `runner export`.
pub(super) async fn export(to: &Path) -> ExitCode {
    let config = match Config::load(None) {
        Ok(config) => config,
        Err(error) => return refused(&error.into(), 3),
    };
    // Reached first: a database that is away leaves no file behind.
    let db = match postgres::connect(&config.database_url).await {
        Ok(db) => db,
        Err(error) => return refused(&error.context("nothing was exported; try again"), 2),
    };
    let file = match new_file(to).with_context(|| format!("--to: cannot make {}", to.display())) {
        Ok(file) => file,
        Err(error) => return refused(&error, 3),
    };
    let exported = async {
        let mut writer = BufWriter::new(file);
        let tables = backup::export(&db, &followed(&config), &mut writer).await?;
        writer.flush()?;
        // On disk before it is said to be there.
        writer.get_ref().sync_all()?;
        anyhow::Ok(tables)
    };
    match exported.await {
        Ok(tables) => {
            print(&tables, "written from");
            print_line!("the export is whole: {}", to.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let text = format!("{} is not whole; remove it and try again", to.display());
            refused(&error.context(text), 2)
        }
    }
}

/// `runner restore`.
pub(super) async fn restore(from: Option<&Path>, output: OutputFormat) -> ExitCode {
    let config = match Config::load(None) {
        Ok(config) => config,
        Err(error) => return refused(&error.into(), 3),
    };
    let db = async {
        let db = postgres::connect(&config.database_url).await?;
        postgres::migrate(&db, &crate::MIGRATIONS).await?;
        anyhow::Ok(db)
    };
    let db = match db.await {
        Ok(db) => db,
        Err(error) => return refused(&error.context("nothing was restored; try again"), 2),
    };
    if let Some(from) = from {
        let opened = files::open(from).with_context(|| format!("--from: {}", from.display()));
        let file = match opened {
            Ok(file) => file,
            Err(error) => return refused(&error, 3),
        };
        let (followed, mut reader) = (followed(&config), BufReader::new(file));
        // Rows of years, and what follows from all of them, take long to write.
        let restored = backup::restore(&db, &followed, &mut reader);
        match postgres::with_limit(postgres::LONGEST, restored).await {
            Ok(tables) if output == OutputFormat::Text => print(&tables, "restored to"),
            Ok(_) => {}
            Err(error) => return refused(&error.context("nothing was restored"), 1),
        }
    }
    let judged = async {
        let rpc = stellar::Rpc::with_fallbacks(&config.rpc_url, &config.rpc_fallbacks);
        let rpc = Arc::new(rpc.context("RUNNER_RPC_URL, RUNNER_RPC_FALLBACK_URLS")?);
        rpc.require_network(&config.network).await?;
        let judge = Judge {
            db: &db,
            rpc: &rpc,
            network: &config.network,
            followed: &followed(&config),
            nats_prefix: &config.policy.nats_prefix,
        };
        judge.judge().await
    };
    match judged.await {
        Ok(judged) => say(&judged, output),
        Err(error) => {
            let text = "the runs are restored and held; repeat `runner restore --judge`";
            refused(&error.context(text), 2)
        }
    }
}

fn followed(config: &Config) -> Followed {
    Followed::new(&config.network, config.vault, config.registry, config.runner)
}

fn print(tables: &Tables, what: &str) {
    for (table, rows) in &tables.rows {
        print_line!("{rows:>10} rows {what} {table}");
    }
}

fn say(judged: &Judged, output: OutputFormat) -> ExitCode {
    if output == OutputFormat::Json {
        if let Err(code) = print_json(judged) {
            return code;
        }
    } else {
        let Judged { opened_since, resumed, unknown, reconciliation } = judged;
        print_line!("{opened_since} runs were opened after the export: workers go on with them");
        print_line!("{resumed} runs were not opened: workers take them");
        for finding in &reconciliation.findings {
            let run = finding.run.map(|run| run.to_string()).unwrap_or_default();
            print_line!(
                "{run:<36} {}: {}",
                escape::line(&finding.text),
                escape::line(&finding.action)
            );
        }
        print_line!("{unknown} runs wait for an operator: see `runner dead-letters list`");
    }
    let is_known = judged.unknown == 0 && judged.reconciliation.is_clean();
    if is_known { ExitCode::SUCCESS } else { ExitCode::from(2) }
}
