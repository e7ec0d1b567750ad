//! What must pass without a false alarm.

use std::path::Path;

use guard::Capability::{FsWrite, ProcessGit, ProcessShell};

use crate::setting::{Setting, assert_pass, no_node};

#[test]
fn an_atomic_replacement_and_moves_between_folders() {
    if no_node() {
        return;
    }
    let script =
        "import fs from 'node:fs'; fs.writeFileSync('t.tmp', '1'); fs.renameSync('t.tmp', \
        't'); fs.mkdirSync('a/b', {recursive: true}); fs.mkdirSync('a/b', {recursive: true});
        fs.mkdirSync('c'); fs.writeFileSync('a/b/f', '1'); fs.renameSync('a/b', 'c/b'); \
        fs.writeFileSync('c/b/g', '2'); fs.linkSync('c/b/g', 'h'); fs.appendFileSync('h', '3'); \
        fs.rmSync('c', {recursive: true})";
    assert_pass(&Setting::new().declare(&[FsWrite]).deny_reads().mjs(script));
}

#[test]
fn writing_to_a_folder_moved_while_a_file_in_it_is_open() {
    let source = "int main() { mkdir(\"d\", 0700); int f = open(\"d/f\", O_CREAT | O_WRONLY, \
        0600); rename(\"d\", \"e\"); usleep(20000); return write(f, \"x\", 1) != 1; }";
    assert_pass(&Setting::new().declare(&[FsWrite]).c(source));
}

#[test]
fn names_are_those_of_the_folder_that_the_command_is_in() {
    let source = "void *thread(void *into) { return (void *)(long)chdir(into); }
        void made(const char *name) { close(open(name, O_CREAT | O_WRONLY, 0600)); }
        int main() {
            int root = open(\".\", O_RDONLY | O_DIRECTORY);
            mkdir(\"d\", 0700); mkdir(\"d/e\", 0700); made(\"1\");
            chdir(\"d\"); made(\"2\");
            pthread_t other; pthread_create(&other, 0, thread, \"e\"); pthread_join(other, 0);
            made(\"3\"); rename(\"../../d\", \"../../moved\"); made(\"4\");
            fchdir(root); made(\"5\");
            return 0; }";
    let setting = Setting::new().declare(&[FsWrite]);
    let report = setting.c(source);
    assert_pass(&report);
    let opened = report.effects.iter().filter(|effect| effect.operation.starts_with("open"));
    let names: Vec<_> = opened
        .map(|effect| effect.target.strip_prefix(setting.root.to_str().unwrap()).unwrap())
        .collect();
    assert_eq!(names, ["/1", "/d/2", "/d/e/3", "/moved/e/4", "/5"]);
}

#[test]
fn parallel_writers() {
    if no_node() {
        return;
    }
    let script = "import fsp from 'node:fs/promises'; await \
        Promise.all([...Array(200).keys()].map(i => fsp.writeFile('f' + i, '' + i)))";
    assert_pass(&Setting::new().declare(&[FsWrite]).deny_reads().mjs(script));
}

#[test]
fn a_shell_with_pipes_and_here_documents() {
    let script = "cat <<X | tr a-z A-Z | { read line; echo $line; }\nhello\nX\nls > listing; test \
        -s listing; for i in 1 2 3; do echo $i; done | wc -l";
    let report = Setting::new().declare(&[FsWrite, ProcessShell]).deny_reads().sh(script);
    assert_pass(&report);
    assert_eq!(report.stdout.bytes, b"HELLO\n3\n");
}

#[test]
fn git_at_work() {
    if !Path::new("/usr/bin/git").exists() {
        eprintln!("skipped: there is no git on this machine");
        return;
    }
    let setting = Setting::new().declare(&[FsWrite, ProcessGit, ProcessShell]).deny_reads();
    let script = "git init -q . && git -c user.name=a -c user.email=a@b.c add x && git -c \
        user.name=a -c user.email=a@b.c commit -qm x && git status --short && git log --oneline | \
        wc -l";
    assert_pass(&setting.sh(script));
}

#[test]
fn jit_and_webassembly() {
    if no_node() {
        return;
    }
    let script = "let s = 0; for (let i = 0; i < 3e6; i++) s += i % 7; new WebAssembly.Module(new \
        Uint8Array([0,97,115,109,1,0,0,0])); console.log(s)";
    assert_pass(&Setting::new().deny_reads().cjs(script));
}
