//! `runner import`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use chassis::postgres;

use super::{Output, database_url, print_json, refused};
use crate::operations::import;

/// Takes the runs of an earlier runner's state file over, or only says what they are.
pub(super) async fn run(file: &Path, confirm: bool, output: Output) -> ExitCode {
    let url = match database_url() {
        Ok(url) => url,
        Err(code) => return code,
    };
    let text = std::fs::read_to_string(file);
    let text = match text.with_context(|| format!("cannot read {}", file.display())) {
        Ok(text) => text,
        Err(error) => return refused(&error, 3),
    };
    let rows = match import::read(&text) {
        Ok(rows) => rows,
        Err(error) => return refused(&error.context("nothing was imported"), 1),
    };
    if !confirm {
        println!("{} runs would be imported; --confirm imports them", rows.len());
        return ExitCode::SUCCESS;
    }
    let imported = async {
        let db = postgres::connect(&url).await?;
        postgres::migrate(&db, &crate::MIGRATIONS).await?;
        import::import(&db, &rows).await
    };
    match imported.await {
        Ok(imported) if output == Output::Json => {
            print_json(&imported).map_or_else(|code| code, |()| ExitCode::SUCCESS)
        }
        Ok(import::Imported { finalized, failed, known }) => {
            println!(
                "{finalized} finalized and {failed} failed runs were imported; {known} were here"
            );
            ExitCode::SUCCESS
        }
        Err(error) => refused(&error.context("nothing was imported; try again"), 2),
    }
}
