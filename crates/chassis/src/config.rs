//! The environment, read once, with every mistake reported at once and by name.
//!
//! A getter never fails: it notes what is wrong and answers something harmless, and [`Env::finish`]
//! refuses the whole configuration if anything was noted. So an operator corrects five mistakes in
//! one go. Values are never part of a mistake, since any of them may be a secret (R9).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use rustix::fs::{Access, access};

use crate::postgres;

pub use env_file::EnvFileError;
pub use secret::Secret;

mod env_file;
mod secret;

/// A set of variables. A name may list older spellings after it, as in
/// `RUNNER_SECRET|RUNNER_PRIVATE_KEY`: the first that is set counts. Set to nothing is not set.
#[derive(Default)]
pub struct Env {
    variables: BTreeMap<String, String>,
    mistakes: RefCell<Vec<Mistake>>,
}

/// Every mistake of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Mistake>);

/// One setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The variable, by its first name.
    pub variable: String,
    /// What is wrong and what is expected; never the value.
    pub problem: String,
}

impl Env {
    /// The variables of this process. One that is not UTF-8 counts as not set.
    pub fn process() -> Self {
        let text = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::from_map(text)
    }

    /// Exactly these variables, for tests.
    pub fn from_map<K: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { variables: variables.collect(), ..Self::default() }
    }

    /// The value, which must be there. Empty if it is not.
    pub fn required(&self, names: &str) -> String {
        self.optional(names).unwrap_or_else(|| {
            self.mistake(names, "is not set");
            String::new()
        })
    }

    /// The value, if it is there.
    pub fn optional(&self, names: &str) -> Option<String> {
        let set = |name| self.variables.get(name).filter(|value| !value.trim().is_empty());
        names.split('|').find_map(set).map(|value| value.trim().to_owned())
    }

    /// The value, or `default`.
    pub fn with_default(&self, names: &str, default: &str) -> String {
        self.optional(names).unwrap_or_else(|| default.to_owned())
    }

    /// `true false 1 0 yes no` in any case, and nothing else (R3).
    pub fn boolean(&self, names: &str, default: bool) -> bool {
        let value = self.optional(names).map(|value| value.to_ascii_lowercase());
        match value.as_deref() {
            None => default,
            Some("true" | "1" | "yes") => true,
            Some("false" | "0" | "no") => false,
            Some(_) => {
                self.mistake(names, "expected true, false, 1, 0, yes or no");
                default
            }
        }
    }

    /// A number in `range`, or `default`.
    pub fn number<T>(&self, names: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(value) = self.optional(names) else { return default };
        match value.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = (range.start(), range.end());
                self.mistake(names, &format!("expected a whole number from {least} to {most}"));
                default
            }
        }
    }

    /// A URL of one of `schemes`, if there is one. Kept as text, since a database's URL is only
    /// read by its driver.
    pub fn optional_url(&self, names: &str, schemes: &[&str]) -> Option<String> {
        let value = self.optional(names)?;
        let read = url::Url::parse(&value);
        let is_expected = read.as_ref().is_ok_and(|url| schemes.contains(&url.scheme()));
        if is_expected && has_cut_password(&value) {
            let problem = format!("has an @ behind the host and the port; {ESCAPES}");
            self.mistake(names, &problem);
            return None;
        }
        if is_expected {
            return Some(value);
        }
        let starts =
            |scheme: &&str| value.strip_prefix(*scheme).is_some_and(|rest| rest.starts_with("://"));
        let problem = match read {
            // The reader's words say which part is wrong, and never what it is.
            Err(error) if schemes.iter().any(starts) => format!("is no URL: {error}; {ESCAPES}"),
            _ => format!("expected a URL that starts with {}://", schemes.join(":// or ")),
        };
        self.mistake(names, &problem);
        None
    }

    /// A URL of one of `schemes`, or `default`.
    pub fn url(&self, names: &str, default: &str, schemes: &[&str]) -> String {
        self.optional_url(names, schemes).unwrap_or_else(|| default.to_owned())
    }

    /// A URL of one of `schemes`, which must be there. Empty if it is not.
    pub fn required_url(&self, names: &str, schemes: &[&str]) -> String {
        if self.optional(names).is_none() {
            return self.required(names);
        }
        self.optional_url(names, schemes).unwrap_or_default()
    }

    /// The address of the database, `DATABASE_URL`, which must be there. Empty if it is not. A
    /// parameter that its driver does not read is a mistake: the driver would log its value.
    pub fn database_url(&self) -> String {
        const NAME: &str = "DATABASE_URL";
        let url = self.required_url(NAME, &["postgres", "postgresql"]);
        if let Err(problem) = postgres::check_parameters(&url) {
            self.mistake(NAME, &problem);
        }
        url
    }

    /// A value that is never printed and must be there. Empty if it is not.
    pub fn secret(&self, names: &str) -> Secret {
        Secret::new(self.required(names))
    }

    /// A value that is never printed, if it is there.
    pub fn optional_secret(&self, names: &str) -> Option<Secret> {
        self.optional(names).map(Secret::new)
    }

    /// The value as `read` understands it, if it is there; `read`'s refusal is the mistake and must
    /// not repeat the value.
    pub fn parse<T, E: Display>(
        &self,
        names: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.optional(names)?;
        read(&value).map_err(|error| self.mistake(names, &error.to_string())).ok()
    }

    /// The values between commas, trimmed; none if it is not there.
    pub fn list(&self, names: &str) -> Vec<String> {
        let value = self.optional(names).unwrap_or_default();
        let parts = value.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    }

    /// Notes a mistake unless `folder` is a folder that this process may write to, or one that it
    /// can make. Nothing is made here.
    pub fn check_folder(&self, names: &str, folder: &Path) {
        // What is there of the path decides. A relative one ends with nothing, which is the working
        // folder.
        let is_here = |path: &Path| path.as_os_str().is_empty();
        let mut parts =
            folder.ancestors().map(|path| if is_here(path) { Path::new(".") } else { path });
        let Some(there) = parts.find(|path| path.exists()) else { return };
        if !there.is_dir() {
            self.mistake(names, "is not a folder, or is below something that is not a folder");
        } else if let Err(error) = access(there, Access::WRITE_OK | Access::EXEC_OK) {
            self.mistake(names, &format!("this process can neither write nor make it: {error}"));
        }
    }

    /// Notes a mistake that only the caller can see, such as one of two settings that need each
    /// other. The same one again, as of the second entry of a list, is noted once.
    pub fn mistake(&self, names: &str, problem: &str) {
        let variable = names.split('|').next().unwrap_or(names).to_owned();
        let mistake = Mistake { variable, problem: problem.to_owned() };
        let mut mistakes = self.mistakes.borrow_mut();
        if !mistakes.contains(&mistake) {
            mistakes.push(mistake);
        }
    }

    /// Whether everything that was asked for could be had.
    ///
    /// # Errors
    ///
    /// Every mistake noted so far, in the order of asking.
    pub fn finish(self) -> Result<(), ConfigErrors> {
        let mistakes = self.mistakes.into_inner();
        if mistakes.is_empty() { Ok(()) } else { Err(ConfigErrors(mistakes)) }
    }
}

/// How characters that end a part of a URL are written within one.
const ESCAPES: &str = "in a user's name or a password, % is written %25, / %2F, @ %40, : %3A, \
                       # %23 and ? %3F";

/// Whether a URL looks as if a `/`, `?` or `#` in its password had ended the host and the port:
/// `user:12/34@host` names the host `user`. What is shown as host and port would be a part of the
/// password (R9).
fn has_cut_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    // The value of a parameter may hold an @.
    let name = query.split('=').next().unwrap_or_default();
    authority.contains(':')
        && !authority.contains('@')
        && (path.contains('@') || name.contains('@'))
}

impl fmt::Debug for Env {
    /// Names only: any value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Display for ConfigErrors {
    /// On one line, since a failed start is reported in one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, Mistake { variable, problem }) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(f, "{separator}{variable}: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests;
