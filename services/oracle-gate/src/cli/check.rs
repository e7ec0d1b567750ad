//! `oracle-gate check`.

use serde_json::{Value, json};

use super::{Failure, Output, block_on, keys, local, print, read_view, usage};
use crate::check::{Issue, Outcome, Rules, check_bytes};
use crate::config::KEYS;
use crate::profile::Profile;

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
    /// Exit 1 on warnings too.
    #[arg(long)]
    fail_on_warn: bool,
    /// Public key whose statements count as evidence, 64 hex digits; may be repeated.
    #[arg(long = "attestation-key", env = KEYS, value_delimiter = ',')]
    attestation_keys: Vec<String>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Checks, prints, and answers the exit code of C1.
pub(super) fn run(args: Args) -> Result<u8, Failure> {
    let (profile, objects) = local(&args.profile)?;
    let rules = rules(&profile, &args)?;
    let reference = args.run_facts_ref.as_str();
    let outcome = block_on(async {
        match read_view(&objects, reference).await {
            Ok(Some(bytes)) => check_bytes(&objects, &rules, reference, &bytes).await,
            Ok(None) => Outcome::unreadable(&rules, reference),
            // Read once more, for the reason.
            Err(_) => crate::check::check(&objects, &rules, reference).await,
        }
    })?;
    print(&match args.output {
        Output::Json => format!("{}\n", report(&outcome)),
        Output::Text => text(&outcome),
    })?;
    Ok(outcome.exit(args.fail_on_warn))
}

/// Leniency is the profile's to give (O5).
fn rules(profile: &Profile, args: &Args) -> Result<Rules, Failure> {
    if (args.allow_unsealed || args.allow_missing_digest) && !profile.lenient {
        let text = format!(
            "profile {} is strict: --allow-unsealed and --allow-missing-digest need a lenient one",
            profile.id
        );
        return Err(usage(text));
    }
    let strict = Rules::strict(profile, keys(&args.attestation_keys)?);
    Ok(Rules {
        allow_unsealed: profile.lenient && !args.strict_seal,
        allow_missing_digest: args.allow_missing_digest,
        ..strict
    })
}

/// One line, keys sorted.
fn report(outcome: &Outcome) -> Value {
    let listed = |errors: bool| -> Vec<String> {
        let wanted = outcome.issues.iter().filter(|issue| issue.is_error() == errors);
        wanted.map(|issue| format!("{}:{}", issue.code.code(), issue.detail)).collect()
    };
    json!({
        "status": outcome.status,
        "reason_codes": outcome.reason_codes,
        "issues": outcome.issues.iter().map(issue).collect::<Vec<_>>(),
        "errors": listed(true),
        "warnings": listed(false),
        "details": outcome.details,
    })
}

fn issue(issue: &Issue) -> Value {
    let row = issue.code.row();
    json!({
        "code": row.code,
        "severity": issue.severity,
        "detail": issue.detail,
        "class": row.class,
        "retryable": issue.retryable,
        "action": row.action,
    })
}

fn text(outcome: &Outcome) -> String {
    let details = &outcome.details;
    let mut text = format!("{} {}\n", outcome.status.as_str(), details.run_facts_ref);
    for issue in &outcome.issues {
        let row = issue.code.row();
        let repeat = if issue.retryable { "repeat" } else { "do not repeat" };
        let severity = if issue.is_error() { "ERROR" } else { "WARN" };
        text += &format!("{severity} {}: {}\n  {}; {repeat}\n", row.code, issue.detail, row.action);
    }
    for id in &details.no_gate_required {
        text += &format!("NO_GATE_REQUIRED {id}\n");
    }
    for pack in &details.packs {
        let digest = pack.seal_digest.map_or_else(|| "none".to_owned(), |it| it.to_string());
        let status = pack.seal_status.unwrap_or("unsealed");
        text += &format!("pack {} seal {digest} {status}\n", pack.root);
    }
    let (total, missing) = (details.locators_total, details.locators_missing);
    let (bare, profile) = (details.locators_missing_digest, &details.profile_id);
    text + &format!(
        "{total} locators, {missing} missing, {bare} without digest; profile {profile}\n"
    )
}
