//! The link that holds by addition: what the module asked of services, call by call (E6).

use seal::OUTPUTS_DIR;
use wire::causes;
use wire::egress::{BODIES_FILE, CALLS_FILE, Call, Egress, compare_bodies, recompute};
use wire::statement::Verdict;

use super::stated::Stated;
use super::{Case, Link, Name};

/// The link, where the statement speaks of services at all, and the calls of a list that holds.
pub(super) fn read(case: &Case<'_>, stated: Option<&Stated>) -> (Option<Link>, Vec<Call>) {
    // Without a verified statement there is nothing to compare with, and its own link says so.
    let Some(execution) = stated.map(|stated| &stated.execution) else { return (None, Vec::new()) };
    let Some(egress) = &execution.egress else { return (None, Vec::new()) };
    if execution.verdict == Verdict::Inconclusive && egress.listed > 0 {
        let why = "the execution was inconclusive: nothing was charged, and no list is kept";
        return (Some(Link::skipped(Name::Calls, why)), Vec::new());
    }
    match judge(case, egress) {
        Ok((detail, calls)) => (Some(Link::ok(Name::Calls, detail)), calls),
        Err(link) => (Some(link), Vec::new()),
    }
}

/// Recomputes the root, every sum, and the digests of the bodies that were kept.
fn judge(case: &Case<'_>, egress: &Egress) -> Result<(String, Vec<Call>), Link> {
    let file = |name: &str| {
        let path = format!("pack/{OUTPUTS_DIR}/{name}");
        case.bundle.read(&path).map_err(|error| Link::unknown(Name::Calls, error.to_string()))
    };

    // A run that asked for nothing has no list, which is the list of nothing.
    let list = match file(CALLS_FILE)? {
        Some(list) => list,
        None if egress.listed == 0 => Vec::new(),
        None => {
            let why = format!("the pack has no {OUTPUTS_DIR}/{CALLS_FILE}");
            return Err(Link::broken(Name::Calls, why));
        }
    };
    let broken = |error| Link::broken(Name::Calls, causes(&error));
    let calls = recompute(&list, egress).map_err(broken)?;
    let bodies = match file(BODIES_FILE)? {
        Some(bodies) => Some(compare_bodies(&bodies, &calls).map_err(broken)?),
        None => None,
    };
    Ok((detail(egress, bodies), calls))
}

fn detail(egress: &Egress, bodies: Option<usize>) -> String {
    let services = egress.upstreams.iter().map(|upstream| {
        let mut text = format!("{} of {}", number(upstream.calls, "call"), upstream.name);
        if upstream.refused > 0 {
            text.push_str(&format!(", {} refused", upstream.refused));
        }
        if upstream.inconclusive > 0 {
            text.push_str(&format!(", {} without a certain usage", upstream.inconclusive));
        }
        text
    });
    let mut parts: Vec<String> = services.collect();
    parts.push(format!("they add up to what is stated, with root {}", egress.root));
    if let Some(bodies) = bodies {
        parts.push(format!("{} kept, as listed", number(bodies as u64, "call's body")));
    }
    if egress.unlisted_refusals > 0 {
        let more = number(egress.unlisted_refusals, "further refusal");
        parts.push(format!("{more} after the list was full, which nothing lists"));
    }
    parts.join("; ")
}

fn number(count: u64, one: &str) -> String {
    let plural = match one {
        "call's body" => "calls' bodies".to_owned(),
        word => format!("{word}s"),
    };
    if count == 1 { format!("1 {one}") } else { format!("{count} {plural}") }
}
