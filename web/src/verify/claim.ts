// What a gateway says of a run, as it comes: `run.json` of a bundle, or the run alone. Only its
// form is judged here; what it says is only ever compared.

import type { Run } from "@/api/gateway";

import { type Bytes, parse, Real, text as utf8Text } from "./bytes.ts";
import type { Hints } from "./facts.ts";
import {
  amount,
  anything,
  type Form,
  hex64,
  list,
  matching,
  oneOf,
  open,
  orAbsent,
  text,
  time,
  u32,
  u64,
} from "./form.ts";
import type { Claim } from "./judge.ts";
import { TOMBSTONE_FILE } from "./tar.ts";

const anyText = text();

const METERS = open({ llmIn: u64, llmOut: u64, httpCalls: u64, runtimeMs: u64 });

const RECEIPT = open(
  {
    runId: hex64,
    actualCharge: amount,
    refund: amount,
    developer: anyText,
    outputHash: hex64,
  },
  { runnerFee: amount, finalizedAt: time, settledBy: anyText },
);

const UPSTREAM = open({
  name: anyText,
  kind: oneOf("openai", "anthropic", "http"),
  calls: u64,
  refused: u64,
  requestBytes: u64,
  responseBytes: u64,
  llmIn: u64,
  llmOut: u64,
  unbilled: u64,
  inconclusive: u64,
  wallMs: u64,
});

const ESCROW = oneOf("none", "open", "settled", "returned");
const PACK = open({ packId: anyText, sealDigest: hex64, factsRef: anyText });
const HASHES = open({}, { open: hex64, finalize: hex64 });

/** What a run and an attempt of it may have alike. */
const ALIKE: Record<string, Form> = {
  runId: hex64,
  deadline: time,
  usage: METERS,
  receipt: RECEIPT,
  pack: PACK,
  error: anyText,
  errorCode: anyText,
};

const ATTEMPT = open(
  {
    attempt: u32,
    outcome: oneOf("running", "delivered", "failed", "cancelled"),
    escrow: ESCROW,
    upstreams: orAbsent(list(UPSTREAM)),
    transactionHashes: HASHES,
    createdAt: time,
  },
  { ...ALIKE, endedAt: time },
);

const RUN = open(
  {
    id: matching(
      /^(?:[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$/i,
      "the id of a run",
    ),
    user: anyText,
    agentId: u32,
    budgets: METERS,
    status: oneOf(
      "pending",
      "opening",
      "running",
      "finalizing",
      "finalized",
      "failed",
      "cancelled",
    ),
    phase: anyText,
    attempt: u32,
    retries: u32,
    seed: u64,
    inputDigest: hex64,
    escrow: ESCROW,
    upstreams: orAbsent(list(UPSTREAM)),
    transactionHashes: HASHES,
    traceId: anyText,
    createdAt: time,
    updatedAt: time,
    attempts: orAbsent(list(ATTEMPT)),
  },
  {
    ...ALIKE,
    rateVersion: u32,
    workflowId: anyText,
    label: anyText,
    manifestHash: hex64,
    outputHash: hex64,
    waitingFor: anyText,
    startAt: time,
    priority: oneOf("low", "normal", "high"),
  },
);

/** A meter that is left out is 0. */
const units = orAbsent(u64);
const TERMS_MEMBERS: Record<string, Form> = {
  user: anyText,
  opened_by: anyText,
  agent_id: u32,
  rate_version: u32,
  rates: open({ llm_in: amount, llm_out: amount, http_calls: amount, runtime_ms: amount }),
  budgets: open({ llm_in: units, llm_out: units, http_calls: units, runtime_ms: units }),
  max_charge: amount,
  runner_fee: amount,
  deadline: u64,
  opened_at: u64,
  developer: anyText,
  manifest_hash: hex64,
  request_hash: hex64,
  attesters: list(hex64),
};

/** What a document has beside the run. */
const BESIDE = open(
  { vaultId: anyText, nonce: hex64, input: anything },
  { terms: open(TERMS_MEMBERS) },
);

/** Takes a value for a run. A member that is null is as good as absent. */
export function readRun(value: unknown): Run {
  try {
    RUN(value, "");
  } catch (error) {
    throw new Error(`run.json is not a run: ${(error as Error).message}`);
  }
  return withoutNulls(value) as Run;
}

/** Reads `run.json` of a bundle, beside the bundle's files. */
export function readClaim(bytes: Bytes, files: Claim["files"]): Claim {
  const document = parse(bytes);
  const run = readRun(document);
  const says = files.get(TOMBSTONE_FILE);
  const bare = { ...bareClaim(run), files, withheld: says && utf8Text(says) };
  try {
    BESIDE(document, "");
  } catch {
    // As a run alone, which lacks these.
    return bare;
  }
  const { vaultId, terms, input } = document as {
    vaultId: string;
    terms?: unknown;
    input: unknown;
  };
  return { ...bare, vaultId, terms: terms ?? undefined, input: { value: input } };
}

/** What is claimed of a run that has no files. */
export const bareClaim = (run: Run): Claim => ({
  run,
  vaultId: undefined,
  terms: undefined,
  input: undefined,
  files: new Map(),
  withheld: undefined,
});

/** The value without members that are null. Arrays keep theirs. */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== "object" || value === null || value instanceof Real) return value;
  const members = Object.entries(value).filter(([, member]) => member !== null);
  return Object.fromEntries(members.map(([name, member]) => [name, withoutNulls(member)]));
}

/** A gateway that names more attempts than this is not followed. */
const MOST_ATTEMPTS = 10_000;
/** Each hint costs a question to the node. */
const MOST_HINTS = 100;

/** Where to look on chain besides the vault's events. */
export function hintsOf({ user, attempt, runId, attempts = [] }: Run): Hints {
  const named = [{ attempt, runId }, ...attempts];
  const last = named.reduce((most, other) => Math.max(most, other.attempt), 0);
  const runIds = named.flatMap((other): [number, string][] =>
    other.runId ? [[other.attempt, other.runId]] : [],
  );
  return { attempt: Math.min(last, MOST_ATTEMPTS), runIds: runIds.slice(0, MOST_HINTS), user };
}

const TOMBSTONED = "PACK_TOMBSTONED: ";

/** What a refusal says of a pack's tombstone, where that is why a gateway gives no files. */
export function tombstoneOf(code: string, detail: string): string | undefined {
  const is = code === "CHECK_FAILED" && detail.startsWith(TOMBSTONED);
  return (is && detail.slice(TOMBSTONED.length)) || undefined;
}
