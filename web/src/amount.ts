// Amounts: whole stroops, the token's smallest unit, in code; for people in the token's own unit.

/** How amounts of a token are written: what it is called, and its decimals. */
export interface Unit {
  readonly name: string;
  readonly decimals: number;
}

/** The smallest unit, in which amounts are written while nothing is known of the token. */
export const STROOPS: Unit = { name: "stroops", decimals: 0 };

/** The native asset's, in which the network takes its fees. */
export const LUMENS: Unit = { name: "XLM", decimals: 7 };

/** The most that a contract takes: 2^63 − 1 (V19). */
const MOST = 2n ** 63n - 1n;

/** Most decimals of a token: a higher power of ten does not fit an amount. */
const MOST_DECIMALS = 38;

/** Names of the native asset and of the smallest unit, which no other token may have. */
const TAKEN = ["xlm", "native", "stroop", "stroops"];

/** Whether a symbol that a contract chose can be shown: no sentence, and no other unit's name. */
const isDistinct = (symbol: string): boolean =>
  /^[A-Za-z0-9]{1,12}$/.test(symbol) && !TAKEN.includes(symbol.toLowerCase());

/**
 * The unit of a token, by its contract id and that of the native asset. The native asset alone is
 * called XLM; another token by its own symbol, or by its contract id if the symbol could mislead.
 * Throws if the token does not say how it is counted.
 */
export async function unitOf(
  token: string,
  native: string,
  ask: (method: "symbol" | "decimals") => Promise<unknown>,
): Promise<Unit> {
  // Its own contract calls it `native`.
  if (token === native) return LUMENS;
  const [symbol, decimals] = await Promise.all([ask("symbol"), ask("decimals")]);
  const isCounted =
    typeof decimals === "number" &&
    Number.isInteger(decimals) &&
    decimals >= 0 &&
    decimals <= MOST_DECIMALS;
  if (typeof symbol !== "string" || !isCounted) {
    throw new Error(`the token ${token} does not say how it is counted`);
  }
  return { name: isDistinct(symbol) ? symbol : token, decimals };
}

/** An amount's digits before the point and behind it, those without zeros at their end. */
function partsOf(size: bigint, { decimals }: Unit): [whole: string, places: string] {
  const digits = size.toString().padStart(decimals + 1, "0");
  const point = digits.length - decimals;
  return [digits.slice(0, point), digits.slice(point).replace(/0+$/, "")];
}

/** `12345678` as `1.2345678`; at least two places if the token has them, no more than needed. */
export function formatAmount(stroops: bigint, unit: Unit): string {
  const sign = stroops < 0n ? "−" : "";
  const [whole, places] = partsOf(stroops < 0n ? -stroops : stroops, unit);
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const shown = places.padEnd(Math.min(2, unit.decimals), "0");
  return `${sign}${grouped}${shown === "" ? "" : `.${shown}`}`;
}

/** With the name of the unit; a mark that stands for an amount while the unit is not known yet. */
export const showAmount = (stroops: bigint, unit: Unit | undefined): string =>
  unit === undefined ? "…" : `${formatAmount(stroops, unit)} ${unit.name}`;

/**
 * The stroops of what a person typed, or why that is no amount. A decimal that the token does not
 * have is an error, even a zero: it may have been meant for another token.
 */
export function parseAmount(
  typed: string,
  { decimals }: Unit,
): bigint | "empty" | "malformed" | "places" | "large" {
  const text = typed
    .trim()
    .replace(/[\s\u202f]/g, "")
    .replace(",", ".");
  if (text === "") return "empty";
  // `1.` is not an amount: a digit may have been lost.
  const match = /^(\d+)(?:\.(\d+))?$/.exec(text);
  if (!match) return "malformed";
  const [, whole = "", places = ""] = match;
  if (places.length > decimals) return "places";
  const stroops = BigInt(whole + places.padEnd(decimals, "0"));
  return stroops > MOST ? "large" : stroops;
}

/** For a field: ten million stroops of a token with seven decimals as `1`. */
export function plainAmount(stroops: bigint, unit: Unit): string {
  const [whole, places] = partsOf(stroops, unit);
  return places === "" ? whole : `${whole}.${places}`;
}
