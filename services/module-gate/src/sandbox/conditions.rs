//! The conditions of one attempt: the usual ones, or some of them varied (M8).

use std::collections::BTreeMap;
use std::path::PathBuf;

use guard::Identity;
use serde::Serialize;

use crate::module::variation::Variation;

/// Another user that owns nothing, beside the guard's 65534.
const OTHER_USER: Identity = Identity::User { uid: 65_533, gid: 65_533 };
/// A locale whose numbers, dates and letters differ from those of `C.UTF-8`.
const OTHER_LOCALE: &str = "tr_TR.UTF-8";
/// The mask for modes of new files that every program starts with, and the other one.
const USUAL_UMASK: u32 = 0o022;
const OTHER_UMASK: u32 = 0o077;
/// A host name of another length and shape than most have.
const OTHER_HOSTNAME: &str = "a-host-with-another-name.example";

/// What an attempt runs under. The default is what every module gets.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// Variables that are set, or removed, after all others.
    pub env: BTreeMap<String, Option<String>>,
    /// Whether the variables are in reversed order.
    pub reversed_env: bool,
    /// A file that Node loads before the program.
    pub preload: Option<PathBuf>,
    /// Whether the program gets the other number of processors: all where it usually has one, else
    /// one.
    pub other_processors: bool,
    /// The user the program runs as.
    pub identity: Identity,
    /// Whether file times of the copy are others.
    pub other_file_times: bool,
    /// The mask for modes of new files.
    pub umask: u32,
    /// Whether the addresses of program and stack are the same in every run.
    pub fixed_addresses: bool,
    /// The host's name as the program sees it; none is the true one.
    pub hostname: Option<String>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            env: BTreeMap::new(),
            reversed_env: false,
            preload: None,
            other_processors: false,
            identity: Identity::Auto,
            other_file_times: false,
            umask: USUAL_UMASK,
            fixed_addresses: false,
            hostname: None,
        }
    }
}

/// A variation that this host cannot do, or that the program gives no hold for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotVaried {
    /// Which one.
    pub variation: Variation,
    /// Why.
    pub reason: String,
}

impl Conditions {
    /// The conditions in which `variations` are other than usual; places are the layout's matter.
    /// `preload` is the file that shifts the clock of JavaScript, and `hour` the hour of the day in
    /// UTC.
    pub fn varied(variations: &[Variation], preload: PathBuf, hour: u8) -> Self {
        let mut conditions = Self::default();
        for variation in variations {
            match variation {
                Variation::Time => conditions.preload = Some(preload.clone()),
                Variation::Timezone => {
                    // One of both is on another day than UTC at any hour.
                    let zone = if hour >= 10 { "Pacific/Kiritimati" } else { "Etc/GMT+12" };
                    conditions.set("TZ", zone);
                }
                Variation::Locale => {
                    // A shell complains of an `LC_ALL` that is not installed, and of `LANG` it does
                    // not.
                    conditions.env.insert("LC_ALL".to_owned(), None);
                    conditions.set("LANG", OTHER_LOCALE);
                    conditions.set("PERL_BADLANG", "0");
                }
                Variation::Environment => {
                    conditions.reversed_env = true;
                    conditions.set("LUMIO_VARIATION", "1");
                }
                Variation::Processors => conditions.other_processors = true,
                Variation::User => conditions.identity = OTHER_USER,
                Variation::FileTimes => conditions.other_file_times = true,
                // Places, which the layout has.
                Variation::Path | Variation::Home | Variation::DirectoryOrder => {}
                Variation::Hostname => conditions.hostname = Some(OTHER_HOSTNAME.to_owned()),
                Variation::Umask => conditions.umask = OTHER_UMASK,
                Variation::Addresses => conditions.fixed_addresses = true,
            }
        }
        conditions
    }

    fn set(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), Some(value.to_owned()));
    }
}
