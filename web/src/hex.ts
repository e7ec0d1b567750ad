// Bytes as hex digits.

export const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

export function unhex(digits: string): Uint8Array<ArrayBuffer> {
  if (digits.length % 2 !== 0 || !/^[0-9a-f]*$/.test(digits)) throw new Error("no hex digits");
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
