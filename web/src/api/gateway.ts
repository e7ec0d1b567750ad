// The gateway's routes, as far as the console calls them.

import type { Config } from "@/config";

export interface Meters<T = number> {
  llmIn: T;
  llmOut: T;
  httpCalls: T;
  runtimeMs: T;
}

export type RunStatus =
  | "pending"
  | "opening"
  | "running"
  | "finalizing"
  | "finalized"
  | "failed"
  | "cancelled";

export interface Receipt {
  runId: string;
  actualCharge: string;
  runnerFee?: string;
  refund: string;
  developer: string;
  outputHash: string;
  finalizedAt: string;
}

export interface Attempt {
  attempt: number;
  outcome: "running" | "delivered" | "failed" | "cancelled";
  escrow: Escrow;
  runId?: string;
  deadline?: string;
  usage?: Meters;
  receipt?: Receipt;
  pack?: { packId: string; sealDigest: string; factsRef: string };
  error?: string;
  errorCode?: string;
  transactionHashes: { open?: string; finalize?: string };
  createdAt: string;
  endedAt?: string;
}

export type Escrow = "none" | "open" | "settled" | "returned";

export interface Run {
  id: string;
  user: string;
  agentId: number;
  rateVersion?: number;
  budgets: Meters;
  workflowId?: string;
  label?: string;
  status: RunStatus;
  phase: string;
  attempt: number;
  retries: number;
  seed: number;
  inputDigest: string;
  manifestHash?: string;
  escrow: Escrow;
  runId?: string;
  deadline?: string;
  usage?: Meters;
  outputHash?: string;
  receipt?: Receipt;
  error?: string;
  errorCode?: string;
  waitingFor?: string;
  transactionHashes: { open?: string; finalize?: string };
  createdAt: string;
  updatedAt: string;
  attempts?: Attempt[];
}

export interface Summary {
  config: {
    runner: string;
    contractId: string;
    agentRegistryId: string;
    networkPassphrase: string;
  };
  status: {
    queueDepth: number;
    running: number;
    stuck: number;
    overdue: number;
    escrowsOpen: number;
    oldestAgeMs?: number;
  };
}

export interface Agent {
  agentId: number;
  developer: string;
  metadataUri?: string;
  runners: string[];
  listsThisRunner: boolean;
  latestRateVersion: number;
  rates: Meters<string>;
  manifestHash: string;
  attesters: string[];
}

export interface Verdict {
  verdict: string;
  mode?: string;
  moduleId?: string;
  moduleVersion?: string;
  moduleDigest?: string;
  guardTier?: string;
  oracle?: { cases: number; attempts: number; passed: number };
  tests?: unknown;
  sideEffects?: unknown;
  issuedAt?: string;
  code?: string;
  reason?: string;
  accepted?: boolean;
}

export interface AgentDetail extends Agent {
  verdict?: Verdict;
  module?: {
    id?: string;
    version?: string;
    title?: string;
    description?: string;
    inputSchema?: Record<string, unknown>;
  };
  inputSchema?: Record<string, unknown>;
}

export interface Quote {
  agentId: number;
  rateVersion: number;
  rates: Meters<string>;
  maxCharge: string;
  runnerFee: string;
  escrow: string;
  refusal?: { code: string; reason: string };
}

export interface Transaction {
  hash: string;
  purpose: "open" | "finalize" | "void" | "reclaim";
  state: string;
  ledger?: number;
  closedAt?: string;
  feeCharged?: string;
  maxFee?: string;
  sends: number;
  createdAt: string;
  updatedAt: string;
}

export type TimelineEntry =
  | {
      at: string;
      kind: "event";
      attempt: number;
      event: string;
      status: RunStatus;
      errorCode?: string;
      error?: string;
    }
  | { at: string; kind: "transaction"; attempt: number; transaction: Transaction };

export interface Output {
  path: string;
  length: number;
  sha256: string;
}

export interface QueueRow {
  id: string;
  user: string;
  agentId: number;
  status: RunStatus;
  phase: string;
  attempt: number;
  failures: number;
  waitingFor?: string;
  wakeAt?: string;
  leaseOwner?: string;
  reason?: string;
  createdAt: string;
  updatedAt: string;
}

export interface Queue {
  summary: Record<string, number>;
  runs: QueueRow[];
}

export interface PackRow {
  runId: string;
  attempt: number;
  packId: string;
  sealDigest: string;
  factsRef: string;
  escrow: Escrow;
  createdAt: string;
  endedAt?: string;
}

export interface PackCheck {
  status: "ok" | "warn" | "fail";
  issues: { code: string; severity: string; detail: string; retryable: boolean }[];
}

export interface VerdictRow {
  manifestHash: string;
  attempts: number;
  lastUsedAt?: string;
  verdict?: Verdict;
}

/** What a comparison of database, chain, events and gates found. */
export interface Reconciliation {
  checkedAt?: string;
  broken?: boolean;
  compared?: Record<string, number>;
  findings?: Record<string, unknown>[];
}

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
  start = (run: NewRun, key: string) =>
    this.post<Run>("/runs", run, { "idempotency-key": `"${key}"` });

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

  agents = () => this.get<Agent[]>("/agents?limit=100");
  agent = (id: number) => this.get<AgentDetail>(`/agents/${id}`);
  quote = (agentId: number, budgets: Meters, user?: string) =>
    this.post<Quote>("/quote", { agentId, budgets, ...(user ? { user } : {}) });

  queue = () => this.get<Queue>("/operator/queue?limit=100");
  deadLetters = async () => {
    const answer = await this.get<QueueRow[] | { runs: QueueRow[] }>("/operator/dead-letters");
    return Array.isArray(answer) ? answer : answer.runs;
  };
  packs = () => this.get<PackRow[]>("/operator/packs?limit=100");
  checkPack = (runId: string, attempt: number) =>
    this.get<PackCheck>(`/operator/packs/${encodeURIComponent(runId)}/check?attempt=${attempt}`);
  verdicts = () => this.get<VerdictRow[]>("/operator/verdicts");
  reconciliation = () => this.get<Reconciliation>("/operator/reconciliation");
}
