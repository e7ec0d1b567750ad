//! What the links prove together, on whom it rests, and what was not looked at.

use wire::Usage;
use wire::statement::Verdict;

use super::attempts::{Attempts, Coverage, Outcome};
use super::stated::Stated;
use super::{Case, End};
use crate::verify::link::{Conclusion, Link, LinkState, Name};

pub(super) fn draw(
    case: &Case<'_>,
    stated: Option<&Stated>,
    attempts: &Attempts,
    links: &[Link],
) -> Conclusion {
    Conclusion {
        proven: vec![cost(case, attempts), bought(case, stated)],
        cost: known_cost(case, attempts, links),
        at_least: at_least(case, attempts),
        rests_on: rests_on(stated, attempts),
        not_looked_at: not_looked_at(case, attempts, links),
    }
}

/// What the run cost, over all its attempts.
fn cost(case: &Case<'_>, attempts: &Attempts) -> String {
    let sum = &attempts.sum;
    let by_record = || Some(case.shown?.record.as_ref()?.user);
    let user = case.terms.as_ref().map(|terms| terms.user).or_else(by_record);
    let user = user.map(|user| user.to_string()).unwrap_or_default();
    let over = match attempts.attempts.len() {
        1 => "in its one attempt".to_owned(),
        many => format!("over {many} attempts"),
    };
    match (sum.charge, sum.fee) {
        (0, 0) => format!("the run cost {user} nothing, {over}"),
        (charge, 0) => format!("the run cost {user} {}, {over}", case.show(charge)),
        (charge, fee) => format!(
            "the run cost {user} {} in all, {over}: {} charged and {} as the runner's fee",
            case.show(sum.total),
            case.show(charge),
            case.show(fee)
        ),
    }
}

/// The cost, where the chain alone proves it. What was bought may be unknown beside it.
fn known_cost(case: &Case<'_>, attempts: &Attempts, links: &[Link]) -> Option<String> {
    let holds =
        |name: Name| links.iter().any(|link| link.link == name && link.state == LinkState::Ok);
    let is_known = [Name::Vault, Name::Charge, Name::Attempts].into_iter().all(holds);
    (is_known && attempts.sum.complete).then(|| cost(case, attempts))
}

/// What may be said when other attempts could not be looked for.
fn at_least(case: &Case<'_>, attempts: &Attempts) -> Option<String> {
    let sum = &attempts.sum;
    if sum.complete || attempts.attempts.is_empty() {
        return None;
    }
    let why = match &attempts.coverage {
        Err(reason) => format!("other attempts could not be looked for: {reason}"),
        Ok(_) => "an attempt is open, or what it came to is not known".to_owned(),
    };
    Some(format!("at least {}; {why}", case.show(sum.total)))
}

/// What the shown attempt's charge was for.
fn bought(case: &Case<'_>, stated: Option<&Stated>) -> String {
    let attempt = case.bundle.claim.attempt();
    let charge = match case.end {
        End::Settled { charge, .. } => charge,
        End::Returned => {
            return format!("attempt {attempt}: the whole escrow went back to the user");
        }
        End::Open => return format!("attempt {attempt}: it has not been settled"),
    };
    let Some(stated) = stated else {
        return format!(
            "attempt {attempt}: it was never executed; its failure is committed to on chain"
        );
    };
    let Usage { llm_in, llm_out, http_calls, runtime_ms } = stated.usage();
    let used = format!("{runtime_ms} ms, {llm_in} + {llm_out} tokens and {http_calls} calls");
    let paid = format!("{} for {used}, at prices pinned before the run", case.show(charge));
    match (stated.execution.verdict, stated.execution.code) {
        (Verdict::Pass, _) => format!(
            "attempt {attempt}: {paid}; output files and module are byte for byte what the charge \
             commits to"
        ),
        (verdict, code) => {
            let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
            format!("attempt {attempt}: {paid}; it ended with {verdict}{code} and has no outputs")
        }
    }
}

fn rests_on(stated: Option<&Stated>, attempts: &Attempts) -> Vec<String> {
    let mut lines = vec!["what the chain holds: your own RPC".to_owned()];
    if let Some(stated) = stated {
        lines.push(format!(
            "that the module really ran so, and used this much: the key {}, which the agent's \
             developer accepted on chain",
            stated.signer()
        ));
    }
    if matches!(attempts.coverage, Ok(Coverage::Since(_))) {
        lines.push(
            "that no attempt is older: the time in the run's id, which you have had since you \
             started the run"
                .to_owned(),
        );
    }
    lines
}

fn not_looked_at(case: &Case<'_>, attempts: &Attempts, links: &[Link]) -> Vec<String> {
    let shown = case.shown.map(|shown| shown.run_id);
    let others = attempts.attempts.iter().filter(|attempt| {
        let charged =
            matches!(attempt.outcome, Outcome::Settled { charge, fee } if charge > 0 || fee > 0);
        charged && Some(attempt.run_id) != shown
    });
    let others = others.map(|attempt| {
        let number = attempt.attempt;
        format!("what attempt {number} was charged for: lumio verify RUN --attempt {number}")
    });

    // That a run without a statement has no files is said already.
    let skipped = links.iter().filter(|link| link.state == LinkState::Skipped);
    let skipped = skipped.filter(|link| {
        matches!(
            link.link,
            Name::Terms | Name::Rates | Name::Request | Name::Account | Name::Receipt
        )
    });
    let skipped = skipped.map(|link| format!("{}: {}", link.link.as_str(), link.detail));

    // The detail of a link that holds ends with what was not compared.
    let partly =
        links.iter().find(|link| link.link == Name::Request && link.state == LinkState::Ok);
    let partly = partly.and_then(|link| link.detail.rsplit_once("; "));
    let partly = partly.filter(|(_, rest)| rest.ends_with("not compared"));

    // Files of an attempt that was not settled are the gateway's word: no charge commits to them.
    let is_uncommitted = case.end == End::Returned && case.bundle.pack().is_dir();
    let files = is_uncommitted.then(|| {
        "whether the files are what the module left: the chain holds no output hash of them"
            .to_owned()
    });
    others.chain(skipped).chain(files).chain(partly.map(|(_, rest)| rest.to_owned())).collect()
}
