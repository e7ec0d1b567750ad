import assert from "node:assert/strict";
import { generateKeyPairSync, sign, verify } from "node:crypto";
import { test } from "node:test";

import { compact } from "../../src/wallet/signature.ts";

/** The order of P-256's group (SEC 2, section 2.4.2). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

const numberAt = (bytes: Uint8Array, at: number) =>
  BigInt(`0x${Buffer.from(bytes.slice(at, at + 32)).toString("hex")}`);

test("a signature is the same two numbers in 64 bytes, the second one at most half the order", () => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = { key: publicKey, dsaEncoding: "ieee-p1363" } as const;
  let flipped = 0;
  // Numbers with a leading zero byte are shorter in DER: one in 256 of each.
  for (let at = 0; at < 600; at += 1) {
    const message = Buffer.from(`message ${at}`);
    const der = sign("sha256", message, { key: privateKey, dsaEncoding: "der" });
    const found = compact(der);
    assert.equal(found.length, 64);
    assert.ok(numberAt(found, 32) <= ORDER / 2n);
    assert.ok(verify("sha256", message, key, found), `it still verifies: ${der.toString("hex")}`);
    // 33 bytes begin with a zero, since the number's first bit is set: more than half the order.
    if (der.readUInt8(5 + der.readUInt8(3)) === 33) flipped += 1;
  }
  assert.ok(flipped > 100, `both halves were met: ${flipped}`);
});

test("what is no signature is refused, and not read as one", () => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const der = sign("sha256", Buffer.from("m"), { key: privateKey, dsaEncoding: "der" });
  const zero = Buffer.from("3006020100020101", "hex");
  const negative = Buffer.from("3006020181020101", "hex");
  const longer = Buffer.concat([der, Buffer.from([0])]);
  for (const [what, bytes] of Object.entries({
    empty: Buffer.alloc(0),
    "cut short": der.subarray(0, -1),
    "with a byte behind it": longer,
    "of another tag": Buffer.concat([Buffer.from([0x31]), der.subarray(1)]),
    zero,
    negative,
  })) {
    assert.throws(() => compact(bytes), what);
  }
});
