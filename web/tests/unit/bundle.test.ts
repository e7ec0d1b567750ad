// A bundle as an archive, and the run that it is about: what belongs to no bundle is refused.

import assert from "node:assert/strict";
import { test } from "node:test";

import { hintsOf, readClaim, readRun, tombstoneOf } from "../../src/verify/claim.ts";
import { utf8 } from "../../src/verify/bytes.ts";
import { unpack } from "../../src/verify/tar.ts";
import { Fixture, own, RUN } from "./run.ts";

/** An archive with these entries, each empty. */
function archive(...entries: [string, string?][]): Uint8Array {
  const blocks = entries.map(([path, kind = "0"]) => {
    const header = Buffer.alloc(512);
    header.write(path, 0);
    header.write("0000644\0", 100);
    header.write("00000000000\0", 124);
    header.write("        ", 148);
    header.write(kind, 156);
    const sum = header.reduce((all, byte) => all + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    return header;
  });
  return Uint8Array.from(Buffer.concat([...blocks, Buffer.alloc(1024)]));
}

test("the parts of a bundle are unpacked", () => {
  const paths = [
    "run.json",
    "tombstone.txt",
    "chain/facts.json",
    "chain/facts.dsse",
    "facts/run_facts_view.json",
    "module/_tree.json",
    "module/tree/a/b.js",
    "pack/_SEALED.json",
    "pack/_records/1.json",
    "pack/outputs/x",
  ];
  assert.deepEqual([...unpack(archive(...paths.map((path): [string] => [path]))).keys()], paths);
  const folders = archive(["./", "5"], ["./pack/", "5"], ["./pack/a"]);
  assert.deepEqual([...unpack(folders).keys()], ["pack/a"]);
});

test("what belongs to no bundle is refused", () => {
  for (const path of [
    "notes.txt",
    "other/x",
    "facts/x",
    "facts/run_facts_view.json.old",
    "facts/run_facts_view.json/x",
    "chain/x",
    "chain/facts.json/x",
    "module/x",
    "module/_tree.json/x",
    "module/tree",
    "run.json/x",
    "run.json.old",
    "pack",
    "pack/",
    "pack//x",
    "pack/../run.json",
    "pack/./x",
    "/pack/x",
    "../run.json",
  ]) {
    assert.throws(() => unpack(archive([path])), /belongs to no bundle/, path);
  }
  assert.throws(() => unpack(archive(["pack/a"], ["./pack/a"])), /twice/);
  for (const kind of ["1", "2", "3", "x"]) {
    assert.throws(() => unpack(archive(["pack/a", kind])), /no file/, kind);
  }
});

const fixture = await Fixture.make();

test("a run with what is beside it is read, and a member that is null is as good as absent", () => {
  const { run } = fixture;
  const claim = readClaim(fixture.document(), fixture.files);
  assert.deepEqual([claim.run.id, claim.vaultId, claim.input], [RUN, own.vault, { value: {} }]);
  assert.ok(claim.terms);
  const receipt = { ...(run.receipt as object), runnerFee: null };
  const nulls = { runId: null, error: null, errorCode: null, receipt, terms: null, later: null };
  const sparse = readClaim(fixture.document(nulls), fixture.files);
  assert.equal(sparse.terms, undefined);
  assert.equal(sparse.vaultId, own.vault);
  for (const name of ["runId", "error", "errorCode"]) assert.ok(!(name in sparse.run), name);
  assert.ok(!("runnerFee" in sparse.run.receipt!));
  assert.equal(sparse.run.receipt!.actualCharge, "5000");
});

test("a run.json that is no run is refused", () => {
  const { run } = fixture;
  const receipt = run.receipt as object;
  for (const change of [
    { id: undefined },
    { id: "another" },
    { user: 7 },
    { attempt: "1" },
    { attempt: -1 },
    { attempt: 2 ** 32 },
    { seed: 1.5 },
    { status: "done" },
    { escrow: "gone" },
    { budgets: { llmIn: 0 } },
    { inputDigest: "no digest" },
    { runId: 5 },
    { runId: "ABCD" },
    { receipt: [] },
    { receipt: { ...receipt, actualCharge: 5000 } },
    { receipt: { ...receipt, refund: "much" } },
    { receipt: { ...receipt, runnerFee: 0 } },
    { createdAt: "yesterday" },
    { createdAt: "2026-02-30T00:00:00Z" },
    { attempts: null },
    { attempts: [null] },
    { upstreams: null },
    { transactionHashes: null },
  ]) {
    const bytes = fixture.document(change);
    assert.throws(() => readClaim(bytes, fixture.files), /not a run/, JSON.stringify(change));
  }
  for (const text of ["[]", "null", '"run"', "7", "{}"]) {
    assert.throws(() => readClaim(utf8(text), new Map()), /not a run/, text);
  }
  for (const text of ["", "{", "{}{}", '{"id":1,"id":1}']) {
    assert.throws(() => readClaim(utf8(text), new Map()), text);
  }
  assert.throws(() => readRun({ ...run, attempt: 0.5 }), /not a run/);
});

test("a document whose other parts have another form is read as a run alone", () => {
  for (const change of [
    { vaultId: undefined },
    { nonce: "x" },
    { input: undefined },
    { terms: [] },
    { terms: { user: "G" } },
  ]) {
    const claim = readClaim(fixture.document(change), fixture.files);
    const said = [claim.vaultId, claim.terms, claim.input];
    assert.deepEqual(said, [undefined, undefined, undefined], JSON.stringify(change));
    assert.equal(claim.run.id, RUN);
  }
});

test("a gateway's hints are bounded", () => {
  const run = readRun(fixture.run);
  const attempts = Array.from({ length: 200 }, (_, at) => ({ attempt: at + 1, runId: `${at}` }));
  const hints = hintsOf({ ...run, attempt: 4_000_000_000, attempts } as never);
  assert.deepEqual([hints.attempt, hints.runIds.length], [10_000, 100]);
  assert.deepEqual(hints.runIds[0], [4_000_000_000, run.runId]);
  const none = hintsOf({ ...run, runId: null, attempts: [{ attempt: 1, runId: null }] } as never);
  assert.deepEqual([none.attempt, none.runIds], [1, []]);
});

test("a tombstone is told from every other refusal", () => {
  const says = "LEGAL_ORDER, by the court, 2027-01-02";
  assert.equal(tombstoneOf("CHECK_FAILED", `PACK_TOMBSTONED: ${says}`), says);
  for (const [code, detail] of [
    ["CHECK_FAILED", "oracle-gate refused: PACK_TOMBSTONED: x"],
    ["CHECK_FAILED", "PACK_TOMBSTONED: "],
    ["SEAL_MISMATCH", "PACK_TOMBSTONED: x"],
    ["", ""],
  ] as const) {
    assert.equal(tombstoneOf(code, detail), undefined, `${code}: ${detail}`);
  }
});
