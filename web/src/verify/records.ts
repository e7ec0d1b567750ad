// What was decided about a pack after its seal, as crates/seal/src/records.rs has it: a log beside
// the seal, `_records/1.json`, `2.json`, …, each of which names the digest of the one before it.

import { type Bytes, digest } from "./bytes.ts";
import { bytes as sized, closed, exactTime, type Form, hex64, oneOf, u32, whole } from "./form.ts";
import { document } from "./seal.ts";

const FOLDER = "_records/";
/** Most records that a pack may have. */
const MOST = 1000;
/** Longest text of a record, in bytes. */
const TEXT = sized(1024);

/** One decision. */
export type Decision =
  | { kind: "hold"; matter: string }
  | { kind: "release"; hold: number }
  | { kind: "archived"; location: string }
  | {
      kind: "tombstone";
      reason: string;
      replacement?: string;
      survives: string;
      manifest_digest: string;
      note?: string;
    };

export interface Entry {
  version: string;
  number: number;
  previous?: string;
  oracle_pack_id: string;
  seal_digest: string;
  authority: string;
  recorded_at_utc: string;
  decision: Decision;
}

/** The records in their order, or why they are no log. */
export interface Log {
  records: Entry[];
  wrong: string | undefined;
}

const DECISIONS: Record<string, Form> = {
  hold: closed({ kind: oneOf("hold"), matter: TEXT }),
  release: closed({ kind: oneOf("release"), hold: u32 }),
  archived: closed({ kind: oneOf("archived"), location: TEXT }),
  tombstone: closed(
    {
      kind: oneOf("tombstone"),
      reason: oneOf(
        "ERASURE_REQUEST",
        "LEGAL_ORDER",
        "RETENTION_EXPIRED",
        "SUPERSEDED",
        "DEFECTIVE",
        "WITHDRAWN",
      ),
      survives: oneOf("everything", "digests", "records"),
      manifest_digest: hex64,
    },
    { replacement: hex64, note: TEXT },
  ),
};

const decision: Form = (value, at) => {
  const kind = (value as { kind?: unknown } | null)?.kind;
  oneOf(...Object.keys(DECISIONS))(kind, `${at}/kind`);
  DECISIONS[kind as string]!(value, at);
};

const RECORD: Form = closed(
  {
    version: oneOf("v1"),
    number: whole(BigInt(MOST)),
    oracle_pack_id: hex64,
    seal_digest: hex64,
    authority: TEXT,
    recorded_at_utc: exactTime,
    decision,
  },
  { previous: hex64 },
);

/** The number in a path of a record below the pack's root; `undefined` for any other path. */
function numberOf(path: string): number | undefined {
  const [, digits] = /^_records\/([1-9]\d{0,3})\.json$/.exec(path) ?? [];
  const number = Number(digits ?? 0);
  return number >= 1 && number <= MOST ? number : undefined;
}

/** Whether a path below a pack's root is that of a record: no inventory names these. */
export const isRecord = (path: string): boolean => numberOf(path) !== undefined;

/**
 * Whether a path below a pack's root is that of a record that is being written, or that a crash
 * cut: no record, and passed over.
 */
export const isUnfinishedRecord = (path: string): boolean =>
  /^_records\/\.oracle-gate-[0-9a-f]{32}\.part$/.test(path);

/**
 * Reads the log of a pack's files. A record that is missing, cannot be read, or is about another
 * seal than the pack's may hide a tombstone: then nothing that stands in the log counts. `seal` is
 * the pack that the seal names, with the seal's digest; one that cannot be read has a link of its
 * own.
 */
export async function readLog(
  pack: Map<string, Bytes>,
  seal: { pack: string; digest: string } | undefined,
): Promise<Log> {
  const below = [...pack.keys()].filter((path) => path.startsWith(FOLDER));
  const paths = below.filter((path) => !isUnfinishedRecord(path));
  const foreign = paths.find((path) => !isRecord(path));
  const no = (where: string, why: string): Log => ({
    records: [],
    wrong: `the records about the pack are not a log: ${where}: ${why}`,
  });
  if (pack.has("_records")) return no("_records", "it is no folder");
  if (foreign !== undefined) return no("_records", `${foreign} is not the name of a record`);
  const count = Math.max(0, ...paths.map((path) => numberOf(path)!));
  const records: Entry[] = [];
  let last: string | undefined;
  for (let number = 1; number <= count; number += 1) {
    const path = `${FOLDER}${number}.json`;
    const bytes = pack.get(path);
    if (!bytes) return no(path, `it is no file, and record ${count} is there`);
    try {
      const record = document<Entry>(bytes, "it");
      RECORD(record, "");
      if (record.previous !== last) throw new Error("it does not follow the record before it");
      requireNext(records, record);
      records.push(record);
      last = await digest(bytes);
    } catch (error) {
      return no(path, error instanceof Error ? error.message : String(error));
    }
  }
  const [first] = records;
  if (first && seal) {
    const isOwn = first.oracle_pack_id === seal.pack && first.seal_digest === seal.digest;
    if (!isOwn) return no(`${FOLDER}1.json`, "it is about another seal than the pack's");
  }
  return { records, wrong: undefined };
}

/** Throws unless the log allows this record next. */
function requireNext(before: Entry[], next: Entry): void {
  if (next.number !== before.length + 1) throw new Error("its number is not its place in the log");
  const [first] = before;
  const isOther =
    first &&
    (first.oracle_pack_id !== next.oracle_pack_id || first.seal_digest !== next.seal_digest);
  if (isOther) throw new Error("it is about another seal than the records before it");
  const kinds = before.map((record) => record.decision.kind);
  if (kinds.includes("tombstone")) throw new Error("the pack has a tombstone");
  const holds = new Set<number>();
  for (const { number, decision: made } of before) {
    if (made.kind === "hold") holds.add(number);
    if (made.kind === "release") holds.delete(made.hold);
  }
  const { decision: made } = next;
  if (made.kind === "release" && !holds.has(made.hold))
    throw new Error(`record ${made.hold} is not a hold that could be released`);
  if (made.kind === "archived" && kinds.includes("archived"))
    throw new Error("the pack is archived already");
  if (made.kind === "tombstone" && holds.size > 0)
    throw new Error(`hold ${[...holds][0]} is not released`);
}

/** What the log's tombstone says: why, by whom, on which day, and what replaces the pack. */
export function tombstoneText({ records }: Log): string | undefined {
  for (const { decision: made, authority, recorded_at_utc } of records) {
    if (made.kind !== "tombstone") continue;
    const replaced = made.replacement ? `; pack ${made.replacement} replaces it` : "";
    return `${made.reason}, by ${authority}, ${recorded_at_utc.slice(0, 10)}${replaced}`;
  }
  return undefined;
}
