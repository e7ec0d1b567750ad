// The vectors of the contracts and of the Rust crates: two implementations, one meaning.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Address, nativeToScVal, xdr } from "@stellar/stellar-sdk";

import { digest, hex, isSigned, parse, unhex, utf8 } from "../../src/verify/bytes.ts";
import { compareBodies, type Egress, lines, recompute, root } from "../../src/verify/egress.ts";
import { addReceipts, leads } from "../../src/verify/facts.ts";
import { partsOf, read } from "../../src/verify/receipts.ts";
import { settlementMessage } from "../../src/verify/statement.ts";
import {
  nonce,
  receiptText,
  runId,
  runningHash,
  settlementHash,
  termsHash,
  termsOf,
} from "../../src/verify/vault.ts";

const vectors = (name: string) =>
  JSON.parse(
    readFileSync(new URL(`../../../contracts/vectors/${name}.json`, import.meta.url), "utf8"),
  );

const METERS = ["llm_in", "llm_out", "http_calls", "runtime_ms"] as const;

type Meters = Record<(typeof METERS)[number], string>;

const u64 = (text: string) => nativeToScVal(BigInt(text), { type: "u64" });
const i128 = (text: string) => nativeToScVal(BigInt(text), { type: "i128" });
const bytes = (text: string) => xdr.ScVal.scvBytes(unhex(text));
const address = (text: string) => new Address(text).toScVal();
const meters = (of: Meters) => xdr.ScVal.scvVec(METERS.map((meter) => u64(of[meter])));

test("an attempt's nonce and its id in the vault are the contract's", async () => {
  const all = vectors("run_id");
  assert.ok(all.length >= 3);
  for (const vector of all) {
    const { uuid, attempt, user, caller, deadline, vault } = vector;
    assert.equal(hex(await nonce(uuid, attempt)), vector.nonce);
    const origin = { user, opened_by: caller, deadline: BigInt(deadline) };
    assert.equal(
      await runId(vector.network_passphrase, vault, uuid, attempt, origin),
      vector.run_id,
    );
  }
});

test("terms, receipts and the running hash are the contract's", async () => {
  const all = vectors("receipts");
  let before = unhex("0".repeat(64));
  const listed: { number: number; text: string; hash: string }[] = [];
  for (const { receipt, receipt_number, terms_hash, receipt_xdr_sha256, receipts_hash } of all) {
    const { terms } = receipt;
    const head = xdr.ScVal.scvVec([
      xdr.ScVal.scvU32(terms.agent_id),
      xdr.ScVal.scvU32(terms.rate_version),
      meters(terms.rates),
      address(terms.developer),
      bytes(terms.manifest_hash),
      xdr.ScVal.scvVec(terms.attesters.map(bytes)),
    ]);
    const opened = xdr.ScVal.scvVec([
      bytes(receipt.run_id),
      address(terms.user),
      address(terms.opened_by),
      head,
      meters(terms.budgets),
      i128(terms.max_charge),
      i128(terms.runner_fee),
      u64(terms.deadline),
      u64(terms.opened_at),
      bytes(terms.request_hash),
    ]);
    assert.equal(await termsHash(termsOf(opened)), terms_hash);
    const finalized = xdr.ScVal.scvVec([
      bytes(receipt.run_id),
      address(terms.user),
      address(receipt.settled_by),
      i128(receipt.actual_charge),
      i128(receipt.runner_fee),
      i128(receipt.refund),
      meters(receipt.usage),
      bytes(receipt.output_hash),
      u64(receipt.finalized_at),
    ]);
    const text = receiptText(termsOf(opened), finalized);
    assert.equal(await digest(text), receipt_xdr_sha256);
    before = await runningHash(before, BigInt(receipt_number), text);
    assert.equal(hex(before), receipts_hash);
    listed.push({
      number: Number(receipt_number),
      text: Buffer.from(text).toString("base64"),
      hash: receipts_hash,
    });
    const parts = partsOf(text)!;
    assert.equal(await termsHash(parts.terms), terms_hash);
    assert.deepEqual(
      xdr.ScVal.scvVec(parts.settled).toXDR("base64"),
      finalized.toXDR("base64"),
      "a receipt's text is taken apart into what its events say",
    );
  }
  await listsAreChecked(listed);
});

/** A receipt before the first, with the hash that it would have. */
async function zeroth(text: string) {
  const hash = await runningHash(
    new Uint8Array(32),
    0n,
    Uint8Array.from(Buffer.from(text, "base64")),
  );
  return { number: 0, text, hash: hex(hash) };
}

/** A gateway's list counts only as it is: whole, of this account, each text with its hash. */
async function listsAreChecked(receipts: { number: number; text: string; hash: string }[]) {
  assert.ok(receipts.length >= 2);
  const own = { network: "n", vault: "C", user: "G" };
  const whole = { kind: "lumio-receipts-v1", ...own, before: "0".repeat(64), receipts };
  const list = await read(whole, own);
  assert.equal(list?.receipts.length, receipts.length);
  assert.equal(await leads(list as never, receipts.at(-1)!.hash), true);
  assert.equal(await leads(list as never, "1".repeat(64)), false);
  const later = { ...whole, before: receipts[0]!.hash, receipts: receipts.slice(1) };
  assert.equal((await read(later, own))?.before, receipts[0]!.hash);
  assert.equal(await read({ ...whole, receipts: [] }, own), undefined);
  for (const lie of [
    { ...whole, kind: "lumio-receipts-v9" },
    { ...whole, user: "H" },
    { ...whole, network: "m" },
    { ...whole, before: receipts[0]!.hash },
    { ...whole, receipts: receipts.slice(1) },
    { ...whole, receipts: [receipts[0], { ...receipts[1], number: 7 }] },
    { ...whole, receipts: [{ ...receipts[0], text: receipts[1]!.text }] },
    { ...whole, receipts: [{ ...receipts[0], hash: "no digest" }] },
    { ...whole, receipts: "none" },
    { ...whole, receipts: [await zeroth(receipts[0]!.text)] },
  ]) {
    await assert.rejects(read(lie, own));
  }

  // A list that is whole in itself, and ends before what the account holds, proves nothing.
  const nothing = { opened: [], finalized: [] };
  const join = (count: number, hash: string) => {
    const facts = {
      account: { count: BigInt(count), hash },
      receipts: [],
      before: "",
      unexplained: [],
      unseen: undefined,
    };
    return addReceipts(facts, nothing, "G", list);
  };
  const last = receipts.at(-1)!;
  assert.equal((await join(last.number, last.hash)).length, receipts.length);
  assert.deepEqual(await join(last.number + 7, "1".repeat(64)), []);
  assert.deepEqual(await join(0, "0".repeat(64)), []);
}

test("what an attester signs about a settlement is the contract's", async () => {
  for (const vector of vectors("settlement")) {
    const usage = Object.fromEntries(METERS.map((meter) => [meter, BigInt(vector.usage[meter])]));
    const { run_id, manifest_hash, request_hash } = vector;
    const message = await settlementMessage(run_id, manifest_hash, request_hash, usage as never);
    assert.equal(hex(message), vector.message);
    assert.ok(await isSigned(unhex(vector.attester), unhex(vector.signature), message));
    message[0]! ^= 1;
    assert.ok(!(await isSigned(unhex(vector.attester), unhex(vector.signature), message)));
  }
});

test("a settlement is known by settler, usage and signature", async () => {
  const settler = vectors("receipts")[0].receipt.settled_by;
  const all = await Promise.all([
    settlementHash(settler, [0n, 0n, 0n, 1n], true),
    settlementHash(settler, [0n, 0n, 0n, 1n], false),
    settlementHash(settler, [0n, 0n, 1n, 0n], true),
  ]);
  assert.equal(new Set(all).size, 3);
});

interface Listed {
  name: string;
  list: string;
  bodies: string | null;
  egress: Egress;
  kept: number | null;
  error: string | null;
}

test("a list of calls adds up, or not, as crates/wire says", async () => {
  const file = new URL("../../../crates/wire/tests/vectors/egress.json", import.meta.url);
  const all = parse(readFileSync(file)) as Listed[];
  assert.ok(all.length >= 30);
  for (const { name, list, bodies, egress, kept, error } of all) {
    const judged = async () => {
      const calls = await recompute(utf8(list), egress);
      return bodies === null ? null : compareBodies(utf8(bodies), calls);
    };
    const said = await judged().then(
      (found) => ({ kept: found, error: null }),
      (thrown: Error) => ({ kept: null, error: thrown.message }),
    );
    assert.deepEqual(said, { kept, error }, name);
  }
});

test("the root over a list is the one of certificate transparency", async () => {
  const leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"].map(unhex);
  leaves.push(unhex("606162636465666768696a6b6c6d6e6f"));
  const roots = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
  };
  for (const [count, expected] of Object.entries(roots)) {
    assert.equal(await root(leaves.slice(0, Number(count))), expected);
  }
  assert.deepEqual(lines(utf8("a\n\nb")).map(hex), ["61", "62"]);
});
