//! What of one attempt is compared: output, files, what was left, side effects.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use guard::{Category, Effect, Multiset, Report};
use seal::tree::{Limits, Tree, TreeError};
use wire::digest::Digest;
use wire::statement::Code;

use crate::judging::finding::Finding;
use crate::module::spec::Case;
use crate::sandbox::outputs::{self, OutputError};
use crate::sandbox::workspace::Layout;

/// How large a captured folder may be.
const CAPTURED: Limits = Limits { files: outputs::MAX_FILES, bytes: outputs::MAX_BYTES };
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
    /// Its permissions; 0 where they are not compared.
    pub mode: u32,
    /// Where it leads, if the path is a link.
    pub link: Option<PathBuf>,
    /// The bytes of a file that is not too large to be shown.
    pub bytes: Option<Vec<u8>>,
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
            mode: 0,
            link: None,
            bytes: (output.content.len() <= MAX_KEPT).then_some(output.content),
        };
        (output.path, content)
    };

    let (effects, all_effects) = traces(&report, layout, pristine)?;
    Ok(Ok(Captured {
        stdout: report.stdout.bytes,
        stderr: report.stderr.bytes,
        files,
        outputs: outputs.into_iter().map(left).collect(),
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
        return Ok(Err("is not there".to_owned()));
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
    };

    if metadata.is_dir() {
        return Ok(match Tree::from_dir(&found, &CAPTURED) {
            Ok(tree) => Ok(Content { digest: Some(tree.digest()), ..content }),
            Err(TreeError::Empty) => Ok(content),
            Err(error) => Err(format!("is a folder that cannot be captured: {error}")),
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
        // The file by which a varied attempt shifts the clock is ours, not the program's.
        let mut argv: Vec<String> = effect.argv.iter().map(|word| self.text(word)).collect();
        if argv.get(1).is_some_and(|word| word == "--require") && argv.len() > 2 {
            argv.drain(1..3);
        }
        if !effect.argv_exact {
            // A process can rewrite what it shows of itself; what it was started with is not known.
            argv.clear();
        }
        Trace {
            category: effect.category,
            operation: effect.operation.clone(),
            target: self.path(&effect.target),
            other: effect.other.as_deref().map(|path| self.path(path)),
            executable: self.text(&effect.executable),
            argv,
            allowed: effect.allowed,
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

    /// The path with its place named, and with what the attempt made and left no trace of, such as
    /// the random part of a temporary file's name, as [`TEMPORARY`].
    fn path(&self, target: &str) -> String {
        let path = Path::new(target);
        for (place, name) in self.places() {
            let Ok(below) = path.strip_prefix(place) else { continue };
            let (mut here, mut named) = (place.to_owned(), name.to_owned());
            for part in below {
                here.push(part);
                named.push('/');

                // Gone at the end and not there before: the attempt made it for itself. A name that
                // was there before keeps its meaning, though it was removed.
                let was_there = place == self.layout.module
                    && fs::symlink_metadata(
                        self.pristine.join(here.strip_prefix(place).unwrap_or(&here)),
                    )
                    .is_ok();
                if fs::symlink_metadata(&here).is_err() && !was_there {
                    named.push_str(TEMPORARY);
                } else {
                    named.push_str(&part.to_string_lossy());
                }
            }
            return named;
        }
        self.text(target)
    }
}
