//! The table of all cases in `docs/`, written by the command that ran them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use guard::Verdict;

use crate::case::{Case, Program, end};
use crate::{ordinary, traps};

const HEAD: &str = "\
# What the guard is held against

Every case is a real program run under the guard, as root (the command then runs as a user who \
owns nothing) and as an ordinary user. Made by

    cargo test -p side-effect-guard --test adversarial -- --ignored write_table

in five minutes, and checked by `cargo test -p side-effect-guard --test adversarial`, which runs
those of classes F and G and a third of the others, and with `LUMIO_LONG=1` all of them.
*Seen* is the verdict on the machine that wrote this table; where one
word applies to both users, both saw the same. Beside its verdict every case is held to this: \
nothing outside the root changed, and nothing inside it
where the change was not declared. *strict* means that reads outside are denied. The C programs \
are in `crates/guard/tests/adversarial/programs`,
one function a case.

Where another supervisor already listens, the guard traces instead. *traced* is the verdict there, \
where it is another; every case is run in that
tier too, by `cargo test -p side-effect-guard --test adversarial -- --ignored \
every_case_holds_beside`, and a good part of them by the tests that always
run. Only there a command can see that it is watched: one that looks is not believed.

";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guard-cases.md")
}

fn titles() -> [(&'static str, &'static str); 8] {
    [
        ("A", "Changes inside the root, by Node"),
        ("B", "Changes inside the root, by the kernel's own doors"),
        ("C", "Changes outside the root, and names that only look like it"),
        ("D", "Processes and limits"),
        ("E", "Network, and reading what is not the module's"),
        ("F", "Tampering with the guard"),
        ("G", "Arguments rewritten while they are looked at, and doors without a path"),
        ("OK", "What must pass"),
    ]
}

/// A row without its results: what makes the table current.
fn key(case: &Case) -> String {
    let program = match case.program {
        Program::Probe(name, "") if case.argument.is_empty() => format!("C `{name}`"),
        Program::Probe(name, "") => format!("C `{name} {}`", case.argument),
        Program::Probe(name, prefix) => format!("C `{name} {prefix}`"),
        Program::Module(text) => format!("Node, ES module: {}", code(text)),
        Program::Script(text) => format!("Node: {}", code(text)),
        Program::Shell(text) => format!("sh: {}", code(text)),
    };
    let declared: Vec<&str> = case.declared.iter().map(|one| one.name()).collect();
    let strict = if case.strict { " strict" } else { "" };
    let traced = case.traced.map_or_else(String::new, |owed| format!("; traced: {owed}"));
    format!(
        "| {} | {program} | {}{strict} | {}{traced} |",
        case.name,
        declared.join(" "),
        case.expect
    )
}

/// One line, short, without what ends a cell.
fn code(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = line.chars().take(110).collect();
    let dots = if short.len() < line.len() { " …" } else { "" };
    format!("`` {}{dots} ``", short.replace('|', "\\|"))
}

/// What was seen, in a few words; with what is wrong.
fn seen(case: &Case) -> String {
    if !case.can_run() {
        return "not on this machine".to_owned();
    }
    let (report, result) = case.run();
    let text = match (report.verdict, report.code) {
        (Verdict::Pass, _) => "PASS".to_owned(),
        (_, Some(guard::Code::Exec)) => format!("E_ORACLE_EXEC, {}", end(&report.exit)),
        (_, code) => code.map(|code| code.to_string()).unwrap_or_default(),
    };
    match result {
        Ok(()) => text,
        Err(wrong) => format!("**{text}: {wrong}**"),
    }
}

/// In the order of the cases, some at a time.
fn all_seen(cases: &[Case]) -> Vec<String> {
    const AT_ONCE: usize = 6;
    let parts = cases.chunks(cases.len().div_ceil(AT_ONCE).max(1));
    std::thread::scope(|scope| {
        let runs: Vec<_> = parts
            .map(|part| scope.spawn(move || part.iter().map(seen).collect::<Vec<_>>()))
            .collect();
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect()
    })
}

/// Run by `write_table` as the ordinary user, and beside another supervisor: one line a case.
#[test]
#[ignore = "the results of one setting, for write_table"]
fn results_for_the_table() {
    for text in all_seen(&chosen(&crate::all(), &rows())) {
        println!("\u{1}{text}");
    }
}

#[test]
#[ignore = "writes docs/guard-cases.md"]
fn write_table() {
    write(&crate::all(), |_| None);
}

/// What was seen of the other cases stays as it is.
#[test]
#[ignore = "writes the rows that docs/guard-cases.md lacks"]
fn write_missing_rows() {
    let text = std::fs::read_to_string(path()).unwrap_or_default();
    write(&crate::all(), |case| {
        let key = key(case);
        let line = text.lines().find(|line| line.starts_with(&key))?;
        Some(line.strip_prefix(&key)?.trim().trim_end_matches('|').trim().to_owned())
    });
}

/// Runs the cases of which nothing is known, in every setting, and writes the table.
fn write(cases: &[Case], known: impl Fn(&Case) -> Option<String>) {
    let known: Vec<Option<String>> = cases.iter().map(known).collect();
    let rows: Vec<usize> = (0..cases.len()).filter(|index| known[*index].is_none()).collect();
    let list = rows.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let here = all_seen(&chosen(cases, &rows));
    let there = if ordinary::is_root() {
        results_of(&ordinary::run_with(&RESULTS, (ROWS, &list)))
    } else {
        here.clone()
    };
    let traced = results_of(&traps::beside_with(&RESULTS, (ROWS, &list)));
    assert_eq!((here.len(), here.len()), (there.len(), traced.len()), "results are missing");

    let mut fresh = here.into_iter().zip(there).zip(traced).map(|((here, there), traced)| {
        let both =
            if here == there { here.clone() } else { format!("root: {here} · user: {there}") };
        if traced == here { both } else { format!("{both} · traced: {traced}") }
    });
    let seen: Vec<String> =
        known.into_iter().map(|known| known.unwrap_or_else(|| fresh.next().unwrap())).collect();
    std::fs::write(path(), render(cases, &seen)).unwrap();
}

/// The variable with the rows that the other settings have to run.
const ROWS: &str = "GUARD_ROWS";

#[expect(clippy::disallowed_methods, reason = "from one process of this test to the next")]
fn rows() -> Vec<usize> {
    let list = std::env::var(ROWS).unwrap_or_default();
    list.split(',').filter_map(|number| number.parse().ok()).collect()
}

fn chosen(cases: &[Case], rows: &[usize]) -> Vec<Case> {
    rows.iter().map(|index| cases[*index].clone()).collect()
}

const RESULTS: [&str; 4] = ["--ignored", "--exact", "table::results_for_the_table", "--nocapture"];

fn results_of(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(|line| Some(line.split_once('\u{1}')?.1.to_owned())).collect()
}

fn render(cases: &[Case], seen: &[String]) -> String {
    let mut text = HEAD.to_owned();
    writeln!(text, "{} cases.", cases.len()).unwrap();
    for (class, title) in titles() {
        write!(
            text,
            "\n## {class} · {title}\n\n| case | program | declared | owed | seen \
            |\n|---|---|---|---|---|\n"
        )
        .unwrap();
        let rows = cases
            .iter()
            .enumerate()
            .filter(|(_, case)| case.class == class && !crate::is_gap(case));
        for (index, case) in rows {
            writeln!(text, "{} {} |", key(case), seen[index]).unwrap();
        }
    }
    if !crate::GAPS.is_empty() {
        text.push_str("\n## Not kept yet\n\n| case | what is wrong |\n|---|---|\n");
    }
    for (name, wrong) in crate::GAPS {
        writeln!(text, "| {name} | {wrong} |").unwrap();
    }
    text
}

#[test]
fn the_table_is_current_and_shows_no_failure() {
    let text = std::fs::read_to_string(path()).unwrap_or_default();
    let again = "write it again: cargo test -p side-effect-guard --test adversarial -- --ignored \
        write_table";
    let cases = crate::all();
    for case in cases.iter().filter(|case| !crate::is_gap(case)) {
        assert!(text.contains(&key(case)), "{} is missing; {again}", key(case));
    }
    for (name, _) in crate::GAPS {
        assert!(text.contains(&format!("\n| {name} |")), "{name} is missing; {again}");
    }
    assert!(text.contains(&format!("\n{} cases.\n", cases.len())), "it has rows too many; {again}");
    assert!(!text.contains("**"), "it shows a failure");
}
