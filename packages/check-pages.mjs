// Checks the types of every block of TypeScript in the pages of this repository against the packages as they were built,
// with one run of the compiler. A mistake is named with the line of its page.
//   node check-pages.mjs    in this folder; `npm run check` builds the packages first
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** What the blocks of a page leave out for their readers: one line. */
const leftOut = {
  "packages/gateway/README.md": "declare const session: { token: string };",
};

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(here);
// Below packages/, where the compiler finds what they import, and not in git.
const folder = join(here, "dist", "pages");
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });

/** The blocks of a page, each with the number of its first line. */
function blocksOf(page) {
  const blocks = [];
  let block;
  readFileSync(join(root, page), "utf8")
    .split("\n")
    .forEach((line, index) => {
      if (block === undefined) {
        if (/^\s*```(ts|typescript)\b/.test(line)) block = { line: index + 2, lines: [] };
      } else if (/^\s*```\s*$/.test(line)) {
        blocks.push(block);
        block = undefined;
      } else {
        block.lines.push(line);
      }
    });
  return blocks;
}

const listed = execFileSync("git", ["ls-files", "*.md"], { cwd: root, encoding: "utf8" });
let count = 0;
for (const page of listed.split("\n").filter(Boolean)) {
  for (const { line, lines } of blocksOf(page)) {
    count += 1;
    // A module, whatever it imports, whose lines have the numbers that they have on the page.
    const text = `export {}; ${leftOut[page] ?? ""}${"\n".repeat(line - 1)}${lines.join("\n")}\n`;
    writeFileSync(join(folder, `${page.replaceAll("/", "__")}__${count}.ts`), text);
  }
}
if (count === 0) throw new Error("no page has a block of TypeScript");

const settings = {
  extends: "../../tsconfig.base.json",
  compilerOptions: { noEmit: true, composite: false, declaration: false },
  include: ["*.ts"],
};
writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(settings));
try {
  execFileSync(process.execPath, [join(here, "node_modules/typescript/bin/tsc"), "-p", folder], { stdio: "inherit" });
} catch {
  // The compiler has said why.
  process.exit(1);
}
