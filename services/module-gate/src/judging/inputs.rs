//! Files that Node loads before a program: one that shifts its clock, one that lists what it reads
//! from its host.
//!
//! The first makes a varied attempt. The second only explains a difference that is proven already;
//! what it says decides nothing.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Name of the file of [`SHIFT_CLOCK`].
pub const CLOCK_FILE: &str = "shift-clock.cjs";

/// Shifts `Date` by 400 days, 5 hours, 17 minutes and 43 seconds. Only what a program calls without
/// a date of its own is shifted, and a date stays an ordinary one.
pub const SHIFT_CLOCK: &str = r"'use strict';
const shift = ((400 * 24 + 5) * 60 + 17) * 60000 + 43000;
const Real = Date;
const now = () => Real.now() + shift;
const Shifted = new Proxy(Real, {
  construct(target, args, wanted) {
    return Reflect.construct(target, args.length ? args : [now()], wanted === Shifted ? target
      : wanted);
  },
  apply: () => new Real(now()).toString(),
  get: (target, name, self) => (name === 'now' ? now : Reflect.get(target, name, self)),
});
Real.prototype.constructor = Shifted;
globalThis.Date = Shifted;
const { formatToParts } = Intl.DateTimeFormat.prototype;
const format = Object.getOwnPropertyDescriptor(Intl.DateTimeFormat.prototype, 'format');
if (format && format.get) {
  Object.defineProperty(Intl.DateTimeFormat.prototype, 'format', {
    ...format,
    get() {
      const own = format.get.call(this);
      return (date) => own(date === undefined ? now() : date);
    },
  });
  Intl.DateTimeFormat.prototype.formatToParts = function (date) {
    return formatToParts.call(this, date === undefined ? now() : date);
  };
}
";

/// The line that the listing ends standard error with.
const MARK: &str = "\u{1e}lumio-inputs ";

/// Lists what a program asks that is not the same in every run, with the place in the module that
/// asked last.
pub const LIST_INPUTS: &str = r"'use strict';
const fs = require('node:fs');
const asked = {};
const root = process.argv[1] ? require('node:path').dirname(process.argv[1]) : process.cwd();
const note = (kind, what) => {
  const stack = String(new Error().stack).split('\n').slice(3)
    .find((line) => !line.includes('node:') && !line.includes(__filename)) || '';
  const place = (stack.match(/\(?((?:file:\/\/)?\/[^()]*:\d+:\d+)\)?$/) || [, ''])[1];
  asked[kind] = { what, place, count: (asked[kind] ? asked[kind].count : 0) + 1 };
};
const wrap = (object, name, kind, label) => {
  const own = object && object[name];
  if (typeof own !== 'function') return;
  try {
    object[name] = function (...args) { note(kind, label || name);
      return Reflect.apply(own, this, args); };
    Object.assign(object[name], own);
  } catch {}
};
const Real = Date;
globalThis.Date = new Proxy(Real, {
  construct(target, args, wanted) {
    if (!args.length) note('clock', 'new Date()');
    return Reflect.construct(target, args, wanted === globalThis.Date ? target : wanted);
  },
  apply() { note('clock', 'Date()'); return Real(); },
  get(target, name, self) {
    if (name === 'now') return () => { note('clock', 'Date.now()'); return Real.now(); };
    return Reflect.get(target, name, self);
  },
});
wrap(performance, 'now', 'clock', 'performance.now()');
const hrtime = process.hrtime;
process.hrtime = Object.assign((...args) => { note('clock', 'process.hrtime()');
  return hrtime(...args); }, {
  bigint: () => { note('clock', 'process.hrtime.bigint()'); return hrtime.bigint(); },
});
for (const name of ['uptime', 'cpuUsage', 'resourceUsage']) wrap(process, name, 'clock',
  `process.${name}()`);
wrap(process, 'memoryUsage', 'memory', 'process.memoryUsage()');
wrap(Math, 'random', 'random', 'Math.random()');
const crypto = require('node:crypto');
for (const name of ['randomBytes', 'randomUUID', 'randomInt', 'randomFillSync', 'randomFill',
  'getRandomValues', 'generateKeyPairSync', 'generateKeySync']) {
  wrap(crypto, name, 'random', `crypto.${name}()`);
}
try {
  const web = Object.getPrototypeOf(globalThis.crypto);
  wrap(web, 'getRandomValues', 'random', 'crypto.getRandomValues()');
  wrap(web, 'randomUUID', 'random', 'crypto.randomUUID()');
} catch {}
for (const name of ['pid', 'ppid']) {
  const value = process[name];
  try { Object.defineProperty(process, name, { get: () => { note('pid', `process.${name}`);
    return value; } }); } catch {}
}
const os = require('node:os');
for (const name of ['freemem', 'loadavg', 'uptime']) wrap(os, name, 'memory', `os.${name}()`);
for (const name of ['mkdtemp', 'mkdtempSync']) wrap(fs, name, 'random', `fs.${name}()`);
for (const name of ['setTimeout', 'setImmediate']) wrap(globalThis, name, 'timer', `${name}()`);
for (const name of ['stat', 'statSync', 'lstat', 'lstatSync', 'fstatSync']) wrap(fs, name,
  'file_times', `fs.${name}()`);
for (const name of ['spawn', 'exec', 'execFile', 'fork']) wrap(require('node:child_process'), name,
  'concurrency', `child_process.${name}()`);
const workers = require('node:worker_threads');
wrap(workers.Worker.prototype, 'postMessage', 'concurrency', 'Worker');
require('node:module').syncBuiltinESMExports();
const write = fs.writeSync;
process.on('exit', () => { try { write(2, '\u001elumio-inputs ' + JSON.stringify(asked) + '\n');
  } catch {} });
";

/// What a program asked of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Input {
    /// The call.
    pub what: String,
    /// Where in the program, if known: a path with line and column.
    pub place: String,
    /// How often.
    pub count: u64,
}

/// What the listing says, by kind; empty where there is none.
pub fn listed(stderr: &[u8]) -> BTreeMap<String, Input> {
    let text = String::from_utf8_lossy(stderr);

    // The last one counts, since the program may print the mark itself.
    let line = text.rsplit(MARK).next().filter(|_| text.contains(MARK));
    line.and_then(|line| serde_json::from_str(line.trim()).ok()).unwrap_or_default()
}
