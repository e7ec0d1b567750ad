//! What was used of the processors, as Linux counts it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::Context as _;

/// Time that was used until now, in ticks of the kernel's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Used {
    /// By whatever ran on this machine.
    busy: u64,
    /// That there was.
    all: u64,
    /// By this process and those that it started, by the name of the program.
    programs: BTreeMap<String, u64>,
}

/// What was used between two moments, of all processors together: 1 is all of them.
#[derive(Debug, Clone, Default)]
pub struct Shares {
    /// By whatever ran on this machine.
    pub busy: f64,
    /// By program.
    pub programs: BTreeMap<String, f64>,
}

impl Used {
    /// Until now.
    pub fn now() -> anyhow::Result<Self> {
        let (busy, all) = machine(&fs::read_to_string("/proc/stat")?).context("/proc/stat")?;
        let mut processes = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            // One that ends meanwhile is counted by its parent.
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            processes.extend(Process::read(&stat));
        }
        Ok(Self { busy, all, programs: sums(&processes, std::process::id()) })
    }

    /// Since an earlier moment.
    pub fn since(&self, before: &Self) -> Shares {
        let all = self.all.saturating_sub(before.all).max(1) as f64;
        let share = |used: u64, before: u64| used.saturating_sub(before) as f64 / all;
        let programs = self.programs.iter().map(|(name, used)| {
            let before = before.programs.get(name).copied().unwrap_or_default();
            (name.clone(), share(*used, before))
        });
        Shares { busy: share(self.busy, before.busy), programs: programs.collect() }
    }
}

/// Ticks that the processors were busy, and all ticks.
fn machine(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|text| text.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are in the first two.
    let all = ticks.iter().take(8).sum();
    let idle = ticks.get(3)?.checked_add(*ticks.get(4)?)?;
    Some((u64::checked_sub(all, idle)?, all))
}

struct Process {
    id: u32,
    parent: u32,
    program: String,
    /// Its own, and that of its children that have ended.
    ticks: u64,
}

impl Process {
    fn read(stat: &str) -> Option<Self> {
        // The name may hold blanks and brackets.
        let (id, rest) = stat.split_once(" (")?;
        let (program, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = fields.get(11..15)?.iter().filter_map(|text| text.parse::<u64>().ok()).sum();
        Some(Self {
            id: id.parse().ok()?,
            parent: fields.get(1)?.parse().ok()?,
            program: program.to_owned(),
            ticks,
        })
    }
}

/// Ticks by program, of a process and all that descend from it.
fn sums(processes: &[Process], root: u32) -> BTreeMap<String, u64> {
    let mut family = BTreeSet::from([root]);
    loop {
        let known = family.len();
        let children = processes.iter().filter(|process| family.contains(&process.parent));
        let children: Vec<u32> = children.map(|process| process.id).collect();
        family.extend(children);
        if family.len() == known {
            break;
        }
    }
    let mut sums = BTreeMap::new();
    for process in processes.iter().filter(|process| family.contains(&process.id)) {
        *sums.entry(process.program.clone()).or_default() += process.ticks;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_disk_is_not_being_busy() {
        let stat = "cpu  10 1 4 70 15 0 0 0 9 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(machine(stat), Some((15, 100)));
        assert_eq!(machine("intr 1\n"), None);
    }

    #[test]
    fn only_what_this_process_started_is_counted() {
        let stat = |id: u32, name: &str, parent: u32, ticks: u32| {
            format!("{id} ({name}) S {parent} 1 1 0 -1 0 0 0 0 0 {ticks} 2 3 4 20 0 1 0 5")
        };
        let lines = [
            stat(5, "bench", 1, 10),
            stat(6, "sh (a) b", 5, 20),
            stat(7, "postgres", 6, 30),
            stat(8, "postgres", 7, 40),
            stat(9, "postgres", 1, 50),
        ];
        let processes: Vec<_> = lines.iter().filter_map(|line| Process::read(line)).collect();
        let sums = sums(&processes, 5);
        assert_eq!(sums["postgres"], 39 + 49);
        assert_eq!((sums["bench"], sums["sh (a) b"]), (19, 29));
    }

    #[test]
    fn shares_are_of_all_processors() {
        let used = |busy, all, runner| Used {
            busy,
            all,
            programs: BTreeMap::from([("runner".to_owned(), runner)]),
        };
        let shares = used(150, 300, 90).since(&used(50, 100, 40));
        assert!((shares.busy - 0.5).abs() < 1e-9);
        assert!((shares.programs["runner"] - 0.25).abs() < 1e-9);
    }
}
