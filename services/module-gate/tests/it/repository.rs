//! A module in a git repository: git and the packages round it are as at home (M5).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;

use crate::command::{Home, link};

/// The settings by which git works on a repository of any owner, without those of this machine.
const GIT_SETTINGS: [(&str, &str); 5] = [
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("HOME", "/nonexistent"),
    ("GIT_CONFIG_COUNT", "1"),
    ("GIT_CONFIG_KEY_0", "safe.directory"),
    ("GIT_CONFIG_VALUE_0", "*"),
];

/// What git says in a module's folder.
const ASKS_GIT: &str = "
    import { execFileSync } from 'node:child_process';
    const git = (...words) => execFileSync('git', words, { encoding: 'utf8' });
    const said = JSON.stringify([git('status'), git('status', '--porcelain', '--ignored'),
      git('diff'), git('diff', '--stat', '.'), git('log', '-p', '--format=%s')]);
    const expected = process.env.EXPECTED;
    if (expected === undefined) console.log(said);
    else for (const [at, text] of JSON.parse(expected).entries())
      if (text !== JSON.parse(said)[at]) {
        console.error('expected', text, 'found', JSON.parse(said)[at]);
        process.exit(1);
      }";

fn git(home: &Home, words: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(words);
    let output = command.current_dir(home.path("")).envs(GIT_SETTINGS).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A repository with files that git knows, ignores and does not know yet, some of them changed.
fn repository() -> Home {
    let home = Home::new();
    git(&home, &["init", "-q", "-b", "main"]);
    home.put(".gitignore", "node_modules/\nbuild/\n*.log\n");
    home.put("src/x.js", "1\n");
    home.put("src/deep/y.js", "1\n");
    home.put("package.json", r#"{"name":"ws","workspaces":["modules/*","packages/*"]}"#);
    home.put("build/out.js", "1\n");
    home.put("src/own.log", "1\n");
    home.put("node_modules/dep/index.js", "module.exports = 1;\n");
    home.module("a", &["Process:git"], ASKS_GIT, &json!([{ "entry": "main.mjs" }]));
    git(&home, &["add", "-A"]);
    git(&home, &["commit", "-q", "-m", "first"]);
    home.put("src/x.js", "2\n");
    home.put("src/new.js", "1\n");
    home.put("fresh/z.js", "1\n");
    home.put("modules/a/more.txt", "1\n");
    // Touched, but not changed: `git diff` brings its index up to date.
    home.put("src/deep/y.js", "1\n");
    home
}

/// What the module prints at home, without a guard.
fn bare(home: &Home) -> String {
    let mut command = Command::new(testkit::program("node").unwrap());
    command.arg("main.mjs").current_dir(home.path("modules/a")).env_clear().envs(GIT_SETTINGS);
    let output = command.env("PATH", "/usr/local/bin:/usr/bin:/bin").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn set_case(home: &Home, case: &serde_json::Value) {
    let spec = json!({ "module": "fixture.a", "cases": [case] });
    home.put("modules/a/oracles/specs/main.json", &spec.to_string());
}

/// The program where every user may start it, in a folder that git ignores.
fn program_for_all(home: &Home) -> PathBuf {
    let program = home.path("build/module-gate");
    testkit::install(&crate::command::program(), &program);
    program
}

/// `words` by an ordinary user; nothing where this test is one already.
fn by_another_user(program: &Path, words: &[&str], at: &Path) -> Option<Output> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let user = ["--reuid", "65532", "--regid", "65532", "--clear-groups"];
    let mut command = Command::new("setpriv");
    command.args(user).arg(program).args(words).current_dir(at).env_remove("MODULE_GATE_SCRATCH");
    command.env("MODULE_GATE_NODE", testkit::program("node").unwrap());
    // Where setpriv or node is not there for that user, only this one is tested.
    command.output().ok().filter(|output| output.status.code() != Some(127))
}

#[test]
fn git_says_about_a_repository_what_it_says_at_home() {
    let home = repository();
    // The spec is part of what git sees, so it has its final form before git is asked at home.
    let case = |expected: &str| json!({ "name": "asks", "entry": "main.mjs", "env": { "EXPECTED": expected } });
    git(&home, &["update-index", "--assume-unchanged", "modules/a/oracles/specs/main.json"]);
    set_case(&home, &case(&bare(&home)));
    let before = home.state();

    let ended = home.oracles(&["--variations", "none"]);

    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert_eq!(home.state(), before);
    let varied = home.oracles(&[]);
    assert_eq!(varied.code, Some(0), "{}", varied.text);

    let program = program_for_all(&home);
    let words = ["oracles", "run", "--modules-root", "modules", "--variations", "none"];
    if let Some(output) = by_another_user(&program, &words, &home.path("")) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_guarded_git_reads_the_repository_above_its_root() {
    let home = repository();
    let program = program_for_all(&home);
    for words in ["git diff", "git status", "git log -p", "git diff --stat"] {
        let words: Vec<&str> = words.split(' ').collect();
        let at_home = Command::new(words[0])
            .args(&words[1..])
            .current_dir(home.path("modules/a"))
            .envs(GIT_SETTINGS)
            .output()
            .unwrap();
        // Again out of date, for the guarded git to find.
        home.put("src/deep/y.js", "1\n");
        let before = home.state();

        let guarded = ["guard", "run", "--root", "modules/a", "--declare", "Process:git", "--"];
        let all: Vec<&str> = guarded.iter().chain(&words).copied().collect();
        let own = Command::new(&program).args(&all).current_dir(home.path("")).output().ok();
        let other = by_another_user(&program, &all, &home.path(""));
        for output in [own, other].into_iter().flatten() {
            let verdict = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{words:?}: {verdict}");
            assert_eq!(output.stdout, at_home.stdout, "{words:?}");
        }
        assert_eq!(home.state(), before, "{words:?}");
    }
}

#[test]
fn a_part_of_git_that_is_a_script_is_named_as_the_shell_it_needs() {
    let home = repository();
    let mut command = Command::new(crate::command::program());
    command.args(["guard", "run", "--root", "modules/a", "--declare", "Process:git", "--"]);
    let output = command.args(["git", "submodule"]).current_dir(home.path("")).output().unwrap();
    let verdict = String::from_utf8_lossy(&output.stderr);
    if verdict.contains("git-submodule") {
        assert!(verdict.contains("Process:shell is not declared"), "{verdict}");
        assert!(verdict.contains("a script of git for /"), "{verdict}");
    }
}

#[test]
fn packages_of_a_workspace_that_import_each_other_are_the_same_as_at_home() {
    let home = repository();
    home.put("modules/a/package.json", r#"{"name":"@ws/a","exports":{"./state":"./state.mjs"}}"#);
    home.put("modules/a/state.mjs", "export const state = {};\n");
    home.put("packages/b/package.json", r#"{"name":"@ws/b","exports":"./b.mjs"}"#);
    home.put("packages/b/b.mjs", "export { state } from '@ws/a/state';\n");
    home.put("packages/b/cli.mjs", "#!/usr/bin/env node\nconsole.log('the tool of b');\n");
    let tool = home.path("packages/b/cli.mjs");
    fs::set_permissions(tool, Permissions::from_mode(0o755)).unwrap();
    for folder in ["node_modules/@ws", "node_modules/.bin"] {
        fs::create_dir_all(home.path(folder)).unwrap();
        fs::set_permissions(home.path(folder), Permissions::from_mode(0o755)).unwrap();
    }
    link("../../modules/a", home.path("node_modules/@ws/a"));
    link("../../packages/b", home.path("node_modules/@ws/b"));
    link("../../packages/b/cli.mjs", home.path("node_modules/.bin/tool"));
    let main = "
        import { execFileSync } from 'node:child_process';
        import { state } from './state.mjs';
        import { state as seenByB } from '@ws/b';
        if (state !== seenByB) process.exit(1);
        process.stdout.write(execFileSync('../../node_modules/.bin/tool'));";
    home.module("a", &["Process:shell"], main, &json!([{ "entry": "main.mjs" }]));
    let ended = home.oracles(&[]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
}

#[test]
fn files_of_a_repository_round_a_module_are_as_closed_as_at_home() {
    let home = repository();
    let main = "
        import fs from 'node:fs';
        for (const path of ['../../src/x.js', '../../.git/config', '../../.git/HEAD'])
          try { fs.writeFileSync(path, 'x'); console.log('written', path) } catch {}";
    home.module("a", &["FS:write"], main, &json!([{ "entry": "main.mjs" }]));
    let before = home.state();
    let ended = home.oracles(&["--variations", "none"]);
    assert_eq!(ended.report()["code"], "E_SIDEEFFECTS_FORBIDDEN", "{}", ended.text);
    assert_eq!(home.state(), before);
}
