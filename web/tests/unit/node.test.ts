// What a node tells, page by page, and what it hides or repeats.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { xdr } from "@stellar/stellar-sdk";

import { hex, unhex } from "../../src/verify/bytes.ts";
import { events, type Source } from "../../src/verify/events.ts";
import {
  addReceipts,
  type ChainFacts,
  gather,
  rangeOf,
  type Settlement,
  type Terms,
} from "../../src/verify/facts.ts";
import { judge } from "../../src/verify/judge.ts";
import type { List } from "../../src/verify/receipts.ts";
import { receiptText, runId, runningHash, termsHash, ZEROS } from "../../src/verify/vault.ts";
import {
  Fixture,
  finalizedXdr,
  inState,
  OPENED,
  openedXdr,
  own,
  RUN,
  termsXdr,
  USER,
} from "./run.ts";

const fixture = await Fixture.make();
const value = openedXdr(fixture.shown.runId, fixture.terms);

const LATEST = 35_000;
/** Ledgers that a node looks through in one call. */
const SCANNED = 10_000;

type Page = Awaited<ReturnType<Source["getEvents"]>>;
type Request = Parameters<Source["getEvents"]>[0];

interface Asked {
  cursor: string | undefined;
  startLedger: number;
  limit: number;
}

const cursorOf = (ledger: number) => `${(BigInt(ledger) << 32n) | 0xffff_ffffn}-4294967295`;

interface Placed {
  ledger: number;
  value: xdr.ScVal;
}

/** A node that looks through so many ledgers a call, as a real one does. */
function node(placed: Placed[], change: (page: Page, call: number) => void = () => {}) {
  let calls = 0;
  const getEvents = async (request: Request): Promise<Page> => {
    calls += 1;
    const { cursor, startLedger, limit } = request as unknown as Asked;
    // A cursor is the end of a ledger here, or the place of an event within it.
    const [place = "", after = ""] = cursor?.split("-") ?? [];
    const ledger = cursor === undefined ? startLedger : Number(BigInt(place) >> 32n);
    const isWithin = after !== "" && after !== "4294967295";
    const first = isWithin || cursor === undefined ? ledger : ledger + 1;
    const last = Math.min(ledger + SCANNED, LATEST);
    const all = placed.filter((event) => event.ledger >= first && event.ledger <= last);
    const found = (isWithin ? all.slice(Number(after)) : all).slice(0, limit);
    const isFull = found.length === limit;
    const end = isWithin ? Number(after) + found.length : found.length;
    const page = {
      events: found,
      cursor: isFull ? `${BigInt(found.at(-1)!.ledger) << 32n}-${end}` : cursorOf(last),
      latestLedger: LATEST,
      oldestLedger: 1,
      oldestLedgerCloseTime: "1000",
      latestLedgerCloseTime: "9000",
    } as unknown as Page;
    change(page, calls);
    return page;
  };
  return { server: { getEvents } as Source, calls: () => calls };
}

const read = (server: Source) => events(server, own.vault, [], 1);

test("a search goes on over empty pages until the node's newest ledger is covered", async () => {
  for (const ledgers of [[], [1], [LATEST], [9_999, 10_002, 30_500], [2, 15_000, LATEST]]) {
    const { server, calls } = node(ledgers.map((ledger) => ({ ledger, value })));
    assert.equal((await read(server)).values.length, ledgers.length, String(ledgers));
    assert.ok(calls() >= 4, "a call covers 10,000 ledgers at most");
  }
});

test("a full page is followed by the next, also within the newest ledger", async () => {
  const placed = Array.from({ length: 2500 }, () => ({ ledger: LATEST, value }));
  assert.equal((await read(node(placed).server)).values.length, 2500);
});

test("a node that does not lead to its newest ledger is no answer", async () => {
  for (const change of [
    (page: Page) => Object.assign(page, { cursor: cursorOf(10_001) }),
    (page: Page) => Object.assign(page, { cursor: "now" }),
    (page: Page) => Object.assign(page, { latestLedger: 2 ** 32 - 1 }),
  ]) {
    await assert.rejects(read(node([], change).server), /the node/);
  }
  // A node of former days looks through everything in one call, and gives no cursor.
  const old = node([], (page) => Object.assign(page, { cursor: undefined }));
  assert.deepEqual((await read(old.server)).values, []);
  assert.equal(old.calls(), 1);
});

test("a search ends though the chain goes on while it is read", async () => {
  const { server } = node([{ ledger: LATEST, value }], (page, call) => {
    page.latestLedger = LATEST - 10 + call;
  });
  assert.equal((await read(server)).values.length, 1);
});

test("of several words of a node about its range the one that says least counts", () => {
  const clock = { oldestLedger: 100, oldestLedgerCloseTime: 1000, latestLedgerCloseTime: 5000 };
  const said = (oldestLedger?: number, oldest?: bigint, latest?: bigint) => [
    { oldestLedger, oldestTime: oldest, latestTime: latest },
  ];
  const of = (searches: ReturnType<typeof said>) => {
    const { oldestLedger, oldestTime, ledgerTime } = rangeOf(clock, searches);
    return [oldestLedger, oldestTime, ledgerTime];
  };
  assert.deepEqual(of(said()), [100, 1000n, 5000n]);
  assert.deepEqual(of(said(1, 10n, 9000n)), [100, 1000n, 5000n]);
  assert.deepEqual(of(said(100, 2000n, 4000n)), [100, 2000n, 4000n]);
  // When a later ledger than the clock's oldest closed is not known exactly.
  assert.deepEqual(of(said(103, 1100n, 5000n)), [103, 5000n, 5000n]);
});

const answer = <T>(value: T | undefined) => ({
  result: {
    isOk: () => value !== undefined,
    isErr: () => value === undefined,
    unwrap: () => value,
  },
});

interface World {
  opened: Placed[];
  finalized: Placed[];
  account: { receipts: bigint; receipts_hash: Uint8Array };
  records: Map<string, unknown>;
  change?: (page: Page, call: number) => void;
}

/** The chain as the console asks it. */
function chain({ opened, finalized, account, records, change }: World) {
  const pages = { opened: node(opened, change), finalized: node(finalized, change) };
  const time = String(OPENED + 100n);
  const close = (page: Page) =>
    Object.assign(page, { oldestLedgerCloseTime: "1000", latestLedgerCloseTime: time });
  return {
    config: { networkPassphrase: own.network, contractId: own.vault },
    server: {
      getNetwork: async () => ({ passphrase: own.network }),
      getTransaction: async () => ({
        oldestLedger: 1,
        oldestLedgerCloseTime: "1000",
        latestLedgerCloseTime: time,
      }),
      getEvents: async (request: Request) => {
        const [filter] = request.filters;
        const which = filter!.topics![0]![0] as "opened" | "finalized";
        return close(await pages[which].server.getEvents(request));
      },
    },
    vault: {
      runOpenedEventFilter: () => ["opened"],
      runFinalizedEventFilter: () => ["finalized"],
      config: async () => answer({ registry: own.registry }),
      account: async () => answer(account),
      get_run: async ({ run_id }: { run_id: Uint8Array }) => answer(records.get(hex(run_id))),
    },
    registry: {
      get_rate_card: async () => {
        const { terms } = fixture;
        return answer({ rates: terms.rates, manifest_hash: unhex(terms.manifestHash) });
      },
      get_agent: async () => answer({ runners: [] }),
    },
  };
}

/** The fixture's run, whose first attempt was charged before and is left out by the gateway. */
async function retried() {
  const { terms, shown } = await Fixture.make();
  const first: Terms = { ...terms, deadline: terms.deadline - 60n };
  first.hash = await termsHash(termsXdr(first));
  const later: Terms = { ...terms };
  const ids = [
    await runId(own.network, own.vault, RUN, 1, first),
    await runId(own.network, own.vault, RUN, 2, later),
  ] as const;
  let before = ZEROS;
  const settle = async (id: string, of: Terms, number: bigint): Promise<[Settlement, string]> => {
    const settled = { ...shown.finalized!, runId: id, number, hash: ZEROS };
    const text = receiptText(termsXdr(of), finalizedXdr(settled));
    const hash = hex(await runningHash(unhex(before), number, text));
    before = hash;
    return [{ ...settled, hash }, Buffer.from(text).toString("base64")];
  };
  const [one, oneText] = await settle(ids[0], first, 1n);
  const [two, twoText] = await settle(ids[1], later, 2n);
  const record = (of: Terms) => ({
    ...shown.record!,
    deadline: of.deadline,
    terms_hash: unhex(of.hash),
  });
  const world: World = {
    opened: [
      { ledger: 12_000, value: openedXdr(ids[0], first) },
      { ledger: 30_000, value: openedXdr(ids[1], later) },
    ],
    finalized: [
      { ledger: 12_001, value: finalizedXdr(one) },
      { ledger: 30_001, value: finalizedXdr(two) },
    ],
    account: { receipts: 2n, receipts_hash: unhex(two.hash) },
    records: new Map([
      [ids[0], record(first)],
      [ids[1], record(later)],
    ]),
  };
  return { world, ids, texts: [oneText, twoText], settlements: [one, two] };
}

const gathered = (world: World, list?: List): Promise<ChainFacts> =>
  gather(chain(world) as never, RUN, { attempt: 2, runIds: [], user: USER }, async () => list);

test("an attempt that a gateway hides is found, however far apart the events are", async () => {
  const { world, ids } = await retried();
  const facts = await gathered(world);
  assert.deepEqual(
    facts.attempts.map(({ runId: id }) => id),
    [...ids],
  );
  assert.equal(facts.receipts.length, 2);

  // A node whose pages stop before its newest ledger does not lead to a proof.
  const change = (page: Page) => Object.assign(page, { cursor: cursorOf(10_001), events: [] });
  await assert.rejects(gathered({ ...world, change }));
});

test("an event that a node lists twice is one attempt", async () => {
  const { world } = await retried();
  const twice = (placed: Placed[]) => placed.flatMap((event) => [event, event]);
  const { opened, finalized } = world;
  const doubled = { ...world, opened: twice(opened), finalized: twice(finalized) };
  const facts = await gathered(doubled);
  assert.equal(facts.attempts.length, 2);
  const { run } = await Fixture.make();
  const claim = { run: { ...run, attempt: 2, runId: facts.attempts[1]!.runId }, files: new Map() };
  const proof = await judge(claim as never, facts, own, { inputDigest: undefined });
  assert.ok(!inState(proof, "broken").includes("attempts"), JSON.stringify(proof.links));
  assert.equal(proof.total, 10_000n);
});

test("a list that ends before the account's newest receipt explains nothing", async () => {
  const { world, texts, settlements } = await retried();
  const [one] = settlements;
  const text = Uint8Array.from(Buffer.from(texts[0]!, "base64"));
  const list: List = { before: ZEROS, receipts: [{ number: 1n, text, hash: one!.hash }] };

  // The node lacks the newest settlement, and the opening of the first.
  const past = {
    opened: [],
    finalized: [{ settlement: one!, value: world.finalized[0]!.value }],
  };
  const facts = {
    account: { count: 3n, hash: "5".repeat(64) },
    receipts: [],
    before: ZEROS,
    unexplained: [] as Settlement[],
    unseen: undefined,
  };
  assert.deepEqual(await addReceipts(facts, past, USER, list), []);
  assert.deepEqual(facts.receipts, []);
  assert.equal(facts.unexplained.length, 1, "its opening is the list's word alone");

  // The same list together with the events after it leads to what the account holds.
  const both = await gathered({ ...world, opened: world.opened.slice(1) }, list);
  assert.equal(both.receipts.length, 2);
  assert.deepEqual(both.unexplained, []);
});
