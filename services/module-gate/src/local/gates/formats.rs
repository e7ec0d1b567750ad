//! The result of a gate in the forms that other programs read: JUnit XML, SARIF, TAP, GitHub
//! annotations, text.

use serde_json::{Value, json};
use wire::statement::Verdict;

use super::{GateFailure, GateSummary, Status};
use crate::judging::judge::TestStatus;

/// Most annotations that GitHub takes of one step.
const MAX_ANNOTATIONS: usize = 50;

/// One line of a report: a test or an oracle case.
struct Entry<'a> {
    module: &'a str,
    name: String,
    status: Status,
    duration_ms: u64,
    reason: &'a str,
    code: &'a str,
}

fn entries(summary: &GateSummary) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    for detail in &summary.details {
        for test in &detail.tests {
            let status = match test.status {
                TestStatus::Passed => Status::Pass,
                TestStatus::Skipped => Status::Skipped,
                TestStatus::Failed => Status::Fail,
            };
            let (reason, code) = test
                .finding
                .as_ref()
                .map_or(("", ""), |finding| (finding.reason.as_str(), finding.code.as_str()));
            let name = format!("test {}", test.test);
            entries.push(Entry {
                module: &detail.module,
                name,
                status,
                duration_ms: test.duration_ms,
                reason,
                code,
            });
        }
        for case in &detail.cases {
            let status = if case.finding.is_none() { Status::Pass } else { Status::Fail };
            let (reason, code) = case
                .finding
                .as_ref()
                .map_or(("", ""), |finding| (finding.reason.as_str(), finding.code.as_str()));
            let name = format!("oracle {}", case.name);
            entries.push(Entry {
                module: &detail.module,
                name,
                status,
                duration_ms: case.duration_ms,
                reason,
                code,
            });
        }
    }

    // What is about no test and no case, such as a manifest.
    for failure in
        summary.failures.iter().filter(|failure| failure.test.is_none() && failure.case.is_none())
    {
        entries.push(Entry {
            module: failure.module.as_deref().unwrap_or("plan"),
            name: format!("gate {}", failure.code),
            status: Status::Fail,
            duration_ms: 0,
            reason: &failure.error,
            code: &failure.code,
        });
    }
    entries
}

/// JUnit XML: a suite for each module.
pub fn junit(summary: &GateSummary) -> String {
    let entries = entries(summary);
    let count = |module: Option<&str>, status: Status| {
        entries
            .iter()
            .filter(|entry| {
                module.is_none_or(|module| entry.module == module) && entry.status == status
            })
            .count()
    };
    let mut modules: Vec<&str> = entries.iter().map(|entry| entry.module).collect();
    modules.sort_unstable();
    modules.dedup();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{}\" tests=\"{}\" \
         failures=\"{}\" skipped=\"{}\" time=\"{}\">\n",
        xml_text(&summary.run_id),
        entries.len(),
        count(None, Status::Fail),
        count(None, Status::Skipped),
        seconds(summary.duration_ms)
    );
    for module in modules {
        let own: Vec<&Entry<'_>> = entries.iter().filter(|entry| entry.module == module).collect();
        xml.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" \
             time=\"{}\">\n",
            xml_text(module),
            own.len(),
            count(Some(module), Status::Fail),
            count(Some(module), Status::Skipped),
            seconds(own.iter().map(|entry| entry.duration_ms).sum())
        ));
        for entry in own {
            let (name, class) = (xml_text(&entry.name), xml_text(module));
            let inner = match entry.status {
                Status::Pass => String::new(),
                Status::Skipped => "<skipped/>".to_owned(),
                Status::Fail => format!(
                    "<failure type=\"{}\" message=\"{}\">{}</failure>",
                    xml_text(entry.code),
                    xml_text(entry.reason.lines().next().unwrap_or_default()),
                    xml_text(entry.reason)
                ),
            };
            let time = seconds(entry.duration_ms);
            xml.push_str(&format!(
                "    <testcase classname=\"{class}\" name=\"{name}\" \
                time=\"{time}\">{inner}</testcase>\n"
            ));
        }
        xml.push_str("  </testsuite>\n");
    }
    xml + "</testsuites>\n"
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

/// Text in XML: what XML has no place for becomes U+FFFD.
fn xml_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // A line end in an attribute would be read as a space.
            '\n' => out.push_str("&#10;"),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                out.push('\u{fffd}')
            }
            letter => out.push(letter),
        }
    }
    out
}

/// TAP version 14.
pub fn tap(summary: &GateSummary) -> String {
    let entries = entries(summary);
    let mut text = format!("TAP version 14\n1..{}\n", entries.len());
    for (number, entry) in entries.iter().enumerate() {
        let ok = if entry.status == Status::Fail { "not ok" } else { "ok" };
        let skip = if entry.status == Status::Skipped { " # SKIP" } else { "" };
        let name =
            format!("{}: {}", entry.module, entry.name).replace('\\', "\\\\").replace('#', "\\#");
        text.push_str(&format!("{ok} {} - {}{skip}\n", number + 1, one_line(&name)));
        if entry.status == Status::Fail {
            // JSON is YAML.
            let block = json!({ "code": entry.code, "message": entry.reason,
                "duration_ms": entry.duration_ms });
            text.push_str(&format!("  ---\n  {block}\n  ...\n"));
        }
    }
    text
}

fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// GitHub's annotations: commands on standard output, at most fifty.
pub fn github(summary: &GateSummary) -> String {
    let escape = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| escape(text).replace(':', "%3A").replace(',', "%2C");
    let mut lines = String::new();

    // The last place is kept for the line that says how many more there are.
    let shown = summary.failures.iter().take(MAX_ANNOTATIONS - 1);
    for failure in shown {
        let module = failure.module.as_deref().unwrap_or("plan");
        let file = failure
            .file
            .as_ref()
            .map_or_else(String::new, |file| format!(",file={}", property(file)));
        let line = failure.line.map_or_else(String::new, |line| format!(",line={line}"));
        let title = property(&format!("{} {module}", failure.code));
        lines.push_str(&format!("::error title={title}{file}{line}::{}\n", escape(&failure.error)));
    }
    for warning in
        summary.warnings.iter().take(MAX_ANNOTATIONS.saturating_sub(summary.failures.len() + 1))
    {
        lines.push_str(&format!(
            "::warning title={}::{}\n",
            warning.code,
            escape(&warning.message)
        ));
    }
    if summary.failures.len() >= MAX_ANNOTATIONS {
        let more = summary.failures.len() - (MAX_ANNOTATIONS - 1);
        lines.push_str(&format!(
            "::error title=more::{more} more failures are in the JSON summary\n"
        ));
    }
    lines
}

/// SARIF 2.1.0: one result for each failure.
pub fn sarif(summary: &GateSummary) -> Value {
    let mut codes: Vec<&str> =
        summary.failures.iter().map(|failure| failure.code.as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    let result = |failure: &GateFailure| {
        let module = failure.module.as_deref().unwrap_or("plan");

        // A reader of SARIF shows a result at a file; without a better one it is the manifest.
        let file = failure.file.as_deref().or(failure.test.as_deref()).unwrap_or("module.json");
        json!({
            "ruleId": failure.code,
            "level": if failure.code == "E_GUARD_INCOMPLETE" { "warning" } else { "error" },
            "message": { "text": format!("{module}: {}", failure.error) },
            "locations": [{ "physicalLocation": {
                "artifactLocation": { "uri": uri(&format!("{module}/{file}")) },
                "region": { "startLine": failure.line.unwrap_or(1) },
            } }],
        })
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "module-gate",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(|code| json!({ "id": code })).collect::<Vec<_>>(),
            } },
            "invocations": [{
                "executionSuccessful": summary
                    .verdict
                    .is_some_and(|verdict| verdict != Verdict::Inconclusive),
            }],
            "results": summary.failures.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

/// A path as a relative reference: every byte that has a special meaning is escaped.
fn uri(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// For people.
pub fn text(summary: &GateSummary) -> String {
    let verdict =
        summary.verdict.map_or_else(|| "NO VERDICT".to_owned(), |verdict| verdict.to_string());
    let code = summary.code.as_ref().map_or_else(String::new, |code| format!(" {code}"));
    let mut lines = vec![format!("{verdict} {}{code}", summary.run_id)];
    let (results, tests, oracles) = (&summary.results, &summary.tests, &summary.oracles);
    lines.push(format!("  modules  {} passed, {} failed", results.passed, results.failed));
    lines.push(format!(
        "  tests    {} of {} passed, {} failed, {} skipped",
        tests.passed, tests.total, tests.failed, tests.skipped
    ));
    lines.push(format!(
        "  oracles  {} of {} cases repeat equal, {} attempts",
        oracles.passed, oracles.cases, oracles.attempts
    ));
    for phase in &summary.phases {
        let status = match phase.status {
            Status::Pass => "pass",
            Status::Fail => "fail",
            Status::Skipped => "skipped",
        };
        lines.push(format!("  phase    {:<20} {status:<8} {} ms", phase.name, phase.dur_ms));
    }
    for (module, effects) in &summary.side_effects.modules {
        let seen = if effects.observed_operations.is_empty() {
            "nothing".to_owned()
        } else {
            effects.observed_operations.join(", ")
        };
        lines.push(format!(
            "  effects  {module}: declared [{}], seen {seen}",
            effects.declared.join(", ")
        ));
    }
    let runtime = &summary.runtime;
    lines.push(format!(
        "  runtime  {} {}, reads outside: {}",
        runtime.node, runtime.node_version, runtime.reads
    ));
    lines.extend(
        summary
            .warnings
            .iter()
            .map(|warning| format!("  warning  {}: {}", warning.code, warning.message)),
    );
    for failure in &summary.failures {
        let module = failure.module.as_deref().unwrap_or("plan");
        lines.push(format!("  failure  {} {module}: {}", failure.code, failure.error));
    }
    if summary.verdict.is_none() {
        lines.push(
            "  reads were let through (--lenient-reads): this is a report, not a verdict; \
            run again without it"
                .to_owned(),
        );
    }
    lines.join("\n") + "\n"
}
