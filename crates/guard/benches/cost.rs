//! What the guard costs over the bare program, beside other ways of watching or confining one.
//!
//!     cargo bench -p side-effect-guard --bench cost [-- --repetitions 40] [--only unlinks]
//!
//! Each workload is run bare, under the guard, and under `strace -f --seccomp-bpf`, `bwrap` and
//! `sandlock` where they are there, in turn, so that what disturbs one disturbs all. The
//! whole bench is pinned to one processor (`taskset`) and, where that is permitted, runs in the
//! round-robin class (`chrt -r 20`). The figures are medians of the differences to the bare run of
//! the same turn, with the quartiles and the difference of the fastest tenths; how many times the
//! median is that of a supervisor that looks at nothing; and the ratio of the medians. Run it as
//! root for the tier `separated`, as anybody else for `unprivileged`. `--only` measures the
//! workloads with this text in their name, `--ways` beside the bare command the ways with these
//! names, separated by commas: `--ways guard,nothing` takes the most turns in the least time.

#![expect(clippy::unwrap_used, reason = "a bench may panic")]
#![expect(unsafe_code, reason = "a supervisor of system calls is made between fork and exec")]

mod nothing;
mod sandlock;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use guard::{Capability, Identity, Policy, Reads, Verdict};

/// What is measured, and what it declares.
const WORKLOADS: [(&str, &[Capability], &str); 4] = [
    ("empty script", &[], ""),
    ("200 writes, 200 reads, 200 unlinks", &[Capability::FsWrite], FILES),
    // Where processes are declared every task has counters of forks, which the kernel changes with
    // each change of tasks.
    ("the same, processes declared", &[Capability::FsWrite, Capability::ProcessShell], FILES),
    (
        "20 spawns",
        &[Capability::ProcessShell],
        "import {spawnSync} from 'node:child_process'; for (let i = 0; i < 20; i++) \
         spawnSync('/bin/true')",
    ),
];
const FILES: &str =
    "import fs from 'node:fs'; for (let i = 0; i < 200; i++) fs.writeFileSync('f' + i, 'text');
     for (let i = 0; i < 200; i++) fs.readFileSync('f' + i); for (let i = 0; i < 200; i++) \
     fs.unlinkSync('f' + i)";

struct Fixture {
    folder: tempfile::TempDir,
    root: PathBuf,
    node: PathBuf,
}

const NOTHING: &str = "a supervisor that looks at nothing";

/// A way to run a script with what it declares; how long it took.
type Way = (String, Box<dyn Fn(&Fixture, &[Capability]) -> Duration>);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if !arguments.iter().any(|argument| argument == "--pinned") {
        pin(&arguments[1..]);
    }
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let repetitions = after("--repetitions").and_then(|number| number.parse().ok()).unwrap_or(25);
    let only = after("--only");
    let Some(node) = node() else {
        eprintln!("there is no Node that every user can reach: nothing was measured");
        return;
    };
    // In memory where that is possible: ext4 looks for an inode that has not been used for five
    // seconds, which after many removals takes longer than all that is measured here.
    let memory = Some(PathBuf::from("/dev/shm")).filter(|memory| memory.is_dir());
    let fixture = fixture_in(node, &memory.unwrap_or_else(std::env::temp_dir));
    let ways = ways(after("--ways").map(|names| names.split(',').collect()));
    println!("tier {}, {repetitions} turns, {}", guard::probe().tier, scheduling());
    let chosen = |name: &str| only.is_none_or(|text| name.contains(text.as_str()));
    for (name, declared, script) in WORKLOADS.into_iter().filter(|(name, ..)| chosen(name)) {
        fs::write(fixture.root.join("main.mjs"), script).unwrap();
        guard::prepare_ownership(&fixture.root, Identity::Auto).unwrap();
        measure(name, declared, &fixture, &ways, repetitions);
    }
    if only.is_none() {
        measure_snapshots(repetitions);
    }
}

/// What the files of a root cost: both snapshots together, as the difference between a run over a
/// root with many files and one over a root with none.
fn measure_snapshots(repetitions: usize) {
    let (empty, full) = (fixture(PathBuf::from("/bin/true")), fixture(PathBuf::from("/bin/true")));
    for folder in 0..90 {
        let folder = full.root.join(format!("folder-{folder}"));
        fs::create_dir(&folder).unwrap();
        for file in 0..100 {
            fs::write(folder.join(format!("file-{file}")), "text").unwrap();
        }
    }
    guard::prepare_ownership(&full.root, Identity::Auto).unwrap();
    let mut each = Vec::new();
    for _ in 0..repetitions {
        let without = guarded(&empty, &[], Reads::Ignore).as_secs_f64();
        let with = guarded(&full, &[], Reads::Ignore).as_secs_f64();
        each.push((with - without) * 1_000_000.0 / 9_000.0);
    }
    println!(
        "\n9,000 files in the root: {:.1} µs a file for both snapshots ({:.1} to {:.1})",
        at(&each, 0.5),
        at(&each, 0.25),
        at(&each, 0.75)
    );
}

/// Starts this program again on one processor and before everybody else, as far as that is
/// permitted.
fn pin(arguments: &[String]) {
    let own = std::env::current_exe().unwrap();
    let last =
        std::thread::available_parallelism().map_or(0, |number| number.get() - 1).to_string();
    for prefix in [&["chrt", "-r", "20", "taskset", "-c", &last][..], &["taskset", "-c", &last]] {
        let permitted =
            Command::new(prefix[0]).args(&prefix[1..]).arg("true").stderr(Stdio::null()).status();
        if permitted.is_ok_and(|status| status.success()) {
            let failure = Command::new(prefix[0])
                .args(&prefix[1..])
                .arg(&own)
                .args(arguments)
                .arg("--pinned")
                .exec();
            eprintln!("could not pin: {failure}");
        }
    }
}

fn scheduling() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let processors = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap_or("?")
        .trim();
    // The policy is the 39th field after the name.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let policy =
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(38)).unwrap_or("?");
    let class = if policy == "2" { "round robin" } else { "ordinary" };
    format!("processor {processors}, scheduling class {class}")
}

fn node() -> Option<PathBuf> {
    let own =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|dir| dir.join(".dev/node/bin/node"));
    let mut found = own.chain(["/usr/local/bin/node", "/usr/bin/node"].map(PathBuf::from));
    let open = |path: &Path| {
        fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
    };
    found.find_map(|path| path.canonicalize().ok().filter(|path| path.ancestors().all(open)))
}

fn fixture(node: PathBuf) -> Fixture {
    fixture_in(node, &std::env::temp_dir())
}

fn fixture_in(node: PathBuf, place: &Path) -> Fixture {
    let folder = tempfile::Builder::new().prefix("guard-cost-").tempdir_in(place).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let root = folder.path().canonicalize().unwrap().join("root");
    fs::create_dir(&root).unwrap();
    // Some ways run the script as another user.
    fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
    Fixture { folder, root, node }
}

/// Those that are there, or the named among them.
fn ways(names: Option<Vec<&str>>) -> Vec<Way> {
    let mut ways = all_ways();
    if let Some(mut names) = names {
        names.push("bare");
        let named =
            |label: &str| names.contains(&label) || label == NOTHING && names.contains(&"nothing");
        ways.retain(|(label, _)| named(label));
    }
    ways
}

fn all_ways() -> Vec<Way> {
    let mut ways: Vec<Way> = vec![
        ("bare".to_owned(), Box::new(|fixture, _| outer(&[], fixture))),
        (
            "guard".to_owned(),
            Box::new(|fixture, declared| guarded(fixture, declared, Reads::Ignore)),
        ),
        (
            "guard, reads listed".to_owned(),
            Box::new(|fixture, declared| guarded(fixture, declared, Reads::List)),
        ),
        (
            "guard, reads denied".to_owned(),
            Box::new(|fixture, declared| {
                guarded(fixture, declared, Reads::Deny { allow: vec![PathBuf::from("/bin")] })
            }),
        ),
    ];
    if nothing::works() {
        ways.push((NOTHING.to_owned(), Box::new(|fixture, _| nothing::supervised(fixture))));
    }
    let strace =
        ["strace", "-f", "--seccomp-bpf", "-e", "trace=%file,%process,%network", "-o", "/dev/null"];
    peer(&mut ways, "strace -f --seccomp-bpf", move |_| strace.map(str::to_owned).to_vec());
    peer(&mut ways, "bwrap", |fixture| {
        let root = fixture.root.display().to_string();
        let words = [
            "bwrap",
            "--unshare-all",
            "--die-with-parent",
            "--ro-bind",
            "/",
            "/",
            "--dev",
            "/dev",
            "--proc",
            "/proc",
        ];
        words
            .map(str::to_owned)
            .into_iter()
            .chain(["--bind".to_owned(), root.clone(), root])
            .collect()
    });
    if !sandlock::add(&mut ways) {
        peer(&mut ways, "sandlock", |fixture| {
            let root = fixture.root.display().to_string();
            ["sandlock", "run", "-r", "/", "-w", &root, "-w", "/dev", "--"]
                .map(str::to_owned)
                .to_vec()
        });
    }
    ways
}

/// Adds a way by another program, if that program works here.
fn peer(ways: &mut Vec<Way>, name: &str, prefix: impl Fn(&Fixture) -> Vec<String> + 'static) {
    let fixture = fixture(PathBuf::from("/bin/true"));
    let words = prefix(&fixture);
    let tried = Command::new(&words[0])
        .args(&words[1..])
        .arg("/bin/true")
        .current_dir(&fixture.root)
        .output();
    match tried {
        Ok(output) if output.status.success() => {
            ways.push((
                name.to_owned(),
                Box::new(move |fixture, _| outer(&prefix(fixture), fixture)),
            ));
        }
        Ok(output) => {
            eprintln!("left out {name}: {}", String::from_utf8_lossy(&output.stderr).trim())
        }
        Err(error) => eprintln!("left out {name}: {error}"),
    }
}

fn outer(prefix: &[String], fixture: &Fixture) -> Duration {
    let words: Vec<String> = prefix
        .iter()
        .cloned()
        .chain([fixture.node.display().to_string(), "main.mjs".to_owned()])
        .collect();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir(&fixture.root).stdin(Stdio::null()).stdout(Stdio::null());
    timed(|| assert!(command.status().unwrap().success(), "{words:?} failed"))
}

fn guarded(fixture: &Fixture, declared: &[Capability], reads: Reads) -> Duration {
    let mut policy = Policy::new(&fixture.root);
    policy.declared.extend(declared);
    policy.reads = reads;
    let command = guard::Command::new(&fixture.node, &fixture.root).arg("main.mjs");
    timed(|| {
        let report = guard::run(&command, &policy).unwrap();
        assert_eq!(report.verdict, Verdict::Pass, "{}", report.reason);
    })
}

#[expect(clippy::disallowed_methods, reason = "a bench measures the time that really passes")]
fn timed(work: impl FnOnce()) -> Duration {
    let begun = std::time::Instant::now();
    work();
    begun.elapsed()
}

fn measure(
    name: &str,
    declared: &[Capability],
    fixture: &Fixture,
    ways: &[Way],
    repetitions: usize,
) {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
    for turn in 0..=repetitions {
        for (way, (_, run)) in ways.iter().enumerate() {
            let took = run(fixture, declared).as_secs_f64() * 1_000.0;
            // The first turn only warms what is read.
            if turn > 0 {
                times[way].push(took);
            }
        }
    }
    let bare = &times[0];
    println!(
        "\n{name}: bare {:.1} ms ({:.1} to {:.1})",
        at(bare, 0.5),
        at(bare, 0.25),
        at(bare, 0.75)
    );
    // Beside the medians what the fastest tenth took: other work on the machine only slows down.
    let over = |took: &[f64]| -> [f64; 4] {
        let over: Vec<f64> = took.iter().zip(bare).map(|(took, bare)| took - bare).collect();
        [at(&over, 0.5), at(&over, 0.25), at(&over, 0.75), at(took, 0.1) - at(bare, 0.1)]
    };
    let nothing = ways.iter().position(|(label, _)| label == NOTHING);
    let nothing = nothing.map_or([f64::NAN; 4], |way| over(&times[way]));
    for ((label, _), took) in ways.iter().zip(&times).skip(1) {
        let [median, low, high, fastest] = over(took);
        println!(
            "  {label:<34} {median:+7.2} ms ({low:+.2} to {high:+.2}, fastest tenth {fastest:+.2})  \
             {:.2} of nothing  × {:.3}",
            median / nothing[0],
            at(took, 0.5) / at(bare, 0.5)
        );
    }
    assert!(fixture.folder.path().exists(), "the fixture lasts as long as the measurement");
}

/// A quantile.
fn at(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1) as f64;
    sorted.get((last * share).round() as usize).copied().unwrap_or(f64::NAN)
}
