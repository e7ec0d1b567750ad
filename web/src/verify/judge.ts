// Judging the links of one run: a pure function of files, chain facts and the browser's own
// configuration, with the meaning that docs/verification.md gives each link. What was not looked
// at is never said to hold.

import type { RunRecord } from "prepaid_vault";

import { showAmount, type Unit } from "../amount.ts";
import type { Attempt, Receipt as ShownReceipt, Run } from "@/api/gateway";

import { type Bytes, canonical, digest, hex, parse, utf8 } from "./bytes.ts";
import { withoutNulls } from "./claim.ts";
import { BODIES_FILE, CALLS_FILE, compareBodies, type Egress, recompute } from "./egress.ts";
import {
  type AttemptFacts,
  type ChainFacts,
  isSound,
  leads,
  type Settlement,
  type Terms,
  type Units,
} from "./facts.ts";
import { isRecord, isUnfinishedRecord, readLog, tombstoneText } from "./records.ts";
import {
  compareFiles,
  MODULE_LIMITS,
  type Manifest,
  packId,
  readManifest,
  readSeal,
  readTree,
  type Seal,
  type Tree,
} from "./seal.ts";
import {
  type Execution,
  failureDigest,
  METERS,
  open,
  readExecution,
  readShipping,
  requestHash,
} from "./statement.ts";
import { runId, settlementHash } from "./vault.ts";
import { mistakesOf, readView } from "./view.ts";

export const LINKS = [
  "vault",
  "terms",
  "rates",
  "charge",
  "attempts",
  "receipt",
  "usage",
  "calls",
  "statement",
  "request",
  "times",
  "seal",
  "manifest",
  "files",
  "module",
  "gates",
  "account",
] as const;

export type Name = (typeof LINKS)[number];
export type State = "ok" | "broken" | "unknown" | "skipped";

export interface Link {
  link: Name;
  state: State;
  detail: string;
}

export interface AttemptProof {
  attempt: number;
  runId: string;
  /** `feeUnknown`: settled, and nothing says any more whether its runner took the fee. */
  outcome:
    | "settled"
    | "feeUnknown"
    | "voided"
    | "reclaimed"
    | "open"
    | "overdue"
    | "notCharged"
    | "unknown";
  charge: bigint;
  /** What is certain of it. */
  fee: bigint;
}

export interface Proof {
  verdict: "proven" | "broken" | "unknown";
  links: Link[];
  attempts: AttemptProof[];
  total: bigint;
  proven: string[];
  /** What the run cost, if the links that say so hold, whatever the others showed. */
  cost: string | undefined;
  /** What the run cost at least, if it is not known whether that is all. */
  atLeast: string | undefined;
  /** What is known of a tombstone of the attempt's pack, whose files must not be read any more. */
  tombstone: string | undefined;
  restsOn: string[];
  notLookedAt: string[];
  /** How amounts are shown. */
  unit: Unit;
}

/** The browser's own configuration and what its node says: never what a gateway says. */
export interface Own {
  network: string;
  vault: string;
  registry: string;
  /** How amounts of the vault's token are shown. */
  unit: Unit;
}

/** What a gateway says of a run, only ever compared; the files are empty where it has none. */
export interface Claim {
  run: Run;
  vaultId: string | undefined;
  terms: unknown;
  input: { value: unknown } | undefined;
  files: Map<string, Bytes>;
  /** What the gateway says of the pack's tombstone, where it gives no files because of one. */
  withheld?: string | undefined;
}

/** What this browser remembers of the request, by its own digest. */
export interface Asked {
  inputDigest: string | undefined;
}

/** How far clocks may be from the ledger's, in seconds. */
const SLACK = 120n;

type End =
  | { kind: "settled"; charge: bigint; outputHash: string }
  | { kind: "returned" }
  | { kind: "open" };

interface Case {
  claim: Claim;
  facts: ChainFacts;
  own: Own;
  asked: Asked;
  shown: AttemptFacts | undefined;
  terms: Terms | undefined;
  end: End;
  stated: { execution: Execution; signer: string; digest: string } | undefined;
  statedError: unknown;
}

const ok = (link: Name, detail: string): Link => ({ link, state: "ok", detail });
const broken = (link: Name, detail: string): Link => ({ link, state: "broken", detail });
const unknown = (link: Name, detail: string): Link => ({ link, state: "unknown", detail });
const skipped = (link: Name, detail: string): Link => ({ link, state: "skipped", detail });

const unless = (link: Name, detail: string, wrong: (string | undefined | false)[]): Link => {
  const found = wrong.filter(Boolean);
  return found.length === 0 ? ok(link, detail) : broken(link, found.join("; "));
};

const differs = (what: string, ours: unknown, theirs: unknown): string | false =>
  ours !== theirs && `${what}: ${theirs} instead of ${ours}`;

const message = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** Judges every link. */
export async function judge(
  given: Claim,
  facts: ChainFacts,
  own: Own,
  asked: Asked,
): Promise<Proof> {
  // A member that is null is as good as absent.
  const run = withoutNulls(given.run) as Run;
  const claim: Claim = {
    ...given,
    run,
    vaultId: given.vaultId ?? undefined,
    terms: given.terms ?? undefined,
  };
  const same = facts.attempts.filter(({ attempt }) => attempt === run.attempt);
  const shown = same.find(({ runId: id }) => id === run.runId) ?? same[0];
  const terms = shown?.opened;
  const judged: Case = {
    claim,
    facts,
    own,
    asked,
    shown,
    terms,
    end: endOf(shown),
    stated: undefined,
    statedError: undefined,
  };
  await readStatement(judged);
  const attempts = await attemptsOf(judged);
  const links = [
    await vaultLink(judged),
    termsLink(judged),
    ratesLink(judged),
    await chargeLink(judged),
    attempts.link,
    await receiptLink(judged),
    await accountLink(judged),
    await requestLink(judged),
  ];
  let tombstone =
    claim.withheld &&
    `The gateway withholds the files, since their pack has a tombstone: ${claim.withheld}`;
  if (await isFailureRecord(judged)) {
    links.push(...failureLinks(judged));
  } else {
    links.push(await usageLink(judged), ...(await callsLink(judged)));
    links.push(await statementLink(judged), timesLink(judged));
    const pack = await packLinks(judged);
    links.push(...pack.links, await gatesLink(judged, pack));
    tombstone ??=
      pack.says && `A record in the pack says that it must not be read any more: ${pack.says}`;
  }
  links.sort((a, b) => LINKS.indexOf(a.link) - LINKS.indexOf(b.link));
  return { ...conclude(judged, links, attempts), tombstone };
}

/**
 * Why there are no files to look at, where that is nobody's fault as far as is known; nothing where
 * the chain holds a settlement, which files have to answer for.
 */
function absent(judged: Case): string | undefined {
  const { run, withheld, files } = judged.claim;
  // A part of a pack excuses no other part.
  if ([...files.keys()].some((path) => path.startsWith("pack/"))) return undefined;
  if (withheld)
    return `the gateway withholds the files, since their pack has a tombstone: ${withheld}`;
  if (judged.end.kind !== "open") return undefined;
  const code = run.errorCode === undefined ? "" : ` with ${run.errorCode}`;
  const said = {
    finalized: "has ended",
    failed: `has failed${code}`,
    cancelled: `was cancelled${code}`,
  };
  const state = Object.hasOwn(said, run.status)
    ? said[run.status as keyof typeof said]
    : "has not ended";
  return `${unsettled(judged)}; the gateway says that the run ${state}, and no files of it are at hand`;
}

/** What the chain says of an attempt that it shows neither as settled nor as returned. */
function unsettled({ claim, shown }: Case): string {
  const { attempt } = claim.run;
  if (!shown) return `the chain shows no attempt ${attempt} of this run`;
  return shown.record
    ? `attempt ${attempt} is neither settled nor returned yet`
    : `the record of attempt ${attempt} has left the chain, and no settlement of it is known`;
}

function endOf(shown: AttemptFacts | undefined): End {
  const lifecycle = shown?.record?.lifecycle;
  if (lifecycle?.tag === "Finalized") {
    const [charge, output] = lifecycle.values;
    return { kind: "settled", charge, outputHash: hex(output) };
  }
  if (lifecycle?.tag === "Open") return { kind: "open" };
  if (lifecycle) return { kind: "returned" };
  const event = shown?.finalized;
  if (event) return { kind: "settled", charge: event.charge, outputHash: event.outputHash };
  return { kind: "open" };
}

const file = ({ claim }: Case, path: string) => claim.files.get(path);

async function readStatement(judged: Case): Promise<void> {
  const envelope = file(judged, "pack/_execution.dsse");
  if (!envelope) return;
  try {
    const { payload, signer } = await open(envelope, judged.terms?.attesters ?? []);
    const execution = await readExecution(payload);
    judged.stated = { execution, signer, digest: await digest(envelope) };
  } catch (error) {
    judged.statedError = error;
  }
}

async function vaultLink({ claim, facts, own, shown }: Case): Promise<Link> {
  const wrong = [
    differs("network", own.network, facts.network),
    differs("vault", own.vault, facts.vault),
    claim.vaultId !== undefined &&
      differs("the gateway names another vault", own.vault, claim.vaultId),
    facts.registry === undefined
      ? `there is no vault ${own.vault}`
      : differs("the vault's registry", own.registry, facts.registry),
  ].filter(Boolean);
  if (wrong.length > 0) return broken("vault", wrong.join("; "));
  if (!shown) return silence(claim, facts, own);
  if (claim.run.runId !== undefined && claim.run.runId !== shown.runId) {
    return broken("vault", `the gateway names run ${claim.run.runId}, which is not this run's`);
  }
  const origin = shown.opened ?? shown.record;
  if (!origin) return unknown("vault", "the opened event is outside the node's retention");
  const id = await runId(own.network, own.vault, facts.run, shown.attempt, origin);
  return id === shown.runId
    ? ok("vault", `run ${id} in vault ${own.vault}`)
    : broken("vault", `this run's id in vault ${own.vault} is ${id}, not ${shown.runId}`);
}

/** A vault that knows nothing of an attempt whose record must still live is not its vault. */
function silence({ run, terms }: Claim, facts: ChainFacts, own: Own): Link {
  const shown =
    run.deadline === undefined ? undefined : BigInt(Math.floor(Date.parse(run.deadline) / 1000));
  const pinned = (terms as { deadline?: number | bigint } | undefined)?.deadline;
  const deadline = pinned === undefined ? shown : BigInt(pinned);
  if (deadline === undefined && run.runId === undefined) {
    return unknown(
      "vault",
      `the gateway says that attempt ${run.attempt} was never opened; the vault knows none`,
    );
  }
  const asked = askedAt(facts.run);
  const isSearched =
    facts.oldestLedger <= 2 || (asked !== undefined && facts.oldestTime <= asked - SLACK);
  const lives = deadline !== undefined && facts.ledgerTime <= deadline;
  return !isSearched && !lives
    ? unknown(
        "vault",
        "the attempt's record has ended and its events are outside the node's retention",
      )
    : broken("vault", `vault ${own.vault} knows nothing of attempt ${run.attempt} of this run`);
}

/** When the run was asked for, Unix seconds, from its id (UUID version 7). */
function askedAt(run: string): bigint | undefined {
  const digits = run.replaceAll("-", "");
  return digits[12] === "7" ? BigInt(`0x${digits.slice(0, 12)}`) / 1000n : undefined;
}

/**
 * A link that needs terms, where none are known: whose escrow went back was charged nothing under
 * them, whatever they were.
 */
function withoutTerms({ end }: Case, link: Name, why: string): Link {
  if (end.kind !== "returned") return unknown(link, why);
  return skipped(link, `${why}; nothing was charged under them`);
}

function termsLink(judged: Case): Link {
  const { claim, shown, terms } = judged;
  if (!terms) {
    const user = shown?.record?.user ?? claim.run.user;
    const wrong = `the gateway says that ${claim.run.user} pays, the vault says ${user}`;
    if (user !== claim.run.user) return broken("terms", wrong);
    return withoutTerms(judged, "terms", "no terms are known that the chain vouches for");
  }
  if (claim.terms !== undefined && !isSame(claim.terms, terms)) {
    return broken("terms", "the gateway's terms are not those that the vault recorded");
  }
  if (claim.run.user !== terms.user) {
    return broken(
      "terms",
      `the gateway says that ${claim.run.user} pays, the vault says ${terms.user}`,
    );
  }
  const recorded = shown?.record && hex(shown.record.terms_hash);
  if (recorded !== undefined && recorded !== terms.hash) {
    return broken("terms", `their hash is ${terms.hash}, the record holds ${recorded}`);
  }
  const who = `agent ${terms.agentId} for ${terms.user}`;
  return recorded === undefined
    ? ok("terms", `${who}, as the vault's event says; the record has ended`)
    : ok("terms", `${who}, as recorded (${terms.hash})`);
}

/**
 * Whether the terms of a gateway's document are those of the vault; numbers come as texts or not. A
 * member that is not known is ignored, and a meter that is left out is 0.
 */
function isSame(claimed: unknown, terms: Terms): boolean {
  const vaults = {
    user: terms.user,
    opened_by: terms.opened_by,
    agent_id: terms.agentId,
    rate_version: terms.rateVersion,
    rates: terms.rates,
    budgets: terms.budgets,
    max_charge: terms.maxCharge,
    runner_fee: terms.runnerFee,
    deadline: terms.deadline,
    opened_at: terms.openedAt,
    developer: terms.developer,
    manifest_hash: terms.manifestHash,
    request_hash: terms.requestHash,
    attesters: terms.attesters,
  };
  const { rates, budgets, ...rest } = claimed as Record<string, Record<string, unknown>>;
  const meters = (of: Record<string, unknown> | undefined) =>
    Object.fromEntries(METERS.map((meter) => [meter, of?.[meter] ?? 0]));
  const given = { ...rest, rates: meters(rates), budgets: meters(budgets) } as typeof rest;
  const known = Object.keys(vaults).map((name) => [name, given[name]]);
  return canonical(asTexts(Object.fromEntries(known))) === canonical(asTexts(vaults));
}

function asTexts(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(asTexts);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([name, member]) => [name, asTexts(member)]),
    );
  }
  return String(value);
}

const charged = (rates: Units, usage: Units): bigint =>
  METERS.reduce((sum, meter) => sum + rates[meter] * usage[meter], 0n);

const sameUnits = (a: Units, b: Units) => METERS.every((meter) => a[meter] === b[meter]);

function ratesLink(judged: Case): Link {
  const { own, shown, terms } = judged;
  if (!terms) return withoutTerms(judged, "rates", "no terms are known");
  if (charged(terms.rates, terms.budgets) !== terms.maxCharge) {
    return broken(
      "rates",
      `prices times budgets are not the highest charge of ${showAmount(terms.maxCharge, own.unit)}`,
    );
  }
  const card = shown?.rateCard;
  if (!card) {
    return skipped(
      "rates",
      `rate card ${terms.rateVersion} cannot be read now; the vault checked it at the opening`,
    );
  }
  return unless("rates", `rate card ${terms.rateVersion} of agent ${terms.agentId}`, [
    !sameUnits(card.rates, terms.rates) && "the prices differ",
    differs("module", card.manifestHash, terms.manifestHash),
  ]);
}

async function chargeLink(judged: Case): Promise<Link> {
  const { claim, facts, own, shown, terms, end, stated } = judged;
  if (end.kind === "open") {
    const isOverdue = shown?.record && facts.ledgerTime >= shown.record.deadline;
    return unknown(
      "charge",
      isOverdue
        ? "the deadline has passed, and the escrow has not been returned yet; anybody may reclaim it"
        : unsettled(judged),
    );
  }
  if (end.kind === "returned") {
    return ok("charge", `attempt ${claim.run.attempt} was not charged; its whole escrow went back`);
  }
  if (!terms) return unknown("charge", "no terms are known");
  const event = shown?.finalized;
  const usage = event?.usage ?? (stated && exact(stated.execution.usage));
  const known = usage ?? (end.charge === 0n ? units(0n) : undefined);
  if (!known)
    return unknown(
      "charge",
      "the settled usage is known neither from the chain nor from a statement",
    );
  const fee = await feeOf(judged);
  const taken =
    fee === undefined
      ? "; whether the runner took its fee is not known any more"
      : fee > 0n
        ? `; ${showAmount(fee, own.unit)} went to the runner as its fee`
        : "";
  const paid = showAmount(end.charge, own.unit);
  const computed = charged(terms.rates, known);
  return unless("charge", `${paid} = pinned prices × metered usage${taken}`, [
    computed !== end.charge &&
      `${paid} were charged, prices times usage are ${showAmount(computed, own.unit)}`,
    event !== undefined &&
      event.charge + event.fee + event.refund !== terms.maxCharge + terms.runnerFee &&
      "charge, fee and refund are not the escrow",
    event !== undefined && differs("the event's charge", end.charge, event.charge),
  ]);
}

/**
 * The runner's flat fee: what the settlement says, else what follows from the record; `undefined`
 * where that is not known any more.
 */
async function feeOf({ shown, stated }: Case): Promise<bigint | undefined> {
  if (!shown) return undefined;
  return (
    shown.finalized?.fee ?? (await recordedFee(shown, stated && exact(stated.execution.usage)))
  );
}

/**
 * What an attempt's record alone says of the fee. Only the opener earns it, by settling itself with
 * an attester's signature (V13, V16). The record holds settler, usage and signature in one digest:
 * the settler and the usage that it fits are the right ones. `usage` is what was metered, where a
 * verified statement says so.
 */
async function recordedFee(
  { record, runners }: AttemptFacts,
  usage: Units | undefined,
): Promise<bigint | undefined> {
  const lifecycle = record?.lifecycle;
  if (!record || lifecycle?.tag !== "Finalized") return undefined;
  if (record.runner_fee === 0n) return 0n;
  const settlement = hex(lifecycle.values[2]);
  for (const settler of [record.opened_by, ...runners]) {
    for (const used of usage ? [usage, units(0n)] : [units(0n)]) {
      if ((await settlementOf(settler, used, true)) === settlement)
        return settler === record.opened_by ? record.runner_fee : 0n;
    }
    // What no attester signed charges nothing, so that it can only be of no usage.
    if ((await settlementOf(settler, units(0n), false)) === settlement) return 0n;
  }
  return undefined;
}

const settlementOf = (settler: string, usage: Units, isAttested: boolean): Promise<string> =>
  settlementHash(
    settler,
    METERS.map((meter) => usage[meter]),
    isAttested,
  );

const units = (each: bigint): Units => ({
  llm_in: each,
  llm_out: each,
  http_calls: each,
  runtime_ms: each,
});

const exact = (usage: Record<keyof Units, number | bigint>): Units => ({
  llm_in: BigInt(usage.llm_in),
  llm_out: BigInt(usage.llm_out),
  http_calls: BigInt(usage.http_calls),
  runtime_ms: BigInt(usage.runtime_ms),
});

interface Attempts {
  link: Link;
  attempts: AttemptProof[];
  total: bigint;
  isComplete: boolean;
  why: string | undefined;
  since: boolean;
}

async function attemptsOf(judged: Case): Promise<Attempts> {
  const { facts, own } = judged;
  const wrong: string[] = [];
  const attempts: AttemptProof[] = [];
  const isChain = await hasItsHash(facts);
  for (const found of facts.attempts) {
    const { attempt, opened, record, finalized } = found;
    for (const origin of [opened, record]) {
      if (!origin) continue;
      const id = await runId(own.network, own.vault, facts.run, attempt, origin);
      if (id !== found.runId)
        wrong.push(`attempt ${attempt} has not the id ${found.runId} on chain`);
    }
    if (record && opened) wrong.push(...recordedTerms(attempt, opened, record));
    if (record && finalized) {
      if (record.lifecycle.tag !== "Finalized") {
        wrong.push(`attempt ${attempt} has a receipt, but its record is not settled`);
      } else {
        const [charge, output] = record.lifecycle.values;
        const other = [
          differs("the event's charge", charge, finalized.charge),
          differs("the event's output hash", hex(output), finalized.outputHash),
        ];
        wrong.push(...other.filter((text) => text !== false));
        // Whether an attester signed is in the digest alone, so that both are tried.
        const forms = [true, false].map((way) =>
          settlementOf(finalized.runner, finalized.usage, way),
        );
        if (!(await Promise.all(forms)).includes(hex(record.lifecycle.values[2]))) {
          wrong.push(`attempt ${attempt}: its record is of another settlement`);
        }
      }
    }
    if (opened && finalized) wrong.push(...arithmetic(attempt, opened, finalized, own.unit));
    // The statement is of the shown attempt, and says nothing about the usage of others.
    const isShown = found.runId === judged.shown?.runId;
    const usage = isShown ? judged.stated && exact(judged.stated.execution.usage) : undefined;
    attempts.push(await outcomeOf(facts, found, isChain, usage));
  }
  const numbers = attempts.filter(({ charge, fee }) => charge > 0n || fee > 0n);
  for (const { attempt } of numbers) {
    if (numbers.filter((other) => other.attempt === attempt).length > 1) {
      wrong.push(`attempt ${attempt} was charged twice, under two deadlines`);
    }
  }
  const ids = facts.attempts.map(({ runId: id }) => id);
  if (new Set(ids).size !== ids.length) wrong.push("the chain's facts list an attempt twice");
  wrong.push(...leftOut(judged));
  const total = attempts.reduce((sum, { charge, fee }) => sum + charge + fee, 0n);
  const coverage = await coverageOf(judged);
  const open = attempts.find(({ outcome }) => outcome === "open");
  const lost = attempts.find(({ outcome }) => outcome === "unknown");
  const unclear = attempts.find(({ outcome }) => outcome === "feeUnknown");
  const count = attempts.length === 1 ? "one attempt" : `${attempts.length} attempts`;
  const link = (): Link => {
    if (wrong.length > 0) return broken("attempts", [...new Set(wrong)].join("; "));
    if (attempts.length === 0) return unknown("attempts", "the chain shows no attempt of this run");
    if (lost)
      return unknown(
        "attempts",
        `what attempt ${lost.attempt} came to is outside the node's retention`,
      );
    if (open)
      return unknown("attempts", `attempt ${open.attempt} is open and may still be charged`);
    if (unclear) {
      return unknown(
        "attempts",
        `attempt ${unclear.attempt} was settled for ${showAmount(unclear.charge, own.unit)}, and nothing says any more whether its runner took its fee`,
      );
    }
    if (coverage.error) {
      return unknown(
        "attempts",
        `other attempts than ${count} could not be looked for: ${coverage.error}`,
      );
    }
    return ok("attempts", `${count} on chain${coverage.how}`);
  };
  const isFinal = !open && !lost && !unclear;
  const isComplete = !coverage.error && isFinal && wrong.length === 0 && attempts.length > 0;
  return {
    link: link(),
    attempts,
    total,
    isComplete,
    why: coverage.error,
    since: coverage.since,
  };
}

/** What a record holds beside its terms' hash has to be what these terms say. */
function recordedTerms(attempt: number, terms: Terms, record: RunRecord): string[] {
  const wrong = [
    terms.hash !== hex(record.terms_hash) &&
      `attempt ${attempt}: its terms have not the hash that its record holds`,
    (terms.maxCharge + terms.runnerFee !== record.escrowed ||
      terms.runnerFee !== record.runner_fee) &&
      `attempt ${attempt}: escrow and fee of its record are not its terms'`,
    terms.agentId !== record.agent_id && `attempt ${attempt}: its record is of another agent`,
  ];
  return wrong.filter((text) => text !== false);
}

/** Charge, fee and refund of a settlement follow from prices, usage and escrow. */
function arithmetic(attempt: number, terms: Terms, settled: Settlement, unit: Unit): string[] {
  const { charge, fee, refund, usage } = settled;
  const wrong = [
    charged(terms.rates, usage) !== charge &&
      `attempt ${attempt}: ${showAmount(charge, unit)} were charged, which prices times usage are not`,
    charge + fee + refund !== terms.maxCharge + terms.runnerFee &&
      `attempt ${attempt}: charge, fee and refund are not the escrow`,
    (fee > terms.runnerFee || fee < 0n) &&
      `attempt ${attempt}: a higher fee was taken than was agreed to`,
  ];
  return wrong.filter((text) => text !== false);
}

/** What the gateway leaves out of the attempts that the chain shows. */
function leftOut({ claim, facts }: Case): string[] {
  const { attempts } = claim.run;
  if (!attempts || attempts.length === 0) return [];
  const known = new Set(attempts.map((attempt: Attempt) => attempt.runId));
  const hidden = facts.attempts.filter(({ runId: id, finalized }) => finalized && !known.has(id));
  return hidden.map(
    ({ attempt, runId: id }) =>
      `the gateway leaves out attempt ${attempt}, run ${id}, which was charged`,
  );
}

/** How an attempt ended; `isChain`: the receipts lead to the hash that the account holds. */
async function outcomeOf(
  facts: ChainFacts,
  found: AttemptFacts,
  isChain: boolean,
  usage: Units | undefined,
): Promise<AttemptProof> {
  const { attempt, runId: id, record, finalized } = found;
  const base = { attempt, runId: id, charge: 0n, fee: 0n };
  if (finalized) {
    return { ...base, outcome: "settled", charge: finalized.charge, fee: finalized.fee };
  }
  if (!record) {
    const isFree = isChain && hadNoReceipt(facts, found);
    return { ...base, outcome: isFree ? "notCharged" : "unknown" };
  }
  const { lifecycle } = record;
  if (lifecycle.tag === "Finalized") {
    const fee = await recordedFee(found, usage);
    const [charge] = lifecycle.values;
    return fee === undefined
      ? { ...base, outcome: "feeUnknown", charge }
      : { ...base, outcome: "settled", charge, fee };
  }
  if (lifecycle.tag === "Open") {
    return { ...base, outcome: facts.ledgerTime >= record.deadline ? "overdue" : "open" };
  }
  return { ...base, outcome: lifecycle.tag === "Voided" ? "voided" : "reclaimed" };
}

/** Whether the attempt is over and every receipt since its opening is known: its own is not among them. */
function hadNoReceipt(facts: ChainFacts, { opened }: AttemptFacts): boolean {
  if (!opened || facts.ledgerTime <= opened.deadline) return false;
  const first = facts.receipts[0];
  const isWhole = facts.account?.count === BigInt(facts.receipts.length);
  return isWhole || (first !== undefined && first.finalizedAt <= opened.openedAt);
}

interface Coverage {
  error: string | undefined;
  how: string;
  since: boolean;
}

/** From when on attempts of a run have to be looked for, as far as its id and the gateway say. */
export function searchedSince({ id, createdAt }: Run): bigint | undefined {
  const byId = askedAt(id);
  if (byId === undefined) return undefined;
  const created = BigInt(Math.floor(Date.parse(createdAt) / 1000));
  return (byId < created ? byId : created) - SLACK;
}

/** Whether the search for attempts reaches back to before the run was asked for. */
async function coverageOf({ facts, claim }: Case): Promise<Coverage> {
  const no = (error: string): Coverage => ({ error, how: "", since: false });
  const unexplained = (since: bigint) => {
    const found = facts.unexplained.find(({ finalizedAt }) => finalizedAt >= since);
    return (
      found &&
      `receipt ${found.number} of the account has no opening among the vault's events, and could be this run's`
    );
  };
  // A search that reaches back far enough finds every settlement: where only the record knows of
  // one, the node lost or hides events, and there can be others.
  const unlisted = facts.attempts.find(
    ({ record, finalized }) => record?.lifecycle.tag === "Finalized" && !finalized,
  );
  if (unlisted) {
    return no(`attempt ${unlisted.attempt} is settled, and no event of that is at hand`);
  }
  const isChain = await hasItsHash(facts);
  const count = facts.account?.count ?? 0n;
  const hasAll = isChain && facts.account && BigInt(facts.receipts.length) === count;
  if (facts.oldestLedger <= 2) {
    const reason = unexplained(0n);
    if (reason) return no(reason);
    // A node that has every ledger has every settlement. The account's record counts them, so that
    // a node that hides one contradicts itself.
    const isWhole =
      count === 0n ? facts.attempts.every(({ finalized }) => !finalized) : hasAll === true;
    return isWhole
      ? { error: undefined, how: ", since its first ledger", since: false }
      : no(
          `the node names every ledger as kept, and does not have each of the ${count} receipts that the account counts`,
        );
  }
  if (hasAll) {
    return { error: undefined, how: "; all receipts of the account are at hand", since: false };
  }
  const since = searchedSince({ ...claim.run, id: facts.run });
  if (since === undefined) return no("the run's id does not say when it was asked for");
  const opened = facts.attempts.flatMap(({ opened }) => (opened ? [opened.openedAt - SLACK] : []));
  const asked = [since, ...opened].toSorted((a, b) => (a < b ? -1 : 1))[0]!;
  const first = facts.receipts[0];
  if (isChain && first !== undefined && first.finalizedAt < asked) {
    // Receipts are in the order of settlement, so that all since then are known.
    return { error: undefined, how: " since the run was asked for", since: true };
  }
  if (facts.oldestTime > asked) {
    return no(
      "the node keeps nothing from when the run was asked for; lumio verify can use a list of your receipts",
    );
  }
  const reason = unexplained(asked);
  if (reason) return no(reason);
  if (facts.unseen !== undefined) {
    return no(
      `the node has earlier settlements of the account, and not the one of receipt ${facts.unseen}, which could be this run's`,
    );
  }
  const found = new Set(facts.attempts.map(({ attempt }) => attempt));
  const skipped = Array.from({ length: Math.max(0, ...found) }, (_, index) => index + 1).find(
    (number) => !found.has(number),
  );
  if (skipped !== undefined) {
    return no(`attempt ${skipped} was not found on chain, but a later attempt was`);
  }
  if (!isChain && facts.account && facts.account.count > 0n) {
    return no("the account's newest receipts are not all at hand; try again");
  }
  return { error: undefined, how: " since the run was asked for", since: true };
}

/** Whether the receipts end with the account's newest, and lead to the hash that it holds now. */
async function hasItsHash(facts: ChainFacts): Promise<boolean> {
  const { account, receipts } = facts;
  if (!account) return false;
  const isEnd = (receipts.at(-1)?.number ?? account.count) === account.count;
  return isEnd && (await leads(facts, account.hash));
}

async function receiptLink(judged: Case): Promise<Link> {
  const { claim, facts, own, shown, terms, end } = judged;
  const said: ShownReceipt | undefined = claim.run.receipt;
  if (!shown) return unknown("receipt", "the chain says nothing to compare with");
  if (end.kind !== "settled") {
    if (!said) return skipped("receipt", "there is none");
    // Without its record, only a list of all receipts since its opening shows that it has none.
    const isKnown = shown.record || ((await hasItsHash(facts)) && hadNoReceipt(facts, shown));
    return isKnown
      ? broken("receipt", "the gateway shows a receipt, but the vault settled nothing")
      : unknown("receipt", "the attempt's record has ended, and no settlement of it is known");
  }
  if (!said) return skipped("receipt", "the gateway shows none, though the vault settled the run");
  const event = shown.finalized;
  const fee = await feeOf(judged);
  // The refund is what charge and fee leave of the escrow.
  const left =
    terms && fee !== undefined ? terms.maxCharge + terms.runnerFee - end.charge - fee : undefined;
  const refund = event?.refund ?? left;
  return unless("receipt", `${showAmount(end.charge, own.unit)} charged, as the vault says`, [
    differs("charge", end.charge, BigInt(said.actualCharge)),
    // A receipt that names no fee says that none was taken.
    fee !== undefined && differs("fee", fee, BigInt(said.runnerFee ?? 0)),
    refund !== undefined && differs("refund", refund, BigInt(said.refund)),
    terms !== undefined && differs("developer", terms.developer, said.developer),
    differs("output hash", end.outputHash, said.outputHash),
    differs("run", shown.runId, said.runId),
  ]);
}

async function accountLink({ facts, shown, end }: Case): Promise<Link> {
  if (end.kind === "returned")
    return skipped("account", "an attempt that charges nothing has no receipt");
  const { account, receipts } = facts;
  if (!account) return skipped("account", "the account's receipts are not at hand");
  if (!(await isSound(facts)))
    return broken("account", "the texts of the receipts have not the hashes that are named");
  const last = receipts.at(-1) ?? { number: account.count, hash: facts.before };
  // Of a list without receipts nothing is compared.
  const isOther = last.number === account.count && last.hash !== account.hash;
  if (receipts.length > 0 && (last.number > account.count || isOther)) {
    return broken(
      "account",
      `the vault counts ${account.count} receipts with running hash ${account.hash}, the list ends at ${last.number} with ${last.hash}`,
    );
  }
  const event = shown?.finalized;
  if (!event) return skipped("account", "the receipt's event is not at hand");
  if (event.number > account.count) {
    return broken(
      "account",
      `the attempt is receipt ${event.number}, but the account has only ${account.count}`,
    );
  }
  // The hash of the newest receipt is the account's own: no list is needed to check it.
  if (event.number === account.count) {
    return unless(
      "account",
      `receipt ${event.number}, the account's newest, has its running hash`,
      [differs("running hash", account.hash, event.hash)],
    );
  }
  if (last.number < account.count) {
    return skipped("account", `receipts ${last.number + 1n} to ${account.count} are not at hand`);
  }
  const own = receipts.find(({ number }) => number === event.number);
  if (!own) {
    return skipped("account", "receipts between this one and the account's newest are not at hand");
  }
  return unless("account", `receipt ${event.number} is in the account's running hash`, [
    differs("hash of the receipt", own.hash, event.hash),
  ]);
}

async function requestLink(judged: Case): Promise<Link> {
  const { claim, terms, stated, asked } = judged;
  if (!terms && asked.inputDigest === undefined) {
    return withoutTerms(judged, "request", "no terms are known");
  }
  if (!terms) return unknown("request", "no terms are known to compare your input with");
  const { run } = claim;
  const input_digest = stated?.execution.input_digest ?? run.inputDigest;
  const seed = stated?.execution.seed ?? run.seed;
  const workflow_id = stated?.execution.workflow_id ?? run.workflowId ?? "";
  const request = { input_digest, module_digest: terms.manifestHash, seed, workflow_id };
  if ((await requestHash(request)) !== terms.requestHash) {
    return broken("request", "input, seed and workflow are not those that were asked for on chain");
  }
  const known = `input ${input_digest}, seed ${seed}, workflow '${workflow_id}'`;
  if (asked.inputDigest === undefined) {
    return skipped(
      "request",
      `${known}; not compared with your own: this browser did not start the run`,
    );
  }
  return asked.inputDigest === input_digest
    ? ok(
        "request",
        `the input is the one that this browser sent; ${known}; seed and workflow not compared`,
      )
    : broken(
        "request",
        `the run was opened for another input than this browser sent; on chain: ${known}`,
      );
}

async function isFailureRecord({ claim, end }: Case): Promise<boolean> {
  if (claim.files.has("pack/_SEALED.json")) return false;
  if (end.kind === "returned") return true;
  if (end.kind !== "settled" || end.charge !== 0n || claim.run.errorCode === undefined)
    return false;
  const { id, attempt, errorCode, error } = claim.run;
  return (await failureDigest(id, attempt, errorCode, error ?? "")) === end.outputHash;
}

function failureLinks({ end }: Case): Link[] {
  const rest = ["usage", "statement", "times", "manifest", "files", "module", "gates"] as const;
  if (end.kind === "settled") {
    const detail = `output hash ${end.outputHash} is the digest of the failure that the gateway describes`;
    return [ok("seal", detail), ...rest.map((name) => skipped(name, "the run was never executed"))];
  }
  // Whether an attempt was executed that was then given up, nothing here says.
  const why = "the escrow went back, so that no charge commits to files, and none are at hand";
  return [
    skipped("seal", "the escrow went back without a settlement"),
    ...rest.map((name) => skipped(name, why)),
  ];
}

async function usageLink(judged: Case): Promise<Link> {
  const { shown, stated, end } = judged;
  if (!stated) return unknown("usage", "there is no verified statement to compare with");
  const { llm_in, llm_out, http_calls, runtime_ms } = stated.execution.usage;
  const usage = exact(stated.execution.usage);
  const detail = `${runtime_ms} ms, ${llm_in} + ${llm_out} tokens, ${http_calls} calls, as stated`;
  const lifecycle = shown?.record?.lifecycle;
  const isSettled = async () => {
    if (shown?.finalized) return sameUnits(shown.finalized.usage, usage);
    if (lifecycle?.tag !== "Finalized") return undefined;
    const settlement = hex(lifecycle.values[2]);
    const forms = [shown!.record!.opened_by, ...shown!.runners].flatMap((settler) =>
      [true, false].map((signed) => settlementOf(settler, usage, signed)),
    );
    // A runner may have settled it that the agent does not list any more.
    return (await Promise.all(forms)).includes(settlement) ? true : undefined;
  };
  if (end.kind === "returned") {
    return skipped("usage", `${detail}; the escrow went back, and none was charged`);
  }
  const fits = await isSettled();
  if (fits === undefined) {
    return unknown(
      "usage",
      end.kind === "settled" ? "what was settled is not known any more" : unsettled(judged),
    );
  }
  return fits
    ? ok("usage", detail)
    : broken("usage", "the vault settled another usage than the statement's");
}

/** The link that holds by addition, where the statement speaks of services at all. */
async function callsLink({ stated, claim }: Case): Promise<Link[]> {
  // Without a verified statement there is nothing to compare with, and its own link says so.
  const egress = stated?.execution.egress;
  if (!egress) return [];
  const isListed = BigInt(egress.listed) > 0n;
  if (stated.execution.verdict === "INCONCLUSIVE" && isListed) {
    const why = "the execution was inconclusive: nothing was charged, and no list is kept";
    return [skipped("calls", why)];
  }
  const list = claim.files.get(`pack/outputs/${CALLS_FILE}`);
  if (!list && isListed) return [broken("calls", `the pack has no outputs/${CALLS_FILE}`)];
  try {
    // A run that asked for nothing has no list, which is the list of nothing.
    const calls = await recompute(list ?? new Uint8Array(), egress);
    const kept = claim.files.get(`pack/outputs/${BODIES_FILE}`);
    const bodies = kept && (await compareBodies(kept, calls));
    return [ok("calls", describe(egress, bodies))];
  } catch (error) {
    return [broken("calls", message(error))];
  }
}

function describe(egress: Egress, bodies: number | undefined): string {
  const counted = (count: number | bigint, one: string, more: string) =>
    `${count} ${BigInt(count) === 1n ? one : more}`;
  const services = egress.upstreams.map(({ name, calls, refused, inconclusive }) => {
    const parts = [`${counted(calls, "call", "calls")} of ${name}`];
    if (BigInt(refused) > 0n) parts.push(`${refused} refused`);
    if (BigInt(inconclusive) > 0n) parts.push(`${inconclusive} without a certain usage`);
    return parts.join(", ");
  });
  const parts = [...services, `they add up to what is stated, with root ${egress.root}`];
  if (bodies !== undefined) {
    parts.push(`${counted(bodies, "call's body", "calls' bodies")} kept, as listed`);
  }
  const unlisted = egress.unlisted_refusals ?? 0;
  if (BigInt(unlisted) > 0n) {
    const refusals = counted(unlisted, "further refusal", "further refusals");
    parts.push(`${refusals} after the list was full, which nothing lists`);
  }
  return parts.join("; ");
}

async function statementLink(judged: Case): Promise<Link> {
  const { claim, facts, shown, terms, stated, statedError } = judged;
  if (!terms) return unknown("statement", "without terms no accepted key is known");
  if (!stated) {
    if (statedError !== undefined) return broken("statement", message(statedError));
    const why = absent(judged);
    return why === undefined
      ? broken("statement", "the bundle has no execution statement")
      : unknown("statement", why);
  }
  const { execution, signer } = stated;
  const input = claim.input && (await digest(utf8(canonical(claim.input.value))));
  return unless(
    "statement",
    `${execution.verdict}${execution.code ? ` ${execution.code}` : ""}, signed by ${signer}`,
    [
      differs("run", facts.run, execution.run_id),
      differs("attempt", claim.run.attempt, execution.attempt),
      shown !== undefined && differs("run id in the vault", shown.runId, execution.vault_run_id),
      differs("user", terms.user, execution.user),
      differs("module", terms.manifestHash, execution.module_digest),
      input !== undefined && differs("input", input, execution.input_digest),
      !sameUnits(terms.budgets, exact(execution.budgets)) && "the budgets differ",
    ],
  );
}

function timesLink({ shown, terms, stated }: Case): Link {
  if (!stated) return unknown("times", "there is no verified statement to compare with");
  if (!terms) return unknown("times", "without terms the opening's time is not known");
  const seconds = (at: string) => BigInt(Math.floor(Date.parse(at) / 1000));
  const started = seconds(stated.execution.started_at);
  const finished = seconds(stated.execution.finished_at);
  const settled = shown?.finalized?.finalizedAt;
  const detail =
    settled === undefined
      ? "started after the opening; the settlement's time is not at hand"
      : "executed between opening and settlement (clocks may differ by 120 s)";
  return unless("times", detail, [
    started + SLACK < terms.openedAt &&
      "the module is said to have started before the attempt was opened",
    settled !== undefined &&
      finished > settled + SLACK &&
      "the module is said to have finished after the attempt was settled",
  ]);
}

/** Files below a folder of the bundle, by their paths in it. */
function below(files: Map<string, Bytes>, folder: string): Map<string, Bytes> {
  const found = [...files].filter(([path]) => path.startsWith(folder));
  return new Map(found.map(([path, bytes]) => [path.slice(folder.length), bytes]));
}

/** A document of the pack, or why it is none. */
type Part<T> = { bytes: Bytes | undefined; read: T | undefined; error: string | undefined };

async function partOf<T>(
  name: string,
  bytes: Bytes | undefined,
  read: (bytes: Bytes) => T | Promise<T>,
): Promise<Part<T>> {
  if (!bytes) return { bytes, read: undefined, error: `the pack has no ${name}` };
  try {
    return { bytes, read: await read(bytes), error: undefined };
  } catch (error) {
    return { bytes, read: undefined, error: `the ${name} is not one: ${message(error)}` };
  }
}

interface Pack {
  links: Link[];
  seal: Part<Seal> | undefined;
  manifest: Part<{ manifest: Manifest; tree: Tree }> | undefined;
  /** What a tombstone among the pack's records says. */
  says: string | undefined;
}

async function packLinks(judged: Case): Promise<Pack> {
  const pack = below(judged.claim.files, "pack/");
  if (pack.size === 0) {
    const names = ["seal", "manifest", "files"] as const;
    const why = absent(judged);
    const links = names.map((name) =>
      why === undefined ? broken(name, "the bundle has no pack") : unknown(name, why),
    );
    links.push(await moduleLink(judged));
    return { links, seal: undefined, manifest: undefined, says: undefined };
  }
  const seal = await partOf("seal", pack.get("_SEALED.json"), readSeal);
  const manifest = await partOf("manifest", pack.get("_oracle_pack_manifest.json"), readManifest);
  const sealed = seal.read && {
    pack: seal.read.oracle_pack_id,
    digest: await digest(seal.bytes!),
  };
  const log = await readLog(pack, sealed);
  const links = [
    await sealLink(judged, seal.bytes),
    await manifestLink(judged, seal, manifest),
    await filesLink(judged, manifest.read, pack, log.wrong),
    await moduleLink(judged),
  ];
  return { links, seal, manifest, says: tombstoneText(log) };
}

async function sealLink(judged: Case, bytes: Bytes | undefined): Promise<Link> {
  const { end } = judged;
  // Nothing was charged, so there is nothing that the files have to answer for.
  if (end.kind === "returned") {
    const why = "the escrow went back without a settlement, so the chain holds no output hash";
    return skipped("seal", why);
  }
  if (end.kind !== "settled")
    return unknown("seal", `${unsettled(judged)}, so that the chain holds no output hash`);
  if (!bytes) return broken("seal", "the pack has no seal");
  const found = await digest(bytes);
  return found === end.outputHash
    ? ok("seal", `output hash ${found} on chain`)
    : broken(
        "seal",
        `the chain holds output hash ${end.outputHash}, the seal's digest is ${found}`,
      );
}

/** The seal names the manifest, the manifest its pack id, and both this run. */
async function manifestLink(
  { claim, facts, terms, stated }: Case,
  sealPart: Part<Seal>,
  manifestPart: Part<{ manifest: Manifest; tree: Tree }>,
): Promise<Link> {
  const wrong: (string | undefined | false)[] = [sealPart.error, manifestPart.error];
  const seal = sealPart.read;
  const manifest = manifestPart.read?.manifest;
  const execution = stated?.execution;
  if (seal && manifestPart.bytes) {
    const found = await digest(manifestPart.bytes);
    wrong.push(differs("manifest digest", seal.manifest_digest, found));
  }
  if (seal && manifest) {
    wrong.push(differs("pack id in the seal", manifest.oracle_pack_id, seal.oracle_pack_id));
  }
  if (manifest) {
    const world = manifest.world_key;
    wrong.push(
      differs("pack id", await packId(manifest), manifest.oracle_pack_id),
      differs("run", facts.run.replaceAll("-", ""), manifest.run_id),
      differs("attempt", claim.run.attempt, manifest.attempt),
      terms !== undefined && differs("module", terms.manifestHash, world.manifest_fingerprint),
    );
    if (execution) {
      wrong.push(
        differs("input", execution.input_digest, world.parameter_hash),
        differs("seed", execution.seed, world.seed),
        differs("workflow", execution.workflow_id, world.scenario_id),
      );
    }
  }
  if (seal && execution) {
    const isPassed = execution.verdict === "PASS";
    wrong.push(
      isPassed !== (seal.seal_status === "SEALED_OK") &&
        `the seal is ${seal.seal_status}, which the statement does not say`,
    );
  }
  return unless("manifest", `pack ${manifest?.oracle_pack_id}, named by the seal`, wrong);
}

async function filesLink(
  { stated }: Case,
  read: { manifest: Manifest; tree: Tree } | undefined,
  pack: Map<string, Bytes>,
  records: string | undefined,
): Promise<Link> {
  if (!read) return broken("files", "without a manifest nothing says what was sealed");
  const { tree } = read;
  const isOwn = (path: string) =>
    path === "_SEALED.json" ||
    path === "_oracle_pack_manifest.json" ||
    isRecord(path) ||
    isUnfinishedRecord(path);
  const files = new Map([...pack].filter(([path]) => !isOwn(path)));
  const wrong: (string | false | undefined)[] = await compareFiles(
    tree,
    files,
    read.manifest.shards,
  );
  wrong.push(records);
  const named = new Map(tree.files.map((sealed) => [sealed.path, sealed]));
  wrong.push(!named.has("_execution.dsse") && "_execution.dsse is not among the sealed files");
  if (stated) {
    const { outputs } = stated.execution;
    for (const { path, length, sha256 } of outputs) {
      const sealed = named.get(`outputs/${path}`);
      const fits = sealed?.length === length && sealed.sha256 === sha256;
      wrong.push(!fits && `output ${path} is not sealed as it was stated`);
    }
    const sealed = tree.files.filter(({ path }) => path.startsWith("outputs/")).length;
    wrong.push(sealed > outputs.length && "outputs are sealed that the statement does not name");
  }
  const bytes = tree.files.reduce((sum, { length }) => sum + length, 0);
  return unless(
    "files",
    `${tree.files.length} files, ${bytes} bytes, none changed, missing or added`,
    wrong,
  );
}

async function moduleLink(judged: Case): Promise<Link> {
  const { claim, terms } = judged;
  if (!terms) return unknown("module", "no terms are known");
  const files = below(claim.files, "module/tree/");
  if (files.size === 0) {
    const why = absent(judged);
    return why === undefined
      ? broken("module", "the bundle has no module")
      : unknown("module", why);
  }
  const listed = claim.files.get("module/_tree.json");
  if (!listed) return broken("module", "the module's _tree.json is not there");
  try {
    const tree = await readTree(parse(listed), MODULE_LIMITS);
    return unless("module", `tree ${terms.manifestHash}, as the rate card pins`, [
      differs("tree", terms.manifestHash, tree.digest),
      ...(await compareFiles(tree, files)),
    ]);
  } catch (error) {
    return broken("module", message(error));
  }
}

async function gatesLink(judged: Case, pack: Pack): Promise<Link> {
  const { stated, terms, claim, facts } = judged;
  if (!stated || !terms) return unknown("gates", "there is no verified statement to compare with");
  const envelope = file(judged, "pack/_shipping.dsse");
  if (!envelope) return broken("gates", "the pack has no _shipping.dsse");
  try {
    const { payload } = await open(envelope, terms.attesters);
    const shipping = readShipping(payload);
    const { execution } = stated;
    const bytes = claim.files.get("facts/run_facts_view.json");
    const wrong = [
      differs("the shipping verdict's module", execution.module_digest, shipping.module_digest),
      differs("the shipping verdict", "PASS", shipping.verdict),
    ];
    if (execution.verdict !== "PASS") {
      // A view lets outputs through, and a run that did not pass has none.
      if (bytes) wrong.push(`this run is ${execution.verdict}, and a facts view is there`);
      return unless(
        "gates",
        `the module might ship, but this run is ${execution.verdict} and left nothing`,
        wrong,
      );
    }
    if (!bytes) return broken("gates", "the bundle has no facts view");
    const sealBytes = pack.seal?.bytes;
    const sealed = {
      run: facts.run.replaceAll("-", ""),
      execution,
      digests: { execution: stated.digest, shipping: await digest(envelope) },
      pack: pack.seal?.read?.oracle_pack_id,
      seal: sealBytes && (await digest(sealBytes)),
      manifest: pack.manifest?.read?.manifest,
    };
    wrong.push(...(await mistakesOf(readView(bytes), sealed)));
    const detail = `shipping PASS of ${shipping.module_id} ${shipping.module_version}, execution PASS of this run`;
    return unless("gates", detail, wrong);
  } catch (error) {
    return broken("gates", message(error));
  }
}

function conclude(judged: Case, links: Link[], found: Attempts): Omit<Proof, "tombstone"> {
  const { terms, claim, own, end, stated, shown } = judged;
  const any = (state: State) => links.some((link) => link.state === state);
  const verdict = any("broken") ? "broken" : any("unknown") ? "unknown" : "proven";
  const over =
    found.attempts.length === 1 ? "in its one attempt" : `over ${found.attempts.length} attempts`;
  const cost = found.total === 0n ? "nothing" : showAmount(found.total, own.unit);
  const whole = `The run cost ${terms?.user ?? shown?.record?.user ?? claim.run.user} ${cost}, ${over}.`;
  const proven = [whole];
  const attempt = `Attempt ${claim.run.attempt}:`;
  if (end.kind === "returned") {
    proven.push(`${attempt} the whole escrow went back to the user.`);
  } else if (end.kind === "settled" && stated) {
    const { runtime_ms, llm_in, llm_out, http_calls } = stated.execution.usage;
    const used = `${runtime_ms} ms, ${llm_in} + ${llm_out} tokens and ${http_calls} calls`;
    const rest =
      stated.execution.verdict === "PASS"
        ? "output files and module are byte for byte what the charge commits to."
        : `it ended with ${stated.execution.verdict} (${stated.execution.code}) and has no outputs.`;
    proven.push(
      `${attempt} ${showAmount(end.charge, own.unit)} for ${used}, at prices pinned before the run; ${rest}`,
    );
  } else if (end.kind === "settled") {
    proven.push(`${attempt} it was never executed; its failure is committed to on chain.`);
  }
  const restsOn = ["What the chain holds: this console's node."];
  if (stated) {
    restsOn.push(
      `That the module really ran so, and used this much: the key ${stated.signer}, which the agent's developer accepted on chain.`,
    );
  }
  if (found.since) restsOn.push("That no attempt is older: the time in the run's id.");
  const others = found.attempts.filter(
    ({ runId: id, charge, fee }) => id !== shown?.runId && charge + fee > 0n,
  );
  const open = ["terms", "rates", "request", "account", "receipt"];
  const notLookedAt = [
    ...others.map(({ attempt: number }) => `what attempt ${number} was charged for`),
    ...links
      .filter(({ link, state }) => state === "skipped" && open.includes(link))
      .map(({ link, detail }) => `${link}: ${detail}`),
  ];
  if (links.some(({ link, state }) => link === "request" && state === "ok")) {
    notLookedAt.push("whether seed and workflow are the ones you asked for");
  }
  // Files of an attempt that was not settled are the gateway's word: no charge commits to them.
  if (end.kind === "returned" && [...claim.files.keys()].some((path) => path.startsWith("pack/"))) {
    notLookedAt.push(
      "whether the files are what the module left: the chain holds no output hash of them",
    );
  }
  notLookedAt.push(
    "whether the module, executed again, leaves the same bytes (lumio verify --rerun)",
  );
  const atLeast =
    found.isComplete || found.attempts.length === 0
      ? undefined
      : `at least ${showAmount(found.total, own.unit)}`;
  // What was bought may be unknown beside it.
  const holds = (name: Name) => links.some(({ link, state }) => link === name && state === "ok");
  const isCostKnown = found.isComplete && holds("vault") && holds("charge") && holds("attempts");
  return {
    verdict,
    links,
    attempts: found.attempts,
    total: found.total,
    // Nothing is said to be proven unless every link was looked at and holds.
    proven: verdict === "proven" ? proven : [],
    cost: isCostKnown ? whole : undefined,
    atLeast,
    restsOn,
    notLookedAt,
    unit: own.unit,
  };
}
