// Signed statements of module-gate: DSSE v1 with Ed25519 over in-toto statements.

import {
  type Bytes,
  base64,
  byBytes,
  canonical,
  concat,
  digest,
  isSigned,
  parse,
  u64,
  unhex,
  utf8,
} from "./bytes.ts";
import { BODIES_FILE, CALLS_FILE, type Egress, FOLDER } from "./egress.ts";

type Integer = number | bigint;

export interface Units {
  llm_in: Integer;
  llm_out: Integer;
  http_calls: Integer;
  runtime_ms: Integer;
}

export interface Execution {
  run_id: string;
  attempt: number;
  vault_run_id?: string;
  user: string;
  workflow_id: string;
  module_digest: string;
  input_digest: string;
  seed: number;
  budgets: Units;
  outputs: { path: string; length: number; sha256: string }[];
  usage: Units;
  /** What it asked of services; only where the module declares some. */
  egress?: Egress | null;
  guard: { tier: string };
  exit: { kind: string; value?: number };
  verdict: "PASS" | "FAIL" | "INCONCLUSIVE";
  code?: string;
  settlement?: { attester: string; signature: string };
  started_at: string;
  finished_at: string;
}

export interface Shipping {
  module_digest: string;
  module_id: string;
  module_version: string;
  mode: string;
  verdict: "PASS" | "FAIL" | "INCONCLUSIVE";
  code?: string;
  oracle: { cases: number; passed: number };
  tests: { total: number; passed: number; skipped: number };
  guard: { tier: string };
}

const IN_TOTO = "application/vnd.in-toto+json";
export const METERS = ["llm_in", "llm_out", "http_calls", "runtime_ms"] as const;

/** The payload of an envelope, and which of the accepted keys signed it. */
export async function open(
  envelope: Bytes,
  accepted: string[],
): Promise<{ payload: Bytes; signer: string }> {
  const read = parse(envelope) as {
    payloadType?: unknown;
    payload?: unknown;
    signatures?: { sig?: unknown }[];
  };
  const { payloadType, payload, signatures } = read;
  if (payloadType !== IN_TOTO || typeof payload !== "string" || !Array.isArray(signatures)) {
    throw new Error("the text is not a DSSE envelope of a statement");
  }
  if (signatures.length > 16) throw new Error("the envelope carries too many signatures");
  const body = base64(payload);
  const kind = utf8(IN_TOTO);
  const signed = concat(utf8(`DSSEv1 ${kind.length} `), kind, utf8(` ${body.length} `), body);
  for (const signer of accepted) {
    for (const { sig } of signatures) {
      if (typeof sig === "string" && (await isSigned(unhex(signer), base64(sig), signed))) {
        return { payload: body, signer };
      }
    }
  }
  throw new Error("no signature of the envelope is by a key that the chain pinned for this run");
}

interface Statement<P> {
  _type: string;
  subject: { name: string; digest: { sha256: string } }[];
  predicateType: string;
  predicate: P;
}

function predicate<P>(payload: Bytes, kind: string, subjectOf: (predicate: P) => unknown): P {
  const statement = parse(payload) as Statement<P>;
  if (statement._type !== "https://in-toto.io/Statement/v1" || statement.predicateType !== kind) {
    throw new Error(`the statement is of type ${statement.predicateType}`);
  }
  if (canonical(statement.subject) !== canonical(subjectOf(statement.predicate))) {
    throw new Error("the statement's subject is not what its predicate is about");
  }
  return statement.predicate;
}

const subject = (name: string, sha256: string) => ({ name, digest: { sha256 } });

function demand(rules: [boolean, string][]): void {
  const broken = rules.find(([holds]) => !holds);
  if (broken) throw new Error(`the statement contradicts itself: ${broken[1]}`);
}

const isAbsent = (member: unknown) => member === undefined || member === null;

const isZero = (usage: Units) => METERS.every((meter) => BigInt(usage[meter]) === 0n);

const isSorted = (names: string[]) =>
  names.every((name, at) => at === 0 || byBytes(names[at - 1]!, name) < 0);

/** Whether tokens and calls in the usage are the sums over the services. */
function chargesItsCalls({ egress, usage }: Execution): boolean {
  const upstreams = egress?.upstreams ?? [];
  const sum = (of: (upstream: Egress["upstreams"][number]) => Integer) =>
    upstreams.reduce((all, upstream) => all + BigInt(of(upstream)), 0n);
  return (
    sum(({ calls }) => calls) === BigInt(usage.http_calls) &&
    sum(({ llm_in }) => llm_in) === BigInt(usage.llm_in) &&
    sum(({ llm_out }) => llm_out) === BigInt(usage.llm_out)
  );
}

/** Files of module-gate itself are there for calls, and only for them. */
function isListed({ egress, outputs, verdict }: Execution): boolean {
  const listed = BigInt(egress?.listed ?? 0);
  const own = outputs.filter(({ path }) => path.startsWith(FOLDER));
  const isNamed = ({ path }: { path: string }) => path === CALLS_FILE || path === BODIES_FILE;
  const hasList = own.some(({ path }) => path === CALLS_FILE);
  return (
    own.every((output) => listed > 0n && isNamed(output)) &&
    (hasList || listed === 0n || verdict === "INCONCLUSIVE")
  );
}

/** What was executed, if the statement keeps its own rules. */
export async function readExecution(payload: Bytes): Promise<Execution> {
  const found = predicate<Execution>(
    payload,
    "https://lumio.dev/attestation/execution/v1",
    ({ module_digest, outputs }) => [
      subject("module", module_digest),
      ...outputs.map(({ path, sha256 }) => subject(`outputs/${path}`, sha256)),
    ],
  );
  const { usage, budgets, outputs, verdict, code } = found;
  const isPlain = (path: string) =>
    !/[\\\0]/.test(path) && !path.split("/").some((step) => ["", ".", ".."].includes(step));
  demand([
    [found.attempt >= 1, "attempts count from 1"],
    [Number.isSafeInteger(found.seed) && found.seed >= 0, "the seed is above 2^53 - 1"],
    [
      METERS.every((meter) => usage[meter] <= budgets[meter]),
      "more was used than the budgets allow",
    ],
    [outputs.every(({ path }) => isPlain(path)), "an output's path is not plain"],
    [isSorted(outputs.map(({ path }) => path)), "outputs are not sorted by path"],
    [
      Date.parse(found.finished_at) >= Date.parse(found.started_at),
      "it finished before it started",
    ],
    [await settlesItself(found), "its settlement's signature is for something else"],
    [
      isSorted((found.egress?.upstreams ?? []).map(({ name }) => name)),
      "its services are not sorted by name",
    ],
    [isListed(found), "its list of calls is not where it must be"],
  ]);
  const hasOutputs = outputs.some(({ path }) => !path.startsWith(FOLDER));
  if (verdict === "PASS") {
    demand([
      [found.exit.kind === "code" && found.exit.value === 0, "PASS needs exit code 0"],
      [hasOutputs, "PASS needs an output"],
      [isAbsent(code), "PASS has no code"],
      [found.guard.tier === "full", "PASS needs the full guard"],
      [chargesItsCalls(found), "the charged calls are not those it made"],
    ]);
  } else if (verdict === "FAIL") {
    // What a service did is charged also when the module then fails; time is not.
    const isFree = BigInt(usage.runtime_ms) === 0n;
    demand([
      [!isAbsent(code), "FAIL needs a code"],
      [code !== "E_GUARD_INCOMPLETE", "FAIL is not the guard's fault"],
      [!hasOutputs, "FAIL has no outputs"],
      [
        code === "BUDGET_EXHAUSTED" || isFree,
        "FAIL charges running time only for an exhausted budget",
      ],
      [chargesItsCalls(found), "the charged calls are not those it made"],
    ]);
  } else {
    demand([
      [verdict === "INCONCLUSIVE", "its verdict is not known"],
      [code === "E_GUARD_INCOMPLETE", "INCONCLUSIVE is E_GUARD_INCOMPLETE"],
      [outputs.length === 0, "INCONCLUSIVE has no outputs"],
      [isZero(usage), "INCONCLUSIVE charges nothing"],
    ]);
  }
  return found;
}

/** Whether a module may ship, if the statement keeps its own rules. */
export function readShipping(payload: Bytes): Shipping {
  const found = predicate<Shipping>(
    payload,
    "https://lumio.dev/attestation/shipping/v1",
    ({ module_digest }) => [subject("module", module_digest)],
  );
  const { oracle, tests, verdict, code } = found;
  demand([
    [found.mode === "shipping", "its mode is not known"],
    [oracle.passed <= oracle.cases, "more oracle cases passed than there are"],
    [tests.passed + tests.skipped <= tests.total, "more tests ended than there are"],
  ]);
  if (verdict === "PASS") {
    demand([
      [isAbsent(code), "PASS has no code"],
      [
        oracle.passed >= 1 && oracle.passed === oracle.cases,
        "PASS needs every oracle case to pass",
      ],
      [tests.passed + tests.skipped === tests.total, "PASS needs every test to pass or not apply"],
      [found.guard.tier === "full", "PASS needs the full guard"],
    ]);
  }
  return found;
}

export interface Request {
  input_digest: string;
  module_digest: string;
  seed: number;
  workflow_id: string;
}

/** What a run's record pins of its request. */
export const requestHash = (request: Request): Promise<string> => digest(utf8(canonical(request)));

/** The 32 bytes that an attester signs about a settlement (V16). */
export async function settlementMessage(
  runId: string,
  manifestHash: string,
  request: string,
  usage: Record<(typeof METERS)[number], bigint>,
): Promise<Bytes> {
  const parts = [unhex(runId), unhex(manifestHash), unhex(request)];
  const meters = METERS.map((meter) => u64(usage[meter]));
  return unhex(await digest(utf8("lumio-settle-v1"), ...parts, ...meters));
}

async function settlesItself(execution: Execution): Promise<boolean> {
  const { settlement, vault_run_id, module_digest, input_digest, seed, workflow_id, usage } =
    execution;
  if (!settlement) return true;
  if (isAbsent(vault_run_id)) return false;
  const request = await requestHash({ input_digest, module_digest, seed, workflow_id });
  const exact = {
    llm_in: BigInt(usage.llm_in),
    llm_out: BigInt(usage.llm_out),
    http_calls: BigInt(usage.http_calls),
    runtime_ms: BigInt(usage.runtime_ms),
  };
  const message = await settlementMessage(vault_run_id!, module_digest, request, exact);
  return isSigned(unhex(settlement.attester), unhex(settlement.signature), message);
}

/** The digest that the chain holds for a run that failed without a seal. */
export const failureDigest = (runId: string, attempt: number, code: string, reason: string) =>
  digest(utf8(canonical({ attempt, code, kind: "lumio-failure-v1", reason, run_id: runId })));
