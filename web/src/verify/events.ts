// Events of the vault, read page by page until the node's newest ledger is covered.

import type { xdr } from "@stellar/stellar-sdk";

import type { Chain } from "@/chain/client";

/** Events of one page at most. */
const LIMIT = 1000;
/** An empty page is not the end; this many pages without reaching it are a fault. */
const MOST_PAGES = 1000;

/** The events of one kind, with what the node said about time beside them, if it did. */
export interface Search {
  values: xdr.ScVal[];
  /** The oldest ledger that the node keeps. */
  oldestLedger: number | undefined;
  /** When that one closed, Unix seconds. */
  oldestTime: bigint | undefined;
  /** When the newest ledger closed, Unix seconds. */
  latestTime: bigint | undefined;
}

/** What is asked of a node here. */
export type Source = Pick<Chain["server"], "getEvents">;

/**
 * All events of a contract with these topics, from a ledger on. A node looks through a bounded
 * range of ledgers a call, so that a page with few events, or none, says nothing about later ones:
 * the cursor says how far the node has looked. Throws where that is not to its newest ledger.
 */
export async function events(
  server: Source,
  contract: string,
  topics: string[],
  startLedger: number,
): Promise<Search> {
  const filters = [{ type: "contract" as const, contractIds: [contract], topics: [topics] }];
  const found: Search = {
    values: [],
    oldestLedger: undefined,
    oldestTime: undefined,
    latestTime: undefined,
  };
  let cursor: string | undefined;
  for (let pages = 0; pages < MOST_PAGES; pages += 1) {
    const page = await server.getEvents(
      cursor === undefined
        ? { startLedger, filters, limit: LIMIT }
        : { cursor, filters, limit: LIMIT },
    );
    found.values.push(...page.events.map((event) => event.value));

    // The node forgets while it is read: of its oldest ledger the latest word counts, and of its
    // newest the first, so that no page makes the range seem wider than another does.
    found.oldestLedger = greatest(found.oldestLedger, page.oldestLedger);
    found.oldestTime = greatest(found.oldestTime, seconds(page.oldestLedgerCloseTime));
    found.latestTime = least(found.latestTime, seconds(page.latestLedgerCloseTime));

    // The end of a full page may lie within its ledger, so that more of that ledger can follow.
    const isFull = page.events.length >= LIMIT;
    // Old nodes give no cursor, and look through all that they keep in one call.
    if (!page.cursor && !isFull) return found;
    if (!isFull && ledgerOf(page.cursor) >= page.latestLedger) return found;
    if (!page.cursor || page.cursor === cursor) {
      throw new Error("the node stops before its newest ledger, so that events may be missing");
    }
    cursor = page.cursor;
  }
  throw new Error(`the node's events have no end after ${MOST_PAGES} pages`);
}

/** The ledger in a cursor (SEP-35: the upper half of its first number). */
function ledgerOf(cursor: string): number {
  const [position = ""] = cursor.split("-");
  // How far the node has looked is not known by another form, and must not be guessed.
  if (!/^\d{1,20}$/.test(position)) throw new Error(`the node's cursor '${cursor}' has no ledger`);
  return Number(BigInt(position) >> 32n);
}

/** A time of a node, which old nodes leave out. */
function seconds(time: string | number | undefined): bigint | undefined {
  return time === undefined || time === null ? undefined : BigInt(time);
}

export const greatest = <T extends bigint | number>(one?: T, other?: T): T | undefined =>
  one === undefined || (other !== undefined && other > one) ? other : one;

export const least = <T extends bigint | number>(one?: T, other?: T): T | undefined =>
  one === undefined || (other !== undefined && other < one) ? other : one;
