//! What a terminal makes of a report: nothing that others wrote moves the cursor, recolours, or
//! forges a line. The terminal is an emulator.

use std::fs;
use std::num::NonZeroU16;

use serde_json::{Value, json};

use super::fixture::Fixture;
use crate::escape::escape;
use crate::output::{Format, Report, failure_json};
use crate::verify::bundle::TOMBSTONE_FILE;

/// Clears the screen, goes home, ends the line, turns the direction, rings, and says what is not
/// so.
const HOSTILE: &str = "\u{1b}[2J\u{1b}[1;1Hproven: all of it\r\nproven: all of it\u{9b}2J\u{202e}\u{7}\u{8}\t\u{0}\u{2066}";

/// The screen shows the text line by line, each where it was written.
fn shows_as_written(text: &str) {
    let lines: Vec<_> = text.lines().collect();
    assert!(!lines.iter().any(|line| line.starts_with("proven: all of it")), "{text}");
    let rows = NonZeroU16::new(u16::try_from(lines.len() + 2).unwrap()).unwrap();
    let columns = NonZeroU16::new(9_000).unwrap();
    let mut terminal = vt100::Parser::new(rows, columns, 0);
    terminal.process(text.replace('\n', "\r\n").as_bytes());
    let screen = terminal.screen().contents();
    let shown: Vec<_> = screen.lines().map(str::trim_end).collect();
    let written: Vec<_> = lines.iter().map(|line| line.trim_end()).collect();
    assert_eq!(shown, written);
}

fn shown(fixture: &Fixture) -> String {
    match fixture.try_judge() {
        Ok(proof) => {
            let report = proof.report();
            let json = report.render(Format::Json);
            assert!(!json.chars().any(|character| character.is_control() && character != '\n'));
            serde_json::from_str::<Value>(&json).unwrap();
            report.render(Format::Text)
        }
        Err(failure) => {
            serde_json::from_str::<Value>(&failure_json(&failure)).unwrap();
            escape(&failure.to_string())
        }
    }
}

fn strings(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(path.to_owned()),
        Value::Object(members) => {
            members
                .iter()
                .for_each(|(name, member)| strings(member, &format!("{path}/{name}"), found));
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(index, item)| strings(item, &format!("{path}/{index}"), found));
        }
        _ => {}
    }
}

#[test]
fn control_characters_in_any_foreign_text_do_not_reach_the_screen() {
    let fixture = Fixture::new();
    shows_as_written(&shown(&fixture));
    let text = fs::read(fixture.path("run.json")).unwrap();
    let document: Value = serde_json::from_slice(&text).unwrap();
    let mut places = Vec::new();
    strings(&document, "", &mut places);
    for place in places {
        let mut changed = document.clone();
        *changed.pointer_mut(&place).unwrap() = json!(HOSTILE);
        fs::write(fixture.path("run.json"), changed.to_string()).unwrap();
        shows_as_written(&shown(&fixture));
    }
    fs::write(fixture.path("run.json"), HOSTILE).unwrap();
    shows_as_written(&shown(&fixture));

    fs::write(fixture.path("run.json"), text).unwrap();
    fs::write(fixture.path(TOMBSTONE_FILE), HOSTILE).unwrap();
    fs::remove_dir_all(fixture.path("pack")).unwrap();
    let text = shown(&fixture);
    assert!(text.contains("tombstone:"), "{text}");
    shows_as_written(&text);
}

#[test]
fn a_workflow_and_a_file_that_were_really_named_so_are_spelled_out() {
    let mut fixture = Fixture::new();
    fixture.execution.workflow_id = HOSTILE.replace('\0', "");
    fixture.repin();
    fixture.settle();
    fixture.breaks(&[]);
    shows_as_written(&shown(&fixture));

    fs::write(fixture.path("pack/outputs").join("\u{1b}[2Jx"), "x").unwrap();
    let text = shown(&fixture);
    assert!(text.contains("BROKEN"), "{text}");
    shows_as_written(&text);
}

#[test]
fn every_report_and_failure_is_printed_through_the_one_function() {
    let report = Report::new(escape(HOSTILE), json!({ "x": HOSTILE }));
    shows_as_written(&report.render(Format::Text));
    let table = crate::output::table(["A", "B"], &[[HOSTILE.to_owned(), "b".to_owned()]]);
    shows_as_written(&Report::new(table, Value::Null).render(Format::Text));
}
