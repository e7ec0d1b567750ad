// Manifests with shards of very large files: what crates/seal refuses is refused here.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { type Bytes, digest, utf8 } from "../../src/verify/bytes.ts";
import { compareFiles, packId, readManifest, treeDigest } from "../../src/verify/seal.ts";

interface Vector {
  what: string;
  manifest: string;
}

const vectors = JSON.parse(
  readFileSync(new URL("../../../crates/seal/tests/vectors/shards.json", import.meta.url), "utf8"),
) as { accepted: Vector[]; refused: Vector[] };

test("manifests with and without shards are read, and those that contradict themselves are not", async () => {
  for (const { what, manifest } of vectors.accepted) {
    const read = (await readManifest(utf8(manifest))).manifest;
    assert.equal(await packId(read), read.oracle_pack_id, what);
  }
  for (const { what, manifest } of vectors.refused) {
    await assert.rejects(readManifest(utf8(manifest)), what);
  }
});

test("a changed byte is named by its shard, and shards of other bytes than the digest's are found", async () => {
  const bytes: Bytes = Uint8Array.from({ length: 10 }, (_, at) => at);
  const shardsOf = async (of: Bytes) => ({
    shard_bytes: 4,
    files: [
      {
        path: "big",
        sha256: [
          await digest(of.subarray(0, 4)),
          await digest(of.subarray(4, 8)),
          await digest(of.subarray(8)),
        ],
      },
    ],
  });
  const files = [{ path: "big", executable: false, length: 10, sha256: await digest(bytes) }];
  const tree = { algo: "sha256-tree-v1", digest: await treeDigest(files), files };
  const shards = await shardsOf(bytes);
  assert.deepEqual(await compareFiles(tree, new Map([["big", bytes]]), shards), []);

  for (const [at, range] of [
    [0, "bytes 0 to 3"],
    [7, "bytes 4 to 7"],
    [9, "bytes 8 to 9"],
  ] as const) {
    const other = bytes.slice();
    other[at]! ^= 1;
    const wrong = await compareFiles(tree, new Map([["big", other]]), shards);
    assert.equal(wrong.length, 2);
    assert.match(wrong[0]!, new RegExp(`${range} of big`));
    // Shards of those bytes beside the digest of the others.
    const forged = await shardsOf(other);
    for (const content of [bytes, other]) {
      const found = await compareFiles(tree, new Map([["big", content]]), forged);
      assert.match(found[0]!, /contradicts itself/);
    }
  }
});
