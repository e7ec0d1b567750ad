//! What differs between two attempts of a case, why it probably does, and what to do about it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use wire::escape;

use crate::judging::capture::{Captured, Content, Kind, Trace};
use crate::judging::inputs::Input;
use crate::module::spec::Case;
use crate::module::variation::Variation;

/// Most characters of a line that are shown, round the first difference.
const MAX_SHOWN: usize = 120;
/// Most effects that are listed on each side.
const MAX_EFFECTS: usize = 10;
/// As far from an attempt's own time a number is still taken for a clock's, in milliseconds.
const CLOCK_SLACK_MS: i128 = 60_000;
/// Process ids are below this.
const MAX_PID: u64 = 4_194_304;

/// A difference, and everything that is known about its cause.
#[derive(Debug, Clone, Serialize)]
pub struct Divergence {
    /// `stdout`, `stderr`, `file:<path>`, `output:<path>`, `output_folders`, `side_effects` or `exit`.
    pub field: String,
    /// The attempt that differs from the first, from 1; the varied one is the last.
    pub attempt: u32,
    /// The first difference of bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<FirstDifference>,
    /// Effects that only the first attempt had.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Effects that only the other attempt had.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<String>,
    /// Another difference than of bytes, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// `repeat` where identical attempts differ, `variation` where only a varied one does.
    pub cause: Cause,
    /// The variations that each make the difference.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variations: Vec<Variation>,
    /// What kind of cause it is.
    pub class: Class,
    /// The last thing the program asked that is not the same in every run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_input: Option<String>,
    /// What to do.
    pub advice: &'static str,
}

/// Where the bytes of two attempts part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FirstDifference {
    /// From 0.
    pub byte: usize,
    /// From 1.
    pub line: usize,
    /// From 1, in bytes.
    pub column: usize,
    /// The line in the first attempt.
    pub first: String,
    /// The line in the other attempt.
    pub other: String,
}

/// What brought the difference to light.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Repetition alone.
    Repeat,
    /// Something of the surroundings that was varied.
    Variation,
}

/// Kinds of causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it; `advice` says what to do about each")]
pub enum Class {
    Clock,
    Timezone,
    Random,
    Pid,
    Path,
    Order,
    Locale,
    Environment,
    User,
    Host,
    Processors,
    FileTimes,
    Permissions,
    Memory,
    CarryOver,
    Concurrency,
    Unknown,
}

impl Class {
    /// The word in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Timezone => "time zone",
            Self::Random => "random",
            Self::Pid => "pid",
            Self::Path => "path",
            Self::Order => "order",
            Self::Locale => "locale",
            Self::Environment => "environment",
            Self::User => "user",
            Self::Host => "host",
            Self::Processors => "processors",
            Self::FileTimes => "file times",
            Self::Permissions => "permissions",
            Self::Memory => "memory",
            Self::CarryOver => "carry-over",
            Self::Concurrency => "concurrency",
            Self::Unknown => "unknown",
        }
    }

    /// What to do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Clock => {
                "take the time from the input, or from SOURCE_DATE_EPOCH set in the case's env; \
                 leave durations out"
            }
            Self::Timezone => "use UTC (getUTC…, toISOString), or set TZ in the case's env",
            Self::Random => {
                "derive every random value from LUMIO_SEED; name temporary files by a counter"
            }
            Self::Pid => "leave process ids out of what is printed and named",
            Self::Path => "name files relative to the module, never by their absolute path",
            Self::Order => "sort what a folder lists before using it",
            Self::Locale => {
                "compare and format by code unit, or name the locale in the call; or set LANG in \
                 the case's env"
            }
            Self::Environment => {
                "read only the variables that the documentation promises, each by its name"
            }
            Self::User => "leave the user's name and id out",
            Self::Host => "leave the host's name out",
            Self::Processors => "do not let results depend on the number of workers",
            Self::FileTimes => "leave times of files out; they are those of the copy",
            Self::Permissions => {
                "set the mode of files explicitly, or leave it out of what is printed"
            }
            Self::Memory => "leave measurements of memory and load out",
            Self::CarryOver => "remove what an earlier attempt left, or name it in `reset`",
            Self::Concurrency => {
                "collect what runs at the same time in a fixed order before printing it; where \
                 only effects differ, set \"side_effects\": false"
            }
            Self::Unknown => {
                "print less until the difference is gone; what may depend on its surroundings is \
                 named in `pins`"
            }
        }
    }
}

impl From<Variation> for Class {
    fn from(variation: Variation) -> Self {
        match variation {
            Variation::Time => Self::Clock,
            Variation::Timezone => Self::Timezone,
            Variation::Locale => Self::Locale,
            Variation::Path | Variation::Home => Self::Path,
            Variation::DirectoryOrder => Self::Order,
            Variation::Processors => Self::Processors,
            Variation::Environment => Self::Environment,
            Variation::User => Self::User,
            Variation::Hostname => Self::Host,
            Variation::Umask => Self::Permissions,
            Variation::Addresses => Self::Memory,
            Variation::FileTimes => Self::FileTimes,
        }
    }
}

/// What differs, before its cause is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// As in [`Divergence`].
    pub field: String,
    /// The bytes of both sides, where there are such.
    pub bytes: Option<(Vec<u8>, Vec<u8>)>,
    /// As in [`Divergence`].
    pub missing: Vec<Trace>,
    /// As in [`Divergence`].
    pub extra: Vec<Trace>,
    /// As in [`Divergence`].
    pub detail: Option<String>,
}

impl Difference {
    /// A difference in words only.
    pub fn in_words(field: &str, detail: String) -> Self {
        let (missing, extra) = (Vec::new(), Vec::new());
        Self { field: field.to_owned(), bytes: None, missing, extra, detail: Some(detail) }
    }

    fn of_bytes(field: &str, first: &[u8], other: &[u8]) -> Self {
        let bytes = Some((first.to_owned(), other.to_owned()));
        Self { bytes, detail: None, ..Self::in_words(field, String::new()) }
    }
}

/// The first difference between two attempts, in the order of the document: output, files, effects.
/// `mode_mask` has the bits of file modes that are compared.
pub fn compare(
    case: &Case,
    first: &Captured,
    other: &Captured,
    mode_mask: u32,
) -> Option<Difference> {
    if case.capture.stdout && first.stdout != other.stdout {
        return Some(Difference::of_bytes("stdout", &first.stdout, &other.stdout));
    }
    if case.capture.stderr && first.stderr != other.stderr {
        return Some(Difference::of_bytes("stderr", &first.stderr, &other.stderr));
    }
    for ((path, one), (_, two)) in first.files.iter().zip(&other.files) {
        if let Some(difference) = content_difference(&format!("file:{path}"), one, two, mode_mask) {
            return Some(difference);
        }
    }

    let outputs =
        |captured: &'_ Captured| captured.outputs.iter().cloned().collect::<BTreeMap<_, _>>();
    let (left, right) = (outputs(first), outputs(other));

    // A name of both sides comes twice; the second time nothing differs either.
    for name in left.keys().chain(right.keys()) {
        let field = format!("output:{name}");
        match (left.get(name), right.get(name)) {
            (Some(one), Some(two)) => {
                if let Some(difference) = content_difference(&field, one, two, mode_mask) {
                    return Some(difference);
                }
            }
            (Some(_), None) => {
                return Some(Difference::in_words(
                    &field,
                    "only the first attempt left it".to_owned(),
                ));
            }
            _ => {
                return Some(Difference::in_words(
                    &field,
                    "the first attempt did not leave it".to_owned(),
                ));
            }
        }
    }

    let folders = (&first.output_folders, &other.output_folders);
    if let Some(detail) = difference_below(folders.0, folders.1, mode_mask) {
        return Some(Difference::in_words("output_folders", detail));
    }
    if case.capture.side_effects && first.all_effects != other.all_effects {
        // Which effects are shown depends on their order where there are many, so of many only
        // those that one side shows and the other does not are listed, and the difference may be
        // among those that neither shows.
        let (missing, extra) = multiset_difference(&first.effects, &other.effects);
        let counts = (first.all_effects.items(), other.all_effects.items());
        let is_cut = counts.0.max(counts.1) > first.effects.len() as u64;
        let detail = is_cut
            .then(|| format!("{} and {} effects, of which not all are shown", counts.0, counts.1));
        let words = Difference::in_words("side_effects", String::new());
        return Some(Difference { missing, extra, detail, ..words });
    }
    None
}

fn content_difference(
    field: &str,
    one: &Content,
    two: &Content,
    mode_mask: u32,
) -> Option<Difference> {
    if one.kind != two.kind {
        let word = |kind| if kind == Kind::File { "a file" } else { "a folder" };
        let detail = format!(
            "it is {} in the first attempt and {} in the other",
            word(one.kind),
            word(two.kind)
        );
        return Some(Difference::in_words(field, detail));
    }
    if one.link != two.link {
        let target = |content: &Content| {
            content
                .link
                .as_ref()
                .map_or_else(|| "no link".to_owned(), |to| format!("a link to {}", to.display()))
        };
        return Some(Difference::in_words(
            field,
            format!("it is {} and then {}", target(one), target(two)),
        ));
    }
    if one.mode & mode_mask != two.mode & mode_mask {
        return Some(Difference::in_words(
            field,
            format!("its mode is {:o} and then {:o}", one.mode, two.mode),
        ));
    }
    if let Some(detail) = difference_below(&one.below, &two.below, mode_mask) {
        return Some(Difference::in_words(field, detail));
    }
    if one.digest == two.digest {
        return None;
    }
    match (&one.bytes, &two.bytes) {
        (Some(first), Some(other)) => Some(Difference::of_bytes(field, first, other)),
        _ if one.kind == Kind::Folder => {
            Some(Difference::in_words(field, "names or contents of its files differ".to_owned()))
        }
        _ => Some(Difference::in_words(
            field,
            "its content differs and is too large to be shown".to_owned(),
        )),
    }
}

/// The first name that only one of two captured folders has, or whose permissions differ.
fn difference_below(
    one: &[(PathBuf, u32)],
    two: &[(PathBuf, u32)],
    mode_mask: u32,
) -> Option<String> {
    let (first, other): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (one.iter().cloned().collect(), two.iter().cloned().collect());
    for path in first.keys().chain(other.keys()) {
        let name = quoted(path);
        match (first.get(path), other.get(path)) {
            (Some(_), None) => return Some(format!("only the first attempt left {name} in it")),
            (None, _) => return Some(format!("the first attempt did not leave {name} in it")),
            (Some(one), Some(two)) if one & mode_mask != two & mode_mask => {
                return Some(format!("the mode of {name} in it is {one:o} and then {two:o}"));
            }
            _ => {}
        }
    }
    None
}

/// A path that the module chose, in quotation marks and with everything escaped that is not
/// printable (R18).
fn quoted(path: &Path) -> String {
    format!("\"{}\"", escape::line(&path.to_string_lossy()))
}

/// What is in only one of two sorted lists, each as often as it does.
fn multiset_difference(first: &[Trace], other: &[Trace]) -> (Vec<Trace>, Vec<Trace>) {
    let (mut missing, mut extra) = (Vec::new(), Vec::new());
    let (mut left, mut right) = (first.iter().peekable(), other.iter().peekable());
    loop {
        match (left.peek(), right.peek()) {
            (Some(one), Some(two)) if one == two => {
                left.next();
                right.next();
            }
            (Some(one), Some(two)) if one < two => missing.extend(left.next().cloned()),
            (Some(_), None) => missing.extend(left.next().cloned()),
            (_, Some(_)) => extra.extend(right.next().cloned()),
            (None, None) => return (missing, extra),
        }
    }
}

/// The first byte in which two texts part, with the line on both sides.
pub fn first_difference(first: &[u8], other: &[u8]) -> FirstDifference {
    let same = first.iter().zip(other).take_while(|(one, two)| one == two).count();
    let before = &first[..same];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let begins = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    FirstDifference {
        byte: same,
        line,
        column: same - begins + 1,
        first: line_round(first, begins, same),
        other: line_round(other, begins, same),
    }
}

/// The line from `begins`, cut to what surrounds `at`, with everything escaped that is not
/// printable (R18).
fn line_round(bytes: &[u8], begins: usize, at: usize) -> String {
    let from = begins.max(at.saturating_sub(MAX_SHOWN / 2)).min(bytes.len());
    let line = bytes[from..].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = String::from_utf8_lossy(&line[..line.len().min(MAX_SHOWN)]);
    let text = escape::line(&text);
    let start = if from > begins { "…" } else { "" };
    let end = if line.len() > MAX_SHOWN { "…" } else { "" };
    format!("{start}{text}{end}")
}

/// When an attempt ran, in milliseconds of Unix time.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// The start.
    pub from_ms: i128,
    /// The end.
    pub to_ms: i128,
}

/// What kind of cause a difference between identical attempts has, by what differs and by what the
/// program asked.
pub fn classify(
    difference: &Difference,
    windows: (Window, Window),
    inputs: &BTreeMap<String, Input>,
) -> Class {
    let by_text = match &difference.bytes {
        Some((first, other)) => classify_bytes(first, other, windows),
        None => classify_effects(difference),
    };
    let asked = |kind: &str| inputs.contains_key(kind);
    match by_text {
        // Both kinds of numbers look alike; the program's own questions decide.
        Class::Pid if !inputs.is_empty() && !asked("pid") && asked("random") => Class::Random,
        Class::Random if !inputs.is_empty() && !asked("random") && asked("pid") => Class::Pid,
        Class::Random if !inputs.is_empty() && !asked("random") && asked("clock") => Class::Clock,
        Class::Clock if !inputs.is_empty() && !asked("clock") && asked("random") => Class::Random,
        Class::Unknown if asked("random") => Class::Random,
        Class::Unknown if asked("clock") => Class::Clock,
        Class::Unknown if asked("pid") => Class::Pid,
        Class::Unknown | Class::Clock if asked("memory") && !asked("clock") => Class::Memory,
        Class::Unknown | Class::Clock if asked("file_times") && !asked("clock") => Class::FileTimes,
        Class::Unknown if asked("concurrency") || asked("timer") => Class::Concurrency,
        class => class,
    }
}

fn classify_effects(difference: &Difference) -> Class {
    if difference.field != "side_effects" {
        return Class::Unknown;
    }
    let targets = |traces: &[Trace]| {
        traces.iter().map(|one| one.target.clone()).collect::<Vec<_>>().join("\n")
    };

    // Another number of effects comes from the order in which things happened.
    if difference.missing.len() != difference.extra.len() {
        return Class::Concurrency;
    }
    let (first, other) = (targets(&difference.missing), targets(&difference.extra));

    // Effects carry no times, so that no number in them may be taken for a clock's.
    let never = Window { from_ms: i128::MAX, to_ms: i128::MIN };
    match classify_bytes(first.as_bytes(), other.as_bytes(), (never, never)) {
        Class::Unknown => Class::Random,
        class => class,
    }
}

fn classify_bytes(first: &[u8], other: &[u8], windows: (Window, Window)) -> Class {
    if is_reordered(first, other) {
        return Class::Concurrency;
    }
    let same = first.iter().zip(other).take_while(|(one, two)| one == two).count();
    let (one, two) = (token(first, same), token(other, same));
    if one.contains("/proc/") || two.contains("/proc/") {
        return Class::Path;
    }
    let clock = |text: &str, window: Window| {
        looks_like_date(text) || numbers(text).any(|number| is_time(number, window))
    };
    if clock(&one, windows.0) && clock(&two, windows.1) {
        return Class::Clock;
    }
    if is_address(&one) && is_address(&two) {
        return Class::Memory;
    }
    if let (Some(a), Some(b)) = (plain_number(&one), plain_number(&two)) {
        // Ids of processes that were started one after the other are near each other.
        if a > 1 && b > 1 && a < MAX_PID && b < MAX_PID && a.abs_diff(b) < 20_000 && a > 100 {
            return Class::Pid;
        }

        // Long numbers are rarely durations.
        return if one.len().max(two.len()) >= 6 { Class::Random } else { Class::Clock };
    }
    if is_measurement(&one) && is_measurement(&two) {
        return Class::Clock;
    }
    if looks_random(&one) && looks_random(&two) {
        return Class::Random;
    }
    Class::Unknown
}

/// Whether both have the same lines in another order, or the same bytes where lines were torn
/// apart.
fn is_reordered(first: &[u8], other: &[u8]) -> bool {
    let sorted = |bytes: &[u8], separator: u8| {
        let mut parts: Vec<Vec<u8>> =
            bytes.split(|byte| *byte == separator).map(<[u8]>::to_vec).collect();
        parts.sort();
        parts
    };
    let trim = |bytes: &[u8]| bytes.trim_ascii().to_vec();
    let (first, other) = (trim(first), trim(other));
    first.len() == other.len()
        && first != other
        && [b'\n', b' ', b','].iter().any(|separator| {
            let parts = sorted(&first, *separator);
            parts.len() > 1 && parts == sorted(&other, *separator)
        })
}

/// The word round the byte `at`: letters, digits, and what joins them in numbers, dates and
/// identifiers.
fn token(bytes: &[u8], at: usize) -> String {
    let joins = |byte: &u8| byte.is_ascii_alphanumeric() || b".:-_+/".contains(byte);
    let at = at.min(bytes.len());
    let from = bytes[..at].iter().rposition(|byte| !joins(byte)).map_or(0, |before| before + 1);
    let to =
        bytes[at..].iter().position(|byte| !joins(byte)).map_or(bytes.len(), |after| at + after);
    String::from_utf8_lossy(&bytes[from..to]).into_owned()
}

fn numbers(text: &str) -> impl Iterator<Item = i128> + '_ {
    text.split(|letter: char| !letter.is_ascii_digit()).filter_map(|digits| digits.parse().ok())
}

/// Whether a number is a moment near the attempt, in seconds, milli-, micro- or nanoseconds.
fn is_time(number: i128, window: Window) -> bool {
    [(1_000, 1), (1, 1), (1, 1_000), (1, 1_000_000)].into_iter().any(|(times, by)| {
        let ms = number * times / by;
        (window.from_ms.saturating_sub(CLOCK_SLACK_MS)
            ..=window.to_ms.saturating_add(CLOCK_SLACK_MS))
            .contains(&ms)
    })
}

/// `12:34:56`, `2026-11-28T…`.
fn looks_like_date(text: &str) -> bool {
    let shape: String =
        text.chars().map(|letter| if letter.is_ascii_digit() { '9' } else { letter }).collect();
    shape.contains("9:99:99") || shape.contains("9999-99-99")
}

fn plain_number(text: &str) -> Option<u64> {
    text.trim_matches(|letter: char| !letter.is_ascii_digit())
        .parse()
        .ok()
        .filter(|_| text.chars().filter(char::is_ascii_alphabetic).count() == 0)
}

/// `12.345`, `7ms`, `0.8s`.
fn is_measurement(text: &str) -> bool {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    matches!(unit, "" | "s" | "ms" | "us" | "ns")
        && digits.parse::<f64>().is_ok_and(|number| !unit.is_empty() || number >= 1.0)
}

fn is_address(text: &str) -> bool {
    // Where heaps, stacks and programs lie in the address space of Linux.
    text.strip_prefix("0x").is_some_and(|hex| {
        hex.len() >= 8
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
            && (hex.starts_with('7') || hex.starts_with('5'))
    })
}

/// A long run of letters and digits, or a fraction below 1.
fn looks_random(text: &str) -> bool {
    let word = text.rsplit('/').next().unwrap_or(text);
    word.chars().filter(char::is_ascii_alphanumeric).count() >= 6
}

/// One effect in words.
pub fn effect_text(trace: &Trace) -> String {
    let other = trace.other.as_ref().map_or_else(String::new, |other| format!(" → {other}"));
    let allowed = if trace.allowed { "" } else { " (refused)" };
    format!(
        "{} {} {}{other}{allowed}",
        crate::judging::finding::name(trace.category),
        trace.operation,
        trace.target
    )
}

impl Divergence {
    /// Puts together what is known.
    pub fn new(
        difference: &Difference,
        attempt: u32,
        cause: Cause,
        variations: Vec<Variation>,
        class: Class,
        last_input: Option<String>,
    ) -> Self {
        let list = |traces: &[Trace]| traces.iter().take(MAX_EFFECTS).map(effect_text).collect();
        Self {
            field: difference.field.clone(),
            attempt,
            first: difference.bytes.as_ref().map(|(first, other)| first_difference(first, other)),
            missing: list(&difference.missing),
            extra: list(&difference.extra),
            detail: difference.detail.clone(),
            cause,
            variations,
            class,
            last_input,
            advice: class.advice(),
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::Repeat => {
                write!(out, "{} of attempt {} differs from the first", self.field, self.attempt)?
            }
            Cause::Variation => {
                let names: Vec<_> = self.variations.iter().map(|one| one.name()).collect();
                let with = if names.is_empty() {
                    "the varied surroundings".to_owned()
                } else {
                    names.join(" and ")
                };
                write!(out, "{} depends on {with}", self.field)?;
            }
        }
        if let Some(first) = &self.first {
            write!(
                out,
                " at byte {}, line {}, column {}: first {:?}, then {:?}",
                first.byte, first.line, first.column, first.first, first.other
            )?;
        }
        if let Some(detail) = &self.detail {
            write!(out, ": {detail}")?;
        }
        if let Some(effect) = self.missing.first() {
            write!(out, "; only the first attempt had {effect}")?;
        }
        if let Some(effect) = self.extra.first() {
            write!(out, "; only the other had {effect}")?;
        }
        write!(out, "; cause: {}", self.class.name())?;
        if let Some(input) = &self.last_input {
            write!(out, ", last asked: {input}")?;
        }
        write!(out, "; what to do: {}", self.advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Window = Window { from_ms: 1_795_872_000_000, to_ms: 1_795_872_000_200 };

    fn class(first: &str, other: &str) -> Class {
        classify_bytes(first.as_bytes(), other.as_bytes(), (NOW, NOW))
    }

    #[test]
    fn the_first_difference_names_byte_line_and_both_sides() {
        let found = first_difference(b"same\nabc1def\n", b"same\nabc2def\n");
        assert_eq!((found.byte, found.line, found.column), (8, 2, 4));
        assert_eq!((found.first.as_str(), found.other.as_str()), ("abc1def", "abc2def"));
        let cut = first_difference(b"ab", b"ab\x1b[2Jc");
        assert_eq!((cut.byte, cut.other.as_str()), (2, "ab\\u{1b}[2Jc"));
    }

    #[test]
    fn a_difference_is_classed_by_what_differs() {
        for (first, other, expected) in [
            ("at 1795872000017", "at 1795872000133", Class::Clock),
            ("at 2026-11-28T12:00:00.017Z", "at 2026-11-28T12:00:00.133Z", Class::Clock),
            ("took 12.25ms", "took 14.5ms", Class::Clock),
            ("pid 41210", "pid 41333", Class::Pid),
            ("id 9f2ab77c01", "id 0b11ffd2aa", Class::Random),
            ("x 0.7341992811", "x 0.1198230021", Class::Random),
            ("a\nb\nc\n", "b\na\nc\n", Class::Concurrency),
            ("at 0x7f3a91c04010", "at 0x7ffe10c04010", Class::Memory),
        ] {
            assert_eq!(class(first, other), expected, "{first} | {other}");
        }
    }

    #[test]
    fn a_multiset_has_each_as_often_as_it_stands() {
        let trace = |target: &str| Trace {
            category: guard::Category::FsWrite,
            operation: "openat".to_owned(),
            target: target.to_owned(),
            other: None,
            executable: String::new(),
            argv: Vec::new(),
            allowed: true,
        };
        let (missing, extra) =
            multiset_difference(&["a", "a", "b"].map(trace), &["a", "b", "c"].map(trace));
        assert_eq!((missing, extra), (vec![trace("a")], vec![trace("c")]));
    }
}
