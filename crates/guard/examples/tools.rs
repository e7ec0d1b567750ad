//! Runs ordinary published tools bare and under the guard, and prints the table of
//! `docs/guard-tools.md`.
//!
//! ```sh
//! mkdir /tmp/tools && cp crates/guard/examples/tools/package.json /tmp/tools
//! npm install --prefix /tmp/tools && pip install --target /tmp/tools/python pytest
//! cargo run -p side-effect-guard --example tools -- /tmp/tools > docs/guard-tools.md
//! ```

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};

use guard::Capability::{FsWrite, ProcessShell};
use guard::{Capability, Command, Identity, Policy, Reads, Report, Tier, Verdict};

/// A tool and what it is run with.
struct Tool {
    name: &'static str,
    /// The package, of which the version is shown; or how its version is asked.
    version: Version,
    /// Files of the root.
    files: &'static [(&'static str, &'static str)],
    /// Program and arguments; `node`, `git` and so on are looked up.
    command: &'static [&'static str],
    declared: &'static [Capability],
    /// What is made anew in every run, or names times and places: not compared.
    loose: bool,
}

enum Version {
    Npm(&'static str),
    Ask(&'static [&'static str]),
}

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// An ordinary user, as whom every tool is run once more.
const USER: u32 = 65_532;
/// The user as whom the guard runs commands for root.
const NOBODY: u32 = 65_534;

const fn tool(
    name: &'static str,
    version: Version,
    files: &'static [(&'static str, &'static str)],
    command: &'static [&'static str],
    declared: &'static [Capability],
) -> Tool {
    Tool { name, version, files, command, declared, loose: false }
}

const fn loose(tool: Tool) -> Tool {
    Tool { loose: true, ..tool }
}

const JS: (&str, &str) = ("a.js", "const a   = 1;\nexport default a\n");
const TS: (&str, &str) = ("a.ts", "export const a: number = 1;\n");
const TS_CONFIG: (&str, &str) = (
    "tsconfig.json",
    r#"{"compilerOptions":{"strict":true,"outDir":"out","types":[]},"files":["a.ts"]}"#,
);
const PACKAGE: (&str, &str) = (
    "package.json",
    r#"{"name":"a","version":"1.0.0","scripts":{"test":"node ok.cjs","hello":"echo hello"}}"#,
);
const PROGRAM: (&str, &str) = ("ok.cjs", "console.log('ok')\n");
const RUST: (&str, &str) = ("main.rs", "fn main() { println!(\"rust\"); }\n");
const RUST_SPAWNS: (&str, &str) = (
    "main.rs",
    "fn main() { let s = std::process::Command::new(\"/bin/echo\").arg(\"child\").status(); \
     assert!(s.unwrap().success()); }\n",
);

/// The tools, in the order of the table.
const TOOLS: &[Tool] = &[
    tool(
        "prettier, directly",
        Version::Npm("prettier"),
        &[JS],
        &["node", "node_modules/prettier/bin/prettier.cjs", "a.js"],
        &[],
    ),
    tool(
        "prettier, by its bin",
        Version::Npm("prettier"),
        &[JS],
        &["node_modules/.bin/prettier", "a.js"],
        &[],
    ),
    tool(
        "eslint",
        Version::Npm("eslint"),
        &[JS, ("eslint.config.mjs", "export default [{ rules: { 'no-var': 'error' } }];\n")],
        &["node_modules/.bin/eslint", "a.js"],
        &[],
    ),
    tool(
        "tsc 5, without emit",
        Version::Npm("typescript"),
        &[TS, TS_CONFIG],
        &["node_modules/.bin/tsc", "--noEmit"],
        &[],
    ),
    tool(
        "tsc 5, with emit",
        Version::Npm("typescript"),
        &[TS, TS_CONFIG],
        &["node_modules/.bin/tsc"],
        &[FsWrite],
    ),
    tool(
        "tsc 7",
        Version::Npm("@typescript/native-preview"),
        &[TS, TS_CONFIG],
        &["node_modules/.bin/tsgo", "--noEmit"],
        &[ProcessShell],
    ),
    tool(
        "esbuild, by its API",
        Version::Npm("esbuild"),
        &[
            JS,
            (
                "build.cjs",
                "require('esbuild').build({entryPoints:['a.js'],outfile:'out.js',logLevel:'error'})",
            ),
        ],
        &["node", "build.cjs"],
        &[FsWrite, ProcessShell],
    ),
    tool(
        "esbuild, its binary",
        Version::Npm("esbuild"),
        &[JS],
        &["node_modules/@esbuild/linux-x64/bin/esbuild", "a.js"],
        &[],
    ),
    loose(tool(
        "rollup",
        Version::Npm("rollup"),
        &[JS],
        &["node_modules/.bin/rollup", "a.js", "--file", "out.js"],
        &[FsWrite],
    )),
    loose(tool(
        "vitest",
        Version::Npm("vitest"),
        &[
            (
                "a.test.mjs",
                "import {test,expect} from 'vitest'; test('a',()=>expect(1).toBe(1));\n",
            ),
            ("vitest.config.mjs", "export default { cacheDir: 'cache' };\n"),
        ],
        &["node_modules/.bin/vitest", "run"],
        &[FsWrite, ProcessShell],
    )),
    loose(tool(
        "jest",
        Version::Npm("jest"),
        &[
            ("a.test.js", "test('a', () => expect(1).toBe(1));\n"),
            ("package.json", r#"{"jest":{"cacheDirectory":"cache","watchman":false}}"#),
        ],
        &["node_modules/.bin/jest", "-i"],
        &[FsWrite],
    )),
    loose(tool(
        "mocha, in process",
        Version::Npm("mocha"),
        &[("a.test.js", "it('a', () => {});\n")],
        &["node", "node_modules/mocha/lib/cli/cli.js", "a.test.js"],
        &[],
    )),
    loose(tool(
        "mocha, spawning",
        Version::Npm("mocha"),
        &[("a.test.js", "it('a', () => {});\n")],
        &["node", "node_modules/mocha/bin/mocha.js", "--expose-gc", "a.test.js"],
        &[ProcessShell],
    )),
    tool(
        "swc",
        Version::Npm("@swc/core"),
        &[("a.cjs", "console.log(require('@swc/core').transformSync('let a = 1').code)\n")],
        &["node", "a.cjs"],
        // It unpacks its addon into a cache of the user.
        &[FsWrite],
    ),
    tool(
        "lightningcss",
        Version::Npm("lightningcss"),
        &[(
            "a.cjs",
            "console.log(require('lightningcss').transform({filename:'a.css',minify:true,\
             code:Buffer.from('a { color: red }')}).code.toString())\n",
        )],
        &["node", "a.cjs"],
        &[],
    ),
    tool(
        "sharp",
        Version::Npm("sharp"),
        &[(
            "a.cjs",
            "require('sharp')({create:{width:8,height:8,channels:3,background:'red'}}).png()\
             .toFile('a.png').then((made) => console.log(made.width))\n",
        )],
        &["node", "a.cjs"],
        &[FsWrite],
    ),
    tool(
        "libsql",
        Version::Npm("@libsql/client"),
        &[(
            "a.cjs",
            "const {createClient} = require('@libsql/client');\
             const db = createClient({url:'file:a.db'});\
             (async () => { await db.execute('create table t(x)');\
             await db.execute('insert into t values (1)');\
             console.log((await db.execute('select x from t')).rows[0].x); })()\n",
        )],
        &["node", "a.cjs"],
        &[FsWrite],
    ),
    loose(tool(
        "pino",
        Version::Npm("pino"),
        &[("a.cjs", "require('pino')().info('hello')\n")],
        &["node", "a.cjs"],
        &[],
    )),
    loose(tool(
        "npm test",
        Version::Ask(&["npm", "--version"]),
        &[PACKAGE, PROGRAM],
        &["npm", "test"],
        &[FsWrite, ProcessShell],
    )),
    loose(tool(
        "npm pack",
        Version::Ask(&["npm", "--version"]),
        &[PACKAGE, PROGRAM],
        &["npm", "pack"],
        &[FsWrite],
    )),
    loose(tool(
        "npm run",
        Version::Ask(&["npm", "--version"]),
        &[PACKAGE, PROGRAM],
        &["npm", "run", "hello"],
        &[FsWrite, ProcessShell],
    )),
    tool(
        "a Python script",
        Version::Ask(&["/usr/bin/python3", "--version"]),
        &[("a.py", "import json, getpass\nprint(json.dumps({'a': 1}))\n")],
        &["/usr/bin/python3", "a.py"],
        &[],
    ),
    loose(tool(
        "pytest",
        Version::Ask(&["/usr/bin/python3", "-m", "pytest", "--version"]),
        &[("test_a.py", "def test_a():\n    assert 1 == 1\n")],
        &["/usr/bin/python3", "-m", "pytest", "-q"],
        &[FsWrite],
    )),
    tool("git diff", Version::Ask(&["git", "--version"]), GIT, &["git", "diff"], &[FsWrite]),
    tool("git log -p", Version::Ask(&["git", "--version"]), GIT, &["git", "log", "-p"], &[]),
    tool("git status", Version::Ask(&["git", "--version"]), GIT, &["git", "status"], &[FsWrite]),
    tool(
        "a Go static binary (tsc 7 itself)",
        Version::Npm("@typescript/native-preview"),
        &[],
        &["node_modules/@typescript/native-preview-linux-x64/lib/tsgo", "--version"],
        &[],
    ),
    tool(
        "a Rust static binary",
        Version::Ask(&["rustc", "--version"]),
        &[RUST],
        &["./program"],
        &[],
    ),
    tool(
        "a Rust binary that spawns",
        Version::Ask(&["rustc", "--version"]),
        &[RUST_SPAWNS],
        &["./program"],
        &[ProcessShell],
    ),
];
/// A repository is made of it.
const GIT: &[(&str, &str)] = &[(".repository", ""), ("a.txt", "1\n")];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os().nth(1).map(PathBuf::from).ok_or("expected the tools' folder")?;
    let folder = folder.canonicalize()?;
    if env::args().nth(2).is_some_and(|word| word == "--verdicts") {
        for tool in TOOLS {
            let Seen { verdict, same, .. } = run(tool, &folder)?;
            println!("{}\t{verdict}\t{same}", tool.name);
        }
        return Ok(());
    }

    let programs = folder.join("programs");
    fs::create_dir_all(&programs)?;
    for tool in TOOLS {
        build(tool, &programs)?;
    }
    let by_user = verdicts_of_another_user(&folder)?;
    println!("{HEAD}");
    for tool in TOOLS {
        let Seen { version, verdict, same } = run(tool, &folder)?;
        let declared = tool.declared.iter().map(|one| one.name()).collect::<Vec<_>>().join(", ");
        let (user, user_same) = by_user.get(tool.name).cloned().unwrap_or_default();
        let name = tool.name;
        println!("| {name} | {version} | {declared} | {verdict} | {same} | {user} | {user_same} |");
    }
    Ok(())
}

/// What comes out for an ordinary user: this program runs once more as one.
fn verdicts_of_another_user(
    folder: &Path,
) -> Result<BTreeMap<String, (String, String)>, Box<dyn Error>> {
    let mut found = BTreeMap::new();
    if !rustix::process::geteuid().is_root() {
        return Ok(found);
    }
    let place = tempfile::tempdir()?;
    fs::set_permissions(place.path(), Permissions::from_mode(0o755))?;
    let (copy, own) = (place.path().join("tools"), place.path().join("tmp"));
    fs::copy(env::current_exe()?, &copy)?;
    fs::create_dir(&own)?;
    chown(&own, Some(USER), Some(USER))?;
    let mut command = process::Command::new(copy);
    command.arg(folder).arg("--verdicts").uid(USER).gid(USER).current_dir(&own);
    let output = command.env("TMPDIR", &own).env("HOME", &own).output()?;
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let [name, verdict, same] = line.split('\t').collect::<Vec<_>>()[..] {
            found.insert(name.to_owned(), (verdict.to_owned(), same.to_owned()));
        }
    }
    Ok(found)
}

/// What one tool came to.
struct Seen {
    version: String,
    verdict: String,
    same: &'static str,
}

const HEAD: &str = "\
# Ordinary tools under the guard

Each tool is run bare and then under the guard, as it comes from its registry, with a root of a few files and what is
declared here. *Same* says whether exit code and output were the same; where a tool prints times or places, the exit code
and what it made are compared. Made by

    cargo run -p side-effect-guard --example tools -- FOLDER > docs/guard-tools.md

where FOLDER has the packages of `crates/guard/examples/tools/package.json` installed. Reads outside the root are listed.
The last two columns are what an ordinary user gets; the others are root's, whose tools run as a user who owns nothing.
In the tier `traced` all of them pass with the same output too: `beside tools FOLDER --verdicts`, where `beside` is
`crates/guard/tests/adversarial/programs/beside.c`, which takes the listener before the guard can.

| tool | version | declared | verdict | same | user's verdict | same |
|---|---|---|---|---|---|---|";

fn run(tool: &Tool, folder: &Path) -> Result<Seen, Box<dyn Error>> {
    let version = version(&tool.version, folder)
        .or_else(|| (tool.command[0] == "./program").then(String::new));
    let Some(version) = version else {
        return Ok(Seen { version: "not installed".to_owned(), verdict: String::new(), same: "" });
    };
    let bare = root(tool, folder)?;
    let guarded = root(tool, folder)?;
    let (code, output) = run_bare(tool, &bare, folder)?;
    let report = run_guarded(tool, &guarded, folder)?;
    let verdict = match (report.verdict, report.code) {
        (Verdict::Pass, _) => "PASS".to_owned(),
        (_, Some(code)) => format!("{code}: {}", report.reason.replace('|', "\\|")),
        (_, None) => report.reason.clone(),
    };
    let same_code = matches!(report.exit, guard::Exit::Code(found) if found == code);
    let plain = |bytes: &[u8], root: &Path| {
        String::from_utf8_lossy(bytes).replace(&root.display().to_string(), "")
    };
    let same_output =
        plain(&output, &bare.join("root")) == plain(&report.stdout.bytes, &guarded.join("root"));
    let same_files = names(&bare.join("root")) == names(&guarded.join("root"));
    let same = same_code && same_files && (tool.loose || same_output);
    let traced = if report.tier == Tier::Traced { " (traced)" } else { "" };
    let same = if same { "yes" } else { "**no**" };
    if verdict != "PASS" || same != "yes" {
        let said = String::from_utf8_lossy(&report.stderr.bytes);
        eprintln!("{}: {verdict}, same: {same}\n{said}", tool.name);
        for effect in report.effects.iter().filter(|effect| !effect.allowed).take(8) {
            eprintln!("  {} {} {:?}", effect.operation, effect.target, effect.charge);
        }
    }
    for made in [bare, guarded] {
        fs::remove_dir_all(made)?;
    }
    Ok(Seen { version, verdict: verdict + traced, same })
}

fn version(version: &Version, folder: &Path) -> Option<String> {
    match version {
        Version::Npm(package) => {
            let file = folder.join("node_modules").join(package).join("package.json");
            let text = fs::read_to_string(file).ok()?;
            let at = text.find("\"version\"")?;
            Some(format!("{package} {}", text[at..].split('"').nth(3)?))
        }
        Version::Ask(words) => {
            let mut command = process::Command::new(words[0]);
            command.args(&words[1..]).env("PYTHONPATH", folder.join("python"));
            let path = env::var_os("PATH").unwrap_or_default();
            command.env("PATH", format!("{PATH}:{}", path.to_string_lossy()));
            let output = command.output().ok().filter(|output| output.status.success())?;
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            let first = text.lines().next()?.trim();
            Some(if words[0] == "npm" { format!("npm {first}") } else { first.to_owned() })
        }
    }
}

/// A fresh folder with `root` and `home`, which the guard's user may reach.
fn root(tool: &Tool, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let base = tempfile::Builder::new().prefix("guard-tools-").tempdir()?.keep();
    fs::set_permissions(&base, Permissions::from_mode(0o755))?;
    let root = base.join("root");
    for folder in [&root, &base.join("home")] {
        fs::create_dir(folder)?;
    }
    for (name, content) in tool.files {
        if *name == ".repository" {
            repository(&root)?;
        } else {
            fs::write(root.join(name), content)?;
        }
    }
    if matches!(tool.version, Version::Npm(_)) {
        // A folder of its own, as an installation makes it, with links to what is installed.
        fs::create_dir(root.join("node_modules"))?;
        for package in fs::read_dir(folder.join("node_modules"))? {
            let package = package?;
            let name = package.file_name();
            // What tools leave there is not part of an installation.
            if name != ".bin" && name.to_string_lossy().starts_with('.') {
                continue;
            }
            symlink(package.path(), root.join("node_modules").join(name))?;
        }
    }
    if tool.command[0] == "./program" {
        fs::copy(folder.join("programs").join(file_name(tool)), root.join("program"))?;
    }
    guard::prepare_ownership(&base, Identity::Auto)?;
    Ok(base)
}

fn repository(root: &Path) -> Result<(), Box<dyn Error>> {
    fs::write(root.join("a.txt"), "0\n")?;
    for words in [
        &["init", "-q", "-b", "main"][..],
        &["add", "-A"],
        &["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "first"],
    ] {
        let mut git = process::Command::new("git");
        git.args(words).current_dir(root).env("GIT_CONFIG_NOSYSTEM", "1");
        git.env("GIT_AUTHOR_DATE", "@1700000000 +0000");
        git.env("GIT_COMMITTER_DATE", "@1700000000 +0000");
        if !git.status()?.success() {
            return Err("git could not make a repository".into());
        }
    }
    Ok(())
}

fn file_name(tool: &Tool) -> String {
    tool.name.replace(' ', "-")
}

/// Compiles what is to be a static program.
fn build(tool: &Tool, programs: &Path) -> Result<(), Box<dyn Error>> {
    let Some((_, source)) = tool.files.iter().find(|(name, _)| *name == "main.rs") else {
        return Ok(());
    };
    let file = programs.join(format!("{}.rs", file_name(tool)));
    fs::write(&file, source)?;
    let mut rustc = process::Command::new("rustc");
    rustc.args(["-C", "target-feature=+crt-static", "-o"]).arg(programs.join(file_name(tool)));
    let built = rustc.arg(&file).status()?;
    if built.success() { Ok(()) } else { Err("the program could not be compiled".into()) }
}

fn environment(base: &Path, folder: &Path) -> Vec<(String, String)> {
    let python = folder.join("python").display().to_string();
    let home = base.join("home").display().to_string();
    [
        ("PATH", PATH),
        ("HOME", &home),
        ("TMPDIR", &home),
        ("PYTHONPATH", &python),
        ("NO_COLOR", "1"),
        ("CI", "1"),
        ("npm_config_update_notifier", "false"),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "safe.directory"),
        ("GIT_CONFIG_VALUE_0", "*"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn program(name: &str, root: &Path) -> PathBuf {
    if name.contains('/') {
        return root.join(name);
    }
    let mut folders = PATH.split(':').map(|folder| Path::new(folder).join(name));
    folders.find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(name))
}

fn run_bare(tool: &Tool, base: &Path, folder: &Path) -> Result<(i32, Vec<u8>), Box<dyn Error>> {
    let root = base.join("root");
    let mut command = process::Command::new(program(tool.command[0], &root));
    if rustix::process::geteuid().is_root() {
        // As the guard runs it, so that both may do the same.
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command
        .args(&tool.command[1..])
        .current_dir(&root)
        .env_clear()
        .envs(environment(base, folder))
        .stdin(Stdio::null())
        .output()?;
    Ok((output.status.code().unwrap_or(-1), output.stdout))
}

fn run_guarded(tool: &Tool, base: &Path, folder: &Path) -> Result<Report, Box<dyn Error>> {
    let root = base.join("root");
    let command = Command::new(program(tool.command[0], &root), &root).args(&tool.command[1..]);
    let command = environment(base, folder)
        .into_iter()
        .fold(command, |command, (name, value)| command.env(name, value));
    let mut policy = Policy::new(&root);
    policy.scratch = Some(base.join("home"));
    policy.declared = tool.declared.iter().copied().collect();
    policy.reads = Reads::List;
    policy.limits.wall_ms = 300_000;
    policy.limits.cpu_ms = 600_000;
    policy.limits.memory_bytes = 4 << 30;
    Ok(guard::run(&command, &policy)?)
}

/// What is in a folder, without what lies behind links and in caches.
fn names(root: &Path) -> BTreeMap<PathBuf, bool> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, directory) =
                (entry.path(), entry.file_type().is_ok_and(|kind| kind.is_dir()));
            let name = entry.file_name();
            if name == "cache" || name == ".git" || name == "__pycache__" {
                continue;
            }
            if directory {
                waiting.push(path.clone());
            }
            found.insert(path.strip_prefix(root).unwrap_or(&path).to_owned(), directory);
        }
    }
    found
}
