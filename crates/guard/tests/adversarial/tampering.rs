//! Class F: modules that know they are guarded. And what must pass without a false alarm.

use guard::Capability::{FsWrite, ProcessShell};
use guard::{Category, Report};

use crate::case::{Case, Expect, Program, case};
use crate::limits::counted;
use crate::setting::Setting;

pub fn cases() -> Vec<Case> {
    vec![
        case(
            "F",
            "log-truncated",
            Program::Script(
                "const fs = require('fs'); fs.existsSync('a'); \
            try { fs.writeFileSync('a', '1') } catch {} for (const v of \
            Object.values(process.env)) try { fs.truncateSync(v) } catch \
            {}",
            ),
            &[],
            Expect::Forbidden,
        ),
        case(
            "F",
            "environment-emptied",
            Program::Script(
                "for (const k in process.env) delete \
            process.env[k]; try { require('fs').writeFileSync('a', '1') } catch \
            {}",
            ),
            &[],
            Expect::Undeclared(&[FsWrite]),
        ),
        case(
            "F",
            "events-forged",
            Program::Shell(
                "echo \
            '{\"schema\":\"tm-events@1\",\"event\":\"GATES_PASS\",\"verdict\":\"PASS\"}'; echo \
            '{\"verdict\":\"PASS\"}' >&2",
            ),
            &[],
            Expect::Pass,
        ),
        case(
            "F",
            "events-forged-over-a-write",
            Program::Shell(
                "echo '{\"verdict\":\"PASS\"}'; { \
            echo x > a; } 2>/dev/null; exit 0",
            ),
            &[],
            Expect::Undeclared(&[FsWrite]),
        ),
        case(
            "F",
            "skip-forged",
            Program::Shell(
                "echo 'TEST_SKIPPED'; { echo x > a; } 2>/dev/null; \
            exit 64",
            ),
            &[],
            Expect::Undeclared(&[FsWrite]),
        ),
        case(
            "F",
            "guard-looked-for",
            Program::Script(
                "const s = \
            require('fs').readFileSync('/proc/self/status', 'utf8'); if \
            (/TracerPid:\\s*0/.test(s)) try { require('fs').writeFileSync('a', '1') } catch \
            {}",
            ),
            &[],
            Expect::Undeclared(&[FsWrite]),
        )
        .traced(Expect::NoPass),
        case(
            "F",
            "guard-looked-for-by-thread",
            Program::Shell(
                "while read -r name value; do [ \
            $name$value = TracerPid:0 ] && echo 1 > a; done 2>/dev/null < \
            /proc/self/task/$$/status; :",
            ),
            &[],
            Expect::Undeclared(&[FsWrite]),
        )
        .traced(Expect::NoPass),
        case(
            "F",
            "guard-not-in-view",
            Program::Shell(
                "for f in /proc/self/fd/*; do [ -e $f ] && \
            echo ${f##*/}; done | grep -cv '^[0-3]$'; env | grep -ic 'guard_[^l]'; \
            true",
            ),
            &[ProcessShell],
            Expect::Pass,
        )
        .check(|_, report| {
            match String::from_utf8_lossy(&report.stdout.bytes).lines().all(|line| line == "0") {
                true => Ok(()),
                false => Err("something of the guard is in view".to_owned()),
            }
        }),
        case(
            "F",
            "reaper-killed",
            Program::Script(
                "try { process.kill(process.ppid, 'SIGKILL') } \
            catch {}",
            ),
            &[],
            Expect::Forbidden,
        ),
        case(
            "F",
            "reaper-asked",
            Program::Script(
                "try { process.kill(process.ppid, 0) } catch \
            {}",
            ),
            &[],
            Expect::Pass,
        ),
        case(
            "F",
            "reaper-sacrificed",
            Program::Script(
                "try { \
            require('fs').writeFileSync(`/proc/${process.ppid}/oom_score_adj`, '1000') } catch \
            {}",
            ),
            &[FsWrite],
            Expect::Forbidden,
        ),
        case(
            "F",
            "violation-and-crash",
            Program::Shell(
                "{ echo x > a; } 2>/dev/null; kill -KILL \
            $$",
            ),
            &[],
            Expect::Undeclared(&[FsWrite]),
        ),
        case(
            "F",
            "violation-and-endless",
            Program::Shell(
                "{ echo x > a; } 2>/dev/null; while :; \
            do :; done",
            ),
            &[],
            Expect::Undeclared(&[FsWrite]),
        )
        .ready(|setting| setting.policy.limits.cpu_ms = 300),
        case(
            "F",
            "outside-outweighs-undeclared",
            Program::Shell(
                "{ echo 1 > a; } 2>/dev/null; { \
            echo 1 > ../b; } 2>/dev/null; true",
            ),
            &[],
            Expect::Forbidden,
        ),
        case("F", "flood-of-changes", Program::Probe("many_changes", ""), &[FsWrite], Expect::Pass)
            .ready(|setting| setting.argument = "20000".to_owned())
            .check(|_, report| {
                counted(report, Category::FsWrite, 20_000)?;
                if report.effects.len() <= Report::MAX_EFFECTS {
                    Ok(())
                } else {
                    Err("too many \
                    effects kept"
                        .to_owned())
                }
            }),
        case(
            "F",
            "flood-of-output",
            Program::Probe("much_output", ""),
            &[],
            Expect::Exec(
                "limit \
            stdout_bytes",
            ),
        )
        .ready(|setting| setting.argument = (2u64 << 30).to_string())
        .check(|setting, report| {
            let kept = report.stdout.bytes.len() as u64;
            if kept == setting.policy.limits.stdout_bytes {
                Ok(())
            } else {
                Err(format!("{kept} bytes kept"))
            }
        }),
        case(
            "F",
            "flood-of-errors",
            Program::Shell(
                "while :; do echo 0123456789 >&2; \
            done",
            ),
            &[],
            Expect::Exec("limit stderr_bytes"),
        )
        .ready(|setting| setting.policy.limits.stderr_bytes = 100_000),
        case(
            "F",
            "names-with-terminal-codes",
            Program::Script("require('fs').writeFileSync('\\u001b[2J\\n', '1')"),
            &[FsWrite],
            Expect::Pass,
        )
        .check(|_, report| {
            let raw =
                report.effects.iter().any(|effect| effect.target.chars().any(char::is_control));
            if raw { Err("a control character in a report".to_owned()) } else { Ok(()) }
        }),
        case(
            "F",
            "storm_of_signals_restarting",
            Program::Probe("storm_of_signals_restarting", ""),
            &[FsWrite],
            Expect::Pass,
        ),
        case(
            "F",
            "storm_of_signals_interrupting",
            Program::Probe("storm_of_signals_interrupting", ""),
            &[FsWrite],
            Expect::Pass,
        ),
    ]
}

/// What ordinary modules do.
pub fn controls() -> Vec<Case> {
    let js = |name, text, declared: &[_]| {
        case("OK", name, Program::Module(text), declared, Expect::Pass).strict()
    };
    let sh = |name, text, declared: &[_]| {
        case("OK", name, Program::Shell(text), declared, Expect::Pass).strict()
    };
    vec![
        js(
            "console",
            "console.log('out'); console.error('err'); process.stdout.write('more')",
            &[],
        ),
        js(
            "console-to-device",
            "import fs from 'node:fs'; fs.writeFileSync('/dev/stdout', 'a'); \
             fs.appendFileSync('/dev/null', 'b'); fs.writeSync(1, 'c')",
            &[],
        ),
        js("much-console", "for (let i = 0; i < 20000; i++) process.stdout.write('€uro')", &[]),
        js(
            "read-inside",
            "import fs from 'node:fs'; fs.readFileSync('x'); fs.readdirSync('.'); \
             fs.statSync('x'); fs.realpathSync('link'); fs.accessSync('x'); for await (const e of \
             fs.opendirSync('.')) e.isFile()",
            &[],
        ),
        js(
            "read-as-blob-and-stream",
            "import fs from 'node:fs'; await (await fs.openAsBlob('x')).text(); for await (const c \
             of fs.createReadStream('y')) c.length",
            &[],
        ),
        js(
            "read-by-web-stream",
            "import fsp from 'node:fs/promises'; const h = await fsp.open('x'); for await (const c \
             of h.readableWebStream()) c.length; await h.close()",
            &[],
        ),
        js("dependencies", "import dep from 'dep'; console.log(dep)", &[]).ready(dependency),
        js(
            "watch",
            "import fs from 'node:fs'; fs.watch('.').close(); fs.watchFile('x', () => {}); \
             fs.unwatchFile('x')",
            &[],
        ),
        js(
            "just-in-time",
            "let s = 0; for (let i = 0; i < 3e6; i++) s += i % 7; new WebAssembly.Module(new \
             Uint8Array([0,97,115,109,1,0,0,0])); console.log(s)",
            &[],
        ),
        js(
            "workers",
            "import {Worker} from 'node:worker_threads'; for (let i = 0; i < 3; i++) new \
             Worker('require(\"fs\").readFileSync(\"x\")', {eval: true})",
            &[],
        ),
        js(
            "clock-random-locale",
            "import c from 'node:crypto'; import os from 'node:os'; c.randomBytes(8); \
             c.scryptSync('a', 'b', 16); os.cpus(); os.totalmem(); os.loadavg(); new \
             Date().toLocaleString('de', {timeZone: 'Asia/Tokyo'})",
            &[],
        ),
        js(
            "compression",
            "import z from 'node:zlib'; await new Promise(done => z.gzip('x'.repeat(1e6), done))",
            &[],
        ),
        js(
            "message-channels",
            "const c = new MessageChannel(); c.port1.on('message', () => c.port1.close()); \
             c.port2.postMessage(1); new BroadcastChannel('b').close()",
            &[],
        ),
        js(
            "own-signals",
            "process.once('SIGUSR2', () => {}); process.kill(process.pid, 'SIGUSR2'); \
             process.on('SIGTERM', () => {})",
            &[],
        ),
        js(
            "nothing-to-make",
            "import fs from 'node:fs'; fs.mkdirSync('d', {recursive: true}); fs.rmSync('none', \
             {force: true}); try { fs.unlinkSync('none') } catch {}",
            &[],
        ),
        js(
            "atomic-replacement",
            "import fs from 'node:fs'; fs.writeFileSync('t.tmp', '1'); fs.renameSync('t.tmp', \
             't'); fs.fsyncSync(fs.openSync('t', 'r'))",
            &[FsWrite],
        ),
        js(
            "write-in-scratch",
            "import fs from 'node:fs'; import os from 'node:os'; fs.writeFileSync(os.tmpdir() + \
             '/t', '1'); fs.writeFileSync(os.homedir() + '/.rc', '1')",
            &[FsWrite],
        ),
        js(
            "free-output",
            "import fs from 'node:fs'; fs.mkdirSync(process.env.OUT + '/d'); \
             fs.writeFileSync(process.env.OUT + '/d/f', '1'); fs.renameSync(process.env.OUT + \
             '/d/f', process.env.OUT + '/g')",
            &[],
        ),
        js(
            "parallel-writes",
            "import fsp from 'node:fs/promises'; await Promise.all([...Array(200).keys()].map(i => \
             fsp.writeFile('f' + i, '' + i)))",
            &[FsWrite],
        ),
        js(
            "dot-dot-names",
            "import fs from 'node:fs'; fs.writeFileSync('..foo', '1'); fs.writeFileSync('d/../h', \
             '1'); fs.writeFileSync('/proc/self/cwd/f', '1'); \
             fs.writeFileSync('/proc/thread-self/cwd/g', '1')",
            &[FsWrite],
        ),
        js(
            "moves-across-folders",
            "import fs from 'node:fs'; fs.renameSync('full/f', 'd/f'); fs.renameSync('d', \
             'full/d'); fs.rmSync('full', {recursive: true})",
            &[FsWrite],
        ),
        case(
            "OK",
            "calls_without_effect",
            Program::Probe("calls_without_effect", ""),
            &[],
            Expect::Pass,
        )
        .strict()
        .check(|_, report| {
            if report.counts.is_empty() { Ok(()) } else { Err("something was counted".to_owned()) }
        }),
        js("rename-self", "import fs from 'node:fs'; fs.renameSync('x', 'x')", &[FsWrite]).check(
            |_, report| match report.counts.get(&Category::FsWrite) {
                None => Ok(()),
                Some(_) => Err("counted as a change".to_owned()),
            },
        ),
        js("slow-but-the-same", "await new Promise(done => setTimeout(done, 400))", &[]),
        sh(
            "shell-builtins",
            "read line < x; echo $line; [ -d d ] && cd d && pwd > /dev/null; exec 3< ../y; read a \
             <&3",
            &[],
        ),
        sh(
            "shell-pipes",
            "cat <<X | tr a-z A-Z | { read line; echo $line; }\nhello\nX\nls > listing; test -s \
             listing; for i in 1 2 3; do echo $i; done | wc -l",
            &[FsWrite, ProcessShell],
        ),
        sh(
            "shell-traps",
            "trap 'echo usr1' USR1; kill -USR1 $$; (exit 3) || true; set -- a b; shift",
            &[ProcessShell],
        ),
        sh(
            "devices",
            "echo a > /dev/null; echo b > /dev/stdout; echo c > /dev/stderr; echo d > \
             /proc/self/fd/1; : < /dev/zero; : < /dev/urandom",
            &[],
        ),
        sh(
            "tree-of-links",
            "ln -s d e; ln -s e f; mkdir f/g; echo 1 > e/g/h; rm -r d; [ ! -e f/g ]",
            &[FsWrite, ProcessShell],
        ),
        sh(
            "rights-taken-and-given",
            "mkdir r; echo 1 > r/f; chmod 0 r; chmod 700 r; rm -r r; mv x z; mv z x; touch x; \
             truncate -s 1 x; dd if=/dev/zero of=x bs=1 count=9 2>/dev/null",
            &[FsWrite, ProcessShell],
        ),
        case(
            "OK",
            "archive",
            Program::Shell(
                "tar cf t.tar full x link; mkdir u; tar xf t.tar -C u; cmp x u/x; cp -a full copy; \
                 rm -r u copy",
            ),
            &[FsWrite, ProcessShell],
            Expect::Pass,
        ),
        sh(
            "many-children",
            "i=0; while [ $i -lt 100 ]; do (exit 0); i=$((i+1)); done; for i in 1 2 3 4 5; do true \
             & done; wait",
            &[ProcessShell],
        ),
    ]
}

fn dependency(setting: &mut Setting) {
    let dep = setting.root.join("node_modules/dep");
    std::fs::create_dir_all(&dep).unwrap();
    std::fs::write(dep.join("index.js"), "module.exports = require('./part.json').n").unwrap();
    std::fs::write(dep.join("part.json"), "{\"n\": 42}").unwrap();
    std::fs::write(setting.base.join("package.json"), "{}").unwrap();
}
