import assert from "node:assert/strict";
import { test } from "node:test";

import { formatAmount, parseAmount, plainAmount } from "../../src/amount.ts";

test("amounts are exact both ways, whatever their size", () => {
  for (const stroops of [
    0n,
    1n,
    10_000_000n,
    12_345_678n,
    123_456_789_012_345_678n,
    2n ** 63n - 1n,
  ]) {
    assert.equal(parseAmount(plainAmount(stroops)), stroops);
    assert.equal(parseAmount(formatAmount(stroops)), stroops);
  }
  assert.equal(formatAmount(12_500_000n), "1.25");
  assert.equal(formatAmount(1n), "0.0000001");
});

test("what is no amount is named, and never rounded", () => {
  const cases: [string, unknown][] = [
    ["", "empty"],
    ["  ", "empty"],
    ["-1", "malformed"],
    ["1e3", "malformed"],
    ["0x10", "malformed"],
    ["1.2.3", "malformed"],
    ["1.00000001", "places"],
    ["1.00000000", 10_000_000n],
    ["1,5", 15_000_000n],
    ["922337203685.4775808", "large"],
  ];
  for (const [typed, expected] of cases) assert.equal(parseAmount(typed), expected, typed);
});
