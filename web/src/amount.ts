// Amounts: whole stroops in code, decimals with seven places for people.

const UNIT = 10_000_000n;

/** The most that a contract takes: 2^63 − 1 (V19). */
const MOST = 2n ** 63n - 1n;

/** `12345678` as `1.2345678`; at least two places, no more than needed. */
export function formatAmount(stroops: bigint): string {
  const sign = stroops < 0n ? "−" : "";
  const size = stroops < 0n ? -stroops : stroops;
  const whole = (size / UNIT).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const places = (size % UNIT)
    .toString()
    .padStart(7, "0")
    .replace(/0{1,5}$/, "");
  return `${sign}${whole}.${places}`;
}

/** The stroops of what a person typed, or why that is no amount. */
export function parseAmount(typed: string): bigint | "empty" | "malformed" | "places" | "large" {
  const text = typed
    .trim()
    .replace(/[\s\u202f]/g, "")
    .replace(",", ".");
  if (text === "") return "empty";
  const match = /^(\d+)(?:\.(\d*))?$/.exec(text);
  if (!match) return "malformed";
  const places = (match[2] ?? "").replace(/0+$/, "");
  if (places.length > 7) return "places";
  const stroops = BigInt(match[1]!) * UNIT + BigInt(places.padEnd(7, "0") || "0");
  return stroops > MOST ? "large" : stroops;
}

/** For a field: `10000000` as `1`. */
export function plainAmount(stroops: bigint): string {
  const places = (stroops % UNIT).toString().padStart(7, "0").replace(/0+$/, "");
  return places === "" ? `${stroops / UNIT}` : `${stroops / UNIT}.${places}`;
}
