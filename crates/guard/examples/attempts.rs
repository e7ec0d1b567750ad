//! Runs a command twice, each time in a fresh copy of its folder, and says whether it did the
//! same: `attempts <folder> <command> …`.

use std::error::Error;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use guard::{Capability, Command, Identity, Policy, Report, copy_tree};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments.next().ok_or("usage: attempts <folder> <command> …")?;
    let line: Vec<_> = arguments.collect();
    let mut reports = Vec::new();
    for _ in 0..2 {
        // The same place each time: a path that is printed is no difference.
        let place = std::env::temp_dir().join(format!("attempts-{}", std::process::id()));
        std::fs::create_dir(&place)?;
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o711))?;
        let report = attempt(Path::new(&folder), &place.join("copy"), &line);
        std::fs::remove_dir_all(&place)?;
        reports.push(report?);
    }
    let same = reports[0].stdout == reports[1].stdout
        && effects_of(&reports[0]) == effects_of(&reports[1]);
    println!("{:?} {}", reports[0].verdict, reports[0].reason);
    println!("{}", if same { "did the same both times" } else { "did different things" });
    Ok(())
}

fn attempt(
    folder: &Path,
    copy: &Path,
    line: &[std::ffi::OsString],
) -> Result<Report, Box<dyn Error>> {
    copy_tree(folder, copy, Identity::Auto)?;
    let program = line.first().ok_or("no command")?;
    let command = Command::new(program, copy).args(line.iter().skip(1).cloned());
    let policy = Policy::new(copy).declare(Capability::FsWrite).declare(Capability::ProcessShell);
    Ok(guard::run(&command, &policy)?)
}

fn effects_of(report: &Report) -> Vec<(&str, &str)> {
    report.effects.iter().map(|effect| (&*effect.operation, &*effect.target)).collect()
}
