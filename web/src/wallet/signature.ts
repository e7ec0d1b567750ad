// Signatures of the curve P-256, as authenticators give them and as the network takes them.

import { p256 } from "@noble/curves/nist.js";

/**
 * An ECDSA signature of DER's form (RFC 3279, 2.2.3) as its two numbers of 32 bytes. Of the two values
 * of `s` that verify, the network takes the smaller one alone. Throws where the bytes are no signature.
 */
export function compact(der: Uint8Array): Uint8Array<ArrayBuffer> {
  const { r, s } = p256.Signature.fromBytes(der, "der");
  const order = p256.Point.Fn.ORDER;
  const low = s > order / 2n ? order - s : s;
  return Uint8Array.from(new p256.Signature(r, low).toBytes("compact"));
}
