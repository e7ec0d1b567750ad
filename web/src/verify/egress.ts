// What a module asked of named services, as crates/wire/src/egress.rs has it: one line for every
// request, and sums with a Merkle root over the lines in the signed statement.

import { type Bytes, base64, digest, hex, parse, sha256, utf8 } from "./bytes.ts";

type Integer = number | bigint;

export interface UpstreamUse {
  name: string;
  kind: string;
  url: string;
  calls: Integer;
  refused: Integer;
  request_bytes: Integer;
  response_bytes: Integer;
  llm_in: Integer;
  llm_out: Integer;
  unbilled: Integer;
  inconclusive: Integer;
  wall_ms: Integer;
}

/** What a statement says of all calls of an execution. */
export interface Egress {
  upstreams: UpstreamUse[];
  listed: Integer;
  unlisted_refusals?: Integer;
  root: string;
}

export interface Call {
  index: Integer;
  upstream: string;
  method: string;
  path: string;
  outcome: "complete" | "inconclusive" | "refused";
  status?: number | null;
  request_bytes: Integer;
  response_bytes: Integer;
  request: string;
  answer?: string | null;
  llm_in: Integer;
  llm_out: Integer;
  unbilled?: Integer;
  reason?: string | null;
  wall_ms: Integer;
}

/** Folder among the outputs that no module may write to. */
export const FOLDER = "_lumio/";
export const CALLS_FILE = "_lumio/calls.jsonl";
export const BODIES_FILE = "_lumio/bodies.jsonl";

/** Most characters of a path in the list; a longer one is cut there. */
const MAX_PATH = 512;

const MOST = (1n << 64n) - 1n;

/** No leaf can be taken for a node (RFC 6962, section 2.1). */
const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/** The lines of a list, without their ends. */
export function lines(list: Uint8Array): Bytes[] {
  const found: Bytes[] = [];
  let from = 0;
  while (from < list.length) {
    const end = list.indexOf(10, from);
    const to = end < 0 ? list.length : end;
    if (to > from) found.push(list.slice(from, to));
    from = to + 1;
  }
  return found;
}

/** The Merkle root over lines (RFC 6962, section 2.1). */
async function rootOf(all: Uint8Array[]): Promise<Bytes> {
  if (all.length === 0) return sha256();
  if (all.length === 1) return sha256(LEAF, all[0]!);
  // The largest power of two below their number.
  let half = 1;
  while (half * 2 < all.length) half *= 2;
  const parts = [await rootOf(all.slice(0, half)), await rootOf(all.slice(half))];
  return sha256(NODE, ...parts);
}

export const root = async (all: Uint8Array[]): Promise<string> => hex(await rootOf(all));

/** The digest of a request's body with what it was about. */
const requestDigest = (method: string, path: string, body: Uint8Array): Promise<string> =>
  digest(utf8(`lumio-egress-request-v1\n${method}\n${path}\n`), body);

/** The digest of an answer: its status and its body. */
const answerDigest = (status: number, body: Uint8Array): Promise<string> =>
  digest(utf8(`lumio-egress-answer-v1\n${status}\n`), body);

const isInteger = (value: unknown, most = MOST): boolean =>
  (typeof value === "bigint" || (typeof value === "number" && Number.isSafeInteger(value))) &&
  value >= 0 &&
  value <= most;

const isText = (value: unknown): boolean => typeof value === "string";
const isDigest = (value: unknown): boolean =>
  typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
const orNothing = (rule: (value: unknown) => boolean) => (value: unknown) =>
  value === undefined || value === null || rule(value);

type Rules = Record<string, (value: unknown) => boolean>;

const CALL: Rules = {
  index: isInteger,
  upstream: isText,
  method: isText,
  path: isText,
  outcome: (value) => ["complete", "inconclusive", "refused"].includes(value as string),
  status: orNothing((value) => isInteger(value, 65_535n)),
  request_bytes: isInteger,
  response_bytes: isInteger,
  request: isDigest,
  answer: orNothing(isDigest),
  llm_in: isInteger,
  llm_out: isInteger,
  unbilled: (value) => value === undefined || isInteger(value),
  reason: orNothing(isText),
  wall_ms: isInteger,
};

interface BodyLine {
  index: Integer;
  request?: string | null;
  request_base64?: string | null;
  answer?: string | null;
  answer_base64?: string | null;
}

const BODY: Rules = {
  index: isInteger,
  request: orNothing(isText),
  request_base64: orNothing(isText),
  answer: orNothing(isText),
  answer_base64: orNothing(isText),
};

/** One line as an object that keeps these rules, or `problem`. */
function read<T>(line: Bytes, rules: Rules, problem: string): T {
  let value: unknown;
  try {
    value = parse(line);
  } catch {
    throw new Error(problem);
  }
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  const members = value as Record<string, unknown>;
  if (!isObject || !Object.entries(rules).every(([name, holds]) => holds(members[name]))) {
    throw new Error(problem);
  }
  return value as T;
}

/** Recomputes everything that is stated from the list. Throws the first thing that is not so. */
export async function recompute(list: Uint8Array, stated: Egress): Promise<Call[]> {
  const all = lines(list);
  if (BigInt(all.length) !== BigInt(stated.listed)) throw other("length");
  if ((await root(all)) !== stated.root) throw other("root");

  const calls = all.map((line, at) => {
    const call = read<Call>(line, CALL, `line ${at + 1} of the list of calls is no call`);
    if (BigInt(call.index) !== BigInt(at)) {
      throw new Error(`line ${at + 1} of the list of calls has another place in it`);
    }
    return call;
  });
  for (const [at, { upstream }] of calls.entries()) {
    if (stated.upstreams.some(({ name }) => name === upstream)) continue;
    const named = JSON.stringify(upstream);
    throw new Error(
      `line ${at + 1} of the list of calls names ${named}, which the statement does not`,
    );
  }
  for (const upstream of stated.upstreams) addUp(upstream, calls);
  return calls;
}

const other = (what: string) =>
  new Error(`the list of calls is another one than stated: its ${what}`);

/** Throws unless the calls of one service add up to what is stated of it. */
function addUp(stated: UpstreamUse, calls: Call[]): void {
  const own = calls.filter(({ upstream }) => upstream === stated.name);
  const count = (...outcomes: Call["outcome"][]) =>
    BigInt(own.filter(({ outcome }) => outcomes.includes(outcome)).length);
  const sum = (of: (call: Call) => Integer) => {
    const total = own.reduce((all, call) => all + BigInt(of(call)), 0n);
    return total > MOST ? MOST : total;
  };
  const sums: [string, bigint, Integer][] = [
    ["calls", count("complete", "inconclusive"), stated.calls],
    ["refusals", count("refused"), stated.refused],
    ["bytes sent", sum((call) => call.request_bytes), stated.request_bytes],
    ["bytes received", sum((call) => call.response_bytes), stated.response_bytes],
    ["tokens read", sum((call) => call.llm_in), stated.llm_in],
    ["tokens written", sum((call) => call.llm_out), stated.llm_out],
    ["tokens not billed", sum((call) => call.unbilled ?? 0), stated.unbilled],
    ["calls without a certain usage", count("inconclusive"), stated.inconclusive],
    ["milliseconds", sum((call) => call.wall_ms), stated.wall_ms],
  ];
  for (const [what, found, says] of sums) {
    if (found === BigInt(says)) continue;
    const name = JSON.stringify(stated.name);
    throw new Error(`the calls of ${name} add up to ${found} ${what}, the statement says ${says}`);
  }
}

/** Compares the bodies that were kept with the digests in the list; answers how many there are. */
export async function compareBodies(bodies: Uint8Array, calls: Call[]): Promise<number> {
  const seen = new Set<Call>();
  for (const [at, line] of lines(bodies).entries()) {
    const body = read<BodyLine>(line, BODY, `line ${at + 1} of the bodies is invalid`);
    const call = calls[Number(body.index)];
    const request = bytesOf(body.request, body.request_base64);
    const answer = bytesOf(body.answer, body.answer_base64);
    if (!call || seen.has(call) || !request || !answer) {
      throw new Error(
        `line ${at + 1} of the bodies belongs to no call of the list, or occurs twice`,
      );
    }
    seen.add(call);

    // A long path is cut in the list, and its digest is over the whole.
    const isCut = [...call.path].length >= MAX_PATH;
    const isSameRequest =
      isCut ||
      ((await requestDigest(call.method, call.path, request)) === call.request &&
        BigInt(request.length) === BigInt(call.request_bytes));
    const status = call.status ?? undefined;
    const found = status === undefined ? undefined : await answerDigest(status, answer);
    if (!isSameRequest || found !== (call.answer ?? undefined)) {
      throw new Error(
        `line ${at + 1} of the bodies has another digest than the list of calls says`,
      );
    }
  }
  return seen.size;
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** A body as text or as base64, never both. */
function bytesOf(plain?: string | null, encoded?: string | null): Bytes | undefined {
  const [isPlain, isEncoded] = [typeof plain === "string", typeof encoded === "string"];
  if (isPlain && !isEncoded) return utf8(plain!);
  return isEncoded && !isPlain && BASE64.test(encoded!) ? base64(encoded!) : undefined;
}
