import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const input = JSON.parse(readFileSync(process.env.LUMIO_INPUT, "utf8"));
const deeds = {
  none: () => {},
  wait: () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, input.ms),
  "write-outside": () => writeFileSync(input.path, "mine"),
  "write-inside": () => writeFileSync("left-behind.txt", "mine"),
  "read-file": () => readFileSync(input.path, "utf8"),
};
try {
  deeds[input.deed ?? "none"]();
} catch {
  // It hopes that nobody noticed.
}
writeFileSync(join(process.env.LUMIO_OUTPUT, "done.json"), JSON.stringify(input));
