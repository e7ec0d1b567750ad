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
export function document<T extends { version: string }>(bytes: Bytes, name: string): T {
  const value = parse(bytes) as T;
  if (canonical(value) !== text(bytes)) throw new Error(`${name} is not canonical JSON`);
  if (value.version !== "v1") throw new Error(`${name} is of version ${value.version}`);
  return value;
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

/** What differs between an inventory and the files that are there. */
export async function compareFiles(tree: Tree, files: Map<string, Bytes>): Promise<string[]> {
  const wrong: string[] = [];
  for (const sealed of tree.files) {
    const bytes = files.get(sealed.path);
    if (!bytes) {
      wrong.push(`file missing: ${sealed.path}`);
      continue;
    }
    const found = await digest(bytes);
    if (bytes.length !== sealed.length || found !== sealed.sha256) {
      wrong.push(`file changed: ${sealed.path} was sealed as ${sealed.sha256} and is ${found}`);
    }
  }
  const known = new Set(tree.files.map((file) => file.path));
  for (const path of files.keys())
    if (!known.has(path)) wrong.push(`file added: ${path} was not sealed`);
  return wrong;
}
