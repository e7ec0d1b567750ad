//! What is to be run: a program with everything it is given, nothing inherited.

use std::ffi::OsString;
use std::path::PathBuf;

/// One command, complete: the guarded process gets exactly this and nothing of the calling process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program. A name without a slash is looked up in the `PATH` of [`Command::env`], else a
    /// path, relative to `cwd`.
    pub program: PathBuf,
    /// Arguments after the program's name.
    pub args: Vec<OsString>,
    /// Working directory; must lie inside the policy's root.
    pub cwd: PathBuf,
    /// The whole environment. Nothing of the caller's environment is added.
    pub env: Vec<(OsString, OsString)>,
    /// What the process reads on descriptor 0.
    pub stdin: Stdin,
}

impl Command {
    /// A command without arguments, environment or input.
    pub fn new(program: impl Into<PathBuf>, cwd: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            cwd: cwd.into(),
            env: Vec::new(),
            stdin: Stdin::Null,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds one variable to the environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Sets what the process reads on descriptor 0.
    #[must_use]
    pub fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }
}

/// What the process reads on descriptor 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// These bytes, then end of file.
    Bytes(Vec<u8>),
    /// This file, opened for reading by the caller's rights.
    File(PathBuf),
}
