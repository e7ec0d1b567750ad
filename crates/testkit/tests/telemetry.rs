//! The page about telemetry names what the code makes, and nothing else.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

fn root() -> PathBuf {
    // Without `..`, since the paths below it are looked at.
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The Rust sources of everything that ships.
fn sources() -> Vec<String> {
    let folders = ["crates", "services"].map(|folder| root().join(folder));
    let files = folders.iter().flat_map(|folder| WalkDir::new(folder).sort_by_file_name());
    let paths = files.map(|entry| entry.unwrap().into_path());
    let shipped = paths.filter(|path| {
        let text = path.to_str().unwrap();
        text.ends_with(".rs") && text.contains("/src/") && !text.contains("/testkit/")
    });
    shipped.map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// The texts between quotes right after `call(`.
fn arguments<'a>(source: &'a str, call: &str) -> Vec<&'a str> {
    let call = format!("{call}(");
    let pieces = source.split(&call).skip(1);
    let text = |piece: &'a str| piece.trim_start().strip_prefix('"')?.split('"').next();
    pieces.filter_map(text).collect()
}

/// The first column of the table under `heading`, without its marks.
fn first_column(page: &str, heading: &str) -> BTreeSet<String> {
    let part = page.split(&format!("\n## {heading}\n")).nth(1).expect("the heading is there");
    let part = part.split("\n## ").next().unwrap();
    let rows = part.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

fn page() -> String {
    fs::read_to_string(root().join("docs/operations/telemetry.md")).unwrap()
}

#[test]
fn every_metric_is_on_the_page_and_every_row_is_a_metric() {
    let calls = ["u64_counter", "f64_counter", "u64_gauge", "i64_gauge", "f64_gauge"];
    let more = ["u64_observable_gauge", "i64_observable_gauge", "f64_observable_gauge"];
    let rest = ["f64_histogram", "u64_histogram", "i64_up_down_counter", "u64_observable_counter"];
    let made: BTreeSet<String> = sources()
        .iter()
        .flat_map(|source| {
            let calls = calls.iter().chain(&more).chain(&rest);
            calls.flat_map(|call| arguments(source, call)).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(made, first_column(&page(), "Metrics"));
}

#[test]
fn every_attribute_of_metrics_is_on_the_page() {
    let page = page();
    for source in sources() {
        for name in arguments(&source, "KeyValue::new") {
            assert!(page.contains(&format!("`{name}`")), "the page does not name {name}");
        }
    }
}

#[test]
fn every_setting_of_telemetry_is_on_the_page() {
    let settings = first_column(&page(), "Settings");
    for source in sources() {
        let is_name = |text: &&str| {
            let plain = |letter: char| letter.is_ascii_uppercase() || letter == '_';
            text.starts_with("OTEL_") && text.chars().all(plain)
        };
        for text in source.split('"').filter(is_name) {
            assert!(settings.contains(text), "the page does not name {text}");
        }
    }
}

#[test]
fn the_log_fields_of_the_format_are_on_the_page() {
    let fields = first_column(&page(), "Logs");
    for field in ["timestamp", "level", "target", "message", "span", "trace_id", "span_id"] {
        assert!(fields.contains(field), "{field}");
    }
}

#[test]
fn every_alert_is_about_a_metric_that_exists() {
    let rules = fs::read_to_string(root().join("deploy/alerts/lumio.yaml")).unwrap();
    let metrics = first_column(&page(), "Metrics");
    // As Prometheus spells them: with the unit where it is one, and `_total` for counters.
    let spelt = |name: &String| {
        let plain = name.replace('.', "_");
        [plain.clone(), format!("{plain}_total"), format!("{plain}_seconds")]
    };
    let known: BTreeSet<String> = metrics.iter().flat_map(spelt).collect();
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let named = rules.split(|letter| !is_part(letter)).filter(|word| word.starts_with("lumio_"));
    let mut count = 0;
    for name in named {
        assert!(known.contains(name), "{name} is no metric");
        count += 1;
    }
    assert!(count > 10, "{count}");
}
