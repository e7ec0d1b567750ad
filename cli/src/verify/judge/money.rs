//! The links that the chain alone proves.

use stellar::vault::{RunFinalized, RunRecord, RunTerms};
use wire::Usage;

use super::attempts::had_no_receipt;
use super::{Case, End, Link, Name, differs, unsettled};
use crate::verify::facts::{CLOCK_SLACK, Origin, asked_at};

/// The run's id on chain is the one that this run has in our vault on our network.
pub(super) fn vault(case: &Case<'_>) -> Link {
    let (facts, own, claim) = (case.facts, case.own, &case.bundle.claim);

    // What was read is of this network, vault and run, and the gateway claims no other.
    let network = differs("network", own.network.passphrase(), facts.network.as_str());
    let read = differs("vault", own.vault.0.to_string(), facts.vault.to_string());
    let run = differs("the chain's facts are of another run", claim.id(), facts.run);
    let claimed = claim.vault.as_deref();
    let claimed = claimed.and_then(|claimed| {
        differs("the gateway names another vault", own.vault.0.to_string().as_str(), claimed)
    });

    let registry = match facts.registry {
        None => Some(format!("there is no vault {}", own.vault.0)),
        Some(registry) => differs("the vault's registry", own.registry.0, registry),
    };

    let wrong: Vec<_> = [network, read, run, claimed, registry].into_iter().flatten().collect();
    if !wrong.is_empty() {
        return Link::broken(Name::Vault, wrong.join("; "));
    }

    let Some(shown) = case.shown else { return silence(case) };

    // The id that the gateway names counts only as far as the chain shows the same.
    let named = claim.run.run_id;
    if let Some(named) = named.filter(|named| *named != shown.run_id) {
        return Link::broken(
            Name::Vault,
            format!(
                "the gateway names run {named}, which is not this run's in vault {}",
                own.vault.0
            ),
        );
    }

    // A run's id is derived from what it was opened with (V4), so it can be computed again.
    let origin = shown.origin().or_else(|| case.terms.as_ref().map(origin));
    let Some(origin) = origin else {
        return Link::unknown(
            Name::Vault,
            "the opened event is outside the RPC's retention, and no terms with the recorded hash \
             are at hand",
        );
    };

    match own.run_id(facts.run, shown.attempt, &origin) {
        Ok(id) if id == shown.run_id => {
            Link::ok(Name::Vault, format!("run {id} in vault {}", own.vault.0))
        }
        Ok(id) => Link::broken(
            Name::Vault,
            format!("this run's id in vault {} is {id}, not {}", own.vault.0, shown.run_id),
        ),
        Err(error) => Link::unknown(Name::Vault, error.to_string()),
    }
}

fn origin(terms: &RunTerms) -> Origin {
    Origin { user: terms.user, opened_by: terms.opened_by, deadline: terms.deadline }
}

/// A vault that knows nothing of an attempt whose record must still live is not its vault.
fn silence(case: &Case<'_>) -> Link {
    let claim = &case.bundle.claim;
    let (attempt, vault) = (claim.attempt(), case.own.vault.0);
    let deadline = claim.terms.as_ref().map(|terms| terms.deadline);
    let deadline = deadline
        .or_else(|| claim.run.deadline.and_then(|at| u64::try_from(at.unix_timestamp()).ok()));

    // Its opening would be among the events, if these reach back to when the run was asked for; and
    // until its deadline its record lives for certain (V3, V17).
    let facts = case.facts;
    let asked = asked_at(facts.run).map(|asked| asked.saturating_sub(CLOCK_SLACK));
    let is_searched =
        facts.oldest_ledger <= 2 || asked.is_some_and(|asked| facts.oldest_time <= asked);
    let lives = deadline.is_some_and(|deadline| facts.ledger_time <= deadline);

    match deadline {
        None if claim.run.run_id.is_none() => Link::unknown(
            Name::Vault,
            format!(
                "the gateway says that attempt {attempt} was never opened; vault {vault} knows none"
            ),
        ),
        _ if !is_searched && !lives => Link::unknown(
            Name::Vault,
            "the attempt's record has ended and its events are outside the RPC's retention; give \
                 a list of receipts that reaches back, or a signed export of that time",
        ),
        _ => Link::broken(
            Name::Vault,
            format!("vault {vault} knows nothing of attempt {attempt} of this run"),
        ),
    }
}

/// The terms have the hash that the record holds.
pub(super) fn terms(case: &Case<'_>) -> Link {
    let claimed_user = case.bundle.claim.run.user.as_str();
    let Some(terms) = &case.terms else {
        let user = record(case).map(|record| record.user.to_string());
        if let Some(user) = user.filter(|user| user != claimed_user) {
            return Link::broken(
                Name::Terms,
                format!("the gateway says that {claimed_user} pays, the vault says {user}"),
            );
        }
        return without_terms(case, Name::Terms, "no terms are known that the chain vouches for");
    };

    // What the gateway says beside them.
    let claimed = case.bundle.claim.terms.as_ref();
    if claimed.is_some_and(|claimed| claimed != terms) {
        return Link::broken(
            Name::Terms,
            "the gateway's terms are not those that the vault recorded when the run was opened",
        );
    }
    if claimed_user != terms.user.to_string() {
        return Link::broken(
            Name::Terms,
            format!("the gateway says that {claimed_user} pays, the vault says {}", terms.user),
        );
    }

    // The record ends some time after the run; the event of the opening has the terms too.
    match (record(case), terms.hash()) {
        (_, Err(error)) => Link::unknown(Name::Terms, error.to_string()),
        (Some(record), Ok(hash)) if record.terms_hash != hash => Link::broken(
            Name::Terms,
            format!("their hash is {hash}, the record holds {}", record.terms_hash),
        ),
        (Some(_), Ok(hash)) => Link::ok(
            Name::Terms,
            format!("agent {} for {}, as recorded ({hash})", terms.agent_id, terms.user),
        ),
        (None, Ok(_)) => Link::ok(
            Name::Terms,
            format!(
                "agent {} for {}, as the vault's event says; the record has ended",
                terms.agent_id, terms.user
            ),
        ),
    }
}

/// A link that needs terms, where none are known: whose escrow went back was charged nothing under
/// them, whatever they were.
pub(super) fn without_terms(case: &Case<'_>, name: Name, why: &str) -> Link {
    match case.end {
        End::Returned => Link::skipped(name, format!("{why}; nothing was charged under them")),
        End::Settled { .. } | End::Open => Link::unknown(name, why),
    }
}

/// Prices and module are those of the developer's rate card.
pub(super) fn rates(case: &Case<'_>) -> Link {
    let Some(terms) = &case.terms else {
        return without_terms(case, Name::Rates, "no terms are known");
    };

    let highest = wire::usage::charge(&terms.rates, &terms.budgets);
    if highest != Some(terms.max_charge) {
        return Link::broken(
            Name::Rates,
            format!(
                "prices times budgets are not the highest charge of {}",
                case.show(terms.max_charge)
            ),
        );
    }

    let version = terms.rate_version;
    match case.shown.and_then(|shown| shown.rate_card.as_ref()) {
        None => Link::skipped(
            Name::Rates,
            format!(
                "rate card {version} cannot be read now; the vault checked it when the run was \
                    opened"
            ),
        ),
        Some(card) => {
            let prices = (card.rates != terms.rates).then(|| "the prices differ".to_owned());
            let module = differs("module", card.manifest_hash, terms.manifest_hash);
            Link::unless(
                Name::Rates,
                format!("rate card {version} of agent {}", terms.agent_id),
                [prices, module].into_iter().flatten(),
            )
        }
    }
}

/// Charge is prices times usage; charge, fee and refund are the escrow.
pub(super) fn charge(case: &Case<'_>) -> Link {
    let charge = match case.end {
        End::Open if is_overdue(case) => {
            return Link::unknown(
                Name::Charge,
                "the deadline has passed, and the escrow has not been returned yet; anybody may \
                    return it with: lumio escrow reclaim",
            );
        }
        End::Open => return Link::unknown(Name::Charge, unsettled(case)),
        End::Returned => {
            let attempt = case.bundle.claim.attempt();
            return Link::ok(
                Name::Charge,
                format!("attempt {attempt} was not charged; its whole escrow went back"),
            );
        }
        End::Settled { charge, .. } => charge,
    };

    let Some(terms) = &case.terms else { return Link::unknown(Name::Charge, "no terms are known") };
    let event = event(case);

    // Event and receipt are the vault's own. The statement counts only where both are gone.
    let receipt = case.receipt.as_ref().map(|(_, receipt)| receipt.usage);
    let known = event.map(|event| event.usage).or(receipt).or(case.usage);
    let known = known.or((charge == 0).then(Usage::default));
    let Some(usage) = known else {
        return Link::unknown(
            Name::Charge,
            "the settled usage is known neither from the chain nor from a verified statement",
        );
    };

    let computed = wire::usage::charge(&terms.rates, &usage);
    let product = (computed != Some(charge)).then(|| {
        format!(
            "{} were charged, prices times usage are {}",
            case.show(charge),
            computed.map_or_else(|| "too large".to_owned(), |computed| case.show(computed))
        )
    });

    // The event holds all three parts, so that nothing of the escrow can be missing.
    let sums = event.and_then(|event| {
        let escrow = terms.max_charge.checked_add(terms.runner_fee);
        let parts = event
            .actual_charge
            .checked_add(event.runner_fee)
            .and_then(|sum| sum.checked_add(event.refund));
        (escrow.is_none() || parts != escrow)
            .then(|| "charge, fee and refund are not the escrow".to_owned())
    });

    let same = event.and_then(|event| differs("the event's charge", charge, event.actual_charge));
    let wrong = [product, sums, same].into_iter().flatten();

    let fee = match fee(case) {
        Some(0) => String::new(),
        Some(fee) => format!("; {} went to the runner as its fee", case.show(fee)),
        None => "; whether the runner took its fee is not known any more".to_owned(),
    };
    let detail = format!("{} = pinned prices × metered usage{fee}", case.show(charge));
    Link::unless(Name::Charge, detail, wrong)
}

/// The runner's flat fee: what the settlement says, else what follows from the record; `None` where
/// that is not known any more.
fn fee(case: &Case<'_>) -> Option<i128> {
    let event = event(case).map(|event| event.runner_fee);
    let receipt = case.receipt.as_ref().map(|(_, receipt)| receipt.runner_fee);
    event.or(receipt).or_else(|| case.shown?.recorded_fee(case.usage.as_ref()))
}

fn event<'a>(case: &Case<'a>) -> Option<&'a RunFinalized> {
    case.shown.and_then(|shown| shown.finalized.as_ref())
}

fn record<'a>(case: &Case<'a>) -> Option<&'a RunRecord> {
    case.shown.and_then(|shown| shown.record.as_ref())
}

fn is_overdue(case: &Case<'_>) -> bool {
    record(case).is_some_and(|record| case.facts.ledger_time >= record.deadline)
}

/// The gateway's receipt says what the vault did.
pub(super) fn receipt(case: &Case<'_>) -> Link {
    let shown_receipt = case.bundle.claim.receipt();
    let Some(shown) = case.shown else {
        return Link::unknown(Name::Receipt, "the chain says nothing to compare with");
    };

    let (charge, output_hash) = match case.end {
        End::Settled { charge, output_hash } => (charge, output_hash),
        End::Returned | End::Open if shown_receipt.is_some() => {
            // Without its record, only a list of all receipts since it was opened shows that it
            // has none.
            if shown.record.is_none() && !had_no_receipt(case.facts, shown) {
                return Link::unknown(
                    Name::Receipt,
                    "the attempt's record has ended, and no settlement of it is known",
                );
            }
            return Link::broken(
                Name::Receipt,
                "the gateway shows a receipt, but the vault settled nothing",
            );
        }
        End::Returned | End::Open => return Link::skipped(Name::Receipt, "there is none"),
    };

    let Some(said) = shown_receipt else {
        return Link::skipped(
            Name::Receipt,
            "the gateway shows none, though the vault settled the run",
        );
    };

    // The refund is known from the event or the receipt, else it is what is left of the escrow.
    let settled = case.receipt.as_ref().map(|(_, receipt)| receipt);
    let refund = event(case).map(|event| event.refund).or(settled.map(|receipt| receipt.refund));
    let refund = refund.or_else(|| refund_of(case, case.terms.as_ref()?, charge));
    let developer = case.terms.as_ref().map(|terms| terms.developer.to_string());

    let wrong = [
        differs("charge", charge, said.actual_charge),
        // A receipt of a former release names no fee, since there was none.
        fee(case).and_then(|fee| differs("fee", fee, said.runner_fee.unwrap_or_default())),
        refund.and_then(|refund| differs("refund", refund, said.refund)),
        developer.and_then(|developer| differs("developer", developer, said.developer.clone())),
        differs("output hash", output_hash, said.output_hash),
        differs("run", shown.run_id, said.run_id),
    ];
    Link::unless(
        Name::Receipt,
        format!("{} charged, as the vault says", case.show(charge)),
        wrong.into_iter().flatten(),
    )
}

/// The refund is what charge and fee leave of the escrow.
fn refund_of(case: &Case<'_>, terms: &RunTerms, charge: i128) -> Option<i128> {
    let escrow = terms.max_charge.saturating_add(terms.runner_fee);
    Some(escrow.saturating_sub(charge).saturating_sub(fee(case)?))
}

/// The account's running hash holds this receipt.
pub(super) fn account(case: &Case<'_>) -> Link {
    if case.end == End::Returned {
        return Link::skipped(Name::Account, "an attempt that charges nothing has no receipt");
    }
    let (Some(account), Some(list)) = (&case.facts.account, &case.facts.receipts) else {
        return Link::skipped(Name::Account, "the account's receipts are not at hand");
    };

    // The list agrees with itself, is this user's, and does not contradict the vault.
    if let Err(error) = list.check() {
        return Link::broken(Name::Account, format!("the list of receipts: {error}"));
    }
    let user = case.terms.as_ref().map(|terms| terms.user.to_string());
    if let Some(user) = user.filter(|user| *user != list.user) {
        return Link::broken(
            Name::Account,
            format!("the list of receipts is {}'s, not {user}'s", list.user),
        );
    }

    let (end, hash) = list.end().unwrap_or((account.count, list.before));
    if end > account.count || (end == account.count && hash != account.hash) {
        return Link::broken(
            Name::Account,
            format!(
                "the vault counts {} receipts with running hash {}, the list ends at {end} with \
                 {hash}",
                account.count, account.hash
            ),
        );
    }

    if let Some(event) = event(case).filter(|event| event.receipt_number > account.count) {
        return Link::broken(
            Name::Account,
            format!(
                "the attempt is receipt {}, but the account has only {}",
                event.receipt_number, account.count
            ),
        );
    }

    // The hash of the newest receipt is the account's own: no list is needed to check it.
    if let Some(event) = event(case).filter(|event| event.receipt_number == account.count) {
        let wrong = differs("running hash", account.hash, event.receipts_hash);
        let number = event.receipt_number;
        let detail = format!("receipt {number}, the account's newest, is in its running hash");
        return Link::unless(Name::Account, detail, wrong);
    }

    match &case.receipt {
        _ if end < account.count => Link::skipped(
            Name::Account,
            format!("receipts {} to {} are not at hand", end + 1, account.count),
        ),
        Some((number, _)) => Link::ok(
            Name::Account,
            format!(
                "receipt {number} of {}; the running hash follows from all texts since",
                account.count
            ),
        ),
        None => Link::skipped(
            Name::Account,
            format!(
                "the texts of the account's {} receipts do not reach back to this one; keep a list \
                 with: lumio receipts export",
                account.count
            ),
        ),
    }
}

/// Whether the vault settled this usage: by the event or the receipt, which hold it, else by the
/// record's digest, if that fits a runner that is known. `None` if it cannot be known any more.
pub(super) fn settles(case: &Case<'_>, usage: &Usage) -> Option<bool> {
    if let Some(event) = event(case) {
        return Some(event.usage == *usage);
    }
    if let Some((_, receipt)) = &case.receipt {
        return Some(receipt.usage == *usage);
    }

    // That it fits no settler who is known proves nothing, as `records_usage` says.
    case.shown?.records_usage(usage).then_some(true)
}

/// The links of an attempt that has no files: one that failed before it was executed, or whose
/// escrow went back.
pub(super) fn failure(case: &Case<'_>) -> Vec<Link> {
    // Whether an attempt was executed that was then given up, nothing here says.
    let (seal, absent) = match case.end {
        End::Settled { output_hash, .. } => {
            let text = format!(
                "output hash {output_hash} is the digest of the failure that the gateway describes"
            );
            (Link::ok(Name::Seal, text), "the run was never executed")
        }
        End::Returned | End::Open => (
            Link::skipped(Name::Seal, "the escrow went back without a settlement"),
            "the escrow went back, so that no charge commits to files, and none are at hand",
        ),
    };
    let rest = [
        Name::Usage,
        Name::Statement,
        Name::Times,
        Name::Manifest,
        Name::Files,
        Name::Module,
        Name::Gates,
    ];
    std::iter::once(seal).chain(rest.map(|name| Link::skipped(name, absent))).collect()
}
