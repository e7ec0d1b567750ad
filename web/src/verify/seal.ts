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

/** Reads a manifest of either version that has an inventory, which is recomputed. */
export async function readManifest(bytes: Bytes): Promise<{ manifest: Manifest; tree: Tree }> {
  const manifest = document<Manifest>(bytes, "the manifest", ["v1", "v2"]);
  const tree = await readTree(manifest.inventory);
  if ((manifest.version === "v2") !== "shards" in manifest)
    throw new Error("a manifest v2 has shards, and no other has");
  if (manifest.version === "v2") checkShards(tree, manifest.shards);
  return { manifest, tree };
}

/**
 * Refuses shards that are not those of the inventory: one list for each file above 1 GiB and for no
 * other, in the inventory's order, with as many digests as shards of 256 MiB cover the file.
 */
function checkShards(tree: Tree, shards: Shards | undefined): void {
  const large = tree.files.filter(({ length }) => length > SHARDS_ABOVE);
  if (shards?.shard_bytes !== SHARD_BYTES || !Array.isArray(shards.files))
    throw new Error("the shards are not of 256 MiB");
  if (Object.keys(shards).length !== 2) throw new Error("the shards have unknown members");
  if (large.length === 0 || shards.files.length !== large.length)
    throw new Error("the shards are not of the files above 1 GiB");
  for (const [at, { path, length }] of large.entries()) {
    const file = shards.files[at]!;
    const isKnown = Object.keys(file).length === 2 && Array.isArray(file.sha256);
    if (!isKnown || file.path !== path) throw new Error(`the shards of ${path} are not listed`);
    const count = Math.ceil(length / SHARD_BYTES);
    if (file.sha256.length !== count)
      throw new Error(`${path} has ${file.sha256.length} shards, and ${count} cover it`);
    if (!file.sha256.every((hex) => typeof hex === "string" && /^[0-9a-f]{64}$/.test(hex)))
      throw new Error(`a shard of ${path} has no digest`);
  }
}

/** Reads a tree's document and recomputes its digest. */
export async function readTree(value: unknown): Promise<Tree> {
  const tree = value as Tree;
  if (tree?.algo !== "sha256-tree-v1" || !Array.isArray(tree.files) || tree.files.length === 0) {
    throw new Error("it is no sha256-tree-v1");
  }
  const paths = new Set(tree.files.map((file) => file.path));
  if (paths.size !== tree.files.length) throw new Error("it names a file twice");
  const found = await treeDigest(tree.files);
  if (found !== tree.digest)
    throw new Error(`its digest is ${found}, not ${tree.digest} as claimed`);
  return tree;
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
