// The list of an account's receipts that a gateway made of the events that it followed: it reaches
// back to when the runner began to follow them, whatever a node has forgotten since.
//
// Nothing in it is believed: it counts only where its texts lead to the running hash that the vault
// holds now.

import { scValToNative, xdr } from "@stellar/stellar-sdk";

import type { Gateway } from "@/api/gateway";

import { base64, type Bytes, hex, unhex } from "./bytes.ts";
import { runningHash, ZEROS } from "./vault.ts";

const KIND = "lumio-receipts-v1";

/** Pages of a thousand receipts that are joined at most: more would fill the browser's memory. */
const MOST_PAGES = 50;

const DIGEST = /^[0-9a-f]{64}$/;

export interface ListedReceipt {
  number: bigint;
  text: Bytes;
  hash: string;
}

/** Receipts without a gap, each of which has the hash that is named beside it. */
export interface List {
  /** Running hash before the first of them. */
  before: string;
  receipts: ListedReceipt[];
}

/** Whose list is asked for. */
interface Asked {
  network: string;
  vault: string;
  user: string;
  /** Receipts of settlements before this time, Unix seconds, are not needed. */
  since?: bigint | undefined;
}

/**
 * The user's receipts at the gateway; `undefined` if it has none that could be checked. Why there
 * is none says nothing about the run: the chain is asked either way, and what could not be looked
 * for is named with the proof.
 */
export async function stored(gateway: Gateway, asked: Asked): Promise<List | undefined> {
  let list = await page(gateway, asked);
  for (let pages = 1; list && pages < MOST_PAGES; pages += 1) {
    const [first] = list.receipts;
    if (first!.number <= 1n || isEarly(first!, asked.since)) break;
    const older = await page(gateway, asked, first!.number);
    const end = older?.receipts.at(-1);

    // What does not lead to this list is not what was before it; what was read so far counts.
    if (!older || end?.number !== first!.number - 1n || end.hash !== list.before) break;
    list = { before: older.before, receipts: [...older.receipts, ...list.receipts] };
  }
  return list;
}

/** Whether it was settled before this time; receipts are in the order of settlement. */
function isEarly({ text }: ListedReceipt, since: bigint | undefined): boolean {
  const at = since !== undefined && partsOf(text)?.settled.at(-1);
  return at ? scValToNative(at) < since! : false;
}

async function page(gateway: Gateway, asked: Asked, before?: bigint): Promise<List | undefined> {
  try {
    return await read(await gateway.receipts(asked.user, before), asked);
  } catch {
    return undefined;
  }
}

/** Reads a document and recomputes its hashes. Throws where it is not such a list. */
export async function read(text: unknown, asked: Asked): Promise<List | undefined> {
  const { kind, network, vault, user, before, receipts } = text as Record<string, unknown>;
  const isOwn = network === asked.network && vault === asked.vault && user === asked.user;
  if (kind !== KIND || !isOwn || !Array.isArray(receipts) || !isDigest(before)) {
    throw new Error("the list is of another kind, account, vault or network");
  }
  const list: List = { before, receipts: [] };
  let last = { number: undefined as bigint | undefined, hash: before };
  for (const { number, text: encoded, hash } of receipts as Record<string, unknown>[]) {
    if (!Number.isSafeInteger(number) || typeof encoded !== "string" || !isDigest(hash)) {
      throw new Error("a receipt of the list cannot be read");
    }
    const receipt = { number: BigInt(number as number), text: base64(encoded), hash };
    if (receipt.number < 1n || (receipt.number === 1n && last.hash !== ZEROS)) {
      throw new Error("the list begins before the account's first receipt");
    }
    if (last.number !== undefined && receipt.number !== last.number + 1n) {
      throw new Error(`receipt ${receipt.number} follows receipt ${last.number}`);
    }
    const found = await runningHash(unhex(last.hash), receipt.number, receipt.text);
    if (hex(found) !== hash) throw new Error(`receipt ${receipt.number} was changed`);
    list.receipts.push(receipt);
    last = receipt;
  }
  return list.receipts.length > 0 ? list : undefined;
}

const isDigest = (value: unknown): value is string =>
  typeof value === "string" && DIGEST.test(value);

/** A receipt's parts: what opened the run, and what settled it, as the vault's events have them. */
export interface Parts {
  runId: xdr.ScVal;
  terms: xdr.ScVal;
  /** In the order of the settling event, without the receipt's number and hash. */
  settled: xdr.ScVal[];
  user: xdr.ScVal;
}

/** Takes a receipt's text apart; `undefined` for one that this release does not know. */
export function partsOf(text: Bytes): Parts | undefined {
  const value = xdr.ScVal.fromXDR(text);
  if (value.type !== "scvVec" || !value.vec) return undefined;
  const [run, terms, runner, usage, output, charge, fee, refund, at] = value.vec;
  if (!run || terms?.type !== "scvVec" || !terms.vec || !at) return undefined;
  const [user] = terms.vec;
  if (!user) return undefined;
  const settled = [run, user, runner!, charge!, fee!, refund!, usage!, output!, at];
  return { runId: run, terms, settled, user };
}
