// The runner's HTTP gateway: routes and answers as its OpenAPI document has them, and its streams of events.

import { createParser } from "eventsource-parser";
import createClient, { type Client } from "openapi-fetch";

import type { components, paths } from "./schema.js";

export type { components, paths } from "./schema.js";

/** Types of the document by their names, such as `Schemas["RunView"]`. */
export type Schemas = components["schemas"];
/** A refusal (RFC 9457). */
export type Problem = Schemas["ProblemBody"];

export interface Options {
  /** Where the gateway is, such as `http://localhost:4000`, with or without a slash at its end; empty for the page's own origin. */
  baseUrl: string;
  /** The token of the login, or who gives the one that holds now. */
  token?: string | (() => string | undefined | Promise<string | undefined>);
  /** The trace that requests belong to (W3C Trace Context), or who gives that of each: they and their runs continue it. */
  traceparent?: string | (() => string | undefined);
  /** How long a stream may be silent before it is opened again, in milliseconds. The gateway signs life every 15 s. */
  silenceMs?: number;
  /** Another `fetch`, for tests. */
  fetch?: typeof globalThis.fetch;
}

/** The gateway refused, with the code and the mistakes that it named. */
export class GatewayRefusal extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail);
    this.name = "GatewayRefusal";
    this.problem = problem;
  }

  get code(): string {
    return this.problem.code;
  }

  get status(): number {
    return this.problem.status;
  }
}

/** A client of every route: `gateway(options).GET("/runs/{id}", { params: { path: { id } } })`. */
export function gateway(options: Options): Client<paths> {
  const client = createClient<paths>({ baseUrl: baseOf(options), fetch: options.fetch });
  client.use({
    async onRequest({ request }) {
      const token = await tokenOf(options);
      if (token) request.headers.set("authorization", `Bearer ${token}`);
      const trace = traceOf(options);
      // One that the call itself names goes first.
      if (trace && !request.headers.has("traceparent")) request.headers.set("traceparent", trace);
      return request;
    },
  });
  return client;
}

/**
 * The answer's data; throws a {@link GatewayRefusal} where there is none. `openapi-fetch` parses every answer as JSON unless
 * the call says `parseAs`: files, bundles and pages of problems are for {@link output}, {@link bundle} and
 * {@link problemPage}.
 */
export async function unwrap<T>(answer: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await answer.catch((error: unknown) => {
    // The page of another server or of a proxy: nothing but an answer of success is parsed so strictly.
    if (!(error instanceof SyntaxError)) throw error;
    throw new GatewayRefusal(problemOf(undefined, 200, "the gateway's answer is not JSON; is it the gateway that answers at baseUrl?"));
  });
  if (response.ok) return data as T;
  throw new GatewayRefusal(problemOf(error, response.status));
}

/** The answers that are not JSON: their bodies are read as what they are, and never parsed. */
type Body = { text: string; blob: Blob; arrayBuffer: ArrayBuffer; stream: ReadableStream<Uint8Array> };

/**
 * A file that a run delivered: `output(options, id, "report.md")`, and `"arrayBuffer"`, `"blob"` or `"stream"` for other
 * than text. Throws a {@link GatewayRefusal} where there is none.
 */
export function output<As extends keyof Body = "text">(
  options: Options,
  run: string,
  path: string,
  as: As = "text" as As,
  query: { attempt?: number } = {},
): Promise<Body[As]> {
  const segments = path.split("/").map(encodeURIComponent).join("/");
  return fetched(options, `/runs/${encodeURIComponent(run)}/outputs/${segments}${attemptOf(query)}`, as);
}

/** Everything that proves an attempt, as a tar archive; its stream unless named otherwise, since it may be large. */
export function bundle<As extends keyof Body = "stream">(
  options: Options,
  run: string,
  as: As = "stream" as As,
  query: { attempt?: number } = {},
): Promise<Body[As]> {
  return fetched(options, `/runs/${encodeURIComponent(run)}/bundle${attemptOf(query)}`, as);
}

/** What a problem means and what to do about it (Markdown), by the last part of its `type`. */
export function problemPage(options: Options, slug: string): Promise<string> {
  return fetched(options, `/problems/${encodeURIComponent(slug)}`, "text");
}

function attemptOf({ attempt }: { attempt?: number }): string {
  return attempt === undefined ? "" : `?attempt=${attempt}`;
}

async function fetched<As extends keyof Body>(options: Options, path: string, as: As): Promise<Body[As]> {
  const headers = await headersOf(options);
  const answer = await (options.fetch ?? fetch)(`${baseOf(options)}${path}`, { headers });
  if (!answer.ok) throw await refusalOf(answer);
  if (as === "stream") return (answer.body ?? new Blob([]).stream()) as Body[As];
  return (await answer[as as "text" | "blob" | "arrayBuffer"]()) as Body[As];
}

/** What becomes of runs: a CloudEvent with the cursor to go on behind it. */
export interface StreamedEvent {
  cursor: string;
  event: Schemas["CloudEvent"];
}

export interface FollowOptions {
  /** Go on behind this event; `"0"` is the oldest. Without it `/events` begins now, and a run's stream at its first event. */
  after?: string;
  /** Ends the stream. */
  signal?: AbortSignal;
}

/**
 * Follows `/events`, or the events of one run, over lost connections and restarts, without loss and without repeats.
 * Throws a {@link GatewayRefusal} when the gateway refuses; what passes by itself (429, 503) is waited for. A connection on
 * which nothing comes for three signs of life (`silenceMs`) is dead, whatever the network says, and is opened again.
 */
export async function* follow(
  options: Options,
  run: string | undefined,
  { after, signal }: FollowOptions = {},
): AsyncGenerator<StreamedEvent, void, undefined> {
  const path = run === undefined ? "/events" : `/runs/${encodeURIComponent(run)}/events`;
  let cursor = after;
  let failures = 0;
  while (!signal?.aborted) {
    const silence = new Silence(options.silenceMs ?? 45_000, signal);
    try {
      const answer = await open(options, path, cursor, silence.signal);
      const waiting: StreamedEvent[] = [];
      const parser = createParser({
        onEvent: ({ id, data }) => {
          if (id !== undefined && data) waiting.push({ cursor: id, event: JSON.parse(data) });
        },
      });
      const lines = cursorsOf((id) => {
        cursor = id;
      });
      for await (const text of texts(answer)) {
        failures = 0;
        silence.ended();
        parser.feed(text);
        for (const seen of waiting.splice(0)) {
          cursor = seen.cursor;
          // However long its reader takes: nothing is read meanwhile, and so nothing is missed.
          silence.pause();
          yield seen;
        }
        silence.ended();
        // After the events: a piece without data only moves the cursor, and never back.
        lines(text);
      }
    } catch (error) {
      if (signal?.aborted) return;
      const passes = !(error instanceof GatewayRefusal) || [429, 500, 502, 503, 504].includes(error.status);
      if (!passes) throw error;
      failures += 1;
    } finally {
      silence.pause();
    }
    // With chance in it: a gateway that was restarted must not meet every client at once.
    const longest = Math.min(15_000, 250 * 2 ** Math.min(failures, 6));
    await pause(longest * (0.5 + Math.random() / 2), signal);
  }
}

async function open(options: Options, path: string, cursor: string | undefined, signal?: AbortSignal): Promise<Response> {
  const headers = await headersOf(options);
  headers.accept = "text/event-stream";
  if (cursor !== undefined) headers["last-event-id"] = cursor;
  const answer = await (options.fetch ?? fetch)(`${baseOf(options)}${path}`, { headers, signal: signal ?? null });
  if (answer.ok && answer.body) return answer;
  throw await refusalOf(answer);
}

async function refusalOf(answer: Response): Promise<GatewayRefusal> {
  const body: unknown = await answer.json().catch(() => undefined);
  return new GatewayRefusal(problemOf(body, answer.status));
}

async function headersOf(options: Options): Promise<Record<string, string>> {
  const headers: Record<string, string> = {};
  const token = await tokenOf(options);
  if (token) headers.authorization = `Bearer ${token}`;
  const trace = traceOf(options);
  if (trace) headers.traceparent = trace;
  return headers;
}

/** Ends a connection on which nothing comes for too long. */
class Silence {
  readonly #over = new AbortController();
  readonly #ms: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly signal: AbortSignal;

  constructor(ms: number, outer?: AbortSignal) {
    this.#ms = ms;
    this.signal = outer ? AbortSignal.any([outer, this.#over.signal]) : this.#over.signal;
    this.ended();
  }

  /** Something came: the time begins anew. */
  ended(): void {
    this.pause();
    this.#timer = setTimeout(() => this.#over.abort(new Error("the stream was silent for too long")), this.#ms);
  }

  /** Nothing is waited for. */
  pause(): void {
    clearTimeout(this.#timer);
  }
}

async function* texts(answer: Response): AsyncGenerator<string> {
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) yield piece.value;
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** Finds the ids of pieces, whole lines only, however the text is cut. */
function cursorsOf(found: (id: string) => void): (text: string) => void {
  let rest = "";
  return (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.startsWith("id: ")) found(line.slice(4));
  };
}

/** Paths begin with a slash, and the gateway knows none that begins with two. */
function baseOf({ baseUrl }: Options): string {
  return baseUrl.replace(/\/+$/, "");
}

async function tokenOf({ token }: Options): Promise<string | undefined> {
  return typeof token === "function" ? await token() : token;
}

function traceOf({ traceparent }: Options): string | undefined {
  return typeof traceparent === "function" ? traceparent() : traceparent;
}

function problemOf(body: unknown, status: number, otherwise?: string): Problem {
  if (typeof body === "object" && body !== null && "code" in body && "detail" in body) return body as Problem;
  const detail = otherwise ?? `the gateway answered ${status} without a problem document`;
  return { type: "about:blank", title: detail, status, detail, code: "UNKNOWN", error: detail };
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end);
  });
}
