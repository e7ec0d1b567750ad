import assert from "node:assert/strict";
import { test } from "node:test";

import {
  formatAmount,
  LUMENS,
  parseAmount,
  plainAmount,
  STROOPS,
  showAmount,
  unitOf,
} from "../../src/amount.ts";

const TOKEN = "CDLZFC3SYJYDZT7K67VZ75HPJVIEUVNIXF47ZG2FB2RMQQVU2HHGCYSC";
const NATIVE = "CDMLFMKMMD7MWZP3FKUBZPVHTUEDLSX4BYGYKH4GCESXYHS3IHQ4EIG4";

/** The unit of a token that answers so. */
const named = (symbol: unknown, decimals: unknown) =>
  unitOf(TOKEN, NATIVE, async (method) => (method === "symbol" ? symbol : decimals));

const withDecimals = (decimals: number) => ({ name: "T", decimals });

test("amounts are exact both ways, whatever their size and the token's decimals", () => {
  const most = 2n ** 63n - 1n;
  for (const decimals of [0, 1, 2, 6, 7, 18, 38]) {
    const unit = withDecimals(decimals);
    for (const stroops of [0n, 1n, 10_000_000n, 12_345_678n, 123_456_789_012_345_678n, most]) {
      assert.equal(parseAmount(plainAmount(stroops, unit), unit), stroops);
      assert.equal(parseAmount(formatAmount(stroops, unit), unit), stroops);
    }
  }
});

test("every token has its own name and decimals", () => {
  for (const [stroops, unit, shown, plain] of [
    [12_500_000n, LUMENS, "1.25 XLM", "1.25"],
    [10_000_000n, LUMENS, "1.00 XLM", "1"],
    [1n, LUMENS, "0.0000001 XLM", "0.0000001"],
    [1_500_000n, withDecimals(6), "1.50 T", "1.5"],
    [15n, withDecimals(2), "0.15 T", "0.15"],
    [15n, withDecimals(1), "1.5 T", "1.5"],
    [20n, withDecimals(1), "2.0 T", "2"],
    [15n, withDecimals(0), "15 T", "15"],
    [1_500_000_000_000_000_000n, withDecimals(18), "1.50 T", "1.5"],
    [15_000_000n, STROOPS, "15\u202f000\u202f000 stroops", "15000000"],
  ] as const) {
    assert.equal(showAmount(stroops, unit), shown);
    assert.equal(plainAmount(stroops, unit), plain);
    assert.equal(parseAmount(plain, unit), stroops);
  }
  assert.equal(showAmount(-20_000_001n, LUMENS), "−2.0000001 XLM");
  assert.doesNotMatch(showAmount(15n, undefined), /\d/, "no amount without a unit");
});

test("what is no amount is named, and never rounded", () => {
  const cases: [string, unknown][] = [
    ["", "empty"],
    ["  ", "empty"],
    ["-1", "malformed"],
    ["1e3", "malformed"],
    ["0x10", "malformed"],
    ["1.2.3", "malformed"],
    ["1.", "malformed"],
    [".5", "malformed"],
    ["1.5 XLM", "malformed"],
    ["1.00000001", "places"],
    ["1.00000000", "places"],
    ["1.0000000", 10_000_000n],
    ["1,5", 15_000_000n],
    ["1\u202f000.5", 10_005_000_000n],
    ["922337203685.4775807", 2n ** 63n - 1n],
    ["922337203685.4775808", "large"],
  ];
  for (const [typed, expected] of cases) assert.equal(parseAmount(typed, LUMENS), expected, typed);
});

test("a decimal that the token does not have is an error", () => {
  assert.equal(parseAmount("1.1234567", withDecimals(6)), "places");
  assert.equal(parseAmount("1.123456", withDecimals(6)), 1_123_456n);
  assert.equal(parseAmount("1.5", withDecimals(0)), "places");
  assert.equal(parseAmount("1.0", withDecimals(0)), "places");
  assert.equal(parseAmount("1.5", STROOPS), "places");
  assert.equal(parseAmount("15", STROOPS), 15n);
  assert.equal(parseAmount("10", withDecimals(18)), "large");
});

test("the native asset alone is called XLM, and is not asked", async () => {
  const unit = await unitOf(NATIVE, NATIVE, () => Promise.reject(new Error("asked")));
  assert.deepEqual(unit, LUMENS);
});

test("a token is called by its symbol, or by its contract id where that could mislead", async () => {
  for (const symbol of ["USDC", "EURX", "a", "ABCDEFGHIJKL", "XLM2"]) {
    assert.deepEqual(await named(symbol, 6), { name: symbol, decimals: 6 });
  }
  for (const symbol of [
    ...["XLM", "xlm", "XlM", "native", "Native", "stroops", "Stroop"],
    ...[
      "",
      "ABCDEFGHIJKLM",
      "US D",
      "XLM ",
      "XLM\n",
      "U\u202eS",
      "ХLM",
      "€",
      "<b>",
      "x".repeat(1e5),
    ],
  ]) {
    assert.deepEqual(await named(symbol, 6), { name: TOKEN, decimals: 6 }, symbol.slice(0, 20));
  }
});

test("a token that does not say how it is counted has no unit", async () => {
  for (const decimals of [39, -1, 1.5, 2 ** 32, 7n, "7", undefined, null, Number.NaN]) {
    await assert.rejects(named("USDC", decimals), /does not say how it is counted/);
  }
  for (const symbol of [undefined, null, 7, ["USDC"], new Uint8Array([88])]) {
    await assert.rejects(named(symbol, 6), /does not say how it is counted/);
  }
  await assert.rejects(
    unitOf(TOKEN, NATIVE, () => Promise.reject(new Error("away"))),
    /away/,
  );
  assert.deepEqual(await named("USDC", 38), { name: "USDC", decimals: 38 });
  assert.deepEqual(await named("USDC", 0), { name: "USDC", decimals: 0 });
});
