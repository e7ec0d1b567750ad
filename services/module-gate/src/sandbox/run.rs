//! Starts a program of a module under the guard, with the environment that docs/modules.md
//! promises.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use egress::{Engine, Proxy};
use guard::{Capability, Command, Destinations, GuardError, Limits, Policy, Reads, Report};
use seal::tree::Limits as TreeLimits;
use wire::egress::UpstreamKind;

use crate::module::manifest::Manifest;
use crate::module::upstream::Upstream;
use crate::module::variation::Variation;
use crate::sandbox::conditions::{Conditions, NotVaried};
use crate::sandbox::memory::MemoryFolder;
use crate::sandbox::processors::{self, ProcessorLease, Processors};
use crate::sandbox::repository;
use crate::sandbox::workspace::{Layout, make_dir, replace_path};
use crate::upstreams::Allowed;

/// What every program of a module may use at most, beside its wall time.
pub const LIMITS: Limits = Limits {
    wall_ms: 60_000,
    cpu_ms: 60_000,
    processes: 64,
    memory_bytes: 1 << 30,
    stdout_bytes: 8 << 20,
    stderr_bytes: 8 << 20,
    file_bytes: 64 << 20,
    tree_bytes: 1 << 30,
    tree_entries: 500_000,
};
/// A tree may keep as many processors busy as this for its whole wall time.
const PROCESSORS: u64 = 64;
/// Folders of the system's own programs. They hold no user data, and with them readable an
/// undeclared start of one is judged as that, not as a read outside the module (M2).
pub(crate) const PROGRAMS: [&str; 5] = ["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin"];
/// Where the system's programs are looked up by their name.
pub(crate) const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// A placeholder where an SDK expects a credential. Whatever a module sends there is dropped.
const PLACEHOLDER: &str = "lumio-proxy-holds-the-key";
const NODE_SUFFIXES: [&str; 3] = [".mjs", ".js", ".cjs"];

/// Where modules run.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// Folder under which every job gets its own.
    pub scratch: PathBuf,
    /// The Node binary.
    pub node: PathBuf,
    /// Where programs are looked up by their name: the system's folders, and Node's before them
    /// where they hold none or another one.
    pub path: String,
    /// What runs are held on; none leaves them all processors.
    pub processors: Option<Processors>,
    /// What every program of a module may use at most, beside its wall time.
    pub limits: Limits,
    /// How large a module may be.
    pub tree_limits: TreeLimits,
    /// What the operator lets modules use of the network.
    pub allowed: Arc<Allowed>,
    /// Where proxies do their work, once the first is needed.
    engine: Arc<OnceLock<Engine>>,
    /// A folder in memory, for the order of listings; none where the host gives none that serves.
    pub memory: Option<Arc<MemoryFolder>>,
}

/// One start of one program.
#[derive(Debug)]
pub struct Job<'a> {
    /// The prepared folders.
    pub layout: &'a Layout,
    /// What it runs under.
    pub conditions: &'a Conditions,
    /// Whose declarations hold.
    pub manifest: &'a Manifest,
    /// Program, relative to the module.
    pub entry: &'a str,
    /// Its arguments.
    pub args: &'a [String],
    /// Working directory relative to the module; empty is the module itself.
    pub cwd: &'a str,
    /// Variables beside, or instead of, the usual ones.
    pub env: &'a BTreeMap<String, String>,
    /// What `LUMIO_SEED` says.
    pub seed: u64,
    /// Wall limit in milliseconds, at least 1.
    pub wall_ms: u64,
    /// Whether reads outside module, runtime, input and system list are denied (M4).
    pub strict_reads: bool,
    /// The proxy that leads to the services it names, if it names any.
    pub proxy: Option<&'a Proxy>,
    /// Set from outside to end it.
    pub cancel: Arc<AtomicBool>,
}

impl Sandbox {
    /// Finds Node and makes both it and `scratch` reachable for the user that modules run as. `pin`
    /// holds every run on one processor.
    ///
    /// # Errors
    /// A sentence that says which of the two cannot be used, and what to do.
    pub fn new(scratch: &Path, node: &Path, path: &str, pin: bool) -> Result<Self, String> {
        let processors = pin.then(Processors::new);
        let (limits, tree_limits) = (LIMITS, TreeLimits::MODULE);
        let memory = MemoryFolder::create().map(Arc::new);
        let (allowed, engine) = (Arc::default(), Arc::default());
        let found = look_up(node, path)
            .ok_or_else(|| format!("{} is no program on this machine", node.display()))?;
        let made = make_dir(scratch).and_then(|()| scratch.canonicalize());
        let scratch =
            made.map_err(|error| format!("cannot make {}: {error}", scratch.display()))?;
        if !drops_root() {
            let (path, node) = (search_path(&found), found);
            return Ok(Self {
                scratch,
                node,
                path,
                processors,
                limits,
                tree_limits,
                memory,
                allowed,
                engine,
            });
        }
        if let Some(blocked) = blocked(&scratch) {
            return Err(format!(
                "{} is closed to other users: modules run as the user `nobody` and must get there",
                blocked.display()
            ));
        }
        let node = match blocked_or_private(&found) {
            None => found,
            // A runtime in a home folder is not reachable for "nobody": it gets a copy.
            Some(_) => copy_runtime(&found, &scratch)
                .map_err(|error| format!("cannot copy {}: {error}", found.display()))?,
        };
        let path = search_path(&node);
        Ok(Self { scratch, node, path, processors, limits, tree_limits, memory, allowed, engine })
    }

    /// A message about an attempt without places of this server, as [`Layout::shorten`] has it; the
    /// runtime is `node`, wherever it lies.
    pub fn shorten(&self, layout: &Layout, text: &str) -> String {
        // First, since it may lie in the folder of all jobs.
        let text = layout.shorten(&replace_path(text, &self.node, "node"));
        match &self.memory {
            Some(memory) => replace_path(&text, memory.path(), "<memory>"),
            None => text,
        }
    }

    /// Where proxies do their work.
    ///
    /// # Errors
    /// The host's own.
    pub fn engine(&self) -> io::Result<&Engine> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let made = Engine::start()?;

        // Another may have been faster; then this one ends.
        Ok(self.engine.get_or_init(|| made))
    }

    /// Runs the job to its end. Blocking.
    ///
    /// # Errors
    /// What made it impossible to start anything.
    pub fn run(&self, job: &Job<'_>) -> Result<Report, GuardError> {
        // The other number of processors: all where a run is usually held on one, else one.
        let own = match (&self.processors, job.conditions.other_processors) {
            (usual, false) => usual.clone(),
            (Some(_), true) => None,
            (None, true) => Some(Processors::new()),
        };

        // Held until the run has ended.
        let lease = own.as_ref().and_then(Processors::take);
        let mut policy = self.policy(job);
        policy.processor = lease.as_ref().map(ProcessorLease::number);
        guard::run(&self.command(job), &policy)
    }

    /// Why `variation` cannot be done here for the program `entry`, if so.
    pub fn unavailable(&self, variation: Variation, entry: &str) -> Option<NotVaried> {
        let reason = match variation {
            Variation::Time if !is_node(entry) => "the clock can only be shifted for JavaScript",
            Variation::DirectoryOrder if self.memory.is_none() => {
                "no file system in memory that serves is mounted at /dev/shm"
            }
            Variation::Processors if processors::allowed().len() < 2 => {
                "this process may use one processor only"
            }
            Variation::User if !drops_root() => "another user needs root",
            Variation::Hostname if !guard::can_name_host() => {
                "another host name needs a namespace, which this process may not make"
            }
            _ => return None,
        };
        Some(NotVaried { variation, reason: reason.to_owned() })
    }

    fn command(&self, job: &Job<'_>) -> Command {
        let root = &job.layout.module;
        let entry = root.join(job.entry);
        let cwd = if job.cwd.is_empty() { root.clone() } else { root.join(job.cwd) };
        let mut command = if is_node(job.entry) {
            let node = Command::new(&self.node, cwd);
            let node = match &job.conditions.preload {
                Some(preload) => node.arg("--require").arg(preload),
                None => node,
            };
            node.arg(entry)
        } else {
            Command::new(entry, cwd)
        };
        command = command.args(job.args.iter().cloned());
        let mut env = BTreeMap::from(
            [
                ("PATH", self.path.as_str()),
                ("LANG", "C.UTF-8"),
                ("LC_ALL", "C.UTF-8"),
                ("TZ", "UTC"),
            ]
            .map(|(name, value)| (name.to_owned(), value.into())),
        );
        env.insert("HOME".to_owned(), job.layout.home.clone().into_os_string());
        env.insert("TMPDIR".to_owned(), job.layout.tmp.clone().into_os_string());
        env.insert("LUMIO_INPUT".to_owned(), job.layout.input.clone().into_os_string());
        env.insert("LUMIO_OUTPUT".to_owned(), job.layout.output.clone().into_os_string());
        env.insert("LUMIO_SEED".to_owned(), job.seed.to_string().into());
        if let Some(place) = &job.layout.repository
            && declares_git(job.manifest)
        {
            env.extend(
                repository::environment(Some(&place.excludes))
                    .into_iter()
                    .map(|(name, value)| (name, value.into())),
            );
        }
        env.extend(
            variables(&job.manifest.upstreams)
                .into_iter()
                .map(|(name, value)| (name, value.into())),
        );

        // What the case sets replaces ours, and what the conditions set replaces both.
        env.extend(job.env.iter().map(|(name, value)| (name.clone(), value.into())));
        for (name, value) in &job.conditions.env {
            match value {
                Some(value) => drop(env.insert(name.clone(), value.into())),
                None => drop(env.remove(name)),
            }
        }
        let mut env: Vec<_> = env.into_iter().collect();

        // The map is sorted, so the usual order is the same in every run.
        if job.conditions.reversed_env {
            env.reverse();
        }
        env.into_iter().fold(command, |command, (name, value)| command.env(name, value))
    }

    fn policy(&self, job: &Job<'_>) -> Policy {
        let mut policy = Policy::new(&job.layout.module);
        policy.free_writes = vec![job.layout.output.clone()];

        // Git brings its index up to date there; everything else in it is a link that leads out.
        policy.free_writes.extend(job.layout.repository.iter().map(|place| place.git_dir.clone()));
        policy.scratch = Some(job.layout.home.clone());
        policy.identity = job.conditions.identity;
        policy.umask = job.conditions.umask;
        policy.fixed_addresses = job.conditions.fixed_addresses;
        policy.hostname.clone_from(&job.conditions.hostname);
        policy.declared = declared(job.manifest);
        policy.destinations = match job.proxy {
            Some(proxy) => Destinations::Proxy(guard::Proxy {
                shown: egress::proxy::SHOWN,
                listener: proxy.listener(),
                admit: proxy.admit(),
            }),
            // Where other people's data is near, the services it names are the only way out (E1).
            None if job.strict_reads => Destinations::None,
            None => Destinations::Any,
        };
        policy.reads = if job.strict_reads {
            let own = [self.node.clone(), job.layout.input.clone()];
            let excludes = job.layout.repository.iter().map(|place| place.excludes.clone());
            let own = own.into_iter().chain(job.conditions.preload.clone()).chain(excludes);
            Reads::Deny { allow: own.chain(PROGRAMS.map(PathBuf::from)).collect() }
        } else {
            Reads::List
        };
        policy.limits = Limits {
            wall_ms: job.wall_ms,
            // Wall time is what is metered; processor time only ends a tree that outruns every
            // processor it could have.
            cpu_ms: job.wall_ms.saturating_mul(PROCESSORS),
            ..self.limits.clone()
        };
        policy.cancel = Some(Arc::clone(&job.cancel));
        policy
    }
}

/// What shows programs and the SDKs of services where those are: addresses of the proxy, and a word
/// in place of a credential, which SDKs demand. The same in every run.
fn variables(upstreams: &[Upstream]) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for upstream in upstreams {
        let address = format!("http://{}/{}", egress::proxy::SHOWN, upstream.name);
        variables.push((upstream.variable(), address.clone()));
        let sdk = match upstream.kind {
            UpstreamKind::OpenAi => "OPENAI",
            UpstreamKind::Anthropic => "ANTHROPIC",
            UpstreamKind::Http => continue,
        };
        let name = format!("{sdk}_BASE_URL");

        // The first of its kind is the one that an SDK uses by default.
        if !variables.iter().any(|(known, _)| *known == name) {
            variables.push((name, address));
            variables.push((format!("{sdk}_API_KEY"), PLACEHOLDER.to_owned()));
        }
    }
    variables
}

/// Why `entry` of the module copied to the folder `module` cannot be started, if so.
pub fn fault(module: &Path, entry: &str) -> Option<String> {
    let Ok(found) = fs::metadata(module.join(entry)) else {
        return Some(format!("the program {entry:?} is not in the module"));
    };

    // The owner's bit counts: the copy belongs to the user that the program runs as.
    let runs = is_node(entry) || found.permissions().mode() & 0o100 != 0;
    match (found.is_file(), runs) {
        (true, true) => None,
        (true, false) => {
            Some(format!("the program {entry:?} is neither JavaScript nor executable"))
        }
        (false, _) => Some(format!("the program {entry:?} is no file")),
    }
}

pub(crate) fn is_node(entry: &str) -> bool {
    NODE_SUFFIXES.iter().any(|suffix| entry.ends_with(suffix))
}

/// The search path of a module's programs: one whose first line is `#!/usr/bin/env node` gets the
/// same Node as one that is named `main.mjs`.
fn search_path(node: &Path) -> String {
    let usual = look_up(Path::new("node"), SYSTEM_PATH);
    match node.parent() {
        Some(folder) if usual.as_deref() != Some(node) => {
            format!("{}:{SYSTEM_PATH}", folder.display())
        }
        _ => SYSTEM_PATH.to_owned(),
    }
}

/// Whether a module's programs may start git.
fn declares_git(manifest: &Manifest) -> bool {
    let declared = declared(manifest);
    [Capability::ProcessGit, Capability::ProcessShell].iter().any(|one| declared.contains(one))
}

/// The schema has refused every word that is no capability.
fn declared(manifest: &Manifest) -> BTreeSet<Capability> {
    manifest.side_effects.iter().filter_map(|name| name.parse().ok()).collect()
}

pub(crate) fn look_up(program: &Path, path: &str) -> Option<PathBuf> {
    let candidates: Vec<PathBuf> = if program.components().count() > 1 {
        vec![program.to_owned()]
    } else {
        path.split(':').map(|folder| Path::new(folder).join(program)).collect()
    };
    let runs = |path: &PathBuf| {
        fs::metadata(path)
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    candidates.into_iter().find(runs).and_then(|path| path.canonicalize().ok())
}

fn drops_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The first folder on the way to `path`, itself included, that others may not pass.
fn blocked(path: &Path) -> Option<PathBuf> {
    let closed = |path: &&Path| {
        !fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o001 != 0)
    };

    // Upwards, so that the last one is the first on the way.
    path.ancestors().filter(closed).last().map(Path::to_owned)
}

/// As [`blocked`], and a program others may not read counts too.
fn blocked_or_private(program: &Path) -> Option<PathBuf> {
    let open = fs::metadata(program).is_ok_and(|found| found.permissions().mode() & 0o005 == 0o005);
    if open { blocked(program) } else { Some(program.to_owned()) }
}

fn copy_runtime(node: &Path, scratch: &Path) -> io::Result<PathBuf> {
    let folder = scratch.join("runtime");
    make_dir(&folder)?;

    // Another process may be running the copy that is there: it is replaced, never written to.
    let fresh = folder.join(format!("node.{}", std::process::id()));
    fs::copy(node, &fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    fs::rename(&fresh, folder.join("node"))?;
    Ok(folder.join("node"))
}
