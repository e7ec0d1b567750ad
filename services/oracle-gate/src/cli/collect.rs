//! `oracle-gate collect`: staging folders of sealed attempts that are not needed any more.

use std::path::PathBuf;

use serde_json::json;

use super::seal::failure;
use super::{CommandError, OutputFormat, answer, block_on, escape, print, store, usage};
use crate::collect::{self, Applied, Staged};
use crate::config::EXCHANGE;
use crate::objects::Objects;
use crate::sealing::SealingError;

const EXAMPLES: &str = "Examples:
  oracle-gate collect --profile prod
  oracle-gate collect --profile prod --staging-days 30 --output json
  oracle-gate collect --profile prod --apply

Without --apply nothing is removed: the plan is printed. A folder goes only if its name is that of
a staged attempt, the attempt's pack is sealed and pinned by its view, nothing in it was written for
the days that are stated, and every file in it was read and is in the pack with the same bytes. A
folder with any other file stays and is named with the reason.

Exit codes: 0 printed or removed, 2 nothing is known, 3 usage or configuration.";

/// Options of `collect`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Profile: local, dev, prod, or the path of a YAML file.
    #[arg(long)]
    profile: String,
    /// Days that a staging folder has to be old; by default the profile's retention.staging_days.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    staging_days: Option<u32>,
    /// Remove what the plan says may go.
    #[arg(long)]
    apply: bool,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

/// Plans, removes where that is asked for, and prints.
pub(super) fn run(args: &Args) -> Result<u8, CommandError> {
    let (profile, objects) = store(&args.profile)?;
    let days = args.staging_days.or(profile.retention.staging_days).ok_or_else(|| {
        usage("say how old a folder has to be: --staging-days, or the profile's staging_days")
    })?;
    let exchange = exchange(&objects)?;
    let now = chassis::clock::now();
    let work = async {
        let plan = collect::plan(&objects, &exchange, days, now).await?;
        let applied = match args.apply {
            true => collect::apply(&objects, &exchange, &plan, days, now).await?,
            false => Applied::default(),
        };
        Ok((plan, applied))
    };
    let done: Result<(Vec<Staged>, Applied), SealingError> = block_on(work)?;
    let (plan, applied) = done.map_err(|error| failure(&error))?;
    print(&match args.output {
        OutputFormat::Json => answer(&json!({
            "applied": args.apply,
            "removed": applied.removed,
            "kept": applied.kept,
            "staging": plan,
        }))?,
        OutputFormat::Text => text(&plan, &applied, args.apply),
    })
}

/// Where module-gate stages: the folder that is shared with it, or the store itself.
fn exchange(objects: &Objects) -> Result<Objects, CommandError> {
    let named = chassis::Env::process().optional(EXCHANGE).map(PathBuf::from);
    match named {
        Some(folder) => {
            Objects::local(&folder).map_err(|error| usage(format!("{EXCHANGE}: {error}")))
        }
        None if objects.root().is_some() => Ok(objects.clone()),
        None => Err(usage(format!(
            "{EXCHANGE} is not set; beside a bucket, outputs are staged in that folder"
        ))),
    }
}

fn text(plan: &[Staged], done: &Applied, applied: bool) -> String {
    let mut text = String::new();
    for planned in plan {
        // What was found when it was to be removed is newer than the plan.
        let staged = done.kept.iter().find(|kept| kept.path == planned.path).unwrap_or(planned);
        let (files, bytes) = (staged.files, staged.bytes);
        let what = staged.stays.as_deref().unwrap_or("may go");
        text += &format!(
            "{} {files} files, {bytes} bytes: {}\n",
            escape::line(&staged.path),
            escape::line(what)
        );
    }
    let going = plan.iter().filter(|staged| staged.stays.is_none()).count();
    text += &match applied {
        true => format!("{} of {} folders were removed\n", done.removed, plan.len()),
        false => format!("{going} of {} folders may go; --apply removes them\n", plan.len()),
    };
    text
}
