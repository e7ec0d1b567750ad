//! Gate events (`tm-events@1`): written while a gate runs, and read again.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;
use wire::digest::Digest;

use crate::module::document::{Schema, compile};

/// The schema as it is published.
pub const SCHEMA_TEXT: &str = include_str!("../../../../../spec/events.schema.json");

static SCHEMA: Schema = Schema::new(|| compile(SCHEMA_TEXT));

/// Largest file of events that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// Where events go.
#[derive(Debug)]
pub struct Events<'a> {
    context: Value,
    seq: u64,
    stdout: bool,
    file: Option<File>,
    strict: bool,
    sink: Option<Sink<'a>>,
    /// Everything the schema holds against an event that was written.
    mistakes: Vec<String>,
}

/// How events are written.
#[derive(Debug, Clone, Default)]
pub struct Options<'a> {
    /// To standard output.
    pub stdout: bool,
    /// To this file.
    pub file: Option<&'a Path>,
    /// Whether the file is emptied first.
    pub truncate: bool,
    /// Whether an event that the schema refuses makes the gate fail.
    pub strict: bool,
    /// To this caller.
    pub sink: Option<Sink<'a>>,
}

/// A caller that gets every event as it is written.
#[derive(Clone, Copy)]
pub struct Sink<'a>(pub &'a dyn Fn(&Value));

impl fmt::Debug for Sink<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Sink")
    }
}

impl<'a> Events<'a> {
    /// Opens the way for the events of one run.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(
        options: &Options<'a>,
        run_id: &str,
        mode: &str,
        compose: Digest,
    ) -> anyhow::Result<Self> {
        let open = |path: &Path| {
            let mut how = OpenOptions::new();

            // Appending and truncating exclude each other.
            how.create(true).write(true).append(!options.truncate).truncate(options.truncate);
            how.open(path).with_context(|| format!("--events-out {}", path.display()))
        };
        Ok(Self {
            context: json!({ "run_id": run_id, "mode": mode, "compose_sha256": compose }),
            seq: 0,
            stdout: options.stdout,
            file: options.file.map(open).transpose()?,
            strict: options.strict,
            sink: options.sink,
            mistakes: Vec::new(),
        })
    }

    /// Writes one event.
    ///
    /// # Errors
    /// The file's own. A reader of standard output that has gone away is no error.
    pub fn emit(&mut self, event: &str, detail: Value) -> io::Result<()> {
        self.seq += 1;
        let now = chassis::clock::now().format(&Rfc3339).unwrap_or_default();

        // The schema knows no null: what is absent is left out.
        let detail: Map<String, Value> = match detail {
            Value::Object(members) => {
                members.into_iter().filter(|(_, value)| !value.is_null()).collect()
            }
            _ => Map::new(),
        };
        let event = json!({
            "schema": "tm-events@1",
            "event": event,
            "ts": now,
            "seq": self.seq,
            "source": { "cli": "module-gate", "version": env!("CARGO_PKG_VERSION") },
            "context": self.context,
            "detail": detail,
        });
        if self.strict {
            let wrong = SCHEMA.mistakes(&event);
            self.mistakes
                .extend(wrong.into_iter().map(|wrong| format!("event {}: {wrong}", self.seq)));
        }
        if let Some(Sink(listener)) = self.sink {
            listener(&event);
        }
        let line = format!("{event}\n");
        if self.stdout {
            ignore_closed(io::stdout().lock().write_all(line.as_bytes()))?;
        }
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(line.as_bytes()))
    }

    /// What the schema refused, if the gate asked for strictness.
    pub fn mistakes(&self) -> &[String] {
        &self.mistakes
    }
}

fn ignore_closed(written: io::Result<()>) -> io::Result<()> {
    written.or_else(
        |error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) },
    )
}

/// A file of events, read again.
#[derive(Debug)]
pub struct Recorded {
    /// The events that could be read, in the order of the file.
    pub events: Vec<Value>,
    /// Everything that is wrong with them.
    pub mistakes: Vec<String>,
}

/// Reads a file of events and checks each against the schema, and all against each other: sequence
/// numbers rise, by one each where `strict`, and there is one run and one plan.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path, strict: bool) -> anyhow::Result<Recorded> {
    // Asked before reading: a file of any size must not fill the memory.
    let length =
        std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    if length > MAX_BYTES {
        anyhow::bail!("{} is larger than {MAX_BYTES} bytes", path.display());
    }
    let text = chassis::files::read_to_string(path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let (mut events, mut mistakes) = (Vec::new(), Vec::new());
    let (mut last, mut context): (u64, Option<Value>) = (0, None);
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = format!("line {}", number + 1);
        let event: Value = match serde_json::from_str(line) {
            Ok(event) => event,
            Err(error) => {
                mistakes.push(format!("{place}: expected JSON: {error}"));
                continue;
            }
        };
        mistakes
            .extend(SCHEMA.mistakes(&event).into_iter().map(|wrong| format!("{place}: {wrong}")));
        let seq = event["seq"].as_u64().unwrap_or(0);
        if seq <= last || (strict && seq != last + 1) {
            let expected =
                if strict { format!("{}", last + 1) } else { format!("more than {last}") };
            mistakes.push(format!("{place}: /seq: expected {expected}, found {seq}"));
        }
        last = seq;
        let own = &event["context"];
        let first = context.get_or_insert_with(|| own.clone());
        for member in ["run_id", "compose_sha256"] {
            if first[member] != own[member] {
                mistakes.push(format!(
                    "{place}: /context/{member}: expected {}, found {}",
                    first[member], own[member]
                ));
            }
        }
        events.push(event);
    }
    if events.is_empty() {
        mistakes.push("there is no event".to_owned());
    }
    Ok(Recorded { events, mistakes })
}

/// One line for each event: when, what, about what.
pub fn timeline(events: &[Value]) -> String {
    let word = |value: &Value| {
        value.as_str().map_or_else(|| value.to_string(), |text| text.escape_debug().to_string())
    };
    let mut lines = String::new();
    for event in events {
        let detail = &event["detail"];
        let about: Vec<String> = ["module", "test", "case", "code", "error", "dur_ms"]
            .iter()
            .filter(|member| !detail[**member].is_null())
            .map(|member| format!("{member}={}", word(&detail[*member])))
            .collect();
        lines.push_str(&format!(
            "{:>5}  {}  {:<24} {}\n",
            event["seq"],
            word(&event["ts"]),
            word(&event["event"]),
            about.join(" ")
        ));
    }
    lines
}

/// What the events of a run add up to.
#[derive(Debug, Default, Serialize)]
pub struct EventSummary {
    /// The run.
    pub run: Option<String>,
    /// Time by kind of work, in milliseconds.
    pub gate_durations: BTreeMap<&'static str, u64>,
    /// Codes of failures, the most frequent first.
    pub fail_codes: Vec<Value>,
    /// The slowest tests, at most ten.
    pub slow_tests: Vec<Value>,
    /// Passed and failed tests and cases of each module.
    pub modules: Vec<Value>,
}

/// Adds up a run's events.
pub fn summary(events: &[Value]) -> EventSummary {
    let mut durations = BTreeMap::from([
        ("total_ms", 0),
        ("lint_ms", 0),
        ("test_ms", 0),
        ("tsc_ms", 0),
        ("port_check_ms", 0),
        ("other_ms", 0),
    ]);
    let mut codes: BTreeMap<String, u64> = BTreeMap::new();
    let mut modules: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut tests: Vec<(u64, Value)> = Vec::new();
    for event in events {
        let name = event["event"].as_str().unwrap_or_default();
        let detail = &event["detail"];
        let took = detail["dur_ms"].as_u64().unwrap_or(0);
        let bucket = match name {
            "TEST_PASS" | "TEST_FAIL" | "TEST_SKIPPED" => "test_ms",
            "LINT_PASS" | "LINT_FAIL" => "lint_ms",
            "TSC_PASS" | "TSC_FAIL" => "tsc_ms",
            "PORT_CHECK_PASS" | "PORT_CHECK_FAIL" => "port_check_ms",
            "GATES_PASS" | "GATES_FAIL" => "total_ms",
            _ => "other_ms",
        };
        *durations.entry(bucket).or_insert(0) += took;
        if let Some(code) =
            detail["code"].as_str().filter(|_| name.ends_with("_FAIL") && name != "GATES_FAIL")
        {
            *codes.entry(code.to_owned()).or_default() += 1;
        }
        let module = detail["module"].as_str().unwrap_or_default();
        let counts = || module.to_owned();
        match name {
            "TEST_PASS" | "ORACLE_PASS" => modules.entry(counts()).or_default().0 += 1,
            "TEST_FAIL" | "ORACLE_FAIL" => modules.entry(counts()).or_default().1 += 1,
            _ => {}
        }
        if matches!(name, "TEST_PASS" | "TEST_FAIL") {
            tests.push((took, json!({ "module": module, "test": detail["test"], "dur_ms": took })));
        }
    }
    let mut fail_codes: Vec<_> = codes.into_iter().collect();
    fail_codes.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    tests.sort_by_key(|(took, _)| std::cmp::Reverse(*took));
    EventSummary {
        run: events
            .first()
            .and_then(|event| event["context"]["run_id"].as_str())
            .map(str::to_owned),
        gate_durations: durations,
        fail_codes: fail_codes
            .into_iter()
            .map(|(code, count)| json!({ "code": code, "count": count }))
            .collect(),
        slow_tests: tests.into_iter().take(10).map(|(_, test)| test).collect(),
        modules: modules
            .into_iter()
            .map(|(module, (passed, failed))| {
                json!({ "module": module, "passed": passed, "failed": failed })
            })
            .collect(),
    }
}
