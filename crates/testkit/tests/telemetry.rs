//! The page about telemetry names what the code makes, and nothing else.
//!
//! The sources are read as text, so the code has to keep some forms. The name of a metric, an
//! attribute or a span is a literal in the call that makes it. An instrument is made in one chain,
//! which ends with `.build()`. Spans are made by `info_span!`, or by `tracing::instrument` with
//! `name` and `fields`; lines of the log by the macros that are named after levels. In all of these
//! a field is `name = value`, `name`, `%name` or `?name`, and the message is a literal behind the
//! fields. No letter that is a quote or a bracket (`'('`) occurs in one of these calls.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// Where the attributes are of the process, or of the spans of statements, and of no metric.
const TELEMETRY: &str = "crates/chassis/src/telemetry";

fn root() -> PathBuf {
    // Without `..`, since the paths below it are looked at.
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A file of what ships with a service.
struct Source {
    /// Its path below the root.
    path: String,
    /// Its lines, but for those that are comments.
    code: String,
}

/// The Rust sources of everything that ships with a service.
fn sources() -> Vec<Source> {
    let root = root();
    let folders = ["crates", "services"].map(|folder| root.join(folder));
    let files = folders.iter().flat_map(|folder| WalkDir::new(folder).sort_by_file_name());
    let paths = files.map(|entry| entry.unwrap().into_path());
    let named = paths.map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
    let shipped = named.filter(|path| {
        let aside = ["crates/testkit/", "crates/localnet/"];
        path.ends_with(".rs")
            && path.contains("/src/")
            && !aside.iter().any(|folder| path.starts_with(folder))
    });
    let source = |path: String| {
        let text = fs::read_to_string(root.join(&path)).unwrap();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        Source { code: lines.collect::<Vec<_>>().join("\n"), path }
    };
    shipped.map(source).collect()
}

/// The arguments of each call of the function or macro `name`.
fn calls<'a>(code: &'a str, name: &str) -> Vec<Vec<&'a str>> {
    let begin = format!("{name}(");
    let goes_on = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let places = code.match_indices(&begin).map(|(place, _)| place);
    // Not where the name is the end of a longer one.
    let places = places.filter(|place| !code[..*place].ends_with(goes_on));
    places.map(|place| arguments(&code[place + begin.len()..])).collect()
}

/// The arguments of a call, each as its text; `code` begins behind the opening bracket.
fn arguments(code: &str) -> Vec<&str> {
    let (mut found, mut begin, mut place, mut depth) = (Vec::new(), 0, 0, 0);
    while place < code.len() {
        let length = token(&code[place..]);
        match &code[place..place + length] {
            "(" | "[" | "{" => depth += 1,
            ")" if depth == 0 => break,
            ")" | "]" | "}" => depth -= 1,
            "," if depth == 0 => {
                found.push(&code[begin..place]);
                begin = place + length;
            }
            _ => {}
        }
        place += length;
    }
    found.push(&code[begin..place]);
    // Behind the last comma there may be nothing.
    found.into_iter().map(str::trim).filter(|text| !text.is_empty()).collect()
}

/// Bytes of what the code begins with: a whole literal if it is one, else a letter.
fn token(code: &str) -> usize {
    let Some(text) = code.strip_prefix('"') else {
        return code.chars().next().map_or(1, char::len_utf8);
    };
    let mut escaped = false;
    for (place, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            // With both quotes.
            '"' => return place + 2,
            _ => {}
        }
    }
    code.len()
}

/// The text of an argument that has to be a literal.
fn literal(argument: &str) -> &str {
    let text = argument.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    text.unwrap_or_else(|| panic!("{argument} has to be a literal"))
}

/// The names of the fields that a macro of `tracing` is given, up to its message.
fn fields(arguments: &[&str]) -> BTreeSet<String> {
    let given = arguments.iter().take_while(|argument| !argument.starts_with('"'));
    let name = |argument: &&str| {
        let name = argument.split_once(" = ").map_or(*argument, |(name, _)| name);
        let name = name.trim_start_matches(['%', '?']);
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_.".contains(letter);
        assert!(name.chars().all(is_part), "{argument} is no field of a form that is known here");
        name.to_owned()
    };
    given.map(name).collect()
}

/// The names of the attributes that are made.
fn attributes(code: &str) -> BTreeSet<String> {
    let made = calls(code, "KeyValue::new");
    made.iter().map(|arguments| literal(arguments[0]).to_owned()).collect()
}

/// A span: its name in logs, its kind, and its attributes.
type Span = (String, String, BTreeSet<String>);

/// The spans that are made.
fn spans(code: &str) -> Vec<Span> {
    for name in ["span!", "error_span!", "warn_span!", "debug_span!", "trace_span!"] {
        assert!(calls(code, name).is_empty(), "a span is made by info_span!");
    }
    assert!(!code.contains("#[instrument"), "a function has a span by #[tracing::instrument(…)]");
    let of_macros = calls(code, "info_span!").into_iter().map(|call| span(call[0], &call[1..]));
    let of_functions = calls(code, "tracing::instrument").into_iter().map(|call| {
        let given = |member: &str| call.iter().find_map(|argument| argument.strip_prefix(member));
        let name = given("name = ").expect("the span of a function has a name");
        span(name, &given("fields(").map(arguments).unwrap_or_default())
    });
    of_macros.chain(of_functions).collect()
}

fn span(name: &str, given: &[&str]) -> Span {
    let kind = given.iter().find_map(|argument| argument.strip_prefix("otel.kind = "));
    let kind = kind.map_or("internal", literal);
    // Those are name, kind and status to a collector.
    let attributes = fields(given).into_iter().filter(|name| !name.starts_with("otel."));
    (literal(name).to_owned(), kind.to_owned(), attributes.collect())
}

fn page() -> String {
    fs::read_to_string(root().join("docs/operations/telemetry.md")).unwrap()
}

/// The rows of the table under `heading`, each as its cells.
fn table(heading: &str) -> Vec<Vec<String>> {
    let page = page();
    let part = page.split(&format!("\n## {heading}\n")).nth(1).expect("the heading is there");
    let part = part.split("\n## ").next().unwrap();
    // Without the table's head and the line below it.
    let rows = part.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| -> Vec<String> {
        row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    rows.map(cells).collect()
}

/// The text between a cell's marks for code.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The only name in a cell, or nothing.
fn name(cell: &str) -> String {
    let names = names(cell);
    assert!(names.len() < 2, "{cell} has several names");
    names.into_iter().next().unwrap_or_default()
}

/// The names in this column of the table under `heading`.
fn column(heading: &str, place: usize) -> BTreeSet<String> {
    table(heading).iter().flat_map(|row| names(&row[place])).collect()
}

#[test]
fn every_metric_is_on_the_page_with_its_kind_and_unit_and_every_row_is_a_metric() {
    let mut made = BTreeSet::new();
    for source in sources() {
        for kind in ["counter", "gauge", "histogram"] {
            let method = format!("_{kind}(");
            let pieces = source.code.split(&method).skip(1);
            for piece in pieces.filter_map(|piece| piece.trim_start().strip_prefix('"')) {
                let chain = piece.split(".build()").next().unwrap();
                let name = chain.split('"').next().unwrap();
                let unit = chain.split(".with_unit(\"").nth(1);
                let unit = unit.map_or("", |rest| rest.split('"').next().unwrap());
                made.insert((name.to_owned(), kind.to_owned(), unit.to_owned()));
            }
        }
    }
    let rows = table("Metrics");
    let listed = rows.iter().map(|row| (name(&row[0]), row[1].clone(), name(&row[2])));
    assert_eq!(made, listed.collect::<BTreeSet<_>>());
}

#[test]
fn every_attribute_of_metrics_is_on_the_page_and_every_one_there_is_made() {
    let sources = sources();
    let of_metrics = sources.iter().filter(|source| !source.path.starts_with(TELEMETRY));
    let made: BTreeSet<_> = of_metrics.flat_map(|source| attributes(&source.code)).collect();
    assert_eq!(made, column("Metrics", 3));
}

#[test]
fn the_attributes_of_the_process_are_those_on_the_page() {
    let sources = sources();
    let source = sources.iter().find(|source| source.path == format!("{TELEMETRY}.rs")).unwrap();
    let mut made = attributes(&source.code);
    // It has a call of its own.
    assert!(source.code.contains(".with_service_name("));
    made.insert("service.name".to_owned());
    assert_eq!(made, column("The process", 0));
}

#[test]
fn every_span_is_on_the_page_with_its_kind_and_attributes_and_every_row_is_a_span() {
    let sources = sources();
    let mut made: BTreeSet<Span> = sources.iter().flat_map(|source| spans(&source.code)).collect();
    // That of a statement is made when the statement has ended: it is in no log.
    let statements = format!("{TELEMETRY}/statements.rs");
    let statements = sources.iter().find(|source| source.path == statements).unwrap();
    assert!(statements.code.contains("SpanKind::Client"));
    made.insert((String::new(), "client".to_owned(), attributes(&statements.code)));
    let rows = table("Spans");
    let listed = rows.iter().map(|row| (name(&row[0]), row[1].clone(), names(&row[2])));
    assert_eq!(made, listed.collect::<BTreeSet<_>>());
}

#[test]
fn every_field_of_a_message_is_on_the_page_and_every_one_there_is_said() {
    let mut said = BTreeSet::new();
    for source in sources() {
        assert!(calls(&source.code, "event!").is_empty(), "a line has a macro of its level");
        for level in ["error!", "warn!", "info!", "debug!", "trace!"] {
            said.extend(calls(&source.code, level).iter().flat_map(|call| fields(call)));
        }
    }
    assert_eq!(said, column("Fields of messages", 0));
    // They are members of one object.
    assert_eq!(said.intersection(&column("Logs", 0)).next(), None);
}

#[test]
fn every_setting_of_telemetry_is_on_the_page_and_every_row_is_a_setting() {
    let is_name = |text: &&str| {
        let plain = |letter: char| letter.is_ascii_uppercase() || letter == '_';
        text.starts_with("OTEL_") && text.chars().all(plain)
    };
    let mut read = BTreeSet::new();
    for source in sources() {
        read.extend(source.code.split('"').filter(is_name).map(str::to_owned));
    }
    assert_eq!(read, column("Settings", 0));
}

#[test]
fn the_log_fields_of_the_format_are_on_the_page() {
    let fields = ["timestamp", "level", "target", "message", "span", "trace_id", "span_id"];
    assert_eq!(column("Logs", 0), BTreeSet::from(fields.map(str::to_owned)));
}

#[test]
fn every_alert_is_about_a_metric_that_exists() {
    let rules = fs::read_to_string(root().join("deploy/alerts/lumio.yaml")).unwrap();
    // As Prometheus spells them: with the unit where it is one, and `_total` for counters.
    let spelt = |name: String| {
        let plain = name.replace('.', "_");
        [plain.clone(), format!("{plain}_total"), format!("{plain}_seconds")]
    };
    let known: BTreeSet<String> = column("Metrics", 0).into_iter().flat_map(spelt).collect();
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let named = rules.split(|letter| !is_part(letter)).filter(|word| word.starts_with("lumio_"));
    let mut count = 0;
    for name in named {
        assert!(known.contains(name), "{name} is no metric");
        count += 1;
    }
    assert!(count > 10, "{count}");
}
