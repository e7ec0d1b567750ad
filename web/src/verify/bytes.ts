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
  if (value instanceof Real) return JSON.stringify(value.value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    // The default order of JavaScript is that of UTF-16 units, as the standard demands.
    const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(",")}}`;
  }
  return typeof value === "bigint" ? value.toString() : JSON.stringify(value);
}

/**
 * A number that its text writes with a fraction or an exponent, or as `-0`. Readers of whole
 * numbers refuse these, whatever their value, so that `1.0` is not taken for `1`.
 */
export class Real {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

/** Levels of arrays and objects that are read: as many as the command line's reader takes. */
const MOST_DEPTH = 127;

/**
 * Reads JSON in which no member appears twice: readers differ about which one counts. Whole numbers
 * are exact, if need be as `bigint`; others are `Real`.
 */
export function parse(bytes: Uint8Array): unknown {
  const source = text(bytes);
  // What follows relies on the grammar, which is checked here.
  JSON.parse(source);
  return new Reader(source).value(0);
}

/** Reads a text that is known to be JSON. */
class Reader {
  private readonly source: string;
  private at = 0;

  constructor(source: string) {
    this.source = source;
  }

  value(depth: number): unknown {
    const first = this.next();
    if (first === '"') return this.string();
    if (first !== "{" && first !== "[") return this.word();
    if (depth === MOST_DEPTH) throw new Error("it is nested too deeply");
    this.at += 1;
    return first === "{" ? this.object(depth + 1) : this.array(depth + 1);
  }

  private object(depth: number): unknown {
    const members = new Map<string, unknown>();
    while (!this.ends("}")) {
      this.next();
      const name = this.string();
      this.next();
      // The colon.
      this.at += 1;
      if (members.has(name)) throw new Error("a member appears twice");
      members.set(name, this.value(depth));
    }
    return Object.fromEntries(members);
  }

  private array(depth: number): unknown[] {
    const items: unknown[] = [];
    while (!this.ends("]")) items.push(this.value(depth));
    return items;
  }

  /** Whether the array or object ends here; otherwise a comma is passed over. */
  private ends(closing: string): boolean {
    const found = this.next();
    if (found === closing || found === ",") this.at += 1;
    return found === closing;
  }

  /** The next character that is no white space. */
  private next(): string | undefined {
    while (/[ \t\n\r]/.test(this.source[this.at] ?? "")) this.at += 1;
    return this.source[this.at];
  }

  private string(): string {
    const from = this.at;
    let end = from;
    let escapes: number;
    do {
      end = this.source.indexOf('"', end + 1);
      escapes = 0;
      while (this.source[end - 1 - escapes] === "\\") escapes += 1;
      // An escaped quotation mark does not end the text.
    } while (escapes % 2 === 1);
    this.at = end + 1;
    const found = JSON.parse(this.source.slice(from, this.at)) as string;
    if (!found.isWellFormed()) throw new Error("a text holds half of a character");
    return found;
  }

  /** A number, or one of `true`, `false` and `null`. */
  private word(): unknown {
    const from = this.at;
    while (/[\w+.-]/.test(this.source[this.at] ?? "")) this.at += 1;
    const word = this.source.slice(from, this.at);
    if (!/^[-\d]/.test(word)) return JSON.parse(word);
    const number = Number(word);
    if (!Number.isFinite(number)) throw new Error("a number is too large");
    if (/[.eE]/.test(word) || word === "-0") return new Real(number);
    return Number.isSafeInteger(number) ? number : BigInt(word);
  }
}
