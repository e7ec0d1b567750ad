//! The links that the chain holds by itself.

use serde_json::json;
use stellar::amount::show;
use stellar::ids::{self, RunIdentity};
use stellar::vault::{Lifecycle, RunTerms, settlement_hash};
use wire::{Digest, Usage};

use super::{Case, End, Link, Name, differs};

/// How long a record lives after its deadline, in seconds (V3).
const AFTERLIFE: u64 = 24 * 3_600;

/// The run's id on chain is the one that this run has in our vault on our network.
pub(super) fn vault(case: &Case<'_>) -> Link {
    let (facts, own) = (case.facts, case.own);
    let network = differs("network", own.network.passphrase(), facts.network.as_str());
    let read = differs("vault", own.vault.0.to_string(), facts.vault.to_string());
    let claimed = case.bundle.claim.vault.as_deref();
    let claimed = claimed.and_then(|claimed| {
        differs("the gateway names another vault", own.vault.0.to_string().as_str(), claimed)
    });
    let registry = match facts.registry {
        None => Some(format!("there is no vault {}", own.vault.0)),
        Some(registry) => differs("the vault's registry", own.registry.0, registry),
    };
    let wrong: Vec<_> = [network, read, claimed, registry].into_iter().flatten().collect();
    if !wrong.is_empty() {
        return Link::broken(Name::Vault, wrong.join("; "));
    }
    if facts.is_silent() {
        return silence(case);
    }
    let Some(terms) = &case.terms else {
        return Link::unknown(
            Name::Vault,
            "the opened event is outside the RPC's retention, and no terms with the recorded hash \
                are at hand",
        );
    };
    let claim = &case.bundle.claim;
    let identity = RunIdentity {
        network: &own.network,
        vault: &own.vault.0,
        user: &terms.user,
        caller: &terms.opened_by,
        nonce: &ids::nonce(claim.id.as_uuid(), claim.attempt),
        deadline: terms.deadline,
    };
    match ids::run_id(&identity) {
        Ok(id) if id == facts.run_id => {
            Link::ok(Name::Vault, format!("run {id} in vault {}", own.vault.0))
        }
        Ok(id) => Link::broken(
            Name::Vault,
            format!("this run's id in vault {} is {id}, not {}", own.vault.0, facts.run_id),
        ),
        Err(error) => Link::unknown(Name::Vault, error.to_string()),
    }
}

/// A vault that knows nothing of a run whose record must still live is not the run's vault.
fn silence(case: &Case<'_>) -> Link {
    let deadline = case.bundle.claim.terms.as_ref().map(|terms| terms.deadline);
    match deadline {
        Some(deadline) if case.facts.ledger_time > deadline.saturating_add(AFTERLIFE) => {
            Link::unknown(
                Name::Vault,
                "the run's record has ended and its events are outside the RPC's retention; \
                    verify an exported bundle, or ask an RPC that keeps more",
            )
        }
        _ => Link::broken(
            Name::Vault,
            format!("vault {} knows nothing of run {}", case.own.vault.0, case.facts.run_id),
        ),
    }
}

/// The terms have the hash that the record holds.
pub(super) fn terms(case: &Case<'_>) -> Link {
    let Some(terms) = &case.terms else {
        return Link::unknown(Name::Terms, "no terms are known that the chain vouches for");
    };
    let claimed = case.bundle.claim.terms.as_ref();
    if claimed.is_some_and(|claimed| claimed != terms) {
        return Link::broken(
            Name::Terms,
            "the gateway's terms are not those that the vault recorded when the run was opened",
        );
    }
    let user = case.bundle.claim.text("user").unwrap_or_default();
    if user != terms.user.to_string() {
        return Link::broken(
            Name::Terms,
            format!("the gateway says that {user} pays, the vault says {}", terms.user),
        );
    }
    match (&case.facts.record, terms.hash()) {
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

/// Prices and module are those of the developer's rate card.
pub(super) fn rates(case: &Case<'_>) -> Link {
    let Some(terms) = &case.terms else { return Link::unknown(Name::Rates, "no terms are known") };
    let highest = wire::usage::charge(&terms.rates, &terms.budgets);
    if highest != Some(terms.max_charge) {
        return Link::broken(
            Name::Rates,
            format!(
                "prices times budgets are not the highest charge of {}",
                show(terms.max_charge)
            ),
        );
    }
    let version = terms.rate_version;
    match &case.facts.rate_card {
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

/// Charge is prices times usage; charge, fee and refund are the escrow. `stated` is the usage of
/// the verified statement, if there is one.
pub(super) fn charge(case: &Case<'_>, stated: Option<Usage>) -> Link {
    let charge = match case.end {
        End::Open if is_overdue(case) => {
            return Link::unknown(
                Name::Charge,
                "the deadline has passed, and the escrow has not been returned yet; anybody may \
                    return it with: lumio escrow reclaim",
            );
        }
        End::Open => return Link::unknown(Name::Charge, "the run is not settled"),
        End::Returned => {
            return Link::ok(Name::Charge, "nothing was charged; the whole escrow went back");
        }
        End::Settled { charge, .. } => charge,
    };
    let Some(terms) = &case.terms else { return Link::unknown(Name::Charge, "no terms are known") };
    let event = case.facts.finalized.as_ref();
    let known = event.map(|event| event.usage).or(stated).or((charge == 0).then(Usage::default));
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
            show(charge),
            computed.map_or_else(|| "too large".to_owned(), show)
        )
    });
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
        0 => String::new(),
        fee => format!("; {} went to the runner as its fee", show(fee)),
    };
    let detail = format!("{} = pinned prices × metered usage{fee}", show(charge));
    Link::unless(Name::Charge, detail, wrong)
}

/// The runner's flat fee. A settlement always pays it, whatever the charge.
pub(super) fn fee(case: &Case<'_>) -> i128 {
    let event = case.facts.finalized.as_ref().map(|event| event.runner_fee);
    event.or_else(|| case.terms.as_ref().map(|terms| terms.runner_fee)).unwrap_or_default()
}

fn is_overdue(case: &Case<'_>) -> bool {
    case.facts.record.as_ref().is_some_and(|record| case.facts.ledger_time >= record.deadline)
}

/// The gateway's receipt says what the vault did.
pub(super) fn receipt(case: &Case<'_>) -> Link {
    let claim = &case.bundle.claim;
    if case.facts.is_silent() {
        return Link::unknown(Name::Receipt, "the chain says nothing to compare with");
    }
    let (charge, output_hash) = match case.end {
        End::Settled { charge, output_hash } => (charge, output_hash),
        End::Returned | End::Open if claim.has_receipt() => {
            return Link::broken(
                Name::Receipt,
                "the gateway shows a receipt, but the vault settled nothing",
            );
        }
        End::Returned | End::Open => return Link::skipped(Name::Receipt, "there is none"),
    };
    if !claim.has_receipt() {
        return Link::skipped(
            Name::Receipt,
            "the gateway shows none, though the vault settled the run",
        );
    }
    let said = |name: &str| claim.inner("receipt", name).unwrap_or("nothing").to_owned();
    let refund = case.facts.finalized.as_ref().map(|event| event.refund);
    let refund = refund.or_else(|| case.terms.as_ref().map(|terms| refund_of(terms, charge)));
    let wrong = [
        differs("charge", charge.to_string(), said("actualCharge")),
        refund.and_then(|refund| differs("refund", refund.to_string(), said("refund"))),
        case.terms
            .as_ref()
            .and_then(|terms| differs("developer", terms.developer.to_string(), said("developer"))),
        claim
            .inner("receipt", "outputHash")
            .and_then(|hash| differs("output hash", output_hash.to_string().as_str(), hash)),
    ];
    Link::unless(
        Name::Receipt,
        format!("{} charged, as the vault says", show(charge)),
        wrong.into_iter().flatten(),
    )
}

/// The refund is what is left of the highest charge; the fee is beside it.
fn refund_of(terms: &RunTerms, charge: i128) -> i128 {
    terms.max_charge.saturating_sub(charge)
}

/// The account's running hash holds this receipt.
pub(super) fn account(case: &Case<'_>) -> Link {
    let (Some(event), Some(account)) = (&case.facts.finalized, &case.facts.account) else {
        return Link::skipped(
            Name::Account,
            "the settlement's event is not at hand; the account's running hash needs the exported \
                list of its receipts",
        );
    };
    let number = event.receipt_number;
    match account.count {
        count if count < number => Link::broken(
            Name::Account,
            format!("the run is receipt {number}, but the account has only {count}"),
        ),
        count if count > number => Link::skipped(
            Name::Account,
            format!(
                "the run is receipt {number} of {count}; older ones need the exported list of \
                    receipts"
            ),
        ),
        _ => Link::unless(
            Name::Account,
            format!("receipt {number}, the account's newest, is in its running hash"),
            differs("running hash", account.hash, event.receipts_hash),
        ),
    }
}

/// What the vault knows the settlement by, if its record lives.
pub(super) fn settles(case: &Case<'_>, usage: &Usage) -> Option<bool> {
    if let Some(event) = &case.facts.finalized {
        return Some(event.usage == *usage);
    }
    let record = case.facts.record.as_ref()?;
    let Lifecycle::Finalized { settlement, .. } = record.lifecycle else { return None };
    settlement_hash(&record.opened_by, usage).ok().map(|hash| hash == settlement)
}

/// The digest of the failure that the gateway tells.
pub(super) fn failure_digest(case: &Case<'_>) -> Option<Digest> {
    let claim = &case.bundle.claim;
    let document = json!({
        "kind": "lumio-failure-v1",
        "run_id": claim.id,
        "attempt": claim.attempt,
        "code": claim.text("errorCode")?,
        "reason": claim.text("error").unwrap_or_default(),
    });
    wire::json::digest(&document).ok()
}

/// The links of a run that was never executed.
pub(super) fn failure(case: &Case<'_>) -> Vec<Link> {
    const ABSENT: &str = "the run was never executed";
    let seal = match case.end {
        End::Settled { output_hash, .. } => Link::ok(
            Name::Seal,
            format!(
                "output hash {output_hash} is the digest of the failure that the gateway tells"
            ),
        ),
        End::Returned | End::Open => {
            Link::skipped(Name::Seal, "the escrow went back without a settlement")
        }
    };
    let rest =
        [Name::Usage, Name::Statement, Name::Manifest, Name::Files, Name::Module, Name::Gates];
    std::iter::once(seal).chain(rest.map(|name| Link::skipped(name, ABSENT))).collect()
}
