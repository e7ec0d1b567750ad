// The digests of packs and modules, as crates/seal defines them byte by byte.

import {
  type Bytes,
  byBytes,
  canonical,
  concat,
  digest,
  parse,
  text,
  u32,
  u64,
  unhex,
  utf8,
} from "./bytes.ts";
import {
  bool,
  bytes as sized,
  closed,
  exactTime,
  type Form,
  hex32,
  hex64,
  list,
  matching,
  oneOf,
  text as anyText,
  u32 as u32Form,
  u64 as u64Form,
  whole,
} from "./form.ts";

export interface SealedFile {
  path: string;
  executable: boolean;
  length: number;
  sha256: string;
}

export interface Tree {
  algo: string;
  digest: string;
  files: SealedFile[];
}

/** Digests of the consecutive shards of the very large files of an inventory. */
export interface Shards {
  files: { path: string; sha256: string[] }[];
  shard_bytes: number;
}

/** Files of more bytes than these have shards, in a manifest `v2`. */
const SHARDS_ABOVE = 2 ** 30;
const SHARD_BYTES = 2 ** 28;

/** How large a tree may be. */
interface Limits {
  files: number;
  bytes: number;
}

export const MODULE_LIMITS: Limits = { files: 4096, bytes: 64 * 1024 * 1024 };
const PACK_LIMITS: Limits = { files: 65_536, bytes: 2 ** 40 };

const exact = whole(BigInt(Number.MAX_SAFE_INTEGER));

const TREE: Form = closed({
  algo: oneOf("sha256-tree-v1"),
  digest: hex64,
  files: list(closed({ path: anyText(), executable: bool, length: exact, sha256: hex64 })),
});

const MANIFEST: Form = closed(
  {
    version: oneOf("v1", "v2"),
    oracle_pack_id: hex64,
    world_key: closed({
      manifest_fingerprint: hex64,
      parameter_hash: hex64,
      scenario_id: sized(256),
      seed: exact,
    }),
    run_id: hex32,
    attempt: u32Form,
    engine_release: sized(256),
    catalogue_digest: hex64,
    gate_map_digest: hex64,
    inventory: TREE,
    created_at_utc: exactTime,
  },
  {
    shards: closed({
      files: list(closed({ path: anyText(), sha256: list(hex64) })),
      shard_bytes: u64Form,
    }),
  },
);

const SEAL: Form = closed({
  version: oneOf("v1"),
  oracle_pack_id: hex64,
  seal_status: oneOf("SEALED_OK", "SEALED_FAILED"),
  sealed_at_utc: exactTime,
  manifest_digest: hex64,
  nonce: matching(/^[0-9a-f]{32}$/, "32 lower hex digits"),
  store_probe: closed(
    {
      second_create_refused: bool,
      races: u32Form,
      writers: u32Form,
      races_with_one_winner: u32Form,
      probed_at_utc: exactTime,
    },
    { wrong_checksum_refused: bool },
  ),
});

export interface Manifest {
  version: string;
  oracle_pack_id: string;
  world_key: {
    manifest_fingerprint: string;
    parameter_hash: string;
    scenario_id: string;
    seed: number;
  };
  run_id: string;
  attempt: number;
  engine_release: string;
  catalogue_digest: string;
  gate_map_digest: string;
  inventory: Tree;
  created_at_utc: string;
  shards?: Shards;
}

export interface Seal {
  version: string;
  oracle_pack_id: string;
  seal_status: "SEALED_OK" | "SEALED_FAILED";
  manifest_digest: string;
  nonce: string;
}

/** `sha256-tree-v1` of files in any order. */
export function treeDigest(files: SealedFile[]): Promise<string> {
  const sorted = files.toSorted((a, b) => byBytes(a.path, b.path));
  const parts = sorted.flatMap((file) => {
    const path = utf8(file.path);
    return [
      u32(path.length),
      path,
      Uint8Array.of(file.executable ? 1 : 0),
      u64(BigInt(file.length)),
      unhex(file.sha256),
    ];
  });
  return digest(utf8("lumio-tree-v1\0"), ...parts);
}

/** `lumio-pack-v1`: the identity of what a manifest describes. */
export function packId(manifest: Manifest): Promise<string> {
  const world = manifest.world_key;
  const fields = [
    unhex(world.manifest_fingerprint),
    unhex(world.parameter_hash),
    utf8(world.scenario_id),
    u64(BigInt(world.seed)),
    unhex(manifest.run_id),
    u32(manifest.attempt),
    utf8(manifest.engine_release),
    unhex(manifest.catalogue_digest),
    unhex(manifest.gate_map_digest),
  ];
  return digest(
    utf8("lumio-pack-v1\0"),
    ...fields.map((field) => concat(u32(field.length), field)),
  );
}

/** Reads a document that is written in one form only; another was written by somebody else. */
export function document<T extends { version: string }>(
  bytes: Bytes,
  name: string,
  versions: readonly string[] = ["v1"],
): T {
  const value = parse(bytes) as T;
  if (canonical(value) !== text(bytes)) throw new Error(`${name} is not canonical JSON`);
  if (!versions.includes(value.version)) throw new Error(`${name} is of version ${value.version}`);
  return value;
}

/** Reads the seal; a member too many or of another form is not overlooked. */
export function readSeal(bytes: Bytes): Seal {
  const seal = document<Seal>(bytes, "the seal");
  SEAL(seal, "");
  return seal;
}

/** Reads a manifest of either version that has an inventory, which is recomputed. */
export async function readManifest(bytes: Bytes): Promise<{ manifest: Manifest; tree: Tree }> {
  const manifest = document<Manifest>(bytes, "the manifest", ["v1", "v2"]);
  MANIFEST(manifest, "");
  if (manifest.attempt === 0) throw new Error("attempts count from 1");
  const tree = await readTree(manifest.inventory);
  // One inventory has one spelling.
  if (!tree.files.every(({ path }, at) => at === 0 || byBytes(tree.files[at - 1]!.path, path) < 0))
    throw new Error("the manifest's files are not sorted by path");
  const { shards } = manifest;
  if ((manifest.version === "v2") !== (shards !== undefined))
    throw new Error("a manifest v2 has shards, and no other has");
  if (shards) checkShards(tree, shards);
  return { manifest, tree };
}

/**
 * Refuses shards that are not those of the inventory: one list for each file above 1 GiB and for no
 * other, in the inventory's order, with as many digests as shards of 256 MiB cover the file.
 */
function checkShards(tree: Tree, shards: Shards): void {
  const large = tree.files.filter(({ length }) => length > SHARDS_ABOVE);
  if (shards.shard_bytes !== SHARD_BYTES) throw new Error("the shards are not of 256 MiB");
  if (large.length === 0 || shards.files.length !== large.length)
    throw new Error("the shards are not of the files above 1 GiB");
  for (const [at, { path, length }] of large.entries()) {
    const file = shards.files[at]!;
    if (file.path !== path) throw new Error(`the shards of ${path} are not listed`);
    const count = Math.ceil(length / SHARD_BYTES);
    if (file.sha256.length !== count)
      throw new Error(`${path} has ${file.sha256.length} shards, and ${count} cover it`);
  }
}

/** Reads a tree's document and recomputes its digest. */
export async function readTree(value: unknown, limits: Limits = PACK_LIMITS): Promise<Tree> {
  TREE(value, "");
  const tree = value as Tree;
  const bytes = tree.files.reduce((sum, { length }) => sum + length, 0);
  if (tree.files.length === 0) throw new Error("the tree is empty");
  if (tree.files.length > limits.files || bytes > limits.bytes)
    throw new Error("the tree is too large");
  refuseClashes(tree.files.map(({ path }) => path).toSorted(byBytes));
  const found = await treeDigest(tree.files);
  if (found !== tree.digest)
    throw new Error(`its digest is ${found}, not ${tree.digest} as claimed`);
  return tree;
}

/** Why no store takes this path; `undefined` if each does. */
function faultOf(path: string): string | undefined {
  const length = (part: string) => utf8(part).length;
  const steps = path.split("/");
  if (length(path) > 1024) return "it is longer than 1024 bytes";
  if (/[\\\p{Cc}]/u.test(path)) return "it contains a backslash or a control character";
  if (steps.some((step) => ["", ".", ".."].includes(step))) return "a part is empty, '.' or '..'";
  if (steps.some((step) => length(step) > 255)) return "one part is longer than 255 bytes";
  if (steps.some((step) => /#\d+$/.test(step))) return "one part ends in '#' and digits";
  return undefined;
}

/** The path in a form that is equal for all names that some disk keeps as one. */
const fold = (path: string) => path.normalize("NFD").toUpperCase().toLowerCase().normalize("NFD");

/** Refuses what a disk that ignores case or Unicode form would merge, or a file and a folder. */
function refuseClashes(paths: string[]): void {
  const names = new Map<string, string>();
  const folders = new Map<string, string>();
  const clash = (one: string, other: string) =>
    new Error(`paths ${JSON.stringify(one)} and ${JSON.stringify(other)} cannot be in one tree`);
  for (const path of paths) {
    const fault = faultOf(path);
    if (fault) throw new Error(`path ${JSON.stringify(path)} is refused: ${fault}`);
    const other = names.get(fold(path));
    if (other !== undefined) throw clash(other, path);
    names.set(fold(path), path);
    const steps = path.split("/");
    for (let depth = 1; depth < steps.length; depth += 1) {
      const folder = steps.slice(0, depth).join("/");
      const known = folders.get(fold(folder)) ?? folder;
      if (known !== folder) throw clash(known, folder);
      folders.set(fold(folder), folder);
    }
  }
  for (const [folder, exact] of folders) {
    const file = names.get(folder);
    if (file !== undefined) throw clash(file, exact);
  }
}

/** What differs between an inventory, with its shards, and the files that are there. */
export async function compareFiles(
  tree: Tree,
  files: Map<string, Bytes>,
  shards?: Shards,
): Promise<string[]> {
  const byPath = new Map(shards?.files.map((file) => [file.path, file.sha256]));
  const wrong: string[] = [];
  for (const sealed of tree.files) {
    const bytes = files.get(sealed.path);
    if (!bytes) {
      wrong.push(`file missing: ${sealed.path}`);
      continue;
    }
    const found = await digest(bytes);
    const isWhole = bytes.length === sealed.length && found === sealed.sha256;
    const stated = byPath.get(sealed.path);
    const changed =
      shards && stated && bytes.length === sealed.length
        ? await changedShards(sealed.path, stated, shards.shard_bytes, bytes)
        : undefined;
    // Both were made of the same bytes, so that one without the other is of other ones.
    if (changed && isWhole !== (changed.length === 0)) {
      wrong.push(
        `the manifest contradicts itself: the digest of ${sealed.path} and those of its shards are of different bytes`,
      );
    }
    if (!isWhole) {
      wrong.push(
        ...(changed ?? []),
        `file changed: ${sealed.path} was sealed as ${sealed.sha256} and is ${found}`,
      );
    }
  }
  const known = new Set(tree.files.map((file) => file.path));
  for (const path of files.keys())
    if (!known.has(path)) wrong.push(`file added: ${path} was not sealed`);
  return wrong;
}

/** The shards of a file that are not the sealed ones. */
async function changedShards(
  path: string,
  stated: string[],
  shardBytes: number,
  bytes: Bytes,
): Promise<string[]> {
  const changed: string[] = [];
  for (const [number, sealed] of stated.entries()) {
    const start = number * shardBytes;
    const end = Math.min(start + shardBytes, bytes.length);
    const found = await digest(bytes.subarray(start, end));
    if (found !== sealed) {
      changed.push(
        `file changed: bytes ${start} to ${end - 1} of ${path} were sealed as ${sealed} and are ${found}`,
      );
    }
  }
  return changed;
}
