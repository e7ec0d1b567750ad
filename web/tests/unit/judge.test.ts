// Each test changes one thing that somebody could change, and asks what the links say.

import assert from "node:assert/strict";
import { test } from "node:test";

import { STROOPS } from "../../src/amount.ts";
import { canonical, digest, utf8 } from "../../src/verify/bytes.ts";
import type { Proof } from "../../src/verify/judge.ts";
import { treeDigest } from "../../src/verify/seal.ts";
import { settlementHash, ZEROS } from "../../src/verify/vault.ts";
import { detailOf, Fixture, inState, OPENED, RUNNER, type ViewDocument } from "./run.ts";

interface TreeDocument {
  files: Record<string, unknown>[];
}

const told = (proof: Proof) =>
  JSON.stringify(
    proof.links.filter(({ state }) => state !== "ok"),
    null,
    1,
  );

/** Judges the run after a change. */
async function after(change: (fixture: Fixture) => void | Promise<void>): Promise<Proof> {
  const fixture = await Fixture.make();
  await change(fixture);
  return fixture.judge();
}

async function breaks(link: string, change: (fixture: Fixture) => void | Promise<void>) {
  const proof = await after(change);
  assert.deepEqual(inState(proof, "broken"), [link], told(proof));
  assert.deepEqual([proof.verdict, proof.proven], ["broken", []]);
  return detailOf(proof, link);
}

test("an untouched run is proven link by link", async () => {
  const proof = await after(() => {});
  assert.deepEqual(inState(proof, "skipped"), ["request"], told(proof));
  assert.equal(proof.verdict, "proven", told(proof));
  assert.equal(proof.total, 5000n);
});

/** The node has forgotten the record, and nobody settled the attempt. */
function end({ shown, facts, run }: Fixture, knowsReceipts = false) {
  Object.assign(shown, { record: undefined, finalized: undefined });
  facts.ledgerTime = OPENED + 3n * 86_400n;
  facts.receipts = [];
  facts.account = knowsReceipts ? { count: 0n, hash: ZEROS } : { count: 1n, hash: "1".repeat(64) };
  facts.before = knowsReceipts ? ZEROS : "1".repeat(64);
  Object.assign(run, { status: "failed", escrow: "returned", receipt: undefined });
  run.errorCode = "ESCROW_VOIDED";
}

test("a voided attempt whose record has ended is called unknown, and nothing of it is broken", async () => {
  for (const knowsReceipts of [false, true]) {
    for (const hasFiles of [false, true]) {
      const proof = await after((fixture) => {
        end(fixture, knowsReceipts);
        if (!hasFiles) fixture.dropFiles();
      });
      assert.deepEqual(inState(proof, "broken"), [], told(proof));
      assert.deepEqual([proof.verdict, proof.proven], ["unknown", []]);
      const outcome = knowsReceipts ? "notCharged" : "unknown";
      assert.equal(proof.attempts[0]!.outcome, outcome);
      if (!hasFiles)
        assert.match(detailOf(proof, "files"), /record of attempt 1 has left the chain/);
    }
  }
});

test("a gateway's receipt of an attempt that the chain has forgotten is not called a lie", async () => {
  for (const knowsReceipts of [false, true]) {
    const proof = await after((fixture) => {
      const { receipt } = fixture.run;
      end(fixture, knowsReceipts);
      fixture.run.receipt = receipt;
    });
    // That no receipt of the account is the attempt's is known only where all of them are.
    const found = proof.links.find(({ link }) => link === "receipt")!.state;
    assert.equal(found, knowsReceipts ? "broken" : "unknown", told(proof));
  }
});

test("a voided attempt whose record lives is proven to have cost nothing, sealed or not", async () => {
  for (const hasFiles of [false, true]) {
    const proof = await after((fixture) => {
      const { shown, run } = fixture;
      shown.finalized = undefined;
      shown.record!.lifecycle = { tag: "Voided", values: [1] };
      Object.assign(run, { status: "cancelled", escrow: "returned", receipt: null });
      if (!hasFiles) fixture.dropFiles();
      Object.assign(fixture.facts, { receipts: [], before: ZEROS });
      fixture.facts.account = { count: 0n, hash: ZEROS };
    });
    assert.equal(proof.verdict, "proven", told(proof));
    assert.deepEqual([proof.total, proof.attempts[0]!.outcome], [0n, "voided"]);
  }
});

test("a run that ended before it was opened is not said to go on", async () => {
  const proof = await after((fixture) => {
    fixture.dropFiles();
    fixture.facts.attempts = [];
    const { run } = fixture;
    Object.assign(run, { status: "failed", errorCode: "PREFLIGHT_OPENS_PAUSED", escrow: "none" });
    for (const name of ["runId", "deadline", "receipt"]) run[name] = null;
  });
  assert.deepEqual(inState(proof, "broken"), [], told(proof));
  assert.equal(proof.verdict, "unknown");
  assert.match(detailOf(proof, "files"), /^the chain shows no attempt 1 of this run/);
  assert.match(detailOf(proof, "files"), /the run has failed with PREFLIGHT_OPENS_PAUSED/);
});

test("without a list of receipts it is not known what was charged, and nothing is broken", async () => {
  const proof = await after(({ shown, facts }) => {
    shown.finalized = undefined;
    Object.assign(facts, { receipts: [], before: ZEROS });
  });
  assert.deepEqual(inState(proof, "broken"), [], told(proof));
  assert.equal(proof.verdict, "unknown", told(proof));
  assert.deepEqual(inState(proof, "unknown"), ["attempts"]);
  assert.equal(detailOf(proof, "account"), "the receipt's event is not at hand");
});

test("a list that ends before what the chain counts is no proof, and no contradiction", async () => {
  // The account has two receipts, of which the list has the first alone.
  const proof = await after(({ facts }) => {
    facts.account = { count: 2n, hash: "2".repeat(64) };
  });
  assert.deepEqual(inState(proof, "broken"), [], told(proof));
  assert.deepEqual(inState(proof, "unknown"), ["attempts"]);
  assert.equal(detailOf(proof, "account"), "receipts 2 to 2 are not at hand");
  assert.equal(proof.atLeast !== undefined, true);
});

test("a list that contradicts what the chain holds is broken", async () => {
  for (const change of [
    ({ facts }: Fixture) => {
      facts.account!.hash = "3".repeat(64);
    },
    ({ facts }: Fixture) => {
      facts.account!.count = 0n;
    },
    ({ facts }: Fixture) => {
      facts.receipts[0] = { ...facts.receipts[0]!, text: utf8("other") };
    },
    ({ facts }: Fixture) => {
      facts.before = "4".repeat(64);
    },
  ]) {
    const proof = await after(change);
    assert.equal(proof.links.find(({ link }) => link === "account")!.state, "broken", told(proof));
    assert.equal(proof.verdict, "broken");
  }
});

test("a fee that only the record tells of is compared with the gateway's", async () => {
  const change = (said: unknown, signed: boolean) => async (fixture: Fixture) => {
    const { shown, facts, run, terms } = fixture;
    shown.finalized = undefined;
    Object.assign(facts, { receipts: [], before: ZEROS });
    shown.record!.runner_fee = 7n;
    terms.runnerFee = 7n;
    const meters = signed ? [0n, 0n, 0n, 500n] : [0n, 0n, 0n, 499n];
    const settlement = await settlementHash(RUNNER, meters, true);
    const { lifecycle } = shown.record!;
    if (lifecycle.tag !== "Finalized") throw new Error("the fixture is settled");
    const [charge, output] = lifecycle.values;
    const bytes = Uint8Array.from(Buffer.from(settlement, "hex"));
    shown.record!.lifecycle = { tag: "Finalized", values: [charge, output, bytes as never] };
    Object.assign(run.receipt as object, { runnerFee: said });
  };
  const known = await after(change("7", true));
  assert.equal(known.links.find(({ link }) => link === "receipt")!.state, "ok", told(known));
  const lie = await after(change(undefined, true));
  assert.match(detailOf(lie, "receipt"), /^fee: 0 instead of 7/);
  const lost = await after(change("7", false));
  assert.equal(lost.attempts[0]!.outcome, "feeUnknown");
  assert.match(detailOf(lost, "charge"), /not known any more/);
});

test("a member that is null is as good as absent", async () => {
  const proof = await after((fixture) => {
    const { run } = fixture;
    for (const name of ["runId", "error", "errorCode", "label", "usage"]) run[name] = null;
    Object.assign(run.receipt as object, { runnerFee: null, settledBy: null, finalizedAt: null });
  });
  assert.equal(proof.verdict, "proven", told(proof));
});

test("a receipt without a fee says that none was taken", async () => {
  for (const runnerFee of [null, undefined, "0"]) {
    const proof = await after(({ run }) => {
      Object.assign(run.receipt as object, { runnerFee });
    });
    assert.equal(proof.verdict, "proven", told(proof));
  }
  assert.match(
    await breaks("receipt", ({ run }) => {
      Object.assign(run.receipt as object, { runnerFee: "1" });
    }),
    /fee: 1 instead of 0/,
  );
});

test("a document of the module's tree with anything else in it is found", async () => {
  const edit = (change: (tree: TreeDocument) => unknown) => (fixture: Fixture) => {
    const tree = JSON.parse(Buffer.from(fixture.files.get("module/_tree.json")!).toString());
    change(tree);
    fixture.files.set("module/_tree.json", utf8(JSON.stringify(tree)));
  };
  for (const change of [
    (tree: TreeDocument) => Object.assign(tree, { extra: 1 }),
    (tree: TreeDocument) => Object.assign(tree, { extra: null }),
    (tree: TreeDocument) => Object.assign(tree.files[0]!, { mode: 7 }),
    (tree: TreeDocument) => Object.assign(tree.files[0]!, { owner: null }),
    (tree: TreeDocument) => Object.assign(tree.files[0]!, { executable: null }),
    (tree: TreeDocument) => Object.assign(tree.files[0]!, { length: "5" }),
    (tree: TreeDocument) => Object.assign(tree, { algo: "sha256-tree-v2" }),
    (tree: TreeDocument) => Object.assign(tree, { files: [] }),
    (tree: TreeDocument) => tree.files.push({ ...tree.files[0]!, path: "INDEX.js" }),
  ]) {
    await breaks("module", edit(change));
  }
  // As many bytes as no module has, with the digest that follows.
  const large = async (fixture: Fixture) => {
    const files = [
      { path: "a", executable: false, length: 65 * 1024 * 1024, sha256: "0".repeat(64) },
    ];
    const tree = { algo: "sha256-tree-v1", digest: await treeDigest(files), files };
    fixture.files.set("module/_tree.json", utf8(JSON.stringify(tree)));
  };
  assert.match(await breaks("module", large), /too large/);
});

test("a facts view with anything else in it is found", async () => {
  for (const change of [
    (view: ViewDocument) => Object.assign(view, { extra: 1 }),
    (view: ViewDocument) => Object.assign(view, { evidence_notes: null }),
    (view: ViewDocument) => Object.assign(view, { output_roles: { a: null } }),
    (view: ViewDocument) => Object.assign(view.pins, { extra: 1 }),
    (view: ViewDocument) => Object.assign(view.locators[0]!, { schema_ref: null }),
    (view: ViewDocument) => Object.assign(view.gate_receipts[0]!, { notes: null }),
    (view: ViewDocument) => Object.assign(view.gate_receipts[0]!.scope, { seed: null }),
    (view: ViewDocument) => Object.assign(view.gate_receipts[0]!, { status: "MAYBE" }),
    (view: ViewDocument) => Object.assign(view, { plan_ref: "" }),
    (view: ViewDocument) => delete view.record_ref,
  ]) {
    await breaks("gates", async (fixture) => {
      change(fixture.view);
      await fixture.writeView();
    });
  }
});

test("a facts view of other outputs, gates or packs is found", async () => {
  const other = "9".repeat(64);
  const zero = "0".repeat(64);
  for (const change of [
    (view: ViewDocument) => Object.assign(view, { locators: [] }),
    (view: ViewDocument) => Object.assign(view.locators[0]!, { path: "packs/elsewhere" }),
    (view: ViewDocument) => Object.assign(view.locators[0]!.content_digest!, { hex: zero }),
    (view: ViewDocument) => delete view.locators[0]!.content_digest,
    (view: ViewDocument) => Object.assign(view.locators[0]!, { run_id: "9".repeat(32) }),
    (view: ViewDocument) => Object.assign(view.locators[0]!, { output_id: "another" }),
    (view: ViewDocument) => view.locators.push({ ...view.locators[0]! }),
    (view: ViewDocument) => Object.assign(view, { run_id: "9".repeat(32) }),
    (view: ViewDocument) => Object.assign(view.pins, { run_id: "9".repeat(32) }),
    (view: ViewDocument) => Object.assign(view.pins, { scenario_id: "another" }),
    (view: ViewDocument) => delete view.gate_receipts[0]!.scope.run_id,
    (view: ViewDocument) => delete view.gate_receipts[0]!.scope.parameter_hash,
    (view: ViewDocument) => Object.assign(view.gate_receipts[1]!.scope, { scenario_id: "another" }),
    (view: ViewDocument) => Object.assign(view.gate_receipts[1]!, { status: "FAIL" }),
    (view: ViewDocument) => Object.assign(view.gate_receipts[0]!.digest, { hex: zero }),
    (view: ViewDocument) => view.gate_receipts.pop(),
    (view: ViewDocument) => Object.assign(view.oracle_pack_ref!, { oracle_pack_id: other }),
    (view: ViewDocument) => Object.assign(view.oracle_pack_ref!, { seal_digest: other }),
    (view: ViewDocument) => delete view.oracle_pack_ref,
    (view: ViewDocument) => Object.assign(view.policy_rev, { content_digest: other }),
  ]) {
    await breaks("gates", async (fixture) => {
      change(fixture.view);
      await fixture.writeView();
    });
  }
  await breaks("gates", ({ files, view }) => {
    files.set("facts/run_facts_view.json", utf8(canonical({ ...view, bundle_hash: other })));
  });
});

/** A record about the fixture's pack. */
async function record(fixture: Fixture, number: number, decision: object, previous?: string) {
  const seal = fixture.files.get("pack/_SEALED.json")!;
  return utf8(
    canonical({
      version: "v1",
      number,
      ...(previous && { previous }),
      oracle_pack_id: JSON.parse(Buffer.from(seal).toString()).oracle_pack_id,
      seal_digest: await digest(seal),
      authority: "the court",
      recorded_at_utc: "2027-01-02T03:04:05Z",
      decision,
    }),
  );
}

const hold = { kind: "hold", matter: "a case" };

const tombstone = {
  kind: "tombstone",
  reason: "LEGAL_ORDER",
  survives: "digests",
  manifest_digest: "0".repeat(64),
};

test("a part of a pack excuses no other part of it", async () => {
  const open = async (path: string, link: string) => {
    const proof = await after((fixture) => {
      const { shown, facts, run, files } = fixture;
      shown.finalized = undefined;
      shown.record!.lifecycle = { tag: "Open", values: [new Uint8Array(32) as never] };
      Object.assign(facts, { receipts: [], before: ZEROS, account: { count: 0n, hash: ZEROS } });
      run.receipt = null;
      fixture.withheld = "LEGAL_ORDER";
      for (const name of [...files.keys()]) if (name.startsWith(path)) files.delete(name);
    });
    assert.ok(inState(proof, "broken").includes(link), told(proof));
  };
  await open("pack/_execution.dsse", "statement");
  await open("module/", "module");
});

test("a log of records is read, and its tombstone is named while the files still hold", async () => {
  const proof = await after(async (fixture) => {
    const first = await record(fixture, 1, { kind: "archived", location: "elsewhere" });
    fixture.files.set("pack/_records/1.json", first);
    const second = await record(fixture, 2, tombstone, await digest(first));
    fixture.files.set("pack/_records/2.json", second);
    // What a crash left of a third one.
    fixture.files.set(`pack/_records/.oracle-gate-${"ab".repeat(16)}.part`, utf8("{"));
  });
  assert.equal(proof.verdict, "proven", told(proof));
  assert.match(proof.tombstone!, /LEGAL_ORDER, by the court, 2027-01-02$/);
});

test("records that are no log are found", async () => {
  const wrong: [string, (fixture: Fixture) => Promise<void>][] = [
    ["junk", async ({ files }) => void files.set("pack/_records/1.json", utf8("junk"))],
    ["another name", async ({ files }) => void files.set("pack/_records/notes", utf8("x"))],
    ["01.json", async ({ files }) => void files.set("pack/_records/01.json", utf8("x"))],
    ["no folder", async ({ files }) => void files.set("pack/_records", utf8("x"))],
    [
      "a gap before a tombstone",
      async (fixture) => {
        const second = await record(fixture, 2, tombstone, "0".repeat(64));
        fixture.files.set("pack/_records/2.json", second);
      },
    ],
    [
      "another order",
      async (fixture) => {
        fixture.files.set("pack/_records/1.json", await record(fixture, 2, hold));
      },
    ],
    [
      "a record that does not follow",
      async (fixture) => {
        fixture.files.set("pack/_records/1.json", await record(fixture, 1, hold));
        const second = await record(fixture, 2, hold, "0".repeat(64));
        fixture.files.set("pack/_records/2.json", second);
      },
    ],
    [
      "a tombstone in spite of a hold",
      async (fixture) => {
        const first = await record(fixture, 1, hold);
        fixture.files.set("pack/_records/1.json", first);
        const second = await record(fixture, 2, tombstone, await digest(first));
        fixture.files.set("pack/_records/2.json", second);
      },
    ],
    [
      "an unknown member",
      async (fixture) => {
        const bytes = await record(fixture, 1, { ...hold, extra: 1 });
        fixture.files.set("pack/_records/1.json", bytes);
      },
    ],
    [
      "another spelling",
      async (fixture) => {
        const text = Buffer.from(await record(fixture, 1, hold)).toString();
        fixture.files.set("pack/_records/1.json", utf8(`${text}\n`));
      },
    ],
    [
      "a record about another seal",
      async (fixture) => {
        const text = Buffer.from(await record(fixture, 1, hold)).toString();
        const other = text.replace(/"seal_digest":"./, (found) =>
          found.endsWith("1") ? found.replace(/.$/, "2") : found.replace(/.$/, "1"),
        );
        fixture.files.set("pack/_records/1.json", utf8(other));
      },
    ],
  ];
  for (const [what, change] of wrong) {
    const detail = await breaks("files", change).catch((error) => {
      throw new Error(`${what}: ${error}`);
    });
    assert.match(detail, /the records about the pack are not a log/, what);
  }
});

test("a seal and a manifest with anything else in them are found", async () => {
  for (const [path, link] of [
    ["pack/_SEALED.json", "manifest"],
    ["pack/_oracle_pack_manifest.json", "manifest"],
  ] as const) {
    for (const extra of [{ extra: 1 }, { extra: null }]) {
      const proof = await after(({ files }) => {
        const document = JSON.parse(Buffer.from(files.get(path)!).toString());
        files.set(path, utf8(canonical({ ...document, ...extra })));
      });
      assert.ok(inState(proof, "broken").includes(link), told(proof));
    }
  }
});

test("files that a gateway withholds because of a tombstone are unknown, and the cost holds", async () => {
  const proof = await after((fixture) => {
    fixture.dropFiles();
    fixture.withheld = "LEGAL_ORDER, by the court, 2027-01-02";
  });
  assert.deepEqual(inState(proof, "broken"), [], told(proof));
  assert.equal(proof.verdict, "unknown");
  assert.match(proof.cost!, /0\.0005 XLM, in its one attempt/);
  assert.match(proof.tombstone!, /withholds .*LEGAL_ORDER/);

  // Without a tombstone the chain's output hash demands files.
  const bare = await after((fixture) => fixture.dropFiles());
  assert.deepEqual(inState(bare, "broken"), ["statement", "seal", "manifest", "files", "module"]);
});

test("amounts are in the unit of the vault's token, or in stroops alone", async () => {
  for (const [unit, shown] of [
    [{ name: "USDC", decimals: 2 }, "50.00 USDC"],
    [STROOPS, "5\u202f000 stroops"],
  ] as const) {
    const proof = await after((fixture) => {
      fixture.unit = unit;
    });
    assert.equal(proof.verdict, "proven", told(proof));
    assert.deepEqual(proof.unit, unit);
    assert.ok(proof.cost?.includes(` ${shown}, in its one attempt`), proof.cost);
    for (const link of ["charge", "receipt"]) assert.ok(detailOf(proof, link).startsWith(shown));
    assert.doesNotMatch(JSON.stringify([proof.links, proof.proven]), /XLM/);
  }
});
