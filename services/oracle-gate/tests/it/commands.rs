//! The commands of the guides run as they are written, in their order, with the endings they say.

use std::env;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fixture::Fixture;

/// The pages with commands of oracle-gate.
const PAGES: [&str; 4] = [
    "docs/oracle-store/checking.md",
    "docs/oracle-store/README.md",
    "docs/oracle-store/reasons.md",
    "docs/operations/oracle-gate.md",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn page(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap()
}

/// A command of a guide, and how it says that it ends.
struct Step {
    line: String,
    exit: i32,
    codes: Vec<String>,
}

/// The lines of the blocks marked `sh`.
fn steps(page: &str) -> Vec<Step> {
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let lines = blocks.flat_map(str::lines).map(|line| {
        let (_, end) = line.split_once("# exits ").unwrap_or((line, "0"));
        let (exit, codes) = end.split_once(": ").unwrap_or((end, ""));
        Step {
            line: line.to_owned(),
            exit: exit.parse().unwrap(),
            codes: codes.split_whitespace().map(str::to_owned).collect(),
        }
    });
    lines.collect()
}

/// Runs the steps in one shell, as a reader would who copies them.
fn run(steps: &[Step]) {
    let scratch = tempfile::tempdir().unwrap();
    let script: String =
        steps.iter().map(|step| format!("{}\necho \"\n=> $?\"\n", step.line)).collect();
    let programs = Path::new(env!("CARGO_BIN_EXE_oracle-gate")).parent().unwrap();
    let path = env::var_os("PATH").unwrap();
    let path = env::join_paths(iter::once(programs.into()).chain(env::split_paths(&path))).unwrap();
    let mut shell = Command::new("timeout");
    // What the commands start in the background ends with the shell, however it ends.
    let script = format!("exec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n{script}");
    shell
        .args(["600", "bash", "-c", &script])
        .env_clear()
        .env("PATH", path)
        .env("TMPDIR", scratch.path())
        .env("HOME", scratch.path())
        .current_dir(repository())
        .stdin(Stdio::null());
    if let Some(moto) = moto() {
        shell.env("MOTO_SERVER", moto);
    }
    let text = String::from_utf8(shell.output().unwrap().stdout).unwrap();
    let mut rest = text.as_str();
    for step in steps {
        let Some((said, after)) = rest.split_once("\n=> ") else {
            panic!("{} never ended\n{rest}", step.line)
        };
        let (exit, after) = after.split_once('\n').unwrap();
        assert_eq!(exit.parse::<i32>().unwrap(), step.exit, "{}\n{said}", step.line);
        for code in &step.codes {
            assert!(said.contains(code.as_str()), "{code} is missing\n{}\n{said}", step.line);
        }
        rest = after;
    }
}

/// The server that serves a bucket; it has to be there where everything has to be tested.
fn moto() -> Option<PathBuf> {
    let brought = repository().join(".dev/tools/moto/moto_server");
    let moto = env::var_os("MOTO_SERVER").map(PathBuf::from);
    let moto = moto.or_else(|| brought.is_file().then_some(brought));
    assert!(moto.is_some() || env::var_os("CI").is_none(), "there is no moto_server");
    moto
}

#[test]
fn the_commands_of_the_guide_run_as_written() {
    let guide = page("docs/oracle-store/checking.md");
    let (folder, bucket) = guide.split_once("## A bucket\n").unwrap();
    let (bucket, rest) = bucket.split_once("\n## ").unwrap();
    let (folder, bucket, rest) = (steps(folder), steps(bucket), steps(rest));
    assert!(folder.len() > 15 && bucket.len() > 8 && rest.is_empty());
    if moto().is_none() {
        eprintln!("skipped: the commands of the bucket, there is no moto_server");
        return run(&folder);
    }
    let all: Vec<Step> = folder.into_iter().chain(bucket).collect();
    run(&all);
}

#[test]
fn the_commands_of_the_operators_page_run_as_written() {
    let steps = steps(&page("docs/operations/oracle-gate.md"));
    assert!(steps.len() > 6);
    run(&steps);
}

/// Everything that looks like a command is run by a test of this file, or is in a block
/// `console` under a sentence that says why not.
#[test]
fn no_command_stands_in_the_pages_that_is_neither_run_nor_marked() {
    let program =
        ["oracle-gate ", "lumio ", "cargo ", "curl ", "export ", "./dev ", "LUMIO_", "$ "];
    for name in PAGES {
        let page = page(name);
        for (at, part) in page.split("```").enumerate().filter(|(at, _)| at % 2 == 1) {
            let (language, block) = part.split_once('\n').unwrap();
            if language == "sh" {
                assert!(name.ends_with("checking.md") || name.contains("operations"), "{name}");
                continue;
            }
            let before = page.split("```").nth(at - 1).unwrap().trim_end();
            let sentence = before.rsplit("\n\n").next().unwrap();
            let marked = language == "console" && sentence.contains("not run by a test");
            let command =
                block.lines().find(|line| program.iter().any(|p| line.trim().starts_with(p)));
            assert!(marked || command.is_none(), "{name}: {command:?} is neither run nor marked");
        }
    }
}

#[tokio::test]
async fn the_question_to_the_database_is_answered() {
    let page = page("docs/operations/oracle-gate.md");
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let _gate = fixture.gate(&db).await;
    let questions: Vec<&str> = page.split('`').filter(|text| text.starts_with("SELECT ")).collect();
    assert!(!questions.is_empty());
    for question in questions {
        let asked = sqlx::query(sqlx::AssertSqlSafe(question.to_owned())).fetch_all(&db.pool).await;
        assert!(asked.is_ok_and(|rows| rows.is_empty()), "{question}");
    }
}
