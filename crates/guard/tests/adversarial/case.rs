//! One case: a program, what it declared, and the verdict the guard owes it.

use std::fmt;

use guard::{Capability, Code, Exit, Reads, Report, Tier, Verdict};

use crate::programs;
use crate::setting::Setting;

/// What is run.
#[derive(Debug, Clone, Copy)]
pub enum Program {
    /// A probe of the C program, below a prefix.
    Probe(&'static str, &'static str),
    /// An ES module.
    Module(&'static str),
    /// A CommonJS script.
    Script(&'static str),
    /// A shell script.
    Shell(&'static str),
}

/// What the guard owes.
#[derive(Debug, Clone, Copy)]
pub enum Expect {
    Pass,
    /// `E_SIDEEFFECTS_DECLARATION`, naming all of these.
    Undeclared(&'static [Capability]),
    /// `E_SIDEEFFECTS_FORBIDDEN`.
    Forbidden,
    /// `E_ORACLE_EXEC` with this end, as [`end`] writes it; empty for any.
    Exec(&'static str),
    /// Anything but a pass: how a race ends is the scheduler's to say.
    NoPass,
    /// Any verdict: the deed is impossible, and whether it was tried in time is the scheduler's to
    /// say.
    Harmless,
}

/// A row of the table.
#[derive(Debug, Clone)]
pub struct Case {
    pub class: &'static str,
    pub name: String,
    pub program: Program,
    pub declared: Vec<Capability>,
    pub expect: Expect,
    /// What is owed where the command can see that it is traced, if that is something else.
    pub traced: Option<Expect>,
    /// Reads outside are denied (`--strict-reads`).
    pub strict: bool,
    /// A file the case is about, which not every machine has.
    pub needs: Option<&'static str>,
    /// The check says what may change outside.
    pub outside_changes: bool,
    pub argument: &'static str,
    /// Prepares the files and folders.
    pub ready: fn(&mut Setting),
    /// What must be true afterwards beside the verdict.
    pub check: fn(&Setting, &Report) -> Result<(), String>,
}

pub fn case(
    class: &'static str,
    name: &str,
    program: Program,
    declared: &[Capability],
    expect: Expect,
) -> Case {
    Case {
        class,
        name: name.replace('_', "-"),
        program,
        declared: declared.to_vec(),
        expect,
        traced: None,
        strict: false,
        needs: None,
        outside_changes: false,
        argument: "",
        ready: |_| {},
        check: |_, _| Ok(()),
    }
}

impl Case {
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// The third argument of a probe.
    pub fn argument(mut self, argument: &'static str) -> Self {
        self.argument = argument;
        self
    }

    pub fn needs(mut self, path: &'static str) -> Self {
        self.needs = Some(path);
        self
    }

    pub fn lets_outside_change(mut self) -> Self {
        self.outside_changes = true;
        self
    }

    pub fn traced(mut self, expect: Expect) -> Self {
        self.traced = Some(expect);
        self
    }

    /// What the guard owes a run of this tier.
    fn owed(&self, tier: Tier) -> Expect {
        self.traced.filter(|_| tier == Tier::Traced).unwrap_or(self.expect)
    }

    pub fn ready(mut self, ready: fn(&mut Setting)) -> Self {
        self.ready = ready;
        self
    }

    pub fn check(mut self, check: fn(&Setting, &Report) -> Result<(), String>) -> Self {
        self.check = check;
        self
    }

    /// Whether this machine has what the program is written for.
    pub fn can_run(&self) -> bool {
        let node = matches!(self.program, Program::Module(_) | Program::Script(_));
        (!node || programs::node().is_some())
            && self.needs.is_none_or(|path| std::path::Path::new(path).exists())
    }

    /// Runs the case; the report, and what is wrong with it.
    pub fn run(&self) -> (Report, Result<(), String>) {
        let mut setting = Setting::new();
        setting.declare(&self.declared);
        if self.strict {
            let node = programs::node().into_iter();
            setting.policy.reads = Reads::Deny { allow: node.collect() };
        }
        setting.argument = self.argument.to_owned();
        (self.ready)(&mut setting);
        let command = self.command(&setting);
        guard::prepare_ownership(&setting.base, guard::Identity::Auto).unwrap();
        let (outside, inside) = (setting.outside(), setting.inside());
        let report = setting.run(&command);
        let result = self
            .judged(&report)
            .and_then(|()| match self.outside_changes {
                true => Ok(()),
                false => unchanged("outside the root", &outside, &setting.outside()),
            })
            .and_then(|()| match self.owed(report.tier) {
                Expect::Undeclared(missing) if missing.contains(&Capability::FsWrite) => {
                    unchanged("in the root", &inside, &setting.inside())
                }
                _ => Ok(()),
            })
            .and_then(|()| (self.check)(&setting, &report));
        (report, result)
    }

    fn command(&self, setting: &Setting) -> guard::Command {
        let write = |name: &str, text: &str| std::fs::write(setting.root.join(name), text).unwrap();
        match self.program {
            Program::Probe(name, prefix) => {
                setting.command(programs::probe()).args([name, prefix, setting.argument.as_str()])
            }
            Program::Module(text) => {
                write("main.mjs", text);
                setting.command(programs::node().unwrap()).arg("main.mjs")
            }
            Program::Script(text) => {
                write("main.cjs", text);
                setting.command(programs::node().unwrap()).arg("main.cjs")
            }
            Program::Shell(text) => setting.command("/bin/sh").args(["-c", text]),
        }
    }

    fn judged(&self, report: &Report) -> Result<(), String> {
        let is = |verdict, code| (report.verdict, report.code) == (verdict, code);
        let owed = self.owed(report.tier);
        let right = match owed {
            Expect::Pass => is(Verdict::Pass, None),
            Expect::Forbidden => is(Verdict::Fail, Some(Code::Forbidden)),
            Expect::Undeclared(missing) => {
                is(Verdict::Fail, Some(Code::Undeclared))
                    && missing
                        .iter()
                        .all(|one| report.reason.contains(&format!("{one} is not declared")))
            }
            Expect::Exec(how) => {
                is(Verdict::Fail, Some(Code::Exec)) && (how.is_empty() || how == end(&report.exit))
            }
            Expect::NoPass => report.verdict != Verdict::Pass,
            Expect::Harmless => true,
        };
        if right { Ok(()) } else { Err(format!("expected {owed}")) }
    }
}

fn unchanged(
    place: &str,
    before: &crate::setting::FileStates,
    after: &crate::setting::FileStates,
) -> Result<(), String> {
    let gone = before.iter().find(|(path, _)| !after.contains_key(*path)).map(|(path, _)| path);
    let changed =
        after.iter().find(|(path, line)| before.get(*path) != Some(line)).map(|(path, _)| path);
    match gone.or(changed) {
        None => Ok(()),
        Some(path) => Err(format!(
            "{place} {} changed from {:?} to {:?}",
            path.display(),
            before.get(path),
            after.get(path)
        )),
    }
}

/// How a run ended, in a word.
pub fn end(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("code {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
        Exit::Timeout => "timeout".to_owned(),
        Exit::Limit(name) => format!("limit {name}"),
        Exit::NotStarted => "not started".to_owned(),
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => out.write_str("PASS"),
            Self::Undeclared(missing) => {
                let names: Vec<&str> = missing.iter().map(|one| one.name()).collect();
                write!(out, "FAIL `E_SIDEEFFECTS_DECLARATION` ({})", names.join(", "))
            }
            Self::Forbidden => out.write_str("FAIL `E_SIDEEFFECTS_FORBIDDEN`"),
            Self::Exec("") => out.write_str("FAIL `E_ORACLE_EXEC`"),
            Self::Exec(how) => write!(out, "FAIL `E_ORACLE_EXEC` ({how})"),
            Self::NoPass => out.write_str("no PASS"),
            Self::Harmless => out.write_str("no harm"),
        }
    }
}

/// A report for people who look for what went wrong.
pub fn show(report: &Report) -> String {
    let text =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(2_000).collect::<String>();
    let effects: Vec<String> =
        report.effects.iter().take(20).map(|effect| format!("  {effect:?}")).collect();
    format!(
        "{:?} {:?} {}\nexit {:?}, counts {:?}\nstdout {}\nstderr {}\n{}",
        report.verdict,
        report.code,
        report.reason,
        report.exit,
        report.counts,
        text(&report.stdout.bytes),
        text(&report.stderr.bytes),
        effects.join("\n")
    )
}
