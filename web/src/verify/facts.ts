// What the chain says about a run, read by the browser from its own node. Nothing is looked for
// where a gateway points: every opening of the vault is read, and one is the run's own when its id
// follows from the run's UUID, so that an attempt that a gateway hides is found like any other.

import { scValToNative, type xdr } from "@stellar/stellar-sdk";
import type { RunRecord } from "prepaid_vault";

import type { Chain } from "@/chain/client";

import { type Bytes, hex, unhex } from "./bytes.ts";
import { events, greatest, least, type Search } from "./events.ts";
import { type List, partsOf } from "./receipts.ts";
import {
  type Origin,
  receiptText,
  runId,
  runningHash,
  termsHash,
  termsOf,
  ZEROS,
} from "./vault.ts";

/** How often a search begins again that lost the race against the node's retention. */
const MOST_RACES = 5;
/** So many attempts beyond the last known one are looked for. */
const FURTHER = 16;

export interface Units {
  llm_in: bigint;
  llm_out: bigint;
  http_calls: bigint;
  runtime_ms: bigint;
}

export interface Terms extends Origin {
  agentId: number;
  rateVersion: number;
  rates: Units;
  developer: string;
  manifestHash: string;
  attesters: string[];
  budgets: Units;
  maxCharge: bigint;
  runnerFee: bigint;
  openedAt: bigint;
  requestHash: string;
  hash: string;
}

export interface Settlement {
  runId: string;
  user: string;
  runner: string;
  charge: bigint;
  fee: bigint;
  refund: bigint;
  usage: Units;
  outputHash: string;
  finalizedAt: bigint;
  number: bigint;
  hash: string;
}

export interface AttemptFacts {
  attempt: number;
  runId: string;
  record: RunRecord | undefined;
  opened: Terms | undefined;
  finalized: Settlement | undefined;
  rateCard: { rates: Units; manifestHash: string } | undefined;
  /** The runners that its agent lists now, where only the record still knows the settlement. */
  runners: string[];
}

export interface Receipt {
  number: bigint;
  text: Bytes;
  hash: string;
  finalizedAt: bigint;
}

export interface ChainFacts {
  run: string;
  network: string;
  vault: string;
  registry: string | undefined;
  ledgerTime: bigint;
  oldestLedger: number;
  oldestTime: bigint;
  attempts: AttemptFacts[];
  account: { count: bigint; hash: string } | undefined;
  /** The account's newest receipts without a gap, the newest last. */
  receipts: Receipt[];
  /** Running hash before the first of them. */
  before: string;
  /** Settlements of the account whose opening was not found. */
  unexplained: Settlement[];
  /**
   * The newest receipt of which neither its text nor its settlement is known, although the node has
   * the settlement of an earlier one: it lost or hides this one.
   */
  unseen: bigint | undefined;
}

const units = ([llm_in, llm_out, http_calls, runtime_ms]: bigint[]): Units => ({
  llm_in: llm_in!,
  llm_out: llm_out!,
  http_calls: http_calls!,
  runtime_ms: runtime_ms!,
});

async function readTerms(value: xdr.ScVal): Promise<Terms> {
  const [user, opened_by, head, budgets, maxCharge, runnerFee, deadline, openedAt, request] =
    scValToNative(value);
  const [agentId, rateVersion, rates, developer, manifest, attesters] = head;
  return {
    user,
    opened_by,
    deadline,
    agentId,
    rateVersion,
    rates: units(rates),
    developer,
    manifestHash: hex(manifest),
    attesters: attesters.map(hex),
    budgets: units(budgets),
    maxCharge,
    runnerFee,
    openedAt,
    requestHash: hex(request),
    hash: await termsHash(value),
  };
}

async function openingOf(value: xdr.ScVal): Promise<Opening> {
  const [id] = scValToNative(value);
  const text = termsOf(value);
  return { runId: hex(id), terms: await readTerms(text), text };
}

function settlementOf(value: xdr.ScVal): Settlement {
  const native = scValToNative(value);
  const [number, hash] = native.slice(9);
  return settled(native, number, hex(hash));
}

/** What settled a run: of its event, or of its receipt, which has number and hash beside it. */
function settled(values: unknown[], number: bigint, hash: string): Settlement {
  // Each place has the type that the contract gives it; another one throws, or fits no hash.
  const [id, user, runner, charge, fee, refund, usage, output, at] = values as [
    ...[Bytes, string, string, bigint, bigint, bigint, bigint[], Bytes, bigint],
  ];
  return {
    runId: hex(id),
    user,
    runner,
    charge,
    fee,
    refund,
    usage: units(usage),
    outputHash: hex(output),
    finalizedAt: at,
    number,
    hash,
  };
}

interface Opening {
  runId: string;
  terms: Terms;
  /** The terms as the vault hashes them. */
  text: xdr.ScVal;
}

interface History {
  oldestLedger: number;
  oldestTime: bigint;
  ledgerTime: bigint;
  opened: Opening[];
  finalized: { settlement: Settlement; value: xdr.ScVal }[];
}

/** The vault's events as far back as the node keeps them. */
async function history(chain: Chain): Promise<History> {
  for (let race = 1; ; race += 1) {
    try {
      return await read(chain);
    } catch (error) {
      // The node forgets its oldest ledgers while it is read, and refuses what begins before them:
      // the clock, which has moved on, is asked again. No code says why a node refuses.
      if (race === MOST_RACES) throw error;
    }
  }
}

async function read(chain: Chain): Promise<History> {
  const { server, vault, config } = chain;
  const clock = await server.getTransaction(ZEROS);
  const from = clock.oldestLedger;
  const [opened, finalized] = await Promise.all([
    events(server, config.contractId, vault.runOpenedEventFilter(), from),
    events(server, config.contractId, vault.runFinalizedEventFilter(), from),
  ]);
  const openings: Opening[] = [];
  for (const value of opened.values) {
    // An event that cannot be read hides no charge: its receipt leaves a gap, which is reported.
    const read = await openingOf(value).catch(() => undefined);
    if (read) openings.push(read);
  }
  const settlements = finalized.values.flatMap((value) => {
    try {
      return [{ settlement: settlementOf(value), value }];
    } catch {
      return [];
    }
  });
  return { ...rangeOf(clock, [opened, finalized]), opened: openings, finalized: settlements };
}

interface Clock {
  oldestLedger: number;
  oldestLedgerCloseTime: number;
  latestLedgerCloseTime: number;
}

/**
 * How far back the searches reach, by the word that says least: the node's clock and both searches
 * name its range, and one of them alone must not make it seem wider.
 */
export function rangeOf(
  clock: Clock,
  searches: Omit<Search, "values">[],
): Pick<History, "oldestLedger" | "oldestTime" | "ledgerTime"> {
  let { oldestLedger } = clock;
  for (const search of searches) oldestLedger = greatest(oldestLedger, search.oldestLedger)!;
  let ledgerTime = BigInt(clock.latestLedgerCloseTime);
  // The close time of a later ledger than the clock's oldest is not known exactly, so that the
  // latest possible one is taken for it.
  let oldestTime =
    oldestLedger === clock.oldestLedger ? BigInt(clock.oldestLedgerCloseTime) : ledgerTime;
  for (const search of searches) {
    oldestTime = greatest(oldestTime, search.oldestTime)!;
    ledgerTime = least(ledgerTime, search.latestTime)!;
  }
  return { oldestLedger, oldestTime, ledgerTime };
}

/** What a gateway hints at: it can add an attempt whose events are gone, and hide none. */
export interface Hints {
  attempt: number;
  runIds: [number, string][];
  user: string;
}

/** Reads all there is to know about a run. `stored` answers a user's list at the gateway. */
export async function gather(
  chain: Chain,
  run: string,
  hints: Hints,
  stored: (user: string) => Promise<List | undefined>,
): Promise<ChainFacts> {
  const { networkPassphrase: network, contractId: vault } = chain.config;
  const { passphrase } = await chain.server.getNetwork();
  const past = await history(chain);
  const config = (await chain.vault.config()).result;
  const facts: ChainFacts = {
    run,
    network: passphrase,
    vault,
    registry: config.isOk() ? config.unwrap().registry : undefined,
    ledgerTime: past.ledgerTime,
    oldestLedger: past.oldestLedger,
    oldestTime: past.oldestTime,
    attempts: [],
    account: undefined,
    receipts: [],
    before: ZEROS,
    unexplained: [],
    unseen: undefined,
  };
  const idOf = (attempt: number, origin: Origin) => runId(network, vault, run, attempt, origin);

  let last = Math.max(1, hints.attempt);
  for (let number = 1; number <= last + FURTHER; number += 1) {
    for (const { runId: id, terms } of past.opened) {
      // A node may list an event twice.
      if (facts.attempts.some((known) => known.runId === id)) continue;
      if ((await idOf(number, terms)) !== id) continue;
      facts.attempts.push(empty(number, id, terms));
      last = Math.max(last, number);
    }
  }
  for (const [number, id] of hints.runIds) {
    if (facts.attempts.some((known) => known.runId === id)) continue;
    const record = await recordOf(chain, id);
    if (record && (await idOf(number, record)) === id) {
      facts.attempts.push({ ...empty(number, id, undefined), record });
    }
  }
  const user =
    facts.attempts.map(({ opened, record }) => opened?.user ?? record?.user)[0] ?? hints.user;
  const { result } = await chain.vault.account({ user });
  if (result.isOk()) {
    const { receipts: count, receipts_hash } = result.unwrap();
    facts.account = { count, hash: hex(receipts_hash) };
    const listed = await addReceipts(facts, past, user, await stored(user));
    await addListed(facts, listed, last + FURTHER, idOf);
  }

  for (const attempt of facts.attempts) {
    attempt.record ??= await recordOf(chain, attempt.runId);
    const settled = past.finalized.find(({ settlement }) => settlement.runId === attempt.runId);
    attempt.finalized = settled?.settlement ?? attempt.finalized;
    if (attempt.opened) attempt.rateCard = await cardOf(chain, attempt.opened);
    attempt.runners = await settlersOf(chain, attempt);
  }
  facts.attempts.sort((a, b) => a.attempt - b.attempt || (a.runId < b.runId ? -1 : 1));
  return facts;
}

const empty = (attempt: number, id: string, opened: Terms | undefined): AttemptFacts => ({
  attempt,
  runId: id,
  record: undefined,
  opened,
  finalized: undefined,
  rateCard: undefined,
  runners: [],
});

async function recordOf(chain: Chain, id: string): Promise<RunRecord | undefined> {
  const run_id = Uint8Array.from(id.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  const { result } = await chain.vault.get_run({ run_id });
  return result.isOk() ? result.unwrap() : undefined;
}

async function cardOf(chain: Chain, terms: Terms): Promise<AttemptFacts["rateCard"]> {
  const asked = { agent_id: terms.agentId, version: terms.rateVersion };
  const { result } = await chain.registry.get_rate_card(asked);
  if (result.isErr()) return undefined;
  const card = result.unwrap();
  return { rates: card.rates, manifestHash: hex(card.manifest_hash) };
}

/**
 * Who may have settled an attempt of which only the record is left: it holds the settler in a
 * digest alone, and another listed runner of the agent may settle in the opener's place (V14).
 */
async function settlersOf(chain: Chain, { record, finalized }: AttemptFacts): Promise<string[]> {
  if (finalized || !record || record.lifecycle.tag !== "Finalized") return [];
  const { result } = await chain.registry.get_agent({ agent_id: record.agent_id });
  return result.isOk() ? result.unwrap().runners : [];
}

/** What a receipt of a list says, once the list has led to the account's running hash. */
interface Listed {
  opening: Opening;
  settlement: Settlement;
}

/**
 * Adds the account's receipts as far back as their texts are known without a gap: from the events,
 * and from a gateway's list where that leads to the hash that the account holds. One that does not,
 * such as one that ends before the account's newest receipt, is no fault of the account: what is
 * known without it stays. Answers what the list tells.
 */
export async function addReceipts(
  facts: Pick<ChainFacts, "account" | "receipts" | "before" | "unexplained" | "unseen">,
  past: Pick<History, "opened" | "finalized">,
  user: string,
  list: List | undefined,
): Promise<Listed[]> {
  const listed = list ? await Promise.all(list.receipts.map(readListed)) : [];

  // One that this release cannot read could be this run's.
  if (list && listed.every((item) => item !== undefined)) {
    const both = assemble(facts.account!, past, user, list, listed);
    // Without any receipt the account's own hash would stand at both ends, and the list would count
    // for what it says of openings and of single receipts.
    if (both.receipts.length > 0 && (await leads(both, facts.account!.hash))) {
      Object.assign(facts, both);
      // Only receipts that lead to the account's hash without a gap are proven: a list that ends
      // before them has no part in that.
      const proven = new Map(both.receipts.map(({ number, hash }) => [number, hash]));
      return listed.filter(({ settlement: { number, hash } }) => proven.get(number) === hash);
    }
  }
  Object.assign(facts, assemble(facts.account!, past, user, undefined, []));
  return [];
}

type Assembled = Pick<ChainFacts, "receipts" | "before" | "unexplained" | "unseen">;

function assemble(
  account: { count: bigint; hash: string },
  past: Pick<History, "opened" | "finalized">,
  user: string,
  list: List | undefined,
  listed: Listed[],
): Assembled {
  const hashes = new Map<bigint, string>([[0n, ZEROS]]);
  const texts = new Map<bigint, Receipt>();
  const openings = new Map(listed.map(({ opening }) => [opening.runId, opening]));
  for (const opening of past.opened) openings.set(opening.runId, opening);
  const unexplained: Settlement[] = [];
  if (list) hashes.set(list.receipts[0]!.number - 1n, list.before);
  for (const [index, receipt] of (list?.receipts ?? []).entries()) {
    const { finalizedAt } = listed[index]!.settlement;
    hashes.set(receipt.number, receipt.hash);
    texts.set(receipt.number, { ...receipt, finalizedAt });
  }
  const seen = new Set<bigint>();
  for (const { settlement, value } of past.finalized) {
    if (settlement.user !== user) continue;
    const { number, hash, finalizedAt } = settlement;
    hashes.set(number, hash);
    seen.add(number);
    const opening = openings.get(settlement.runId);
    if (!opening) {
      unexplained.push(settlement);
      continue;
    }
    texts.set(number, { number, text: receiptText(opening.text, value), hash, finalizedAt });
  }
  const receipts: Receipt[] = [];
  let before = account.hash;
  for (let number = account.count; number > 0n; number -= 1n) {
    const [receipt, earlier] = [texts.get(number), hashes.get(number - 1n)];
    if (!receipt || earlier === undefined) break;
    receipts.push(receipt);
    before = earlier;
  }
  const unseen = unseenOf(account.count, seen, texts);
  return { receipts: receipts.reverse(), before, unexplained, unseen };
}

/** The newest receipt after the first that the node has that neither an event nor a list knows. */
function unseenOf(count: bigint, seen: Set<bigint>, texts: Map<bigint, Receipt>) {
  const [first] = [...seen].toSorted((one, other) => (one < other ? -1 : 1));
  if (first === undefined) return undefined;
  for (let number = count; number >= first; number -= 1n) {
    if (!seen.has(number) && !texts.has(number)) return number;
  }
  return undefined;
}

/** Whether receipts have no gap, and each text has the hash beside it. */
export async function isSound({
  receipts,
  before,
}: Pick<ChainFacts, "receipts" | "before">): Promise<boolean> {
  let last = (receipts[0]?.number ?? 1n) - 1n;
  let hash = before;
  if (receipts.length > 0 && (last < 0n || (last === 0n && before !== ZEROS))) return false;
  for (const { number, text, hash: claimed } of receipts) {
    const found = hex(await runningHash(unhex(hash), number, text));
    if (number !== last + 1n || found !== claimed) return false;
    [last, hash] = [number, claimed];
  }
  return true;
}

/** Whether receipts' texts lead to this running hash. */
export async function leads(
  list: Pick<ChainFacts, "receipts" | "before">,
  end: string,
): Promise<boolean> {
  return (list.receipts.at(-1)?.hash ?? list.before) === end && (await isSound(list));
}

async function readListed(receipt: {
  number: bigint;
  text: Bytes;
  hash: string;
}): Promise<Listed | undefined> {
  try {
    const parts = partsOf(receipt.text);
    if (!parts) return undefined;
    const { number, hash } = receipt;
    const values = parts.settled.map((value) => scValToNative(value));
    return {
      opening: {
        runId: hex(scValToNative(parts.runId)),
        terms: await readTerms(parts.terms),
        text: parts.terms,
      },
      settlement: settled(values, number, hash),
    };
  } catch {
    return undefined;
  }
}

/** Attempts of the run that only the list still knows, and what it knows of the others. */
async function addListed(
  facts: ChainFacts,
  listed: Listed[],
  most: number,
  idOf: (attempt: number, origin: Origin) => Promise<string>,
): Promise<void> {
  for (const { opening, settlement } of listed) {
    for (let number = 1; number <= most; number += 1) {
      if ((await idOf(number, opening.terms)) !== opening.runId) continue;
      let attempt = facts.attempts.find(({ runId: id }) => id === opening.runId);
      if (!attempt) {
        attempt = empty(number, opening.runId, opening.terms);
        facts.attempts.push(attempt);
      }
      attempt.opened ??= opening.terms;
      attempt.finalized = settlement;
      break;
    }
  }
}
