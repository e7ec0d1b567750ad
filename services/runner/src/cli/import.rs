//! `runner import`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use chassis::{files, postgres, print_line};

use super::{OutputFormat, database_url, print_json, refused};
use crate::operations::import::{self, Imported};

/// Takes the runs of an earlier runner's state file over, or only says what they are.
pub(super) async fn run(file: &Path, confirm: bool, output: OutputFormat) -> ExitCode {
    let url = match database_url() {
        Ok(url) => url,
        Err(code) => return code,
    };
    let text = files::read_to_string(file);
    let text = match text.with_context(|| format!("cannot read {}", file.display())) {
        Ok(text) => text,
        Err(error) => return refused(&error, 3),
    };
    let rows = match import::read(&text) {
        Ok(rows) => rows,
        Err(error) => return refused(&error.context("nothing was imported"), 1),
    };
    if !confirm {
        print_line!("{} runs would be imported; --confirm imports them", rows.len());
        return ExitCode::SUCCESS;
    }
    let mut imported = Imported::default();
    let importing = async {
        let db = postgres::connect(&url).await?;
        postgres::migrate(&db, &crate::MIGRATIONS).await?;
        import::import(&db, &rows, &mut imported).await
    };
    let done = importing.await;
    let Imported { finalized, failed, known } = imported;
    if let Err(error) = done {
        let kept = finalized + failed;
        let text = format!("{kept} runs were imported; the same command goes on with the rest");
        return refused(&error.context(text), 2);
    }
    if output == OutputFormat::Json {
        return print_json(&imported).map_or_else(|code| code, |()| ExitCode::SUCCESS);
    }
    print_line!("{finalized} finalized and {failed} failed runs were imported; {known} were here");
    ExitCode::SUCCESS
}
