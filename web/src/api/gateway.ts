// The gateway's routes, as far as the console calls them.

import type { Config } from "@/config";

import type { components } from "../../../packages/gateway/src/schema.ts";

/** Types of the gateway's own document, by their names there. */
type Schemas = components["schemas"];

/** Where the gateway leaves a member out, its document also allows `null`. */
type Absent<T> = T extends (infer E)[]
  ? Absent<E>[]
  : T extends object
    ? { [K in keyof T]: Absent<null extends T[K] ? Exclude<T[K], null> | undefined : T[K]> }
    : T;

export type Meters = Schemas["Meters"];
export type Rates = Schemas["RatesView"];
export type RunStatus = Schemas["RunStatus"];
export type Escrow = Schemas["EscrowView"];
export type Receipt = Absent<Schemas["ReceiptView"]>;
export type Attempt = Absent<Schemas["AttemptView"]>;
export type Run = Absent<Schemas["RunView"]>;
export type Summary = Absent<Schemas["SummaryView"]>;
export type Agent = Absent<Schemas["AgentView"]>;
export type Verdict = Absent<Schemas["VerdictView"]>;
export type AgentDetail = Absent<Schemas["AgentDetails"]>;
export type Quote = Absent<Schemas["QuoteView"]>;
export type Transaction = Absent<Schemas["TransactionView"]>;
export type TimelineEntry = Absent<Schemas["EntryView"]>;
export type Output = Absent<Schemas["OutputView"]>;
export type QueueRow = Absent<Schemas["WorkView"]>;
export type Queue = Absent<Schemas["QueueView"]>;
export type DeadLetter = Absent<Schemas["DeadLetter"]>;
export type OrderAnswer = Schemas["OrderView"];
export type PackRow = Absent<Schemas["SealedView"]>;
export type PackCheck = Absent<Schemas["CheckedView"]>;
export type VerdictRow = Absent<Schemas["ModuleView"]>;
export type Pause = Absent<Schemas["PauseView"]>;
/** Whose new runs: everybody's, unless it names an agent or a user. */
export type PauseScope = { agent?: number; user?: string };
/** What a comparison of database, chain, events and gates found. */
export type Reconciliation = Schemas["ReconciliationView"];

/** A refusal of the gateway (RFC 9457), or an answer that is none. */
export class GatewayError extends Error {
  readonly status: number;
  readonly code: string;
  readonly issues: { pointer?: string; message?: string; detail?: string }[];
  readonly retryAfter: number | undefined;

  constructor(status: number, body: Record<string, unknown>, retryAfter?: number) {
    const said = body.detail ?? body.error ?? body.title;
    super(typeof said === "string" ? said : `the gateway answered ${status}`);
    this.status = status;
    this.code = typeof body.code === "string" ? body.code : `HTTP_${status}`;
    this.issues = Array.isArray(body.issues) ? body.issues : [];
    this.retryAfter = retryAfter;
  }
}

/** The gateway could not be reached at all. */
export class Unreachable extends Error {}

export interface NewRun {
  user: string;
  agentId: number;
  budgets: Meters;
  input: unknown;
  label?: string;
  workflowId?: string;
  seed?: number;
}

/** Bytes of an input that a request for a run may hold; a larger one is stored first (R12). */
const SENT_ALONG = 1024 * 1024;

/** Calls the gateway; `token` answers the bearer token of the present login, if there is one. */
export class Gateway {
  constructor(
    readonly config: Config,
    private readonly token: () => string | undefined,
    private readonly onUnauthenticated: () => void = () => {},
  ) {}

  /** One request. Refusals and silence become errors; anything else is the caller's to read. */
  async request(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    const token = this.token();
    if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
    let answer: Response;
    try {
      answer = await fetch(this.config.apiBase + path, { ...init, headers, credentials: "omit" });
    } catch (cause) {
      if (init.signal?.aborted) throw cause;
      throw new Unreachable("the gateway cannot be reached", { cause });
    }
    if (answer.ok) return answer;
    if (answer.status === 401) this.onUnauthenticated();
    const body = await answer.json().catch(() => ({}));
    const after = Number(answer.headers.get("retry-after"));
    throw new GatewayError(
      answer.status,
      body,
      Number.isFinite(after) && after > 0 ? after : undefined,
    );
  }

  private async get<T>(path: string): Promise<T> {
    return (await this.request(path, { headers: { accept: "application/json" } })).json();
  }

  private async post<T>(
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<T> {
    const json = { "content-type": "application/json", accept: "application/json", ...headers };
    const init = { method: "POST", headers: json, body: JSON.stringify(body ?? {}) };
    return (await this.request(path, init)).json();
  }

  summary = () => this.get<Summary>("/summary");
  session = () => this.get<{ account: string; role: "user" | "operator" }>("/auth/session");

  /** The newest runs, newest first. */
  async runs(limit: number, user?: string): Promise<Run[]> {
    const query = new URLSearchParams({ limit: String(limit), ...(user ? { user } : {}) });
    // The page's order is that of older frontends: oldest first.
    return (await this.get<Run[]>(`/runs?${query}`)).reverse();
  }

  run = (id: string) => this.get<Run>(`/runs/${encodeURIComponent(id)}`);
  retry = (id: string) => this.post<Run>(`/runs/${encodeURIComponent(id)}/retry`);
  cancel = (id: string) => this.post<Run>(`/runs/${encodeURIComponent(id)}/cancel`);

  /** `key` makes a repeated request one run (R5). */
  async start({ input, ...run }: NewRun, key: string): Promise<Run> {
    const length = new Blob([JSON.stringify(input)]).size;
    // Named by its digest, a stored input is the same request as one that is sent along.
    const named = length > SENT_ALONG ? { inputRef: await this.store(input) } : { input };
    return this.post<Run>("/runs", { ...run, ...named }, { "idempotency-key": `"${key}"` });
  }

  private async store(input: unknown): Promise<string> {
    const { inputRef } = await this.post<{ inputRef?: string }>("/inputs", input);
    // Without the name the run would be paid for with no input at all.
    if (typeof inputRef !== "string")
      throw new Error("the gateway did not name the input that it stored");
    return inputRef;
  }

  timeline = async (id: string) =>
    (await this.get<{ entries: TimelineEntry[] }>(`/runs/${encodeURIComponent(id)}/timeline`))
      .entries;

  outputs = (id: string, attempt: number) =>
    this.get<{ attempt: number; outputs: Output[] }>(
      `/runs/${encodeURIComponent(id)}/outputs?attempt=${attempt}`,
    );

  async output(id: string, attempt: number, path: string): Promise<Blob> {
    const safe = path.split("/").map(encodeURIComponent).join("/");
    const route = `/runs/${encodeURIComponent(id)}/outputs/${safe}?attempt=${attempt}`;
    return (await this.request(route)).blob();
  }

  async bundle(id: string, attempt: number): Promise<Uint8Array> {
    const route = `/runs/${encodeURIComponent(id)}/bundle?attempt=${attempt}`;
    return new Uint8Array(await (await this.request(route)).arrayBuffer());
  }

  /** The newest receipts of an account, or those before the receipt with this number. */
  receipts = (user: string, before?: bigint) =>
    this.get<unknown>(
      `/receipts/${encodeURIComponent(user)}${before === undefined ? "" : `?before=${before}`}`,
    );

  agents = () => this.get<Agent[]>("/agents?limit=100");
  agent = (id: number) => this.get<AgentDetail>(`/agents/${id}`);
  quote = (agentId: number, budgets: Meters, user?: string) =>
    this.post<Quote>("/quote", { agentId, budgets, ...(user ? { user } : {}) });

  queue = () => this.get<Queue>("/operator/queue?limit=100");
  deadLetters = () => this.get<QueueRow[]>("/operator/dead-letters?limit=100");
  deadLetter = (id: string) =>
    this.get<DeadLetter>(`/operator/dead-letters/${encodeURIComponent(id)}`);
  replay = (id: string) =>
    this.post<OrderAnswer>(`/operator/dead-letters/${encodeURIComponent(id)}/replay`);
  /** `reason` is kept with a run that has no failure of its own; empty: none is given. */
  discard = (id: string, reason: string) =>
    this.post<OrderAnswer>(
      `/operator/dead-letters/${encodeURIComponent(id)}/discard`,
      reason ? { reason } : {},
    );
  packs = () => this.get<PackRow[]>("/operator/packs?limit=100");
  checkPack = (runId: string, attempt: number) =>
    this.get<PackCheck>(`/operator/packs/${encodeURIComponent(runId)}/check?attempt=${attempt}`);
  verdicts = () => this.get<VerdictRow[]>("/operator/verdicts");
  reconciliation = () => this.get<Reconciliation>("/operator/reconciliation");
  pauses = () => this.get<Pause[]>("/operator/intake");
  pauseIntake = (reason: string, scope: PauseScope = {}) =>
    this.post<Pause[]>("/operator/intake/pause", { ...scope, ...(reason ? { reason } : {}) });
  resumeIntake = (scope: PauseScope = {}) => this.post<Pause[]>("/operator/intake/resume", scope);
}
