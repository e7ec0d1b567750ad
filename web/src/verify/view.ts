// The facts view: the document from which a reader may reach into the store. What it says of gates
// and outputs follows from the two statements and the seal, and is compared with them in full: a
// view that leads to other files, or under other gates, is another run's.

import { type Bytes, canonical, digest, parse, utf8 } from "./bytes.ts";
import {
  closed,
  type Form,
  hex32,
  hex64,
  list,
  matching,
  oneOf,
  record,
  text,
  u64,
} from "./form.ts";
import type { Manifest } from "./seal.ts";
import type { Execution } from "./statement.ts";

/** What all outputs of a run are called in the catalogue. */
const OUTPUT_ID = "lumio.run.output";
const EXECUTION_GATE = "gate.lumio.execution";
const SHIPPING_GATE = "gate.lumio.shipping";

interface Content {
  algo: string;
  hex: string;
}

/** What a locator or a receipt says that it is about. */
interface Scope {
  manifest_fingerprint?: string;
  parameter_hash?: string;
  seed?: number | bigint;
  scenario_id?: string;
  run_id?: string;
}

interface Locator extends Scope {
  output_id: string;
  path: string;
  content_digest?: Content;
}

interface GateReceipt {
  gate_id: string;
  status: "PASS" | "FAIL";
  scope: Scope;
  digest?: Content;
}

export interface View {
  run_id: string;
  pins: Required<Scope>;
  locators: Locator[];
  intended_outputs?: string[];
  gate_receipts: GateReceipt[];
  instance_receipts?: { output_id: string }[];
  policy_rev: { content_digest: string };
  bundle_hash: string;
  oracle_pack_ref?: { oracle_pack_id: string; seal_digest: string };
}

/** Longest path, note or reference inside a receipt or locator, in characters. */
const LONG = 2048;
const MOST_OUTPUTS = 65_536;
const MOST_GATE_RECEIPTS = 1024;

const id = matching(/^[A-Za-z0-9_.-]{1,128}$/, "1 to 128 characters of A-Z a-z 0-9 _ . -");
const filled = text(1);
const path = text(1, LONG);
const note = text(0, LONG);
const status = oneOf("PASS", "FAIL");

const CONTENT = closed({ algo: oneOf("sha256", "sha256-tree-v1"), hex: hex64 });

const LOCATOR_SHAPE = closed(
  { output_id: id, path },
  {
    manifest_fingerprint: hex64,
    parameter_hash: hex64,
    seed: u64,
    scenario_id: text(1, 512),
    run_id: hex32,
    schema_ref: text(0, 512),
    dictionary_ref: text(0, 512),
    produced_at_utc: filled,
    content_digest: CONTENT,
  },
);

const LOCATOR: Form = (value, at) => {
  LOCATOR_SHAPE(value, at);
  const pins = ["manifest_fingerprint", "parameter_hash", "run_id", "scenario_id"];
  if (pins.some((pin) => Object.hasOwn(value as object, pin))) return;
  throw new Error(`${at} names none of ${pins.join(", ")}`);
};

const SCOPE = closed(
  { manifest_fingerprint: hex64 },
  { parameter_hash: hex64, seed: u64, scenario_id: text(1, 256), run_id: hex32 },
);

const GATE_RECEIPT = closed(
  { gate_id: id, status, scope: SCOPE },
  {
    produced_at_utc: filled,
    receipt_kind: oneOf("passed_flag", "json_receipt", "bundle_flag"),
    digest: CONTENT,
    artifacts: closed(
      {},
      { validation_bundle_root: path, index_path: path, passed_flag_path: path },
    ),
    notes: note,
  },
);

const INSTANCE_RECEIPT = closed(
  { output_id: id, status, scope: SCOPE, target_ref: LOCATOR, target_digest: CONTENT },
  {
    bundle_manifest_ref: path,
    receipt_kind: oneOf("instance_proof"),
    artifacts: closed({}, { receipt_path: path }),
    notes: note,
  },
);

const VIEW = closed(
  {
    run_id: hex32,
    pins: closed({
      manifest_fingerprint: hex64,
      parameter_hash: hex64,
      seed: u64,
      scenario_id: filled,
      run_id: hex32,
    }),
    locators: list(LOCATOR, MOST_OUTPUTS),
    gate_receipts: list(GATE_RECEIPT, MOST_GATE_RECEIPTS),
    policy_rev: closed({ policy_id: filled, revision: filled, content_digest: hex64 }),
    bundle_hash: hex64,
    plan_ref: filled,
    record_ref: filled,
    status_ref: filled,
  },
  {
    output_roles: record(text()),
    intended_outputs: list(text()),
    instance_receipts: list(INSTANCE_RECEIPT, MOST_OUTPUTS),
    oracle_pack_ref: closed({ oracle_pack_id: hex64, seal_digest: hex64 }),
    evidence_notes: list(text()),
  },
);

/** Reads a view; a member too many, or one that is null, is not overlooked. */
export function readView(bytes: Bytes): View {
  const view = parse(bytes);
  VIEW(view, "");
  return view as View;
}

/** What the view of a run that passed has to agree with. */
export interface Sealed {
  /** The run's key: its UUID without dashes. */
  run: string;
  execution: Execution;
  /** Digests of the envelopes of the statements about the execution and the module. */
  digests: { execution: string; shipping: string };
  /** Of the seal: the pack that it names, if it can be read, and its own digest, if it is there. */
  pack: string | undefined;
  seal: string | undefined;
  /** If it can be read. */
  manifest: Manifest | undefined;
}

/** What is wrong with the view of a run that passed. */
export async function mistakesOf(view: View, sealed: Sealed): Promise<string[]> {
  return [
    ...(await identity(view, sealed)),
    ...reference(view, sealed),
    ...locators(view, sealed),
    ...receipts(view, sealed),
  ];
}

const unequal = (what: string, ours: unknown, theirs: unknown): string[] =>
  ours === theirs ? [] : [`${what}: ${theirs} instead of ${ours}`];

/** The view is of this run, and agrees with itself. */
async function identity(view: View, { run, execution }: Sealed): Promise<string[]> {
  const { pins } = view;
  const isOther = view.run_id !== run || pins.run_id !== run;
  return [
    ...(isOther ? ["the facts view is of another run"] : []),
    ...unequal("the facts view's module", execution.module_digest, pins.manifest_fingerprint),
    ...unequal("the facts view's input", execution.input_digest, pins.parameter_hash),
    ...unequal("the facts view's seed", execution.seed, pins.seed),
    ...unequal("the facts view's workflow", execution.workflow_id, pins.scenario_id),
    ...((await bundleHash(view)) === view.bundle_hash
      ? []
      : ["the facts view's bundle hash does not follow from it"]),
  ];
}

/** The digest over what a view lets through and why. */
export function bundleHash(view: View): Promise<string> {
  const by =
    <T>(of: (item: T) => string) =>
    (a: T, b: T) =>
      of(a) < of(b) ? -1 : of(a) > of(b) ? 1 : 0;
  const instances = view.instance_receipts?.toSorted(by(({ output_id }) => output_id));
  const bundle = {
    locators: view.locators.toSorted(by(({ output_id }) => output_id)),
    receipts: view.gate_receipts.toSorted(by(({ gate_id }) => gate_id)),
    policy_rev: view.policy_rev,
    ...(instances && { instance_receipts: instances }),
  };
  const ascii = canonical(bundle).replace(
    /[^\0-\x7f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return digest(utf8(ascii));
}

/** The view pins this pack by its id and its seal, and the gates that the pack was sealed under. */
function reference({ oracle_pack_ref: pinned, policy_rev }: View, sealed: Sealed): string[] {
  const { pack, seal, manifest } = sealed;
  const gates = manifest?.gate_map_digest;
  return [
    ...(pinned && pinned.seal_digest === seal ? [] : ["the facts view pins another seal"]),
    ...(pinned && pinned.oracle_pack_id === pack ? [] : ["the facts view pins another pack"]),
    ...(gates === undefined
      ? []
      : unequal("the facts view's gate map", gates, policy_rev.content_digest)),
  ];
}

/** One locator leads to each output of the statement, with its digest, and none anywhere else. */
function locators(view: View, { execution, pack }: Sealed): string[] {
  // A run that passed has outputs, so that a view without locators hides them.
  if (view.locators.length === 0) return ["the facts view has no locators"];
  if (pack === undefined) return ["without a seal nothing says where the outputs are"];
  const outputs = new Map(
    execution.outputs.map((output) => [`packs/${pack}/outputs/${output.path}`, output.sha256]),
  );
  const wrong: string[] = [];
  for (const locator of view.locators) {
    const about = `the facts view's locator of ${locator.path}`;
    if (locator.output_id !== OUTPUT_ID)
      wrong.push(`${about} is of the output ${locator.output_id}`);
    const pin = foreignPin(view.pins, locator);
    if (pin) wrong.push(`${about}: ${pin} is not the run's`);
    const stated = outputs.get(locator.path);
    if (stated === undefined) {
      wrong.push(
        `${about} leads to no output of the statement, or to one that another locator leads to`,
      );
    } else if (!isFile(locator.content_digest, stated)) {
      wrong.push(`${about} has not the digest of the statement`);
    }
    outputs.delete(locator.path);
  }
  for (const missing of outputs.keys()) wrong.push(`the facts view has no locator of ${missing}`);
  for (const other of view.intended_outputs ?? []) {
    if (other !== OUTPUT_ID)
      wrong.push(`the facts view says that the output ${other} was asked for, which no run has`);
  }
  return wrong;
}

/** Exactly one PASS of each gate, of the statement that the pack holds and in scope. */
function receipts(view: View, { digests }: Sealed): string[] {
  const statements = new Map([
    [EXECUTION_GATE, digests.execution],
    [SHIPPING_GATE, digests.shipping],
  ]);
  const wrong: string[] = [];
  for (const { gate_id: gate, status, scope, digest } of view.gate_receipts) {
    const statement = statements.get(gate);
    if (statement === undefined) {
      wrong.push(`the facts view has a receipt of ${gate}, which judges no run`);
      continue;
    }
    const about = `the facts view's receipt of ${gate}`;
    if (status !== "PASS") wrong.push(`the facts view has a FAIL of ${gate}`);
    if (!isFile(digest, statement)) wrong.push(`${about} is of another statement`);
    const pin = foreignPin(view.pins, scope);
    if (pin) wrong.push(`${about}: ${pin} is not the run's`);
    // A module ships once for all runs; an execution is of one run and input (O7).
    const isBound = scope.run_id !== undefined && scope.parameter_hash !== undefined;
    if (gate === EXECUTION_GATE && !isBound) wrong.push(`${about} names no run or no input`);
  }
  for (const gate of statements.keys()) {
    const { length } = view.gate_receipts.filter((receipt) => receipt.gate_id === gate);
    if (length !== 1) wrong.push(`the facts view has ${length} receipts of ${gate} instead of one`);
  }
  for (const { output_id } of view.instance_receipts ?? []) {
    wrong.push(
      `the facts view has a receipt of the single output ${output_id}, which no gate gives`,
    );
  }
  return wrong;
}

const isFile = (content: Content | undefined, sha256: string): boolean =>
  content?.algo === "sha256" && content.hex === sha256;

/** The first pin that is stated and is not the run's. */
function foreignPin(pins: Required<Scope>, scope: Scope): keyof Scope | undefined {
  const names = [
    "manifest_fingerprint",
    "parameter_hash",
    "seed",
    "scenario_id",
    "run_id",
  ] as const;
  return names.find((name) => scope[name] !== undefined && scope[name] !== pins[name]);
}
