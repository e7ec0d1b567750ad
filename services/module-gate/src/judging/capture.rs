//! What of one attempt is compared: output, files, what was left, side effects.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use guard::{Category, Effect, Multiset, Report};
use seal::tree::{Limits, Tree, TreeError};
use walkdir::WalkDir;
use wire::digest::Digest;
use wire::statement::Code;

use crate::judging::finding::Finding;
use crate::judging::inputs::CLOCK_FILE;
use crate::module::spec::Case;
use crate::sandbox::outputs::{self, OutputError};
use crate::sandbox::workspace::Layout;

/// How large a captured folder may be.
const CAPTURED: Limits = Limits { files: outputs::MAX_FILES, bytes: outputs::MAX_BYTES };
/// Most files and folders below a captured folder, or left in `LUMIO_OUTPUT`.
const MAX_BELOW: usize = 4 * outputs::MAX_FILES;
/// Most bytes of one file that are kept, so that a difference can be shown.
const MAX_KEPT: usize = 4 << 20;
/// What replaces the part of a path that an attempt made and left no trace of.
const TEMPORARY: &str = "<temporary>";

/// What of one attempt is compared.
#[derive(Debug)]
pub struct Captured {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Captured files and folders, in the order of the spec.
    pub files: Vec<(String, Content)>,
    /// What was left in `LUMIO_OUTPUT`, sorted by path.
    pub outputs: Vec<(String, Content)>,
    /// The folders that were left there, with the owner's permissions: the others follow from the
    /// umask, which is varied.
    pub output_folders: Vec<(PathBuf, u32)>,
    /// Side effects that the report shows, sorted: by them a difference is described.
    pub effects: Vec<Trace>,
    /// All side effects, however many (M14): by them attempts are compared.
    pub all_effects: Multiset,
}

/// What is at a captured path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// File or folder.
    pub kind: Kind,
    /// Of the content, by the rule of module trees for a folder (O2); none for a folder without
    /// files.
    pub digest: Option<Digest>,
    /// Its permissions.
    pub mode: u32,
    /// Where it leads, if the path is a link.
    pub link: Option<PathBuf>,
    /// The bytes of a file that is not too large to be shown.
    pub bytes: Option<Vec<u8>>,
    /// Everything below a captured folder with its permissions, ordered by path: the digest has
    /// neither folders nor more of a mode than whether the owner may execute.
    pub below: Vec<(PathBuf, u32)>,
}

/// File or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// A side effect as it is compared (M8): paths relative to the attempt's own places, without
/// process ids, times and order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trace {
    /// What kind of thing.
    pub category: Category,
    /// The system call.
    pub operation: String,
    /// Path, program or address.
    pub target: String,
    /// The second path of a call that has two.
    pub other: Option<String>,
    /// The program that did it.
    pub executable: String,
    /// Its arguments.
    pub argv: Vec<String>,
    /// Whether it was allowed.
    pub allowed: bool,
}

/// Takes what the case compares from an attempt that is over.
///
/// # Errors
/// The disk's own, which says nothing about the module.
pub fn capture(
    layout: &Layout,
    pristine: &Path,
    case: &Case,
    report: Report,
) -> io::Result<Result<Captured, Finding>> {
    let mut files = Vec::new();
    for path in &case.capture.files {
        match content(&layout.module, path)? {
            Ok(content) => files.push((path.clone(), content)),
            Err(reason) => {
                let reason = format!("the captured file {path:?} {reason}");
                return Ok(Err(Finding::new(Code::OracleExec, reason)));
            }
        }
    }

    let outputs = match outputs::collect(&layout.output) {
        Ok(outputs) => outputs,
        Err(OutputError::Refused(reason)) => {
            return Ok(Err(Finding::new(Code::OutputLimit, reason)));
        }
        Err(OutputError::Io(error)) => return Err(error),
    };
    let left = |output: outputs::OutputFile| {
        let content = Content {
            kind: Kind::File,
            digest: Some(output.sha256),
            // The owner's alone: the others follow from the umask, which is varied.
            mode: output.mode & 0o700,
            link: None,
            bytes: (output.content.len() <= MAX_KEPT).then_some(output.content),
            below: Vec::new(),
        };
        (output.path, content)
    };

    let output_folders = match below(&layout.output) {
        Ok(below) => below.into_iter().filter(|entry| entry.is_folder),
        Err(reason) => {
            let reason = format!("the outputs cannot be compared: {reason}");
            return Ok(Err(Finding::new(Code::OutputLimit, reason)));
        }
    };
    let output_folders = output_folders.map(|entry| (entry.path, entry.mode & 0o700)).collect();

    let (effects, all_effects) = traces(&report, layout, pristine)?;
    Ok(Ok(Captured {
        stdout: report.stdout.bytes,
        stderr: report.stderr.bytes,
        files,
        outputs: outputs.into_iter().map(left).collect(),
        output_folders,
        effects,
        all_effects,
    }))
}

/// What is at a captured path, or why it cannot be captured. Nothing of the module runs any
/// more.
fn content(module: &Path, path: &str) -> io::Result<Result<Content, String>> {
    let named = module.join(path);

    // The guard has proven that nothing outside was written, yet a link may point anywhere.
    let Ok(found) = named.canonicalize() else {
        let reason =
            if named.is_symlink() { "is a link that leads nowhere" } else { "is not there" };
        return Ok(Err(reason.to_owned()));
    };
    if !found.starts_with(module) {
        return Ok(Err("leads out of the module".to_owned()));
    }
    let metadata = fs::metadata(&found)?;
    let mut content = Content {
        kind: if metadata.is_dir() { Kind::Folder } else { Kind::File },
        digest: None,
        mode: metadata.permissions().mode() & 0o7777,
        link: fs::read_link(&named).ok(),
        bytes: None,
        below: Vec::new(),
    };

    if metadata.is_dir() {
        content.digest = match Tree::from_dir(&found, &CAPTURED) {
            Ok(tree) => Some(tree.digest()),
            Err(TreeError::Empty) => None,
            Err(error) => return Ok(Err(format!("is a folder that cannot be captured: {error}"))),
        };
        return Ok(match below(&found) {
            Ok(below) => {
                let below = below.into_iter().map(|entry| (entry.path, entry.mode)).collect();
                Ok(Content { below, ..content })
            }
            Err(reason) => Err(format!("is a folder that cannot be captured: {reason}")),
        });
    }
    if !metadata.is_file() {
        return Ok(Err("is neither file nor folder".to_owned()));
    }
    if metadata.len() > outputs::MAX_BYTES {
        return Ok(Err(format!("is larger than {} bytes", outputs::MAX_BYTES)));
    }
    match fs::read(&found) {
        Ok(bytes) => {
            content.digest = Some(Digest::of(&bytes));
            content.bytes = (bytes.len() <= MAX_KEPT).then_some(bytes);
            Ok(Ok(content))
        }
        // A module may take its own file's permissions away; that is its doing, not the disk's.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Ok(Err("may not be read".to_owned()))
        }
        Err(error) => Err(error),
    }
}

/// A file or folder below a folder.
struct Below {
    path: PathBuf,
    mode: u32,
    is_folder: bool,
}

/// The files and folders below `folder`, ordered by path.
///
/// # Errors
/// In words: there are too many, or one cannot be looked at.
fn below(folder: &Path) -> Result<Vec<Below>, String> {
    let mut below = Vec::new();
    for entry in WalkDir::new(folder).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| error.to_string())?;
        if below.len() == MAX_BELOW {
            return Err(format!("there are more than {MAX_BELOW} files and folders"));
        }
        let mode = entry.metadata().map_err(|error| error.to_string())?.permissions().mode();
        let path = entry.path().strip_prefix(folder).unwrap_or(entry.path()).to_owned();
        below.push(Below { path, mode: mode & 0o7777, is_folder: entry.file_type().is_dir() });
    }
    Ok(below)
}

/// The effects that are compared, all but reads: those that can be shown, and the digest of all.
fn traces(report: &Report, layout: &Layout, pristine: &Path) -> io::Result<(Vec<Trace>, Multiset)> {
    let names = Names { layout, pristine };

    // Reads change nothing, and those of a runtime differ from run to run.
    let compared = report.effects.iter().filter(|effect| effect.category != Category::FsRead);
    let mut traces: Vec<Trace> = compared.map(|effect| names.trace(effect)).collect();
    traces.sort();

    // The report keeps some of many effects; this counts every one (M14).
    let mut all = Multiset::default();
    report.each_effect(|effect| names.trace(effect).add_to(&mut all))?;
    Ok((traces, all))
}

impl Trace {
    /// Adds every part that is compared.
    fn add_to(&self, all: &mut Multiset) {
        let category = format!("{:?}", self.category);
        let allowed = [u8::from(self.allowed)];
        let fixed = [
            category.as_bytes(),
            self.operation.as_bytes(),
            self.target.as_bytes(),
            self.other.as_deref().unwrap_or_default().as_bytes(),
            self.executable.as_bytes(),
            &allowed,
        ];
        all.add(fixed.into_iter().chain(self.argv.iter().map(String::as_bytes)));
    }
}

/// How paths of an attempt are named, wherever its folders lie.
struct Names<'a> {
    layout: &'a Layout,
    pristine: &'a Path,
}

impl Names<'_> {
    fn trace(&self, effect: &Effect) -> Trace {
        let mut argv: Vec<String> = effect.argv.iter().map(|word| self.word(word)).collect();
        without_clock(&mut argv);
        if !effect.argv_exact {
            // A process can rewrite what it shows of itself; what it was started with is not known.
            argv.clear();
        }
        let starts = matches!(effect.category, Category::ProcessShell | Category::ProcessGit);
        let other = |text: &str| if starts { self.command_line(text) } else { self.path(text) };
        Trace {
            category: effect.category,
            operation: effect.operation.clone(),
            target: self.path(&effect.target),
            other: effect.other.as_deref().map(other),
            executable: self.text(&effect.executable),
            argv,
            allowed: effect.allowed,
        }
    }

    /// The arguments of a program that was started, as the report joins them.
    fn command_line(&self, line: &str) -> String {
        let mut words: Vec<String> = line.split(' ').map(|word| self.word(word)).collect();
        without_clock(&mut words);
        words.join(" ")
    }

    /// One argument. A path in one of the attempt's places is named like the target of an effect,
    /// also behind an option's name, as in `--output=PATH`.
    fn word(&self, word: &str) -> String {
        let starts = self.places().into_iter().filter_map(|(place, _)| {
            let at = word.find(&*place.to_string_lossy())?;
            (at == 0 || word[..at].ends_with('=')).then_some(at)
        });
        match starts.min() {
            Some(at) => format!("{}{}", self.text(&word[..at]), self.path(&word[at..])),
            None => self.text(word),
        }
    }

    /// The attempt's places by what they are for. `TMPDIR` lies in `HOME`, so it comes first.
    fn places(&self) -> [(&Path, &'static str); 5] {
        [
            (&self.layout.module, "<module>"),
            (&self.layout.output, "<output>"),
            (&self.layout.tmp, "<tmp>"),
            (&self.layout.home, "<home>"),
            (&self.layout.input, "<input>"),
        ]
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (place, name) in self.places() {
            text = text.replace(&*place.to_string_lossy(), name);
        }
        if let Some(mirror) = &self.layout.mirror {
            // What surrounds the module is named as at home.
            text = text.replace(&*mirror.to_string_lossy(), "");
        }
        text
    }

    /// The path, as reports show it, with its place named, and with what the attempt made and left
    /// no trace of, such as the random part of a temporary file's name, as [`TEMPORARY`].
    fn path(&self, target: &str) -> String {
        let bytes = unescaped(target);
        let path = Path::new(OsStr::from_bytes(&bytes));
        for (place, name) in self.places() {
            let Ok(below) = path.strip_prefix(place) else { continue };
            let (mut here, mut named) = (place.to_owned(), name.to_owned());

            // A slash is never escaped, so that both have the same parts. The escaped parts of the
            // report are used, since they are unambiguous, and so is what is between them: with a
            // slash at its end, a path may mean something else to a program.
            let mut names = below.iter();
            for shown in last_parts(target, below.iter().count()) {
                named.push('/');
                if is_no_name(shown) {
                    named.push_str(shown);
                    continue;
                }
                here.extend(names.next());

                // A name that was there before keeps its meaning, though it was removed.
                let was_there = place == self.layout.module
                    && !is_gone(&self.pristine.join(here.strip_prefix(place).unwrap_or(&here)));
                let is_temporary = is_gone(&here) && !was_there;
                named.push_str(if is_temporary { TEMPORARY } else { shown });
            }
            return named;
        }
        self.text(target)
    }
}

/// The parts of a path's text that its last `names` names and what is round them are.
fn last_parts(text: &str, names: usize) -> Vec<&str> {
    let mut left = names;
    let is_last = |part: &&str| {
        if is_no_name(part) {
            return true;
        }
        let is_wanted = left > 0;
        left = left.saturating_sub(1);
        is_wanted
    };
    let mut parts: Vec<_> = text.rsplit('/').take_while(is_last).collect();
    parts.reverse();
    parts
}

/// Whether a part between slashes leads nowhere else. A [`Path`] has no part for it.
fn is_no_name(part: &str) -> bool {
    matches!(part, "" | ".")
}

/// Whether nothing has this name. What cannot be looked at, such as a name that is too long, is taken
/// to be there: it is compared as it is.
fn is_gone(path: &Path) -> bool {
    let gone = |error: io::Error| {
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    };
    fs::symlink_metadata(path).is_err_and(gone)
}

/// Removes `--require …/shift-clock.cjs`, by which a varied attempt shifts the clock: the gate
/// added it, and Node passes it to the programs that it forks.
fn without_clock(words: &mut Vec<String>) {
    let is_clock = |pair: &[String]| pair[0] == "--require" && pair[1].ends_with(CLOCK_FILE);
    while let Some(at) = words.windows(2).position(is_clock) {
        words.drain(at..at + 2);
    }
}

/// The bytes of a name as reports show it: a backslash is doubled there, and what is no plain text
/// is written `\xNN`.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        let (byte, length) = match (first, after) {
            (b'\\', [b'\\', ..]) => (b'\\', 2),
            (b'\\', [b'x', high, low, ..]) => {
                hex(&[*high, *low]).map_or((first, 1), |byte| (byte, 4))
            }
            _ => (first, 1),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_name_is_the_bytes_that_it_was() {
        assert_eq!(unescaped("a\\\\b\\x0a\\xffé\\"), b"a\\b\n\xff\xc3\xa9\\");
        assert_eq!(unescaped("\\xg1\\x"), b"\\xg1\\x");
    }

    #[test]
    fn the_parts_behind_a_place_keep_every_name_and_every_slash() {
        let parts = |below: &str| {
            let text = format!("/job/module{below}");
            let path = Path::new(&text).strip_prefix("/job/module").unwrap();
            last_parts(&text, path.iter().count()).join("/")
        };
        for below in ["a", "a/", "a//b", "/a", "a/.", "./a/./b//", "a/../b"] {
            assert_eq!(parts(&format!("/{below}")), below);
        }
        assert_eq!(parts(""), "");
    }

    #[test]
    fn the_option_that_shifts_the_clock_is_not_the_programs() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mut line = words("node --require /job/shift-clock.cjs --require own.cjs main.mjs");
        without_clock(&mut line);
        assert_eq!(line, words("node --require own.cjs main.mjs"));
    }
}
