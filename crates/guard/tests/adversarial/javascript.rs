//! Class A: undeclared changes inside the root by every door of Node.

use guard::Capability::FsWrite;

use crate::case::{Case, Expect, Program, case};
use crate::programs;
use crate::setting::Setting;

/// Each must be charged without the declaration, and end well with it.
const WRITES: &[(&str, &str)] = &[
    ("esm-named-import", "import {writeFileSync} from 'node:fs'; writeFileSync('a', '1')"),
    ("esm-namespace", "import * as fs from 'node:fs'; fs.writeFileSync('a', '1')"),
    ("esm-default", "import fs from 'fs'; fs.writeFileSync('a', '1')"),
    ("dynamic-import", "(await import('node:fs')).writeFileSync('a', '1')"),
    (
        "create-require",
        "import {createRequire} from 'node:module'; \
        createRequire(import.meta.url)('fs').writeFileSync('a', '1')",
    ),
    ("builtin-module", "process.getBuiltinModule('fs').writeFileSync('a', '1')"),
    ("callback", "import {writeFile} from 'node:fs'; writeFile('a', '1', e => { if (e) throw e })"),
    ("promises-named", "import {writeFile} from 'node:fs/promises'; await writeFile('a', '1')"),
    ("promises-property", "import fs from 'node:fs'; await fs.promises.appendFile('x', '1')"),
    (
        "descriptor",
        "import {openSync, writeSync} from 'node:fs'; writeSync(openSync('a', 'w'), \
        '1')",
    ),
    (
        "descriptor-vector",
        "import fs from 'node:fs'; fs.writevSync(fs.openSync('a', 'w'), \
        [Buffer.from('1')])",
    ),
    (
        "file-handle",
        "import fsp from 'node:fs/promises'; const h = await fsp.open('a', 'w'); await \
        h.writeFile('1'); await h.close()",
    ),
    (
        "file-handle-append",
        "import fsp from 'node:fs/promises'; const h = await fsp.open('x', \
        'a'); await h.appendFile('1'); await h.close()",
    ),
    (
        "file-handle-truncate",
        "import fsp from 'node:fs/promises'; const h = await fsp.open('x', \
        'r+'); await h.truncate(0); await h.close()",
    ),
    (
        "file-handle-stream",
        "import fsp from 'node:fs/promises'; const h = await fsp.open('a', \
        'w'); h.createWriteStream().end('1')",
    ),
    (
        "file-handle-chmod",
        "import fsp from 'node:fs/promises'; const h = await fsp.open('x', 'r'); \
        await h.chmod(0o600); await h.close()",
    ),
    (
        "file-handle-chown",
        "import fsp from 'node:fs/promises'; const h = await fsp.open('x', 'r'); \
        await h.chown(process.getuid(), process.getgid()); await h.close()",
    ),
    (
        "file-handle-utimes",
        "import fsp from 'node:fs/promises'; const h = await fsp.open('x', \
        'r'); await h.utimes(1, 1); await h.close()",
    ),
    ("write-stream", "import fs from 'node:fs'; new fs.WriteStream('a').end('1')"),
    (
        "create-write-stream",
        "import {createWriteStream} from 'node:fs'; createWriteStream('x', \
        {flags: 'r+'}).end('1')",
    ),
    (
        "pipeline",
        "import fs from 'node:fs'; import {pipeline} from 'node:stream/promises'; await \
        pipeline(fs.createReadStream('y'), fs.createWriteStream('a'))",
    ),
    (
        "web-stream",
        "import fs from 'node:fs'; import {Writable} from 'node:stream'; const w = \
        Writable.toWeb(fs.createWriteStream('a')).getWriter(); await w.write('1'); await \
        w.close()",
    ),
    ("append", "import {appendFileSync} from 'node:fs'; appendFileSync('x', '1')"),
    ("copy-file", "import {copyFileSync} from 'node:fs'; copyFileSync('x', 'a')"),
    (
        "copy-file-clone",
        "import {copyFileSync, constants} from 'node:fs'; copyFileSync('x', 'a', \
        constants.COPYFILE_FICLONE)",
    ),
    ("cp", "import {cpSync} from 'node:fs'; cpSync('full', 'copy', {recursive: true})"),
    (
        "cp-promises",
        "import {cp} from 'node:fs/promises'; await cp('full', 'copy', {recursive: \
        true})",
    ),
    ("symlink", "import {symlinkSync} from 'node:fs'; symlinkSync('/etc/passwd', 'ln')"),
    ("hard-link", "import {linkSync} from 'node:fs'; linkSync('x', 'hard')"),
    ("mkdir", "import {mkdirSync} from 'node:fs'; mkdirSync('new/er', {recursive: true})"),
    ("mkdtemp", "import {mkdtempSync} from 'node:fs'; mkdtempSync('tmp-')"),
    (
        "mkdtemp-in-scratch",
        "import {mkdtempSync} from 'node:fs'; import os from 'node:os'; \
        mkdtempSync(os.tmpdir() + '/t-')",
    ),
    ("rmdir", "import {rmdirSync} from 'node:fs'; rmdirSync('d')"),
    ("rm", "import {rmSync} from 'node:fs'; rmSync('full', {recursive: true})"),
    ("unlink", "import {unlink} from 'node:fs/promises'; await unlink('x')"),
    ("rename", "import {rename} from 'node:fs'; rename('x', 'z', e => { if (e) throw e })"),
    ("truncate", "import {truncateSync} from 'node:fs'; truncateSync('x')"),
    ("ftruncate", "import fs from 'node:fs'; fs.ftruncateSync(fs.openSync('x', 'r+'))"),
    ("chmod", "import {chmodSync} from 'node:fs'; chmodSync('x', 0o777)"),
    ("fchmod", "import fs from 'node:fs'; fs.fchmodSync(fs.openSync('x', 'r'), 0o600)"),
    (
        "chown",
        "import {chownSync} from 'node:fs'; chownSync('x', process.getuid(), \
        process.getgid())",
    ),
    (
        "lchown",
        "import {lchownSync} from 'node:fs'; lchownSync('link', process.getuid(), \
        process.getgid())",
    ),
    ("utimes", "import {utimesSync} from 'node:fs'; utimesSync('x', 1, 2)"),
    ("lutimes", "import {lutimesSync} from 'node:fs'; lutimesSync('link', 1, 2)"),
    ("futimes", "import fs from 'node:fs'; fs.futimesSync(fs.openSync('x', 'r'), 1, 2)"),
    (
        "by-file-url",
        "import {writeFileSync} from 'node:fs'; writeFileSync(new URL('./a', \
        import.meta.url), '1')",
    ),
    (
        "by-bytes",
        "import {writeFileSync} from 'node:fs'; writeFileSync(Buffer.from([0xff, 0xfe]), \
        '1')",
    ),
    (
        "by-proc-cwd",
        "import {writeFileSync} from 'node:fs'; writeFileSync('/proc/self/cwd/a', \
        '1')",
    ),
    ("ephemeral", "import fs from 'node:fs'; fs.writeFileSync('a', '1'); fs.unlinkSync('a')"),
    (
        "restored",
        "import fs from 'node:fs'; const t = fs.readFileSync('x'); fs.writeFileSync('x', \
        'z'); fs.writeFileSync('x', t)",
    ),
    (
        "worker",
        "import {Worker} from 'node:worker_threads'; new \
        Worker(`require('fs').writeFileSync('a','1')`, {eval: true})",
    ),
    (
        "worker-data-url",
        "import {Worker} from 'node:worker_threads'; new Worker(new \
        URL('data:text/javascript,import fs from \"fs\"; fs.writeFileSync(\"a\",\"1\")'))",
    ),
    (
        "vm-context",
        "import vm from 'node:vm'; import fs from 'node:fs'; \
        vm.runInNewContext('fs.writeFileSync(\"a\", \"1\")', {fs})",
    ),
    (
        "eval",
        "import fs from 'node:fs'; globalThis.f = fs; (0, eval)('f.writeFileSync(\"a\", \
        \"1\")')",
    ),
    ("on-exit", "import fs from 'node:fs'; process.on('exit', () => fs.writeFileSync('a', '1'))"),
    (
        "next-tick",
        "import fs from 'node:fs'; setTimeout(() => process.nextTick(() => \
        fs.writeFileSync('a', '1')), 20)",
    ),
    (
        "wrapped-away",
        "import fs from 'node:fs'; const w = fs.writeFileSync; fs.writeFileSync = () \
        => {}; w('a', '1')",
    ),
    (
        "diagnostic-report",
        "process.report.excludeNetwork = true; \
        process.report.writeReport('rep.json')",
    ),
    ("heap-snapshot", "import v8 from 'node:v8'; v8.writeHeapSnapshot('h.heapsnapshot')"),
    (
        "trace-events",
        "import t from 'node:trace_events'; const g = t.createTracing({categories: \
        ['node.perf']}); g.enable(); performance.mark('m'); g.disable()",
    ),
    (
        "socket-file",
        "import net from 'node:net'; net.createServer().listen('./sock', function () { \
        this.close() })",
    ),
    (
        "wasi",
        "import {WASI} from 'node:wasi'; const s = t => [t.length, ...Buffer.from(t)]; const \
        sec = (id, b) => [id, b.length, ...b];
        const b = [0,97,115,109,1,0,0,0, ...sec(1, [2, 96,3,127,127,127,1,127, 96,0,0]), ...sec(2, \
        [1, ...s('wasi_snapshot_preview1'), ...s('path_create_directory'), 0,0]),
          ...sec(3, [1,1]), ...sec(5, [1,0,1]), ...sec(7, [2, ...s('memory'),2,0, \
          ...s('_start'),0,1]), ...sec(10, [1, 11, 0, 65,3, 65,0, 65,4, 16,0, 26, 11]), ...sec(11, \
          [1, 0,65,0,11, ...s('made')])];
        const w = new WASI({version: 'preview1', preopens: {'/': '.'}}); w.start((await \
        WebAssembly.instantiate(new Uint8Array(b), w.getImportObject())).instance)",
    ),
];

/// As [`WRITES`], but by doors that not every release of Node has, or that only exist where a
/// module is no ES module.
const SCRIPTS: &[(&str, &str)] = &[
    (
        "process-binding",
        "const c = require('fs').constants; const b = process.binding('fs'); \
        b.close(b.open('a', c.O_CREAT | c.O_WRONLY, 0o600))",
    ),
    ("main-module-require", "process.mainModule.require('fs').writeFileSync('a', '1')"),
    ("module-load", "require('module')._load('fs').writeFileSync('a', '1')"),
    ("native-addon", "process.dlopen({exports: {}}, require('path').resolve('addon.node'))"),
    ("native-addon-required", "require('./addon.node')"),
    (
        "compile-cache",
        "require('fs').mkdirSync('cc', {recursive: true}); const m = \
        require('module'); if (m.enableCompileCache) m.enableCompileCache('./cc')",
    ),
    (
        "sqlite",
        "let s; try { s = require('node:sqlite') } catch { require('fs').writeFileSync('a', \
        '1') }
        if (s) { const d = new s.DatabaseSync('a.db'); d.exec('pragma journal_mode=wal; create \
        table t(x); insert into t values (1)'); d.close() }",
    ),
    ("promisified", "require('util').promisify(require('fs').writeFile)('a', '1')"),
    ("prepared-dependency", "require('dep')('a')"),
];

pub fn cases() -> Vec<Case> {
    let modules = WRITES.iter().map(|(name, text)| (*name, Program::Module(text)));
    let scripts = SCRIPTS.iter().map(|(name, text)| (*name, Program::Script(text)));
    let both = modules.chain(scripts).flat_map(|(name, program)| {
        [
            case("A", name, program, &[], Expect::Undeclared(&[FsWrite])),
            case("A", name, program, &[FsWrite], Expect::Pass).strict(),
        ]
    });
    let preloaded = Program::Script("kept('a', '1')");
    let coverage = Program::Script("1");
    let more = [
        case("A", "kept-from-a-preload", preloaded, &[], Expect::Undeclared(&[FsWrite]))
            .ready(preload),
        case("A", "coverage-of-the-runtime", coverage, &[], Expect::Undeclared(&[FsWrite]))
            .ready(|setting| setting.env.push(("NODE_V8_COVERAGE", "./coverage".to_owned()))),
        case("A", "profile-by-option", coverage, &[], Expect::Undeclared(&[FsWrite]))
            .ready(|setting| setting.env.push(("NODE_OPTIONS", "--cpu-prof".to_owned()))),
        case("A", "heap-profile-by-option", coverage, &[], Expect::Undeclared(&[FsWrite]))
            .ready(|setting| setting.env.push(("NODE_OPTIONS", "--heap-prof".to_owned()))),
    ];
    let furnished = both.map(|one| {
        let ends = one.name != WAITS_FOR_ITS_FILE || one.declared.contains(&FsWrite);
        one.ready(if ends { furnish } else { furnish_and_bound })
    });
    furnished.chain(more).collect()
}

/// Node itself never ends where it may not make the file of its trace events.
const WAITS_FOR_ITS_FILE: &str = "trace-events";

/// Long enough for the attempt on a busy machine.
fn furnish_and_bound(setting: &mut Setting) {
    furnish(setting);
    setting.policy.limits.wall_ms = 10_000;
}

fn furnish(setting: &mut Setting) {
    std::fs::copy(programs::addon(), setting.root.join("addon.node")).unwrap();
    let dep = setting.root.join("node_modules/dep");
    std::fs::create_dir_all(&dep).unwrap();
    let text =
        "const {writeFileSync} = require('fs'); module.exports = name => writeFileSync(name, '1')";
    std::fs::write(dep.join("index.js"), text).unwrap();
}

fn preload(setting: &mut Setting) {
    std::fs::write(setting.root.join("pre.cjs"), "globalThis.kept = require('fs').writeFileSync")
        .unwrap();
    setting.env.push(("NODE_OPTIONS", "--require ./pre.cjs".to_owned()));
}
