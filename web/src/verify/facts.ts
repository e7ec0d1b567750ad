// What the chain says about a run, read by the browser from its own node. Nothing is looked for
// where a gateway points: every opening of the vault is read, and one is the run's own when its id
// follows from the run's UUID, so that an attempt that a gateway hides is found like any other.

import { scValToNative, type xdr } from "@stellar/stellar-sdk";
import type { RunRecord } from "prepaid_vault";

import type { Chain } from "@/chain/client";

import { type Bytes, hex } from "./bytes.ts";
import { type Origin, receiptText, runId, termsHash } from "./vault.ts";

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
}

export interface Receipt {
  number: bigint;
  text: Bytes;
  hash: string;
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
}

const ZEROS = "0".repeat(64);

const units = ([llm_in, llm_out, http_calls, runtime_ms]: bigint[]): Units => ({
  llm_in: llm_in!,
  llm_out: llm_out!,
  http_calls: http_calls!,
  runtime_ms: runtime_ms!,
});

async function termsOf(value: xdr.ScVal): Promise<{ runId: string; terms: Terms }> {
  const data = scValToNative(value);
  const [id, user, opened_by, head, budgets, maxCharge, runnerFee, deadline, openedAt, request] =
    data;
  const [agentId, rateVersion, rates, developer, manifest, attesters] = head;
  return {
    runId: hex(id),
    terms: {
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
    },
  };
}

function settlementOf(value: xdr.ScVal): Settlement {
  const [id, user, runner, charge, fee, refund, usage, output, at, number, hash] =
    scValToNative(value);
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
    hash: hex(hash),
  };
}

interface Opening {
  runId: string;
  terms: Terms;
  value: xdr.ScVal;
}

interface History {
  oldestLedger: number;
  oldestTime: bigint;
  ledgerTime: bigint;
  opened: Opening[];
  finalized: { settlement: Settlement; value: xdr.ScVal }[];
}

/** All events of one kind, from a ledger on. */
async function events(chain: Chain, topics: string[], startLedger: number): Promise<xdr.ScVal[]> {
  const filters = [
    { type: "contract" as const, contractIds: [chain.config.contractId], topics: [topics] },
  ];
  const values: xdr.ScVal[] = [];
  let cursor: string | undefined;
  for (;;) {
    const page = await chain.server.getEvents(
      cursor === undefined ? { startLedger, filters, limit: 200 } : { cursor, filters, limit: 200 },
    );
    values.push(...page.events.map((event) => event.value));
    if (page.events.length < 200 || page.cursor === cursor) return values;
    cursor = page.cursor;
  }
}

async function history(chain: Chain): Promise<History> {
  // The clock comes first: the node forgets its oldest ledgers while it is read.
  const clock = await chain.server.getTransaction(ZEROS);
  const from = clock.oldestLedger;
  const [opened, finalized] = await Promise.all([
    events(chain, chain.vault.runOpenedEventFilter(), from),
    events(chain, chain.vault.runFinalizedEventFilter(), from),
  ]);
  const openings: Opening[] = [];
  for (const value of opened) {
    // An event that cannot be read hides no charge: its receipt leaves a gap, which is reported.
    const read = await termsOf(value).catch(() => undefined);
    if (read) openings.push({ ...read, value });
  }
  const settlements = finalized.flatMap((value) => {
    try {
      return [{ settlement: settlementOf(value), value }];
    } catch {
      return [];
    }
  });
  return {
    oldestLedger: from,
    oldestTime: BigInt(clock.oldestLedgerCloseTime),
    ledgerTime: BigInt(clock.latestLedgerCloseTime),
    opened: openings,
    finalized: settlements,
  };
}

/** What a gateway hints at: it can add an attempt whose events are gone, and hide none. */
export interface Hints {
  attempt: number;
  runIds: [number, string][];
  user: string;
}

/** Reads all there is to know about a run. */
export async function gather(chain: Chain, run: string, hints: Hints): Promise<ChainFacts> {
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
  };
  const idOf = (attempt: number, origin: Origin) => runId(network, vault, run, attempt, origin);

  let last = Math.max(1, hints.attempt);
  for (let number = 1; number <= last + FURTHER; number += 1) {
    for (const { runId: id, terms } of past.opened) {
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
  for (const attempt of facts.attempts) {
    attempt.record ??= await recordOf(chain, attempt.runId);
    const settled = past.finalized.find(({ settlement }) => settlement.runId === attempt.runId);
    attempt.finalized = settled?.settlement;
    if (attempt.opened) attempt.rateCard = await cardOf(chain, attempt.opened);
  }
  facts.attempts.sort((a, b) => a.attempt - b.attempt || (a.runId < b.runId ? -1 : 1));

  const user =
    facts.attempts.map(({ opened, record }) => opened?.user ?? record?.user)[0] ?? hints.user;
  await addReceipts(chain, facts, past, user);
  return facts;
}

const empty = (attempt: number, id: string, opened: Terms | undefined): AttemptFacts => ({
  attempt,
  runId: id,
  record: undefined,
  opened,
  finalized: undefined,
  rateCard: undefined,
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

/** The account's receipts as far back as their texts are known without a gap. */
async function addReceipts(
  chain: Chain,
  facts: ChainFacts,
  past: History,
  user: string,
): Promise<void> {
  const { result } = await chain.vault.account({ user });
  if (result.isErr()) return;
  const account = result.unwrap();
  facts.account = { count: account.receipts, hash: hex(account.receipts_hash) };
  const hashes = new Map<bigint, string>([[0n, ZEROS]]);
  const texts = new Map<bigint, Receipt>();
  for (const { settlement, value } of past.finalized) {
    if (settlement.user !== user) continue;
    hashes.set(settlement.number, settlement.hash);
    const opening = past.opened.find(({ runId: id }) => id === settlement.runId);
    if (!opening) {
      facts.unexplained.push(settlement);
      continue;
    }
    const text = receiptText(opening.value, value);
    texts.set(settlement.number, { number: settlement.number, text, hash: settlement.hash });
  }
  facts.before = facts.account.hash;
  for (let number = facts.account.count; number > 0n; number -= 1n) {
    const [receipt, before] = [texts.get(number), hashes.get(number - 1n)];
    if (!receipt || before === undefined) break;
    facts.receipts.unshift(receipt);
    facts.before = before;
  }
}
