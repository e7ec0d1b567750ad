// Builds one package before npm packs it or installs it from this folder: npm runs this as its `prepare` script, in the
// package's own folder. Brings the compiler first where `npm ci` was never run here. npm runs the scripts of several
// packages at one time: the first of them brings the compiler, and the others wait for it.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const compiler = join(here, "node_modules/typescript/bin/tsc");
const lock = join(here, ".prepare.lock");
/** How long others may take: the slowest network that anybody waits for. */
const patienceMs = 10 * 60_000;

const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** The process that a lock names, or none where there is no lock. */
function holder(of) {
  try {
    return Number(readFileSync(join(of, "pid"), "utf8"));
  } catch {
    return undefined;
  }
}

function lives(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/**
 * Takes the lock, a folder that names its process. It is made under another name first: a folder cannot be renamed to
 * one that has something in it, and so there is never a lock that names nobody.
 */
function take() {
  const until = Date.now() + patienceMs;
  const own = `${lock}.${process.pid}`;
  rmSync(own, { recursive: true, force: true });
  mkdirSync(own);
  writeFileSync(join(own, "pid"), String(process.pid));
  for (;;) {
    try {
      renameSync(own, lock);
      return;
    } catch (error) {
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    }
    const pid = holder(lock);
    if (pid !== undefined && !lives(pid)) forget(pid);
    else if (Date.now() > until) {
      rmSync(own, { recursive: true, force: true });
      throw new Error(`another build has not ended; if there is none, remove ${lock}`);
    } else sleep(100);
  }
}

/** Removes the lock of a process that has ended. Another may have done so and taken it already: then it is put back. */
function forget(pid) {
  const stale = `${lock}.${process.pid}.stale`;
  try {
    renameSync(lock, stale);
    if (holder(stale) !== pid) renameSync(stale, lock);
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
  rmSync(stale, { recursive: true, force: true });
}

take();
try {
  if (!existsSync(compiler)) {
    // Without scripts, since this one is among them.
    const npm = process.env.npm_execpath;
    const arguments_ = ["ci", "--ignore-scripts", "--no-fund", "--no-audit"];
    if (npm) execFileSync(process.execPath, [npm, ...arguments_], { cwd: here, stdio: "inherit" });
    else execFileSync("npm", arguments_, { cwd: here, stdio: "inherit" });
  }
  execFileSync(process.execPath, [compiler, "--build"], { stdio: "inherit" });
} finally {
  rmSync(lock, { recursive: true, force: true });
}
