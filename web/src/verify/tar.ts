// A bundle's archive: plain files only, each once, below the parts that a bundle has.

import { type Bytes, text } from "./bytes.ts";

const BLOCK = 512;

/** The most bytes that are unpacked in a browser. */
const MOST_BYTES = 512 * 1024 * 1024;
const MOST_FILES = 20_000;

/** What a gateway said of a tombstone in place of a pack's files, as the command line keeps it. */
export const TOMBSTONE_FILE = "tombstone.txt";
/** The single files that a bundle may hold. Anything else was put there by somebody else. */
const FILES = [
  "run.json",
  TOMBSTONE_FILE,
  "chain/facts.json",
  "chain/facts.dsse",
  "facts/run_facts_view.json",
  "module/_tree.json",
];
/** The folders whose files are compared, each with the pack's manifest or the module's tree. */
const TREES = ["pack/", "module/tree/"];

/** The files by their paths. Throws for anything that no bundle holds. */
export function unpack(archive: Uint8Array): Map<string, Bytes> {
  if (archive.length > MOST_BYTES) throw new Error("the bundle is too large for a browser");
  const files = new Map<string, Bytes>();
  let at = 0;
  let longName: string | undefined;
  while (at + BLOCK <= archive.length) {
    const header = archive.subarray(at, at + BLOCK);
    if (header.every((byte) => byte === 0)) return files;
    checkSum(header);
    const length = number(header.subarray(124, 136));
    const kind = String.fromCharCode(header[156]!);
    const from = at + BLOCK;
    if (from + length > archive.length) throw new Error("the bundle ends early");
    const content = archive.slice(from, from + length);
    at = from + Math.ceil(length / BLOCK) * BLOCK;
    if (kind === "L") {
      longName = field(content);
      continue;
    }
    if (kind === "5") {
      // Folders exist through their files.
      longName = undefined;
      continue;
    }
    if (kind !== "0" && kind !== "\0")
      throw new Error("the bundle holds something that is no file");
    const path = (longName ?? nameOf(header)).replace(/^(?:\.\/)+/, "");
    longName = undefined;
    const isPlain = !path.split("/").some((step) => ["", ".", ".."].includes(step));
    const isPart = FILES.includes(path) || TREES.some((tree) => path.startsWith(tree));
    if (!isPlain || !isPart)
      throw new Error(`the bundle holds ${JSON.stringify(path)}, which belongs to no bundle`);
    if (files.has(path)) throw new Error(`the bundle holds ${JSON.stringify(path)} twice`);
    files.set(path, content);
    if (files.size > MOST_FILES) throw new Error("the bundle holds too many files");
  }
  throw new Error("the bundle ends early");
}

function field(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return text(end < 0 ? bytes : bytes.subarray(0, end));
}

function nameOf(header: Uint8Array): string {
  const name = field(header.subarray(0, 100));
  const isPosix = field(header.subarray(257, 263)) === "ustar";
  const prefix = isPosix ? field(header.subarray(345, 500)) : "";
  return prefix === "" ? name : `${prefix}/${name}`;
}

function number(bytes: Uint8Array): number {
  const digits = field(bytes).trim();
  if (!/^[0-7]+$/.test(digits)) throw new Error("a length in the bundle is no number");
  return Number.parseInt(digits, 8);
}

function checkSum(header: Uint8Array): void {
  let sum = 0;
  for (let at = 0; at < BLOCK; at += 1) sum += at >= 148 && at < 156 ? 32 : header[at]!;
  if (sum !== number(header.subarray(148, 156)))
    throw new Error("a header in the bundle is damaged");
}
