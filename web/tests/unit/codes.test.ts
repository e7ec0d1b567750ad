// Every code that a user can be answered with has words of its own here: what it means and what to
// do. The lists are those of the services' own sources and pages, so that a new code is noticed.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";

import { errorTexts } from "../../src/texts.ts";

const repository = new URL("../../../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, repository), "utf8");

/** Problems that answer only services and developers: a browser asks for none of them. */
const NOT_FOR_USERS = new Set([
  "METHOD_NOT_ALLOWED",
  "MISDIRECTED_REQUEST",
  "PACK_ALREADY_SEALED",
  "PRECONDITION_FAILED",
  "RANGE_NOT_SATISFIABLE",
  "REQUEST_TIMEOUT",
  "UNSUPPORTED_MEDIA_TYPE",
]);

const failure = read("crates/wire/src/failure.rs");

/** The variants of an enumeration of codes, as their texts. */
function variants(name: string): string[] {
  const body = failure.split(`pub enum ${name} {`)[1]?.split("\n}")[0];
  assert.ok(body, `crates/wire/src/failure.rs has no enum ${name}`);
  return [...body.matchAll(/^ {4}([A-Z]\w*),$/gm)].map(([, variant]) =>
    variant!.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase(),
  );
}

/** What the runner itself writes into a failed run: the first argument of these two functions. */
function written(): string[] {
  const folder = new URL("services/runner/src/", repository);
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const sources = files.filter((file) => file.endsWith(".rs"));
  const codes = sources.flatMap((file) => {
    const text = readFileSync(new URL(file, folder), "utf8");
    return [...text.matchAll(/(?:Failure::new|\brefuse)\(\s*"([A-Z][A-Z_]+)"/g)];
  });
  const texts = codes.map(([, code]) => code!.replace(/^PREFLIGHT_/, ""));
  return [...new Set(texts)];
}

const lists: Record<string, string[]> = {
  "problem of the gateway": readdirSync(new URL("docs/problems/", repository))
    .map((file) => file.replace(/\.md$/, "").replaceAll("-", "_").toUpperCase())
    .filter((code) => !NOT_FOR_USERS.has(code)),
  "end of a run by the runner": variants("RunnerCode"),
  "failure that the runner writes": written(),
  "refusal before a run is opened": variants("PreflightCode"),
  "error of the vault": variants("VaultCode"),
  "end of a run by its module": [...read("docs/modules.md").matchAll(/^\| `(\w+)` \| (.*)$/gm)]
    .filter(([, code, rest]) => code!.startsWith("E_") && !rest!.includes("shipping only"))
    .map(([, code]) => code!),
};

test("every code that the runner writes is in the list of codes that programs read", () => {
  const known = ["RunnerCode", "PreflightCode", "VaultCode"].flatMap(variants);
  const problems = [...failure.matchAll(/Self::Refused\(Problem::(\w+)\)/g)].map(([, name]) =>
    name!.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase(),
  );
  const missing = written().filter((code) => !known.includes(code) && !problems.includes(code));
  assert.deepEqual(missing, []);
});

describe("every code has words", () => {
  for (const [kind, codes] of Object.entries(lists)) {
    test(`every ${kind}`, () => {
      assert.ok(codes.length > 5, `only ${codes.length} were found`);
      // Texts are kept without the prefix that says when a code was found.
      const missing = codes.filter((code) => !errorTexts[code.replace(/^OPEN_/, "")]);
      assert.deepEqual(missing, []);
    });
  }
});
