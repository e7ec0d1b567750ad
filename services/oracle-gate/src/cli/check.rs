//! `oracle-gate check`.

pub(super) mod report;
pub(super) mod sarif;

use clap::ValueEnum;

use super::{
    CommandError, Jobs, answer, block_on, escape, keys, print, progress, read_view, store, usage,
};
use crate::check::rules::Asked;
use crate::check::{self, Rules};
use crate::config::KEYS;

/// Options of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Profile: local, dev, prod, or the path of a YAML file.
    #[arg(long)]
    profile: String,
    /// The facts view, below the oracle root or as a file.
    #[arg(long)]
    run_facts_ref: String,
    /// Treat an unsealed pack as a failure even where the profile would warn.
    #[arg(long, conflicts_with = "allow_unsealed")]
    strict_seal: bool,
    /// Treat an unsealed pack as a warning; only under a lenient profile.
    #[arg(long)]
    allow_unsealed: bool,
    /// Treat a missing digest as a warning; only under a lenient profile.
    #[arg(long)]
    allow_missing_digest: bool,
    /// How far to look: at every byte, or only whether everything is there with its length.
    #[arg(long, value_enum, default_value_t = Depth::Digest)]
    depth: Depth,
    /// Exit 1 on warnings too.
    #[arg(long)]
    fail_on_warn: bool,
    /// Public key whose statements count as evidence, 64 hex digits; may be repeated.
    #[arg(long = "attestation-key", env = KEYS, value_delimiter = ',')]
    attestation_keys: Vec<String>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    jobs: Jobs,
}

/// How far a check looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Depth {
    /// Existence and length; a pass is a warning at best, and only a lenient profile allows it.
    Presence,
    /// Every digest.
    Digest,
}

/// How the answer of a check is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// One line of JSON with the same facts.
    Json,
    /// SARIF 2.1.0, for code-scanning services.
    Sarif,
}

/// Checks, prints, and answers the exit code of C1.
pub(super) fn run(args: Args) -> Result<u8, CommandError> {
    let (profile, objects) = store(&args.profile)?;
    let rules = Rules::strict(&profile, keys(&args.attestation_keys)?);
    let rules = rules.asked(Asked {
        strict_seal: args.strict_seal,
        allow_unsealed: args.allow_unsealed,
        allow_missing_digest: args.allow_missing_digest,
        presence: args.depth == Depth::Presence,
    });
    let rules = rules.map_err(usage)?;
    let reference = args.run_facts_ref.as_str();
    let now = chassis::clock::now();
    let (objects, meter) = progress::metered(&args.jobs.apply(&objects));
    let work = async {
        match read_view(&objects, reference).await {
            Ok(Some(bytes)) => check::check_bytes(&objects, &rules, reference, &bytes, now).await,
            Ok(None) => check::unreadable(&rules, reference),
            Err(error) => check::store_failed(&rules, reference, &error),
        }
    };
    let outcome = block_on(progress::shown(&meter, work))?;
    print(&match args.output {
        Format::Json => answer(&report::json(&outcome))?,
        Format::Sarif => format!("{}\n", escape::json(&sarif::log(&outcome).to_string())),
        Format::Text => report::text(&outcome),
    })?;
    Ok(outcome.exit(args.fail_on_warn))
}
