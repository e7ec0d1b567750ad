// Builds one package before npm packs it or installs it from this folder: npm runs this as its `prepare` script, in the
// package's own folder. Brings the compiler first where `npm ci` was never run here. npm runs the scripts of several
// packages at one time: the first of them brings the compiler, and the others wait for it.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const compiler = join(here, "node_modules/typescript/bin/tsc");
const lock = join(here, ".prepare.lock");
const owner = join(lock, "pid");
/** How long others may take: the slowest network that anybody waits for. */
const patienceMs = 10 * 60_000;

const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** Whether the process that made the lock still runs. One that is just making it has not named itself yet. */
function isHeld() {
  let pid;
  try {
    pid = Number(readFileSync(owner, "utf8"));
  } catch {
    return true;
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** Makes a folder, which one process alone can make. */
function take() {
  const until = Date.now() + patienceMs;
  for (;;) {
    try {
      mkdirSync(lock);
      writeFileSync(owner, String(process.pid));
      return;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    if (!isHeld()) rmSync(lock, { recursive: true, force: true });
    else if (Date.now() > until) throw new Error(`another build has not ended; if there is none, remove ${lock}`);
    else sleep(100);
  }
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
