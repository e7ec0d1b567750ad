// Builds one package before npm packs it or installs it from this folder: npm runs this as its `prepare` script, in the
// package's own folder. Brings the compiler first where `npm ci` was never run here.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const compiler = join(here, "node_modules/typescript/bin/tsc");
if (!existsSync(compiler)) {
  // Without scripts, since this one is among them.
  const npm = process.env.npm_execpath;
  const arguments_ = ["ci", "--ignore-scripts", "--no-fund", "--no-audit"];
  if (npm) execFileSync(process.execPath, [npm, ...arguments_], { cwd: here, stdio: "inherit" });
  else execFileSync("npm", arguments_, { cwd: here, stdio: "inherit" });
}
execFileSync(process.execPath, [compiler, "--build"], { stdio: "inherit" });
