// What the vault hashes: ids of runs, terms, receipts. From XDR, as its contract does it.

import { Address, xdr } from "@stellar/stellar-sdk";

import { type Bytes, digest, sha256, u32, u64, unhex, utf8 } from "./bytes.ts";

const xdrOf = (value: xdr.ScVal): Bytes => Uint8Array.from(value.toXDR() as Uint8Array);

const addressXdr = (address: string): Bytes => xdrOf(new Address(address).toScVal());

/** The running hash of an account without receipts. */
export const ZEROS = "0".repeat(64);

/** The nonce of one attempt of a run. */
export const nonce = (uuid: string, attempt: number): Promise<Bytes> =>
  sha256(unhex(uuid.replaceAll("-", "")), u32(attempt));

export interface Origin {
  user: string;
  opened_by: string;
  deadline: bigint;
}

/** The id that the vault gives to an attempt (V4). */
export async function runId(
  network: string,
  vault: string,
  uuid: string,
  attempt: number,
  origin: Origin,
): Promise<string> {
  return digest(
    utf8("lumio-run-v1"),
    await sha256(utf8(network)),
    addressXdr(vault),
    addressXdr(origin.user),
    addressXdr(origin.opened_by),
    await nonce(uuid, attempt),
    u64(origin.deadline),
  );
}

/** The digest that a record holds of its terms. */
export const termsHash = (terms: xdr.ScVal): Promise<string> => digest(xdrOf(terms));

const items = (value: xdr.ScVal): xdr.ScVal[] => {
  if (value.type !== "scvVec" || !value.vec) throw new Error("an event of the vault is no vector");
  return [...value.vec];
};

/** A run's terms: what the event of its opening says after the run's id. */
export const termsOf = (opened: xdr.ScVal): xdr.ScVal =>
  xdr.ScVal.scvVec(items(opened).slice(1) as xdr.ScVal[]);

/** The full text of a receipt, from a run's terms and the event that settled it. */
export function receiptText(terms: xdr.ScVal, finalized: xdr.ScVal): Bytes {
  const [run, , runner, charge, fee, refund, usage, output, at] = items(finalized);
  const parts = [run, terms, runner, usage, output, charge, fee, refund, at];
  return xdrOf(xdr.ScVal.scvVec(parts as xdr.ScVal[]));
}

/** The account's running hash after receipt `number` (V3). */
export async function runningHash(before: Bytes, number: bigint, text: Bytes): Promise<Bytes> {
  return sha256(utf8("lumio-receipt-v1"), before, u64(number), await sha256(text));
}

/** By what a record knows its settlement: settler, usage, and whether a signature was given. */
export function settlementHash(
  settler: string,
  usage: bigint[],
  isAttested: boolean,
): Promise<string> {
  const meters = usage.map((units) => xdr.ScVal.scvU64(units as unknown as xdr.Uint64));
  const value = xdr.ScVal.scvVec([
    new Address(settler).toScVal(),
    xdr.ScVal.scvVec(meters),
    xdr.ScVal.scvBool(isAttested),
  ]);
  return digest(xdrOf(value));
}
