// A whole run, made as the services make one, whose parts a test can change.

import { createPrivateKey, createPublicKey, sign } from "node:crypto";

import { Address, nativeToScVal, StrKey, xdr } from "@stellar/stellar-sdk";

import { LUMENS, type Unit } from "../../src/amount.ts";
import { type Bytes, canonical, concat, digest, hex, unhex, utf8 } from "../../src/verify/bytes.ts";
import type { AttemptFacts, ChainFacts, Settlement, Terms } from "../../src/verify/facts.ts";
import { type Claim, judge, type Own, type Proof, type State } from "../../src/verify/judge.ts";
import { type Manifest, packId, type SealedFile, treeDigest } from "../../src/verify/seal.ts";
import { type Execution, requestHash } from "../../src/verify/statement.ts";
import {
  receiptText,
  runId,
  runningHash,
  settlementHash,
  termsHash,
  ZEROS,
} from "../../src/verify/vault.ts";
import { bundleHash, type View } from "../../src/verify/view.ts";

export const RUN = "01a3185c-4830-7000-8000-00000000000a";
export const KEY = RUN.replaceAll("-", "");
/** When the attempt was opened, two seconds after the run's id was made. */
export const OPENED = 1_800_000_000n;

const contract = (byte: number) => StrKey.encodeContract(Buffer.alloc(32, byte));
const account = (byte: number) => StrKey.encodeEd25519PublicKey(Buffer.alloc(32, byte));

export const USER = account(3);
export const RUNNER = account(4);
const DEVELOPER = account(5);

export const own: Own = {
  network: "Standalone Network ; February 2017",
  vault: contract(1),
  registry: contract(2),
  unit: LUMENS,
};

const METERS = ["llm_in", "llm_out", "http_calls", "runtime_ms"] as const;
const units = (runtime_ms: bigint) => ({ llm_in: 0n, llm_out: 0n, http_calls: 0n, runtime_ms });
const plain = (runtime_ms: number) => ({ llm_in: 0, llm_out: 0, http_calls: 0, runtime_ms });

const at = (seconds: number) =>
  new Date((Number(OPENED) + seconds) * 1000).toISOString().replace(".000Z", "Z");

/** The attester's key, by a seed of its own. */
const key = createPrivateKey({
  key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.alloc(32, 7)]),
  format: "der",
  type: "pkcs8",
});
const ATTESTER = createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);

const json = (value: unknown) => utf8(canonical(value));

function envelope(payload: unknown): Bytes {
  const kind = "application/vnd.in-toto+json";
  const body = utf8(JSON.stringify(payload));
  const head = utf8(`DSSEv1 ${kind.length} ${kind} ${body.length} `);
  const sig = sign(null, concat(head, body), key).toString("base64");
  const signatures = [{ keyid: ATTESTER.toString("hex"), sig }];
  return json({ payloadType: kind, payload: Buffer.from(body).toString("base64"), signatures });
}

const statement = (kind: string, subject: unknown[], predicate: unknown) =>
  envelope({
    _type: "https://in-toto.io/Statement/v1",
    subject,
    predicateType: `https://lumio.dev/attestation/${kind}/v1`,
    predicate,
  });

const named = (name: string, sha256: string) => ({ name, digest: { sha256 } });

async function sealed(files: [string, Bytes][]): Promise<SealedFile[]> {
  const sorted = files.toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Promise.all(
    sorted.map(async ([path, bytes]) => ({
      path,
      executable: false,
      length: bytes.length,
      sha256: await digest(bytes),
    })),
  );
}

const u64 = (number: bigint) => nativeToScVal(number, { type: "u64" });
const i128 = (number: bigint) => nativeToScVal(number, { type: "i128" });
const bytes = (digits: string) => xdr.ScVal.scvBytes(unhex(digits));
const address = (text: string) => new Address(text).toScVal();
const meters = (of: Record<string, bigint>) =>
  xdr.ScVal.scvVec(METERS.map((meter) => u64(of[meter]!)));

/** The terms as the vault's event has them. */
export function termsXdr(terms: Terms) {
  const head = [
    xdr.ScVal.scvU32(terms.agentId),
    xdr.ScVal.scvU32(terms.rateVersion),
    meters(terms.rates as never),
    address(terms.developer),
    bytes(terms.manifestHash),
    xdr.ScVal.scvVec(terms.attesters.map(bytes)),
  ];
  return xdr.ScVal.scvVec([
    address(terms.user),
    address(terms.opened_by),
    xdr.ScVal.scvVec(head),
    meters(terms.budgets as never),
    i128(terms.maxCharge),
    i128(terms.runnerFee),
    u64(terms.deadline),
    u64(terms.openedAt),
    bytes(terms.requestHash),
  ]);
}

/** The event of an opening. */
export const openedXdr = (id: string, terms: Terms): xdr.ScVal =>
  xdr.ScVal.scvVec([bytes(id), ...termsXdr(terms).vec!]);

/** The event of a settlement. */
export const finalizedXdr = (settled: Settlement): xdr.ScVal =>
  xdr.ScVal.scvVec([
    bytes(settled.runId),
    address(settled.user),
    address(settled.runner),
    i128(settled.charge),
    i128(settled.fee),
    i128(settled.refund),
    meters(settled.usage as never),
    bytes(settled.outputHash),
    u64(settled.finalizedAt),
    u64(settled.number),
    bytes(settled.hash),
  ]);

/** Terms of an attempt with its own deadline. */
async function termsOf(module: string, request: string, deadline: bigint): Promise<Terms> {
  const terms: Terms = {
    user: USER,
    opened_by: RUNNER,
    deadline,
    agentId: 1,
    rateVersion: 1,
    rates: units(10n),
    developer: DEVELOPER,
    manifestHash: module,
    attesters: [ATTESTER.toString("hex")],
    budgets: units(1000n),
    maxCharge: 10_000n,
    runnerFee: 0n,
    openedAt: OPENED,
    requestHash: request,
    hash: "",
  };
  return { ...terms, hash: await termsHash(termsXdr(terms)) };
}

type Members = Record<string, unknown>;

/** The facts view as its document has it, which a test may write in any form. */
export interface ViewDocument extends Members {
  pins: Members;
  locators: (Members & { content_digest?: Members })[];
  gate_receipts: (Members & { scope: Members; digest: Members })[];
  policy_rev: Members;
  oracle_pack_ref?: Members;
}

/** A run that passed, was sealed and settled, as everybody shows it. */
export class Fixture {
  files = new Map<string, Bytes>();
  run: Record<string, unknown> = {};
  terms!: Terms;
  facts!: ChainFacts;
  execution!: Execution;
  view!: ViewDocument;
  withheld: string | undefined;
  /** How amounts are shown. */
  unit: Unit = own.unit;
  private hasBundle = true;

  static async make(): Promise<Fixture> {
    const fixture = new Fixture();
    await fixture.build();
    return fixture;
  }

  get shown(): AttemptFacts {
    return this.facts.attempts[0]!;
  }

  private async build(): Promise<void> {
    const { files } = this;
    const source = utf8("run()");
    const moduleFiles = await sealed([["index.js", source]]);
    const module = await treeDigest(moduleFiles);
    files.set("module/tree/index.js", source);
    files.set(
      "module/_tree.json",
      json({ algo: "sha256-tree-v1", digest: module, files: moduleFiles }),
    );
    const report = utf8('{"rows":3}');
    const input_digest = await digest(utf8("{}"));
    const request = { input_digest, module_digest: module, seed: 42, workflow_id: "profile" };
    this.terms = await termsOf(module, await requestHash(request), OPENED + 3600n);
    const id = await runId(own.network, own.vault, RUN, 1, this.terms);
    this.execution = {
      run_id: RUN,
      attempt: 1,
      vault_run_id: id,
      user: USER,
      workflow_id: "profile",
      module_digest: module,
      input_digest,
      seed: 42,
      budgets: plain(1000),
      outputs: [{ path: "report.json", length: report.length, sha256: await digest(report) }],
      usage: plain(500),
      guard: { tier: "full" },
      exit: { kind: "code", value: 0 },
      verdict: "PASS",
      started_at: at(10),
      finished_at: at(11),
    };
    files.set("pack/outputs/report.json", report);
    await this.seal();
    await this.settle();
  }

  /** Signs the statements, seals the pack and writes the facts view. */
  private async seal(): Promise<void> {
    const { files, execution } = this;
    const { module_digest } = execution;
    const shipping = statement("shipping", [named("module", module_digest)], {
      module_digest,
      module_id: "csv-profile",
      module_version: "1.0.0",
      mode: "shipping",
      verdict: "PASS",
      oracle: { cases: 1, attempts: 2, passed: 1 },
      tests: { total: 1, passed: 1, skipped: 0 },
      guard: { tier: "full" },
    });
    const subjects = execution.outputs.map(({ path, sha256 }) => named(`outputs/${path}`, sha256));
    const executed = statement(
      "execution",
      [named("module", module_digest), ...subjects],
      execution,
    );
    files.set("pack/_execution.dsse", executed);
    files.set("pack/_shipping.dsse", shipping);
    const inventory = await sealed(
      ["_execution.dsse", "_shipping.dsse", "outputs/report.json"].map((path) => [
        path,
        files.get(`pack/${path}`)!,
      ]),
    );
    const manifest: Manifest = {
      version: "v1",
      oracle_pack_id: "",
      world_key: {
        manifest_fingerprint: module_digest,
        parameter_hash: execution.input_digest,
        scenario_id: execution.workflow_id,
        seed: execution.seed,
      },
      run_id: KEY,
      attempt: 1,
      engine_release: "lumio-test",
      catalogue_digest: await digest(utf8("catalogue")),
      gate_map_digest: await digest(utf8("gate map")),
      inventory: {
        algo: "sha256-tree-v1",
        digest: await treeDigest(inventory),
        files: inventory,
      },
      created_at_utc: at(12),
    };
    manifest.oracle_pack_id = await packId(manifest);
    const manifestBytes = json(manifest);
    files.set("pack/_oracle_pack_manifest.json", manifestBytes);
    const seal = json({
      version: "v1",
      oracle_pack_id: manifest.oracle_pack_id,
      seal_status: "SEALED_OK",
      sealed_at_utc: at(12),
      manifest_digest: await digest(manifestBytes),
      nonce: "ab".repeat(16),
      store_probe: {
        second_create_refused: true,
        races: 20,
        writers: 16,
        races_with_one_winner: 20,
        probed_at_utc: at(1),
      },
    });
    files.set("pack/_SEALED.json", seal);
    const content = (sha256: string) => ({ algo: "sha256", hex: sha256 });
    const receipt = (gate_id: string, sha256: string, scope: object) => ({
      gate_id,
      status: "PASS",
      scope: { manifest_fingerprint: module_digest, ...scope },
      receipt_kind: "json_receipt",
      digest: content(sha256),
    });
    const ofRun = { parameter_hash: execution.input_digest, run_id: KEY };
    this.view = {
      run_id: KEY,
      pins: { ...manifest.world_key, run_id: KEY },
      locators: execution.outputs.map(({ path, sha256 }) => ({
        output_id: "lumio.run.output",
        path: `packs/${manifest.oracle_pack_id}/outputs/${path}`,
        manifest_fingerprint: module_digest,
        content_digest: content(sha256),
      })),
      gate_receipts: [
        receipt("gate.lumio.execution", await digest(executed), ofRun),
        receipt("gate.lumio.shipping", await digest(shipping), {}),
      ],
      policy_rev: {
        policy_id: "lumio",
        revision: "1",
        content_digest: manifest.gate_map_digest,
      },
      plan_ref: "plan",
      record_ref: "record",
      status_ref: "status",
      oracle_pack_ref: {
        oracle_pack_id: manifest.oracle_pack_id,
        seal_digest: await digest(seal),
      },
    };
    await this.writeView();
  }

  /** Writes the view with the bundle hash that follows from it. */
  async writeView(): Promise<void> {
    this.view.bundle_hash = await bundleHash(this.view as unknown as View);
    this.files.set("facts/run_facts_view.json", json(this.view));
  }

  private async settle(): Promise<void> {
    const { terms, execution } = this;
    const id = execution.vault_run_id!;
    const outputHash = await digest(this.files.get("pack/_SEALED.json")!);
    const usage = units(500n);
    const settled: Settlement = {
      runId: id,
      user: USER,
      runner: RUNNER,
      charge: 5000n,
      fee: 0n,
      refund: 5000n,
      usage,
      outputHash,
      finalizedAt: OPENED + 60n,
      number: 1n,
      hash: "",
    };
    const text = receiptText(termsXdr(terms), finalizedXdr({ ...settled, hash: ZEROS }));
    settled.hash = hex(await runningHash(unhex(ZEROS), 1n, text));
    const settlement = await settlementHash(
      RUNNER,
      METERS.map((meter) => usage[meter]),
      true,
    );
    const shown: AttemptFacts = {
      attempt: 1,
      runId: id,
      record: {
        user: USER,
        opened_by: RUNNER,
        agent_id: 1,
        escrowed: 10_000n,
        runner_fee: 0n,
        deadline: terms.deadline,
        opened_day: 20_833,
        grant_serial: 1,
        terms_hash: unhex(terms.hash) as never,
        lifecycle: {
          tag: "Finalized",
          values: [5000n, unhex(outputHash) as never, unhex(settlement) as never],
        },
      },
      opened: terms,
      finalized: settled,
      rateCard: { rates: terms.rates, manifestHash: terms.manifestHash },
      runners: [],
    };
    this.facts = {
      run: RUN,
      network: own.network,
      vault: own.vault,
      registry: own.registry,
      ledgerTime: OPENED + 100n,
      oldestLedger: 1000,
      oldestTime: OPENED - 86_400n,
      attempts: [shown],
      account: { count: 1n, hash: settled.hash },
      receipts: [{ number: 1n, text, hash: settled.hash, finalizedAt: settled.finalizedAt }],
      before: ZEROS,
      unexplained: [],
      unseen: undefined,
    };
    this.run = {
      id: RUN,
      user: USER,
      agentId: 1,
      budgets: { llmIn: 0, llmOut: 0, httpCalls: 0, runtimeMs: 1000 },
      workflowId: "profile",
      status: "finalized",
      phase: "done",
      attempt: 1,
      retries: 0,
      seed: 42,
      inputDigest: execution.input_digest,
      escrow: "settled",
      runId: id,
      deadline: at(3600),
      receipt: {
        runId: id,
        actualCharge: "5000",
        runnerFee: "0",
        refund: "5000",
        developer: DEVELOPER,
        outputHash,
      },
      transactionHashes: {},
      traceId: "0af7651916cd43dd8448eb211c80319c",
      createdAt: at(-1),
      updatedAt: at(60),
    };
  }

  /** The terms as a bundle's document has them. */
  get claimedTerms(): Record<string, unknown> {
    const { terms } = this;
    return {
      user: terms.user,
      opened_by: terms.opened_by,
      agent_id: 1,
      rate_version: 1,
      rates: { llm_in: "0", llm_out: "0", http_calls: "0", runtime_ms: "10" },
      budgets: plain(1000),
      max_charge: "10000",
      runner_fee: "0",
      deadline: Number(terms.deadline),
      opened_at: Number(terms.openedAt),
      developer: terms.developer,
      manifest_hash: terms.manifestHash,
      request_hash: terms.requestHash,
      attesters: terms.attesters,
    };
  }

  /** `run.json` of the bundle. */
  document(change: Record<string, unknown> = {}): Bytes {
    const beside = { vaultId: own.vault, nonce: "0".repeat(64), input: {} };
    const { run, claimedTerms: terms } = this;
    return utf8(JSON.stringify({ ...run, ...beside, terms, ...change }));
  }

  async judge(): Promise<Proof> {
    const { run, files, withheld, unit } = this;
    const beside = { vaultId: own.vault, terms: this.claimedTerms, input: { value: {} } };
    const claim = { run, files, withheld, ...(this.hasBundle && beside) } as unknown as Claim;
    return judge(claim, this.facts, { ...own, unit }, { inputDigest: undefined });
  }

  /** The gateway has no bundle, and shows the run alone. */
  dropFiles(): void {
    this.hasBundle = false;
    this.files.clear();
  }
}

/** The links of a proof that are in this state. */
export const inState = (proof: Proof, state: State): string[] =>
  proof.links.filter((link) => link.state === state).map(({ link }) => link);

export const detailOf = (proof: Proof, name: string): string =>
  proof.links.find(({ link }) => link === name)!.detail;
