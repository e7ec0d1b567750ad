// Bytes, digests and the one spelling of JSON, as crates/wire and crates/seal have them.

import { hex } from "../hex.ts";

export { hex, unhex } from "../hex.ts";

export type Bytes = Uint8Array<ArrayBuffer>;

export const utf8 = (text: string): Bytes => new TextEncoder().encode(text);

/** Text that is UTF-8 to the last byte; throws otherwise. */
export const text = (bytes: Uint8Array): string =>
  new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);

export const base64 = (digits: string): Bytes =>
  Uint8Array.from(atob(digits), (letter) => letter.charCodeAt(0));

export function concat(...parts: Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function u32(number: number): Bytes {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

export function u64(number: bigint): Bytes {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, number);
  return bytes;
}

export async function sha256(...parts: Uint8Array[]): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", concat(...parts)));
}

/** SHA-256 in hex digits. */
export const digest = async (...parts: Uint8Array[]): Promise<string> =>
  hex(await sha256(...parts));

export const equal = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, at) => byte === b[at]);

/** The order of texts by their UTF-8 bytes, which is that of their code points. */
export function byBytes(a: string, b: string): number {
  const [one, other] = [utf8(a), utf8(b)];
  for (let at = 0; at < Math.min(one.length, other.length); at += 1) {
    if (one[at] !== other[at]) return one[at]! - other[at]!;
  }
  return one.length - other.length;
}

/** Whether the key signed exactly this. */
export async function isSigned(key: Bytes, signature: Bytes, message: Bytes): Promise<boolean> {
  try {
    const imported = await crypto.subtle.importKey("raw", key, "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", imported, signature, message);
  } catch {
    // A key or signature of another form signs nothing.
    return false;
  }
}

/** JSON with one spelling (RFC 8785). */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    // The default order of JavaScript is that of UTF-16 units, as the standard demands.
    const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(",")}}`;
  }
  return typeof value === "bigint" ? value.toString() : JSON.stringify(value);
}

/** Something that this browser cannot look at: then nothing is said about it. */
export class CannotTell extends Error {}

/** Integers that a number would round are read from their text. */
function revive(_: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value) || !Number.isInteger(value))
    return value;
  const source = context?.source;
  if (source === undefined) throw new CannotTell("this browser rounds large integers");
  return /^-?\d+$/.test(source) ? BigInt(source) : value;
}

/**
 * Reads JSON in which no member appears twice: readers differ about which one counts. A text whose
 * canonical form has fewer names than it has itself hides one.
 */
export function parse(bytes: Uint8Array): unknown {
  const source = text(bytes);
  const value: unknown = JSON.parse(source, revive as (key: string, value: unknown) => unknown);
  if (names(source) !== count(value)) throw new Error("a member appears twice");
  return value;
}

/** How many names of members are in a JSON text. */
function names(source: string): number {
  let found = 0;
  // Strings are skipped whole, so that a colon inside of one is none.
  for (const piece of source.matchAll(/"(?:[^"\\]|\\.)*"|:/g)) if (piece[0] === ":") found += 1;
  return found;
}

function count(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  const members = Object.values(value);
  const own = Array.isArray(value) ? 0 : members.length;
  return members.reduce((sum: number, member) => sum + count(member), own);
}
